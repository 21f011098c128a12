"""What may be deleted, and what stays and why: whole removals of one asset."""

import unicodedata

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin.iconik.client import Iconik
from storage_plugin.removal.archive import _is_whole as is_whole
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import look
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import Kind, judge
from storage_plugin.removal.shared import Removal
from storage_plugin.settings import Settings

SETTINGS = Settings("app-id", "LucidLink", master_storage_name="B2")
SEVERAL = SETTINGS._replace(format_names=("ORIGINAL", "PROXY"))
ANY_B2 = SETTINGS._replace(master_storage_name=None)
BIN = SETTINGS._replace(use_recycle_bin=True)

STRANGE = World.app_id
"""An id of something else."""

WHERE = {"copy": "LucidLink", "master": "B2"}
"""The file sets that must not contradict themselves, and their storages."""

NEEDED = "deleting ORIGINAL could also delete clip.mov of OTHER, which stays"
NO_MASTER = "ORIGINAL has no copy on B2"
DOUBTFUL = "B2 has one place for {} and another file, so one may be missing"
EMPTY = "a and its master are empty, which may be wrong"
CHANGED = "a and its master have different checksums"
UNSIZED = "a or its master has a size that iconik does not know"
FOUND = "the master of a is REDISCOVERED, and no checksum shows that it is the same"

MD5 = "d0" * 16
NFD = unicodedata.normalize("NFD", "Übung")
"""A name as macOS writes it."""

KEYS = {"sum": "checksum", "in": "directory_path"}
VALUES = {
    "-": None,
    "A": MD5,
    "a": MD5.upper(),
    "B": "e1" * 16,
    "C": "f2" * 20,
    "A-25": f"{MD5}-25",
    "B-50": f"{'e1' * 16}-50",
    "A25": f"{MD5[:-3]}-25",
    "empty": "d41d8cd98f00b204e9800998ecf8427e",
}
"""Short words for keys and values of files: no value, and checksums."""

CASES = rf"""
# Checksums of one kind are compared, regardless of case; those of parts prove no difference.
a sum=A | a sum=a |
a sum=A | a |
a | a sum=A |
a sum=A | a sum=C |
a sum=A-25 | a sum=B-50 |
a sum=A25 | a sum=B |
a sum=A | a sum=B | {CHANGED}
a status=OPEN size=1 sum=A | a sum=B | {CHANGED}
a sum=1B2M2Y8+ | a sum=XrY7u+Ae | {CHANGED}
# Original names and types are compared, but neither names on the storage nor folders.
a name=a_1 | a name=2f6d-a in=masters |
Übung | {NFD} |
{NFD} | Übung |
a type=SEQUENCE | a type=SEQUENCE |
a | a type=SYMLINK | a has no master of its own
A | a | A has no master of its own
a\tb | a | a\tb has no master of its own
a status=AWAITED | | a has no master of its own
a, day1 type=DIRECTORY size=- status=OPEN | a |
a | a, day1 type=DIRECTORY size=- status=OPEN |
# Sizes.
a | a size=999 | a has 1,000 bytes and its master 999
a size=999 | a | a has 999 bytes and its master 1,000
a size=- | a | {UNSIZED}
a | a size=- | {UNSIZED}
a size=-1 | a | {UNSIZED}
a | a size=0 | {UNSIZED}
# Empty files: beside files with bytes, or with the same checksum.
a size=0 | a size=0 |
a size=0 sum=empty | a size=0 |
a size=0 sum=A | a size=0 sum=a |
a size=0 sum=A | a size=0 | {EMPTY}
a size=0 | a size=0 sum=C | {EMPTY}
a size=0 status=OPEN | a size=0 | {UNSIZED}
# Copies that are still being written, or that are not there.
a status=OPEN | a |
a status=GROWING size=999 | a |
a status=OPEN size=0 | a | {UNSIZED}
a status=GROWING size=9000000 | a | a (GROWING) has 9,000,000 bytes and its master 1,000
a status=AWAITED size=1001 | a | a (AWAITED) has 1,001 bytes and its master 1,000
a status=AWAITED size=0 sum=A | a sum=B |
a status=AWAITED size=- | a size=- |
a status=MISSING | a |
a status=FAILED | a size=999 | a has 1,000 bytes and its master 999
a status=REDISCOVERED | a size=999 | a has 1,000 bytes and its master 999
a status=- | a size=999 | a has 1,000 bytes and its master 999
# States of the master's files.
a | a, more status=OPEN | more is still being written on B2 (OPEN)
a | a, more status=GROWING | more is still being written on B2 (GROWING)
a | a, more status=AWAITED | more has not arrived yet on B2 (AWAITED)
a | a, more status=FAILED | more on B2 is FAILED
a | a, more status=ARCHIVED | more on B2 is ARCHIVED
a | a, more status=MISSING | more on B2 is MISSING
a | a, more status=DELETED | more on B2 is DELETED
a | a status=- | a on B2 is without a status
a sum=A | a sum=a status=REDISCOVERED |
a | a, more status=REDISCOVERED |
a | a status=REDISCOVERED | {FOUND}
a sum=A | a sum=C status=REDISCOVERED | {FOUND}
# What systems add, and nothing else, needs no master.
a, .DS_Store | a |
a, Icon\r | a |
a, Thumbs.db | a |
a, desktop.ini | a |
a, ._a | a |
a, ._day1, day1 type=DIRECTORY | a |
a | a, Icon\r status=FAILED |
a, .ds_store | a | .ds_store has no master of its own
a, Icon | a | Icon has no master of its own
a, ._other.mov | a | ._other.mov has no master of its own
a, ._a in=else | a | ._a has no master of its own
# Files of one name are matched so that each has a master of its own.
a, a | a | a has no master of its own
a, a sum=A, a sum=B | a, a name=2 sum=B, a name=3 sum=C |
a sum=A, a sum=B | a, a name=2 sum=A |
a sum=A, a sum=B | a name=2 sum=A, a |
a status=OPEN size=500, a | a, a name=2 size=2000 |
a status=OPEN size=500, a status=OPEN size=1500 | a size=2000, a name=2 size=1000 |
# Masters at one place are files of their own only if they are known to be the same bytes.
a | a, a size=5 | {DOUBTFUL.format("a")}
a, a | a, a | {DOUBTFUL.format("a")}
a | a, 2 name=A. | {DOUBTFUL.format("a")}
a | a sum=A, a sum=B | {DOUBTFUL.format("a")}
a | a sum=A, a sum=A size=9 | {DOUBTFUL.format("a")}
a status=AWAITED size=0 | a size=- sum=A, a size=- sum=A | {DOUBTFUL.format("a")}
a | a sum=A, a sum=a |
"""
"""Files of the copy, files of the master, and why the copy stays; no reason: it goes."""


def files(text: str) -> list[Row]:
    """Return the files that a text describes: names, each with what is not as usual."""
    rows = []
    for name, *fields in (each.split(" ") for each in text.split(", ") if each):
        values = dict(field.split("=", 1) for field in fields)
        row = {KEYS.get(key, key): VALUES.get(value, value) for key, value in values.items()}
        row |= {"size": int(row["size"])} if row.get("size") else {}
        rows.append({"original_name": name.replace(r"\r", "\r").replace(r"\t", "\t"), **row})
    return rows


def record(site: Site, asset_id: str, of: str) -> Row:
    """Return iconik's own record of an asset's `copy`, `master` or `format`."""
    rows = {
        "copy": site.world.file_sets_of(asset_id, site.lucidlink),
        "master": site.world.file_sets_of(asset_id, site.b2),
        "format": site.world.formats_of(asset_id),
    }
    (row,) = rows[of]
    return row


def remove(
    iconik: Iconik, asset_id: str, settings: Settings = SETTINGS, clicked: float | None = None
) -> Outcome:
    """Remove an asset."""
    return remove_asset(Removal(iconik, settings, clicked), asset_id)


def kinds(iconik: Iconik, asset_id: str) -> list[Kind]:
    """Return the kinds of the verdicts on an asset."""
    return [verdict.kind for _, verdict in judge(look(Removal(iconik, SETTINGS), asset_id))]


def reasons(iconik: Iconik, asset_id: str, settings: Settings = SETTINGS) -> list[str]:
    """Remove an asset that stays, and return the reasons."""
    outcome = remove(iconik, asset_id, settings)
    assert (outcome.end, outcome.error) == (End.STAYED, None)
    return list(outcome.reasons)


# Files


@pytest.mark.parametrize(
    "case", [line for line in CASES.strip().splitlines() if not line.startswith("#")]
)
def test_each_file_needs_a_master_of_its_own(site: Site, iconik: Iconik, case: str) -> None:
    """The copy goes with another file, or stays, and the reason names what differs."""
    copy, master, reason = (column.strip(" ") for column in case.split("|"))
    more = files("other.wav")
    asset_id, file_set_id = site.asset(files(copy) + more, files(master) + more)
    is_coming = "is still being" in reason or "has not arrived" in reason
    assert kinds(iconik, asset_id) == [
        Kind.NOT_YET if is_coming else Kind.STAYS if reason else Kind.GOES
    ]
    outcome = remove(iconik, asset_id)
    assert (outcome.end, list(outcome.reasons)) == (
        (End.STAYED, [reason]) if reason else (End.REMOVED, [])
    )
    assert (file_set_id in site.world.file_sets) == bool(reason)


@pytest.mark.parametrize(("checksum", "is_proven"), [("sum=empty", True), ("sum=-", False)])
def test_a_set_of_nothing_but_empty_files_proves_nothing_by_itself(
    site: Site, iconik: Iconik, checksum: str, is_proven: bool
) -> None:
    """Equal checksums do."""
    asset_id, _ = site.asset(files(f"mark size=0 {checksum}"))
    assert remove(iconik, asset_id).removed == is_proven


def test_files_of_all_pages_are_compared(site: Site, iconik: Iconik) -> None:
    """An image sequence of many pages goes, and stays if one frame on the last page differs."""
    frames = files(", ".join(f"{number:04}.dpx" for number in range(250)))
    complete, _ = site.asset(frames)
    broken, _ = site.asset(frames, [*frames[:-1], frames[-1] | {"size": 999}])
    assert [remove(iconik, each).removed for each in (complete, broken)] == [1, 0]
    assert site.copies() == 250


def test_many_files_of_one_name_are_compared_in_no_time(site: Site, iconik: Iconik) -> None:
    """That one of them lacks a master of its size is found among any number of them."""
    rows = [CLIP | {"directory_path": str(shot)} for shot in range(1500)]
    asset_id, _ = site.asset(rows, [*rows[1:], rows[0] | {"size": 999}])
    assert reasons(iconik, asset_id) == ["clip.mov has 1,000 bytes and its master 999"]


# Records


def test_only_the_chosen_formats_go(site: Site, iconik: Iconik) -> None:
    """Formats that are not configured stay where they are."""
    formats = ("OTHER", "ORIGINAL", "PROXY")
    asset_id = site.world.add_asset("Clip", formats)
    for name in formats:
        site.add_copies(asset_id, [CLIP], name)
    assert remove(iconik, asset_id, SEVERAL).removed == 2
    (left,) = site.world.file_sets_of(asset_id, site.lucidlink)
    assert left["base_dir"] == "/Clip/OTHER"


def test_any_b2_storage_may_hold_the_master(site: Site, iconik: Iconik) -> None:
    """Without a name all storages of type B2 count, and one complete copy is enough."""
    second = site.world.add_storage("Second B2", "B2")
    asset_id, _ = site.asset([CLIP], files("clip.mov status=OPEN"))
    growing = "clip.mov is still being written on B2 (OPEN)"
    site.world.add_file_set(asset_id, second, [])
    nothing = "iconik lists no files of ORIGINAL on Second B2: rescan its folder in iconik"
    assert reasons(iconik, asset_id, ANY_B2) == [f"{growing}; {nothing}"]
    site.world.add_file_set(asset_id, second, [CLIP])
    assert reasons(iconik, asset_id) == [growing]
    assert remove(iconik, asset_id, ANY_B2).removed == 1


def test_copies_elsewhere_are_no_masters(site: Site, iconik: Iconik) -> None:
    """Neither a copy on another disk, nor one beside it, nor one of another format counts."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    for storage_id in (site.lucidlink, site.other):
        site.world.add_file_set(asset_id, storage_id, [CLIP])
    site.world.add_file_set(asset_id, site.lucidlink, files("other.wav"))
    site.world.add_file_set(asset_id, site.b2, [CLIP], "OTHER")
    for settings in (SETTINGS, ANY_B2):
        assert reasons(iconik, asset_id, settings) == [NO_MASTER] * 2
    assert site.copies() == 2


@pytest.mark.parametrize("of", ["format", "copy", "master"])
@pytest.mark.parametrize(
    "changes", [{"type": "MANY_FILES"}, {"file_count": None}, {"file_count": 0}]
)
@pytest.mark.parametrize(
    "unsaid",
    [
        {"file_set_status": None, "format_status": None, "version_id": None},
        {"storage_id": None, "format_id": None},
    ],
)
def test_what_iconik_does_not_say_is_no_contradiction(
    site: Site, iconik: Iconik, of: str, changes: Row, unsaid: Row
) -> None:
    """Rows need not repeat the records, and iconik does not document how it counts."""
    site.world.quirks.unsaid = unsaid
    asset_id, _ = site.asset()
    record(site, asset_id, of).update({"status": None} if of == "format" else changes)
    assert remove(iconik, asset_id).removed == 1


UNSAID = "iconik does not say of which format and on which storage a file set is"
UNCOUNTED = {"file_count": None, "type": "MANY_FILES"}


@pytest.mark.undocumented
@pytest.mark.parametrize(
    ("of", "changes", "reason"),
    [
        ("format", {"status": "DELETED"}, "the format ORIGINAL is DELETED"),
        ("copy", {"status": "PENDING"}, "iconik's record of {} is PENDING"),
        ("copy", {"status": None}, "iconik's record of {} is without a status"),
        ("master", {"status": "ARCHIVED"}, "iconik's record of {} is ARCHIVED"),
        ("master", {"status": "DELETED"}, "iconik's record of {} is DELETED"),
        ("master", {"status": None}, "iconik's record of {} is without a status"),
        ("format", {"version_id": STRANGE}, "ORIGINAL on B2 is of another version"),
        ("copy", {"version_id": STRANGE}, "ORIGINAL on B2 is of another version"),
        ("master", {"version_id": STRANGE}, "{} is of another version"),
        ("copy", {"format_id": None}, UNSAID),
        ("copy", {"storage_id": None}, UNSAID),
        ("copy", {"file_count": 24}, "iconik lists 1 of the 24 files of {}"),
        ("master", {"file_count": 24}, "iconik lists 1 of the 24 files of {}"),
        ("copy", UNCOUNTED, "iconik does not say how many files {} has"),
        ("master", UNCOUNTED, "iconik does not say how many files {} has"),
    ],
)
def test_records_that_keep_the_copy(
    site: Site, iconik: Iconik, of: str, changes: Row, reason: str
) -> None:
    """Iconik's own record decides, whatever the rows of the files say."""
    site.world.quirks.unsaid = {"file_set_status": "ACTIVE", "version_id": None}
    asset_id, copy = site.asset()
    record(site, asset_id, of).update(changes)
    is_coming = of == "master" and "file_count" in changes
    assert kinds(iconik, asset_id) == [Kind.NOT_YET if is_coming else Kind.STAYS]
    assert reasons(iconik, asset_id) == [reason.format(f"ORIGINAL on {WHERE.get(of)}")]
    assert copy in site.world.file_sets


@pytest.mark.parametrize(("of", "storage"), WHERE.items())
@pytest.mark.parametrize(
    ("rows", "count", "reason"),
    [
        ("", None, "no files of {}: rescan its folder in iconik"),
        ("clip.mov type=DIRECTORY, .DS_Store", None, "no files of {}: rescan its folder in iconik"),
        ("clip.mov, 2, day1 type=DIRECTORY", 3, "2 of the 3 files of {}"),
    ],
)
def test_lists_with_gaps_keep_the_copy(
    site: Site, iconik: Iconik, of: str, storage: str, rows: str, count: int, reason: str
) -> None:
    """Folders are no files, so they do not fill a gap."""
    lists = [files(rows), files("clip.mov, 2")]
    asset_id, _ = site.asset(*(lists if of == "copy" else lists[::-1]))
    record(site, asset_id, of)["file_count"] = count
    assert kinds(iconik, asset_id) == [Kind.STAYS if of == "copy" else Kind.NOT_YET]
    assert reasons(iconik, asset_id) == [f"iconik lists {reason}".format(f"ORIGINAL on {storage}")]


@pytest.mark.parametrize(("of", "storage"), WHERE.items())
@pytest.mark.parametrize(
    "field", ["file_set_status", "format_status", "format_id", "storage_id", "version_id"]
)
def test_rows_that_contradict_the_record_keep_the_copy(
    site: Site, iconik: Iconik, of: str, storage: str, field: str
) -> None:
    """Where iconik's rows and its own record of either file set differ, nothing is deleted."""
    asset_id, _ = site.asset(files("clip.mov, 2"))
    value = "DELETED" if field.endswith("status") else STRANGE
    record(site, asset_id, "format")["status"] = None
    site.world.files_in(record(site, asset_id, of)["id"])[1][field] = value
    where = f"about ORIGINAL on {storage} ({field} of a file: {value})"
    version = "ORIGINAL on B2 is of another version"
    expected = version if field == "version_id" else f"iconik contradicts itself {where}"
    assert kinds(iconik, asset_id) == [Kind.STAYS]
    assert reasons(iconik, asset_id) == [expected]
    assert len(site.world.files) == 4


def test_a_record_without_details_concerns_only_itself(site: Site, iconik: Iconik) -> None:
    """A file set that may be anywhere stays, and another file set of the asset goes."""
    asset_id, copy = site.asset()
    lost = site.world.add_file_set(asset_id, site.lucidlink, files("x in=elsewhere"))
    for row in (site.world.file_sets[lost], *site.world.files_in(lost)):
        row["storage_id"] = None
    outcome = remove(iconik, asset_id)
    assert (outcome.end, outcome.removed) == (End.STAYED, 1)
    assert copy not in site.world.file_sets


# Places


@pytest.mark.undocumented
@pytest.mark.parametrize(
    ("file", "other", "changes", "is_needed"),
    [
        ({}, {}, {}, True),
        ({"directory_path": "/day1/"}, {}, {}, True),
        ({"directory_path": "\\Day1. "}, {}, {}, True),
        ({"directory_path": "day1//."}, {}, {}, True),
        ({"directory_path": "Übung"}, {"directory_path": NFD}, {}, True),
        ({"directory_path": "STRASSE"}, {"directory_path": "straße"}, {}, True),
        ({"name": "Übung"}, {"name": NFD.upper()}, {}, True),
        ({"name": "C0001.MP4"}, {"name": "C0001.mp4"}, {}, True),
        ({"name": "C0001.MP4"}, {"name": "C0001.MP4 . "}, {}, True),
        ({"directory_path": "X"}, {"directory_path": "XX"}, {}, False),
        ({"directory_path": ".day1"}, {}, {}, False),
        ({"name": "1.mov"}, {"name": "2.mov"}, {}, False),
        # Neither the original name nor the storage in a row matters.
        ({}, {"original_name": "2.mov", "name": "clip.mov"}, {}, True),
        ({}, {"storage_id": STRANGE}, {}, True),
        ({}, {"storage_id": None}, {"storage_id": None}, True),
        ({}, {"storage_id": STRANGE}, {"storage_id": None}, False),
        # Only what is in the recycle bin, and what systems add, has nothing to lose.
        *(({}, {}, {"status": status}, True) for status in ("ARCHIVED", "PENDING", None)),
        ({}, {}, {"status": "DELETED"}, False),
        ({}, {"original_name": ".DS_Store", "name": "clip.mov"}, {}, False),
        ({}, {"type": "DIRECTORY"}, {}, False),
    ],
)
def test_a_file_that_another_file_set_needs_stays(
    site: Site, iconik: Iconik, file: Row, other: Row, changes: Row, is_needed: bool
) -> None:
    """Deleting one of two file sets with the same folder and name takes the other's file."""
    asset_id, usual = (
        site.world.add_asset("Clip", ["ORIGINAL", "OTHER"]),
        {"directory_path": "day1"},
    )
    site.world.add_file_set(asset_id, site.b2, [CLIP])
    copy = site.world.add_file_set(asset_id, site.lucidlink, [CLIP | usual | file])
    owner = site.world.add_file_set(asset_id, site.lucidlink, [CLIP | usual | other], "OTHER")
    site.world.file_sets[owner].update(changes)
    outcome = remove(iconik, asset_id)
    assert (outcome.end is End.STAYED) == (copy in site.world.file_sets) == is_needed
    assert not is_needed or "which stays" in outcome.reasons[0]


@pytest.mark.parametrize(
    ("folder", "other", "is_needed"),
    [
        ("Clip/day1", "clip/DAY1", True),
        ("Clip/day1", "Clip/day1/sub", True),
        ("Clip/day1", "Clip/day11", False),
        ("Clip/day1", "Clip", False),
        ("", "anywhere", True),
    ],
)
def test_a_folder_that_holds_a_file_that_stays(
    site: Site, iconik: Iconik, folder: str, other: str, is_needed: bool
) -> None:
    """The deletion of a file set may delete its folders with all that is in them."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    path, _, name = folder.rpartition("/")
    copy = site.add_copies(asset_id, [CLIP, *files(f"{name or '/'} type=DIRECTORY in={path}")])
    site.world.add_file_set(asset_id, site.lucidlink, [CLIP | {"directory_path": other}], "OTHER")
    assert list(remove(iconik, asset_id).reasons) == ([NEEDED] if is_needed else [])
    assert (copy in site.world.file_sets) == is_needed


def test_records_of_one_file_go_together(site: Site, iconik: Iconik) -> None:
    """If all may go by themselves, none keeps another, in the recycle bin or not."""
    asset_id, copy = site.asset()
    site.world.delete(copy)
    for _ in range(2):
        site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    assert remove(iconik, asset_id) == Outcome(asset_id, End.REMOVED, removed=3)


def test_a_file_set_that_stays_keeps_all_that_share_its_places(site: Site, iconik: Iconik) -> None:
    """A needs a file of B, which needs one of C: none goes without the others."""
    formats = ("ORIGINAL", "PROXY", "OTHER")
    asset_id, rows = site.world.add_asset("Clip", formats), files("a, b, c, d")
    for number, name in enumerate(formats):
        some = rows[number : number + 2]
        site.world.add_file_set(asset_id, site.b2, some, name)
        site.world.add_file_set(asset_id, site.lucidlink, some, name, base_dir="/x")
    assert reasons(iconik, asset_id, SEVERAL) == [
        "deleting ORIGINAL could also delete b of PROXY, which stays",
        "deleting PROXY could also delete c of OTHER, which stays",
    ]


@pytest.mark.parametrize(
    ("format_name", "status", "checksum", "is_saved"),
    [
        ("OTHER", "ACTIVE", MD5, True),
        ("OTHER", "ACTIVE", None, False),
        ("ORIGINAL", "ACTIVE", MD5.upper(), True),
        ("ORIGINAL", "DELETED", MD5, False),
    ],
)
def test_masters_at_one_place_must_be_the_same_bytes(
    site: Site, iconik: Iconik, format_name: str, status: str, checksum: str | None, is_saved: bool
) -> None:
    """Another record of the place may have overwritten it; one in the bin will be purged."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    row = CLIP | {"directory_path": "x", "checksum": MD5}
    site.add_copies(asset_id, [row])
    twin = row | {"checksum": checksum, "name": "Clip.mov"}
    site.world.add_file_set(asset_id, site.b2, [twin], format_name, status=status)
    outcome = remove(iconik, asset_id)
    assert outcome.removed == is_saved
    assert is_saved or DOUBTFUL.format("clip.mov") in outcome.reasons[0]


# Nothing to remove


@pytest.mark.parametrize(
    ("changes", "settings", "reason"),
    [
        ({"status": "ARCHIVED", "file_count": 0}, SETTINGS, "ORIGINAL is archived"),
        ({"status": "ARCHIVED"}, BIN, "ORIGINAL is archived"),
        ({"status": "DELETED"}, BIN, "ORIGINAL is in the recycle bin"),
        ({}, SETTINGS._replace(format_names=("ORIGINA",)), "only ORIGINAL is on LucidLink"),
        ({"format_id": STRANGE}, SETTINGS, "only an earlier version is on LucidLink"),
    ],
)
def test_what_is_on_the_storage_and_not_to_be_removed_is_told(
    site: Site, iconik: Iconik, changes: Row, settings: Settings, reason: str
) -> None:
    """Nobody is told that nothing is there, and it stays."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy].update(changes)
    outcome = remove(iconik, asset_id, settings)
    more = ", which this action does not remove" if "only" in reason else ""
    assert (outcome.end, outcome.reasons) == (End.ABSENT, (f"{reason}{more}",))
    assert copy in site.world.file_sets


def test_several_formats_that_are_not_to_be_removed_are_named(site: Site, iconik: Iconik) -> None:
    """One sentence names them all."""
    asset_id = site.world.add_asset("Clip", ["PPRO_PROXY", "EDIT"])
    for name in ("PPRO_PROXY", "EDIT"):
        site.world.add_file_set(asset_id, site.lucidlink, [CLIP], name)
    (reason,) = remove(iconik, asset_id).reasons
    assert reason == "only EDIT and PPRO_PROXY are on LucidLink, which this action does not remove"


@pytest.mark.parametrize("settings", [SETTINGS, BIN])
def test_an_empty_record_in_the_bin_is_nothing(
    site: Site, iconik: Iconik, settings: Settings
) -> None:
    """Nothing is to be removed, and nothing stayed."""
    asset_id = site.master()
    site.world.add_file_set(asset_id, site.lucidlink, [], status="DELETED")
    assert remove(iconik, asset_id, settings) == Outcome(asset_id, End.ABSENT)


# What may be copied to the masters first


@pytest.mark.parametrize(
    ("text", "changes", "is_fine"),
    [
        ("clip.mov, day1 type=DIRECTORY, Icon\\r size=0", {}, True),
        ("clip.mov, lock size=0 sum=empty", {}, True),
        ("clip.mov, lock size=0", {}, False),
        ("clip.mov status=GROWING", {}, False),
        ("clip.mov", {"status": "DELETED"}, False),
    ],
)
def test_only_a_whole_file_set_may_be_copied(
    site: Site, iconik: Iconik, text: str, changes: Row, is_fine: bool
) -> None:
    """An empty file may be one whose data LucidLink has not uploaded yet."""
    asset_id = site.only_copy(*files(text))
    record(site, asset_id, "copy").update(changes)
    found = look(Removal(iconik, SETTINGS), asset_id)
    assert [is_whole(each, found) for each in found.doomed] == [is_fine]


@pytest.mark.parametrize("formats", [1, 2])
def test_only_one_of_a_name_may_be_copied(site: Site, iconik: Iconik, formats: int) -> None:
    """A copy is requested by the name of the format alone."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL"] * formats)
    for of in site.world.formats_of(asset_id) * (3 - formats):
        copy = site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
        for row in (site.world.file_sets[copy], *site.world.files_in(copy)):
            row["format_id"] = of["id"]
    found = look(Removal(iconik, SETTINGS), asset_id)
    assert [is_whole(each, found) for each in found.doomed] == [False, False]
