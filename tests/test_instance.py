"""What an instance says of itself."""

import json
import platform
import re
import threading
from collections.abc import Iterator, Mapping
from importlib import metadata

import pytest
import requests

from sandbox.function import ROOT, reserved_port, run_function
from sandbox.secrets import METADATA, PROJECT_PATH, Secrets
from storage_plugin import __version__
from storage_plugin.logs import Project, greeting


def test_the_version_is_in_one_place() -> None:
    """The plugin has the version that its project has."""
    version = f'version = "{__version__}"'
    assert version in (ROOT / "pyproject.toml").read_text().splitlines()
    assert re.search(
        rf"^## \[{re.escape(__version__)}\]", (ROOT / "CHANGELOG.md").read_text(), re.M
    )


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "540"}, "540 s."),
        ({}, "60 s, because the platform names none."),
    ],
)
def test_the_greeting_names_versions_and_limit(environ: dict[str, str], limit: str) -> None:
    """The first line of a log says what runs there, and how long a request may take."""
    framework = metadata.version("functions-framework")
    assert greeting(environ) == (
        f"The plugin {__version__} starts: Python {platform.python_version()}, "
        f"functions-framework {framework}, time limit {limit}"
    )


TRACE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def secrets() -> Secrets:
    """Return a project with a metadata server."""
    return Secrets()


@pytest.fixture
def google(secrets: Secrets) -> Iterator[dict[str, str]]:
    """Return the environment of an instance on Google Cloud."""
    with secrets.serve() as environ:
        yield {**environ, "K_SERVICE": "iconik-handler"}


def find_out(environ: Mapping[str, str], times: int = 1) -> str:
    """Have the project found out, and return it when that has come to an end."""
    project = Project(environ)
    for _ in range(times):
        project.find_out()
    for thread in threading.enumerate():
        if thread.name == "project":
            thread.join()
    return project.get()


def test_the_project_is_asked_for_once(secrets: Secrets, google: dict[str, str]) -> None:
    """All requests of an instance together ask the metadata server once."""
    assert find_out(google, times=10) == "project"
    assert secrets.asked == [PROJECT_PATH]


def test_elsewhere_nobody_is_asked(secrets: Secrets, google: dict[str, str]) -> None:
    """Outside Google Cloud, and where the project is a setting, nothing is asked."""
    assert find_out({**google, "GOOGLE_CLOUD_PROJECT": "other"}) == "other"
    del google["K_SERVICE"]
    assert find_out(google) == ""
    assert secrets.asked == []


@pytest.mark.parametrize("answer", [None, "", "<html>", "\xff", "x" * 200])
def test_nonsense_is_no_project(
    google: dict[str, str], monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    """A metadata server that fails leaves the project unknown, and does no other harm."""
    monkeypatch.setitem(METADATA, PROJECT_PATH, answer)
    assert find_out(google) == ""


def test_a_metadata_server_that_is_away_is_no_harm(
    secrets: Secrets, google: dict[str, str]
) -> None:
    """Neither a silent one nor one that is not there is waited for."""
    with reserved_port() as port:
        assert find_out({**google, "GCE_METADATA_HOST": f"127.0.0.1:{port}"}) == ""
    secrets.silent = PROJECT_PATH
    project = Project(google)
    project.find_out()
    assert project.get() == ""


def test_traces_name_the_project_without_a_setting(google: dict[str, str]) -> None:
    """The lines of a request are found together in Cloud Logging."""
    settings = {"BZ_SHARED_SECRET": "first", "ICONIK_TOKEN": "token"}
    headers = {"X-Cloud-Trace-Context": f"{TRACE}/1;o=1"}
    names = {TRACE}
    with run_function(google | settings) as function:
        assert json.loads(function.start)["message"].startswith(f"The plugin {__version__} starts:")
        while names == {TRACE}:  # Until it is found out, which takes a request or two.
            requests.post(function.url, headers=headers, timeout=60)
            lines = [json.loads(line) for line in function.output.splitlines()]
            names = {line["logging.googleapis.com/trace"] for line in lines}
    assert names <= {TRACE, f"projects/project/traces/{TRACE}"}
