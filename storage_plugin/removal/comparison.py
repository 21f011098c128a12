"""Comparing files with those of a possible master, and with others at the same place. No I/O."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import accumulate

from storage_plugin.iconik.rows import File
from storage_plugin.names import normal, place, visible
from storage_plugin.removal.evidence import Evidence

# States of a file that is not complete: https://app.iconik.io/help/pages/entities/files
WRITTEN = "is still being written"
UNFINISHED = {"OPEN": WRITTEN, "GROWING": WRITTEN, "AWAITED": "has not arrived yet"}
# macOS and Windows add these files to folders by themselves, so nobody misses them.
OF_SYSTEMS = (".DS_Store", "Icon\r", "Thumbs.db", "desktop.ini")
# The checksums of an empty file: MD5 and SHA-1.
OF_NOTHING = ("d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709")


def needed(files: Sequence[File]) -> list[File]:
    """Return the files that need a master: no folders, and nothing that systems add."""
    # macOS keeps in `._NAME` what the disk cannot keep with NAME.
    added = {(each.folder, f"._{each.original_name}") for each in files}
    return [
        each
        for each in files
        if each.type != "DIRECTORY" and each.original_name not in OF_SYSTEMS
        if (each.folder, each.original_name) not in added
    ]


def first_difference(files: Sequence[File], copies: Sequence[File]) -> str | None:
    """Return the first file without a copy of its own, as a reason, or None if each has one.

    Files and copies of one name are paired in order: first those that fit few others. So each file
    finds a copy if that is possible, unless checksums are of several kinds, or files are still
    being written. Then a file may stay although it has a copy, but two files never share a copy.
    """
    spare = defaultdict(list)
    for copy in sorted(copies, key=_order):
        spare[normal(copy.original_name), copy.type].append(copy)
    # If all files of a set are empty, perhaps nobody has written them yet.
    of_empty = frozenset((None, *OF_NOTHING) if any(file.size for file in files) else ())
    for file in sorted(files, key=lambda each: (each.status in UNFINISHED, *_order(each))):
        some = spare[normal(file.original_name), file.type]
        fitting = (each for each in some if not _difference(file, each, of_empty))
        if partner := next(fitting, None):
            some.remove(partner)
        elif some:
            return _difference(file, some[0], of_empty)
        else:
            return f"{visible(file.original_name)} has no master of its own"
    return None


def place_of(file: File) -> str:
    """Return the place of a file on its storage."""
    return place(f"{file.folder}/{file.name}")


def files_on(storage_id: str, evidence: Evidence) -> Iterator[tuple[File, bool]]:
    """Yield each file that may be on a storage, but no OF_SYSTEMS, and whether it is in the bin."""
    for id, files in evidence.files.items():
        record = evidence.file_sets.get(id)
        for file in files:
            named = {file.storage_id, record and record.storage_id} - {None}
            is_there = storage_id in named or not named
            if is_there and file.type != "DIRECTORY" and file.original_name not in OF_SYSTEMS:
                yield file, record is not None and record.status == "DELETED"


def doubtful_places(storage_id: str, evidence: Evidence) -> Set[str]:
    """Return the places on a storage that have several files not known to be the same bytes.

    At most one of them exists. Purging one from the recycle bin would delete the others, too.
    """
    found, several = dict[str, tuple[File, bool]](), set[str]()
    for file, is_in_bin in files_on(storage_id, evidence):
        first, was_in_bin = found.setdefault(path := place_of(file), (file, is_in_bin))
        if first is not file and (is_in_bin or was_in_bin or not _are_same(first, file)):
            several.add(path)
    return several


def at_risk(doomed: Sequence[File], others: Mapping[str, File]) -> File | None:
    """Return one of the others, given by their places, that may go with the doomed files.

    It is at the place of a row, or below it, because a folder goes with all that is in it.
    """
    lost = {place_of(file) for file in doomed}
    for path, file in others.items():
        steps = accumulate(path.split("/"), "{}/{}".format)
        if not lost.isdisjoint(["", *steps]):  # The place of the whole storage is empty.
            return file
    return None


def _are_same(one: File, other: File) -> bool:
    """Whether iconik's rows prove that two files are equal."""
    return one.size == other.size is not None and _are_equal(one.checksum, other.checksum) is True


def _order(file: File) -> tuple[object, ...]:
    """Return the sort key of files of one name: of each size, those that fit few others first.

    So almost every file fits the first copy that is left, and many files take no time.
    """
    size, checksum = file.size or 0, file.checksum or ""  # pragma: no mutate
    is_usual = file.status != "REDISCOVERED"
    return size, is_usual, not checksum, "-" in checksum, checksum  # pragma: no mutate


def _difference(file: File, copy: File, of_empty: frozenset[str | None]) -> str | None:
    """Return how a file differs from its copy, a master, or None if nothing would be lost."""
    if file.status == "AWAITED" and not file.size:
        return None  # Nothing has been written yet.
    name, is_equal = visible(file.original_name), _are_equal(file.checksum, copy.checksum)
    may_be_empty = is_equal or of_empty.issuperset({file.checksum, copy.checksum})
    if difference := _size_difference(file, copy, may_be_empty):
        return f"{name} {difference}"
    if is_equal is False:
        return f"{name} and its master have different checksums"
    if copy.status == "REDISCOVERED" and not is_equal:
        return f"the master of {name} is REDISCOVERED, and no checksum shows that it is the same"
    return None


def _size_difference(file: File, copy: File, may_be_empty: bool) -> str | None:
    if file.size == copy.size == 0 and file.status not in UNFINISHED:
        return None if may_be_empty else "and its master are empty, which may be wrong"
    if not (file.size and copy.size):
        return "or its master has a size that iconik does not know"
    sizes = f"has {file.size:,} bytes and its master {copy.size:,}"
    if file.status in UNFINISHED:
        return f"({file.status}) {sizes}" if file.size > copy.size else None
    return sizes if file.size != copy.size else None


def _are_equal(one: str | None, other: str | None) -> bool | None:
    """Whether two checksums prove that files are equal or differ, or None if they prove nothing."""
    if one is None or other is None:
        return None
    if one.lower() == other.lower():
        return True
    # Checksums of one kind have one length. A checksum of parts ends with the number of parts, and
    # depends on their sizes, too.
    is_of_parts = any(re.search(r"-\d+$", each) for each in (one, other))
    return None if is_of_parts or len(one) != len(other) else False
