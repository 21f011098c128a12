"""Comparing the files of a file set with those of a possible master. No I/O.

Each file that a removal deletes needs a copy of its own with the same original name, size and, as
far as iconik knows it, checksum.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from storage_plugin.iconik.rows import File
from storage_plugin.names import normal, visible

UNFINISHED = {
    "OPEN": "is still being written",
    "GROWING": "is still being written",
    "AWAITED": "has not arrived yet",
}
"""States of a file that is not complete yet, in words.

https://app.iconik.io/help/pages/entities/files
"""

OF_SYSTEMS = (".DS_Store", "Icon\r", "Thumbs.db", "desktop.ini")
"""Files that macOS and Windows add to folders by themselves, so nobody misses them."""

OF_NOTHING = ("d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709")
"""The checksums of an empty file: MD5 and SHA-1."""


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
    """Return the first file without a copy of its own, as a reason; None: each file has one.

    Files and copies of one name are paired in order: first those that fit little else. So each file
    finds a copy if that is possible, unless checksums are of several kinds, or files are still
    being written. Then a file may stay although it has a copy, but two files never share a copy.
    """
    spare = defaultdict(list)
    for copy in sorted(copies, key=_order):
        spare[_name(copy)].append(copy)
    # If all files of a set are empty, perhaps nobody has written them yet.
    of_empty = {None, *OF_NOTHING} if any(file.size for file in files) else set[str | None]()
    for file in sorted(files, key=lambda each: (each.status in UNFINISHED, *_order(each))):
        some = spare[_name(file)]
        fitting = (each for each in some if not _difference(file, each, of_empty))
        if partner := next(fitting, None):
            some.remove(partner)
        elif some:
            return _difference(file, some[0], of_empty)
        else:
            return f"{visible(file.original_name)} has no master of its own"
    return None


def are_same_bytes(one: File, other: File) -> bool:
    """Whether iconik's rows prove that two files are equal."""
    return one.size is not None and one.size == other.size and _have_equal_checksums(one, other)


def _name(file: File) -> tuple[str, str | None]:
    return normal(file.original_name), file.type


def _order(file: File) -> tuple[object, ...]:
    """Return the sort key of files of one name: of each size, those that fit little else first.

    So almost every file fits the first copy that is left, and many files take no time.
    """
    size, checksum = file.size or 0, file.checksum or ""  # pragma: no mutate
    is_usual = file.status != "REDISCOVERED"
    return size, is_usual, not checksum, "-" in checksum, checksum  # pragma: no mutate


def _difference(file: File, copy: File, of_empty: set[str | None]) -> str | None:
    """Return how a file differs from its copy, a master; None: nothing would be lost."""
    if file.status == "AWAITED" and not file.size:
        return None  # Nothing has been written yet.
    name = visible(file.original_name)
    if difference := _size_difference(file, copy, of_empty):
        return f"{name} {difference}"
    if _have_equal_checksums(file, copy):
        return None
    if _are_of_one_kind(file.checksum, copy.checksum):
        return f"{name} and its master have different checksums"
    if copy.status == "REDISCOVERED":
        return f"the master of {name} is REDISCOVERED, and no checksum shows that it is the same"
    return None


def _size_difference(file: File, copy: File, of_empty: set[str | None]) -> str | None:
    if file.size == copy.size == 0 and file.status not in UNFINISHED:
        is_said = of_empty.issuperset({file.checksum, copy.checksum})
        is_sure = is_said or _have_equal_checksums(file, copy)
        return None if is_sure else "and its master are empty, which may be wrong"
    if not (file.size and copy.size):
        return "or its master has a size that iconik does not know"
    sizes = f"has {file.size:,} bytes and its master {copy.size:,}"
    if file.status in UNFINISHED:
        return f"({file.status}) {sizes}" if file.size > copy.size else None
    return sizes if file.size != copy.size else None


def _have_equal_checksums(one: File, other: File) -> bool:
    if one.checksum is None or other.checksum is None:
        return False
    return one.checksum.lower() == other.checksum.lower()


def _are_of_one_kind(one: str | None, other: str | None) -> bool:
    """Whether two checksums differ only if the files do: those of one kind have one length.

    A checksum of parts ends with their number. It also depends on their sizes, so it proves nothing
    if it differs.
    """
    if one is None or other is None or len(one) != len(other):
        return False
    return not any(re.search(r"-\d+$", each) for each in (one, other))
