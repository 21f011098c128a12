"""The environment of make's commands: right whatever happened before, and the only one changed."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import getsource
from pathlib import Path

import pytest

from sandbox.function import ROOT

BASE = sys._base_executable  # type: ignore[attr-defined] # A Python that is no environment.
# A Python whose environments get their pip from a folder.
PYTHON = f"""#!/bin/sh
case "$*" in *"-m venv"*) ;; *) exec {BASE} "$@";; esac
for venv; do :; done
echo made >>$venv.log
{BASE} "$@" --without-pip
cp -r "{{pip}}" $venv/lib/python*/site-packages
"""
# A pip that installs nothing. A file interrupts it.
PIP = """
import os, pathlib, signal, sys
assert sys.prefix != sys.base_prefix
options = [os.environ["PIP_" + name] for name in ("REQUIRE_VIRTUALENV", "USER", "TARGET", "PREFIX")]
assert options == ["1", "0", "", ""]  # To pip, an empty option is none.
with open(f"{sys.prefix}.log", "a") as log: print("installed", file=log)
if pathlib.Path(f"{sys.prefix}.interrupt").exists(): os.killpg(0, signal.SIGINT)
"""
# A Python that says that it is an old one.
OLD = """#!/bin/sh
shift
exec {python} -c "import sys; sys.version = '3.9'; sys.version_info = (3, 9); exec({code})" "$@"
"""


def put(path: Path, script: str) -> None:
    """Put an executable at a path."""
    path.unlink(missing_ok=True)
    path.write_text(script)
    path.chmod(0o755)


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Return the path of an environment that does not exist, and a Python to make it beside it."""
    folder = tmp_path / "fake" / "pip"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(PIP)
    put(tmp_path / "python3", PYTHON.format(pip=folder))
    return tmp_path / "venv"


def make(venv: Path) -> tuple[int, str, str]:
    """Have make install into an environment; return its status, its output, and what was done."""
    # Without what a make that runs this test sets. Python warns of a child that Ctrl-C still ends.
    own = ("MAKE", "PYTHONWARNINGS")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    elsewhere = {"PIP_TARGET": f"{venv}-x", "PIP_PREFIX": f"{venv}-x", "PIP_USER": "1"}
    result = subprocess.run(
        [str(shutil.which("make")), f"{venv}/dev", f"VENV={venv}", f"PYTHON={venv.parent}/python3"],
        cwd=ROOT,
        env=environ | elsewhere,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        check=False,
    )
    done = log.read_text() if (log := Path(f"{venv}.log")).exists() else ""
    log.unlink(missing_ok=True)
    return result.returncode, result.stdout, " ".join(done.split())


def age(venv: Path) -> None:
    """Have an environment's Python be too old."""
    python = venv / "bin" / "python"
    put(python, OLD.format(python=f"{python}3", code="sys.argv[1]"))


# What happens to an environment, and what the next command does.
SPOILED: list[tuple[Callable[[Path], object], str]] = [
    (lambda _: None, ""),
    (lambda venv: os.utime(venv / "dev", (0, 0)), "installed"),
    (lambda venv: (venv / "dev").unlink(), "installed"),
    (lambda venv: (venv / "pyvenv.cfg").unlink(), "made installed"),
    (lambda venv: (venv / "bin" / "python").unlink(), "made installed"),
    (lambda venv: shutil.rmtree(*venv.glob("lib/*/site-packages/pip")), "made installed"),
    (age, "made installed"),
]


def test_only_what_is_not_good_is_made_again(venv: Path) -> None:
    """Nothing is installed with a Python that is old, has no pip, or is the user's own.

    Variables for pip do not lead it elsewhere. Two commands at the same time take turns, and the
    second one uses what the first one has made.
    """
    with ThreadPoolExecutor(2) as pool:
        assert sorted(done for _, _, done in pool.map(make, [venv] * 2)) == ["", "made installed"]
    for spoil, expected in SPOILED:
        spoil(venv)
        assert make(venv)[::2] == (0, expected), getsource(spoil)


def test_an_interrupted_environment_is_made_again(venv: Path) -> None:
    """Ctrl-C is one sentence, and the next command begins with a new environment."""
    (interrupt := Path(f"{venv}.interrupt")).touch()
    _, output, _ = make(venv)
    assert "\nInterrupted. To continue, run the same command again.\n" in output
    assert "Traceback" not in output
    interrupt.unlink()
    assert make(venv)[::2] == (0, "made installed")


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (OLD.format(python=BASE, code="open('admin/environment.py').read()"), "is 3.9: name a"),
        (f"#!/bin/sh\n[ $1 != -m ] && exec {BASE} $@", "run sudo apt install python3-venv."),
    ],
    ids=["an old Python", "a Python that makes no environments"],
)
def test_a_python_that_does_not_do_is_named(venv: Path, script: str, sentence: str) -> None:
    """One sentence says what is needed, before anything is made."""
    put(venv.parent / "python3", script)
    status, output, done = make(venv)
    assert (status, sentence in output, done, venv.exists()) == (2, True, "", False)
    ast.parse((ROOT / "admin" / "environment.py").read_text(), feature_version=(3, 7))
