"""When a request to iconik may go out: within iconik's limit, and within our own time."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from storage_plugin.errors import OutOfTime

LIMIT = 1000
"""Requests that iconik allows a token in any 20 s."""

WINDOW = 20.2
"""Seconds, a little over 20, for not every request takes equally long to arrive."""

PACE = 0.02
"""Seconds between two requests where iconik has refused some: the 50 a second of its limit."""

IDLE = 30.0
"""Seconds for which a connection that nobody uses certainly stays open."""

MAX_PAUSE = 10.0
"""Seconds of the longest pause, whatever iconik asks for."""


FOR_LAST_ASSET, FOR_ANSWER, FOR_EDITOR = (12.0, 0.2), (3.0, 0.05), (6.0, 0.1)
"""Reserves at the end of a request: for what has begun, for the answer, and for telling the editor.

Each is a number of seconds or a share of the request's time, whichever is less.
"""


class Deadline:
    """The time that one request of the plugin has.

    Args:
        seconds: after which the platform ends it.
        clock: returns seconds that never go back.

    Attributes:
        seconds: of all of it.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds - _reserve(seconds, FOR_ANSWER)
        self._is_near_from = clock() + seconds - _reserve(seconds, FOR_LAST_ASSET)

    @classmethod
    def of_work(cls, timeout: float) -> "Deadline":
        """Return the deadline of the work of a request, which leaves time to tell the editor."""
        return cls(timeout - _reserve(timeout, FOR_EDITOR))

    def until_near(self) -> float:
        """Return the seconds until nothing new should be begun, so that what runs is finished."""
        return max(0.0, self._is_near_from - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._clock() >= self._ends

    def end(self) -> None:
        """Let no time be left."""
        self._ends = self._is_near_from = self._clock()

    def remaining(self, wait: float = 0) -> float:
        """Return the seconds that are left.

        Args:
            wait: seconds that pass before they are needed.

        Raises:
            OutOfTime: none are.
        """
        seconds = self._ends - self._clock() - wait
        if seconds <= 0:
            raise OutOfTime(
                "The time is used up: repeat the action, or deploy with a longer --timeout."
            )
        return seconds


def _reserve(seconds: float, reserve: tuple[float, float]) -> float:
    most, share = reserve
    return min(most, share * seconds)


class Pace:
    """The pace of all requests of an instance, for iconik limits them by their common token.

    Args:
        clock: returns seconds that never go back.
        sleep: waits for some seconds.
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
        """Let all threads pause, for iconik refused a request as one too many.

        Args:
            retry_after: seconds that iconik asks to wait, if it does.
        """
        with self._lock:
            now = self.now()
            if now < self._pause_ends:
                return  # Sent before the refusal that this pause is for.
            self._refusals += 1
            asked = (retry_after or 0) * random.uniform(1.0, 1.1)  # noqa: S311
            self._pause_ends = now + min(max(backoff(self._refusals), asked), MAX_PAUSE)
            self._careful_until = self._pause_ends + WINDOW

    def is_idle(self) -> bool:
        """Whether nothing has been sent for so long that open connections may be dead."""
        with self._lock:
            return bool(self._sent) and self._sent[-1] < self.now() - IDLE

    def _seconds_to_wait(self) -> float:
        """Return 0 and count a request as sent, or the seconds after which to ask again."""
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
    """Return the seconds to wait after some failed attempts: ever longer, never two alike."""
    return min(MAX_PAUSE, 2.0 ** (attempts - 2)) * random.uniform(0.5, 1.0)  # noqa: S311
