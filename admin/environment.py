"""Makes the Python environment of make's commands, and installs requirements into it.

    python3 admin/environment.py PYTHON STAMP REQUIREMENTS

STAMP is a file in the environment. Once all requirements are installed, it is as new as the file
REQUIREMENTS. This script also runs on a Python that is too old for the plugin, to say so.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

# Succeeds in a virtual environment that has pip and a Python that is new enough.
IS_GOOD = "import sys, pip; sys.exit(sys.prefix == sys.base_prefix or sys.version_info < (3, 10))"
# Options that keep pip from installing anything elsewhere.
ONLY_HERE = {"PIP_REQUIRE_VIRTUALENV": "1", "PIP_USER": "0", "PIP_TARGET": "", "PIP_PREFIX": ""}
TOO_OLD = """The plugin needs Python 3.10 or newer, and {} is {}: name a newer one, for example \
make PYTHON=python3.13 demo."""
NO_VENV = """{} cannot make an environment with pip. On Debian and Ubuntu, run sudo apt install \
python3-venv. Then run the same command again."""


def main(python: str, stamp: Path, requirements: Path) -> None:
    """Make what is missing or unfinished. Commands that run at the same time take turns."""
    venv = stamp.parent
    inside, unfinished = venv / "bin" / "python", Path(f"{venv}.unfinished")
    with Path(f"{venv}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check = [str(inside), "-c", IS_GOOD]
        is_whole = inside.exists() and not unfinished.exists()
        is_good = is_whole and subprocess.call(check, stderr=subprocess.DEVNULL) == 0
        if is_good and stamp.exists() and stamp.stat().st_mtime >= requirements.stat().st_mtime:
            return
        unfinished.touch()
        if not is_good:
            if sys.version_info < (3, 10):  # noqa: UP036 - This script runs on older ones, too.
                sys.exit(TOO_OLD.format(python, sys.version.split()[0]))
            print(f"Creating {venv} with {python}.", flush=True)
            _run([python, "-m", "venv", "--clear", str(venv)], NO_VENV.format(python))
        print(f"Installing {requirements} into {venv}, once, which may take minutes.", flush=True)
        pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        advice = "pip failed. Remove the cause, and run the same command again."
        _run([*pip, "--requirement", str(requirements)], advice)
        stamp.touch()
        unfinished.unlink()


def _run(command: "list[str]", advice: str) -> None:
    """Run a command quietly. If it fails, show what it says and some advice, and end."""
    environ = {**os.environ, **ONLY_HERE}
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{result.stdout}{result.stderr}\n{advice}")


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. To continue, run the same command again.")
