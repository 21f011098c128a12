"""Removing one asset from the storage: look, judge, delete.

The three are one unit: a deletion needs fresh evidence, and is never repeated without new records.
"""

from collections.abc import Sequence

from storage_plugin.errors import IconikBusy, IconikUnavailable, OutOfTime, PluginError, Stale
from storage_plugin.iconik.client import BINNED, GONE
from storage_plugin.iconik.pace import Deadline
from storage_plugin.iconik.rows import FileSet
from storage_plugin.removal.archive import with_copy
from storage_plugin.removal.evidence import FRESH, Evidence, Removal, look, renew
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import Kind, Verdict, judge, why_nothing

ATTEMPTS = 5  # The consecutive looks with a failure after which the plugin gives up.


def remove_asset(removal: Removal, asset_id: str, begins: Deadline | None = None) -> Outcome:
    """Delete the files of an asset from the storage if complete masters exist.

    After the deadline `begins`, the removal does not begin.
    """
    asset = _Asset(removal, asset_id)
    try:
        with removal.iconik.pace.asset(begins or removal.iconik.deadline):
            outcome = asset.remove()
    except PluginError as error:
        end = End.LEFT if isinstance(error, OutOfTime) else End.FAILED
        outcome = Outcome(asset_id, end, error=error)
    return outcome._replace(removed=len(asset.gone))


class _Asset:
    """The removal of one asset."""

    def __init__(self, removal: Removal, asset_id: str) -> None:
        self._removal, self._id = removal, asset_id
        # The ids of file sets whose deletion was sent, or that iconik accepted, or that are gone.
        self._sent, self._accepted, self.gone = set[str](), set[str](), set[str]()

    def remove(self) -> Outcome:
        """Look, judge and delete until every remaining file set must stay."""
        failures = 0
        while True:
            evidence, before = self._look(), len(self.gone)
            verdicts = judge(evidence)
            if self._is_arriving(evidence):
                what = f"a copy of it is still on its way to {evidence.storage_name()}"
                reason = f"{what}: repeat the action when it has arrived"
                return Outcome(self._id, End.STAYED, reasons=(reason,))
            try:
                if self._delete(verdicts, evidence):
                    if self._pending(Kind.UNCLEAR, verdicts):  # Another click may delete them.
                        renew(self._removal, self._id, evidence)
                    return self._conclude(verdicts, evidence)
            except IconikBusy:
                pass  # The deadline ends this loop.
            except IconikUnavailable:
                failures = failures + 1 if len(self.gone) == before else 1
                if failures == ATTEMPTS:
                    raise

    def _look(self) -> Evidence:
        """Look at the asset, and see which file sets are gone."""
        evidence = look(self._removal, self._id)
        in_bin = self._removal.settings.use_recycle_bin and "DELETED"
        listed = {each.id for each in evidence.file_sets.values() if each.status != in_bin}
        self.gone |= self._sent - listed
        return evidence

    def _is_arriving(self, evidence: Evidence) -> bool:
        """Whether iconik is copying the asset to the storage, in the cases where it matters."""
        files = [file for each in evidence.doomed for file in evidence.files[each.id]]
        may_be = evidence.clicked is not None or all(file.status == "AWAITED" for file in files)
        return may_be and not self.gone and self._id in self._removal.arriving()

    def _pending(self, kind: Kind, verdicts: Sequence[tuple[FileSet, Verdict]]) -> list[FileSet]:
        """Return the file sets with a kind of verdict whose deletion iconik has not accepted."""
        found = [each for each, its in verdicts if its.kind is kind]
        return [each for each in found if each.id not in self._accepted]

    def _delete(self, verdicts: Sequence[tuple[FileSet, Verdict]], evidence: Evidence) -> bool:
        """Delete the file sets that may go; return whether all of them are certainly gone."""
        doomed = self._pending(Kind.GOES, verdicts)
        for file_set in doomed:
            self._sent.add(file_set.id)
            try:
                is_gone = self._send(file_set, evidence)
            except Stale:  # Thousands of rows take time, and so may iconik's limit.
                evidence = renew(self._removal, self._id, evidence)
                is_gone = self._send(file_set, evidence)
            if is_gone:
                self.gone.add(file_set.id)
            self._accepted.add(file_set.id)
        return self.gone.issuperset(each.id for each in doomed)

    def _send(self, file_set: FileSet, evidence: Evidence) -> bool:
        """Send the deletion of a file set, and return whether it is gone."""
        iconik, to_bin = self._removal.iconik, self._removal.settings.use_recycle_bin
        ids, not_after, deletion = (self._id, file_set.id), evidence.asked + FRESH, BINNED
        if file_set.status != "DELETED":
            deletion = iconik.delete_file_set(*ids, immediately=not to_bin, not_after=not_after)
        if deletion == BINNED and not to_bin:
            deletion = iconik.purge_file_set(*ids, not_after=not_after)
        return deletion == GONE or (deletion == BINNED and to_bin)

    def _conclude(self, verdicts: Sequence[tuple[FileSet, Verdict]], evidence: Evidence) -> Outcome:
        """Return what became of the asset after the last look."""
        stay = [self._plan(each, its, evidence) for each, its in verdicts if its.kind != Kind.GOES]
        reasons = [each.reason for each in stay]
        if self._accepted - self.gone:
            here = evidence.storage_name()
            reasons.append(f"iconik was asked to delete it from {here}, but still lists it")
        if reasons:
            is_waiting = any(each.kind is Kind.NOT_YET for each in stay)
            end = End.WAITING if is_waiting else End.STAYED
            to_copy = tuple(filter(None, (each.to_copy for each in stay)))
            return Outcome(self._id, end, reasons=tuple(reasons), to_copy=to_copy)
        if self.gone:
            return Outcome(self._id, End.REMOVED)
        return Outcome(self._id, End.ABSENT, reasons=why_nothing(evidence))

    def _plan(self, file_set: FileSet, verdict: Verdict, evidence: Evidence) -> Verdict:
        """Return the verdict on a file set that stays. It waits only with archiving."""
        if not self._removal.settings.archive_before_remove:
            return Verdict(verdict.reason)
        return with_copy(verdict, file_set, evidence, is_awaited=self._id in self._removal.awaited)
