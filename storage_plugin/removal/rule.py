"""The rule that decides whether a file set may be deleted. Evidence in, verdicts out; no I/O.

A file set may go only if a storage for masters has a complete copy of it, and if nothing that stays
needs its files. When in doubt, it stays. Editors read the reasons, so each reason is a sentence.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import NamedTuple

from storage_plugin.iconik.rows import File, FileSet
from storage_plugin.names import normal, place, visible
from storage_plugin.removal.evidence import Evidence

REMOVABLE = ("ACTIVE", "DELETED")
"""States of a file set that may be deleted. DELETED: it is in the recycle bin, to be purged."""

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


class _Pair(NamedTuple):
    """What reasons say of a file set and a possible master, and whether any file has bytes."""

    format_name: str
    here: str
    there: str
    has_bytes: bool


def judge(evidence: Evidence) -> list[tuple[FileSet, Verdict]]:
    """Return the verdict on each file set that is to be deleted."""
    doubtful = {id: _doubtful_places(evidence, id) for id in evidence.masters}
    verdicts = {each.id: _verdict(each, evidence, doubtful) for each in evidence.doomed}
    places = _places_by_file_set(evidence)
    while True:
        going = [each for each in evidence.doomed if verdicts[each.id].kind is Kind.GOES]
        others = {id: each for id, each in places.items() if id not in {it.id for it in going}}
        needed = {each.id: _need(each, evidence, others) for each in going}
        staying = {id: Verdict(Kind.STAYS, reason) for id, reason in needed.items() if reason}
        if not staying:
            return [(each, verdicts[each.id]) for each in evidence.doomed]
        verdicts |= staying


def is_whole(file_set: FileSet, evidence: Evidence) -> bool:
    """Whether iconik can make a complete copy of a file set, asked for by the format's name.

    Other machines may see a file on LucidLink as empty until its data is uploaded, so an empty file
    may be incomplete.
    """
    if file_set.status != "ACTIVE" or _why_untouchable(file_set, evidence):
        return False
    name = evidence.formats[str(file_set.format_id)].name
    alike = [id for id, each in evidence.formats.items() if each.name == name]
    is_only_one = [each.format_id for each in evidence.doomed if each.format_id in alike] == alike
    return is_only_one and all(
        file.status == "CLOSED" and (file.size or file.checksum in OF_NOTHING)
        for file in _needed_files(evidence.files_of(file_set))
    )


def why_nothing(evidence: Evidence) -> list[str]:
    """Return why nothing is to be deleted although the storage has file sets of the asset."""
    states, others = {"ARCHIVED": "archived", "DELETED": "in the recycle bin"}, set()
    reasons = []
    for file_set in evidence.present:
        is_listed = file_set.format_id in evidence.formats
        name = _format_name(file_set, evidence) if is_listed else "an earlier version"
        if file_set.status not in states:
            others.add(name)
        elif file_set.status == "ARCHIVED" or file_set.file_count:
            reasons.append(f"{name} is {states[file_set.status]}")
    if others:
        verb = "are" if len(others) > 1 else "is"
        names = " and ".join(sorted(others))
        here = _name(evidence, evidence.storage.id)
        reasons.append(f"only {names} {verb} on {here}, which this action does not remove")
    return list(dict.fromkeys(reasons))


def _verdict(
    doomed: FileSet, evidence: Evidence, doubtful: Mapping[str, Collection[str]]
) -> Verdict:
    """Return the verdict on a file set without regard to others on the storage."""
    if reason := _why_untouchable(doomed, evidence):
        return Verdict(Kind.STAYS, reason)
    verdicts = [
        _compare(each, doomed, evidence, doubtful[str(each.storage_id)])
        for each in evidence.file_sets.values()
        if each.format_id == doomed.format_id and each.storage_id in evidence.masters
    ]
    kinds = {each.kind for each in verdicts}
    if Kind.GOES in kinds:
        return Verdict(Kind.GOES)
    names = " or ".join(_name(evidence, id) for id in evidence.masters)
    reasons = dict.fromkeys(each.reason for each in verdicts)
    reason = "; ".join(reasons) or f"{_format_name(doomed, evidence)} has no copy on {names}"
    return Verdict(Kind.NOT_YET if Kind.NOT_YET in kinds else Kind.STAYS, reason)


def _why_untouchable(file_set: FileSet, evidence: Evidence) -> str | None:
    """Return why a file set on the storage may be neither deleted nor copied; None: it may."""
    here = _name(evidence, evidence.storage.id)
    if file_set.format_id is None:
        return f"iconik does not say of which format a file set on {here} is"
    name = _format_name(file_set, evidence)
    if file_set.storage_id is None:
        return f"iconik does not say on which storage a file set of {name} is"
    if evidence.clicked is not None and not (
        file_set.created and file_set.created < evidence.clicked - CLOCKS
    ):
        return f"{name} was added to {here} again after the click"
    if file_set.status not in REMOVABLE:
        return f"iconik's record of {name} on {here} is {_state(file_set.status)}"
    # Masters of a format in the recycle bin may not last. If iconik names no status, the rest of
    # the rule decides, because it does not depend on the status.
    if (status := evidence.formats[file_set.format_id].status) not in ("ACTIVE", None):
        return f"the format {name} is {status}"
    return _contradiction(file_set, evidence) or _gap(file_set, evidence)


def _compare(
    master: FileSet, doomed: FileSet, evidence: Evidence, doubtful: Collection[str]
) -> Verdict:
    """Return the verdict on a doomed file set if this is its master."""
    where = _where(master, evidence)
    if master.status != "ACTIVE":
        reason = f"iconik's record of {where} is {_state(master.status)}"
        return Verdict(Kind.STAYS, reason)
    if reason := _contradiction(master, evidence):
        return Verdict(Kind.STAYS, reason)
    if reason := _gap(master, evidence):
        return Verdict(Kind.NOT_YET, reason)
    if len(_versions(master, evidence) | _versions(doomed, evidence)) > 1:
        return Verdict(Kind.STAYS, f"{where} is of another version")
    files = _needed_files(evidence.files_of(doomed))
    copies = _needed_files(evidence.files_of(master))
    there = _name(evidence, master.storage_id)
    for copy in copies:
        name = visible(copy.original_name)
        if copy.status in UNFINISHED:
            reason = f"{name} {UNFINISHED[copy.status]} on {there} ({copy.status})"
            return Verdict(Kind.NOT_YET, reason)
        if copy.status not in ("CLOSED", "REDISCOVERED"):
            return Verdict(Kind.STAYS, f"{name} on {there} is {_state(copy.status)}")
        if doubtful and _place(copy) in doubtful:
            reason = f"{name} on {there} has the place of another file, so one of them is not there"
            return Verdict(Kind.STAYS, reason)
    here, has_bytes = _name(evidence, doomed.storage_id), any(file.size for file in files)
    pair = _Pair(_format_name(doomed, evidence), here, there, has_bytes)
    reason = _first_difference(files, copies, pair)
    return Verdict(Kind.STAYS, reason) if reason else Verdict(Kind.GOES)


# What iconik states about one file set


def _contradiction(file_set: FileSet, evidence: Evidence) -> str | None:
    """Return how the rows of files contradict iconik's own records; None: they do not."""
    states = ("ACTIVE", None)
    # The rows of a file set that was deleted just now may be out of date.
    own_states = states if file_set.status == "ACTIVE" else (*states, "DELETED")
    expected = {
        "format_id": (file_set.format_id, None),
        "storage_id": (file_set.storage_id, None),
        "format_status": states,
        "file_set_status": own_states,
    }
    for field, values in expected.items():
        if wrong := {getattr(file, field) for file in evidence.files_of(file_set)} - {*values}:
            where = _where(file_set, evidence)
            return f"iconik contradicts itself about {where}: a file has {field} {min(wrong)}"
    return None


def _gap(file_set: FileSet, evidence: Evidence) -> str | None:
    """Return how iconik's list of the files is incomplete; None: it is complete."""
    where = _where(file_set, evidence)
    files, count = evidence.files_of(file_set), file_set.file_count
    listed = sum(file.type != "DIRECTORY" for file in files)
    # iconik does not document how it counts, so more files than it counts are no gap.
    if listed < (count or 0):
        return f"iconik lists {listed:,} of the {count:,} files of {where}"
    if not _needed_files(files):
        return f"iconik lists no files of {where}: rescan its folder in iconik"
    if count is None and file_set.type == "MANY_FILES":
        return f"iconik does not say how many files {where} has"
    return None


def _versions(file_set: FileSet, evidence: Evidence) -> Set[str]:
    """Return all versions that iconik names for a file set."""
    named = {file.version_id for file in evidence.files_of(file_set)}
    named |= {file_set.version_id, evidence.formats[str(file_set.format_id)].version_id}
    return {each for each in named if each}


def _needed_files(files: Sequence[File]) -> list[File]:
    """Return the files that need a master: no folders, and nothing that systems add."""
    real = [each for each in files if each.type != "DIRECTORY" and not _is_of_system(each)]
    if not any(file.original_name.startswith("._") for file in real):
        return real
    names = {(each.folder, each.original_name) for each in files}
    # macOS keeps in `._NAME` what the disk cannot keep with NAME.
    return [
        each
        for each in real
        if not each.original_name.startswith("._")
        or (each.folder, each.original_name[2:]) not in names
    ]


def _is_of_system(file: File) -> bool:
    return file.original_name in OF_SYSTEMS


# Comparing files


def _first_difference(files: Sequence[File], copies: Sequence[File], pair: _Pair) -> str | None:
    """Return the first file that has no copy of its own, as a reason; None: each file has one."""
    wanted, spare = _by_name(files), _by_name(copies)
    for key, some in wanted.items():
        if file := _first_unpaired(some, spare.get(key, []), pair):
            name = visible(file.original_name)
            if key not in spare:
                return f"{pair.there} has no {name} of {pair.format_name}"
            differences = [_difference(file, copy, pair) for copy in spare[key]]
            if None in differences:
                return f"{pair.there} has fewer files named {name} than {pair.here}"
            return differences[0]
    return None


def _by_name(files: Sequence[File]) -> Mapping[tuple[str, str | None], list[File]]:
    """Return files by their original name and type, those of one size and checksum together."""
    grouped = defaultdict(list)
    for file in files:
        grouped[normal(file.original_name), file.type].append(file)
    for some in grouped.values():
        some.sort(key=lambda file: (file.size or 0, file.checksum or ""))
    return grouped


def _first_unpaired(files: Sequence[File], copies: Sequence[File], pair: _Pair) -> File | None:
    """Return a file for which no copy is left when each file has a copy of its own.

    https://en.wikipedia.org/wiki/Matching_(graph_theory)#Algorithms_and_computational_complexity
    """
    owners: dict[int, int] = {}

    def fits(file: int, copy: int) -> bool:
        return _difference(files[file], copies[copy], pair) is None

    def find_copy(file: int, tried: set[int]) -> bool:
        for copy in range(len(copies)):
            if copy not in owners and fits(file, copy):
                owners[copy] = file
                return True
        for copy in owners.keys() - tried:
            if fits(file, copy):
                tried.add(copy)
                if find_copy(owners[copy], tried):
                    owners[copy] = file
                    return True
        return False

    return next((file for n, file in enumerate(files) if not find_copy(n, set())), None)


def _difference(file: File, copy: File, pair: _Pair) -> str | None:
    """Return how a file differs from its copy; None: nothing would be lost."""
    if file.status == "AWAITED" and not file.size:
        return None  # Nothing has been written yet.
    name = visible(file.original_name)
    if difference := _size_difference(file, copy, pair):
        return difference
    if _differ(file.checksum, copy.checksum):
        return f"{name} has different checksums on {pair.here} and {pair.there}"
    if copy.status == "REDISCOVERED" and not _agree(file.checksum, copy.checksum):
        return f"{name} on {pair.there} is REDISCOVERED, and no checksum shows that it is the same"
    return None


def _size_difference(file: File, copy: File, pair: _Pair) -> str | None:
    name = visible(file.original_name)
    if file.size == copy.size == 0 and file.status not in UNFINISHED:
        checksums = {file.checksum, copy.checksum} - {None, *OF_NOTHING}
        if _agree(file.checksum, copy.checksum) or (pair.has_bytes and not checksums):
            return None
        return f"{name} is empty on {pair.here} and {pair.there}, which may be wrong"
    if not (file.size and copy.size):
        return (
            f"iconik does not know the size of {name} on {pair.there if file.size else pair.here}"
        )
    sizes = f"{file.size:,} bytes on {pair.here} and {copy.size:,} on {pair.there}"
    if file.status in UNFINISHED and file.size > copy.size:
        return f"{name} is {file.status} and larger than its master: {sizes}"
    if file.status not in UNFINISHED and file.size != copy.size:
        return f"{name} has {sizes}"
    return None


def _agree(one: str | None, other: str | None) -> bool:
    """Whether two checksums prove that files are equal."""
    return one is not None and other is not None and one.lower() == other.lower()


def _differ(one: str | None, other: str | None) -> bool:
    """Whether two checksums prove that files differ.

    A checksum made of the checksums of parts ends with their number, and depends on their sizes.
    """
    if one is None or other is None or len(one) != len(other):
        return False
    is_of_parts = any(re.search(r"-\d+$", each) for each in (one, other))
    return not is_of_parts and one.lower() != other.lower()


# Places on a storage


def _places_by_file_set(evidence: Evidence) -> Mapping[str, Set[str]]:
    """Return the places of the files on the storage, by file sets that have something to lose.

    File sets in the recycle bin have nothing to lose.
    """
    return {
        id: {_place(file) for file in _files_on(evidence.storage.id, id, evidence)}
        for id in evidence.files
        if not _is_in_bin(id, evidence)
    }


def _need(doomed: FileSet, evidence: Evidence, others: Mapping[str, Set[str]]) -> str | None:
    """Return who else needs a file of a doomed file set, or one in its folders; None: nobody.

    Args:
        doomed: the file set. Its folders may be deleted with all that is in them.
        evidence: the evidence.
        others: the places of the file sets that stay, by their id.
    """
    rows = evidence.files_of(doomed)
    folders = {_place(file) for file in rows if file.type == "DIRECTORY"}
    own = {_place(file) for file in rows if file.type != "DIRECTORY"} if others else set()
    for id, places in others.items():
        needed = own & places
        if folders and not needed:
            needed = {each for each in places if not folders.isdisjoint(_folders_of(each))}
        for file in evidence.files[id] if needed else ():
            if _place(file) in needed:
                name, here = visible(file.name), _name(evidence, doomed.storage_id)
                return f"{name} on {here} also belongs to {_owner(id, evidence)}, which stays"
    return None


def _doubtful_places(evidence: Evidence, storage_id: str) -> Set[str]:
    """Return the places on a storage that have several files not known to be the same bytes.

    At most one of them is there. A file in the recycle bin is going to take the others with it.
    """
    found: dict[str, File] = {}
    doubtful = set()
    for id in evidence.files:
        for file in _files_on(storage_id, id, evidence):
            first = found.setdefault(_place(file), file)
            is_binned = any(_is_in_bin(each.file_set_id, evidence) for each in (first, file))
            if first is not file and (is_binned or not _are_same_bytes(first, file)):
                doubtful.add(_place(file))
    return doubtful


def _files_on(storage_id: str, file_set_id: str, evidence: Evidence) -> Iterator[File]:
    """Yield the files of a file set that are on a storage, or may be."""
    record = evidence.file_sets.get(file_set_id)
    recorded = record.storage_id if record else None
    for file in evidence.files[file_set_id]:
        is_unknown = file.storage_id is None and recorded is None
        if is_unknown or storage_id in (file.storage_id, recorded):
            if file.type != "DIRECTORY" and not _is_of_system(file):
                yield file


def _are_same_bytes(one: File, other: File) -> bool:
    is_size_known = one.size is not None and one.size == other.size
    return is_size_known and _agree(one.checksum, other.checksum)


def _is_in_bin(file_set_id: str, evidence: Evidence) -> bool:
    record = evidence.file_sets.get(file_set_id)
    return record is not None and record.status == "DELETED"


def _place(file: File) -> str:
    return place(f"{file.folder}/{file.name}")


def _folders_of(path: str) -> Iterator[str]:
    """Yield a place and all folders that it lies in; the empty one is the storage itself."""
    yield ""
    yield from itertools.accumulate(path.split("/"), "{}/{}".format)


# Words


def _where(file_set: FileSet, evidence: Evidence) -> str:
    return f"{_format_name(file_set, evidence)} on {_name(evidence, file_set.storage_id)}"


def _owner(file_set_id: str, evidence: Evidence) -> str:
    record = evidence.file_sets.get(file_set_id)
    is_known = record is not None and record.format_id in evidence.formats
    return _format_name(record, evidence) if record and is_known else "another file set"


def _format_name(file_set: FileSet, evidence: Evidence) -> str:
    return visible(evidence.formats[str(file_set.format_id)].name)


def _name(evidence: Evidence, storage_id: str | None) -> str:
    storages = {evidence.storage.id: evidence.storage, **evidence.masters}
    return visible(storages[str(storage_id)].name or str(storage_id))


def _state(status: str | None) -> str:
    return status or "without a status"
