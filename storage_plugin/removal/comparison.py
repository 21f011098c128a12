"""Comparing the files of a file set with those of a possible master. No I/O.

Each file that a removal deletes needs a copy of its own with the same original name, size and, as
far as iconik knows it, checksum.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

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
    real = [
        each for each in files if each.type != "DIRECTORY" and each.original_name not in OF_SYSTEMS
    ]
    if not any(each.original_name.startswith("._") for each in real):
        return real
    # macOS keeps in `._NAME` what the disk cannot keep with NAME.
    added = {(each.folder, f"._{each.original_name}") for each in files}
    return [each for each in real if (each.folder, each.original_name) not in added]


def first_difference(files: Sequence[File], copies: Sequence[File]) -> str | None:
    """Return the first file without a copy of its own, as a reason; None: each file has one."""
    wanted, spare = _by_name(files), _by_name(copies)
    # A set of nothing but empty files may be one that nobody has written yet.
    has_bytes = any(file.size for file in files)
    for key, some in wanted.items():
        if file := _first_unpaired(some, spare.get(key, ()), has_bytes):
            name = visible(file.original_name)
            if key not in spare:
                return f"{name} has no master"
            differences = [_difference(file, copy, has_bytes) for copy in spare[key]]
            fewer = f"{name} has fewer masters than there are files of that name"
            return fewer if None in differences else differences[0]
    return None


def are_same_bytes(one: File, other: File) -> bool:
    """Whether iconik's rows prove that two files are equal."""
    is_size_known = one.size is not None and one.size == other.size
    return is_size_known and _agree(one.checksum, other.checksum)


def _by_name(files: Sequence[File]) -> Mapping[tuple[str, str | None], Sequence[File]]:
    """Return files by original name and type, in the order of their sizes and checksums."""
    grouped = defaultdict(list)
    for file in files:
        grouped[normal(file.original_name), file.type].append(file)
    for some in grouped.values():
        # In this order, most files find their copy at once.
        some.sort(key=lambda file: (file.size or 0, file.checksum or ""))  # pragma: no mutate
    return grouped


def _first_unpaired(files: Sequence[File], copies: Sequence[File], has_bytes: bool) -> File | None:
    """Return a file for which no copy is left; None: each file can have a copy of its own.

    A file may take the copy of another file that can have another one.

    https://en.wikipedia.org/wiki/Maximum_cardinality_matching
    """
    free, owner, owned = dict.fromkeys(range(len(copies))), dict[int, int](), dict[int, int]()
    for number, unpaired in enumerate(files):
        wanted: dict[int, int] = {}
        seeking, copy = [number], None
        while seeking and copy is None:
            file = seeking.pop()
            for each in itertools.chain(free, owner):
                if each not in wanted and _difference(files[file], copies[each], has_bytes) is None:
                    wanted[each] = file
                    if each in free:
                        copy = each
                        break
                    seeking.append(owner[each])
        if copy is None:
            return unpaired
        del free[copy]
        while copy is not None:
            file = wanted[copy]
            owner[copy], owned[file], copy = file, copy, owned.get(file)
    return None


def _difference(file: File, copy: File, has_bytes: bool) -> str | None:
    """Return how a file differs from its copy; None: nothing would be lost.

    Args:
        file: the file.
        copy: the possible copy, its master.
        has_bytes: whether any file of the file set has bytes.
    """
    if file.status == "AWAITED" and not file.size:
        return None  # Nothing has been written yet.
    name = visible(file.original_name)
    if difference := _size_difference(file, copy, has_bytes):
        return f"{name} {difference}"
    if _differ(file.checksum, copy.checksum):
        return f"{name} and its master have different checksums"
    if copy.status == "REDISCOVERED" and not _agree(file.checksum, copy.checksum):
        return f"the master of {name} is REDISCOVERED, and no checksum shows that it is the same"
    return None


def _size_difference(file: File, copy: File, has_bytes: bool) -> str | None:
    if file.size == copy.size == 0 and file.status not in UNFINISHED:
        is_sure = _are_empty(file, copy, has_bytes)
        return None if is_sure else "and its master are empty, which may be wrong"
    if not (file.size and copy.size):
        return "or its master has a size that iconik does not know"
    sizes = f"has {file.size:,} bytes and its master {copy.size:,}"
    if file.status in UNFINISHED:
        return f"({file.status}) {sizes}" if file.size > copy.size else None
    return sizes if file.size != copy.size else None


def _are_empty(file: File, copy: File, has_bytes: bool) -> bool:
    """Whether two files of size 0 are really empty: see `_difference`."""
    are_said_empty = {file.checksum, copy.checksum}.issubset({None, *OF_NOTHING})
    return _agree(file.checksum, copy.checksum) or (has_bytes and are_said_empty)


def _agree(one: str | None, other: str | None) -> bool:
    """Whether two checksums prove that files are equal."""
    return one is not None and other is not None and one.lower() == other.lower()


def _differ(one: str | None, other: str | None) -> bool:
    """Whether two checksums prove that files differ: they are of one kind, that is, length.

    A checksum of parts ends with their number. It also depends on their sizes, so it proves nothing
    if it differs.
    """
    if one is None or other is None or len(one) != len(other):
        return False
    is_of_parts = any(re.search(r"-\d+$", each) for each in (one, other))
    return not is_of_parts and one.lower() != other.lower()
