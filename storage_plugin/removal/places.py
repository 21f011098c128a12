"""Which files may be one file, because a storage has one place for them. No I/O."""

import itertools
from collections.abc import Iterator, Mapping, Set

from storage_plugin.iconik.rows import File
from storage_plugin.names import place, visible
from storage_plugin.removal.comparison import OF_SYSTEMS, are_same_bytes
from storage_plugin.removal.evidence import Evidence


def of(file: File) -> str:
    """Return the place of a file on its storage."""
    return place(f"{file.folder}/{file.name}")


def by_file_set(evidence: Evidence) -> dict[str, Set[str]]:
    """Return the places of the files on the storage, by the ids of their file sets."""
    here = evidence.storage.id
    return {id: {of(file) for file in _files_on(here, id, evidence)} for id in evidence.files}


def need(
    evidence: Evidence, doomed_id: str, owned: Mapping[str, Set[str]], going: Set[str]
) -> str | None:
    """Return why something that stays needs a doomed file set; None: nothing does.

    File sets in the recycle bin have nothing to lose.

    Args:
        evidence: the evidence.
        doomed_id: the file set. Its folders may be deleted with all that is in them.
        owned: what `by_file_set` returns.
        going: the ids of the file sets that may all be deleted.
    """
    rows = evidence.files[doomed_id]
    folders = {of(row) for row in rows if row.type == "DIRECTORY"}
    for id in owned.keys() - going:
        lost = owned[id] & owned[doomed_id] | _below(folders, owned[id])
        if lost and not evidence.is_in_bin(id):
            name = next(visible(row.name) for row in evidence.files[id] if of(row) in lost)
            what, whose = evidence.owner(doomed_id), evidence.owner(id)
            return f"deleting {what} could also delete {name} of {whose}, which stays"
    return None


def doubtful(evidence: Evidence, storage_id: str) -> Set[str]:
    """Return the places on a storage that have several files not known to be the same bytes.

    At most one of them is there, and one in the recycle bin is going to take the others with it.
    """
    found: dict[str, File] = {}
    several = set()
    for id in evidence.files:
        for file in _files_on(storage_id, id, evidence):
            first = found.setdefault(of(file), file)
            is_binned = evidence.is_in_bin(id) or evidence.is_in_bin(first.file_set_id)
            if first is not file and (is_binned or not are_same_bytes(first, file)):
                several.add(of(file))
    return several


def _files_on(storage_id: str, file_set_id: str, evidence: Evidence) -> Iterator[File]:
    """Yield the files of a file set that are on a storage, or may be, as far as anyone minds."""
    record = evidence.file_sets.get(file_set_id)
    recorded = record.storage_id if record else None
    for file in evidence.files[file_set_id]:
        is_there = (
            storage_id in (file.storage_id, recorded) or (file.storage_id or recorded) is None
        )
        if is_there and file.type != "DIRECTORY" and file.original_name not in OF_SYSTEMS:
            yield file


def _below(folders: Set[str], places: Set[str]) -> Set[str]:
    """Return the places that are, or lie in, one of some folders; an empty one is the storage."""
    if not folders:
        return set()
    steps = {each: itertools.accumulate(each.split("/"), "{}/{}".format) for each in places}
    return {each for each in places if not folders.isdisjoint(["", *steps[each]])}
