"""Work that may never end."""

import threading
from collections.abc import Iterator

import pytest

from storage_plugin.google_client import MAX_STUCK, GoogleError, TimeLimit


class Hanging:
    """Work that ends when the test says so."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._may_end = threading.Event()

    def __call__(self) -> None:
        """Hang."""
        self.threads.append(threading.current_thread())
        self._may_end.wait()

    def end(self) -> None:
        """Let it end, and wait until it has."""
        self._may_end.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Return work that hangs until the end of the test."""
    hanging = Hanging()
    yield hanging
    hanging.end()


def hang(limit: TimeLimit, work: Hanging) -> None:
    """Have work done that hangs."""
    with pytest.raises(GoogleError, match=r"^Stuck$"):
        limit.run(work)


def test_work_is_done() -> None:
    """What work returns is returned, and what it raises is raised."""
    limit = TimeLimit(60)
    assert limit.run(lambda: "done") == "done"
    with pytest.raises(ZeroDivisionError):
        limit.run(lambda: 1 / 0)


def test_an_error_about_time_is_the_works_own() -> None:
    """Work that raises a TimeoutError itself is not stuck."""

    def work() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        TimeLimit(60).run(work)


def test_work_that_hangs_hinders_no_other(hanging: Hanging) -> None:
    """A thread that is stuck is left behind, and is no reason to keep the process alive."""
    limit = TimeLimit(0.01)
    hang(limit, hanging)
    limit.seconds = 60
    assert limit.run(lambda: "done") == "done"
    assert all(thread.is_alive() and thread.daemon for thread in hanging.threads)


def test_no_more_than_some_hang(hanging: Hanging) -> None:
    """Once eight threads are left behind no work is begun, until one of them has ended."""
    limit, first = TimeLimit(0.01), Hanging()
    hang(limit, first)
    for _ in range(MAX_STUCK - 1):
        hang(limit, hanging)
    limit.seconds = 60
    begun: list[str] = []
    with pytest.raises(GoogleError, match=r"^TooManyStuck$"):
        limit.run(lambda: begun.append("work"))
    first.end()
    limit.run(lambda: begun.append("later work"))
    assert begun == ["later work"]
    assert len(hanging.threads) == MAX_STUCK - 1
