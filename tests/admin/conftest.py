"""What the administrator's commands work with: an iconik, a Google Cloud, and a folder."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from admin import __main__ as commands
from admin.installation import DEPLOYMENT
from sandbox.function import run_function
from sandbox.site import Site

SECRET = "shared-secret-for-tests"
URL = "https://us-central1-project.cloudfunctions.net/iconik_handler"
# A custom action that is not the plugin's.
OTHER = {"context": "BULK", "title": "Order a taxi", "url": "https://taxi.example/add-ride"}

Run = Callable[..., tuple[int, str]]
Finds = Callable[[str], bool]


@pytest.fixture(scope="module")
def function() -> Iterator[str]:
    """Run the function, whose settings nobody asks for here; return its URL."""
    with run_function({"BZ_SHARED_SECRET": SECRET}) as function:
        yield function.url


@pytest.fixture
def run(
    site: Site,
    iconik_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Iterator[Run]:
    """Return what runs a command in a folder with the settings of a site.

    In a test that asks for `cloud`, the command finds gcloud and Google, too.
    """
    site.world.permissions[site.lucidlink] = {"delete_access": True}
    secrets = {"BZ_SHARED_SECRET": SECRET, "ICONIK_TOKEN": site.world.token}
    google = {"PATH": os.environ["PATH"]}
    if "cloud" in request.fixturenames:
        google = request.getfixturevalue("cloud").environ

    def run(*arguments: str) -> tuple[int, str]:
        status = commands.main(arguments)
        output = "".join(capsys.readouterr())
        for secret in secrets.values():
            assert secret not in output
        return status, output

    with patch.dict(os.environ, google | secrets, clear=True):
        monkeypatch.chdir(tmp_path)
        Path(".env.yaml").touch()
        change_settings(**site.settings(iconik_url))
        yield run


@pytest.fixture
def finds(run: Run) -> Finds:
    """Return what runs the doctor, and says whether a state, a check and words are on one line."""

    def finds(finding: str) -> bool:
        state, check, words = finding.split("|", 2)
        status, output = run("doctor")
        assert status == ("FAILURE" in output)
        found = [line for line in output.splitlines() if line.startswith(f"{state:9}{check}: ")]
        return words in "\n".join(found)

    return finds


def change_settings(**values: str | None) -> None:
    """Put values into .env.yaml; None takes one out."""
    lines = Path(".env.yaml").read_text().splitlines()
    others = [line for line in lines if line.partition(":")[0] not in values]
    added = [f"{name}: '{value}'" for name, value in values.items() if value is not None]
    Path(".env.yaml").write_text("\n".join([*others, *added, ""]))


def set_deployment(url: str = URL, project: str = "p") -> None:
    """Have a function deployed from the folder."""
    DEPLOYMENT.write_text(json.dumps({"project": project, "region": "r", "url": url}))
