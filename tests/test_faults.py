"""A removal while two of five requests to iconik fail."""

import functools

import pytest

from sandbox.faults import ALL_BUT_HANG, Faults
from sandbox.site import CLIP, Site
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rest import Rest
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.shared import Removal
from storage_plugin.settings import Settings


@pytest.fixture
def faults() -> Faults:
    """Return each fault with a probability of five in a hundred, except hanging."""
    return Faults(probabilities=dict.fromkeys(ALL_BUT_HANG, 0.05))


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_lost_and_nothing_is_left(
    site: Site, faults: Faults, hasty_rest: Rest, seed: int
) -> None:
    """At most four removals delete everything removable, and never anything else."""
    removable = [site.asset()[0] for _ in range(9)]
    kept = [
        *(site.asset(master=[CLIP | {"status": "GROWING"}])[0] for _ in range(3)),
        *(site.asset(master=[CLIP | {"size": 999}])[0] for _ in range(3)),
    ]
    settings = Settings(site.world.app_id, "LucidLink", master_storage_name="B2")
    faults.seed(seed)
    for _ in range(4):
        removal = Removal(Iconik(hasty_rest), settings)
        outcomes = side_by_side(functools.partial(remove_asset, removal), removable + kept)
        assert all(site.world.file_sets_of(asset_id, site.lucidlink) for asset_id in kept)
        assert site.masters() == 15
        if not any(outcome.error for outcome in outcomes):
            break
    assert site.copies() == 6
