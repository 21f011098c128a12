"""The lines that Cloud Logging reads."""

import contextlib
import io
import json
import re
import sys
import threading

import pytest

from storage_plugin.errors import CallerError, Fault, PluginError, SecretUnavailable
from storage_plugin.logs import Log

TYPE = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
TRACE = "0123456789abcdef0123456789abcdef"


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a message holds, it stays on its line."""
    Log().write("INFO", "two\nlines", status=200)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    entry = json.loads(line)
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
    capsys: pytest.CaptureFixture[str], header: str, project: str | None, trace: str | None
) -> None:
    """A request's lines are found together; what is no trace is left out."""
    Log(header, lambda: project).write("INFO", "x")
    assert json.loads(capsys.readouterr().out).get("logging.googleapis.com/trace") == trace


def test_a_project_that_is_known_later_is_in_later_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A line names the project if it is known when the line is written."""
    projects = iter(["", "p"])
    log = Log(TRACE, lambda: next(projects))
    log.write("INFO", "first")
    log.write("INFO", "second")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    traces = [line["logging.googleapis.com/trace"] for line in lines]
    assert traces == [TRACE, f"projects/p/traces/{TRACE}"]


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
    capsys: pytest.CaptureFixture[str],
    error: PluginError | None,
    status: int,
    severity: str,
) -> None:
    """Error Reporting shows what is answered with 500 and above."""
    Log().write_answer("No.", status, error=error)
    line = json.loads(capsys.readouterr().out)
    assert (line["severity"], line["message"]) == (severity, f"request {status}: No.")
    assert line.get("@type") == (TYPE if status >= 500 else None)
    assert "stack_trace" not in line


def test_a_fault_says_where_it_is_and_quotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The stack trace has the form that Error Reporting knows, without the error's words."""
    header = "of-a-header"
    try:
        raise ValueError(f"Invalid header {header}")
    except ValueError as error:
        Log().write_answer("No.", 500, error=Fault(error))
    line = json.loads(capsys.readouterr().out)
    assert line["message"] == "request 500: No. ValueError"
    assert line["stack_trace"].startswith("Traceback (most recent call last):\n  File ")
    assert __file__ in line["stack_trace"]
    assert line["stack_trace"].endswith("\nValueError")
    assert header not in str(line)


def test_lines_of_threads_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that write side by side write line by line, even to a stream that writes in parts."""
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
    threads = [threading.Thread(target=Log().write, args=("INFO", "x")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["x"] * 4
