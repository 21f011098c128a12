"""A limit in time for work that has none of its own and cannot be interrupted."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

MAX_STUCK = 8
"""Threads that may be left behind, each with work that does not end."""

T = TypeVar("T")


class Stuck(Exception):
    """Work did not end in time.

    Attributes:
        severity: for the log.
    """

    severity = "ERROR"


class TooManyStuck(Stuck):
    """So much work does not end that no more is begun."""

    severity = "CRITICAL"


class TimeLimit:
    """Runs each piece of work in a thread of its own, and leaves the thread behind if it is stuck.

    Args:
        seconds: to wait for a piece of work.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._stuck: list[threading.Thread] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[], T]) -> T:
        """Do work, and return what it returns or raise what it raises.

        Raises:
            Stuck: it takes too long; its thread goes on by itself.
            TooManyStuck: it is not begun, because of earlier work that still goes on.
        """
        with self._lock:
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
            if len(self._stuck) >= MAX_STUCK:
                raise TooManyStuck
        outcome: Future[T] = Future()
        # A daemon, because it must not hold up the end of the process either.
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
    except BaseException as error:  # noqa: BLE001 - It is raised where it is waited for.
        outcome.set_exception(error)
