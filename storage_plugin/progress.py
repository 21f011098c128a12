"""How far a removal has come: its threads write it, and whoever shows it to an editor reads it."""

import threading

from storage_plugin.pace import Deadline
from storage_plugin.report import NO_ASSETS, Tally


class Progress:
    """How far a removal has come, and whether it may go on; shared by its threads.

    Args:
        deadline: near it no other asset is begun.
        before: the assets that an earlier part of the removal has done.

    Attributes:
        total: the number of assets, None before it is known.
        done: the number of those that are done.
        halt: what an editor has done to it: `Aborted`, `Paused`, or nothing.
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
        """Note what an editor has done to the removal."""
        self.halt = halt
        if halt == "Paused":
            self._runs.clear()
        else:
            self._runs.set()

    def may_begin(self) -> bool:
        """Whether another asset may be begun; waits while the removal is paused."""
        self._runs.wait(self.deadline.until_near())
        return not self.halt and self.deadline.until_near() > 0

    def count(self) -> None:
        """Count one asset as done."""
        with self._lock:
            self.done += 1
