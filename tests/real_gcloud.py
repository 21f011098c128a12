"""The real gcloud, and a Google Cloud project in memory that it works with."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.google_cloud import Project, serve

GCLOUD = shutil.which("gcloud")

needs_gcloud = pytest.mark.skipif(
    not GCLOUD, reason="gcloud is not installed: what Google gets is NOT tested"
)

SLEEP = '#!/bin/sh\necho "$1" >>"$0.seconds"\n'
"""A program that does not wait, but writes down the seconds that it should have waited."""


@functools.cache
def sdk() -> tuple[str, dict[str, str]]:
    """Return gcloud's own Python, and the environment in which it finds gcloud's modules."""
    places = "--format=value[separator=' '](installation.sdk_root,basic.python_location)"
    quiet = {"PYTHONWARNINGS": "ignore"}  # gcloud itself is not free of warnings.
    command = [str(GCLOUD), "info", places]
    root, python = subprocess.check_output(command, env=os.environ | quiet, text=True).split()
    return python, {"PYTHONPATH": f"{root}/lib:{root}/lib/third_party", **quiet}


class Cloud:
    """A project at Google, and gcloud, which is logged in there."""

    project: Project  # That gcloud works with.
    environ: dict[str, str]  # In which gcloud finds Google.

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # Programs that come first on the path, and what they have written.
        self.reset()

    def reset(self) -> None:
        """Begin with a new project, in which nothing has happened."""
        for name in ("calls", "sleep.seconds"):
            (self.folder / name).write_text("")
        self.project = Project(lambda: sum(self.pauses()))

    def calls(self) -> str:
        """Return the arguments and the environment of each command."""
        return (self.folder / "calls").read_text()

    def pauses(self) -> list[float]:
        """Return the seconds that the programs have waited."""
        return [float(line) for line in (self.folder / "sleep.seconds").read_text().split()]


@pytest.fixture(scope="session")
def session_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Load gcloud once for all commands, and serve a project."""
    if not GCLOUD:
        pytest.skip("gcloud is not installed: what Google gets is NOT tested")
    folder = tmp_path_factory.mktemp("gcloud")
    (folder / "sleep").write_text(SLEEP)
    (folder / "sleep").chmod(0o755)
    cloud, (python, environ) = Cloud(folder), sdk()
    with serve(folder, lambda: cloud.project) as google:
        cloud.environ = google | {"PATH": f"{folder}:{os.environ['PATH']}"}
        command = [python, "-S", str(Path(__file__).with_name("fast_gcloud.py")), str(folder)]
        with subprocess.Popen(command, env=environ | google, stdout=subprocess.PIPE) as server:
            assert b"gcloud is ready\n" in (server.stdout or ())
            yield cloud
            server.kill()


@pytest.fixture
def cloud(session_cloud: Cloud) -> Cloud:
    """Return Google with a new project."""
    session_cloud.reset()
    return session_cloud
