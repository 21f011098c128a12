"""Copying to the masters' storage what has no master there, so that it can be removed later.

No word of a job is taken for a copy: what is removed is decided by `transfers.why_keep` alone.
"""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress

from storage_plugin.errors import AccessDenied, NotFound, OutOfTime, PluginError
from storage_plugin.iconik import BROKEN, ENDED, File, Format, Iconik, Storage, Transfer, chunks
from storage_plugin.webhook import Selection, Wait

PATIENCE = 24 * 3600
"""Seconds for which copies are waited for."""

FIRST_PAUSE, LONGEST_PAUSE = 60, 3600
"""Seconds between two looks: each pause is twice as long as the one before, up to an hour."""


class Archive:
    """The copies that a removal needs first, for all its threads.

    Args:
        storage: what is copied from.
        master: what is copied to.
        selection: tells which copies were asked for before.

    Attributes:
        jobs: the ids of iconik's jobs that copy, as far as it tells them.
    """

    def __init__(
        self, iconik: Iconik, storage: Storage, master: Storage, selection: Selection
    ) -> None:
        wait = selection.wait
        self.jobs = set(wait.jobs if wait else ())
        self._iconik = iconik
        self._storage = storage
        self._master = master
        self._asked = frozenset(selection.assets[: wait.asked] if wait else ())
        self._is_late = wait is not None and time.time() >= wait.since + PATIENCE
        self._wanted: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._transfers: defaultdict[str, list[Transfer]] | None = None
        self._failures: defaultdict[str, str | None] | None = None
        self._lock = threading.Lock()

    def tell(
        self, asset_id: str, of: Format, masters: Sequence[File], reason: str
    ) -> tuple[str, bool]:
        """Return why a whole file set stays, and whether it waits for its copy.

        A copy that is to be asked for is noted for `ask`: only where the masters' storage has
        nothing at all of the format. What is incomplete or different there is not copied over.

        Args:
            masters: the files that the masters' storage has of the format.
            reason: why it cannot be removed now.
        """
        to = self._master.name
        coming = f"it is being copied to {to} first; the same action removes it then"
        if asset_id in self._asked:
            if masters and not any(file.is_unfinished for file in masters):
                return reason, False
            if failure := self._failure(asset_id):
                return f"{reason}; its copy to {to} failed: {failure}", False
            late = f"{reason}; its copy to {to} took over 24 hours"
            return (late, False) if self._is_late else (coming, True)
        if self._is_under_way(asset_id, of.id):
            return coming, True
        if masters or self._iconik.has_file_set(asset_id, of.id, self._master.id):
            return reason, False
        with self._lock:
            self._wanted[of.name][asset_id] = of.id
        return coming, True

    def ask(self, is_aborted: bool) -> dict[str, PluginError]:
        """Ask iconik for the copies that were noted, unless the removal is aborted.

        Returns:
            What went wrong, by the assets' ids.
        """
        errors: dict[str, PluginError] = {}
        self._transfers = None  # Somebody else may have asked meanwhile.
        for format_name, wanted in self._wanted.items():
            for ids in chunks(list(wanted)):
                try:
                    if is_aborted:
                        raise OutOfTime("Not begun.")
                    self._copy(
                        format_name, [i for i in ids if not self._is_under_way(i, wanted[i])]
                    )
                except PluginError as error:
                    errors |= dict.fromkeys(ids, error)
        return errors

    def _copy(self, format_name: str, asset_ids: Sequence[str]) -> None:
        if asset_ids:
            job_id = self._iconik.copy(
                self._master.id,
                "assets",
                asset_ids,
                format_name=format_name,
                file_path=None,
                preferred_source=self._storage.id,
            )
            self.jobs |= {job_id} if job_id else set()

    def _is_under_way(self, asset_id: str, format_id: str) -> bool:
        """Whether iconik is copying a format of an asset; its job is noted."""
        with self._lock:
            if self._transfers is None:
                transfers = self._iconik.transfers(self._storage.id, self._master.id)
                self._transfers = defaultdict(list)
                for transfer in transfers:
                    self._transfers[transfer.asset_id].append(transfer)
            found = [
                transfer
                for transfer in self._transfers[asset_id]
                if transfer.format_id in (format_id, None)
            ]
            self.jobs |= {transfer.job_id for transfer in found if transfer.job_id}
            return bool(found)

    def _failure(self, asset_id: str) -> str | None:
        """Return why iconik says that a copy failed.

        The job of a bulk copy has one below it for each asset, and is finished though those fail.
        """
        with self._lock:
            if self._failures is None:
                failures: dict[str, str] = {}
                states: list[str | None] = []
                for job_id in self.jobs:
                    with suppress(AccessDenied, NotFound):  # Somebody may have tidied up.
                        states.append(self._iconik.job(job_id).status)
                        failures |= self._iconik.failed_below(job_id)
                # Which assets a job was for is not known here, so all must have come to an end.
                has_failed = ENDED.issuperset(states) and BROKEN.intersection(states)
                common = "iconik's job has failed" if has_failed else None
                self._failures = defaultdict(lambda: common, failures)
            return self._failures[asset_id]


def next_wait(wait: Wait | None, asked: int, done: int, jobs: Iterable[str]) -> tuple[Wait, int]:
    """Return what a removal that waits is to know next time, and the seconds until then.

    Args:
        wait: what it knew this time.
        asked: how many of its assets, the first ones, wait for copies.
        done: the number of assets that are done with.
        jobs: the ids of the jobs that copy.
    """
    now = time.time()
    since, times = (wait.since, wait.times + 1) if wait else (now, 0)
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**times, max(0, math.ceil(since + PATIENCE - now)))
    return Wait(since, times, asked, done, tuple(jobs)), pause
