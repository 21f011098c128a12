"""When a file set may be deleted from a storage. Evidence in, reasons out; no I/O.

A file set may go only if another storage holds a complete copy of it. When in doubt it stays.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from storage_plugin.iconik import File, Format, Storage


@dataclass(frozen=True)
class FileSet:
    """The files of one format on one storage; a status of None: iconik does not say."""

    id: str
    format_id: str
    storage_id: str
    status: str | None
    files: tuple[File, ...]


@dataclass(frozen=True)
class Evidence:
    """What iconik says of one asset.

    Attributes:
        storage: that files are to be deleted from.
        master: the storage whose copies count; None: any other one.
        formats: those whose files are to be deleted, by their ids.
        file_sets: of those formats, on all storages.
    """

    storage: Storage
    master: Storage | None
    formats: Mapping[str, Format]
    file_sets: Sequence[FileSet]

    @property
    def on_storage(self) -> Iterator[FileSet]:
        """The file sets on the storage."""
        return (each for each in self.file_sets if each.storage_id == self.storage.id)

    def of_its_formats(self) -> "Evidence":
        """Return the evidence without the file sets of other formats."""
        chosen = tuple(each for each in self.file_sets if each.format_id in self.formats)
        return replace(self, file_sets=chosen)

    def concerned(self) -> set[FileSet]:
        """Return the file sets that matter: those on the storage, and their masters."""
        on_storage = list(self.on_storage)
        return {*on_storage, *(each for doomed in on_storage for each in self.masters_of(doomed))}

    def masters_of(self, doomed: FileSet) -> Iterator[FileSet]:
        """Yield the file sets whose files may stand in for those of a doomed one."""
        for candidate in self.file_sets:
            is_elsewhere = candidate.storage_id != self.storage.id
            counts = self.master is None or candidate.storage_id == self.master.id
            if candidate.format_id == doomed.format_id and is_elsewhere and counts:
                yield candidate


def judge(evidence: Evidence) -> Iterator[tuple[FileSet, str | None]]:
    """Yield each file set to be deleted, and why it must stay; None: it may go.

    What is archived, or in the recycle bin already, is not to be deleted.
    """
    for doomed in evidence.on_storage:
        if doomed.status not in ("ARCHIVED", "DELETED"):
            yield doomed, _why_keep(doomed, evidence)


def why_untouchable(file_set: FileSet, of: Format) -> str | None:
    """Return why nothing at all is done with a file set; None where something may be."""
    if file_set.status != "ACTIVE":
        return "iconik does not say that it is active"
    # The rule does not rest on the format's status, so iconik need not say it. But masters of a
    # format in the recycle bin may not last.
    for status in {of.status, *(file.format_status for file in file_set.files)}:
        if status not in ("ACTIVE", None):
            return f"the format is {status}"
    return None


def _why_keep(doomed: FileSet, evidence: Evidence) -> str | None:
    if reason := why_untouchable(doomed, evidence.formats[doomed.format_id]):
        return reason
    flaws = [_flaw(candidate, doomed) for candidate in evidence.masters_of(doomed)]
    if None in flaws:
        return None
    return "; ".join(filter(None, flaws)) or "no master stands elsewhere"


def _flaw(copy: FileSet, doomed: FileSet) -> str | None:
    """Return what a copy lacks to stand in for a doomed file set; None where it is complete."""
    if copy.status != "ACTIVE":
        return f"its master's file set is {copy.status or 'in an unknown state'}"
    if all(file.type == "DIRECTORY" for file in copy.files):
        return "its master has no files"
    for file in copy.files:
        if file.status != "CLOSED":
            return f"its master {file.original_name} is {file.status or 'in an unknown state'}"
    if missing := _missing(copy, doomed):
        return f"its master has no {missing.original_name} of the same size and checksum"
    return None


def _missing(copy: FileSet, doomed: FileSet) -> File | None:
    """Return a doomed file that no file of the copy stands in for, each for one.

    Folders are not compared, because they differ from storage to storage.
    """
    spare = defaultdict(list)
    for file in copy.files:
        spare[file.original_name].append(file)
    # Files that few others can stand in for choose first.
    for file in sorted(doomed.files, key=lambda file: (file.is_unfinished, not file.checksum)):
        twins = [twin for twin in spare[file.original_name] if _is_twin(twin, file)]
        if not twins:
            return file
        best = max(twins, key=lambda twin: twin.checksum == file.checksum)
        spare[file.original_name].remove(best)
    return None


def _is_twin(twin: File, file: File) -> bool:
    """Whether a file of the same name stands in for a doomed one.

    A file that is still being written is worth no more than its master.
    """
    if twin.type != file.type or file.is_unfinished:
        return twin.type == file.type
    return (
        twin.size == file.size
        and (file.size is not None or file.type == "DIRECTORY")
        and (twin.checksum == file.checksum or not twin.checksum or not file.checksum)
    )
