"""One asset: what is deleted, what stays and why, and how old the evidence may be."""

import unicodedata
from collections.abc import Iterator

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin import rule
from storage_plugin.errors import (
    IconikTimeout,
    IconikUnavailable,
    OutOfTime,
    PluginError,
    TooManyFiles,
)
from storage_plugin.evidence import FRESH, Evidence
from storage_plugin.iconik import FileSet, Iconik
from storage_plugin.pace import Deadline, Pace
from storage_plugin.report import Removal
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from tests.conftest import Time, new_rest
from tests.test_transfers import SETTINGS, remove

WAV: Row = {"original_name": "clip.wav"}
ANY_B2 = SETTINGS._replace(master_storage_name=None)
BIN = SETTINGS._replace(use_recycle_bin=True)

NFD = unicodedata.normalize("NFD", "Übung")
"""A name as macOS writes it."""

SMALLER = "clip.mov differs from its master in size: 1,000 and 999 bytes"
SHARED = "ORIGINAL: clip.mov also belongs to another file set on the storage"
CHANGED = "clip.mov and its master have different checksums"


# What goes


def test_the_copy_alone_goes(site: Site, iconik: Iconik, rest: Rest) -> None:
    """With a complete master the copy goes, in four calls and one for the storages."""
    asset_id, _ = site.asset()
    site.world.add_file_set(asset_id, site.other, [CLIP])
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert (site.copies(), site.masters()) == (0, 1)
    assert site.world.names_on(site.other) == ["clip.mov"]
    assert rest.calls == 1 + 4


def test_a_repeat_costs_one_call(site: Site, iconik: Iconik, rest: Rest) -> None:
    """Repeating the action is harmless, and one call says that nothing is left to be done."""
    asset_id, _ = site.asset()
    remove(iconik, asset_id)
    before = rest.calls
    assert remove(iconik, asset_id) == [Removal(asset_id)]
    assert rest.calls - before == 1 + 1


@pytest.mark.parametrize("links_pages", [True, False])
def test_files_of_all_pages_are_compared(site: Site, iconik: Iconik, links_pages: bool) -> None:
    """An image sequence of many pages goes, and stays if one frame on the last page differs."""
    site.world.quirks.links_pages = links_pages
    frames: list[Row] = [{"original_name": f"{number:04}.dpx"} for number in range(250)]
    complete, _ = site.asset(frames)
    broken, _ = site.asset(frames, [*frames[:-1], frames[-1] | {"size": 999}])
    assert [removal.removed for removal in remove(iconik, complete, broken)] == [1, 0]
    assert site.copies() == 250


def test_only_the_chosen_formats_go(site: Site, iconik: Iconik) -> None:
    """Formats that are not configured stay where they are."""
    formats = ["OTHER", "ORIGINAL", "PPRO_PROXY"]
    asset_id = site.world.add_asset("Clip", formats)
    for name in formats:
        for storage_id in (site.b2, site.lucidlink):
            site.world.add_file_set(asset_id, storage_id, [{"original_name": name}], name)
    remove(iconik, asset_id, settings=SETTINGS._replace(format_names=("ORIGINAL", "PPRO_PROXY")))
    assert site.world.names_on(site.lucidlink) == ["OTHER"]


def test_any_b2_storage_may_hold_the_master(site: Site, iconik: Iconik) -> None:
    """Without a name all storages of type B2 count, and one complete copy is enough."""
    second = site.world.add_storage("Second B2", "B2")
    asset_id, _ = site.asset([CLIP], [CLIP | {"status": "OPEN"}])
    site.world.add_file_set(asset_id, second, [CLIP])
    assert remove(iconik, asset_id)[0].removed == 0
    assert remove(iconik, asset_id, settings=ANY_B2)[0].removed == 1


@pytest.mark.parametrize(
    ("copy", "master"),
    [
        ({"checksum": "a"}, {"checksum": "A"}),
        ({"checksum": "a"}, {"checksum": None}),
        ({"checksum": None}, {"checksum": "a"}),
        ({"checksum": "0" * 32}, {"checksum": "1" * 40}),
        ({"name": "clip_1.mov"}, {"name": "2f6d-clip.mov", "directory_path": "masters"}),
        ({"original_name": "Übung"}, {"original_name": NFD}),
        ({"original_name": NFD}, {"original_name": "Übung"}),
        ({"type": "SEQUENCE"}, {"type": "SEQUENCE"}),
        ({"status": "MISSING"}, {}),
        ({"status": "GROWING", "size": 999}, {}),
        ({"status": "OPEN"}, {}),
        ({"status": "AWAITED", "size": 0, "checksum": "a"}, {"checksum": "b"}),
        ({"status": "AWAITED", "size": None}, {"size": None}),
    ],
)
def test_what_counts_as_equal(site: Site, iconik: Iconik, copy: Row, master: Row) -> None:
    """Name, type and size decide, and checksums of one kind; stored names and folders do not."""
    asset_id, _ = site.asset([WAV, CLIP | copy], [WAV, CLIP | master])
    assert remove(iconik, asset_id)[0].removed == 1


def test_folders_are_not_compared(site: Site, iconik: Iconik) -> None:
    """Folders differ from storage to storage, whatever their state."""
    folder = {"original_name": "day1", "type": "DIRECTORY", "size": None, "status": "OPEN"}
    in_copy, _ = site.asset([folder, CLIP], [CLIP])
    in_master, _ = site.asset([CLIP], [folder, CLIP])
    assert [removal.removed for removal in remove(iconik, in_copy, in_master)] == [1, 1]


@pytest.mark.parametrize(
    ("copy", "master"),
    [
        ([None, "a", "b"], [None, "b", "c"]),
        (["a", "b"], [None, "a"]),
        (["a", "b"], ["a", None]),
    ],
)
def test_files_of_one_name_find_their_masters(
    site: Site, iconik: Iconik, copy: list[str | None], master: list[str | None]
) -> None:
    """Files of one name are matched so that each has a master of its own, if that is possible."""
    sets = (
        [
            CLIP | {"checksum": checksum, "directory_path": str(number)}
            for number, checksum in enumerate(checksums)
        ]
        for checksums in (copy, master)
    )
    asset_id, _ = site.asset(*sets)
    assert remove(iconik, asset_id)[0].removed == 1


def test_finished_files_choose_their_masters_first(site: Site, iconik: Iconik) -> None:
    """A finished file has fewer possible masters than one that is still being written."""
    half: Row = {"directory_path": "half", "status": "OPEN", "size": 500}
    longer: Row = {"directory_path": "longer", "size": 2000}
    asset_id, _ = site.asset([CLIP | half, CLIP], [CLIP, CLIP | longer])
    assert remove(iconik, asset_id)[0].removed == 1


def test_unsaid_states_of_records_are_no_contradiction(site: Site, iconik: Iconik) -> None:
    """Rows need not repeat what iconik's own records say."""
    site.world.quirks.unsaid = {"file_set_status": None, "format_status": None, "version_id": None}
    asset_id, _ = site.asset()
    site.world.formats_of(asset_id)[0]["status"] = None
    assert remove(iconik, asset_id)[0].removed == 1


def test_more_rows_than_iconik_counts_are_no_reason(site: Site, iconik: Iconik) -> None:
    """How iconik counts is not documented."""
    asset_id, copy = site.asset([CLIP, WAV], file_count=1)
    site.world.file_sets[copy]["file_count"] = 0
    assert remove(iconik, asset_id)[0].removed == 1


@pytest.mark.parametrize("changes", [{"type": "MANY_FILES"}, {"file_count": None}])
@pytest.mark.parametrize("storage", ["b2", "lucidlink"])
def test_file_sets_of_either_kind_may_go(
    site: Site, iconik: Iconik, storage: str, changes: Row
) -> None:
    """A set of many files needs a total, which iconik need not send for a regular one."""
    asset_id, _ = site.asset()
    (row,) = site.world.file_sets_of(asset_id, getattr(site, storage))
    row.update(changes)
    assert remove(iconik, asset_id)[0].removed == 1


# What stays


@pytest.mark.parametrize(
    ("copy", "master", "reason"),
    [
        ([CLIP], [CLIP | {"size": 999}], SMALLER),
        (
            [CLIP | {"size": 999}],
            [CLIP],
            "clip.mov differs from its master in size: 999 and 1,000 bytes",
        ),
        ([CLIP], [CLIP | {"size": None}], "iconik does not know the size of its master clip.mov"),
        ([CLIP], [CLIP | {"size": 0}], "iconik does not know the size of its master clip.mov"),
        (
            [CLIP | {"size": 0}],
            [CLIP | {"size": 0}],
            "iconik does not know the size of its master clip.mov",
        ),
        ([CLIP | {"size": -1}], [CLIP], "iconik does not know the size of clip.mov"),
        ([CLIP, WAV], [CLIP], "its master has no clip.wav"),
        ([CLIP, WAV], [CLIP, WAV | {"type": "SYMLINK"}], "its master has no clip.wav"),
        ([CLIP | {"checksum": "a"}], [CLIP | {"checksum": "b"}], CHANGED),
        (
            [CLIP | {"status": "GROWING", "size": 9_000_000}],
            [CLIP],
            "clip.mov is GROWING and larger than its master: 9,000,000 and 1,000 bytes",
        ),
        (
            [CLIP | {"status": "AWAITED", "size": 1001}],
            [CLIP],
            "clip.mov is AWAITED and larger than its master: 1,001 and 1,000 bytes",
        ),
        (
            [CLIP | {"status": "OPEN", "size": 1, "checksum": "a"}],
            [CLIP | {"checksum": "b"}],
            CHANGED,
        ),
        (
            [CLIP | {"status": "OPEN", "size": None}],
            [CLIP],
            "iconik does not know the size of clip.mov",
        ),
        ([CLIP | {"status": "AWAITED"}], [WAV], "its master has no clip.mov"),
        ([CLIP | {"type": "DIRECTORY"}], [CLIP], "iconik lists no files"),
        ([CLIP], [CLIP | {"type": "DIRECTORY"}], "iconik lists no files for its master"),
        ([CLIP], [], "iconik lists no files for its master"),
        *(
            ([CLIP | {"status": status}], [CLIP | {"size": 999}], SMALLER)
            for status in ("FAILED", "ARCHIVED", "MISSING", "REDISCOVERED", "DELETED", None)
        ),
        *(
            ([CLIP], [CLIP, WAV | {"status": status}], f"its master clip.wav is {status}")
            for status in ("OPEN", "GROWING", "AWAITED", "FAILED", "ARCHIVED", "MISSING", "DELETED")
        ),
        ([CLIP], [CLIP | {"status": None}], "its master clip.mov is without a status"),
        (
            [CLIP],
            [CLIP, WAV | {"type": "SYMLINK", "status": "OPEN"}],
            "its master clip.wav is OPEN",
        ),
    ],
)
def test_what_keeps_the_copy(
    site: Site, iconik: Iconik, copy: list[Row], master: list[Row], reason: str
) -> None:
    """In whatever way a master falls short, the copy stays, and the reason names what differs."""
    asset_id, file_set_id = site.asset(copy, master)
    (removal,) = remove(iconik, asset_id)
    assert removal == Removal(asset_id, kept=[f"ORIGINAL: {reason}"])
    assert site.world.file_sets[file_set_id]["status"] == "ACTIVE"


def test_one_file_is_the_master_of_one(site: Site, iconik: Iconik) -> None:
    """Two files of one name need two masters."""
    twice = [CLIP | {"directory_path": folder} for folder in ("day1", "day2")]
    asset_id, _ = site.asset(twice, [CLIP])
    assert remove(iconik, asset_id)[0].kept == ["ORIGINAL: its master has no clip.mov"]


def test_each_master_s_flaw_is_named(site: Site, iconik: Iconik) -> None:
    """Where several copies could be the master, the reason names the flaw of each."""
    second = site.world.add_storage("Second B2", "B2")
    asset_id, _ = site.asset([CLIP], [CLIP | {"status": "OPEN"}])
    site.world.add_file_set(asset_id, second, [])
    assert remove(iconik, asset_id, settings=ANY_B2)[0].kept == [
        "ORIGINAL: its master clip.mov is OPEN; iconik lists no files for its master"
    ]


@pytest.mark.undocumented
@pytest.mark.parametrize("status", ["ARCHIVED", "DELETED", "PENDING", None])
def test_a_master_that_is_not_active_is_none(
    site: Site, iconik: Iconik, status: str | None
) -> None:
    """Iconik's own record decides, whatever the rows of the files say."""
    asset_id, _ = site.asset([CLIP], [CLIP | {"file_set_status": "ACTIVE"}], status=status)
    (reason,) = remove(iconik, asset_id)[0].kept
    assert reason == f"ORIGINAL: iconik's record of its master is {status or 'without a status'}"
    assert site.copies() == 1


@pytest.mark.undocumented
@pytest.mark.parametrize("status", ["PENDING", None])
def test_a_state_that_is_not_known_keeps_the_copy(
    site: Site, iconik: Iconik, status: str | None
) -> None:
    """A file set in a state of which nothing is known stays."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy]["status"] = status
    (reason,) = remove(iconik, asset_id)[0].kept
    assert reason == f"ORIGINAL: iconik's record of it is {status or 'without a status'}"
    assert copy in site.world.file_sets


@pytest.mark.parametrize("storage", ["b2", "lucidlink"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file_set_status": "DELETED"}, "disagree on the state (ACTIVE, DELETED)"),
        ({"format_status": "DELETED"}, "DELETED"),
        ({"version_id": World.app_id}, "of another version"),
        ({"format_id": World.app_id}, "disagree on the format"),
        ({"storage_id": World.app_id}, "disagree on the storage"),
    ],
)
def test_rows_that_contradict_the_record_keep_the_copy(
    site: Site, iconik: Iconik, storage: str, change: Row, reason: str
) -> None:
    """Where iconik's rows and its own record of either file set differ, nothing is deleted."""
    odd = [CLIP, WAV | change]
    asset_id, _ = site.asset(
        odd if storage == "lucidlink" else [CLIP, WAV], [CLIP, WAV] if storage != "b2" else odd
    )
    assert reason in remove(iconik, asset_id)[0].kept[0]
    assert len(site.world.files) == 4


def test_rows_of_a_master_whose_format_is_deleted_keep_the_copy(site: Site, iconik: Iconik) -> None:
    """The reason names the state of the format in iconik's record and in the rows."""
    asset_id, _ = site.asset([CLIP], [CLIP | {"format_status": "DELETED"}])
    assert remove(iconik, asset_id)[0].kept == [
        "ORIGINAL: iconik's record and files disagree on the state of the format "
        "(ACTIVE, DELETED) for its master"
    ]
    assert site.copies() == 1


@pytest.mark.parametrize("storage", ["b2", "lucidlink"])
def test_records_of_other_versions_keep_the_copy(site: Site, iconik: Iconik, storage: str) -> None:
    """A master of another version is no master."""
    asset_id, _ = site.asset()
    (row,) = site.world.file_sets_of(asset_id, getattr(site, storage))
    one, other = sorted((row["version_id"], World.app_id))
    row["version_id"] = World.app_id
    site.world.quirks.unsaid = {"version_id": None}
    (reason,) = remove(iconik, asset_id)[0].kept
    assert reason == f"ORIGINAL: its master is of another version: {one} and {other}"
    assert site.copies() == 1


def test_a_format_of_another_version_keeps_the_copy(site: Site, iconik: Iconik) -> None:
    """The record of the format names a version, too."""
    asset_id, _ = site.asset()
    (row,) = site.world.formats_of(asset_id)
    one, other = sorted((row["version_id"], World.app_id))
    row["version_id"] = World.app_id
    assert remove(iconik, asset_id)[0].kept == [
        f"ORIGINAL: its master is of another version: {one} and {other}"
    ]
    assert site.copies() == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"file_count": 24}, "iconik lists 1 of 24 files"),
        ({"file_count": None, "type": "MANY_FILES"}, "iconik lists 1 files but no total"),
    ],
)
@pytest.mark.parametrize("storage", ["b2", "lucidlink"])
def test_fewer_rows_than_files_keep_the_copy(
    site: Site, iconik: Iconik, storage: str, changes: Row, reason: str
) -> None:
    """A set that is not listed whole is neither a master nor deleted."""
    asset_id, _ = site.asset()
    (row,) = site.world.file_sets_of(asset_id, getattr(site, storage))
    row.update(changes)
    assert reason in remove(iconik, asset_id)[0].kept[0]
    assert site.copies() == 1


def test_a_file_set_without_rows_is_reported(site: Site, iconik: Iconik) -> None:
    """A set that lists no files holds nobody knows what."""
    asset_id, copy = site.asset([], [CLIP])
    assert remove(iconik, asset_id)[0].kept == ["ORIGINAL: iconik lists no files"]
    assert copy in site.world.file_sets


def test_copies_elsewhere_are_no_masters(site: Site, iconik: Iconik) -> None:
    """Neither a copy on another disk, nor one beside it, nor one of another format counts."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    for storage_id in (site.lucidlink, site.other):
        site.world.add_file_set(asset_id, storage_id, [CLIP])
    site.world.add_file_set(asset_id, site.lucidlink, [WAV])
    site.world.add_file_set(asset_id, site.b2, [CLIP], "OTHER")
    for settings in (SETTINGS, ANY_B2):
        (removal,) = remove(iconik, asset_id, settings=settings)
        assert removal.kept == ["ORIGINAL: it has no master"] * 2
    assert site.copies() == 2


def test_a_format_in_the_recycle_bin_is_left_alone(site: Site, iconik: Iconik) -> None:
    """Masters of a format in the recycle bin may not last, so its copy stays."""
    asset_id, _ = site.asset()
    site.world.formats_of(asset_id)[0]["status"] = "DELETED"
    assert remove(iconik, asset_id)[0].kept == ["ORIGINAL: the format is DELETED"]
    assert site.copies() == 1


@pytest.mark.parametrize(
    ("copy", "master", "where"),
    [({"format_status": "DELETED"}, {}, ""), ({}, {"format_status": "DELETED"}, " for its master")],
)
def test_a_format_that_only_rows_call_deleted_is_left_alone(
    site: Site, iconik: Iconik, copy: Row, master: Row, where: str
) -> None:
    """If iconik's record of the format has no status, the rows of the files decide."""
    asset_id, _ = site.asset([CLIP | copy], [CLIP | master])
    site.world.formats_of(asset_id)[0]["status"] = None
    assert remove(iconik, asset_id)[0].kept == [f"ORIGINAL: the format is DELETED{where}"]
    assert site.copies() == 1


def test_file_sets_that_share_a_file_stay(site: Site, iconik: Iconik) -> None:
    """Deleting one of two sets with the same folder and file name takes the other's file."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PROXY"])
    for name in ("ORIGINAL", "PROXY"):
        site.world.add_file_set(asset_id, site.b2, [CLIP], name)
        site.world.add_file_set(asset_id, site.lucidlink, [CLIP | {"directory_path": "a"}], name)
    assert remove(iconik, asset_id)[0].kept == [SHARED]
    assert site.copies() == 2
    for row in site.world.files.values():
        if row["storage_id"] == site.lucidlink:
            row["directory_path"] = row["file_set_id"]
    assert remove(iconik, asset_id)[0].removed == 1


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ({"directory_path": "/day1/"}, {"directory_path": "day1"}, True),
        ({"directory_path": "Übung"}, {"directory_path": NFD}, True),
        ({"name": "Übung"}, {"name": NFD}, True),
        ({"directory_path": "X"}, {"directory_path": "XX"}, False),
        ({"directory_path": "a "}, {"directory_path": "a"}, False),
        ({"name": "1.mov"}, {"name": "2.mov"}, False),
        ({"original_name": "1.mov"}, {"original_name": "2.mov"}, True),
    ],
)
def test_the_path_on_the_storage_decides_whether_a_file_is_shared(
    site: Site, iconik: Iconik, one: Row, other: Row, is_shared: bool
) -> None:
    """Two spellings of a path are one file; two files of one original name are not."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PROXY"])
    file = CLIP | {"name": "clip.mov"}
    for name, changes in (("ORIGINAL", one), ("PROXY", other)):
        site.world.add_file_set(asset_id, site.b2, [file | changes], name)
        site.world.add_file_set(asset_id, site.lucidlink, [file | changes], name)
    assert remove(iconik, asset_id)[0].removed == (0 if is_shared else 1)
    assert site.copies() == (2 if is_shared else 1)


@pytest.mark.undocumented
@pytest.mark.parametrize("status", ["ACTIVE", "ARCHIVED", "PENDING", None])
def test_a_shared_file_stays_unless_the_other_file_set_is_in_the_bin(
    site: Site, iconik: Iconik, status: str | None
) -> None:
    """A file set of another format keeps its file, whatever state it is in."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    for storage_id in (site.b2, site.lucidlink):
        copy = site.world.add_file_set(asset_id, storage_id, [CLIP])
    site.world.add_file_set(asset_id, site.lucidlink, [CLIP], "OTHER", status=status)
    assert remove(iconik, asset_id)[0].kept == [SHARED]
    assert copy in site.world.file_sets


# The recycle bin


@pytest.mark.parametrize("master", [[CLIP], [CLIP | {"size": 999}]])
def test_the_recycle_bin_is_purged_under_the_same_rule(
    site: Site, iconik: Iconik, master: list[Row]
) -> None:
    """What a purge that failed has left in the bin is purged by a repeat, if it has a master."""
    asset_id, copy = site.asset([CLIP], master)
    site.world.file_sets[copy]["status"] = "DELETED"
    site.world.quirks.failures = 99  # Only a purge works.
    (removal,) = remove(iconik, asset_id)
    assert (removal.removed == 1) == (copy not in site.world.file_sets) == (master == [CLIP])


def test_rows_of_a_file_set_in_the_bin_may_be_out_of_date(site: Site, iconik: Iconik) -> None:
    """Its rows may still name its state before the deletion, which is no contradiction."""
    asset_id, copy = site.asset([CLIP | {"file_set_status": "ACTIVE"}], [CLIP])
    site.world.file_sets[copy]["status"] = "DELETED"
    assert remove(iconik, asset_id)[0].removed == 1
    assert copy not in site.world.file_sets


def test_what_is_in_the_bin_does_not_protect_a_file(site: Site, iconik: Iconik) -> None:
    """An active set goes beside one in the bin, whose purge would take the active one's file."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy]["status"] = "DELETED"
    active = site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    (removal,) = remove(iconik, asset_id)
    assert removal.kept == [SHARED]
    assert removal.removed == 1
    assert active not in site.world.file_sets
    assert remove(iconik, asset_id)[0].removed == 1


def test_with_the_recycle_bin_nothing_is_purged(site: Site, iconik: Iconik, rest: Rest) -> None:
    """What is in the bin counts as removed, can be restored, and costs a repeat one call."""
    asset_id, copy = site.asset()
    assert remove(iconik, asset_id, settings=BIN) == [Removal(asset_id, removed=1)]
    assert site.world.file_sets[copy]["status"] == "DELETED"
    before = rest.calls
    assert remove(iconik, asset_id, settings=BIN) == [Removal(asset_id)]
    assert (site.world.file_sets[copy]["status"], rest.calls - before) == ("DELETED", 2)


@pytest.mark.parametrize("settings", [SETTINGS, BIN])
def test_archived_file_sets_are_left_alone(site: Site, iconik: Iconik, settings: Settings) -> None:
    """What is in the archive is not on the storage."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy]["status"] = "ARCHIVED"
    assert remove(iconik, asset_id, settings=settings) == [Removal(asset_id)]
    assert copy in site.world.file_sets


# What a deletion is answered with


def test_a_system_that_only_marks_is_asked_to_purge(site: Site, iconik: Iconik) -> None:
    """A system that does not know `immediately` is asked to purge."""
    site.world.quirks.knows_immediately = False
    asset_id, copy = site.asset()
    assert remove(iconik, asset_id)[0].removed == 1
    assert copy not in site.world.file_sets


@pytest.mark.undocumented
@pytest.mark.parametrize("status", [202, 404])
@pytest.mark.parametrize("works", [True, False])
def test_an_uncertain_answer_is_resolved_by_looking(
    site: Site, iconik: Iconik, status: int, works: bool
) -> None:
    """After 202 or 404 iconik's records decide; what is still listed is reported."""
    site.world.quirks.deletion_status, site.world.quirks.deletions_work = status, works
    asset_id, copy = site.asset()
    (removal,) = remove(iconik, asset_id)
    assert (removal.removed == 1) == (copy not in site.world.file_sets) == works
    reasons = [] if works else ["ORIGINAL: iconik was asked to delete it, but still lists it"]
    assert removal.kept == reasons


@pytest.mark.undocumented
@pytest.mark.parametrize("status", [202, 404])
@pytest.mark.parametrize("works", [True, False])
def test_an_uncertain_answer_with_the_recycle_bin(
    site: Site, iconik: Iconik, status: int, works: bool
) -> None:
    """Only a file set that iconik lists in the recycle bin counts as removed."""
    site.world.quirks.deletion_status, site.world.quirks.deletions_work = status, works
    asset_id, copy = site.asset()
    (removal,) = remove(iconik, asset_id, settings=BIN)
    assert site.world.file_sets[copy]["status"] == ("DELETED" if works else "ACTIVE")
    reasons = [] if works else ["ORIGINAL: iconik was asked to delete it, but still lists it"]
    assert removal == Removal(asset_id, removed=int(works), kept=reasons)


# Fresh


class Slow:
    """An iconik on which time passes as a test wants it, and things happen between two calls."""

    def __init__(self, site: Site, url: str, time: Time) -> None:
        self.time = time
        self.seconds = 0.0
        self.calls: list[str] = []
        self.events: dict[int, object] = {}
        pace, deadline = Pace(time, time.sleep), Deadline(600, time)
        self.iconik = Iconik(new_rest(url, site.world, pace=pace, deadline=deadline))
        site.world.quirks.on_call = self._on_call

    def _on_call(self, method: str, path: str) -> None:
        self.calls.append(method if method == "DELETE" else path.rstrip("/").rpartition("/")[2])
        self.time.now += self.seconds
        if event := self.events.get(len(self.calls)):
            event()  # type: ignore[operator]


@pytest.fixture
def slow(site: Site, iconik_url: str, time: Time) -> Slow:
    """Return an iconik whose time passes by hand."""
    return Slow(site, iconik_url, time)


def test_a_refused_deletion_is_followed_by_a_look(site: Site, slow: Slow) -> None:
    """A master that is purged while a deletion is refused keeps its copy."""
    asset_id, copy = site.asset()
    (master,) = (row["id"] for row in site.world.file_sets_of(asset_id, site.b2))

    def refuse_and_purge() -> None:
        site.world.purge(master)
        site.world.quirks.refusals = 1

    slow.events[5] = refuse_and_purge
    (removal,) = remove(slow.iconik, asset_id)
    assert slow.calls[4:6] == ["DELETE", "file_sets"]
    assert removal.kept == ["ORIGINAL: it has no master"]
    assert copy in site.world.file_sets


def test_slow_deletions_do_not_outlast_their_evidence(site: Site, slow: Slow) -> None:
    """Of six slow deletions none is sent on evidence of more than 5 s."""
    asset_id = site.world.add_asset("Clip", [str(number) for number in range(6)])
    for number in range(6):
        for storage_id in (site.b2, site.lucidlink):
            files = [{"original_name": f"{number}.mov"}]
            site.world.add_file_set(asset_id, storage_id, files, str(number))

    def slow_down() -> None:
        slow.seconds = 2.4

    def purge_masters() -> None:
        for row in site.world.file_sets_of(asset_id, site.b2):
            site.world.purge(row["id"])

    slow.events[5], slow.events[9] = slow_down, purge_masters
    settings = SETTINGS._replace(format_names=tuple(str(number) for number in range(6)))
    (removal,) = remove(slow.iconik, asset_id, settings=settings)
    assert slow.calls[4:9] == ["DELETE", "DELETE", "DELETE", "DELETE", "file_sets"]
    assert (removal.removed, site.copies()) == (4, 2)


def test_a_file_that_joins_the_copy_is_seen(site: Site, slow: Slow) -> None:
    """What is added while the evidence grows old keeps the copy."""
    asset_id, copy = site.asset()
    (row,) = site.world.files_in(copy)

    def add_file() -> None:
        site.world.files["new"] = row | {"id": World.app_id, "original_name": "new.mov"}
        slow.time.now += 5

    slow.events[4] = add_file
    (removal,) = remove(slow.iconik, asset_id)
    assert removal.kept == ["ORIGINAL: its master has no new.mov"]
    assert copy in site.world.file_sets


def test_a_record_protects_a_shared_file_whatever_its_row_says(site: Site, iconik: Iconik) -> None:
    """A row that names another storage does not hide a file that is on this one by its record."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PROXY"])
    for name in ("ORIGINAL", "PROXY"):
        site.world.add_file_set(asset_id, site.b2, [CLIP], name)
        rows = [CLIP | ({"storage_id": site.other} if name == "PROXY" else {})]
        site.world.add_file_set(asset_id, site.lucidlink, rows, name)
    assert remove(iconik, asset_id)[0].kept == [SHARED]


def test_a_file_set_that_joins_during_a_look_keeps_its_file(site: Site, slow: Slow) -> None:
    """Its rows are listed, although its record was not yet."""
    asset_id, copy = site.asset()
    slow.events[3] = lambda: site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    assert remove(slow.iconik, asset_id)[0].kept == [SHARED]
    assert copy in site.world.file_sets


def test_a_slow_deletion_is_not_completed_on_stale_evidence(site: Site, slow: Slow) -> None:
    """A purge needs fresh evidence, too: the master is gone, so the recycle bin keeps the copy."""
    site.world.quirks.knows_immediately = False
    asset_id, copy = site.asset()
    (master,) = (row["id"] for row in site.world.file_sets_of(asset_id, site.b2))

    def purge_master() -> None:
        site.world.purge(master)
        slow.time.now += FRESH

    slow.events[5] = purge_master
    (removal,) = remove(slow.iconik, asset_id)
    assert removal == Removal(asset_id, kept=["ORIGINAL: it has no master"])
    assert site.world.file_sets[copy]["status"] == "DELETED"


@pytest.mark.parametrize(
    "pauses",
    [
        {1: 2.4, 6: 3.0},  # The list is older than the look.
        {4: 6.0, 6: 2.0, 9: 3.5},  # The list is older than the confirmation.
    ],
)
def test_a_list_of_storages_grows_old_like_other_evidence(
    site: Site, slow: Slow, pauses: dict[int, float]
) -> None:
    """Of two deletions, the second is not sent if the list is more than 5 s old by then."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PROXY"])
    for name in ("ORIGINAL", "PROXY"):
        files = [{"original_name": f"{name}{number}"} for number in range(26)]
        for storage_id in (site.b2, site.lucidlink):
            site.world.add_file_set(asset_id, storage_id, files, name)

    def pause() -> None:
        slow.time.now += pauses[len(slow.calls)]
        if slow.calls[-1] == "DELETE":
            site.world.storages[site.b2]["status"] = "FAILING"

    slow.events.update(dict.fromkeys(pauses, pause))
    settings = SETTINGS._replace(format_names=("ORIGINAL", "PROXY"))
    (removal,) = remove(slow.iconik, asset_id, settings=settings)
    assert (removal.removed, site.copies()) == (1, 26)
    assert "no storage for masters is ACTIVE" in str(removal.error)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("master", "iconik's record of its master is DELETED"),
        ("format", "the format is DELETED"),
        ("storage", "no storage for masters is ACTIVE"),
        ("files", "its master has no clip.wav"),
    ],
)
def test_a_change_before_the_confirmation_keeps_the_copy(
    site: Site, slow: Slow, changed: str, reason: str
) -> None:
    """Rows that took long to read are not relied on if any record has changed since."""
    asset_id, copy = site.asset([{"original_name": f"{number}.dpx"} for number in range(51)])
    (master,) = site.world.file_sets_of(asset_id, site.b2)
    (format,) = site.world.formats_of(asset_id)
    file, *_ = site.world.files_in(copy)

    def change() -> None:
        if changed == "master":
            site.world.delete(master["id"])
        elif changed == "format":
            format["status"] = "DELETED"
        elif changed == "storage":
            site.world.storages[site.b2]["status"] = "FAILING"
        else:
            site.world.files["new"] = file | WAV | {"id": World.app_id}

    def pause() -> None:
        slow.time.now += FRESH

    slow.events.update({4: pause, 6: pause, 7: change})
    assert reason in remove(slow.iconik, asset_id)[0].reason
    assert copy in site.world.file_sets


def test_a_lost_answer_is_resolved_by_looking(site: Site, slow: Slow) -> None:
    """A deletion whose answer is lost is not repeated: the records say that it is done."""
    asset_id, _ = site.asset()
    slow.events[5] = lambda: setattr(site.world.quirks, "lost", 1)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert slow.calls.count("DELETE") == 1
    assert slow.calls[-1] == "file_sets"


def test_a_file_set_left_in_the_recycle_bin_is_purged_and_counted_once(
    site: Site, slow: Slow
) -> None:
    """A deletion that only reached the recycle bin, and whose answer is lost, is completed."""
    site.world.quirks.knows_immediately = False
    asset_id, copy = site.asset()
    slow.events[5] = lambda: setattr(site.world.quirks, "lost", 1)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert copy not in site.world.file_sets


def test_a_deletion_that_succeeds_ends_a_row_of_failures(site: Site, slow: Slow) -> None:
    """Five failures with a deletion between them are not five in a row."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PROXY"])
    for name in ("ORIGINAL", "PROXY"):
        for storage_id in (site.b2, site.lucidlink):
            site.world.add_file_set(asset_id, storage_id, [{"original_name": name}], name)
    settings = SETTINGS._replace(format_names=("ORIGINAL", "PROXY"))
    slow.events[5] = lambda: setattr(site.world.quirks, "failures", 1)
    slow.events[10] = lambda: setattr(site.world.quirks, "failures", 4)
    assert remove(slow.iconik, asset_id, settings=settings) == [Removal(asset_id, removed=2)]
    assert slow.calls.count("DELETE") == 1 + 1 + 4 + 1


def test_a_deletion_that_fails_for_good_is_given_up(site: Site, slow: Slow) -> None:
    """Five looks and five deletions that fail are an error, and the copy is still there."""
    asset_id, _ = site.asset()
    site.world.quirks.failures = 99
    (removal,) = remove(slow.iconik, asset_id)
    assert isinstance(removal.error, IconikUnavailable)
    assert (slow.calls.count("DELETE"), slow.calls.count("files"), site.copies()) == (5, 5, 1)


def test_long_lists_are_confirmed_by_the_records(site: Site, slow: Slow) -> None:
    """What takes longer to read than evidence stays fresh goes on unchanged records."""
    frames: list[Row] = [{"original_name": f"{number:04}.dpx"} for number in range(300)]
    asset_id, _ = site.asset(frames)
    slow.seconds = 1.0
    assert remove(slow.iconik, asset_id)[0].removed == 1
    assert slow.calls.count("files") == 6
    assert slow.calls[-4:] == ["file_sets", "formats", "storages", "DELETE"]


@pytest.mark.parametrize(
    ("judging", "again"),
    [(0.0, ["file_sets", "formats"]), (6.0, ["file_sets", "formats", "storages"])],
)
def test_evidence_that_is_stale_as_soon_as_it_is_read_is_confirmed(
    site: Site, slow: Slow, monkeypatch: pytest.MonkeyPatch, judging: float, again: list[str]
) -> None:
    """One look and one judgement suffice, even if judging takes longer than evidence is fresh."""
    judge = rule.judge

    def judge_slowly(evidence: Evidence) -> Iterator[tuple[FileSet, str | None]]:
        slow.time.now += judging
        return judge(evidence)

    monkeypatch.setattr(rule, "judge", judge_slowly)
    asset_id, _ = site.asset([{"original_name": f"{number:04}.dpx"} for number in range(51)])
    slow.events[4] = lambda: slow.time.sleep(FRESH)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    look = ["file_sets", "formats", "files", "files", "storages"]
    assert slow.calls[1:] == [*look, *again, "DELETE"]


def test_one_page_of_rows_is_read_again(site: Site, slow: Slow) -> None:
    """Stale rows that come in one page are not confirmed: another look renews them."""
    asset_id, _ = site.asset([{"original_name": f"{number:04}.dpx"} for number in range(50)])
    slow.events[4] = lambda: slow.time.sleep(FRESH)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert slow.calls.count("files") == 2


def test_many_rows_are_read_again_after_a_refusal(site: Site, slow: Slow) -> None:
    """Only evidence that became stale by itself is confirmed; a refused deletion needs a look."""
    asset_id, _ = site.asset([{"original_name": f"{number:04}.dpx"} for number in range(51)])
    slow.events[6] = lambda: setattr(site.world.quirks, "refusals", 1)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert (slow.calls.count("DELETE"), slow.calls.count("files")) == (2, 4)


def test_long_lists_whose_records_change_are_read_again(site: Site, slow: Slow) -> None:
    """A record that differs from the one before the list is no confirmation."""
    frames: list[Row] = [{"original_name": f"{number:04}.dpx"} for number in range(300)]
    asset_id, copy = site.asset(frames)
    (master,) = (row["id"] for row in site.world.file_sets_of(asset_id, site.b2))
    slow.seconds = 1.0
    slow.events[9] = lambda: site.world.delete(master)
    (removal,) = remove(slow.iconik, asset_id)
    assert removal.kept == ["ORIGINAL: iconik's record of its master is DELETED"]
    assert copy in site.world.file_sets


def test_an_iconik_that_is_too_slow_is_told(site: Site, slow: Slow) -> None:
    """Where even one answer takes longer than evidence stays fresh nothing is deleted."""
    asset_id, copy = site.asset()
    slow.seconds = 6.0
    (removal,) = remove(slow.iconik, asset_id)
    assert isinstance(removal.error, IconikTimeout)
    assert "too slow for a safe DELETE" in str(removal.error)
    assert copy in site.world.file_sets


def test_an_asset_that_takes_longer_than_the_request_is_told(site: Site, slow: Slow) -> None:
    """Where the time of a request cannot suffice, the number of files and the remedy are named."""
    frames: list[Row] = [{"original_name": f"{number:05}.dpx"} for number in range(2_000)]
    asset_id, copy = site.asset(frames)
    site.world.add_file_set(asset_id, site.other, [], file_count=None)
    slow.seconds = 20.0
    (removal,) = remove(slow.iconik, asset_id)
    assert isinstance(removal.error, TooManyFiles)
    assert str(removal.error) == (
        "Comparing 4,000 files takes longer than the function's time limit: use a queue."
    )
    assert copy in site.world.file_sets


@pytest.mark.parametrize(("late", "error"), [(220, TooManyFiles), (240, OutOfTime)])
def test_an_asset_that_begins_late_is_not_too_large(
    site: Site, slow: Slow, late: int, error: type[PluginError]
) -> None:
    """An asset that had less than half of the time is not blamed for the end of it."""
    frames: list[Row] = [{"original_name": f"{number:05}.dpx"} for number in range(2_000)]
    asset_id, copy = site.asset(frames)
    slow.seconds, slow.time.now = 20.0, slow.time.now + late
    (removal,) = remove(slow.iconik, asset_id)
    assert isinstance(removal.error, error)
    assert copy in site.world.file_sets


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("B2", {"status": "FAILING"}, "no storage for masters is ACTIVE (B2 is FAILING)"),
        ("B2", {"method": "FILE", "settings": {"mount_point": "/mnt/LucidLink"}}, "masters of B2"),
        ("LucidLink", {"method": "S3"}, "it is of type S3"),
        ("LucidLink", None, "iconik no longer lists it"),
    ],
)
def test_a_storage_that_changes_meanwhile(
    site: Site, slow: Slow, name: str, change: Row | None, message: str
) -> None:
    """The storages are listed, and checked, again before that list is too old to delete on."""
    assets = [site.asset()[0] for _ in range(2)]
    storages = site.world.storages
    (storage_id,) = (id for id, row in storages.items() if row["name"] == name)

    def happen() -> None:
        if change is None:
            del storages[storage_id]
        else:
            storages[storage_id].update(change)

    slow.events[5] = happen
    slow.seconds = 1.0
    removals = remove(slow.iconik, *assets)
    assert sum(removal.removed for removal in removals) < 2
    assert message in str([removal.error for removal in removals])
    assert site.copies() >= 1


def test_an_asset_without_copies_costs_one_call(site: Site, slow: Slow) -> None:
    """Nothing is to be judged, so the list of storages is not read after the records."""
    asset_id = site.master()
    slow.seconds = 3.0
    assert remove(slow.iconik, asset_id) == [Removal(asset_id)]
    assert slow.calls == ["storages", "storages", "file_sets"]
