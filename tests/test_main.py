"""The entry point in process: its secrets, and what the queue may deliver."""

from types import SimpleNamespace

import pytest

from sandbox.site import SECRET
from storage_plugin import secret_manager, webhook
from storage_plugin.errors import SecretUnavailable
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET, Secret
from tests.stage import Stage, main


class Vault(dict[str, str]):
    """A Secret Manager in memory."""

    def __missing__(self, name: str) -> str:
        """Fail where there is no secret."""
        raise SecretUnavailable(name, "It is gone.")


@pytest.fixture
def stage() -> Stage:
    """Return a function without a queue, and with its secrets in a vault."""
    stage = Stage()
    del stage.environ["BZ_SHARED_SECRET"], stage.environ["ICONIK_TOKEN"]
    return stage


@pytest.fixture
def vault(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """Return the vault of the function."""
    monkeypatch.setattr(secret_manager, "time", SimpleNamespace(monotonic=lambda: stage.now))
    vault = Vault({SHARED_SECRET[0]: SECRET, ICONIK_TOKEN[0]: stage.world.token})
    for name, secret in {"shared_secret": SHARED_SECRET, "iconik_token": ICONIK_TOKEN}.items():
        monkeypatch.setattr(main, name, Secret(*secret, access=vault.__getitem__))
    return vault


def test_a_rotated_secret_works_at_once(stage: Stage, vault: Vault) -> None:
    """A new secret is valid at its first use, except just after another unknown one."""

    def statuses(seconds: float, *secrets: str) -> list[int]:
        stage.now += seconds
        headers = [{"x-bz-secret": secret} for secret in secrets]
        return [stage.post("/add", b"{}", each).status_code for each in headers]

    assert statuses(0, SECRET) == [400]
    vault[SHARED_SECRET[0]] = "second"
    assert statuses(1, "second") == [400]
    assert statuses(1, SECRET) == [401]
    vault[SHARED_SECRET[0]] = "third"
    assert statuses(8.5, "third", "second") == [401, 400]
    assert statuses(1, "third", "second") == [400, 401]


def test_a_rotated_token_works_at_once(stage: Stage, vault: Vault) -> None:
    """A token that iconik refuses is read again within the same request."""

    def add(seconds: float) -> int:
        stage.now += seconds
        return stage.click("/add", asset_ids=[stage.site.master()]).status_code

    assert add(0) == 200
    vault[ICONIK_TOKEN[0]] = stage.world.token = "second"
    assert add(1) == 200
    stage.world.token = "third"
    assert add(11) == 500
    del vault[ICONIK_TOKEN[0]]
    assert add(11) == 503


# Actions


@pytest.mark.parametrize("name", [*webhook.ACTIONS, "check"])
@pytest.mark.parametrize("has_queue", [False, True])
def test_an_action_is_one_of_two_by_name(
    monkeypatch: pytest.MonkeyPatch, has_queue: bool, name: str
) -> None:
    """Nothing is copied or deleted for any other name, even if the table of actions has it."""
    read, stage = webhook.read_action, Stage(has_queue=has_queue)
    monkeypatch.setattr(webhook, "read_action", lambda *given: read(*given)._replace(name=name))
    other = stage.site.master()
    response = stage.click("/add", asset_ids=[stage.site.asset()[0], other])
    added = [row["asset_id"] for row in stage.world.transfers.values()]
    found = (response.status_code, stage.site.copies(), added, stage.calls == [])
    expected = {"add": (200, 1, [other]), "remove": (200, 0, []), "check": (404, 1, [])}
    assert found == (*expected[name], name == "check")


def test_the_queue_delivers_only_removals() -> None:
    """Nothing else is ever handed over."""
    stage = Stage(has_queue=True)
    stage.latency = 1.0  # It is too slow for a click.
    stage.click(asset_ids=stage.assets(1))
    stage.calls.clear()
    response = stage.post("/add", stage.tasks[0].body, {"Authorization": "queue"})
    assert (response.status_code, stage.calls) == (404, [])
