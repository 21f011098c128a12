"""Copying files to a storage, and deleting them from it again.

A file leaves the storage only if `rule.judge` finds no reason to keep it. Looking, judging and
deleting are one unit: a deletion is sent only on fresh evidence, and never repeated without another
look.
"""

import random
from collections.abc import Callable, Sequence

from storage_plugin.removal import rule
from storage_plugin.errors import (
    AdministratorError,
    IconikBusy,
    IconikUnavailable,
    OutOfTime,
    PluginError,
    Stale,
)
from storage_plugin.removal.evidence import FRESH, Evidence, confirm, look
from storage_plugin.iconik.client import Iconik, chunks, side_by_side
from storage_plugin.iconik.rows import Deletion, FileSet
from storage_plugin.storages import Plan, check_removal
from storage_plugin.progress import Progress
from storage_plugin.removal.report import Removal, Report
from storage_plugin.removal.selection import find_assets
from storage_plugin.webhook import Selection

ATTEMPTS = 5
"""The consecutive looks at an asset that may end without a deletion before the plugin gives up."""

Verdicts = Sequence[tuple[FileSet, str | None]]
"""Candidates for a deletion, each with the reason to keep it, or None if it may go."""

Archive = Callable[[str, FileSet, Evidence, str], tuple[str, bool]]
"""Arranges a copy of a file set that must stay.

Takes the asset's id, the file set, the evidence and the reason; returns the reason to report, and
whether the file set waits for its copy.
"""

Guard = Callable[[str], str | None]
"""Takes an asset's id; returns why none of its files may be deleted now; None: they may."""


def add(iconik: Iconik, selection: Selection, plan: Plan) -> list[str]:
    """Have the selection copied to the storage.

    Returns:
        The ids of iconik's copy jobs, if iconik returns them.
    """

    def copy(request: tuple[str, str, Sequence[str]]) -> str | None:
        object_type, format_name, ids = request
        return iconik.copy(
            plan.storage.id,
            object_type,
            object_ids=ids,
            format_name=format_name,
            file_path=plan.path,
            preferred_source=plan.master.id if plan.master else None,
        )

    requests = [
        (object_type, format_name, some)
        for object_type, ids in selection.by_type()
        for format_name in plan.format_names
        for some in chunks(ids)
    ]
    return [job for job in side_by_side(copy, requests) if job]


def remove(
    iconik: Iconik,
    selection: Selection,
    plan: Plan,
    *,
    progress: Progress,
    archive: Archive | None = None,
    guard: Guard | None = None,
) -> Report:
    """Delete the selection's files from the storage if complete copies exist elsewhere.

    When the deadline is near, or when an editor halts the removal, the remaining assets are left.

    Args:
        iconik: a client.
        selection: the objects to remove.
        plan: the storages and formats.
        progress: counts the assets, and says whether the removal may go on.
        archive: arranges copies of file sets that must stay; None: nothing is copied.
        guard: says whether an asset must stay as a whole; None: it need not.

    Raises:
        AdministratorError: the storages do not allow a removal; nothing was changed.
    """
    check_removal(plan)
    assets, unknown = find_assets(iconik, selection)
    progress.total = progress.done + len(assets)

    def remove_asset(asset: tuple[str, str | None]) -> Removal:
        removal = Removal(*asset)
        if not progress.may_begin():
            removal.error = OutOfTime("Not begun.")
            return removal
        try:
            if guard and (reason := guard(removal.object_id)):
                removal.kept.append(reason)
            else:
                AssetRemoval(iconik, removal, plan, archive=archive).run()
        except PluginError as error:
            removal.error = error
            if isinstance(error, AdministratorError):
                progress.deadline.end()  # Every other asset would fail in the same way.
        progress.count()
        return removal

    # The order differs each time, so a repeat does not spend all its time on finished assets.
    order = random.sample(list(assets.items()), len(assets))
    removals = {removal.object_id: removal for removal in side_by_side(remove_asset, order)}
    in_order = unknown + [removals[asset_id] for asset_id in assets]
    return Report(in_order, str(plan.storage.name), progress.before, progress.halt)


class AssetRemoval:
    """The removal of one asset from the storage.

    Args:
        iconik: a client.
        removal: receives the result.
        plan: the storages and formats.
        archive: arranges copies of file sets that must stay; None: nothing is copied.
    """

    def __init__(
        self,
        iconik: Iconik,
        removal: Removal,
        plan: Plan,
        *,
        archive: Archive | None,
    ) -> None:
        self._iconik = iconik
        self._removal = removal
        self._plan = plan
        self._archive = archive
        self._asked: set[str] = set()  # File sets to be deleted that may still exist.
        self._accepted: set[str] = set()  # File sets whose deletion iconik has accepted.

    def run(self) -> None:
        """Look, judge and delete until every remaining file set must stay."""
        evidence = self._look()
        verdicts, failures = list(rule.judge(evidence)), 0
        while True:
            removed_before, is_stale = self._removal.removed, False
            try:
                if self._delete(verdicts, not_after=evidence.asked + FRESH):
                    break
            except IconikBusy:
                pass  # The deadline ends this loop.
            except IconikUnavailable as error:
                is_stale = isinstance(error, Stale)
                failures = 1 if self._removal.removed > removed_before else failures + 1
                if failures == ATTEMPTS:
                    raise
            confirmed = self._confirm(evidence) if is_stale else None
            evidence = confirmed or self._look()
            verdicts = verdicts if confirmed else list(rule.judge(evidence))
        self._keep(verdicts, evidence)

    def _confirm(self, evidence: Evidence) -> Evidence | None:
        return confirm(self._iconik, self._removal.object_id, self._plan, evidence)

    def _look(self) -> Evidence:
        """Look at the asset, and count the file sets that were to be deleted and are gone."""
        evidence = look(self._iconik, self._removal.object_id, self._plan)
        in_bin = {each.id for each in evidence.file_sets if each.status == "DELETED"}
        listed = {each.id for each in evidence.file_sets}
        listed -= in_bin if self._plan.use_recycle_bin else set()
        self._removal.removed += len(self._asked - listed)
        self._asked &= listed
        return evidence

    def _delete(self, verdicts: Verdicts, *, not_after: float) -> bool:
        """Delete the file sets that may go; return whether all of them are certainly gone.

        Raises:
            IconikBusy, IconikUnavailable: the outcome is unknown, or the evidence is too old: look
                again.
        """
        is_certain = True
        for file_set, why_keep in verdicts:
            if why_keep is None and file_set.id not in self._accepted:
                self._asked.add(file_set.id)
                is_gone = self._send(file_set, not_after=not_after)
                self._accepted.add(file_set.id)
                if is_gone:
                    self._asked.discard(file_set.id)
                    self._removal.removed += 1
                is_certain = is_certain and is_gone
        return is_certain

    def _send(self, file_set: FileSet, *, not_after: float) -> bool:
        """Send the deletion of a file set, and return whether it is gone."""
        iconik, ids = self._iconik, (self._removal.object_id, file_set.id)
        deletion, to_bin = Deletion.BINNED, self._plan.use_recycle_bin
        if file_set.status != "DELETED":
            deletion = iconik.delete_file_set(*ids, immediately=not to_bin, not_after=not_after)
        if deletion is Deletion.BINNED and not to_bin:
            deletion = iconik.purge_file_set(*ids, not_after=not_after)
        return deletion is Deletion.GONE or (deletion is Deletion.BINNED and to_bin)

    def _keep(self, verdicts: Verdicts, evidence: Evidence) -> None:
        """Note why each remaining file set must stay."""
        for file_set, why_keep in verdicts:
            reason, is_waiting = why_keep, False
            if file_set.id in self._asked & self._accepted:
                reason = "iconik was asked to delete it, but still lists it"
            elif why_keep and self._archive:
                asset_id = self._removal.object_id
                reason, is_waiting = self._archive(asset_id, file_set, evidence, why_keep)
            if reason:
                name = evidence.formats[file_set.format_id].name
                kept = self._removal.waiting if is_waiting else self._removal.kept
                kept.append(f"{name}: {reason}")
