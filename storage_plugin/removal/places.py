"""Which files may be one file, because a storage has one place for them. No I/O."""

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set

from storage_plugin.iconik.rows import File
from storage_plugin.names import place
from storage_plugin.removal.comparison import OF_SYSTEMS, are_same_bytes
from storage_plugin.removal.evidence import Evidence


def of(file: File) -> str:
    """Return the place of a file on its storage."""
    return place(f"{file.folder}/{file.name}")


def files_on(storage_id: str, evidence: Evidence) -> Iterator[tuple[File, bool]]:
    """Yield the files that are, or may be, on a storage, and whether they are in the recycle bin.

    Files that systems add are not among them.
    """
    for id, files in evidence.files.items():
        record = evidence.file_sets.get(id)
        for file in files:
            named = {file.storage_id, record and record.storage_id} - {None}
            is_there = storage_id in named or not named
            if is_there and file.type != "DIRECTORY" and file.original_name not in OF_SYSTEMS:
                yield file, record is not None and record.status == "DELETED"


def at_risk(doomed: Sequence[File], others: Mapping[str, File]) -> File | None:
    """Return one of the others, given by their places, that may go with the doomed files.

    It is at the place of a row, or below it, because a folder goes with all that is in it.
    """
    lost = {of(file) for file in doomed}
    for path, file in others.items():
        steps = itertools.accumulate(path.split("/"), "{}/{}".format)
        if not lost.isdisjoint(["", *steps]):  # The place of the whole storage is empty.
            return file
    return None


def doubtful(storage_id: str, evidence: Evidence) -> Set[str]:
    """Return the places on a storage that have several files not known to be the same bytes.

    At most one of them exists. Purging one from the recycle bin would delete the others, too.
    """
    found: dict[str, tuple[File, bool]] = {}
    several = set()
    for file, is_in_bin in files_on(storage_id, evidence):
        first, was_in_bin = found.setdefault(of(file), (file, is_in_bin))
        if first is not file and (is_in_bin or was_in_bin or not are_same_bytes(first, file)):
            several.add(of(file))
    return several
