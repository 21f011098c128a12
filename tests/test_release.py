"""What others get: the files that Google receives, the version, and the template for settings."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import requests

from sandbox.function import ROOT, run_function
from sandbox.site import CLIP, Site
from storage_plugin.settings import NAMES
from tests.real_gcloud import needs_gcloud

SECRET = "shared-secret-for-tests"


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


@needs_gcloud
def test_only_python_goes_to_google(tmp_path: Path) -> None:
    """A key, a password or a cache that lies in a deployed folder stays at home."""
    upload = shutil.copytree(ROOT / "storage_plugin", tmp_path / "storage_plugin").parent
    shutil.copy(ROOT / ".gcloudignore", upload)
    expected = {str(path.relative_to(upload)) for path in upload.rglob("*.py")}
    for folder in ("storage_plugin", "storage_plugin/background", "."):
        for name in ("secret.pem", ".env", "key.json", "notes.py.txt"):
            (upload / folder / name).touch()
    assert set(run("gcloud", "meta", "list-files-for-upload", folder=upload).split()) == expected


@needs_gcloud
def test_what_google_receives_works(tmp_path: Path, site: Site, iconik_url: str) -> None:
    """The uploaded files alone, with their requirements alone, serve a custom action."""
    files = run("gcloud", "meta", "list-files-for-upload", folder=ROOT).split()
    modules = [str(path.relative_to(ROOT)) for path in (ROOT / "storage_plugin").rglob("*.py")]
    assert sorted(files) == sorted(["main.py", "requirements.txt", *modules])

    upload, python = tmp_path / "upload", str(tmp_path / "venv" / "bin" / "python")
    for file in files:
        target = upload / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, target)
    uv = str(Path(sys.executable).with_name("uv"))  # It installs much faster than pip.
    run(uv, "venv", "--python", sys.executable, str(tmp_path / "venv"), folder=tmp_path)
    for command in ("install --require-hashes --requirement requirements.txt", "check"):
        run(uv, "pip", *command.split(), folder=upload, VIRTUAL_ENV=str(tmp_path / "venv"))
    run(python, "-m", "compileall", "-f", "-q", ".", folder=upload)

    asset_id, _ = site.asset([CLIP])
    secrets = {"ICONIK_TOKEN": site.world.token, "BZ_SHARED_SECRET": SECRET}
    settings = site.settings(iconik_url) | secrets
    with run_function(settings, upload, python=python) as function:
        response = requests.post(
            f"{function.url}/remove",
            json={"asset_ids": [asset_id]},
            headers={"x-bz-secret": SECRET},
            timeout=60,
        )
    assert (response.status_code, response.text) == (200, "OK")
    assert site.world.names_on(site.lucidlink) == []


def test_version() -> None:
    """The version of the commands is the project's."""
    output = run(sys.executable, "-m", "admin", "--version", folder=ROOT)
    assert f'\nversion = "{output.strip()}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\n## [{output.strip()}] " in (ROOT / "CHANGELOG.md").read_text()


def test_the_template_names_variables_that_are_read() -> None:
    """The template for .env.yaml, with what is commented out, names nothing that nobody reads."""
    template = (ROOT / ".env.yaml.example").read_text()
    names = set(re.findall(r"^(?:# )?([A-Z_]+):", template, re.MULTILINE))
    assert names <= NAMES
    assert names >= {"ICONIK_ID", "STORAGE_NAME", "MASTER_STORAGE_NAME", "TASK_QUEUE"}
