"""The commands of make that a newcomer runs first."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from sandbox.function import ROOT

OLD = """#!/bin/sh
shift
exec {python} -c "import sys; sys.version_info = (3, 9, 18, 'final', 0); $1"
"""
"""A Python that says that it is an old one."""

WITHOUT_PIP = """#!/bin/sh
exec {python} "$@" --without-pip
"""
"""A Python that creates environments without pip, which takes seconds."""


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in the project, without the options of a make that runs these tests."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        [str(shutil.which("make")), *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def python(path: Path, script: str) -> Path:
    """Put a script that serves as a Python at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script.format(python=sys.executable))
    path.chmod(0o755)
    return path


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """One sentence says which Python is needed, before anything is made."""
    old, venv = python(tmp_path / "python3", OLD), tmp_path / "venv"
    result = make("demo", f"PYTHON={old}", f"VENV={venv}")
    sentence, *rest = result.stderr.splitlines()
    assert result.returncode == 2
    assert sentence.startswith(f"The plugin needs Python 3.10 or newer, and {old} is 3.9:")
    assert [line[:9] for line in rest] == ["make: ***"]
    assert not venv.exists()


def test_an_environment_of_an_old_python_is_made_again(tmp_path: Path) -> None:
    """An environment of an old Python is replaced; one of a new Python stays."""
    venv = tmp_path / "venv"
    python(venv / "bin" / "python", OLD)
    (venv / "function").touch()
    new = python(tmp_path / "python3", WITHOUT_PIP)
    command = (f"{venv}/pyvenv.cfg", f"PYTHON={new}", f"VENV={venv}")
    assert make(*command).returncode == 0
    version = subprocess.check_output([venv / "bin" / "python", "--version"], text=True)
    assert version == f"Python {sys.version.split()[0]}\n"
    assert not (venv / "function").exists()
    (venv / "function").touch()
    assert make(*command).returncode == 0
    assert (venv / "function").exists()


@pytest.mark.parametrize(("queue", "end"), [("1", signal.SIGINT), ("", signal.SIGTERM)])
def test_run_until_it_is_ended(queue: str, end: signal.Signals) -> None:
    """The lines that `make run` prints work, with a queue too, and Ctrl-C ends it quietly."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "run"],
        cwd=ROOT,
        env=os.environ | {"QUEUE": queue},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr:
        lines = list(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        *_, url = shlex.split(lines[lines.index("Remove from LucidLink:\n") + 1])
        assert requests.post(url, timeout=60).status_code == 401
        process.send_signal(end)
        assert (process.wait(), process.stderr.read()) == (0, "")
