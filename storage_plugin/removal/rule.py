"""The rule that decides whether a file set may be deleted. Evidence in, verdicts out; no I/O.

A file set may go only if a storage for masters has a complete copy of it, and if nothing that stays
needs its files. When in doubt, it stays. Editors read the reasons, so each reason is a sentence.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import NamedTuple

from storage_plugin.iconik.rows import File, FileSet
from storage_plugin.names import visible
from storage_plugin.removal import places
from storage_plugin.removal.comparison import (
    OF_NOTHING,
    UNFINISHED,
    first_difference,
    needed,
)
from storage_plugin.removal.evidence import Evidence

REMOVABLE = ("ACTIVE", "DELETED")
"""States of a file set that may be deleted. DELETED: it is in the recycle bin, to be purged."""

STATES = {"ARCHIVED": "archived", "DELETED": "in the recycle bin"}
"""States of a file set that is not on its storage, in words."""

CLOCKS = 5.0
"""Seconds by which the clocks of iconik and Google may differ."""


class Kind(Enum):
    """The kinds of verdicts on a file set."""

    GOES = "It may be deleted."
    STAYS = "It stays."
    NOT_YET = "It stays until its master is complete."


class Verdict(NamedTuple):
    """A verdict, with the reason for editors if the file set stays."""

    kind: Kind
    reason: str = ""


def judge(evidence: Evidence) -> list[tuple[FileSet, Verdict]]:
    """Return the verdict on each file set that is to be deleted."""
    doomed = evidence.doomed
    doubtful = {id: places.doubtful(evidence, id) for id in evidence.masters}
    verdicts = {each.id: _verdict(each, evidence, doubtful) for each in doomed}
    owned = places.by_file_set(evidence)
    while needed_by_others := _needed_by_others(verdicts, evidence, owned):
        verdicts |= needed_by_others
    return [(each, verdicts[each.id]) for each in doomed]


def is_whole(file_set: FileSet, evidence: Evidence) -> bool:
    """Whether iconik can make a complete copy of a file set, asked for by the format's name.

    Other machines may see a file on LucidLink as empty until its data is uploaded, so an empty file
    may be incomplete.
    """
    is_known = file_set.format_id is not None and file_set.status == "ACTIVE"
    if not is_known or any(_obstacles(file_set, evidence)):
        return False
    name = evidence.formats[str(file_set.format_id)].name
    formats = [id for id, each in evidence.formats.items() if each.name == name]
    file_sets = [each for each in evidence.doomed if each.format_id in formats]
    files = needed(evidence.files_of(file_set))
    return (len(formats), file_sets) == (1, [file_set]) and all(map(_is_written, files))


def why_nothing(evidence: Evidence) -> list[str]:
    """Return why nothing is to be deleted although the storage has file sets of the asset."""
    others = {evidence.format_of(each) for each in evidence.present if each.status not in STATES}
    reasons = [
        f"{evidence.format_of(each)} is {STATES[each.status]}"
        for each in evidence.present
        if each.status in STATES and (each.status == "ARCHIVED" or each.file_count)
    ]
    if others:
        names, verb = " and ".join(sorted(others)), "are" if len(others) > 1 else "is"
        here = evidence.storage_name(evidence.storage.id)
        reasons.append(f"only {names} {verb} on {here}, which this action does not remove")
    return list(dict.fromkeys(reasons))


def _needed_by_others(
    verdicts: Mapping[str, Verdict], evidence: Evidence, owned: Mapping[str, Set[str]]
) -> dict[str, Verdict]:
    """Return new verdicts on file sets that may go by themselves, but others that stay need them.

    Args:
        verdicts: the verdicts so far.
        evidence: the evidence.
        owned: the places of the files on the storage, by the ids of their file sets.
    """
    going = {id for id, verdict in verdicts.items() if verdict.kind is Kind.GOES}
    reasons = {id: places.need(evidence, id, owned, going) for id in going}
    return {id: Verdict(Kind.STAYS, reason) for id, reason in reasons.items() if reason}


def _verdict(
    doomed: FileSet, evidence: Evidence, doubtful: Mapping[str, Collection[str]]
) -> Verdict:
    """Return the verdict on a file set without regard to others on the storage."""
    if doomed.format_id is None:
        here = evidence.storage_name(evidence.storage.id)
        reason = f"iconik does not say of which format a file set on {here} is"
        return Verdict(Kind.STAYS, reason)
    for reason in _obstacles(doomed, evidence):
        return Verdict(Kind.STAYS, reason)
    verdicts = [
        next(_flaws(each, doomed, evidence, doubtful[str(each.storage_id)]), Verdict(Kind.GOES))
        for each in evidence.masters_of(doomed)
    ]
    kinds = {each.kind for each in verdicts}
    if Kind.GOES in kinds:
        return Verdict(Kind.GOES)
    reason = "; ".join(dict.fromkeys(each.reason for each in verdicts))
    reason = reason or f"{evidence.format_of(doomed)} has no copy on {evidence.master_names}"
    return Verdict(Kind.STAYS if kinds <= {Kind.STAYS} else Kind.NOT_YET, reason)


def _obstacles(file_set: FileSet, evidence: Evidence) -> Iterator[str]:
    """Yield why a file set on the storage may be neither deleted nor copied."""
    where = evidence.where(file_set)
    if file_set.storage_id is None:
        name = evidence.format_of(file_set)
        yield f"iconik does not say on which storage a file set of {name} is"
    if _is_later(file_set.created, evidence.clicked):
        yield f"{where} was added again after the click"
    if file_set.status not in REMOVABLE:
        yield f"iconik's record of {where} is {_state(file_set.status)}"
    # Masters of a format in the recycle bin may not last. If iconik names no status, the rest of
    # the rule decides, because it does not depend on the status.
    if (status := evidence.formats[str(file_set.format_id)].status) not in ("ACTIVE", None):
        yield f"the format {evidence.format_of(file_set)} is {status}"
    yield from _contradictions(file_set, evidence)
    yield from _gaps(file_set, evidence)


def _flaws(
    master: FileSet, doomed: FileSet, evidence: Evidence, doubtful: Collection[str]
) -> Iterator[Verdict]:
    """Yield why a file set is no complete copy of a doomed one.

    Args:
        master: the possible copy, on a storage for masters.
        doomed: the file set to be deleted.
        evidence: the evidence.
        doubtful: the places on the masters' storage that have several files.
    """
    where = evidence.where(master)
    if master.status != "ACTIVE":
        yield Verdict(Kind.STAYS, f"iconik's record of {where} is {_state(master.status)}")
    for reason in _contradictions(master, evidence):
        yield Verdict(Kind.STAYS, reason)
    for reason in _gaps(master, evidence):
        yield Verdict(Kind.NOT_YET, reason)
    if len(_versions(master, evidence) | _versions(doomed, evidence)) > 1:
        yield Verdict(Kind.STAYS, f"{where} is of another version")
    copies = needed(evidence.files_of(master))
    yield from _unfit(copies, evidence.storage_name(master.storage_id), doubtful)
    if difference := first_difference(needed(evidence.files_of(doomed)), copies):
        yield Verdict(Kind.STAYS, difference)


def _unfit(copies: Sequence[File], there: str, doubtful: Collection[str]) -> Iterator[Verdict]:
    """Yield which files of a master may not be there, or not whole; see `_flaws`."""
    for copy in copies:
        name = visible(copy.original_name)
        if copy.status in UNFINISHED:
            reason = f"{name} {UNFINISHED[copy.status]} on {there} ({copy.status})"
            yield Verdict(Kind.NOT_YET, reason)
        elif copy.status not in ("CLOSED", "REDISCOVERED"):
            yield Verdict(Kind.STAYS, f"{name} on {there} is {_state(copy.status)}")
        elif places.of(copy) in doubtful:
            reason = f"{there} has one place for {name} and another file, so one may be missing"
            yield Verdict(Kind.STAYS, reason)


def _contradictions(file_set: FileSet, evidence: Evidence) -> Iterator[str]:
    """Yield how the rows of files contradict iconik's own records."""
    active = {"ACTIVE", None}
    expected = {
        "format_id": {file_set.format_id, None},
        "storage_id": {file_set.storage_id, None},
        "format_status": active,
        # The rows of a file set that was deleted just now may be out of date.
        "file_set_status": active if file_set.status == "ACTIVE" else active | {file_set.status},
    }
    for field, values in expected.items():
        said = {getattr(file, field) for file in evidence.files_of(file_set)}
        for wrong in said - values:
            where = evidence.where(file_set)
            yield f"iconik contradicts itself about {where} ({field} of a file: {wrong})"


def _gaps(file_set: FileSet, evidence: Evidence) -> Iterator[str]:
    """Yield how iconik's list of the files is incomplete."""
    files, where = evidence.files_of(file_set), evidence.where(file_set)
    count, listed = file_set.file_count, sum(file.type != "DIRECTORY" for file in files)
    # iconik does not document how it counts, so more files than it counts are no gap.
    if count is not None and listed < count:
        yield f"iconik lists {listed:,} of the {count:,} files of {where}"
    if not needed(files):
        yield f"iconik lists no files of {where}: rescan its folder in iconik"
    if count is None and file_set.type == "MANY_FILES":
        yield f"iconik does not say how many files {where} has"


def _versions(file_set: FileSet, evidence: Evidence) -> set[str]:
    """Return all versions that iconik names for a file set."""
    named = {file.version_id for file in evidence.files_of(file_set)}
    named |= {file_set.version_id, evidence.formats[str(file_set.format_id)].version_id}
    return {each for each in named if each}


def _is_written(file: File) -> bool:
    return file.status == "CLOSED" and (bool(file.size) or file.checksum in OF_NOTHING)


def _is_later(created: float | None, clicked: float | None) -> bool:
    """Whether something may have been created after a click that the removal has waited since."""
    return clicked is not None and (created is None or created >= clicked - CLOCKS)


def _state(status: str | None) -> str:
    return status or "without a status"
