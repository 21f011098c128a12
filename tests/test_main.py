"""The entry point in process: the secrets, and what goes wrong."""

import json
import sys
import threading
from pathlib import Path

import functions_framework
import google.auth
import pytest
from flask.testing import FlaskClient

from sandbox.world import World, new_id
from storage_plugin import secret_manager
from storage_plugin.errors import SecretUnavailable
from storage_plugin.google_client import MAX_STUCK, GoogleClient
from storage_plugin.secret_manager import Secret, SecretManager

ROOT = Path(__file__).parent.parent


class Vault:
    """A Secret Manager in memory."""

    def __init__(self, world: World) -> None:
        self.secrets = {"bz-shared-secret": "first", "iconik-token": world.token}

    def access(self, name: str) -> str:
        """Return a secret, or fail where there is none."""
        if name not in self.secrets:
            raise SecretUnavailable(f"No {name}.", "It is away.")
        return self.secrets[name]


@pytest.fixture
def vault(world: World, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """Put a vault in the place of Google's Secret Manager."""
    vault = Vault(world)
    monkeypatch.setattr(SecretManager, "access", lambda _, name: vault.access(name))
    return vault


@pytest.fixture
def function(
    vault: Vault, world: World, iconik_url: str, monkeypatch: pytest.MonkeyPatch
) -> FlaskClient:
    """Return a client of a new instance of the function, with its secrets in the vault."""
    for variable in ("BZ_SHARED_SECRET", "ICONIK_TOKEN", "MASTER_STORAGE_NAME", "FORMAT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ICONIK_URL", iconik_url)
    monkeypatch.setenv("ICONIK_ID", world.app_id)
    monkeypatch.setenv("STORAGE_NAME", "LucidLink")
    monkeypatch.setenv("FUNCTION_TARGET", "iconik_handler")
    app = functions_framework.create_app("iconik_handler", str(ROOT / "main.py"))
    return app.test_client()


def statuses(function: FlaskClient, *secrets: str | None) -> list[int]:
    """Return the status of a request that selects nothing, for each secret that it may hold."""
    return [
        function.post("/add", headers={"x-bz-secret": secret} if secret else {}).status_code
        for secret in secrets
    ]


def test_only_the_secret_lets_in(function: FlaskClient) -> None:
    """A request is refused for its secret before it is for its missing body."""
    assert statuses(function, None, "wrong", "first") == [401, 401, 400]


def test_a_rotated_secret_works_at_once(
    function: FlaskClient, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new secret is seen when it is first used; only just after a wrong one it waits."""
    now = 0.0
    secret = Secret("bz-shared-secret", "BZ_SHARED_SECRET", access=vault.access, clock=lambda: now)
    monkeypatch.setattr(sys.modules["main"], "shared_secret", secret)
    assert statuses(function, "first") == [400]
    vault.secrets["bz-shared-secret"] = "second"
    now = 1.0
    assert statuses(function, "second") == [400]
    now = 2.0
    assert statuses(function, "first") == [401]
    vault.secrets["bz-shared-secret"] = "third"
    now = 11.0
    assert statuses(function, "third", "second") == [401, 400]
    now = 13.0
    assert statuses(function, "third", "second") == [400, 401]


def test_without_a_secret_nobody_is_let_in(function: FlaskClient, vault: Vault) -> None:
    """While the secret cannot be read or is empty the answer is 503, without details."""
    del vault.secrets["bz-shared-secret"]
    response = function.post("/add", headers={"x-bz-secret": "first"})
    assert (response.status_code, response.text) == (503, "No bz-shared-secret.")
    vault.secrets["bz-shared-secret"] = ""
    assert statuses(function, "first", None) == [503, 401]


def test_a_rotated_token_works_at_once(function: FlaskClient, vault: Vault, world: World) -> None:
    """A token that iconik refuses is read again within the same request."""
    world.add_storage("LucidLink")

    def add() -> int:
        headers = {"x-bz-secret": "first"}
        return function.post("/add", headers=headers, json={"asset_ids": [new_id()]}).status_code

    assert add() == 200
    vault.secrets["iconik-token"] = world.token = "second"
    assert add() == 200
    world.token = "third"
    assert add() == 500
    del vault.secrets["iconik-token"]
    assert add() == 503


def test_without_threads_nobody_is_let_in_and_that_is_critical(
    function: FlaskClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While eight accesses are stuck a request is refused at once, in a line that stands out."""
    may_end, threads = threading.Event(), []

    def hang(**_: object) -> None:
        threads.append(threading.current_thread())
        may_end.wait()
        raise google.auth.exceptions.DefaultCredentialsError("none")  # type: ignore[no-untyped-call]

    monkeypatch.undo()
    monkeypatch.setattr(google.auth, "default", hang)
    monkeypatch.setattr(
        secret_manager, "GoogleClient", lambda connect: GoogleClient(connect, seconds=0.01)
    )
    secret = Secret("bz-shared-secret", "BZ_SHARED_SECRET", access=SecretManager().access)
    monkeypatch.setattr(sys.modules["main"], "shared_secret", secret)
    assert statuses(function, *["first"] * (MAX_STUCK + 2)) == [503] * (MAX_STUCK + 2)
    assert len(threads) == MAX_STUCK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    severities = ["ERROR"] * MAX_STUCK + ["CRITICAL"] * 2
    assert [line["severity"] for line in lines if line.get("status") == 503] == severities
    may_end.set()
    for thread in threads:
        thread.join()
    assert statuses(function, "first") == [503]
    assert json.loads(capsys.readouterr().out)["severity"] == "ERROR"
