"""What the pages and the template say is so: commands, links, tables and shown output."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from admin.doctor import ROLES
from admin.installation import AUTO, DEPLOYMENT, OTHERS
from sandbox.function import ROOT, run_function
from sandbox.google_cloud import PROJECT, REGION
from sandbox.site import Site
from storage_plugin import errors
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import NAMES, REQUIRED, TIMEOUT, Settings
from storage_plugin.task_queue import DISPATCH_DEADLINE
from tests.real_gcloud import needs_gcloud

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")]
TEXTS = {page: page.read_text() for page in PAGES}
README, DOCS = ROOT / "README.md", ROOT / "docs"

# gcloud runs commands without a login, and prints those that fail for another reason.
EXECUTE = """
import io, os, shlex, sys
library = os.path.dirname(sys.argv.pop(1))  # The launcher names gcloud's main file first.
sys.path[:0] = [library, f"{library}/third_party"]
sys.stderr = errors = io.StringIO()
from googlecloudsdk import gcloud_main

cli, refused = gcloud_main.CreateCLI([]), []
for line in sys.argv[1:]:
    before = len(errors.getvalue())
    try:
        cli.Execute(shlex.split(line))
    except SystemExit as end:
        if end.code and "active account" not in errors.getvalue()[before:]:
            refused.append(line)
print("Refused:", *refused, sep="\\n")
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


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page that are in some language."""
    pattern = rf"^ *```{language}\n(.*?)^ *```"
    return re.findall(pattern, TEXTS[page], re.DOTALL | re.MULTILINE)


def sources(*patterns: str) -> str:
    """Return the text of some modules."""
    return "".join(path.read_text() for each in patterns for path in ROOT.glob(each))


def test_the_commands_work(tmp_path: Path, site: Site, iconik_url: str) -> None:
    """What needs no account works, by hand and by the README, and prints what that shows."""
    project = tmp_path / "project"
    unwanted = (".*_cache", ".coverage*", ".git", ".venv*", ".env.yaml")
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(*unwanted))
    (project / ".venv").symlink_to(sys.prefix)
    site.world.add_storage("LucidLink Dailies")

    def run_blocks(page: Path) -> str:
        # However this environment was made, it has what the commands need.
        made = "make -o .venv/function -o .venv/admin "
        script = "".join(blocks(page, "shell offline")).replace("make ", made)
        return run("bash", "-euxc", script, folder=project, **environ)

    with run_function(site.secrets()) as function:
        environ = site.settings(iconik_url) | site.secrets() | {"URL": function.url}
        output = run_blocks(DOCS / "setup-by-hand.md")
        assert output.count(": created.") == len(site.world.custom_actions) == 6
        assert "0 failures." in output
        deployment = {"project": "project", "region": "us-central1", "url": function.url}
        (project / DEPLOYMENT).write_text(json.dumps(deployment))
        output = run_blocks(README)
    assert output.count("After Remove from LucidLink:") == 2
    for kind in ("the function", "the function with a queue"):
        assert output.count(f", and {kind} at http") == 1
    assert len(site.world.custom_actions) == 12
    (shown,) = blocks(README, "text")
    rest = "\n".join(" ".join(line.split()) for line in output.splitlines())
    for line in filter(None, shown.splitlines()):
        found = re.search(re.escape(" ".join(line.split())).replace("…", ".*?"), rest)
        assert found, line
        rest = rest[found.end() :]
    _, *entries = map(json.loads, (project / ".demo.log").read_text().splitlines())
    log = "".join(f"  {entry['severity']:8} {entry['message']}\n" for entry in entries)
    assert f"The function's log:\n{log}The full log, as Cloud Logging would" in output


@needs_gcloud
def test_gcloud_knows_each_command(tmp_path: Path) -> None:
    """The real gcloud takes each command of the pages, and then misses only a login."""
    (tmp_path / ".env.yaml").write_text("ICONIK_ID: 'x'\n")
    shutil.copytree(DOCS, tmp_path / "docs")
    text = "\n".join("".join(blocks(page, "shell")) for page in PAGES).replace("\\\n", " ")
    found = [line.rstrip(")") for line in re.findall(r"\bgcloud ([^|\n<]+)(?<! )", text)]
    found += re.findall(r"`gcloud ([^`]+ [^`]+)`", "\n".join(TEXTS.values()))
    shown = {" ".join(line.split()) for line in found}
    assert len(shown) > 25
    unknown = "secrets list --unknown"
    lines = "\n".join([*shown, unknown]).replace("$URL", "https://example.com")
    filled = re.sub(r"\$\w+|PROJECT", PROJECT, lines.replace("REGION", REGION)).splitlines()
    own = {
        "CLOUDSDK_CONFIG": "config",
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_FUNCTIONS_REGION": REGION,
        "CLOUDSDK_PYTHON_ARGS": "-S script.py",  # The launcher starts its Python with them.
        "https_proxy": "http://127.0.0.1:9",
    }
    (tmp_path / "script.py").write_text(EXECUTE)
    output = run("gcloud", *filled, folder=tmp_path, **own)
    assert output.partition("Refused:\n")[2] == f"{unknown}\n"
    (seconds,) = re.findall(r"--attempt-deadline=(\d+)s", text)
    assert TIMEOUT < int(seconds) < DISPATCH_DEADLINE


def anchors(page: Path) -> set[str]:
    """Return what a link to a page may end with, as GitHub derives it from the headings."""
    headings = re.findall(r"^#+ (.*)$", TEXTS[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """The README leads to each page. A page has one name: its title, its file and all links to it.

    Each link to a file, a function or a heading of the project finds it.
    """
    titles = {page: text.partition("\n")[0].removeprefix("# ") for page, text in TEXTS.items()}
    if page.name != "README.md":
        assert page.stem.lower() == titles[page].lower().replace("'s", "").replace(" ", "-")
    assert page == README or f"[{titles[page]}]({page.relative_to(ROOT)})" in TEXTS[README]
    for text, path, anchor in re.findall(r"\[([^]]*)\]\(([^)\s:#]*)#?([^)\s:]*)\)", TEXTS[page]):
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), path
        assert not anchor or anchor in anchors(file), anchor
        if path.endswith(".md") and not anchor:
            assert " ".join(text.split()).lower() == titles[file].lower()
        if path.endswith(".py") and not text.endswith(".py`"):
            module, _, name = text.strip("`").rpartition(".")
            assert file.stem in module.split("."), text
            assert f"def {name}(" in file.read_text(), text


# Tables


def test_settings_are_listed() -> None:
    """The table has each variable that is read, no other, and the defaults; so has the template.

    But the template keeps the folders.
    """
    section = TEXTS[README].partition("## Configure the Function")[2].partition("\n## ")[0]
    known = NAMES | OTHERS | {SHARED_SECRET[1], ICONIK_TOKEN[1]}
    platform = {"THREADS", "CLOUD_RUN_TIMEOUT_SECONDS"}
    assert {*re.findall(r"`([A-Z_]{5,})`", section)} - {"ORIGINAL"} == known - platform
    assert f"`{AUTO}`" in section
    required = dict.fromkeys(REQUIRED, "x")
    stated = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.MULTILINE)
    settings = [required | {name: default} for name, default in stated]
    assert len(settings) > 4
    assert {*map(Settings.from_environment, settings)} == {Settings.from_environment(required)}
    template = (ROOT / ".env.yaml.example").read_text()
    listed = {*re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", template)}
    assert listed == NAMES - {"CLOUD_RUN_TIMEOUT_SECONDS"}
    names = {name: value or name for name, value in yaml.safe_load(template).items()}
    own = {name: names[name] for name in (*REQUIRED, "MASTER_STORAGE_NAME")} | {"STORAGE_PATH": ""}
    assert Settings.from_environment(names | own) == Settings.from_environment(own)
    assert "\nSTORAGE_PATH: ''\n" in template


def test_roles_are_listed() -> None:
    """The table of roles is the one that the doctor goes by."""
    text = TEXTS[DOCS / "prepare-iconik.md"]
    listed = re.findall(r"^\| ([^|]+) \| (`can_[^|]+) \|$", text, re.MULTILINE)
    assert {what: tuple(re.findall(r"\w+", roles)) for what, roles in listed} == ROLES


def test_answers_are_listed() -> None:
    """The table of answers has each status that the function gives, and no other."""
    text = TEXTS[DOCS / "troubleshooting.md"]
    listed = {int(status) for status in re.findall(r"^\| (\d{3}) ", text, re.MULTILINE)}
    raised = {getattr(kind, "status", 200) for kind in vars(errors).values()}
    refusals = re.findall(r"status=(\d{3})\b", sources("main.py", "storage_plugin/**/*.py"))
    assert listed == raised | {int(status) for status in refusals} | {200}


def test_reasons_are_listed() -> None:
    """The reasons that the page explains are those that editors read."""
    text = TEXTS[DOCS / "troubleshooting.md"].partition("## Other symptoms")[0]
    causes = [row.partition(" | ")[0] for row in re.findall(r"^\| `.+", text, re.MULTILINE)]
    assert len(causes) > 8
    for reason in re.findall("`([^`]+)`", "".join(causes)):
        for part in re.split(r" ?(?:…|\d+|[A-Z_]{4,}) ?", reason):
            assert part in sources("storage_plugin/removal/*.py"), reason
