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
ENVIRON = os.environ | PROXIES | {"no_proxy": "", "NO_PROXY": ""}
"""An environment with proxies that do not answer, for all hosts."""


def run(command: list[str], **environ: str) -> str:
    """Run a command of the newcomer, and return what it prints."""
    environ = ENVIRON | environ
    return subprocess.run(command, cwd=ROOT, env=environ, stdout=-1, text=True, check=False).stdout


@contextmanager
def running(queue: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run the function and an iconik behind proxies; yield the process and what it prints."""
    command, environ = [sys.executable, "-m", "sandbox", "run"], ENVIRON | {"QUEUE": queue}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=-1, stderr=-1, text=True)
    assert process.stdout
    try:
        yield process, "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("queue", ["no", "1"])
def test_run_until_it_is_ended(queue: str) -> None:
    """The lines that it prints work, with a queue too, and Ctrl-C ends it quietly."""
    with running(queue) as (process, output):
        assert ("with a queue" in output) == (queue == "1")
        remove = output.partition("Remove from LucidLink:\n")[2].splitlines()[0]
        # On a busy machine, the queue may be too slow.
        assert queue == "1" or run(shlex.split(remove)).startswith("OK")
        process.send_signal(signal.SIGINT)  # Together with the signal that follows.


def test_a_rehearsal() -> None:
    """In another terminal, the administrator's commands work as they will with a real iconik."""
    with running("0") as (_, output):
        (export,) = re.findall(r"^  export (.*)$", output, re.MULTILINE)
        (night,) = re.findall(r"ASSET=(\S+)", output)
        variables = dict(word.split("=", 1) for word in shlex.split(export))

        def admin(*arguments: str) -> str:
            return run([sys.executable, "-m", "admin", *arguments], **variables)

        assert ", 1 failure." in admin("doctor")
        assert admin("actions").count(": created.") == 6
        assert "0 warnings, 0 failures." in admin("doctor")
        assert "night.mov is still being written" in admin("doctor", "--asset", night)
