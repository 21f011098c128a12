"""The pace of requests to iconik: its rate limit, places for assets, and the time that is left."""

import bisect
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage_plugin.errors import OutOfTime

LIMIT = 1000
"""Requests that iconik allows each token in any 20 s."""

WINDOW = 20.2
"""Seconds, a little over 20, because requests take different times to arrive."""

SPACING = 0.02
"""Seconds between requests after iconik has refused some; its limit is 50 a second."""

PLACES = 16
"""Assets in progress at once. At 0.1 s a call they send 160 requests a second, above the limit."""

IDLE = 30.0
"""Seconds for which an unused connection certainly stays open."""

MAX_PAUSE = 10.0
"""Seconds of the longest pause, even if iconik asks for more."""

TIME_IS_UP = "The time is up: repeat the action, or deploy with a longer --timeout."

Clock = Callable[[], float]
"""Returns seconds that never go back."""


class Deadline:
    """The end of the time for some work, some seconds from now."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock, self._ends = clock, clock() + seconds

    def remaining(self, wait: float = 0) -> float:
        """Return the seconds that remain after a wait of some seconds.

        Raises:
            OutOfTime: none remain.
        """
        seconds = self._ends - self._clock() - wait
        if seconds <= 0:
            raise OutOfTime(TIME_IS_UP)
        return seconds


class Pace:
    """The pace of all requests of an instance, because iconik counts them together."""

    def __init__(
        self, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.now, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._slots: list[float] = []  # The times of the latest requests, sorted; some lie ahead.
        self._next = self._pause_ends = float("-inf")
        self._refusals = 0
        self._turns: list[threading.Event] = []  # The first of them have a place.

    def reserve(self, deadline: Deadline, share: float = 1.0) -> None:
        """Reserve the time of one request, and wait for it.

        Args:
            deadline: the end of the time for the request.
            share: the part of iconik's limit that this request may help to use up.

        Raises:
            OutOfTime: the deadline comes first.
        """
        allowed = round(LIMIT * share)
        while True:
            with self._lock:
                now = self.now()
                slot = max(now, self._pause_ends)
                if slot < self._pause_ends + WINDOW:
                    slot = max(slot, self._next)
                following = slot + SPACING
                if len(self._slots) >= allowed:
                    slot = max(slot, self._slots[-allowed] + WINDOW)
                deadline.remaining(slot - now)
                self._next = following
                bisect.insort(self._slots, slot)
                del self._slots[:-LIMIT]
            self._sleep(slot - now)
            if self.now() >= self._pause_ends:
                return  # Otherwise, a pause has begun meanwhile.

    def back_off(self, attempts: int, deadline: Deadline) -> None:
        """Wait after some failed attempts.

        Raises:
            OutOfTime: the deadline comes first.
        """
        seconds = backoff(attempts)
        deadline.remaining(seconds)
        self._sleep(seconds)

    def accepted(self) -> None:
        """Note that iconik served a request."""
        self._refusals = 0

    def refused(self, retry_after: float | None) -> None:
        """Make all threads pause, because iconik refused a request over its rate limit.

        Args:
            retry_after: seconds that iconik asks the plugin to wait; None: it does not.
        """
        with self._lock:
            now = self.now()
            if now < self._pause_ends:
                return  # The request was sent before the refusal that caused this pause.
            self._refusals += 1
            asked = (retry_after or 0) * random.uniform(1.0, 1.1)  # noqa: S311
            pause = min(max(backoff(self._refusals - 1), asked), MAX_PAUSE)
            self._pause_ends = self._next = now + pause  # Whoever waits reserves another time.

    def is_idle(self) -> bool:
        """Whether no request was sent for so long that open connections may be dead."""
        with self._lock:
            return bool(self._slots) and self._slots[-1] < self.now() - IDLE

    @contextmanager
    def asset(self, deadline: Deadline) -> Iterator[None]:
        """Hold one of the instance's places for assets in progress; first come, first served.

        With more assets in progress, each would wait so long between its requests that the evidence
        for its deletion would be too old.

        Raises:
            OutOfTime: no place becomes free before the deadline.
        """
        turn = threading.Event()
        with self._lock:
            self._turns.append(turn)
            self._let_in()
        try:
            if not turn.wait(deadline.remaining()):
                raise OutOfTime(TIME_IS_UP)
            yield
        finally:
            with self._lock:
                self._turns.remove(turn)
                self._let_in()

    def _let_in(self) -> None:
        for turn in self._turns[:PLACES]:
            turn.set()


def backoff(attempts: int) -> float:
    """Return the seconds to wait after some failed attempts: longer each time, and random."""
    return min(MAX_PAUSE, 2.0 ** (attempts - 2)) * random.uniform(0.5, 1.0)  # noqa: S311
