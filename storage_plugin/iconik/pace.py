"""The pace of requests to iconik: its rate limit, places for assets, and the time that is left."""

import bisect
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage_plugin.errors import OutOfTime

LIMIT = 1000  # Requests that iconik allows each token in any 20 s, whoever sends them.
WINDOW = 20.2  # Seconds, a little over 20, because requests take different times to arrive.
IDLE = 30.0  # Seconds for which an unused connection certainly stays open.
MAX_PAUSE = 10.0  # Seconds of the longest pause that iconik may ask for.
# Assets in progress at once. At 0.1 s a call they send 160 requests a second, above the limit. With
# more, each would wait so long that the evidence for a deletion would be too old.
PLACES = 16
TIME_IS_UP = "The time is up: repeat the action, or deploy with a longer --timeout."
Clock = Callable[[], float]  # Returns seconds that never go back.


class Deadline:
    """The end of the time for some work, some seconds from now."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock, self._ends = clock, clock() + seconds

    def remaining(self, wait: float = 0) -> float:
        """Return the seconds that remain after a wait; raise OutOfTime if none remain."""
        seconds = self._ends - self._clock() - wait
        if seconds <= 0:
            raise OutOfTime(TIME_IS_UP)
        return seconds


class Pace:
    """The pace of an instance's requests. What would wait beyond its deadline raises OutOfTime."""

    def __init__(
        self, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.now, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._slots = [-math.inf] * LIMIT  # The times of the latest requests; some lie ahead.
        self._next = self._pause_ends = -math.inf
        self._refusals = 0  # Since iconik last served a request.
        self._turns: list[threading.Event] = []  # The first of them have a place.

    def reserve(self, deadline: Deadline, share: float = 1.0) -> None:
        """Wait for a request's turn, and while this share of iconik's limit is used up."""
        allowed = round(LIMIT * share)
        while True:
            with self._lock:
                now = self.now()
                turn = max(now, self._next)
                slot = max(turn, self._slots[-allowed] + WINDOW)
                deadline.remaining(slot - now)
                if turn < self._pause_ends + WINDOW:  # After a pause, requests go one by one.
                    self._next = turn + WINDOW / LIMIT
                bisect.insort(self._slots, slot)
                del self._slots[0]
            self._sleep(slot - now)
            if self.now() >= self._pause_ends:
                return  # Otherwise, a pause has begun meanwhile.

    def back_off(self, attempts: int, deadline: Deadline) -> None:
        """Wait after some failed attempts."""
        seconds = backoff(attempts)
        deadline.remaining(seconds)
        self._sleep(seconds)

    def accepted(self) -> None:
        """Note that iconik served a request."""
        self._refusals = 0

    def refused(self, asked: float) -> None:
        """Make all threads pause for the seconds that iconik asks for, if not for longer."""
        with self._lock:
            now = self.now()
            if now < self._pause_ends:
                return  # The request was sent before the refusal that caused this pause.
            pause = max(backoff(self._refusals), asked * random.uniform(1.0, 1.1))  # noqa: S311
            self._refusals += 1
            self._next = self._pause_ends = now + min(pause, MAX_PAUSE)

    def is_idle(self) -> bool:
        """Whether no request was sent for so long that open connections may be dead."""
        return -math.inf < self._slots[-1] < self.now() - IDLE

    @contextmanager
    def asset(self, deadline: Deadline) -> Iterator[None]:
        """Hold one of the instance's places for assets in progress; first come, first served."""
        turn = threading.Event()
        with self._lock:
            self._turns.append(turn)
            if len(self._turns) <= PLACES:
                turn.set()
        try:
            if not turn.wait(deadline.remaining()):
                raise OutOfTime(TIME_IS_UP)
            yield
        finally:
            with self._lock:
                self._turns.remove(turn)
                for following in self._turns[:PLACES]:
                    following.set()


def backoff(attempts: int) -> float:
    """Return the seconds to wait after some failed attempts: longer each time, and random."""
    return 2.0 ** min(attempts - 2, 3) * random.uniform(0.5, 1.0)  # noqa: S311
