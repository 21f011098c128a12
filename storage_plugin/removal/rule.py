"""The rule that decides whether a file set may be deleted. Evidence in, reasons out; no I/O.

A file set may go only if a storage for masters has a complete copy of it. When in doubt, it stays.
Editors read the reasons, so each reason names the difference.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from storage_plugin.removal.evidence import Evidence
from storage_plugin.iconik.rows import Claim, File, FileSet, Format

REMOVABLE = ("ACTIVE", "DELETED")
"""States of a file set that may be deleted. DELETED: it is in the recycle bin, to be purged."""

UNFINISHED = ("OPEN", "GROWING", "AWAITED")
"""States of a file that is still being written.

https://app.iconik.io/help/pages/entities/files
"""


def judge(evidence: Evidence) -> Iterator[tuple[FileSet, str | None]]:
    """Yield each file set to be deleted, with the reason to keep it; None: it may go."""
    for doomed in evidence.doomed:
        yield doomed, _why_keep(doomed, evidence)


def why_untouchable(file_set: FileSet, evidence: Evidence) -> str | None:
    """Return why a file set may be neither deleted nor copied; None: it may."""
    if file_set.status not in REMOVABLE:
        return f"iconik's record of it is {file_set.status or 'without a status'}"
    # Masters of a format in the recycle bin may not last. If iconik names no status, the rest of
    # the rule decides, because it does not depend on the status.
    if (status := evidence.formats[file_set.format_id].status) not in ("ACTIVE", None):
        return f"the format is {status}"
    return _flaw(file_set, evidence)


def _why_keep(doomed: FileSet, evidence: Evidence) -> str | None:
    if reason := why_untouchable(doomed, evidence):
        return reason
    if shared := _shared_path(doomed, evidence):
        return f"{shared} also belongs to another file set on the storage"
    reasons = [_why_no_copy(master, doomed, evidence) for master in evidence.masters_of(doomed)]
    if None in reasons:
        return None
    return "; ".join(dict.fromkeys(filter(None, reasons))) or "it has no master"


def _why_no_copy(master: FileSet, doomed: FileSet, evidence: Evidence) -> str | None:
    """Return why a file set is not a complete copy of a doomed one; None: it is."""
    if master.status != "ACTIVE":
        return f"iconik's record of its master is {master.status or 'without a status'}"
    if flaw := _flaw(master, evidence):
        return f"{flaw} for its master"
    if len(versions := _versions(master, evidence) | _versions(doomed, evidence)) > 1:
        return f"its master is of another version: {' and '.join(sorted(versions))}"
    copies = [file for file in evidence.files_of(master) if file.type != "DIRECTORY"]
    for copy in copies:
        if copy.status != "CLOSED":
            return f"its master {copy.original_name} is {copy.status or 'without a status'}"
    return _first_difference(evidence.files_of(doomed), copies)


def _flaw(file_set: FileSet, evidence: Evidence) -> str | None:
    """Return why iconik's record and rows of a file set are unreliable; None: they are not."""
    files, count = evidence.files_of(file_set), file_set.file_count
    for claim in {file.claim for file in files}:
        if contradiction := _contradiction(file_set, evidence.formats[file_set.format_id], claim):
            return contradiction
    # iconik does not document how it counts, so more rows than it counts are not a flaw.
    if count is None and file_set.type == "MANY_FILES":
        return f"iconik lists {len(files)} files but no total"
    if len(files) < (count or 0):
        return f"iconik lists {len(files)} of {count} files"
    if all(file.type == "DIRECTORY" for file in files):
        return "iconik lists no files"
    return None


def _versions(file_set: FileSet, evidence: Evidence) -> set[str]:
    """Return all versions that iconik names for a file set."""
    claimed = {file.claim.version_id for file in evidence.files_of(file_set)}
    of = evidence.formats[file_set.format_id]
    return {each for each in (*claimed, file_set.version_id, of.version_id) if each}


def _contradiction(file_set: FileSet, of: Format, claim: Claim) -> str | None:
    """Return how a row of a file contradicts iconik's own records; None: it does not."""
    said = {
        "format": (claim.format_id, file_set.format_id),
        "storage": (claim.storage_id, file_set.storage_id),
        "state of the format": (claim.format_status, of.status),
    }
    if file_set.status == "ACTIVE":  # The rows of a file set deleted just now may be out of date.
        said["state"] = (claim.file_set_status, file_set.status)
    for what, (row, record) in said.items():
        if None not in (row, record) and row != record:
            return f"iconik's record and files disagree on the {what} ({record}, {row})"
    if claim.format_status not in ("ACTIVE", None):
        return f"the format is {claim.format_status}"
    return None


def _shared_path(doomed: FileSet, evidence: Evidence) -> str | None:
    """Return a file that another file set on the storage also has: a deletion would affect both.

    File sets in the recycle bin do not count, because they have nothing to lose.
    """
    spared = {each.id for each in evidence.file_sets if each.status == "DELETED"} | {doomed.id}
    records = {each.id: each.storage_id for each in evidence.file_sets}
    others = {
        _path(file)
        for file_set_id in evidence.files.keys() - spared
        for file in evidence.files[file_set_id]
        if doomed.storage_id in (file.claim.storage_id, records.get(file_set_id))
    }
    shared = [file.original_name for file in evidence.files_of(doomed) if _path(file) in others]
    return shared[0] if shared else None


def _first_difference(files: Iterable[File], copies: Iterable[File]) -> str | None:
    """Return the first file that has no copy of its own, as a reason; None: each file has one."""
    spare = defaultdict(list)
    for copy in copies:
        spare[_normal(copy.original_name), copy.type].append(copy)
    # The files with the fewest possible copies choose first.
    wanted = [file for file in files if file.type != "DIRECTORY"]
    for file in sorted(wanted, key=lambda file: (file.status in UNFINISHED, not file.checksum)):
        twins = spare[_normal(file.original_name), file.type]
        if not twins:
            return f"its master has no {file.original_name}"
        fitting = [twin for twin in twins if _difference(file, twin) is None]
        if not fitting:
            return _difference(file, twins[0])
        twins.remove(max(fitting, key=lambda twin: twin.checksum == file.checksum))
    return None


def _difference(file: File, twin: File) -> str | None:
    """Return how a file differs from its master; None: nothing would be lost."""
    if file.status == "AWAITED" and not file.size:
        return None  # Nothing has been written yet.
    if difference := _size_difference(file, twin):
        return difference
    if _differ(file.checksum, twin.checksum):
        return f"{file.original_name} and its master have different checksums"
    return None


def _size_difference(file: File, twin: File) -> str | None:
    name = file.original_name
    if not (file.size and twin.size):
        return f"iconik does not know the size of {name if twin.size else f'its master {name}'}"
    sizes = f"{file.size:,} and {twin.size:,} bytes"
    if file.status in UNFINISHED and file.size > twin.size:
        return f"{name} is {file.status} and larger than its master: {sizes}"
    if file.status not in UNFINISHED and file.size != twin.size:
        return f"{name} differs from its master in size: {sizes}"
    return None


def _differ(one: str | None, other: str | None) -> bool:
    """Whether two checksums of the same kind, that is, of the same length, differ."""
    kinds = len(one or ""), len(other or "")
    return kinds[0] == kinds[1] and (one or "").lower() != (other or "").lower()


def _normal(name: str) -> str:
    """Return a name in a form that does not depend on macOS or Linux."""
    return unicodedata.normalize("NFC", name)


def _path(file: File) -> tuple[str, str]:
    return _normal(file.folder).strip("/"), _normal(file.name)
