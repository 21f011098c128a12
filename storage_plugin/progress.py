"""The progress of a removal: its threads write it, and the job in iconik shows it."""

import threading

from storage_plugin.pace import Deadline
from storage_plugin.report import NO_ASSETS, Tally


class Progress:
    """The progress of a removal, and whether it may go on. Its threads share it.

    Args:
        deadline: the deadline of the request; when it is near, no other asset is begun.
        before: the assets that an earlier part of the removal finished.

    Attributes:
        total: the number of assets; None: not known yet.
        done: the number of finished assets.
        halt: `Aborted` or `Paused` if an editor did that; empty: neither.
    """

    def __init__(self, deadline: Deadline, before: Tally = NO_ASSETS) -> None:
        self.deadline = deadline
        self.before = before
        self.done = self.before.done
        self.total: int | None = None
        self.halt = ""
        self._runs = threading.Event()
        self._runs.set()
        self._lock = threading.Lock()

    def halt_as(self, halt: str) -> None:
        """Note that an editor aborted, paused or resumed the removal.

        Args:
            halt: `Aborted` or `Paused`; empty: the removal goes on.
        """
        self.halt = halt
        if halt == "Paused":
            self._runs.clear()
        else:
            self._runs.set()

    def may_begin(self) -> bool:
        """Whether another asset may begin; waits while the removal is paused."""
        self._runs.wait(self.deadline.until_near())
        return not self.halt and self.deadline.until_near() > 0

    def count(self) -> None:
        """Count one asset as done."""
        with self._lock:
            self.done += 1
