"""The rule that decides whether a file set may be deleted. Evidence in, verdicts out; no I/O.

A file set may go only if a storage for masters has a complete copy of it, and if nothing that stays
needs its files. When in doubt, it stays. Editors read the reasons, so each reason is a sentence.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from operator import attrgetter
from typing import NamedTuple

from storage_plugin.iconik.rows import File, FileSet, Format
from storage_plugin.names import visible
from storage_plugin.removal import comparison
from storage_plugin.removal.comparison import UNFINISHED, needed
from storage_plugin.removal.evidence import Evidence

CLOCKS = 5.0  # Seconds by which the clocks of iconik and Google may differ.
UNKNOWN = "without a status"


class Kind(Enum):
    """The kinds of verdicts on a file set."""

    GOES = "It may be deleted."
    STAYS = "It stays."
    UNCLEAR = "It stays because of what is on the storage, which may be changing."
    ALONE = "It stays because no storage for masters has any file set of its format."
    NOT_YET = "It stays until its master is complete."


class Verdict(NamedTuple):
    """A verdict on a file set."""

    reason: str = ""  # Why it stays, for editors.
    kind: Kind = Kind.STAYS
    to_copy: Format | None = None  # Its format if a copy of it is to be requested; see `archive`.


def judge(evidence: Evidence) -> list[tuple[FileSet, Verdict]]:
    """Return the verdict on each file set that is to be deleted."""
    doubtful = {id: comparison.doubtful_places(id, evidence) for id in evidence.masters}
    verdicts = {each.id: _verdict(each, evidence, doubtful) for each in evidence.doomed}
    while needed_by_others := _needed_by_others(verdicts, evidence):
        verdicts |= needed_by_others
    return [(each, verdicts[each.id]) for each in evidence.doomed]


def why_nothing(evidence: Evidence) -> tuple[str, ...]:
    """Return why nothing is to be deleted although the storage has file sets of the asset."""
    states = {"ARCHIVED": "archived", "DELETED": "in the recycle bin"}
    here = f"on {evidence.storage_name()}, but this action does not remove it"
    reasons = (
        f"{evidence.format_of(each)} is {states.get(str(each.status), here)}"
        for each in evidence.present
        if each.status != "DELETED" or each.file_count
    )
    return tuple(dict.fromkeys(reasons))


def _needed_by_others(verdicts: Mapping[str, Verdict], evidence: Evidence) -> dict[str, Verdict]:
    """Return verdicts that file sets stay because others, which stay, need their files."""
    going = {id for id, verdict in verdicts.items() if verdict.kind is Kind.GOES}
    others = {
        comparison.place_of(file): file
        for file, is_in_bin in comparison.files_on(evidence.storage.id, evidence)
        if file.file_set_id not in going and not is_in_bin  # There, it has nothing to lose.
    }
    stay = {}
    for id in going:
        if others and (file := comparison.at_risk(evidence.files[id], others)):
            name, owner = visible(file.name), evidence.file_sets.get(file.file_set_id)
            whose = evidence.format_of(owner) if owner else "another file set"
            what = evidence.format_of(evidence.file_sets[id])
            reason = f"deleting {what} could also delete {name} of {whose}, which stays"
            stay[id] = Verdict(reason, Kind.UNCLEAR)
    return stay


def _verdict(doomed: FileSet, evidence: Evidence, doubtful: Mapping[str, Set[str]]) -> Verdict:
    """Return the verdict on a file set without regard to others on the storage."""
    format = evidence.formats.get(str(doomed.format_id))
    if format is None or doomed.storage_id is None:
        return Verdict("iconik does not name the format or storage of a file set", Kind.UNCLEAR)
    for obstacle in _obstacles(doomed, format, evidence):
        return Verdict(obstacle.reason, Kind.UNCLEAR)  # Only a master is waited for.
    goes, masters = Verdict(kind=Kind.GOES), evidence.masters_of(doomed)
    verdicts = [next(_flaws(each, doomed, evidence, doubtful), goes) for each in masters]
    if not verdicts:
        there = " or ".join(map(evidence.storage_name, evidence.masters))
        return Verdict(f"{evidence.format_of(doomed)} has no copy on {there}", Kind.ALONE)
    kinds = {each.kind for each in verdicts}
    if Kind.GOES in kinds:
        return goes
    reason = "; ".join(dict.fromkeys(each.reason for each in verdicts))
    return Verdict(reason, Kind.NOT_YET if Kind.NOT_YET in kinds else Kind.STAYS)


def _obstacles(doomed: FileSet, format: Format, evidence: Evidence) -> Iterator[Verdict]:
    """Yield why a file set on the storage may not be deleted, whatever its masters are like."""
    where = evidence.where(doomed)
    if evidence.clicked is not None and (doomed.created or math.inf) >= evidence.clicked - CLOCKS:
        yield Verdict(f"{where} was added again after the click")
    if doomed.status not in ("ACTIVE", "DELETED"):  # In the recycle bin, it is to be purged.
        yield Verdict(f"iconik's record of {where} is {doomed.status or UNKNOWN}")
    # Masters of a format in the recycle bin may not last. If iconik names no status, the rest of
    # the rule decides, because it does not depend on the status.
    if format.status not in ("ACTIVE", None):
        yield Verdict(f"the format {evidence.format_of(doomed)} is {format.status}")
    yield from _contradictions(doomed, evidence)


def _flaws(
    master: FileSet, doomed: FileSet, evidence: Evidence, doubtful: Mapping[str, Set[str]]
) -> Iterator[Verdict]:
    """Yield why a file set on a storage for masters is no complete copy of a doomed one."""
    where, there = evidence.where(master), evidence.storage_name(master.storage_id)
    files, rows = evidence.files[doomed.id], evidence.files[master.id]
    copies = needed(rows)
    if master.status != "ACTIVE":
        yield Verdict(f"iconik's record of {where} is {master.status or UNKNOWN}")
    yield from _unfit(copies, there, doubtful[str(master.storage_id)])
    yield from _contradictions(master, evidence)
    format = evidence.formats[str(master.format_id)]
    versions = map(attrgetter("version_id"), (format, master, doomed, *rows, *files))
    if len({*versions} - {None}) > 1:
        yield Verdict(f"{where} is of another version")
    if difference := comparison.first_difference(needed(files), copies):
        yield Verdict(difference)


def _unfit(copies: Sequence[File], there: str, doubtful: Set[str]) -> Iterator[Verdict]:
    """Yield which files of a master may be missing or incomplete; see `_flaws`."""
    for copy in copies:
        name, status = visible(copy.original_name), copy.status
        if status in UNFINISHED:
            yield Verdict(f"{name} {UNFINISHED[status]} on {there} ({status})", Kind.NOT_YET)
        elif status not in ("CLOSED", "REDISCOVERED"):
            yield Verdict(f"{name} on {there} is {status or UNKNOWN}")
        elif doubtful and comparison.place_of(copy) in doubtful:  # Thousands of places take time.
            reason = f"{there} has one place for {name} and another file, so one may be missing"
            yield Verdict(reason)


def _contradictions(file_set: FileSet, evidence: Evidence) -> Iterator[Verdict]:
    """Yield how iconik's list of the files contradicts its own records, or has gaps."""
    files, where = evidence.files[file_set.id], evidence.where(file_set)
    expected = {
        "format_id": (file_set.format_id, None),
        "storage_id": (file_set.storage_id, None),
        "format_status": ("ACTIVE", None),
        # The rows of a file set that was deleted just now may be out of date.
        "file_set_status": ("ACTIVE", file_set.status, None),
    }
    for field, values in expected.items():
        for wrong in {getattr(file, field) for file in files}.difference(values):
            yield Verdict(f"iconik contradicts itself about {where} ({field} of a file: {wrong})")
    count, listed = file_set.file_count, sum(file.type != "DIRECTORY" for file in files)
    # iconik does not document how it counts, so more files than it counts are no gap.
    if count is not None and listed < count:
        yield Verdict(f"iconik lists {listed:,} of the {count:,} files of {where}", Kind.NOT_YET)
    if not needed(files):
        reason = f"iconik lists no files of {where}: rescan its folder in iconik"
        yield Verdict(reason, Kind.NOT_YET)
    if count is None and file_set.type == "MANY_FILES":
        yield Verdict(f"iconik does not say how many files {where} has", Kind.NOT_YET)
