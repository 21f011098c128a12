"""An iconik in memory for every test, and a client that speaks to it over a socket."""

import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from sandbox.server import create_app, serve
from sandbox.site import Site
from sandbox.world import World
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest, new_session
from storage_plugin.settings import Settings
from tests import contract
from tests.real_gcloud import cloud, session_cloud

signal.signal(signal.SIGINT, signal.default_int_handler)  # `make test &` would ignore Ctrl-C.
__all__ = ["cloud", "session_cloud"]

SLOW = "test_deploy test_docs test_function test_properties test_secrets main_test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that none is left alone at the end."""
    items.sort(key=lambda item: item.path.stem not in SLOW.split())


@pytest.fixture
def world() -> World:
    """Return an iconik without anything in it."""
    return World()


@pytest.fixture
def site(world: World) -> Site:
    """Return storages in the world: with the masters, to copy to, and another one."""
    return Site(world)


@pytest.fixture
def iconik_url(world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve the world; requests and answers must be as iconik describes them.

    A test that is marked as `undocumented` is about an iconik that does not keep to that.
    """
    app = create_app(world)
    is_held = contract.DESCRIPTION.is_file() and not request.node.get_closest_marker("undocumented")
    mistakes = contract.enforce(app) if is_held else []
    with serve(app) as url:
        yield url
    assert mistakes == []


@pytest.fixture
def rest(world: World, iconik_url: str) -> Rest:
    """Return a REST client of the world."""
    return new_rest(iconik_url, world)


@pytest.fixture
def iconik(rest: Rest) -> Iconik:
    """Return a client of the world."""
    return Iconik(rest)


class Time:
    """A clock that only `sleep` turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let seconds pass."""
        self.now += seconds


def as_if_parallel(time: Time) -> Callable[..., list[Any]]:
    """Return what does some work as if all of it began at once, on one thread."""

    def side_by_side(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        begun, ends, results = time.now, [], []
        for item in items:
            time.now = begun
            results.append(work(item))
            ends.append(time.now)
        time.now = max(ends)
        return results

    return side_by_side


@pytest.fixture(name="time")
def virtual_time() -> Time:
    """Return a time that passes at once."""
    return Time()


def new_rest(
    url: str, world: World, token: Any = None, *, pace: Pace | None = None, **changes: Any
) -> Rest:
    """Return a REST client of a world, as the function makes it."""
    settings = Settings(world.app_id, "LucidLink", iconik_url=url)
    usual = {"session": new_session(), "deadline": Deadline(60), "pace": pace or Pace()}
    read = token or (lambda **_: world.token)
    return Rest(settings=settings, read_token=read, **usual | changes)


def mocked_rest(time: Time) -> Rest:
    """Return a REST client of mocked answers, whose time passes at once."""
    pace, deadline = Pace(time, time.sleep), Deadline(60, time)
    return new_rest("https://app.iconik.io", World(), pace=pace, deadline=deadline)
