"""The lines that Cloud Logging reads, and the versions that they name."""

import io
import json
import platform
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import pytest

from sandbox.function import ROOT
from storage_plugin import __version__
from storage_plugin.errors import CallerError, Fault, PluginError, QueueUnavailable
from storage_plugin.logs import Log, greeting

TYPE = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
ID = "0123456789abcdef0123456789abcdef"
TRACE = {"logging.googleapis.com/trace": f"projects/p/traces/{ID}"}


def only_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the only new line of the log, without its reference."""
    (line,) = capsys.readouterr().out.splitlines()
    entry = dict(json.loads(line))
    assert re.fullmatch("[0-9a-f]{6}", entry.pop("reference"))
    return entry


@pytest.mark.parametrize(
    ("header", "project", "trace"),
    [(ID, "p", TRACE), (f"{ID}/1;o=1", "p", TRACE), (ID, "", {}), ("", "p", {}), ("../x", "p", {})],
)
def test_a_line_is_one_json_object(
    capsys: pytest.CaptureFixture[str], header: str, project: str, trace: dict[str, str]
) -> None:
    """A message stays on its line, and belongs to its request; an invalid trace is left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_CLOUD_PROJECT", project)
        Log(header).write("INFO", "two\nlines", status=200)
    expected = {"severity": "INFO", "message": "two\nlines", "status": 200}
    assert only_line(capsys) == expected | trace


@pytest.mark.parametrize(
    ("error", "status", "severity"),
    [
        (None, 200, "INFO"),
        (CallerError("No."), 400, "WARNING"),
        (PluginError("No."), 200, "ERROR"),
        (PluginError("No."), 500, "ERROR"),
        (QueueUnavailable("No.", "Why."), 503, "ERROR"),
    ],
)
def test_errors_are_reported(
    capsys: pytest.CaptureFixture[str], error: PluginError | None, status: int, severity: str
) -> None:
    """Error Reporting shows answers with a status of 500 and above."""
    Log().write_answer("No.", status, error=error)
    message = f"request {status}: No.{' Why.' if status == 503 else ''}"
    expected = {"severity": severity, "message": message, "status": status}
    assert only_line(capsys) == expected | ({"@type": TYPE} if status >= 500 else {})


def test_a_fault_says_where_it_is_and_quotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The stack trace has the form that Error Reporting knows, without the error's words."""
    try:
        raise ValueError("header ".title())
    except ValueError as error:
        Log().write_answer("No.", 500, error=Fault(error))
    entry = only_line(capsys)
    assert entry["message"] == "request 500: No. ValueError"
    trace = rf'Traceback \(most recent call last\):\n  File "{__file__}", .*\nValueError'
    assert re.fullmatch(trace, entry["stack_trace"], re.DOTALL)
    assert "Header" not in str(entry)


def test_lines_of_threads_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of parallel threads stay whole, even on a stream that writes in parts."""

    class Parts(io.StringIO):
        """Lets other threads come between the parts of what it writes, if they can."""

        def write(self, text: str) -> int:
            for part in text.partition(" "):
                super().write(part)
                time.sleep(0.01)
            return len(text)

    monkeypatch.setattr(sys, "stdout", stream := Parts())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Log().write, ["INFO"] * 4, "xxxx"))
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["x"] * 4


@pytest.mark.parametrize(("variable", "seconds"), [("540", 540), ("", 60)])
def test_the_greeting(monkeypatch: pytest.MonkeyPatch, variable: str, seconds: int) -> None:
    """The first line of a log names the versions of the software and the time for a request."""
    monkeypatch.setenv("CLOUD_RUN_TIMEOUT_SECONDS", variable)
    assert greeting() == (
        f"The plugin {__version__} starts: Python {platform.python_version()}, functions-framework "
        f"{metadata.version('functions-framework')}, time limit {seconds} s."
    )
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
