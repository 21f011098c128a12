"""Removing one asset from the storage: look, judge, delete.

The three are one unit: a deletion is sent only on fresh evidence, and never repeated without
another look.
"""

from collections.abc import Sequence

from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    IconikBusy,
    IconikUnavailable,
    OutOfTime,
    PluginError,
)
from storage_plugin.iconik.rows import Deletion, FileSet
from storage_plugin.names import visible
from storage_plugin.removal.archive import Plan, plan
from storage_plugin.removal.evidence import FRESH, Evidence, look, renew
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import Kind, Verdict, judge, why_nothing
from storage_plugin.removal.shared import Removal

ATTEMPTS = 5
"""The consecutive looks at an asset that may end without a deletion before the plugin gives up."""

Verdicts = Sequence[tuple[FileSet, Verdict]]


def remove_asset(removal: Removal, asset_id: str, title: str | None = None) -> Outcome:
    """Delete the files of an asset from the storage if complete copies exist elsewhere.

    Args:
        removal: what the assets of the removal have in common.
        asset_id: the asset.
        title: its name in iconik; None: unknown.

    Raises:
        AdministratorError: no asset can be removed.
    """
    asset = _Asset(removal, asset_id)
    try:
        with removal.iconik.pace.asset(removal.iconik.deadline):
            outcome = asset.remove()
    except AdministratorError:
        raise
    except PluginError as error:
        end = End.LEFT if isinstance(error, OutOfTime) else End.FAILED
        outcome = Outcome(asset_id, end, error=error, is_touched=asset.is_touched)
    return outcome._replace(removed=asset.removed, title=title)


class _Asset:
    """The removal of one asset.

    Attributes:
        removed: the number of file sets that are gone.
    """

    def __init__(self, removal: Removal, asset_id: str) -> None:
        self._removal, self._id = removal, asset_id
        self._asked: set[str] = set()  # File sets to be deleted that may still exist.
        self._accepted: set[str] = set()  # File sets whose deletion iconik has accepted.
        self.removed = 0

    @property
    def is_touched(self) -> bool:
        """Whether the asset has lost files, or may have."""
        return bool(self.removed or self._asked)

    def remove(self) -> Outcome:
        """Look, judge and delete until every remaining file set must stay."""
        failures = 0
        while True:
            evidence, before = self._look(), self.removed
            verdicts = judge(evidence)
            if self._is_arriving(evidence):
                name = visible(str(evidence.storage.name))
                when = "repeat the action when it has arrived"
                reason = f"a copy of it is still on its way to {name}: {when}"
                return Outcome(self._id, End.STAYED, reasons=(reason,))
            try:
                if self._delete(verdicts, evidence):
                    return self._conclude(verdicts, evidence)
            except IconikBusy:
                pass  # The deadline ends this loop.
            except IconikUnavailable:
                failures = 1 if self.removed > before else failures + 1
                if failures == ATTEMPTS:
                    raise

    def _look(self) -> Evidence:
        """Look at the asset, and count the file sets that were to be deleted and are gone."""
        evidence = look(self._removal, self._id)
        listed = {
            each.id
            for each in evidence.file_sets.values()
            if not (evidence.to_bin and each.status == "DELETED")
        }
        self.removed += len(self._asked - listed)
        self._asked &= listed
        return evidence

    def _is_arriving(self, evidence: Evidence) -> bool:
        """Whether iconik is copying the asset to the storage, as far as that is to be feared."""
        files = [file for each in evidence.doomed for file in evidence.files_of(each)]
        is_there = any(file.status != "AWAITED" for file in files)
        if self.removed or (is_there and evidence.clicked is None):
            return False
        try:
            return self._id in self._removal.arriving.read()[1]
        except AccessDenied:
            if evidence.clicked is None:  # Nothing is deleted that an editor wants.
                return False
            raise

    def _delete(self, verdicts: Verdicts, evidence: Evidence) -> bool:
        """Delete the file sets that may go; return whether all of them are certainly gone.

        Raises:
            IconikBusy, IconikUnavailable: the outcome is unknown, or the evidence is too old: look
                again.
        """
        doomed = [each for each, verdict in verdicts if verdict.kind is Kind.GOES]
        doomed = [each for each in doomed if each.id not in self._accepted]
        if doomed and self._removal.iconik.now() - evidence.asked > FRESH / 2:
            evidence = renew(self._removal, self._id, evidence)
        is_certain = True
        for file_set in doomed:
            self._asked.add(file_set.id)
            is_gone = self._send(file_set, evidence)
            self._accepted.add(file_set.id)
            if is_gone:
                self._asked.discard(file_set.id)
                self.removed += 1
            is_certain = is_certain and is_gone
        return is_certain

    def _send(self, file_set: FileSet, evidence: Evidence) -> bool:
        """Send the deletion of a file set, and return whether it is gone."""
        iconik, ids, to_bin = self._removal.iconik, (self._id, file_set.id), evidence.to_bin
        not_after, deletion = evidence.asked + FRESH, Deletion.BINNED
        if file_set.status != "DELETED":
            deletion = iconik.delete_file_set(*ids, immediately=not to_bin, not_after=not_after)
        if deletion is Deletion.BINNED and not to_bin:
            deletion = iconik.purge_file_set(*ids, not_after=not_after)
        return deletion is Deletion.GONE or (deletion is Deletion.BINNED and to_bin)

    def _conclude(self, verdicts: Verdicts, evidence: Evidence) -> Outcome:
        """Return what became of the asset after the last look."""
        plans = self._plans(verdicts, evidence)
        reasons = tuple(each.reason for each in plans)
        if self._asked & self._accepted:
            here = evidence.storage_name(evidence.storage.id)
            reasons += (f"iconik was asked to delete it from {here}, but still lists it",)
        if reasons:
            end = End.WAITING if any(each.is_waiting for each in plans) else End.STAYED
            to_copy = tuple(each.to_copy for each in plans if each.to_copy)
            return Outcome(self._id, end, reasons=reasons, to_copy=to_copy)
        if self.removed:
            return Outcome(self._id, End.REMOVED)
        return Outcome(self._id, End.ABSENT, reasons=tuple(why_nothing(evidence)))

    def _plans(self, verdicts: Verdicts, evidence: Evidence) -> list[Plan]:
        """Return what is to be done about each file set that stays."""
        kept = [(each, verdict) for each, verdict in verdicts if verdict.kind is not Kind.GOES]
        if not self._removal.settings.archive_before_remove:
            return [Plan(verdict.reason) for _, verdict in kept]
        is_awaited = self._id in self._removal.awaited
        return [plan(each, why, evidence, is_awaited=is_awaited) for each, why in kept]
