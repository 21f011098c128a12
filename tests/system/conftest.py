"""Functions that run for a whole module, each with a new iconik for every test."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.system.stage import QueuedStage, Stage


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    """Run a function."""
    with ExitStack() as stack:
        yield Stage(stack)


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """Return the running function."""
    with running.test():
        yield running


@pytest.fixture(scope="module")
def running_with_queue() -> Iterator[QueuedStage]:
    """Run a function with a queue, which archives."""
    with ExitStack() as stack:
        yield QueuedStage(stack)


@pytest.fixture
def queued(running_with_queue: QueuedStage) -> Iterator[QueuedStage]:
    """Return the running function with a queue."""
    with running_with_queue.test():
        yield running_with_queue
