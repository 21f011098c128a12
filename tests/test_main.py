"""The entry point in process: what a click may do, and what the queue may deliver."""

import pytest

from storage_plugin import webhook
from tests.stage import Stage


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
