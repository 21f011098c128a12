"""The real gcloud, and a Google Cloud project in memory that it works with."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.function import ROOT
from sandbox.google_cloud import Project, serve

MISSING = "gcloud is not installed, or this is not Linux: what Google gets is NOT tested"
IS_THERE = shutil.which("gcloud") and Path("/proc/self/environ").exists()
needs_gcloud = pytest.mark.skipif(not IS_THERE, reason=MISSING)

# A program that does not wait, but writes down the seconds that it should have waited.
SLEEP = '#!/bin/sh\necho "$1" >>"$0.seconds"\n'


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
    if not IS_THERE:
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("gcloud")
    (folder / "sleep").write_text(SLEEP)
    (folder / "sleep").chmod(0o755)
    cloud = Cloud(folder)
    # gcloud's launcher starts its own Python with these. gcloud is not free of warnings.
    own = {"CLOUDSDK_PYTHON_ARGS": "-S tests/fast_gcloud.py", "PYTHONWARNINGS": "ignore"}
    with serve(folder, lambda: cloud.project) as google:
        cloud.environ = google | {"PATH": f"{folder}:{os.environ['PATH']}"}
        command, environ = ["gcloud", str(folder)], os.environ | google | own
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as server:
            assert b"gcloud is ready\n" in (server.stdout or ())
            yield cloud
            server.kill()


@pytest.fixture
def cloud(session_cloud: Cloud) -> Cloud:
    """Return Google with a new project."""
    session_cloud.reset()
    return session_cloud
