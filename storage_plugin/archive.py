"""Copying to the masters' storage what has no master there, so that it can be removed later.

No word of a job is taken for a copy: what is removed is decided by `transfers.why_keep` alone.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress

from storage_plugin.errors import NotFound, OutOfTime, PluginError
from storage_plugin.iconik import BROKEN, ENDED, File, Format, Iconik, Storage, chunks
from storage_plugin.webhook import Wait

PATIENCE = 24 * 3600.0
"""Seconds for which copies are waited for."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds between two looks: each pause is twice as long as the one before, up to an hour."""


class Archive:
    """The copies that a removal needs first, for all its threads.

    Args:
        storage: what is copied from.
        master: what is copied to.
        wait: how long the removal has waited for copies; then no other is asked for.
        clock: returns seconds since 1970.

    Attributes:
        master: what is copied to.
        jobs: the ids of iconik's copy jobs, as far as it tells them.
    """

    def __init__(
        self,
        iconik: Iconik,
        storage: Storage,
        master: Storage,
        wait: Wait | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.jobs: list[str] = []
        self._iconik = iconik
        self._storage = storage
        self.master = master
        self._wait = wait
        self._is_late = wait is not None and clock() >= wait.since + PATIENCE
        self._wanted: defaultdict[str, list[str]] = defaultdict(list)
        self._under_way: set[tuple[str, str]] | None = None
        self._failures: dict[str, str] | None = None
        self._common_failure: str | None = None
        self._lock = threading.Lock()

    def brings(self, asset_id: str, of: Format, master_files: Sequence[File]) -> bool:
        """Whether a whole file set's copy is under way, or will be once `ask` has been called.

        It is asked for where the masters' storage has nothing at all of the format: what is
        incomplete or different there is never copied over.

        Args:
            master_files: what the masters' storage has of the format.
        """
        if self._is_late:
            return False
        if (asset_id, of.id) in self._transfers():
            return True
        if self._wait:  # It was asked for, but iconik may not have begun, or be at its end.
            is_final = master_files and not any(
                file.is_unfinished or file.status is None for file in master_files
            )
            return not is_final and not self._failure(asset_id, self._wait)
        if master_files or self._iconik.has_file_set(asset_id, of.id, self.master.id):
            return False
        with self._lock:
            self._wanted[of.name].append(asset_id)
        return True

    def ask(self, is_aborted: bool) -> dict[str, PluginError]:
        """Ask iconik for the copies, unless the removal is aborted.

        Returns:
            What went wrong, by the assets' ids.
        """
        errors: dict[str, PluginError] = {}
        if is_aborted:
            return {id: OutOfTime("Not begun.") for ids in self._wanted.values() for id in ids}
        for format_name, asset_ids in self._wanted.items():
            for ids in chunks(list(dict.fromkeys(asset_ids))):
                try:
                    job_id = self._iconik.copy(
                        self.master.id,
                        "assets",
                        ids,
                        format_name=format_name,
                        file_path=None,
                        preferred_source=self._storage.id,
                    )
                except PluginError as error:
                    errors |= dict.fromkeys(ids, error)
                else:
                    self.jobs += [job_id] if job_id else []
        return errors

    def trouble(self, asset_id: str) -> str | None:
        """Return why a copy that was asked for did not come."""
        if not self._wait:
            return None
        if failure := self._failure(asset_id, self._wait):
            return f"its copy to {self.master.name} failed: {failure}"
        return f"its copy to {self.master.name} took over 24 hours" if self._is_late else None

    def _transfers(self) -> set[tuple[str, str]]:
        with self._lock:
            if self._under_way is None:
                self._under_way = self._iconik.transfers_to(self.master.id)
            return self._under_way

    def _failure(self, asset_id: str, wait: Wait) -> str | None:
        """Return why iconik says that a copy failed.

        The job of a bulk copy has one below it for each asset, and is finished though those fail.
        """
        with self._lock:
            if self._failures is None:
                failures: dict[str, str] = {}
                states: list[str | None] = []
                for job_id in wait.jobs:
                    with suppress(NotFound):  # Somebody may have tidied up.
                        states.append(self._iconik.job(job_id).status)
                        failures |= self._iconik.failed_below(job_id)
                # Which assets a job was for is not known here, so all must have come to an end.
                if ENDED.issuperset(states) and BROKEN.intersection(states):
                    self._common_failure = "iconik's job has failed"
                self._failures = failures
            return self._failures.get(asset_id, self._common_failure)


def next_wait(
    wait: Wait | None, done: int, jobs: Sequence[str], clock: Callable[[], float] = time.time
) -> tuple[Wait, float]:
    """Return what a removal that waits is to know next time, and the seconds until then.

    Args:
        wait: what it knew this time.
        done: the number of assets that are done with.
        jobs: the ids of the copy jobs that iconik told this time.
        clock: returns seconds since 1970.
    """
    now = clock()
    if wait:
        wait = Wait(wait.since, wait.times + 1, done, wait.jobs)
    else:
        wait = Wait(now, 0, done, tuple(jobs))
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**wait.times)
    return wait, min(pause, max(0.0, wait.since + PATIENCE - now))
