"""The lines that Cloud Logging reads, and the versions and the project that they name."""

import contextlib
import io
import json
import platform
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import pytest
import requests

from sandbox.function import ROOT, reserved_port, run_function
from sandbox.secrets import METADATA, PROJECT_PATH, Secrets
from storage_plugin import __version__, logs
from storage_plugin.errors import CallerError, Fault, PluginError, SecretUnavailable
from storage_plugin.logs import Log, Project, greeting

TYPE = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
TRACE = "0123456789abcdef0123456789abcdef"

Line = Callable[[], dict[str, Any]]


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Line:
    """Return a function that returns the only new line of the log."""

    def read() -> dict[str, Any]:
        (line,) = capsys.readouterr().out.splitlines()
        return dict(json.loads(line))

    return read


def test_a_line_is_one_json_object(line: Line) -> None:
    """A message stays on its line, whatever it contains."""
    Log().write("INFO", "two\nlines", status=200)
    entry = line()
    assert re.fullmatch("[0-9a-f]{6}", entry.pop("reference"))
    assert entry == {"severity": "INFO", "message": "two\nlines", "status": 200}


@pytest.mark.parametrize(
    ("header", "project", "trace"),
    [
        (TRACE, "p", f"projects/p/traces/{TRACE}"),
        (f"{TRACE}/123;o=1", "p", f"projects/p/traces/{TRACE}"),
        (TRACE, None, TRACE),
        ("", "p", None),
        ("../../x", "p", None),
    ],
)
def test_lines_belong_to_their_trace(
    line: Line, header: str, project: str | None, trace: str | None
) -> None:
    """Cloud Logging shows a request's lines together; an invalid trace is left out."""
    Log(header, lambda: project).write("INFO", "x")
    assert line().get("logging.googleapis.com/trace") == trace


def test_a_project_that_is_known_later_is_in_later_lines(line: Line) -> None:
    """A line names the project if it is known when the line is written."""
    log = Log(TRACE, iter(["", "p"]).__next__)
    for trace in (TRACE, f"projects/p/traces/{TRACE}"):
        log.write("INFO", "x")
        assert line()["logging.googleapis.com/trace"] == trace


@pytest.mark.parametrize(
    ("error", "status", "severity"),
    [
        (None, 200, "INFO"),
        (CallerError("No."), 400, "WARNING"),
        (PluginError("No."), 200, "ERROR"),
        (PluginError("No."), 500, "ERROR"),
        (SecretUnavailable("No."), 503, "ERROR"),
    ],
)
def test_errors_are_reported(
    line: Line, error: PluginError | None, status: int, severity: str
) -> None:
    """Error Reporting shows answers with a status of 500 and above."""
    Log().write_answer("No.", status, error=error)
    entry = line()
    assert (entry["severity"], entry["status"]) == (severity, status)
    assert entry["message"] == f"request {status}: No."
    assert entry.get("@type") == (TYPE if status >= 500 else None)
    assert "stack_trace" not in entry


def test_a_fault_says_where_it_is_and_quotes_nothing(line: Line) -> None:
    """The stack trace has the form that Error Reporting knows, without the error's words."""
    header = "of-a-header"
    try:
        raise ValueError(f"Invalid header {header}")
    except ValueError as error:
        Log().write_answer("No.", 500, error=Fault(error))
    entry = line()
    assert entry["message"] == "request 500: No. ValueError"
    assert entry["stack_trace"].startswith("Traceback (most recent call last):\n  File ")
    assert __file__ in entry["stack_trace"]
    assert entry["stack_trace"].endswith("\nValueError")
    assert header not in str(entry)


def test_lines_of_threads_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of parallel threads stay whole, even on a stream that writes in parts."""
    everyone = threading.Barrier(4)

    class Parts(io.StringIO):
        """Lets other threads come between the parts of what it writes, if they can."""

        def write(self, text: str) -> int:
            for part in text.partition(" "):
                super().write(part)
                with contextlib.suppress(threading.BrokenBarrierError):
                    everyone.wait(timeout=0.05)
            return len(text)

    stream = Parts()
    monkeypatch.setattr(sys, "stdout", stream)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(Log().write, "INFO", "x")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["x"] * 4


# The start of an instance


def test_the_version_is_in_one_place() -> None:
    """The project has the plugin's version, and the changelog lists it."""
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "540"}, "540 s."),
        ({}, "60 s, because the platform names none."),
    ],
)
def test_the_greeting_names_versions_and_limit(environ: dict[str, str], limit: str) -> None:
    """The first line of a log names the software and the time limit of a request."""
    framework = metadata.version("functions-framework")
    assert greeting(environ) == (
        f"The plugin {__version__} starts: Python {platform.python_version()}, "
        f"functions-framework {framework}, time limit {limit}"
    )


# The project


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
    """Find out the project, and return it when the threads have ended."""
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
    """Outside Google Cloud, or with a setting, the plugin does not ask the metadata server."""
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
    secrets: Secrets, google: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not there, or does not answer in time, leaves the project unknown."""
    with reserved_port() as port:
        assert find_out({**google, "GCE_METADATA_HOST": f"127.0.0.1:{port}"}) == ""
    monkeypatch.setattr(logs, "METADATA_TIMEOUT", 0.01)
    secrets.silent = PROJECT_PATH
    assert find_out(google) == ""


def test_traces_name_the_project_without_a_setting(google: dict[str, str]) -> None:
    """Cloud Logging shows the lines of a request together."""
    settings = {"BZ_SHARED_SECRET": "first", "ICONIK_TOKEN": "token"}
    headers = {"X-Cloud-Trace-Context": f"{TRACE}/1;o=1"}
    names = {TRACE}
    with run_function(google | settings) as function:
        assert json.loads(function.start)["message"] == greeting({})
        while names == {TRACE}:  # Until it is found out, which takes a request or two.
            requests.post(function.url, headers=headers, timeout=60)
            lines = [json.loads(line) for line in function.output.splitlines()]
            names = {line["logging.googleapis.com/trace"] for line in lines}
    assert names <= {TRACE, f"projects/project/traces/{TRACE}"}
