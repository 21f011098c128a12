"""`make run`, with which a newcomer tries everything without an account."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from admin.__main__ import main
from sandbox.function import ROOT

# Proxies that do not answer, for all hosts.
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
PROXIES |= {"no_proxy": "", "NO_PROXY": "", "QUEUE": "no"}


def test_a_rehearsal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines that it prints work, also the administrator's commands in another terminal."""
    command, environ = [sys.executable, "-m", "sandbox", "run"], os.environ | PROXIES
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=-1, stderr=-1, text=True)
    assert process.stdout
    try:
        output = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        remove = shlex.split(output.partition("Remove from LucidLink:\n")[2].splitlines()[0])
        assert subprocess.check_output(remove, env=environ, text=True).startswith("OK")
        (export,) = re.findall(r"^  export (.*)$", output, re.MULTILINE)
        (night,) = re.findall(r"ASSET=(\S+)", output)
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(os, "environ", environ)
        environ.update(each.split("=", 1) for each in shlex.split(export))
        for words, said in (
            ("doctor", ", 1 failure."),
            ("actions", "Remove from LucidLink (BULK): created."),
            ("doctor", "0 warnings, 0 failures."),
            (f"doctor --asset {night}", "night.mov is still being written"),
        ):
            main(words.split())
            assert said in capsys.readouterr().out
    finally:
        process.send_signal(signal.SIGINT)
        process.terminate()  # A second signal does no harm.
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
