"""What others get: the files that Google receives, and the template for settings."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import yaml

from sandbox.function import ROOT, run_function
from sandbox.site import Site
from storage_plugin.settings import NAMES, REQUIRED, Settings
from tests.real_gcloud import needs_gcloud

# Begins a script for gcloud's own Python. The launcher names gcloud's main file first.
FIND_MODULES = """
import os, sys
library = os.path.dirname(sys.argv.pop(1))
sys.path[:0] = [library, f"{library}/third_party"]
"""
# What `gcloud functions deploy` does with a folder, which becomes fun.zip.
PACK = """
from googlecloudsdk.command_lib.functions import source_util
source_util.CreateSourcesZipFile(".", sys.argv[1])
"""


def run(*command: str, folder: Path, **environ: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    # What others run is not this suite's: neither its lines count, nor its warnings.
    own = {"COVERAGE_PROCESS_CONFIG", "PYTHONWARNINGS", "MAKEFLAGS", "MAKELEVEL"}
    env = {name: value for name, value in os.environ.items() if name not in own} | environ
    result = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def run_in_gcloud(script: str, *arguments: str, folder: Path, **environ: str) -> str:
    """Run a script with gcloud's own Python and modules, and return what it prints."""
    (folder / "script.py").write_text(FIND_MODULES + script)
    environ["CLOUDSDK_PYTHON_ARGS"] = "-S script.py"  # The launcher starts its Python with them.
    return run("gcloud", *arguments, folder=folder, **environ)


@needs_gcloud
def test_only_the_function_goes_to_google(tmp_path: Path) -> None:
    """A key, a password or a cache that lies in a folder of the function stays at home."""
    checkout = tmp_path / "checkout"
    modules = [path.relative_to(ROOT) for path in (ROOT / "storage_plugin").rglob("*.py")]
    function = [Path("main.py"), Path("requirements.txt"), *modules]
    decoys = (".env", ".env.yaml", "key.pem", "key", "notes.py.txt", "__pycache__/x.py", "x/y.py")
    for folder in {path.parent for path in function} | {Path("admin"), Path(".venv/lib")}:
        for decoy in decoys:
            (checkout / folder / decoy).parent.mkdir(parents=True, exist_ok=True)
            (checkout / folder / decoy).touch()
    (checkout / "storage_plugin" / "requirements.txt").touch()
    for path in (*function, Path(".gcloudignore")):
        shutil.copy(ROOT / path, checkout / path)
    run_in_gcloud(PACK, "checkout", folder=tmp_path)
    packed = [name for name in ZipFile(tmp_path / "fun.zip").namelist() if name[-1] != "/"]
    assert sorted(packed) == sorted(map(str, function))


@needs_gcloud
def test_what_google_receives_works(tmp_path: Path, site: Site, iconik_url: str) -> None:
    """The uploaded files alone, with their requirements alone, serve both custom actions."""
    upload, python = tmp_path / "upload", str(tmp_path / "venv" / "bin" / "python")
    run_in_gcloud(PACK, str(ROOT), folder=tmp_path)
    ZipFile(tmp_path / "fun.zip").extractall(upload)
    uv = str(Path(sys.executable).with_name("uv"))  # It installs much faster than pip.
    run(uv, "venv", "--python", sys.executable, str(tmp_path / "venv"), folder=tmp_path)
    for command in ("install --require-hashes --requirement requirements.txt", "check"):
        run(uv, "pip", *command.split(), folder=upload, VIRTUAL_ENV=str(tmp_path / "venv"))
    run(python, "-m", "compileall", "-f", "-q", ".", folder=upload)

    asset_id, settings = site.master(), site.settings(iconik_url) | site.secrets()
    with run_function(settings, upload, python=python) as function:
        for verb, copies in (("add", 1), ("remove", 0)):
            answer = function.click(verb, asset_ids=[asset_id])
            assert (answer.status_code, answer.text, site.copies()) == (200, "OK", copies)


def test_the_template() -> None:
    """The template for .env.yaml has each setting, and the defaults, but keeps the folders."""
    template = (ROOT / ".env.yaml.example").read_text()
    listed = {*re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", template)}
    assert listed == NAMES - {"CLOUD_RUN_TIMEOUT_SECONDS"}
    names = {name: value or name for name, value in yaml.safe_load(template).items()}
    required = {name: names[name] for name in (*REQUIRED, "MASTER_STORAGE_NAME")}
    expected = Settings.from_environment(required | {"STORAGE_PATH": ""})
    assert Settings.from_environment(names | {"STORAGE_PATH": ""}) == expected
    assert "\nSTORAGE_PATH: ''\n" in template
