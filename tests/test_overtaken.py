"""A removal that comes late: what was added to the storage again since the click stays."""

import pytest

from sandbox.site import Site
from sandbox.world import World
from storage_plugin.background import overtaken
from storage_plugin.rest import Rest
from tests.later import Later


@pytest.mark.parametrize(("late", "copies"), [(-1.0, 1), (60.0, 0)])
def test_a_first_delivery_that_comes_late(
    world: World, rest: Rest, monkeypatch: pytest.MonkeyPatch, late: float, copies: int
) -> None:
    """A task that has waited long asks for later Adds; one that comes at once does not."""
    monkeypatch.setattr(overtaken, "LATE", late)
    later = Later(Site(world), rest)
    asset_id, _ = later.site.asset()
    later.click()
    added = {"type": "TRANSFER", "object_id": asset_id, "status": "STARTED"}
    world.add_job(added | {"metadata": {"storage_id": later.site.lucidlink}})
    later.deliver(0)
    assert later.site.copies() == copies
