"""What the pages say is so: their commands, links, tables and shown output."""

import json
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin.doctor import ROLES
from admin.installation import AUTO, DEPLOYMENT, OTHERS
from sandbox.function import ROOT, run_function
from sandbox.google_cloud import PROJECT, REGION
from sandbox.site import Site
from sandbox.world import World
from storage_plugin import errors
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import NAMES, REQUIRED, TIMEOUT, Settings
from storage_plugin.task_queue import DISPATCH_DEADLINE
from tests.real_gcloud import Cloud
from tests.test_release import run

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
SECRET = "shared-secret-for-tests"


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page that are in some language."""
    pattern = rf"^ *```{language}\n(.*?)^ *```"
    return re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE)


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
        found = re.search(re.escape(" ".join(line.split())).replace("…", ".*?"), rest)
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
    output = run_blocks(DOCS / "setup-by-hand.md", project, environ)
    assert output.count(": created.") == len(world.custom_actions) == 6
    assert "0 failures." in output


def test_gcloud_knows_each_command(tmp_path: Path, cloud: Cloud) -> None:
    """The real gcloud takes each command of the pages, and then misses only a login."""
    (tmp_path / ".env.yaml").write_text("ICONIK_ID: 'x'\n")
    shutil.copytree(ROOT / "admin", tmp_path / "admin")
    text = "\n".join("".join(blocks(page, "shell")) for page in PAGES).replace("\\\n", " ")
    shown = [line.rstrip(")") for line in re.findall(r"\bgcloud [^|\n<]+(?<! )", text)]
    shown += re.findall(r"`(gcloud [^`]+ [^`]+)`", "\n".join(map(Path.read_text, PAGES)))
    assert len(shown) > 30
    unknown = "gcloud secrets list --unknown"
    environ = cloud.environ | {"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": ""}
    refused = []
    for line in {*shown, unknown}:
        filled = line.replace("$URL", "https://example.com").replace("REGION", REGION)
        words = shlex.split(re.sub(r"\$\w+|PROJECT", PROJECT, filled))
        result = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, check=False)
        if result.returncode and b"active account" not in result.stderr:
            refused.append(line)
    assert refused == [unknown]
    (seconds,) = re.findall(r"--attempt-deadline=(\d+)s", text)
    assert TIMEOUT < int(seconds) < DISPATCH_DEADLINE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file or a heading of the project finds it."""
    for path, anchor in re.findall(r"\]\(([^)\s:#]*)#?([^)\s:]*)\)", page.read_text()):
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), path
        assert not anchor or anchor in anchors(file), anchor


def anchors(page: Path) -> set[str]:
    """Return what a link to a page may end with, as GitHub derives it from the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_page_has_one_name() -> None:
    """The README leads to each page. Its title, its file and all links to it say the same."""
    titles = {page: page.read_text().partition("\n")[0].removeprefix("# ") for page in PAGES}
    for page, title in titles.items():
        if page.name != "README.md":
            assert page.stem.lower() == title.lower().replace("'s", "").replace(" ", "-")
        if page != README:
            assert f"[{title}]({page.relative_to(ROOT)})" in README.read_text()
        for text, path in re.findall(r"\[([^]]+)\]\(([^:)#]+\.md)\)", page.read_text()):
            linked = titles[(page.parent / path).resolve()]
            assert " ".join(text.split()).lower() == linked.lower(), page.name


def test_settings_are_listed() -> None:
    """The table of the settings has each variable that is read, no other, and the defaults."""
    section = README.read_text().partition("## Configure the Function")[2].partition("\n## ")[0]
    known = NAMES | OTHERS | {SHARED_SECRET[1], ICONIK_TOKEN[1]}
    platform = {"THREADS", "CLOUD_RUN_TIMEOUT_SECONDS"}
    assert {*re.findall(r"`([A-Z_]{5,})`", section)} - {"ORIGINAL"} == known - platform
    assert f"`{AUTO}`" in section
    required = dict.fromkeys(REQUIRED, "x")
    stated = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.MULTILINE)
    settings = [required | {name: default} for name, default in stated]
    assert len(settings) > 4
    assert {*map(Settings.from_environment, settings)} == {Settings.from_environment(required)}


def test_roles_are_listed() -> None:
    """The table of roles is the one that the doctor goes by."""
    page = DOCS / "prepare-iconik.md"
    listed = re.findall(r"^\| ([^|]+) \| (`can_[^|]+) \|$", page.read_text(), re.MULTILINE)
    assert {what: " ".join(re.findall(r"\w+", roles)) for what, roles in listed} == ROLES


def test_answers_are_listed() -> None:
    """The table of answers has each status that the function gives, and no other."""
    page = DOCS / "troubleshooting.md"
    listed = {int(status) for status in re.findall(r"^\| (\d{3}) ", page.read_text(), re.MULTILINE)}
    raised = {getattr(kind, "status", 200) for kind in vars(errors).values()}
    sources = "".join(map(Path.read_text, [ROOT / "main.py", *ROOT.glob("storage_plugin/**/*.py")]))
    refusals = {int(status) for status in re.findall(r"status=(\d{3})\b", sources)}
    assert listed == raised | refusals | {200, 400}


def test_reasons_are_listed() -> None:
    """The reasons that the page explains are those that editors read."""
    page = (DOCS / "troubleshooting.md").read_text().partition("## Other symptoms")[0]
    sources = "".join(map(Path.read_text, ROOT.glob("storage_plugin/removal/*.py")))
    causes = [row.partition(" | ")[0] for row in re.findall(r"^\| `.+", page, re.MULTILINE)]
    assert len(causes) > 8
    for reason in re.findall("`([^`]+)`", "".join(causes)):
        for part in re.split(r" ?(?:…|\d+|[A-Z_]{4,}) ?", reason):
            assert part in sources, reason


def test_the_chain_of_calls_exists() -> None:
    """Each function on the way from the click to the deletion is where the page says it is."""
    page = (DOCS / "development.md").read_text().partition("## Ten words")[0]
    chain = re.findall(r"^\| \[`([\w.]+)`\]\(\.\./([\w/]+)\.py\)", page, re.MULTILINE)
    assert len(chain) > 5
    for name, path in chain:
        module = path.replace("/", ".")
        function = name.removeprefix(f"{module.removeprefix('storage_plugin.')}.")
        assert callable(pkgutil.resolve_name(f"{module}:{function}"))
