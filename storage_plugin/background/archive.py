"""Copying files without a master to the masters' storage, so they can be removed later.

A finished job is no proof of a copy: only `rule.judge` decides whether files are removed.
"""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from storage_plugin import rule
from storage_plugin.background.iconik import BROKEN, ENDED, BackgroundIconik, Transfer
from storage_plugin.background.task import Task, Wait
from storage_plugin.errors import AccessDenied, NotFound, OutOfTime, PluginError
from storage_plugin.evidence import Evidence
from storage_plugin.iconik import FileSet, chunks, side_by_side
from storage_plugin.kept import Kept
from storage_plugin.plan import Plan
from storage_plugin.report import Removal, Tally
from storage_plugin.rule import UNFINISHED

MAX_WAIT = 24 * 3600
"""Seconds to wait for copies."""

FIRST_PAUSE, LONGEST_PAUSE = 60, 3600
"""Seconds between two looks. Each pause is twice as long as the one before, up to an hour."""


class Archive:
    """The copies that a removal needs first. Its threads share this object.

    Args:
        iconik: a client.
        plan: the storage to copy from, and the masters' storage to copy to.
        task: the removal.
    """

    def __init__(self, iconik: BackgroundIconik, plan: Plan, task: Task) -> None:
        self._iconik = iconik
        self._storage = plan.storage
        self._master = plan.masters[0]
        self._wait = task.wait
        self._ends = task.clicked + MAX_WAIT
        self._is_late = time.time() >= self._ends
        self._jobs, self._awaited = set(task.wait.jobs), dict(task.wait.awaited)
        self._wanted: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._transfers = Kept(self._list_transfers, MAX_WAIT)
        self._failures = Kept(self._list_failures, MAX_WAIT)
        self._lock = threading.Lock()

    def next_wait(self, before: Tally) -> tuple[Wait, int]:
        """Return the memory for the next look at the removal, and the seconds until then.

        Args:
            before: the finished assets.
        """
        times, left = self._wait.times, max(0, math.ceil(self._ends - time.time()))
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(times, 10), left)
        return Wait(times + 1, dict(self._awaited), tuple(self._jobs), before), pause

    def explain(
        self, asset_id: str, file_set: FileSet, evidence: Evidence, reason: str
    ) -> tuple[str, bool]:
        """Return why a file set stays, and whether it waits for its copy.

        A copy is noted for `request` only if the masters' storage has no file set of the format at
        all. An incomplete or different file set there is never overwritten.

        Args:
            asset_id: the asset.
            file_set: the file set that stays.
            evidence: the evidence on which the rule decided.
            reason: why the file set cannot be removed now.
        """
        if not _can_be_copied(file_set, evidence):
            return reason, False
        to, format_id = self._master.name, file_set.format_id
        is_under_way = self._is_under_way(asset_id, format_id)
        end = None if is_under_way else self._end_of_wait(asset_id, file_set, evidence)
        if end is not None:
            return reason + end, False
        with self._lock:
            if not (is_under_way or self._is_late or format_id in self._wait.awaited):
                self._wanted[evidence.formats[format_id].name][asset_id] = format_id
            self._awaited[format_id] = asset_id
        if self._is_late:
            return f"{reason}; it was not copied to {to} within 24 hours", False
        return f"it is being copied to {to} first; the same action removes it afterwards", True

    def request(self, removals: Sequence[Removal], may_go_on: Callable[[], bool]) -> None:
        """Request the noted copies from iconik. An error is stored in the removals concerned.

        Args:
            removals: the results of all assets.
            may_go_on: returns whether more copies may be requested.
        """
        by_asset = {removal.object_id: removal for removal in removals}
        self._transfers.forget()  # Transfers, and masters, may have changed meanwhile.
        for format_name, wanted in self._wanted.items():
            for some in chunks(list(wanted)):
                try:
                    if not may_go_on():
                        raise OutOfTime("Not begun.")
                    self._copy(format_name, [(id, wanted[id]) for id in some])
                except PluginError as error:
                    for asset_id in some:
                        by_asset[asset_id].waiting.clear()
                        by_asset[asset_id].error = by_asset[asset_id].error or error
                        self._awaited.pop(wanted[asset_id], None)

    def _end_of_wait(self, asset_id: str, file_set: FileSet, evidence: Evidence) -> str | None:
        """Return why the wait for a copy that is not under way ends; None: it goes on."""
        format_id = file_set.format_id
        masters = [
            file for each in evidence.masters_of(file_set) for file in evidence.files_of(each)
        ]
        if format_id not in self._wait.awaited:
            has_any = masters or self._iconik.has_file_set(asset_id, format_id, self._master.id)
            return "" if has_any else None
        if masters and not any(file.status in UNFINISHED for file in masters):
            return ""
        if failure := self._failures.read()[asset_id]:
            return f"; its copy to {self._master.name} failed: {failure}"
        return None

    def _copy(self, format_name: str, formats: Sequence[tuple[str, str]]) -> None:
        """Request copies of a format of some assets, except those that already exist."""

        def is_missing(ids: tuple[str, str]) -> bool:
            has_file_set = self._iconik.has_file_set(*ids, self._master.id)
            return not has_file_set and not self._is_under_way(*ids)

        missing = side_by_side(is_missing, formats)
        ids = [id for (id, _), is_so in zip(formats, missing, strict=True) if is_so]
        if ids and (
            job_id := self._iconik.copy(
                self._master.id,
                "assets",
                object_ids=ids,
                format_name=format_name,
                file_path="",
                preferred_source=self._storage.id,
            )
        ):
            self._jobs.add(job_id)

    def _is_under_way(self, asset_id: str, format_id: str) -> bool:
        """Whether iconik is copying a format of an asset; note the job."""
        transfers = self._transfers.read().get(asset_id, ())
        found = [each for each in transfers if each.format_id in (format_id, None)]
        with self._lock:
            self._jobs.update(each.job_id for each in found if each.job_id)
        return bool(found)

    def _list_transfers(self) -> Mapping[str | None, list[Transfer]]:
        """Return the transfers to the masters' storage that are under way, by asset id."""
        transfers = defaultdict(list)
        for transfer in self._iconik.transfers(self._storage.id, self._master.id):
            transfers[transfer.asset_id].append(transfer)
        return transfers

    def _list_failures(self) -> Mapping[str, str | None]:
        """Return iconik's reasons why copies failed, by asset id; None: the copy did not fail.

        The job of a bulk copy has a child job for each asset, and finishes even if those fail.
        """
        failures: dict[str, str] = {}
        states: list[str | None] = []
        for job_id in self._wait.jobs:
            with suppress(AccessDenied, NotFound):  # Somebody may have deleted the job.
                states.append(self._iconik.job(job_id).status)
                failures |= self._iconik.failed_below(job_id)
        # The assets of a job are not known here, so all jobs must have ended.
        has_failed = ENDED.issuperset(states) and BROKEN.intersection(states)
        common = "iconik's job has failed" if has_failed else None
        return defaultdict(lambda: common, failures)


def _can_be_copied(file_set: FileSet, evidence: Evidence) -> bool:
    """Whether a file set is complete, and the only one that iconik can copy by its format's name.

    Other machines may see a file on LucidLink as empty until its data is uploaded, so an empty file
    may be incomplete.
    """
    of = evidence.formats[file_set.format_id]
    named_alike = [format for format in evidence.formats.values() if format.name == of.name]
    beside_it = [other for other in evidence.doomed if other.format_id == of.id]
    is_only_one = len(named_alike) == len(beside_it) == 1
    return is_only_one and _is_whole(file_set, evidence)


def _is_whole(file_set: FileSet, evidence: Evidence) -> bool:
    files = [file for file in evidence.files_of(file_set) if file.type != "DIRECTORY"]
    is_written = all(file.status == "CLOSED" and file.size for file in files)
    is_sound = file_set.status == "ACTIVE" and not rule.why_untouchable(file_set, evidence)
    return is_written and is_sound
