"""Copying to the masters' storage what has no master there, so that it can be removed later.

No word of a job is taken for a copy: what is removed is decided by `transfers.why_keep` alone.
"""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress

from storage_plugin.errors import AccessDenied, NotFound, OutOfTime, PluginError
from storage_plugin.iconik import BROKEN, ENDED, File, Format, Iconik, Storage, Transfer, chunks
from storage_plugin.threads import side_by_side
from storage_plugin.webhook import Wait

PATIENCE = 24 * 3600
"""Seconds for which copies are waited for."""

FIRST_PAUSE, LONGEST_PAUSE = 60, 3600
"""Seconds between two looks: each pause is twice as long as the one before, up to an hour."""


class Archive:
    """The copies that a removal needs first, for all its threads.

    Args:
        storage: what is copied from.
        master: what is copied to.
        wait: what the removal has waited for.
    """

    def __init__(
        self, iconik: Iconik, storage: Storage, master: Storage, wait: Wait | None
    ) -> None:
        self._iconik = iconik
        self._storage = storage
        self._master = master
        self._wait = wait or Wait(time.time(), -1, (), 0, ())
        self._is_late = time.time() >= self._wait.since + PATIENCE
        self._jobs, self._awaited = set(self._wait.jobs), set(self._wait.awaited)
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
        if not self._is_under_way(asset_id, of.id):
            if of.id in self._wait.awaited:
                if masters and not any(file.is_unfinished for file in masters):
                    return reason, False
                if failure := self._failure(asset_id):
                    return f"{reason}; its copy to {to} failed: {failure}", False
            elif masters or self._iconik.has_file_set(asset_id, of.id, self._master.id):
                return reason, False
            elif not self._is_late:
                with self._lock:
                    self._wanted[of.name][asset_id] = of.id
        with self._lock:
            self._awaited.add(of.id)
        if self._is_late:
            return f"{reason}; it was not copied to {to} within 24 hours", False
        return f"it is being copied to {to} first; the same action removes it then", True

    def ask(self, is_aborted: Callable[[], bool]) -> dict[str, PluginError]:
        """Ask iconik for the copies that were noted, unless the removal is aborted.

        Returns:
            What went wrong, by the assets' ids.
        """
        errors: dict[str, PluginError] = {}
        self._transfers = None  # It may have changed meanwhile, and so may the masters.
        for format_name, wanted in self._wanted.items():
            for some in chunks(list(wanted)):
                try:
                    if is_aborted():
                        raise OutOfTime("Not begun.")
                    self._copy(format_name, [(id, wanted[id]) for id in some])
                except PluginError as error:
                    errors |= dict.fromkeys(some, error)
                    self._awaited.difference_update(wanted[id] for id in some)
        return errors

    def next_wait(self, done: int) -> tuple[Wait, int]:
        """Return what the removal is to know next time, and the seconds until then.

        Args:
            done: the number of assets that are done with.
        """
        since, times = self._wait.since, self._wait.times + 1
        left = max(0, math.ceil(since + PATIENCE - time.time()))
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**times, left)
        return Wait(since, times, tuple(self._awaited), done, tuple(self._jobs)), pause

    def _copy(self, format_name: str, formats: Sequence[tuple[str, str]]) -> None:
        """Ask for the copies of some assets' formats, as far as there is still nothing."""

        def is_missing(ids: tuple[str, str]) -> bool:
            has_file_set = self._iconik.has_file_set(*ids, self._master.id)
            return not has_file_set and not self._is_under_way(*ids)

        missing = side_by_side(is_missing, formats)
        ids = [id for (id, _), is_so in zip(formats, missing, strict=True) if is_so]
        if ids and (
            job_id := self._iconik.copy(
                self._master.id,
                "assets",
                ids,
                format_name=format_name,
                file_path=None,
                preferred_source=self._storage.id,
            )
        ):
            self._jobs.add(job_id)

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
            self._jobs.update(transfer.job_id for transfer in found if transfer.job_id)
            return bool(found)

    def _failure(self, asset_id: str) -> str | None:
        """Return why iconik says that a copy failed.

        The job of a bulk copy has one below it for each asset, and is finished though those fail.
        """
        with self._lock:
            if self._failures is None:
                failures: dict[str, str] = {}
                states: list[str | None] = []
                for job_id in self._wait.jobs:
                    with suppress(AccessDenied, NotFound):  # Somebody may have tidied up.
                        states.append(self._iconik.job(job_id).status)
                        failures |= self._iconik.failed_below(job_id)
                # Which assets a job was for is not known here, so all must have come to an end.
                has_failed = ENDED.issuperset(states) and BROKEN.intersection(states)
                common = "iconik's job has failed" if has_failed else None
                self._failures = defaultdict(lambda: common, failures)
            return self._failures[asset_id]
