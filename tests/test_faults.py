"""A removal against an iconik of which two requests in five go wrong."""

import time
from collections.abc import Iterator

import pytest

from sandbox.faults import ALL_BUT_HANG, Faults
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site
from sandbox.world import World
from storage_plugin.iconik import Iconik
from storage_plugin.pace import Deadline, Pace
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.webhook import Selection
from storage_plugin.wire import new_session
from tests.test_transfers import remove_selection

HASTE = 20
"""How much faster than ours the plugin's time passes, lest a test waits for its pauses."""


def clock() -> float:
    """Return the seconds of the plugin's time."""
    return time.monotonic() * HASTE


def sleep(seconds: float) -> None:
    """Let seconds of the plugin's time pass."""
    time.sleep(seconds / HASTE)


@pytest.fixture
def faulty_url(world: World, faults: Faults) -> Iterator[str]:
    """Serve the world with faults."""
    with serve(create_app(world), faults) as url:
        yield url


@pytest.fixture
def faults() -> Faults:
    """Return each fault with a probability of five in a hundred, but for hanging."""
    return Faults(probabilities=dict.fromkeys(ALL_BUT_HANG, 0.05))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_is_left(
    world: World, faults: Faults, faulty_url: str, seed: int
) -> None:
    """After at most three repeats all that is removable is gone, and nothing else ever is."""
    site = Site(world)
    removable = [site.asset([CLIP])[0] for _ in range(60)]
    kept = [
        *(site.asset([CLIP], [CLIP | {"status": "GROWING"}])[0] for _ in range(20)),
        *(site.asset([CLIP], [CLIP | {"size": 999}])[0] for _ in range(20)),
    ]
    collection = world.add_collection(*removable, *kept)
    faults.seed(seed)
    session, pace = new_session(), Pace(clock, sleep)
    settings = Settings(world.app_id, "LucidLink", master_storage_name="B2", iconik_url=faulty_url)
    for _ in range(4):
        deadline = Deadline(600, clock)
        rest = Rest(
            session,
            settings,
            read_token=lambda **_: world.token,
            pace=pace,
            deadline=deadline,
        )
        selection = Selection(collections=(collection,))
        removals = remove_selection(Iconik(rest), selection, settings, deadline).removals
        assert all(world.file_sets_of(asset_id, site.lucidlink) for asset_id in kept)
        assert len(world.names_on(site.b2)) == 100
        if not any(removal.error for removal in removals):
            break
    assert len(world.names_on(site.lucidlink)) == 40
