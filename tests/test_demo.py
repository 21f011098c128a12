"""`make run`, with which a newcomer tries everything without an account."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.function import ROOT

PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
# An environment with proxies that do not answer, for all hosts.
ENVIRON = os.environ | PROXIES | {"no_proxy": "", "NO_PROXY": ""}


def run(command: list[str], **environ: str) -> str:
    """Run a command of the newcomer, and return what it prints."""
    environ = ENVIRON | environ
    return subprocess.run(command, cwd=ROOT, env=environ, stdout=-1, text=True, check=False).stdout


@contextmanager
def running(queue: str) -> Iterator[str]:
    """Run the function and an iconik behind proxies, and yield what it prints; Ctrl-C ends it."""
    command, environ = [sys.executable, "-m", "sandbox", "run"], ENVIRON | {"QUEUE": queue}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=-1, stderr=-1, text=True)
    assert process.stdout
    try:
        yield "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
    finally:
        process.send_signal(signal.SIGINT)
        process.terminate()  # A second signal does no harm.
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_with_a_queue() -> None:
    """It says that it has one."""
    with running("1") as output:
        assert "the function with a queue" in output


def test_a_rehearsal() -> None:
    """The lines that it prints work, also the administrator's commands in another terminal."""
    with running("no") as output:
        assert "with a queue" not in output
        remove = output.partition("Remove from LucidLink:\n")[2].splitlines()[0]
        assert run(shlex.split(remove)).startswith("OK")
        (export,) = re.findall(r"^  export (.*)$", output, re.MULTILINE)
        (night,) = re.findall(r"ASSET=(\S+)", output)
        variables = dict(word.split("=", 1) for word in shlex.split(export))

        def admin(*arguments: str) -> str:
            return run([sys.executable, "-m", "admin", *arguments], **variables)

        assert ", 1 failure." in admin("doctor")
        assert admin("actions").count(": created.") == 6
        assert "0 warnings, 0 failures." in admin("doctor")
        assert "night.mov is still being written" in admin("doctor", "--asset", night)
