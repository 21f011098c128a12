"""A removal that comes late: what was added to the storage again since the click stays."""

import pytest

from sandbox.site import Site
from storage_plugin.background import overtaken
from storage_plugin.rest import Rest
from tests.clicks import Clicks


@pytest.mark.parametrize(("late", "copies"), [(-1.0, 1), (60.0, 0)])
def test_a_first_delivery_that_comes_late(
    site: Site, rest: Rest, monkeypatch: pytest.MonkeyPatch, late: float, copies: int
) -> None:
    """A task that has waited long asks for later Adds; one that comes at once does not."""
    monkeypatch.setattr(overtaken, "LATE", late)
    clicks = Clicks(site, rest)
    asset_id, _ = site.asset()
    clicks.later()
    added = {"type": "TRANSFER", "object_id": asset_id, "status": "STARTED"}
    site.world.add_job(added | {"metadata": {"storage_id": site.lucidlink}})
    clicks.deliver(0)
    assert site.copies() == copies
