"""One asset: what is deleted, what stays and why, and how old the evidence may be."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin.errors import AdministratorError, OutOfTime, PluginError, TooManyFiles
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import time_or_none
from storage_plugin.removal import asset, evidence, rule
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import FRESH, Evidence, look
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import is_whole
from storage_plugin.removal.shared import Removal
from storage_plugin.settings import Settings
from tests.conftest import Time, new_rest
from tests.worlds import as_if_parallel

SETTINGS = Settings("app-id", "LucidLink", master_storage_name="B2")
SEVERAL = SETTINGS._replace(format_names=("ORIGINAL", "PROXY"))
ANY_B2 = SETTINGS._replace(master_storage_name=None)
BIN = SETTINGS._replace(use_recycle_bin=True)

STRANGE = World.app_id
"""An id of something else."""

MD5, OTHER_MD5, SHA1 = "d0" * 16, "e1" * 16, "f2" * 20
NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
NFD = unicodedata.normalize("NFD", "Übung")
"""A name as macOS writes it."""

UNSAID = {"file_set_status": None, "format_status": None, "version_id": None}
WHERE = {"copy": "LucidLink", "master": "B2"}
"""The file sets that must not contradict themselves, and how a reason names their storage."""

SMALLER = "clip.mov has 1,000 bytes and its master 999"
CHANGED = "clip.mov and its master have different checksums"
UNSIZED = "clip.mov or its master has a size that iconik does not know"
EMPTY = "clip.mov and its master are empty, which may be wrong"
REDISCOVERED = "the master of clip.mov is REDISCOVERED, and no checksum shows that it is the same"
NO_MASTER = "ORIGINAL has no copy on B2"
LACKING = "clip.wav has no master"
NEEDED = "deleting ORIGINAL could also delete clip.mov of OTHER, which stays"
DOUBTFUL = "B2 has one place for clip.mov and another file, so one may be missing"
ON_ITS_WAY = "a copy of it is still on its way to LucidLink: repeat the action when it has arrived"


def clip(**changes: object) -> Row:
    """Return a file that differs from the usual one."""
    return CLIP | changes


def named(name: str, /, **changes: object) -> Row:
    """Return a file of another name."""
    return {"original_name": name, **changes}


WAV = named("clip.wav")
FOLDER = named("day1", type="DIRECTORY", size=None, status="OPEN")


def frames(number: int) -> list[Row]:
    """Return the files of an image sequence."""
    return [named(f"{frame:04}.dpx") for frame in range(number)]


def several(site: Site, *formats: str) -> str:
    """Add an asset with a file of each format on both storages, and return its id."""
    asset_id = site.world.add_asset("Clip", formats)
    for name in formats:
        for storage_id in (site.b2, site.lucidlink):
            site.world.add_file_set(asset_id, storage_id, [CLIP], name)
    return asset_id


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


def reasons(iconik: Iconik, asset_id: str, settings: Settings = SETTINGS) -> list[str]:
    """Remove an asset that stays, and return the reasons."""
    outcome = remove(iconik, asset_id, settings)
    assert (outcome.end, outcome.error) == (End.STAYED, None)
    return list(outcome.reasons)


# What goes


def test_the_copy_alone_goes(site: Site, iconik: Iconik, rest: Rest) -> None:
    """It costs four calls and one for the storages; a repeat, which is harmless, costs three."""
    asset_id, _ = site.asset()
    site.world.add_file_set(asset_id, site.other, [CLIP])
    assert remove(iconik, asset_id) == Outcome(asset_id, End.REMOVED, removed=1)
    assert (site.copies(), site.masters(), rest.calls) == (0, 1, 1 + 4)
    assert site.world.names_on(site.other) == ["clip.mov"]
    assert remove(iconik, asset_id) == Outcome(asset_id, End.ABSENT)
    assert rest.calls == 1 + 4 + 3


def test_files_of_all_pages_are_compared(site: Site, iconik: Iconik) -> None:
    """An image sequence of many pages goes, and stays if one frame on the last page differs."""
    complete, _ = site.asset(frames(250))
    broken, _ = site.asset(frames(250), [*frames(249), frames(250)[-1] | {"size": 999}])
    assert [remove(iconik, each).removed for each in (complete, broken)] == [1, 0]
    assert site.copies() == 250


def test_only_the_chosen_formats_go(site: Site, iconik: Iconik) -> None:
    """Formats that are not configured stay where they are."""
    asset_id = several(site, "OTHER", "ORIGINAL", "PROXY")
    assert remove(iconik, asset_id, SEVERAL).removed == 2
    (left,) = site.world.file_sets_of(asset_id, site.lucidlink)
    assert left["base_dir"] == "/Clip/OTHER"


def test_any_b2_storage_may_hold_the_master(site: Site, iconik: Iconik) -> None:
    """Without a name all storages of type B2 count, and one complete copy is enough."""
    second = site.world.add_storage("Second B2", "B2")
    asset_id, _ = site.asset([CLIP], [clip(status="OPEN")])
    growing = "clip.mov is still being written on B2 (OPEN)"
    site.world.add_file_set(asset_id, second, [])
    nothing = "iconik lists no files of ORIGINAL on Second B2: rescan its folder in iconik"
    assert reasons(iconik, asset_id, ANY_B2) == [f"{growing}; {nothing}"]
    site.world.add_file_set(asset_id, second, [CLIP])
    assert reasons(iconik, asset_id) == [growing]
    assert remove(iconik, asset_id, ANY_B2).removed == 1


@pytest.mark.parametrize(
    ("copy", "master"),
    [
        # Checksums of one kind are compared, regardless of case; those of parts are not.
        ([clip(checksum=MD5)], [clip(checksum=MD5.upper())]),
        ([clip(checksum=MD5)], [CLIP]),
        ([CLIP], [clip(checksum=MD5)]),
        ([clip(checksum=MD5)], [clip(checksum=SHA1)]),
        ([clip(checksum=f"{MD5}-25")], [clip(checksum=f"{OTHER_MD5}-50")]),
        ([clip(checksum=f"{MD5[:-3]}-25")], [clip(checksum=OTHER_MD5)]),
        # Original names are compared, but neither names on the storage nor folders.
        ([clip(name="clip_1.mov")], [clip(name="2f6d-clip.mov", directory_path="masters")]),
        ([named("Übung")], [named(NFD)]),
        ([named(NFD)], [named("Übung")]),
        ([FOLDER, CLIP], [CLIP]),
        ([CLIP], [FOLDER, CLIP]),
        # Types and states.
        ([clip(type="SEQUENCE")], [clip(type="SEQUENCE")]),
        ([clip(status="MISSING")], [CLIP]),
        ([clip(status="GROWING", size=999)], [CLIP]),
        ([clip(status="OPEN")], [CLIP]),
        ([clip(status="AWAITED", size=0, checksum=MD5)], [clip(checksum=OTHER_MD5)]),
        ([clip(status="AWAITED", size=None)], [clip(size=None)]),
        ([clip(checksum=MD5)], [clip(checksum=MD5.upper(), status="REDISCOVERED")]),
        ([CLIP], [CLIP, named("more.mov", status="REDISCOVERED")]),
        # Empty files: beside files with bytes, or with the same checksum.
        ([named("lock", size=0)], [named("lock", size=0)]),
        ([named("lock", size=0, checksum=NOTHING)], [named("lock", size=0)]),
        ([named("lock", size=0, checksum=MD5)], [named("lock", size=0, checksum=MD5)]),
        # What systems add.
        *(
            ([CLIP, named(name)], [CLIP])
            for name in (".DS_Store", "Icon\r", "Thumbs.db", "desktop.ini", "._clip.mov")
        ),
        ([FOLDER, CLIP, named("._day1")], [CLIP]),
        ([CLIP], [CLIP, named("Icon\r", status="FAILED")]),
        # Files of one name are matched so that each has a master of its own.
        (
            [CLIP, clip(checksum=MD5), clip(checksum=OTHER_MD5)],
            [CLIP, clip(checksum=OTHER_MD5, name="2"), clip(checksum="0" * 32, name="3")],
        ),
        ([clip(checksum=MD5), clip(checksum=OTHER_MD5)], [CLIP, clip(checksum=MD5, name="2")]),
        ([clip(checksum=MD5), clip(checksum=OTHER_MD5)], [clip(checksum=MD5, name="2"), CLIP]),
        ([clip(status="OPEN", size=500), CLIP], [CLIP, clip(size=2000, name="2")]),
        (
            [clip(status="OPEN", size=500), clip(status="OPEN", size=1500)],
            [clip(size=2000), clip(size=1000, name="2")],
        ),
    ],
)
def test_what_is_saved_goes(site: Site, iconik: Iconik, copy: list[Row], master: list[Row]) -> None:
    """The copy goes if each of its files has a master of its own."""
    asset_id, _ = site.asset([WAV, *copy], [WAV, *master])
    assert remove(iconik, asset_id) == Outcome(asset_id, End.REMOVED, removed=1)


def test_a_set_of_nothing_but_empty_files_may_go(site: Site, iconik: Iconik) -> None:
    """Equal checksums are enough."""
    asset_id, _ = site.asset([named("mark", size=0, checksum=NOTHING)])
    assert remove(iconik, asset_id).removed == 1


def test_many_files_of_one_name_are_compared_in_no_time(site: Site, iconik: Iconik) -> None:
    """That one of them lacks a master of its size is found among any number of them."""
    rows = [named("0001.dpx", directory_path=str(shot)) for shot in range(1500)]
    asset_id, _ = site.asset(rows, [*rows[1:], rows[0] | {"size": 999}])
    assert reasons(iconik, asset_id) == [
        "0001.dpx has fewer masters than there are files of that name"
    ]


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        ("format", {"status": None}),
        *(
            (of, changes)
            for of in ("copy", "master")
            for changes in ({"type": "MANY_FILES"}, {"file_count": None}, {"file_count": 0})
        ),
    ],
)
@pytest.mark.parametrize("unsaid", [{}, UNSAID, {"storage_id": None, "format_id": None}])
def test_what_iconik_does_not_say_is_no_contradiction(
    site: Site, iconik: Iconik, of: str, changes: Row, unsaid: Row
) -> None:
    """Rows need not repeat the records, and iconik does not document how it counts."""
    site.world.quirks.unsaid = unsaid
    asset_id, _ = site.asset()
    record(site, asset_id, of).update(changes)
    assert remove(iconik, asset_id).removed == 1


# What stays


@pytest.mark.parametrize(
    ("copy", "master", "reason"),
    [
        ([CLIP, WAV], [CLIP], LACKING),
        ([CLIP, WAV], [CLIP, WAV | {"type": "SYMLINK"}], LACKING),
        ([named("CLIP.mov")], [CLIP], "CLIP.mov has no master"),
        ([clip(status="AWAITED"), WAV], [WAV], "clip.mov has no master"),
        ([CLIP, CLIP], [CLIP], "clip.mov has fewer masters than there are files of that name"),
        ([named("a\tb")], [CLIP], r"a\tb has no master"),
        # Only what systems add needs no master.
        ([CLIP, named(".ds_store")], [CLIP], ".ds_store has no master"),
        ([CLIP, named("Icon")], [CLIP], "Icon has no master"),
        ([CLIP, named("._other.mov")], [CLIP], "._other.mov has no master"),
        (
            [CLIP, named("._clip.mov", directory_path="elsewhere")],
            [CLIP],
            "._clip.mov has no master",
        ),
        # Sizes.
        ([CLIP], [clip(size=None)], UNSIZED),
        ([CLIP], [clip(size=0)], UNSIZED),
        ([clip(size=-1)], [CLIP], UNSIZED),
        ([clip(status="OPEN", size=0)], [CLIP], UNSIZED),
        ([clip(size=0)], [clip(size=0)], EMPTY),
        ([clip(size=0, checksum=NOTHING)], [clip(size=0)], EMPTY),
        ([WAV, clip(size=0, checksum=MD5)], [WAV, clip(size=0)], EMPTY),
        ([WAV, clip(size=0)], [WAV, clip(size=0, checksum=SHA1)], EMPTY),
        (
            [WAV, clip(size=0, status="OPEN")],
            [WAV, clip(size=0)],
            UNSIZED,
        ),
        ([CLIP], [clip(size=999)], SMALLER),
        ([clip(size=999)], [CLIP], "clip.mov has 999 bytes and its master 1,000"),
        (
            [clip(status="GROWING", size=9_000_000)],
            [CLIP],
            "clip.mov (GROWING) has 9,000,000 bytes and its master 1,000",
        ),
        (
            [clip(status="AWAITED", size=1001), WAV],
            [CLIP, WAV],
            "clip.mov (AWAITED) has 1,001 bytes and its master 1,000",
        ),
        *(
            ([clip(status=status)], [clip(size=999)], SMALLER)
            for status in ("FAILED", "ARCHIVED", "MISSING", "REDISCOVERED", "DELETED", None)
        ),
        # Checksums.
        ([clip(checksum=MD5)], [clip(checksum=OTHER_MD5)], CHANGED),
        ([clip(status="OPEN", size=1, checksum=MD5)], [clip(checksum=OTHER_MD5)], CHANGED),
        ([clip(checksum="1B2M2Y8A==")], [clip(checksum="XrY7u+Ae==")], CHANGED),
        # States of the master's files.
        *(
            ([CLIP], [CLIP, WAV | {"status": status}], f"clip.wav {words} ({status})")
            for status, words in (
                ("OPEN", "is still being written on B2"),
                ("GROWING", "is still being written on B2"),
                ("AWAITED", "has not arrived yet on B2"),
            )
        ),
        *(
            ([CLIP], [CLIP, WAV | {"status": status}], f"clip.wav on B2 is {status}")
            for status in ("FAILED", "ARCHIVED", "MISSING", "DELETED")
        ),
        ([CLIP], [clip(status=None)], "clip.mov on B2 is without a status"),
        ([CLIP], [clip(status="REDISCOVERED")], REDISCOVERED),
        ([clip(checksum=MD5)], [clip(status="REDISCOVERED")], REDISCOVERED),
        ([clip(checksum=MD5)], [clip(status="REDISCOVERED", checksum=SHA1)], REDISCOVERED),
        # One place on the masters' storage.
        ([CLIP], [CLIP, clip(size=5)], DOUBTFUL),
        ([CLIP, CLIP], [CLIP, CLIP], DOUBTFUL),
        ([CLIP], [CLIP, named("2", name="CLIP.MOV. ")], DOUBTFUL),
        ([CLIP], [clip(checksum=MD5), clip(checksum=OTHER_MD5)], DOUBTFUL),
        ([CLIP], [clip(checksum=MD5), clip(checksum=MD5, size=9)], DOUBTFUL),
        (
            [clip(status="AWAITED", size=0), WAV],
            [WAV, clip(size=None, checksum=MD5), clip(size=None, checksum=MD5)],
            DOUBTFUL,
        ),
    ],
)
def test_files_that_keep_the_copy(
    site: Site, iconik: Iconik, copy: list[Row], master: list[Row], reason: str
) -> None:
    """In whatever way a master falls short, the copy stays, and the reason names what differs."""
    asset_id, file_set_id = site.asset(copy, master)
    assert reasons(iconik, asset_id) == [reason]
    assert site.world.file_sets[file_set_id]["status"] == "ACTIVE"


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
        ("copy", {"format_id": None}, "iconik does not say of which format a file set on {} is"),
        ("copy", {"storage_id": None}, "iconik does not say on which storage a file set of {} is"),
        *(
            (of, changes, reason)
            for of in WHERE
            for changes, reason in (
                ({"file_count": 24}, "iconik lists 1 of the 24 files of {}"),
                (
                    {"file_count": None, "type": "MANY_FILES"},
                    "iconik does not say how many files {} has",
                ),
            )
        ),
    ],
)
def test_records_that_keep_the_copy(
    site: Site, iconik: Iconik, of: str, changes: Row, reason: str
) -> None:
    """Iconik's own record decides, whatever the rows of the files say."""
    site.world.quirks.unsaid = {"file_set_status": "ACTIVE", "version_id": None}
    asset_id, copy = site.asset()
    record(site, asset_id, of).update(changes)
    where = {"format_id": "LucidLink", "storage_id": "ORIGINAL"}.get(
        next(iter(changes)), f"ORIGINAL on {WHERE.get(of)}"
    )
    assert reasons(iconik, asset_id) == [reason.format(where)]
    assert copy in site.world.file_sets


@pytest.mark.parametrize(("of", "storage"), WHERE.items())
@pytest.mark.parametrize(
    ("rows", "count", "reason"),
    [
        ([], None, "no files of {}: rescan its folder in iconik"),
        ([clip(type="DIRECTORY")], None, "no files of {}: rescan its folder in iconik"),
        ([named(".DS_Store")], None, "no files of {}: rescan its folder in iconik"),
        ([CLIP, WAV, FOLDER], 3, "2 of the 3 files of {}"),
        ([CLIP, WAV], 24, "2 of the 24 files of {}"),
    ],
)
def test_lists_with_gaps_keep_the_copy(
    site: Site,
    iconik: Iconik,
    of: str,
    storage: str,
    rows: list[Row],
    count: int | None,
    reason: str,
) -> None:
    """Folders are no files, so they do not fill a gap."""
    copy, master = (rows, [CLIP, WAV]) if of == "copy" else ([CLIP, WAV], rows)
    asset_id, _ = site.asset(copy, master)
    record(site, asset_id, of)["file_count"] = count
    assert reasons(iconik, asset_id) == [f"iconik lists {reason}".format(f"ORIGINAL on {storage}")]


@pytest.mark.parametrize(("of", "storage"), WHERE.items())
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file_set_status", "DELETED"),
        ("format_status", "DELETED"),
        ("format_id", STRANGE),
        ("storage_id", STRANGE),
    ],
)
def test_rows_that_contradict_the_record_keep_the_copy(
    site: Site, iconik: Iconik, of: str, storage: str, field: str, value: str
) -> None:
    """Where iconik's rows and its own record of either file set differ, nothing is deleted."""
    asset_id, _ = site.asset([CLIP, WAV])
    record(site, asset_id, "format")["status"] = None
    site.world.files_in(record(site, asset_id, of)["id"])[1][field] = value
    where = f"about ORIGINAL on {storage} ({field} of a file: {value})"
    assert reasons(iconik, asset_id) == [f"iconik contradicts itself {where}"]
    assert len(site.world.files) == 4


@pytest.mark.parametrize("of", WHERE)
def test_rows_of_another_version_keep_the_copy(site: Site, iconik: Iconik, of: str) -> None:
    """One row of either file set is enough."""
    asset_id, _ = site.asset([CLIP, WAV])
    site.world.files_in(record(site, asset_id, of)["id"])[1]["version_id"] = STRANGE
    assert reasons(iconik, asset_id) == ["ORIGINAL on B2 is of another version"]


def test_copies_elsewhere_are_no_masters(site: Site, iconik: Iconik) -> None:
    """Neither a copy on another disk, nor one beside it, nor one of another format counts."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    for storage_id in (site.lucidlink, site.other):
        site.world.add_file_set(asset_id, storage_id, [CLIP])
    site.world.add_file_set(asset_id, site.lucidlink, [WAV])
    site.world.add_file_set(asset_id, site.b2, [CLIP], "OTHER")
    for settings in (SETTINGS, ANY_B2):
        assert reasons(iconik, asset_id, settings) == [NO_MASTER] * 2
    assert site.copies() == 2


def test_a_record_without_details_concerns_only_itself(site: Site, iconik: Iconik) -> None:
    """A file set that may be anywhere stays, and another file set of the asset goes."""
    asset_id, copy = site.asset()
    lost = site.world.add_file_set(asset_id, site.lucidlink, [clip(directory_path="elsewhere")])
    site.world.file_sets[lost]["storage_id"] = None
    for file in site.world.files_in(lost):
        file["storage_id"] = None
    outcome = remove(iconik, asset_id)
    assert (outcome.end, outcome.removed) == (End.STAYED, 1)
    assert copy not in site.world.file_sets


# Places


OTHER_FORMAT: Row = {"directory_path": "day1"}


@pytest.mark.undocumented
@pytest.mark.parametrize(
    ("file", "other", "changes", "is_needed"),
    [
        ({}, {}, {}, True),
        ({"directory_path": "/day1/"}, {}, {}, True),
        ({"directory_path": "\\Day1. "}, {}, {}, True),
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
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    site.world.add_file_set(asset_id, site.b2, [CLIP])
    copy = site.world.add_file_set(asset_id, site.lucidlink, [CLIP | OTHER_FORMAT | file])
    beside = CLIP | OTHER_FORMAT | other
    owner = site.world.add_file_set(asset_id, site.lucidlink, [beside], "OTHER")
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
    rows = [CLIP, named(name or "/", directory_path=path, type="DIRECTORY")]
    for storage_id in (site.b2, site.lucidlink):
        copy = site.world.add_file_set(asset_id, storage_id, rows)
    site.world.add_file_set(asset_id, site.lucidlink, [clip(directory_path=other)], "OTHER")
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
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PROXY", "OTHER"])
    rows = [named(name, directory_path="x") for name in "abcd"]
    for number, name in enumerate(("ORIGINAL", "PROXY", "OTHER")):
        site.world.add_file_set(asset_id, site.lucidlink, rows[number : number + 2], name)
        masters = [row | {"directory_path": name} for row in rows[number : number + 2]]
        site.world.add_file_set(asset_id, site.b2, masters, name)
    site.world.purge(site.world.file_sets_of(asset_id, site.b2)[2]["id"])
    assert reasons(iconik, asset_id, SEVERAL) == [
        "deleting ORIGINAL could also delete b of PROXY, which stays",
        "deleting PROXY could also delete c of OTHER, which stays",
    ]


@pytest.mark.parametrize(
    ("format_name", "status", "checksum", "is_saved"),
    [
        ("OTHER", "ACTIVE", MD5, True),
        ("OTHER", "ACTIVE", OTHER_MD5, False),
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
    row = clip(directory_path="x", checksum=MD5)
    for storage_id in (site.b2, site.lucidlink):
        site.world.add_file_set(asset_id, storage_id, [row])
    twin = row | {"checksum": checksum, "name": "Clip.mov"}
    site.world.add_file_set(asset_id, site.b2, [twin], format_name, status=status)
    if is_saved:
        assert remove(iconik, asset_id).removed == 1
    else:
        assert DOUBTFUL in reasons(iconik, asset_id)[0]


# Nothing to remove


@pytest.mark.parametrize(
    ("changes", "settings", "reason"),
    [
        ({"status": "ARCHIVED"}, SETTINGS, "ORIGINAL is archived"),
        ({"status": "ARCHIVED"}, BIN, "ORIGINAL is archived"),
        ({"status": "DELETED"}, BIN, "ORIGINAL is in the recycle bin"),
        (
            {},
            SETTINGS._replace(format_names=("ORIGINA",)),
            "only ORIGINAL is on LucidLink, which this action does not remove",
        ),
        (
            {"format_id": STRANGE},
            SETTINGS,
            "only an earlier version is on LucidLink, which this action does not remove",
        ),
    ],
)
def test_what_is_on_the_storage_and_not_to_be_removed_is_told(
    site: Site, iconik: Iconik, changes: Row, settings: Settings, reason: str
) -> None:
    """Nobody is told that nothing is there, and it stays."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy].update(changes)
    assert remove(iconik, asset_id, settings) == Outcome(asset_id, End.ABSENT, reasons=(reason,))
    assert copy in site.world.file_sets


def test_several_formats_that_are_not_to_be_removed_are_named(site: Site, iconik: Iconik) -> None:
    """One sentence names them all."""
    asset_id = several(site, "PPRO_PROXY", "EDIT")
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


def test_file_sets_without_formats_are_an_error(site: Site, iconik: Iconik) -> None:
    """A missing list of formats does not mean that nothing is there."""
    asset_id, _ = site.asset()
    site.world.formats.clear()
    site.world.formats.of_asset.clear()
    outcome = remove(iconik, asset_id)
    assert outcome.end is End.FAILED
    assert "no formats" in str(outcome.error)


# The recycle bin


@pytest.mark.parametrize("size", [1000, 999])
def test_the_recycle_bin_is_purged_under_the_same_rule(
    site: Site, iconik: Iconik, size: int
) -> None:
    """What a purge that failed has left in the bin is purged by a repeat, if it has a master.

    Its rows may still name its state before the deletion, which is no contradiction.
    """
    asset_id, copy = site.asset([clip(file_set_status="ACTIVE")], [clip(size=size)])
    site.world.delete(copy)
    site.world.quirks.failures = 99  # Only a purge works.
    assert remove(iconik, asset_id).removed == (size == 1000)
    assert (copy in site.world.file_sets) == (size == 999)


def test_with_the_recycle_bin_nothing_is_purged(site: Site, iconik: Iconik) -> None:
    """What is in the bin counts as removed, and can be restored."""
    asset_id, copy = site.asset()
    assert remove(iconik, asset_id, BIN) == Outcome(asset_id, End.REMOVED, removed=1)
    assert remove(iconik, asset_id, BIN).end is End.ABSENT
    assert site.world.file_sets[copy]["status"] == "DELETED"


# What a deletion is answered with


def test_a_system_that_only_marks_is_asked_to_purge(site: Site, iconik: Iconik) -> None:
    """A system that does not know `immediately` is asked to purge."""
    site.world.quirks.knows_immediately = False
    asset_id, copy = site.asset()
    assert remove(iconik, asset_id).removed == 1
    assert copy not in site.world.file_sets


@pytest.mark.undocumented
@pytest.mark.parametrize("settings", [SETTINGS, BIN], ids=["for good", "to the bin"])
@pytest.mark.parametrize("status", [202, 404])
@pytest.mark.parametrize("works", [True, False])
def test_an_uncertain_answer_is_resolved_by_looking(
    site: Site, iconik: Iconik, settings: Settings, status: int, works: bool
) -> None:
    """After 202 or 404 iconik's records decide; what is still listed is reported."""
    site.world.quirks.deletion_status, site.world.quirks.deletions_work = status, works
    asset_id, copy = site.asset()
    listed = ("iconik was asked to delete it from LucidLink, but still lists it",)
    assert remove(iconik, asset_id, settings) == (
        Outcome(asset_id, End.REMOVED, removed=1)
        if works
        else Outcome(asset_id, End.STAYED, reasons=listed)
    )
    assert site.copies() == (0 if works else 1)
    assert (copy in site.world.file_sets) == (settings is BIN or not works)


def test_one_failure_does_not_concern_others(site: Site, iconik: Iconik) -> None:
    """An asset that iconik sends nonsense for, or lets nobody touch, fails; another goes."""
    nonsense, _ = site.asset([CLIP | {"type": 7, "original_name": None}])
    denied, _ = site.asset()
    site.world.denied.add(denied)
    fine, _ = site.asset()
    failed, refused = remove(iconik, nonsense), remove(iconik, denied)
    assert (failed.end, refused.end) == (End.FAILED, End.FAILED)
    assert "original_name" in str(failed.error)
    assert "a role or the access" in str(refused.error)
    assert remove(iconik, fine).end is End.REMOVED


# Copies on their way


def arriving(site: Site, *files: Row, **changes: object) -> tuple[str, str]:
    """Add an asset that iconik is copying to LucidLink; return its id and that of its file set."""
    asset_id = site.master()
    copy = site.world.add_file_set(asset_id, site.lucidlink, files, **changes) if files else ""
    site.world.quirks.copies_take_time, site.world.quirks.lists_transfers_from = True, False
    site.world.transfers["x"] = {
        "id": STRANGE,
        "asset_id": asset_id,
        "format_id": record(site, asset_id, "format")["id"],
        "job_id": STRANGE,
        "original_storage_id": site.b2,
        "destination_storage_id": site.lucidlink,
        "destination_directory_path": "/",
        "original_file_set_id": record(site, asset_id, "master")["id"],
    }
    return asset_id, copy


@pytest.mark.parametrize("files", [[], [clip(status="AWAITED", size=0)]])
def test_a_copy_on_its_way_is_told(site: Site, iconik: Iconik, files: list[Row]) -> None:
    """Nobody is told that nothing is there, or that it is removed, because it will arrive."""
    asset_id, _ = arriving(site, *files)
    before = len(site.world.file_sets)
    assert reasons(iconik, asset_id) == [ON_ITS_WAY]
    assert len(site.world.file_sets) == before
    assert remove(iconik, site.master()).end is End.ABSENT


def test_the_transfers_are_read_once(site: Site, iconik: Iconik, rest: Rest) -> None:
    """All assets of a removal share them."""
    removal = Removal(iconik, SETTINGS)
    assets = [arriving(site)[0], site.master(), site.master()]
    before = rest.calls
    ends = [remove_asset(removal, asset_id).end for asset_id in assets]
    assert ends == [End.STAYED, End.ABSENT, End.ABSENT]
    assert rest.calls - before == 3 + 1


def test_transfers_that_nobody_may_see(site: Site, iconik: Iconik) -> None:
    """They are not missed, unless the removal has waited: the asset may have been added again."""
    site.world.roles.remove("can_read_transfers")
    assert remove(iconik, site.master()).end is End.ABSENT
    asset_id, copy = site.asset()
    outcome = remove(iconik, asset_id, clicked=9e9)
    assert outcome.end is End.FAILED
    assert copy in site.world.file_sets


@pytest.mark.parametrize(
    ("created", "seconds", "is_later"),
    [
        ("2026-01-09T17:00:00", 5.1, False),
        ("2026-01-09T17:00:00", 5.0, True),
        ("2026-01-09T17:00:00", -60, True),
        (None, 1e6, True),
    ],
)
def test_the_later_click_wins(
    site: Site, iconik: Iconik, created: str | None, seconds: float, is_later: bool
) -> None:
    """If the removal has waited, what was added after the click stays, and so if nobody knows."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy]["date_created"] = created
    clicked = (time_or_none({"at": "2026-01-09T17:00:00"}, "at") or 0) + seconds
    outcome = remove(iconik, asset_id, clicked=clicked)
    again = ("ORIGINAL on LucidLink was added again after the click",)
    assert outcome.reasons == (again if is_later else ())
    assert (copy in site.world.file_sets) == is_later


def test_what_is_being_added_again_stays(site: Site, iconik: Iconik) -> None:
    """If the removal has waited, an asset that iconik is copying to the storage stays."""
    asset_id, copy = arriving(site, CLIP, date_created="2026-01-09T17:00:00")
    assert remove(iconik, asset_id, clicked=9e9).reasons == (ON_ITS_WAY,)
    assert remove(iconik, asset_id).removed == 1
    assert copy not in site.world.file_sets


# What may be copied to the masters first


@pytest.mark.parametrize(
    ("files", "changes", "is_fine"),
    [
        ([CLIP, FOLDER], {}, True),
        ([CLIP, named("lock", size=0, checksum=NOTHING)], {}, True),
        ([CLIP, named("lock", size=0)], {}, False),
        ([CLIP, named("Icon\r", size=0)], {}, True),
        ([clip(status="GROWING")], {}, False),
        ([CLIP], {"status": "DELETED"}, False),
        ([CLIP], {"file_count": 2}, False),
    ],
)
def test_only_a_whole_file_set_may_be_copied(
    site: Site, iconik: Iconik, files: list[Row], changes: Row, is_fine: bool
) -> None:
    """An empty file may be one whose data LucidLink has not uploaded yet."""
    asset_id = site.only_copy(*files)
    record(site, asset_id, "copy").update(changes)
    found = look(Removal(iconik, SETTINGS), asset_id)
    assert [is_whole(each, found) for each in found.doomed] == [is_fine]


@pytest.mark.parametrize("beside", ["file set", "format"])
def test_only_one_of_a_name_may_be_copied(site: Site, iconik: Iconik, beside: str) -> None:
    """A copy is requested by the name of the format alone."""
    asset_id = site.only_copy(CLIP)
    if beside == "file set":
        site.world.add_file_set(asset_id, site.lucidlink, [WAV])
    else:
        of = record(site, asset_id, "format")
        site.world.formats[STRANGE] = of | {"id": STRANGE}
    found = look(Removal(iconik, SETTINGS), asset_id)
    assert not any(is_whole(each, found) for each in found.doomed)


# Fresh


class Slow:
    """An iconik on which time passes as a test wants it, and things happen at certain calls."""

    def __init__(self, site: Site, url: str, time: Time) -> None:
        self.time, self.seconds = time, 0.0
        self.calls: list[str] = []
        self._events: defaultdict[tuple[str, int], list[Callable[[], object]]] = defaultdict(list)
        site.world.quirks.on_call = self._on_call
        pace, deadline = Pace(time, time.sleep), Deadline(600, time)
        self.iconik = Iconik(new_rest(url, site.world, pace=pace, deadline=deadline))

    def at(self, call: str, number: int, do: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Do something when iconik receives a call for the nth time."""
        self._events[call, number].append(partial(do, *args, **kw))

    def pause(self, seconds: float = FRESH) -> None:
        """Let seconds pass."""
        self.time.sleep(seconds)

    def _on_call(self, method: str, path: str) -> None:
        call = method if method == "DELETE" else path.rstrip("/").rpartition("/")[2]
        self.calls.append(call)
        self.pause(self.seconds)
        for event in self._events[call, self.calls.count(call)]:
            event()


@pytest.fixture
def slow(site: Site, iconik_url: str, time: Time, monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Return an iconik whose time passes by hand."""
    monkeypatch.setattr(evidence, "side_by_side", as_if_parallel(time))
    return Slow(site, iconik_url, time)


LOOK = ["file_sets", "formats", "files"]
AGAIN = ["file_sets", "formats", "storages"]


@pytest.mark.parametrize(
    ("seconds", "calls"),
    [
        (0.1, ["storages", *LOOK, "DELETE"]),
        (0.6, ["storages", *LOOK, "storages", "DELETE"]),
        (1.0, ["storages", *LOOK, "storages", *AGAIN, "DELETE"]),
        (3.0, ["storages", *LOOK, "storages", *AGAIN, "DELETE"]),
        (4.9, ["storages", *LOOK, "storages", *AGAIN, "DELETE"]),
    ],
)
def test_a_sound_asset_goes_at_any_latency(
    site: Site, slow: Slow, seconds: float, calls: list[str]
) -> None:
    """Records that are old when the rows are complete are requested again, side by side."""
    asset_id, _ = site.asset()
    slow.seconds = seconds
    assert remove(slow.iconik, asset_id).removed == 1
    assert slow.calls == calls


def test_several_file_sets_go_at_three_seconds_a_call(site: Site, slow: Slow) -> None:
    """Each deletion makes the evidence for the next one stale, so another look follows."""
    formats = tuple("1234")
    asset_id = several(site, *formats)
    slow.seconds = 3.0
    outcome = remove(slow.iconik, asset_id, SETTINGS._replace(format_names=formats))
    assert (outcome.end, outcome.removed) == (End.REMOVED, 4)
    assert slow.calls.count("DELETE") == 4


def test_a_long_sequence_is_read_and_judged_once(
    site: Site, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging may take long, too: the records are requested again afterwards."""
    judge = rule.judge

    def judge_slowly(found: Evidence) -> Any:
        slow.pause(60)
        return judge(found)

    monkeypatch.setattr(asset, "judge", judge_slowly)
    asset_id, _ = site.asset(frames(4))
    assert remove(slow.iconik, asset_id).removed == 1
    assert slow.calls == ["storages", *LOOK, *AGAIN, "DELETE"]


@pytest.mark.parametrize(
    ("changed", "changes", "reason"),
    [
        ("copy", {"file_count": 2}, "iconik lists 1 of the 2 files of ORIGINAL on LucidLink"),
        ("master", {"status": "DELETED"}, "iconik's record of ORIGINAL on B2 is DELETED"),
        ("format", {"status": "DELETED"}, "the format ORIGINAL is DELETED"),
        ("file", {"size": 9}, "clip.mov has 1,000 bytes and its master 9"),
    ],
)
def test_a_change_while_rows_are_read_is_seen(
    site: Site, slow: Slow, changed: str, changes: Row, reason: str
) -> None:
    """Records that differ, in counts and the time of the last change too, need another look."""
    asset_id, copy = site.asset()
    rows = [record(site, asset_id, "master" if changed == "file" else changed)]
    if changed == "file":
        rows.append(site.world.files_in(rows[0]["id"])[0])
        slow.at("file_sets", 2, rows[0].update, date_modified="2026-11-29T17:00:00")
    slow.at("file_sets", 2, rows[-1].update, changes)
    slow.seconds = 3.0
    assert reasons(slow.iconik, asset_id) == [reason]
    assert copy in site.world.file_sets
    assert slow.calls[:9] == ["storages", *LOOK, "storages", *AGAIN, "file_sets"]


def test_records_that_keep_changing_are_given_up(site: Site, slow: Slow) -> None:
    """After five looks that end without a deletion the asset has failed, and may be tried again."""
    asset_id, copy = site.asset()
    master = record(site, asset_id, "master")
    for number in range(2, 20):
        slow.at("file_sets", number, master.update, date_modified=str(number))
    slow.seconds = 3.0
    outcome = remove(slow.iconik, asset_id)
    assert (outcome.end, slow.calls.count("files")) == (End.FAILED, 5)
    assert outcome.error is not None
    assert outcome.error.can_retry
    assert copy in site.world.file_sets


def test_a_refused_deletion_is_followed_by_a_look(site: Site, slow: Slow) -> None:
    """A master that is purged while a deletion is refused keeps its copy."""
    asset_id, copy = site.asset()
    slow.at("DELETE", 1, site.world.purge, record(site, asset_id, "master")["id"])
    slow.at("DELETE", 1, site.quirk, refusals=1)
    assert reasons(slow.iconik, asset_id) == [NO_MASTER]
    assert slow.calls[4:6] == ["DELETE", "file_sets"]
    assert copy in site.world.file_sets


def test_slow_deletions_do_not_outlast_their_evidence(site: Site, slow: Slow) -> None:
    """Of four slow deletions none is sent on evidence of more than 5 s."""
    formats = tuple("1234")
    asset_id = several(site, *formats)
    for number in (1, 2, 3):
        slow.at("DELETE", number, slow.pause, 2.4)
    for row in site.world.file_sets_of(asset_id, site.b2):
        slow.at("file_sets", 2, site.world.purge, row["id"])
    outcome = remove(slow.iconik, asset_id, SETTINGS._replace(format_names=formats))
    assert slow.calls[4:8] == ["DELETE", "DELETE", "DELETE", "file_sets"]
    assert (outcome.removed, site.copies()) == (3, 1)


def test_a_deletion_that_waits_for_its_turn_needs_another_look(site: Site, slow: Slow) -> None:
    """What counts is when the deletion itself is sent, not when it was decided."""
    asset_id, copy = site.asset()
    master, reserve = record(site, asset_id, "master"), slow.iconik.pace.reserve

    def wait(*args: Any) -> None:
        if slow.calls == ["storages", *LOOK] and master["id"] in site.world.file_sets:
            site.world.purge(master["id"])
            slow.pause()
        reserve(*args)

    slow.iconik.pace.reserve = wait
    assert reasons(slow.iconik, asset_id) == [NO_MASTER]
    assert copy in site.world.file_sets
    assert "DELETE" not in slow.calls


def test_a_file_set_that_joins_during_a_look_keeps_its_file(site: Site, slow: Slow) -> None:
    """Its rows are listed, although its record was not yet."""
    asset_id, copy = site.asset()
    slow.at("formats", 1, site.world.add_file_set, asset_id, site.lucidlink, [CLIP])
    (reason,) = reasons(slow.iconik, asset_id)
    assert reason == NEEDED.replace("OTHER", "another file set")
    assert copy in site.world.file_sets


def test_a_slow_deletion_is_not_completed_on_stale_evidence(site: Site, slow: Slow) -> None:
    """A purge needs fresh evidence, too: the master is gone, so the recycle bin keeps the copy."""
    site.world.quirks.knows_immediately = False
    asset_id, copy = site.asset()
    slow.at("DELETE", 1, site.world.purge, record(site, asset_id, "master")["id"])
    slow.at("DELETE", 1, slow.pause)
    assert reasons(slow.iconik, asset_id) == [NO_MASTER]
    assert site.world.file_sets[copy]["status"] == "DELETED"


@pytest.mark.parametrize("knows_immediately", [True, False])
def test_a_lost_answer_is_resolved_by_looking(
    site: Site, slow: Slow, knows_immediately: bool
) -> None:
    """A deletion whose answer is lost is not repeated, but completed, and it is counted once."""
    site.world.quirks.knows_immediately = knows_immediately
    asset_id, copy = site.asset()
    slow.at("DELETE", 1, site.quirk, lost=1)
    assert remove(slow.iconik, asset_id) == Outcome(asset_id, End.REMOVED, removed=1)
    assert slow.calls.count("DELETE") == (1 if knows_immediately else 2)
    assert copy not in site.world.file_sets


def test_a_deletion_that_succeeds_ends_a_row_of_failures(site: Site, slow: Slow) -> None:
    """Five failures with a deletion between them are not five in a row."""
    asset_id = several(site, "ORIGINAL", "PROXY")
    slow.at("DELETE", 1, site.quirk, failures=1)
    slow.at("DELETE", 3, site.quirk, failures=4)
    outcome = remove(slow.iconik, asset_id, SEVERAL)
    assert outcome == Outcome(asset_id, End.REMOVED, removed=2)
    assert slow.calls.count("DELETE") == 1 + 1 + 4 + 1


def test_a_deletion_that_fails_for_good_is_given_up(site: Site, slow: Slow) -> None:
    """Five looks and five deletions that fail are an error, and the copy is still there."""
    asset_id, _ = site.asset()
    site.world.quirks.failures = 99
    outcome = remove(slow.iconik, asset_id)
    assert outcome.end is End.FAILED
    assert (slow.calls.count("DELETE"), slow.calls.count("files"), site.copies()) == (5, 5, 1)


def test_an_iconik_that_is_too_slow_is_told(site: Site, slow: Slow) -> None:
    """Where even one answer takes longer than evidence stays fresh nothing is deleted."""
    asset_id, copy = site.asset()
    slow.seconds = 5.0
    outcome = remove(slow.iconik, asset_id)
    assert outcome.end is End.FAILED
    assert "too slow for a safe DELETE" in str(outcome.error)
    assert copy in site.world.file_sets


@pytest.mark.parametrize(
    ("late", "end", "error"),
    [(0, End.FAILED, TooManyFiles), (560, End.FAILED, TooManyFiles), (575, End.LEFT, OutOfTime)],
)
def test_an_asset_that_takes_longer_than_the_request_is_told(
    site: Site, slow: Slow, late: int, end: End, error: type[PluginError]
) -> None:
    """It is blamed for the end of the time only if it had at least half of the time."""
    site.quirk(rows_per_page=3, counts_rows=True)
    asset_id, copy = site.asset(frames(300), file_count=2_000)
    site.world.add_file_set(asset_id, site.other, [], file_count=None)
    removal = Removal(slow.iconik, SETTINGS)
    slow.pause(late)
    slow.seconds = 3.0
    outcome = remove_asset(removal, asset_id)
    assert (outcome.end, type(outcome.error)) == (end, error)
    assert error is OutOfTime or str(outcome.error) == (
        "Comparing 2,300 files takes longer than the function's time limit: use a queue."
    )
    assert copy in site.world.file_sets


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("B2", {"status": "FAILING"}, "no storage for masters is ACTIVE (B2 is FAILING)"),
        (
            "B2",
            {"method": "FILE", "settings": {"mount_point": "/mnt/LucidLink/b"}},
            "masters of B2",
        ),
        ("LucidLink", {"method": "S3"}, "it is of type S3"),
        ("LucidLink", None, "iconik no longer lists it"),
    ],
)
def test_a_storage_that_changes_meanwhile(
    site: Site, slow: Slow, name: str, change: Row | None, message: str
) -> None:
    """A list of storages is shared for a second, and grows old like other evidence."""
    (first, _), (second, copy) = site.asset(), site.asset()
    storage_id = {"B2": site.b2, "LucidLink": site.lucidlink}[name]
    storages = site.world.storages
    removal = Removal(slow.iconik, SETTINGS)
    assert remove_asset(removal, first).removed == 1
    slow.pause(1.0)
    if change:
        storages[storage_id].update(change)
    else:
        del storages[storage_id]
    with pytest.raises(AdministratorError) as error:
        remove_asset(removal, second)
    assert message in str(error.value)
    assert copy in site.world.file_sets
