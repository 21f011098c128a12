"""`make run`, with which a newcomer tries everything without an account."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.function import ROOT

PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
PROXIES |= {"no_proxy": "", "NO_PROXY": ""}
"""Proxies that do not answer, for all hosts."""


@contextmanager
def running(queue: str = "") -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run the function and an iconik behind proxies; yield the process and what it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "run"],
        cwd=ROOT,
        env=os.environ | PROXIES | {"QUEUE": queue},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr:
        yield process, "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        process.terminate()
        assert (process.wait(), process.stderr.read()) == (0, "")


@pytest.mark.parametrize("queue", ["", "1"])
def test_run_until_it_is_ended(queue: str) -> None:
    """The lines that it prints work, with a queue too, and Ctrl-C ends it quietly."""
    with running(queue) as (process, output):
        remove = output.partition("Remove from LucidLink:\n")[2].splitlines()[0]
        answer = subprocess.check_output(shlex.split(remove), env=os.environ | PROXIES, text=True)
        assert answer.startswith("OK")
        process.send_signal(signal.SIGINT)  # Together with the signal that follows.


def test_a_rehearsal() -> None:
    """In another terminal, the administrator's commands work as they will with a real iconik."""
    with running() as (_, output):
        export = re.search(r"^  export (.*)$", output, re.MULTILINE)
        night = re.search(r"ASSET=(\S+)", output)
        assert export
        assert night
        variables = dict(word.split("=", 1) for word in shlex.split(export[1]))

        def admin(*arguments: str) -> str:
            return subprocess.run(
                [sys.executable, "-m", "admin", *arguments],
                cwd=ROOT,
                env=os.environ | PROXIES | variables,
                capture_output=True,
                text=True,
                check=False,
            ).stdout

        assert "To fix: actions." in admin("doctor")
        assert admin("actions", "create").count(": created.") == 6
        assert "0 warnings, 0 failures." in admin("doctor")
        assert "night.mov is still being written" in admin("doctor", "--asset", night[1])
