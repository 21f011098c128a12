"""The timing of requests to iconik: within iconik's rate limit and within the plugin's own time."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from storage_plugin.errors import OutOfTime

LIMIT = 1000
"""Requests that iconik allows each token in any 20 s."""

WINDOW = 20.2
"""Seconds, a little over 20, because requests take different times to arrive."""

PACE = 0.02
"""Seconds between requests after iconik has refused some; its limit is 50 a second."""

IDLE = 30.0
"""Seconds for which an unused connection certainly stays open."""

MAX_PAUSE = 10.0
"""Seconds of the longest pause, even if iconik asks for more."""


FOR_LAST_ASSET, FOR_ANSWER, FOR_EDITOR = (12.0, 0.2), (3.0, 0.05), (6.0, 0.1)
"""Time reserved at the end of a request: to finish assets, to answer, and to notify the editor.

Each reserve is a number of seconds or a share of the request's time, whichever is less.
"""


class Deadline:
    """The time for one request to the plugin.

    Args:
        seconds: the time limit, after which the platform ends the request.
        clock: returns seconds that never go back.

    Attributes:
        seconds: the time limit.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds - _reserve(seconds, FOR_ANSWER)
        self._is_near_from = clock() + seconds - _reserve(seconds, FOR_LAST_ASSET)

    @classmethod
    def of_work(cls, timeout: float) -> "Deadline":
        """Return the deadline for a request's work, which leaves time to notify the editor.

        Args:
            timeout: seconds after which the platform ends the request.
        """
        return cls(timeout - _reserve(timeout, FOR_EDITOR))

    def until_near(self) -> float:
        """Return the seconds during which new work may begin; after that, only finish."""
        return max(0.0, self._is_near_from - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._clock() >= self._ends

    def end(self) -> None:
        """Set the remaining time to zero."""
        self._ends = self._is_near_from = self._clock()

    def remaining(self, wait: float = 0) -> float:
        """Return the remaining seconds.

        Args:
            wait: seconds that pass before they are needed.

        Raises:
            OutOfTime: no time is left.
        """
        seconds = self._ends - self._clock() - wait
        if seconds <= 0:
            raise OutOfTime("The time is up: repeat the action, or deploy with a longer --timeout.")
        return seconds


def _reserve(seconds: float, reserve: tuple[float, float]) -> float:
    most, share = reserve
    return min(most, share * seconds)


class Pace:
    """The pace of all requests of an instance. iconik limits them together, by their token.

    Args:
        clock: returns seconds that never go back.
        sleep: waits for the given seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.now = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._sent: deque[float] = deque(maxlen=LIMIT)
        self._pause_ends = self._careful_until = float("-inf")
        self._refusals = 0

    def wait(self, deadline: Deadline) -> None:
        """Wait until the next request may be sent.

        Raises:
            OutOfTime: the deadline comes first.
        """
        while (seconds := self._seconds_to_wait()) > 0:
            self.sleep(seconds, deadline)

    def sleep(self, seconds: float, deadline: Deadline) -> None:
        """Wait for some seconds.

        Raises:
            OutOfTime: the deadline comes first.
        """
        deadline.remaining(seconds)
        self._sleep(seconds)

    def accepted(self) -> None:
        """Note that iconik served a request."""
        self._refusals = 0

    def refused(self, retry_after: float | None) -> None:
        """Make all threads pause, because iconik refused a request as one too many.

        Args:
            retry_after: seconds that iconik asks the plugin to wait; None: it does not.
        """
        with self._lock:
            now = self.now()
            if now < self._pause_ends:
                return  # The request was sent before the refusal that caused this pause.
            self._refusals += 1
            asked = (retry_after or 0) * random.uniform(1.0, 1.1)  # noqa: S311
            self._pause_ends = now + min(max(backoff(self._refusals), asked), MAX_PAUSE)
            self._careful_until = self._pause_ends + WINDOW

    def is_idle(self) -> bool:
        """Whether no request was sent for so long that open connections may be dead."""
        with self._lock:
            return bool(self._sent) and self._sent[-1] < self.now() - IDLE

    def _seconds_to_wait(self) -> float:
        """Return the seconds to wait before asking again; 0: the request is counted as sent."""
        with self._lock:
            now = self.now()
            earliest = self._pause_ends
            if len(self._sent) == LIMIT:
                earliest = max(earliest, self._sent[0] + WINDOW)
            if now < self._careful_until and self._sent:
                earliest = max(earliest, self._sent[-1] + PACE)
            if earliest <= now:
                self._sent.append(now)
            return max(0.0, earliest - now)


def backoff(attempts: int) -> float:
    """Return the seconds to wait after some failed attempts: longer each time, and random."""
    return min(MAX_PAUSE, 2.0 ** (attempts - 2)) * random.uniform(0.5, 1.0)  # noqa: S311
