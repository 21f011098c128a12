"""The lines that Cloud Logging reads."""

import contextlib
import io
import json
import re
import sys
import threading

import pytest

from storage_plugin.logs import Log

TRACE = "0123456789abcdef0123456789abcdef"


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a message holds, it stays on its line."""
    Log("", None).write("INFO", "two\nlines", status=200)
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
    Log(header, project).write("INFO", "x")
    assert json.loads(capsys.readouterr().out).get("logging.googleapis.com/trace") == trace


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
    threads = [threading.Thread(target=Log("", None).write, args=("INFO", "x")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["x"] * 4
