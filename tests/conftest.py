"""An iconik in memory for every test, and a client that speaks to it over a socket."""

from collections.abc import Callable, Iterator

import pytest

from sandbox.server import create_app, serve
from sandbox.world import World
from storage_plugin.iconik import Iconik, new_session
from tests import contract


@pytest.fixture
def world() -> World:
    """Return an iconik without anything in it."""
    return World()


@pytest.fixture
def iconik_url(world: World) -> Iterator[str]:
    """Serve the world; each request must be one that iconik describes."""
    app = create_app(world)
    mistakes = contract.enforce(app) if contract.DESCRIPTION.is_file() else []
    with serve(app) as url:
        yield url
    assert mistakes == []


@pytest.fixture
def iconik(world: World, iconik_url: str) -> Iconik:
    """Return a client of the world."""
    return new_client(iconik_url, world)


def new_client(url: str, world: World, token: Callable[..., str] | None = None) -> Iconik:
    """Return a client as the function makes one."""
    return Iconik(new_session(), url, world.app_id, token or (lambda **_: world.token))
