"""The lines that Cloud Logging reads, and the versions that they name."""

import io
import json
import platform
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from typing import Any

import pytest

from sandbox.function import ROOT
from storage_plugin import __version__
from storage_plugin.errors import CallerError, Fault, PluginError, QueueUnavailable
from storage_plugin.logs import Log, greeting

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


@pytest.mark.parametrize(
    ("header", "project", "trace"),
    [
        (TRACE, "p", f"projects/p/traces/{TRACE}"),
        (f"{TRACE}/123;o=1", "p", f"projects/p/traces/{TRACE}"),
        (TRACE, "", TRACE),
        ("", "p", None),
        ("../../x", "p", None),
    ],
)
def test_a_line_is_one_json_object(
    line: Line, header: str, project: str, trace: str | None
) -> None:
    """A message stays on its line, and belongs to its request; an invalid trace is left out."""
    Log(header, project).write("INFO", "two\nlines", status=200)
    entry = line()
    assert re.fullmatch("[0-9a-f]{6}", entry.pop("reference"))
    assert entry.pop("logging.googleapis.com/trace", None) == trace
    assert entry == {"severity": "INFO", "message": "two\nlines", "status": 200}


@pytest.mark.parametrize(
    ("error", "status", "severity"),
    [
        (None, 200, "INFO"),
        (CallerError("No."), 400, "WARNING"),
        (PluginError("No."), 200, "ERROR"),
        (PluginError("No."), 500, "ERROR"),
        (QueueUnavailable("No."), 503, "ERROR"),
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
                with suppress(threading.BrokenBarrierError):
                    everyone.wait(timeout=0.05)
            return len(text)

    stream = Parts()
    monkeypatch.setattr(sys, "stdout", stream)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(Log().write, "INFO", "x")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["x"] * 4


@pytest.mark.parametrize(
    ("environ", "seconds"), [({"CLOUD_RUN_TIMEOUT_SECONDS": "540"}, 540), ({}, 60)]
)
def test_the_greeting_names_versions_and_limit(environ: dict[str, str], seconds: int) -> None:
    """The first line of a log names the software and the time limit of a request."""
    assert greeting(environ) == (
        f"The plugin {__version__} starts: Python {platform.python_version()}, functions-framework "
        f"{metadata.version('functions-framework')}, time limit {seconds} s."
    )
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
