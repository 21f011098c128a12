"""REMOVE: the rounds of a removal, from the click to the end of its job."""

import pytest

from storage_plugin import rounds
from storage_plugin.remove import time_limits
from storage_plugin.settings import Settings
from tests.stage import AWAY, HOUR, Stage

SLOW = 1.0
"""Seconds for a call with which a click cannot finish an asset."""

QUEUE = "projects/p/locations/l/queues/q"


def stage_with_queue(**settings: str) -> Stage:
    """Return a function with a queue, and an iconik that is slow."""
    stage = Stage(has_queue=True, **settings)
    stage.latency = SLOW
    return stage


def failing(*parts: str, fault: str = "500"):
    """Return what lets all calls fail whose method and path contain something."""
    return lambda method, path: fault if all(part in f"{method} {path}" for part in parts) else ""


def test_a_later_round_removes_from_the_storage_of_the_click() -> None:
    """Whatever fails first, the rounds keep to the storage and the format of the click's URL."""
    stage = Stage(has_queue=True)
    asset_id, on_lucidlink = stage.site.asset()
    on_other = stage.world.add_file_set(asset_id, stage.site.other, [{"original_name": "clip.mov"}])
    stage.on_call = failing("storages")
    assert stage.click("/remove?storage=Other", asset_ids=[asset_id]).status_code == 200
    stage.on_call = lambda *_: ""
    stage.deliver()
    assert on_lucidlink in stage.world.file_sets
    assert on_other not in stage.world.file_sets


def test_what_is_not_named_in_a_task_goes_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds pause only after a round in which nothing was done."""
    monkeypatch.setattr(rounds, "MAX_IDS", 5)
    stage = stage_with_queue()
    collection = stage.world.add_collection(*(stage.site.asset()[0] for _ in range(40)))
    stage.click(collection_ids=[collection])
    before = stage.now
    stage.deliver()
    assert stage.site.copies() == 0
    assert stage.job["message"] == "40 of 40 assets removed from LucidLink."
    assert stage.now < before + 600, (stage.now-before, stage.deliveries)
