"""A time limit for work that has none of its own and cannot be interrupted."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

MAX_STUCK = 8
"""The most threads that are left behind with work that does not end."""

T = TypeVar("T")


class Stuck(Exception):
    """The work did not end in time.

    Attributes:
        severity: for the log.
    """

    severity = "ERROR"


class TooManyStuck(Stuck):
    """Too many threads are left behind, so no more work is started."""

    severity = "CRITICAL"


class TimeLimit:
    """Runs each piece of work in a thread of its own, and leaves a stuck thread behind.

    Args:
        seconds: the time limit for a piece of work.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._stuck: list[threading.Thread] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[], T]) -> T:
        """Run work, and return its result or raise its error.

        Raises:
            Stuck: the work takes too long; its thread goes on by itself.
            TooManyStuck: the work is not started, because too much earlier work still goes on.
        """
        with self._lock:
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
            if len(self._stuck) >= MAX_STUCK:
                raise TooManyStuck
        outcome: Future[T] = Future()
        # A daemon, because a stuck thread must not delay the end of the process.
        thread = threading.Thread(target=_fulfil, args=(outcome, work), daemon=True)
        thread.start()
        wait([outcome], self.seconds)
        if not outcome.done():
            with self._lock:
                self._stuck.append(thread)
            raise Stuck
        return outcome.result()


def _fulfil(outcome: "Future[T]", work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:  # noqa: BLE001 - `run` raises it.
        outcome.set_exception(error)
