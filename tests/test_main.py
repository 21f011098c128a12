"""The entry point in process: its actions, its secrets, and their faults."""

import json
import re
import sys
from pathlib import Path

import functions_framework
import pytest
from flask.testing import FlaskClient

from sandbox.world import World, new_id
from storage_plugin import webhook
from storage_plugin.errors import SecretUnavailable
from storage_plugin.secret_manager import Secret, SecretManager
from tests.stage import Stage

MORE = {"check": "Check {} on {}"}
"""An action that the table of actions may have some day."""

ROOT = Path(__file__).parent.parent
NAME, VARIABLE = "bz-shared-secret", "BZ_SHARED_SECRET"


class Vault(dict[str, str]):
    """A Secret Manager in memory."""

    def access(self, name: str) -> str:
        """Return a secret, or fail where there is none."""
        if name not in self:
            raise SecretUnavailable(name, "It is gone.")
        return self[name]


@pytest.fixture
def vault(world: World, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """Put a vault in the place of Google's Secret Manager."""
    vault = Vault({NAME: "first", "iconik-token": world.token})
    monkeypatch.setattr(SecretManager, "access", lambda _, name: vault.access(name))
    return vault


@pytest.fixture
def function(
    vault: Vault, world: World, iconik_url: str, monkeypatch: pytest.MonkeyPatch
) -> FlaskClient:
    """Return a client of a new instance of the function, with its secrets in the vault."""
    for variable in (VARIABLE, "ICONIK_TOKEN", "MASTER_STORAGE_NAME", "FORMAT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ICONIK_URL", iconik_url)
    monkeypatch.setenv("ICONIK_ID", world.app_id)
    monkeypatch.setenv("STORAGE_NAME", "LucidLink")
    monkeypatch.setenv("FUNCTION_TARGET", "iconik_handler")
    app = functions_framework.create_app("iconik_handler", str(ROOT / "main.py"))
    return app.test_client()


def statuses(function: FlaskClient, *secrets: str | None) -> list[int]:
    """Return the status of a request without a selection, for each given secret."""
    return [
        function.post("/add", headers={"x-bz-secret": secret} if secret else {}).status_code
        for secret in secrets
    ]


def test_a_rotated_secret_works_at_once(
    function: FlaskClient, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new secret is valid at its first use, except just after another unknown one."""
    now = 0.0
    secret = Secret(NAME, VARIABLE, access=vault.access, clock=lambda: now)
    monkeypatch.setattr(sys.modules["main"], "shared_secret", secret)
    assert statuses(function, "first") == [400]
    vault[NAME] = "second"
    now = 1.0
    assert statuses(function, "second") == [400]
    now = 2.0
    assert statuses(function, "first") == [401]
    vault[NAME] = "third"
    now = 10.5
    assert statuses(function, "third", "second") == [401, 400]
    now = 11.5
    assert statuses(function, "third", "second") == [400, 401]


def test_a_rotated_token_works_at_once(
    function: FlaskClient, vault: Vault, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that iconik refuses is read again within the same request."""
    now = 0.0
    token = Secret("iconik-token", "ICONIK_TOKEN", access=vault.access, clock=lambda: now)
    monkeypatch.setattr(sys.modules["main"], "iconik_token", token)
    world.add_storage("LucidLink")

    def add() -> int:
        headers = {"x-bz-secret": "first"}
        return function.post("/add", headers=headers, json={"asset_ids": [new_id()]}).status_code

    assert add() == 200
    vault["iconik-token"] = world.token = "second"
    now = 1.0
    assert add() == 200
    world.token = "third"
    now = 12.0
    assert add() == 500
    del vault["iconik-token"]
    now = 23.0
    assert add() == 503


# Actions


@pytest.mark.parametrize("name", [*webhook.ACTIONS, *MORE])
@pytest.mark.parametrize("has_queue", [False, True])
def test_an_action_is_one_of_two_by_name(
    monkeypatch: pytest.MonkeyPatch, has_queue: bool, name: str
) -> None:
    """Nothing is copied or deleted for any other name, even if the table of actions has it."""
    route = webhook.ROUTE.replace("(add", "(check|add")
    monkeypatch.setattr(webhook, "ACTIONS", webhook.ACTIONS | MORE)
    monkeypatch.setattr(webhook, "_PATH", re.compile(route))
    stage = Stage(has_queue=has_queue)
    asset_id, _ = stage.site.asset()
    other = stage.site.master()
    response = stage.click(f"/{name}", asset_ids=[asset_id, other])
    added = [row["asset_id"] for row in stage.world.transfers.values()]
    found = (response.status_code, stage.site.copies(), added)
    expected = {"add": (200, 1, [other]), "remove": (200, 0, []), "check": (404, 1, [])}
    assert found == expected[name]
    assert name != "check" or stage.calls == []


@pytest.fixture
def queued() -> Stage:
    """Return a function with a queue, and an iconik too slow for a click, which was clicked."""
    stage = Stage(has_queue=True)
    stage.latency = 1.0
    stage.click(asset_ids=stage.assets(1))
    stage.calls.clear()
    return stage


@pytest.mark.parametrize("path", ["/add", "/check"])
def test_the_queue_delivers_only_removals(queued: Stage, path: str) -> None:
    """Nothing else is ever handed over."""
    response = queued.post(path, queued.tasks[0].body, {"Authorization": "queue"})
    assert (response.status_code, queued.calls) == (404, [])


def test_a_task_of_another_version_is_dropped(queued: Stage) -> None:
    """The queue hears a success, so that it does not deliver it in vain."""
    queued.tasks.append(queued.tasks.pop()._replace(body=b"{}"))
    assert (queued.deliver(), queued.calls, queued.tasks) == (1, [], [])


def test_a_round_is_read_only_from_the_queue(queued: Stage) -> None:
    """A click that names a round is the click of somebody with the secret, and nothing else."""
    body = json.loads(queued.tasks.pop().body)
    body["round"]["overrides"]["storage"] = "Other"
    queued.click(**body)
    (task,) = queued.tasks
    assert json.loads(task.body)["round"]["overrides"]["storage"] == queued.site.lucidlink


def test_nothing_is_selected() -> None:
    """A click without a selection is a mistake."""
    stage = Stage()
    response = stage.click()
    assert (response.status_code, stage.calls) == (400, [])
    assert response.text.startswith("Nothing is selected")
