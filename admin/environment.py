"""Makes the Python environment of make's commands, and installs requirements into it.

    python3 admin/environment.py PYTHON STAMP REQUIREMENTS

STAMP is a file in the environment. It is as new as the file REQUIREMENTS once all of them are
installed. This script also runs on a Python that is too old for the plugin, to say so.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

IS_GOOD = """
import sys, importlib.util
has_pip, is_virtual = importlib.util.find_spec("pip"), sys.prefix != sys.base_prefix
sys.exit(not (has_pip and is_virtual and sys.version_info >= (3, 10)))
"""
"""Succeeds in a virtual environment that has pip and a Python that is new enough."""

ONLY_HERE = {"PIP_REQUIRE_VIRTUALENV": "1", "PIP_USER": "0", "PIP_TARGET": "", "PIP_PREFIX": ""}
"""Options that keep pip from installing anything elsewhere."""


def main(python: str, stamp: Path, requirements: Path) -> None:
    """Make what is missing or unfinished. Commands that run at the same time take turns."""
    venv = stamp.parent
    unfinished = Path(f"{venv}.unfinished")
    with Path(f"{venv}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another command is installing into {venv}. This one waits for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        is_good = not unfinished.exists() and _is_good(venv)
        if is_good and stamp.exists() and stamp.stat().st_mtime >= requirements.stat().st_mtime:
            return
        unfinished.touch()
        if not is_good:
            _create(python, venv)
        _install(requirements, venv)
        stamp.touch()
        unfinished.unlink()


def _is_good(venv: Path) -> bool:
    python = venv / "bin" / "python"
    command = [str(python), "-c", IS_GOOD]
    return python.exists() and subprocess.call(command, stderr=subprocess.DEVNULL) == 0


def _create(python: str, venv: Path) -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 - This script runs on older ones, too.
        sys.exit(
            f"The plugin needs Python 3.10 or newer, and {python} is {sys.version.split()[0]}: "
            "name a newer one, for example make PYTHON=python3.13 demo."
        )
    print(f"Creating {venv} with {python}.", flush=True)
    if venv.exists():
        shutil.rmtree(venv)
    command = [python, "-m", "venv", str(venv)]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode or not _is_good(venv):
        sys.exit(
            f"{result.stdout}\n{python} cannot make an environment with pip. On Debian and Ubuntu, "
            "run sudo apt install python3-venv. Then run the same command again."
        )


def _install(requirements: Path, venv: Path) -> None:
    print(f"Installing {requirements} into {venv}, once:", flush=True)
    pip = [str(venv / "bin" / "python"), "-um", "pip", "--disable-pip-version-check"]
    output = []
    with subprocess.Popen(
        [*pip, "install", "--requirement", str(requirements)],
        env={**os.environ, **ONLY_HERE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            output.append(line)
            if line.startswith("Collecting"):
                print(" ", line.split()[1], flush=True)
            elif line.startswith("WARNING: Retrying"):  # It may take long.
                print(line, end="", flush=True)
    if process.returncode:
        advice = "pip failed. Remove the cause, and run the same command again."
        sys.exit("".join([*output[-10:], "\n", advice]))


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. To continue, run the same command again.")
    except OSError as error:
        sys.exit(str(error))
