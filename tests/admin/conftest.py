"""What the administrator's commands work with: an iconik, a Google Cloud, and a folder."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from admin import __main__ as commands
from admin.files import Deployment
from sandbox import gcloud
from sandbox.function import run_function
from sandbox.gcloud import Project, install
from sandbox.site import Site
from sandbox.world import World

SECRET = "shared-secret-for-tests"
URL = "https://us-central1-project.cloudfunctions.net/iconik_handler"
OTHER = {"context": "BULK", "title": "Order a taxi", "url": "https://taxi.example/add-ride"}
"""A custom action that is not the plugin's."""

Run = Callable[..., tuple[int, str]]


class Cloud:
    """The Google Cloud project that the gcloud on the PATH changes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "project.json"
        self.path = f"{folder}:{os.environ['PATH']}"
        folder.mkdir()
        install(folder, self._file)

    @property
    def state(self) -> dict[str, Any]:
        """What there is, as `Project` has it."""
        return Project(self._file).state

    @contextmanager
    def edit(self) -> Iterator[dict[str, Any]]:
        """Yield what there is, to be changed."""
        project = Project(self._file)
        yield project.state
        project.save()

    def change(self, **changes: object) -> None:
        """Replace some of what there is."""
        with self.edit() as state:
            state.update(changes)

    def fail(self, command: str, text: str, kind: str = "before") -> None:
        """Have a command fail once."""
        with self.edit() as state:
            state["faults"].append({"command": command, "kind": kind, "text": text, "times": 1})


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """Return a new project at Google."""
    return Cloud(tmp_path / "cloud")


@pytest.fixture(autouse=True)
def environ() -> Iterator[None]:
    """Restore the environment last: monkeypatch puts back what it has found within `run`."""
    with patch.dict(os.environ):
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gcloud work in this process: a test of many runs starts it very often."""

    def serve(line: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as context, redirect_stdout(out), redirect_stderr(err):
            context.setattr(sys, "stdin", io.StringIO(options["input"]))
            status = gcloud.main(line[1:], Project(Path(line[0]).with_name("project.json")))
        return subprocess.CompletedProcess(line, status, out.getvalue(), err.getvalue())

    monkeypatch.setattr(subprocess, "run", serve)


@pytest.fixture(scope="module")
def function() -> Iterator[str]:
    """Run the function, whose settings nobody asks for here; return its URL."""
    with run_function({"BZ_SHARED_SECRET": SECRET}) as function:
        yield function.url


@pytest.fixture
def folder(site: Site, iconik_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with the settings of a site."""
    site.world.permissions[site.lucidlink] = {"delete_access": True}
    monkeypatch.chdir(tmp_path)
    Path(".env.yaml").touch()
    change_settings(**site.settings(iconik_url))


@pytest.fixture
def run(
    world: World, folder: None, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Return a function that runs a command there, and returns its status and output."""
    secrets = {"BZ_SHARED_SECRET": SECRET, "ICONIK_TOKEN": world.token}

    def run(*arguments: str) -> tuple[int, str]:
        status = commands.main(arguments)
        output = "".join(capsys.readouterr())
        for secret in secrets.values():
            assert secret not in output
        return status, output

    with patch.dict(os.environ, {"PATH": cloud.path, **secrets}, clear=True):
        yield run


def change_settings(**values: str | None) -> None:
    """Put values into .env.yaml; None takes one out."""
    lines = Path(".env.yaml").read_text().splitlines()
    kept = [line for line in lines if line.partition(":")[0] not in values]
    added = [f"{name}: '{value}'" for name, value in values.items() if value is not None]
    Path(".env.yaml").write_text("\n".join([*kept, *added, ""]))


def set_deployment(url: str = URL, project: str = "p") -> None:
    """Have a function deployed from the folder."""
    Deployment(project, region="r", url=url, digest="", updated="").write()
