"""What the pages say is so: their commands, links, tables and shown output."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin.doctor import ROLES
from admin.files import AUTO, DEPLOYMENT, OTHERS
from sandbox.function import ROOT, run_function
from sandbox.google_cloud import PROJECT, REGION
from sandbox.site import Site
from sandbox.world import World
from storage_plugin import errors
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import NAMES
from tests.real_gcloud import Cloud
from tests.test_release import run

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")]
README = ROOT / "README.md"
SETUP = ROOT / "docs" / "setup-by-hand.md"
SECRET = "shared-secret-for-tests"


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page that are in some language."""
    pattern = rf"^ *```{language}\n(.*?)^ *```"
    return re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE)


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of a table by the text before its first row."""
    table = page.read_text().partition(heading)[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split(" | ")] for line in table.splitlines()[2:]]


def names_in(text: str) -> set[str]:
    """Return the names that are set as code."""
    return set(re.findall(r"`(\w+)`", text))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project, with an environment that has everything."""
    folder = tmp_path / "project"
    unwanted = shutil.ignore_patterns(".*_cache", ".git", ".venv*", "__pycache__", ".env.yaml")
    shutil.copytree(ROOT, folder, ignore=unwanted)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture
def environ(world: World, iconik_url: str) -> Iterator[dict[str, str]]:
    """Run the function, and return what the commands of an administrator find around them."""
    settings = Site(world).settings(iconik_url)
    world.add_storage("LucidLink Dailies")
    secrets = {"ICONIK_TOKEN": world.token, "BZ_SHARED_SECRET": SECRET}
    with run_function(secrets) as function:
        yield settings | secrets | {"URL": function.url}


def run_blocks(page: Path, folder: Path, environ: dict[str, str]) -> str:
    """Run the shell blocks of a page that need no account, and return what they print."""
    # However this environment was made, it has what the commands need.
    made = "make -o .venv/function -o .venv/admin "
    script = "".join(blocks(page, "shell offline")).replace("make ", made)
    return run("bash", "-euxc", script, folder=folder, **environ)


def test_the_readme_works(project: Path, environ: dict[str, str], world: World) -> None:
    """The commands of the README work one after the other, and print what it shows."""
    deployment = {"project": "project", "region": "us-central1", "url": environ["URL"]}
    (project / DEPLOYMENT).write_text(json.dumps(deployment))
    output = run_blocks(README, project, environ)
    assert output.count("After Remove from LucidLink:") == 2
    assert len(world.custom_actions) == 6
    (shown,) = blocks(README, "text")
    rest = "\n".join(" ".join(line.split()) for line in output.splitlines())
    for line in filter(None, shown.splitlines()):
        found = re.search(re.escape(" ".join(line.split())).replace("…", ".*"), rest)
        assert found, line
        rest = rest[found.end() :]

    log = output.rpartition("The function's log:\n")[2]
    lines, end, _ = log.partition(
        "The full log, as Cloud Logging would receive it, is in .demo.log."
    )
    assert end
    assert lines.startswith("  INFO     add 200: OK\n")
    written = (project / ".demo.log").read_text()
    assert lines.count("\n") == written.count("\n") - 1  # The first line is of the start.


def test_setup_by_hand_works(project: Path, environ: dict[str, str], world: World) -> None:
    """The commands that need no Google make the actions, and the doctor finds no fault."""
    output = run_blocks(SETUP, project, environ)
    assert output.count(": created.") == len(world.custom_actions) == 6
    assert "0 failed" in output


def test_gcloud_knows_each_command(tmp_path: Path, cloud: Cloud) -> None:
    """The real gcloud takes each command of the pages, and then misses only a login."""
    (tmp_path / ".env.yaml").write_text("ICONIK_ID: 'x'\n")
    text = "\n".join("".join(blocks(page, "shell")) for page in PAGES).replace("\\\n", " ")
    for name, content in re.findall(r"cat > (\S+) <<'END'\n(.*?\n)END", text, re.DOTALL):
        (tmp_path / name).write_text(content)
    shown = [line.rstrip(")") for line in re.findall(r"\bgcloud [^|\n<]+(?<! )", text)]
    assert len(shown) > 20
    unknown = "gcloud secrets list --unknown"
    environ = cloud.environ | {"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": ""}
    refused = []
    for line in (*shown, unknown):
        words = shlex.split(re.sub(r"\$\w+|PROJECT", PROJECT, line).replace("REGION", REGION))
        result = subprocess.run(
            words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        if result.returncode and "active account" not in result.stderr:
            refused.append(line)
    assert refused == [unknown]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file or a heading of the project finds it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """Return what a link to a page may end with, as GitHub derives it from the headings."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([\w-]+)">', text))


def test_every_page_is_listed() -> None:
    """The README leads to each page."""
    listed = README.read_text().partition("## All pages")[2]
    for page in PAGES:
        assert page == README or f"({page.relative_to(ROOT)})" in listed, page.name


def test_settings_are_listed() -> None:
    """The table of the settings has each variable that is read, and no other."""
    table = rows(README, "secrets do not belong there.\n\n")
    listed = set().union(*(names_in(name) for name, *_ in table))
    mentioned = set().union(*(names_in(meaning) for *_, meaning in table))
    known = NAMES | OTHERS | {SHARED_SECRET[1], ICONIK_TOKEN[1]}
    assert listed <= known
    platform = {"THREADS", "CLOUD_RUN_TIMEOUT_SECONDS"}
    assert known - platform <= listed | mentioned
    assert f"`{AUTO}`" in README.read_text()


def test_roles_are_listed() -> None:
    """The table of roles is the one that the doctor goes by."""
    listed = re.findall(r"^\| ([^|]+) \| (`can_[^|]+) \|$", README.read_text(), re.MULTILINE)
    assert {what: tuple(re.findall(r"\w+", roles)) for what, roles in listed} == ROLES


def test_answers_are_listed() -> None:
    """The table of answers has each status that the function gives, and no other."""
    page = ROOT / "docs" / "troubleshooting.md"
    listed = {int(status) for status in re.findall(r"^\| (\d{3}) ", page.read_text(), re.MULTILINE)}
    raised = {
        kind.status
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PluginError)
    }
    sources = "".join(
        path.read_text() for path in [ROOT / "main.py", *ROOT.glob("storage_plugin/*.py")]
    )
    refusals = {int(status) for status in re.findall(r"status=(\d{3})\b", sources)}
    assert listed == raised | refusals | {200, 400}
