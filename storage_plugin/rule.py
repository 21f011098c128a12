"""When a file set may be deleted from a storage. Evidence in, reasons out; no I/O.

A file set may go only if a storage for masters holds a complete copy of it. When in doubt it stays.
The reasons are what an editor reads, so each one names what differs.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from storage_plugin.iconik import Claim, File, FileSet, Format

REMOVABLE = ("ACTIVE", "DELETED")
"""States of a file set that may be deleted: DELETED is in the recycle bin, and can be purged."""

UNFINISHED = ("OPEN", "GROWING", "AWAITED")
"""States of a file that is still being written.

https://app.iconik.io/help/pages/entities/files
"""


class Evidence(NamedTuple):
    """What iconik says of one asset.

    Attributes:
        doomed: the file sets to be deleted, as far as they may go.
        master_ids: the storages whose copies count as masters.
        formats: those whose files are to be deleted, by their ids.
        file_sets: iconik's own records, of all formats and storages.
        files: the rows of their files, by the ids of the file sets.
        asked: the moment before the first of it was asked for, in seconds that never go back.
        read: the moment when all of it was there.
    """

    doomed: Sequence[FileSet]
    master_ids: frozenset[str]
    formats: Mapping[str, Format]
    file_sets: Sequence[FileSet]
    files: Mapping[str, Sequence[File]]
    asked: float
    read: float

    def masters_of(self, doomed: FileSet) -> list[FileSet]:
        """Return the file sets that may be a complete copy of a doomed one."""
        return [
            each
            for each in self.file_sets
            if each.format_id == doomed.format_id and each.storage_id in self.master_ids
        ]

    def files_of(self, file_set: FileSet) -> Sequence[File]:
        """Return the rows of a file set."""
        return self.files.get(file_set.id, ())


def judge(evidence: Evidence) -> Iterator[tuple[FileSet, str | None]]:
    """Yield each file set to be deleted, and why it must stay; None: it may go."""
    for doomed in evidence.doomed:
        yield doomed, _why_keep(doomed, evidence)


def why_untouchable(file_set: FileSet, evidence: Evidence) -> str | None:
    """Return why nothing at all is done with a file set; None where something may be."""
    of, files = evidence.formats[file_set.format_id], evidence.files_of(file_set)
    if file_set.status not in REMOVABLE:
        return f"iconik's record of it is {file_set.status or 'without a status'}"
    # Masters of a format in the recycle bin may not last. Where iconik says nothing the rule, which
    # does not rest on it, decides.
    for status in {of.status, *(file.claim.format_status for file in files)}:
        if status not in ("ACTIVE", None):
            return f"the format is {status}"
    return _flaw(file_set, evidence)


def _why_keep(doomed: FileSet, evidence: Evidence) -> str | None:
    if reason := why_untouchable(doomed, evidence):
        return reason
    if shared := _shared_path(doomed, evidence):
        return f"{shared} belongs to another file set on the storage, too"
    reasons = [_why_no_copy(master, doomed, evidence) for master in evidence.masters_of(doomed)]
    if None in reasons:
        return None
    if not evidence.master_ids:
        return "no storage for masters is ACTIVE"
    return "; ".join(dict.fromkeys(filter(None, reasons))) or "it has no master"


def _why_no_copy(master: FileSet, doomed: FileSet, evidence: Evidence) -> str | None:
    """Return why a file set is no complete copy of a doomed one; None where it is."""
    if master.status != "ACTIVE":
        return f"iconik's record of its master is {master.status or 'without a status'}"
    if flaw := _flaw(master, evidence):
        return f"of its master {flaw}"
    if len(versions := _versions(master, evidence) | _versions(doomed, evidence)) > 1:
        return f"its master is of another version: {' and '.join(sorted(versions))}"
    copies = [file for file in evidence.files_of(master) if file.type != "DIRECTORY"]
    for copy in copies:
        if copy.status != "CLOSED":
            return f"its master {copy.original_name} is {copy.status or 'without a status'}"
    return _first_difference(evidence.files_of(doomed), copies)


def _flaw(file_set: FileSet, evidence: Evidence) -> str | None:
    """Return why iconik's record and rows of a file set are not to be relied on."""
    files, count = evidence.files_of(file_set), file_set.file_count
    for claim in {file.claim for file in files}:
        if contradiction := _contradiction(file_set, evidence.formats[file_set.format_id], claim):
            return contradiction
    # How iconik counts is not documented, so that more rows than it counts are no reason.
    if count is None and file_set.type == "MANY_FILES":
        return f"iconik lists {len(files)} files, and does not say of how many"
    if len(files) < (count or 0):
        return f"iconik lists {len(files)} of {count} files"
    if all(file.type == "DIRECTORY" for file in files):
        return "iconik lists no files"
    return None


def _versions(file_set: FileSet, evidence: Evidence) -> set[str]:
    """Return all versions that iconik says a file set is of."""
    claimed = {file.claim.version_id for file in evidence.files_of(file_set)}
    of = evidence.formats[file_set.format_id]
    return {each for each in (*claimed, file_set.version_id, of.version_id) if each}


def _contradiction(file_set: FileSet, of: Format, claim: Claim) -> str | None:
    """Return what rows of files say differently from iconik's own records."""
    said = {
        "format": (claim.format_id, file_set.format_id),
        "storage": (claim.storage_id, file_set.storage_id),
        "state of the format": (claim.format_status, of.status),
    }
    if file_set.status == "ACTIVE":  # Rows may lag behind one that has just been deleted.
        said["state"] = (claim.file_set_status, file_set.status)
    for what, (row, record) in said.items():
        if None not in (row, record) and row != record:
            return f"the {what} is {record} by iconik's record, and {row} by its files"
    return None


def _shared_path(doomed: FileSet, evidence: Evidence) -> str | None:
    """Return a file that another file set on the storage has, too: a deletion takes both.

    Those in the recycle bin have nothing to lose.
    """
    spared = {each.id for each in evidence.file_sets if each.status == "DELETED"} | {doomed.id}
    others = {
        _path(file)
        for file_set_id in evidence.files.keys() - spared
        for file in evidence.files[file_set_id]
        if file.claim.storage_id == doomed.storage_id
    }
    shared = [file.original_name for file in evidence.files_of(doomed) if _path(file) in others]
    return shared[0] if shared else None


def _first_difference(files: Iterable[File], copies: Iterable[File]) -> str | None:
    """Return what a copy lacks; None where each file has a copy of its own."""
    spare = defaultdict(list)
    for copy in copies:
        spare[_normal(copy.original_name), copy.type].append(copy)
    # Files that few others can stand in for choose first.
    wanted = [file for file in files if file.type != "DIRECTORY"]
    for file in sorted(wanted, key=lambda file: (file.status in UNFINISHED, not file.checksum)):
        twins = spare[_normal(file.original_name), file.type]
        reasons = [_difference(file, twin) for twin in twins]
        if None not in reasons:
            return reasons[0] if reasons else f"its master has no {file.original_name}"
        fitting = [twin for twin, reason in zip(twins, reasons, strict=True) if reason is None]
        twins.remove(max(fitting, key=lambda twin: twin.checksum == file.checksum))
    return None


def _difference(file: File, twin: File) -> str | None:
    """Return how a file differs from its master; None where nothing of it would be lost."""
    if file.status == "AWAITED" and not file.size:
        return None  # Nothing has been written yet.
    if difference := _size_difference(file, twin):
        return difference
    if _differ(file.checksum, twin.checksum):
        return f"{file.original_name} has another checksum than its master"
    return None


def _size_difference(file: File, twin: File) -> str | None:
    name = file.original_name
    if not (file.size and twin.size):
        return f"iconik knows no size of {name}{' itself' if twin.size else ' on the master'}"
    sizes = f"{file.size:,} and {twin.size:,} bytes"
    if file.status in UNFINISHED and file.size > twin.size:
        return f"{name} is {file.status}, and larger than its master: {sizes}"
    if file.status not in UNFINISHED and file.size != twin.size:
        return f"{name} differs from its master in size: {sizes}"
    return None


def _differ(one: str | None, other: str | None) -> bool:
    """Whether two checksums of the same kind, that is, of the same length, differ."""
    kinds = len(one or ""), len(other or "")
    return kinds[0] == kinds[1] and (one or "").lower() != (other or "").lower()


def _normal(name: str) -> str:
    """Return a name in the form that macOS and Linux write alike."""
    return unicodedata.normalize("NFC", name)


def _path(file: File) -> tuple[str, str]:
    return _normal(file.folder).strip("/"), _normal(file.name)
