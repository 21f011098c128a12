"""A value that is fetched when needed and then kept for a while."""

import copy
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from storage_plugin.errors import PluginError

T = TypeVar("T")

NEVER = float("-inf")


class Kept(Generic[T]):
    """One value that the threads of an instance share: they wait for one fetch together.

    Args:
        fetch: returns the value, or raises a PluginError.
        seconds: for which the value is kept.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        fetch: Callable[[], T],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._value: T | None = None
        self._fetched = NEVER
        self._failure: PluginError | None = None
        self._fruitless = NEVER

    def read(self, max_age: float | None = None, pause: float = 0) -> T:
        """Return the value.

        Args:
            max_age: seconds after which a kept value is fetched again.
            pause: seconds to wait before another fetch if the last one failed or, also made with
                a pause, brought the same value.

        Raises:
            PluginError: the value cannot be fetched.
        """
        asked = self._clock()
        oldest = asked - (self._seconds if max_age is None else max_age)
        if self._fetched < oldest:
            with self._lock:  # Another thread may have fetched it while this one waited.
                if self._fetched < oldest:
                    self._renew(asked, pause)
        return self._value  # type: ignore[return-value] # It has been fetched.

    def last(self, max_age: float) -> T | None:
        """Return the last fetched value; None: the fetch was more than `max_age` seconds ago."""
        return self._value if self._fetched >= self._clock() - max_age else None

    def forget(self) -> None:
        """Discard the value."""
        self._fetched = NEVER

    def _renew(self, asked: float, pause: float) -> None:
        """Fetch the value, unless a fetch within the pause before was fruitless."""
        if self._fruitless >= asked - pause:
            if self._failure:
                raise copy.copy(self._failure)
            return
        before, begun = self._value, self._clock()  # The fetch may miss later changes.
        try:
            self._value = self._fetch()
        except PluginError as error:
            self._failure, self._fruitless = error, self._clock()
            raise
        self._fetched = begun
        if pause > 0 and self._value == before:
            self._failure, self._fruitless = None, begun
