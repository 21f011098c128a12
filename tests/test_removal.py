"""One asset: what is deleted, what stays and why, and how old the evidence may be."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin.removal import rule
from storage_plugin.errors import (
    IconikTimeout,
    IconikUnavailable,
    OutOfTime,
    PluginError,
    TooManyFiles,
)
from storage_plugin.removal.evidence import FRESH, Evidence
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.rows import FileSet
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.removal.report import Removal
from storage_plugin.iconik.rest import Rest
from storage_plugin.settings import Settings
from tests.conftest import Time, new_rest
from tests.test_transfers import SETTINGS, remove

WAV: Row = {"original_name": "clip.wav"}
SEVERAL = SETTINGS._replace(format_names=("ORIGINAL", "PROXY"))
ANY_B2 = SETTINGS._replace(master_storage_name=None)
BIN = SETTINGS._replace(use_recycle_bin=True)

STRANGE = World.app_id
"""An id of something else."""

NFD = unicodedata.normalize("NFD", "Übung")
"""A name as macOS writes it."""

UNSAID = {"file_set_status": None, "format_status": None, "version_id": None}
UNCOUNTED = {"file_count": None, "type": "MANY_FILES"}
WHERE = {"copy": "", "master": " for its master"}
"""The file sets that must not contradict themselves, and how a reason names them."""

SMALLER = "clip.mov differs from its master in size: 1,000 and 999 bytes"
CHANGED = "clip.mov and its master have different checksums"
SIZELESS = "iconik does not know the size of its master clip.mov"
NO_MASTER = "ORIGINAL: it has no master"
SHARED = "ORIGINAL: clip.mov also belongs to another file set on the storage"
STILL_LISTED = "ORIGINAL: iconik was asked to delete it, but still lists it"
OTHER_VERSION = "its master is of another version: "


def clip(**changes: object) -> Row:
    """Return a file that differs from the usual one."""
    return CLIP | changes


def frames(number: int) -> list[Row]:
    """Return the files of an image sequence."""
    return [{"original_name": f"{frame:04}.dpx"} for frame in range(number)]


def several(site: Site, *formats: str, files: int = 1) -> str:
    """Add an asset with files of each format on both storages, and return its id."""
    asset_id = site.world.add_asset("Clip", formats)
    for name in formats:
        rows = [{"original_name": f"{name}{number or ''}"} for number in range(files)]
        for storage_id in (site.b2, site.lucidlink):
            site.world.add_file_set(asset_id, storage_id, rows, name)
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


def kept(iconik: Iconik, asset_id: str, settings: Settings = SETTINGS) -> list[str]:
    """Remove an asset, and return why file sets stay."""
    return remove(iconik, asset_id, settings=settings)[0].kept


# What goes


def test_the_copy_alone_goes(site: Site, iconik: Iconik, rest: Rest) -> None:
    """It costs four calls and one for the storages; a repeat, which is harmless, costs two."""
    asset_id, _ = site.asset()
    site.world.add_file_set(asset_id, site.other, [CLIP])
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert (site.copies(), site.masters(), rest.calls) == (0, 1, 1 + 4)
    assert site.world.names_on(site.other) == ["clip.mov"]
    assert remove(iconik, asset_id) == [Removal(asset_id)]
    assert rest.calls == 1 + 4 + 1 + 1


def test_files_of_all_pages_are_compared(site: Site, iconik: Iconik) -> None:
    """An image sequence of many pages goes, and stays if one frame on the last page differs."""
    complete, _ = site.asset(frames(250))
    broken, _ = site.asset(frames(250), [*frames(249), frames(250)[-1] | {"size": 999}])
    assert [removal.removed for removal in remove(iconik, complete, broken)] == [1, 0]
    assert site.copies() == 250


def test_only_the_chosen_formats_go(site: Site, iconik: Iconik) -> None:
    """Formats that are not configured stay where they are."""
    asset_id = several(site, "OTHER", "ORIGINAL", "PROXY")
    assert remove(iconik, asset_id, settings=SEVERAL)[0].removed == 2
    assert site.world.names_on(site.lucidlink) == ["OTHER"]


def test_any_b2_storage_may_hold_the_master(site: Site, iconik: Iconik) -> None:
    """Without a name all storages of type B2 count, and one complete copy is enough."""
    second = site.world.add_storage("Second B2", "B2")
    asset_id, _ = site.asset([CLIP], [clip(status="OPEN")])
    site.world.add_file_set(asset_id, second, [])
    flaw = "ORIGINAL: its master clip.mov is OPEN"
    both_flaws = f"{flaw}; iconik lists no files for its master"
    assert kept(iconik, asset_id, ANY_B2) == [both_flaws]
    site.world.add_file_set(asset_id, second, [CLIP])
    assert kept(iconik, asset_id) == [flaw]
    assert remove(iconik, asset_id, settings=ANY_B2)[0].removed == 1


FOLDER = {"original_name": "day1", "type": "DIRECTORY", "size": None, "status": "OPEN"}


@pytest.mark.parametrize(
    ("copy", "master"),
    [
        # Checksums of one kind are compared, regardless of case.
        ([clip(checksum="a")], [clip(checksum="A")]),
        ([clip(checksum="a")], [CLIP]),
        ([CLIP], [clip(checksum="a")]),
        ([clip(checksum="0" * 32)], [clip(checksum="1" * 40)]),
        # Original names are compared, but neither names on the storage nor folders.
        ([clip(name="clip_1.mov")], [clip(name="2f6d-clip.mov", directory_path="masters")]),
        ([clip(original_name="Übung")], [clip(original_name=NFD)]),
        ([clip(original_name=NFD)], [clip(original_name="Übung")]),
        ([FOLDER, CLIP], [CLIP]),
        ([CLIP], [FOLDER, CLIP]),
        # Types and states.
        ([clip(type="SEQUENCE")], [clip(type="SEQUENCE")]),
        ([clip(status="MISSING")], [CLIP]),
        ([clip(status="GROWING", size=999)], [CLIP]),
        ([clip(status="OPEN")], [CLIP]),
        ([clip(status="AWAITED", size=0, checksum="a")], [clip(checksum="b")]),
        ([clip(status="AWAITED", size=None)], [clip(size=None)]),
        # Files of one name are matched so that each has a master of its own.
        (
            [CLIP, clip(checksum="a"), clip(checksum="b")],
            [CLIP, clip(checksum="b"), clip(checksum="c")],
        ),
        ([clip(checksum="a"), clip(checksum="b")], [CLIP, clip(checksum="a")]),
        ([clip(checksum="a"), clip(checksum="b")], [clip(checksum="a"), CLIP]),
        ([clip(status="OPEN", size=500), CLIP], [CLIP, clip(size=2000)]),
    ],
)
def test_what_is_saved_goes(site: Site, iconik: Iconik, copy: list[Row], master: list[Row]) -> None:
    """The copy goes if each of its files has a master of its own."""
    asset_id, _ = site.asset([WAV, *copy], [WAV, *master])
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1)]


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
@pytest.mark.parametrize("unsaid", [{}, UNSAID], ids=["said", "unsaid"])
def test_what_iconik_does_not_say_is_no_contradiction(
    site: Site, iconik: Iconik, of: str, changes: Row, unsaid: Row
) -> None:
    """Rows need not repeat the records, and iconik does not document how it counts."""
    site.world.quirks.unsaid = unsaid
    asset_id, _ = site.asset()
    record(site, asset_id, of).update(changes)
    assert remove(iconik, asset_id)[0].removed == 1


# What stays


@pytest.mark.parametrize(
    ("copy", "master", "reason"),
    [
        ([], [CLIP], "iconik lists no files"),
        ([clip(type="DIRECTORY")], [CLIP], "iconik lists no files"),
        ([CLIP], [], "iconik lists no files for its master"),
        ([CLIP], [clip(type="DIRECTORY")], "iconik lists no files for its master"),
        ([CLIP, WAV], [CLIP], "its master has no clip.wav"),
        ([CLIP, WAV], [CLIP, WAV | {"type": "SYMLINK"}], "its master has no clip.wav"),
        ([clip(status="AWAITED")], [WAV], "its master has no clip.mov"),
        ([CLIP, CLIP], [CLIP], "its master has no clip.mov"),
        ([CLIP], [clip(size=None)], SIZELESS),
        ([CLIP], [clip(size=0)], SIZELESS),
        ([clip(size=0)], [clip(size=0)], SIZELESS),
        ([clip(size=-1)], [CLIP], "iconik does not know the size of clip.mov"),
        ([clip(status="OPEN", size=None)], [CLIP], "iconik does not know the size of clip.mov"),
        ([clip(checksum="a")], [clip(checksum="b")], CHANGED),
        ([clip(status="OPEN", size=1, checksum="a")], [clip(checksum="b")], CHANGED),
        ([CLIP], [clip(size=999)], SMALLER),
        (
            [clip(size=999)],
            [CLIP],
            "clip.mov differs from its master in size: 999 and 1,000 bytes",
        ),
        (
            [clip(status="GROWING", size=9_000_000)],
            [CLIP],
            "clip.mov is GROWING and larger than its master: 9,000,000 and 1,000 bytes",
        ),
        (
            [clip(status="AWAITED", size=1001)],
            [CLIP],
            "clip.mov is AWAITED and larger than its master: 1,001 and 1,000 bytes",
        ),
        *(
            ([clip(status=status)], [clip(size=999)], SMALLER)
            for status in ("FAILED", "ARCHIVED", "MISSING", "REDISCOVERED", "DELETED", None)
        ),
        *(
            ([CLIP], [CLIP, WAV | {"status": status}], f"its master clip.wav is {status}")
            for status in ("OPEN", "GROWING", "AWAITED", "FAILED", "ARCHIVED", "MISSING", "DELETED")
        ),
        ([CLIP], [clip(status=None)], "its master clip.mov is without a status"),
        ([CLIP], [CLIP, clip(type="SYMLINK", status="OPEN")], "its master clip.mov is OPEN"),
    ],
)
def test_files_that_keep_the_copy(
    site: Site, iconik: Iconik, copy: list[Row], master: list[Row], reason: str
) -> None:
    """In whatever way a master falls short, the copy stays, and the reason names what differs."""
    asset_id, file_set_id = site.asset(copy, master)
    assert remove(iconik, asset_id) == [Removal(asset_id, kept=[f"ORIGINAL: {reason}"])]
    assert site.world.file_sets[file_set_id]["status"] == "ACTIVE"


@pytest.mark.undocumented
@pytest.mark.parametrize(
    ("of", "changes", "reason"),
    [
        ("format", {"status": "DELETED"}, "the format is DELETED"),
        ("copy", {"status": "PENDING"}, "iconik's record of it is PENDING"),
        ("copy", {"status": None}, "iconik's record of it is without a status"),
        ("master", {"status": "ARCHIVED"}, "iconik's record of its master is ARCHIVED"),
        ("master", {"status": "DELETED"}, "iconik's record of its master is DELETED"),
        ("master", {"status": "PENDING"}, "iconik's record of its master is PENDING"),
        ("master", {"status": None}, "iconik's record of its master is without a status"),
        ("format", {"version_id": STRANGE}, OTHER_VERSION),
        ("copy", {"version_id": STRANGE}, OTHER_VERSION),
        ("master", {"version_id": STRANGE}, OTHER_VERSION),
        ("copy", {"file_count": 24}, "iconik lists 1 of 24 files"),
        ("master", {"file_count": 24}, "iconik lists 1 of 24 files for its master"),
        ("copy", UNCOUNTED, "iconik lists 1 files but no total"),
        ("master", UNCOUNTED, "iconik lists 1 files but no total for its master"),
    ],
)
def test_records_that_keep_the_copy(
    site: Site, iconik: Iconik, of: str, changes: Row, reason: str
) -> None:
    """Iconik's own record decides, whatever the rows of the files say."""
    site.world.quirks.unsaid = {"file_set_status": "ACTIVE", "version_id": None}
    asset_id, copy = site.asset()
    row = record(site, asset_id, of)
    if reason == OTHER_VERSION:
        reason += " and ".join(sorted([row["version_id"], STRANGE]))
    row.update(changes)
    assert kept(iconik, asset_id) == [f"ORIGINAL: {reason}"]
    assert copy in site.world.file_sets


@pytest.mark.parametrize(("of", "where"), WHERE.items())
@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("file_set_status", "DELETED", "state"),
        ("format_status", "DELETED", "state of the format"),
        ("format_id", STRANGE, "format"),
        ("storage_id", STRANGE, "storage"),
    ],
)
def test_rows_that_contradict_the_record_keep_the_copy(
    site: Site, iconik: Iconik, of: str, where: str, field: str, value: str, what: str
) -> None:
    """Where iconik's rows and its own record of either file set differ, nothing is deleted."""
    asset_id, _ = site.asset([CLIP, WAV])
    row = record(site, asset_id, of)
    site.world.files_in(row["id"])[1][field] = value
    values = f"({row.get(field, 'ACTIVE')}, {value})"
    assert kept(iconik, asset_id) == [
        f"ORIGINAL: iconik's record and files disagree on the {what} {values}{where}"
    ]
    assert len(site.world.files) == 4


@pytest.mark.parametrize("of", WHERE)
def test_rows_of_another_version_keep_the_copy(site: Site, iconik: Iconik, of: str) -> None:
    """One row of either file set is enough."""
    asset_id, _ = site.asset([CLIP, WAV])
    site.world.files_in(record(site, asset_id, of)["id"])[1]["version_id"] = STRANGE
    assert OTHER_VERSION in kept(iconik, asset_id)[0]


@pytest.mark.parametrize(("of", "where"), WHERE.items())
def test_a_format_that_only_rows_call_deleted_keeps_the_copy(
    site: Site, iconik: Iconik, of: str, where: str
) -> None:
    """If iconik's record of the format has no status, the rows of the files decide."""
    asset_id, _ = site.asset()
    record(site, asset_id, "format")["status"] = None
    site.world.files_in(record(site, asset_id, of)["id"])[0]["format_status"] = "DELETED"
    assert kept(iconik, asset_id) == [f"ORIGINAL: the format is DELETED{where}"]


def test_copies_elsewhere_are_no_masters(site: Site, iconik: Iconik) -> None:
    """Neither a copy on another disk, nor one beside it, nor one of another format counts."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    for storage_id in (site.lucidlink, site.other):
        site.world.add_file_set(asset_id, storage_id, [CLIP])
    site.world.add_file_set(asset_id, site.lucidlink, [WAV])
    site.world.add_file_set(asset_id, site.b2, [CLIP], "OTHER")
    for settings in (SETTINGS, ANY_B2):
        assert kept(iconik, asset_id, settings) == [NO_MASTER] * 2
    assert site.copies() == 2


@pytest.mark.undocumented
@pytest.mark.parametrize(
    ("file", "other", "changes", "is_shared"),
    [
        ({}, {}, {}, True),
        ({"directory_path": "/day1/"}, {"directory_path": "day1"}, {}, True),
        ({"directory_path": "Übung"}, {"directory_path": NFD}, {}, True),
        ({"name": "Übung"}, {"name": NFD}, {}, True),
        ({"directory_path": "X"}, {"directory_path": "XX"}, {}, False),
        ({"directory_path": "a "}, {"directory_path": "a"}, {}, False),
        ({"name": "1.mov"}, {"name": "2.mov"}, {}, False),
        # Neither the original name nor the storage in a row matters.
        ({}, {"original_name": "2.mov", "name": "clip.mov"}, {}, True),
        ({}, {"storage_id": STRANGE}, {}, True),
        # Only what is in the recycle bin has nothing to lose.
        *(({}, {}, {"status": status}, True) for status in ("ARCHIVED", "PENDING", None)),
        ({}, {}, {"status": "DELETED"}, False),
    ],
)
def test_a_file_that_another_file_set_needs_stays(
    site: Site, iconik: Iconik, file: Row, other: Row, changes: Row, is_shared: bool
) -> None:
    """Deleting one of two file sets with the same folder and name takes the other's file."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    for storage_id in (site.b2, site.lucidlink):
        copy = site.world.add_file_set(asset_id, storage_id, [CLIP | file])
    site.world.add_file_set(asset_id, site.lucidlink, [CLIP | other], "OTHER", **changes)
    assert kept(iconik, asset_id) == ([SHARED] if is_shared else [])
    assert (copy in site.world.file_sets) == is_shared


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
    assert remove(iconik, asset_id)[0].removed == (size == 1000)
    assert (copy in site.world.file_sets) == (size == 999)


def test_what_is_in_the_bin_does_not_protect_a_file(site: Site, iconik: Iconik) -> None:
    """An active set goes beside one in the bin, whose purge would take the active one's file."""
    asset_id, copy = site.asset()
    site.world.delete(copy)
    active = site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1, kept=[SHARED])]
    assert active not in site.world.file_sets
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1)]


def test_with_the_recycle_bin_nothing_is_purged(site: Site, iconik: Iconik, rest: Rest) -> None:
    """What is in the bin counts as removed, can be restored, and costs a repeat two calls."""
    asset_id, copy = site.asset()
    assert remove(iconik, asset_id, settings=BIN) == [Removal(asset_id, removed=1)]
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
@pytest.mark.parametrize("settings", [SETTINGS, BIN], ids=["for good", "to the bin"])
@pytest.mark.parametrize("status", [202, 404])
@pytest.mark.parametrize("works", [True, False])
def test_an_uncertain_answer_is_resolved_by_looking(
    site: Site, iconik: Iconik, settings: Settings, status: int, works: bool
) -> None:
    """After 202 or 404 iconik's records decide; what is still listed is reported."""
    site.world.quirks.deletion_status, site.world.quirks.deletions_work = status, works
    asset_id, copy = site.asset()
    reasons = [] if works else [STILL_LISTED]
    removals = remove(iconik, asset_id, settings=settings)
    assert removals == [Removal(asset_id, removed=int(works), kept=reasons)]
    assert site.copies() == (0 if works else 1)
    assert (copy in site.world.file_sets) == (settings is BIN or not works)


# Fresh


class Slow:
    """An iconik on which time passes as a test wants it, and things happen between two calls."""

    def __init__(self, site: Site, url: str, time: Time) -> None:
        self.time, self.seconds = time, 0.0
        self.calls: list[str] = []
        self._events: defaultdict[int, list[Callable[[], object]]] = defaultdict(list)
        site.world.quirks.on_call = self._on_call
        pace, deadline = Pace(time, time.sleep), Deadline(600, time)
        self.iconik = Iconik(new_rest(url, site.world, pace=pace, deadline=deadline))

    def at(self, call: int, do: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Do something when iconik receives a call, by its number."""
        self._events[call].append(partial(do, *args, **kwargs))

    def pause(self, seconds: float = FRESH) -> None:
        """Let seconds pass."""
        self.time.sleep(seconds)

    def _on_call(self, method: str, path: str) -> None:
        self.calls.append(method if method == "DELETE" else path.rstrip("/").rpartition("/")[2])
        self.pause(self.seconds)
        for event in self._events[len(self.calls)]:
            event()


@pytest.fixture
def slow(site: Site, iconik_url: str, time: Time) -> Slow:
    """Return an iconik whose time passes by hand."""
    return Slow(site, iconik_url, time)


def test_a_refused_deletion_is_followed_by_a_look(site: Site, slow: Slow) -> None:
    """A master that is purged while a deletion is refused keeps its copy."""
    asset_id, copy = site.asset()
    slow.at(5, site.world.purge, record(site, asset_id, "master")["id"])
    slow.at(5, site.quirk, refusals=1)
    assert kept(slow.iconik, asset_id) == [NO_MASTER]
    assert slow.calls[4:6] == ["DELETE", "file_sets"]
    assert copy in site.world.file_sets


def test_slow_deletions_do_not_outlast_their_evidence(site: Site, slow: Slow) -> None:
    """Of six slow deletions none is sent on evidence of more than 5 s."""
    formats = tuple("123456")
    asset_id = several(site, *formats)
    for call in (6, 7, 8):
        slow.at(call, slow.pause, 2.4)
    for row in site.world.file_sets_of(asset_id, site.b2):
        slow.at(9, site.world.purge, row["id"])
    settings = SETTINGS._replace(format_names=formats)
    (removal,) = remove(slow.iconik, asset_id, settings=settings)
    assert slow.calls[4:9] == ["DELETE", "DELETE", "DELETE", "DELETE", "file_sets"]
    assert (removal.removed, site.copies()) == (4, 2)


def test_rows_that_change_while_evidence_grows_old_are_seen(site: Site, slow: Slow) -> None:
    """Another look reads everything again."""
    asset_id, copy = site.asset()
    slow.at(4, site.world.files_in(copy)[0].update, original_name="new.mov")
    slow.at(4, slow.pause)
    assert kept(slow.iconik, asset_id) == ["ORIGINAL: its master has no new.mov"]
    assert copy in site.world.file_sets


def test_a_file_set_that_joins_during_a_look_keeps_its_file(site: Site, slow: Slow) -> None:
    """Its rows are listed, although its record was not yet."""
    asset_id, copy = site.asset()
    slow.at(3, site.world.add_file_set, asset_id, site.lucidlink, [CLIP])
    assert kept(slow.iconik, asset_id) == [SHARED]
    assert copy in site.world.file_sets


def test_a_slow_deletion_is_not_completed_on_stale_evidence(site: Site, slow: Slow) -> None:
    """A purge needs fresh evidence, too: the master is gone, so the recycle bin keeps the copy."""
    site.world.quirks.knows_immediately = False
    asset_id, copy = site.asset()
    slow.at(5, site.world.purge, record(site, asset_id, "master")["id"])
    slow.at(5, slow.pause)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, kept=[NO_MASTER])]
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
    asset_id = several(site, "ORIGINAL", "PROXY", files=26)
    for call, seconds in pauses.items():
        slow.at(call, slow.pause, seconds)
    slow.at(max(pauses), site.world.storages[site.b2].update, status="FAILING")
    (removal,) = remove(slow.iconik, asset_id, settings=SEVERAL)
    assert (removal.removed, site.copies()) == (1, 26)
    assert "no storage for masters is ACTIVE" in str(removal.error)


@pytest.mark.parametrize(
    ("changed", "changes", "reason"),
    [
        ("copy", {"file_count": 52}, "iconik lists 51 of 52 files"),
        ("master", {"status": "DELETED"}, "iconik's record of its master is DELETED"),
        ("format", {"status": "DELETED"}, "the format is DELETED"),
        ("storage", {"status": "FAILING"}, "no storage for masters is ACTIVE"),
    ],
)
def test_a_change_before_the_confirmation_keeps_the_copy(
    site: Site, slow: Slow, changed: str, changes: Row, reason: str
) -> None:
    """Rows that took long to read are not relied on if any record has changed since."""
    asset_id, copy = site.asset(frames(51))
    storage = site.world.storages[site.b2]
    row = storage if changed == "storage" else record(site, asset_id, changed)
    slow.at(4, slow.pause)
    slow.at(6, slow.pause)
    slow.at(7, row.update, changes)
    assert reason in remove(slow.iconik, asset_id)[0].reason
    assert copy in site.world.file_sets


@pytest.mark.parametrize("knows_immediately", [True, False])
def test_a_lost_answer_is_resolved_by_looking(
    site: Site, slow: Slow, knows_immediately: bool
) -> None:
    """A deletion whose answer is lost is not repeated, but completed, and it is counted once."""
    site.world.quirks.knows_immediately = knows_immediately
    asset_id, copy = site.asset()
    slow.at(5, site.quirk, lost=1)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert slow.calls.count("DELETE") == (1 if knows_immediately else 2)
    assert copy not in site.world.file_sets


def test_a_deletion_that_succeeds_ends_a_row_of_failures(site: Site, slow: Slow) -> None:
    """Five failures with a deletion between them are not five in a row."""
    asset_id = several(site, "ORIGINAL", "PROXY")
    slow.at(5, site.quirk, failures=1)
    slow.at(10, site.quirk, failures=4)
    assert remove(slow.iconik, asset_id, settings=SEVERAL) == [Removal(asset_id, removed=2)]
    assert slow.calls.count("DELETE") == 1 + 1 + 4 + 1


def test_a_deletion_that_fails_for_good_is_given_up(site: Site, slow: Slow) -> None:
    """Five looks and five deletions that fail are an error, and the copy is still there."""
    asset_id, _ = site.asset()
    site.world.quirks.failures = 99
    (removal,) = remove(slow.iconik, asset_id)
    assert isinstance(removal.error, IconikUnavailable)
    assert (slow.calls.count("DELETE"), slow.calls.count("files"), site.copies()) == (5, 5, 1)


@pytest.mark.parametrize(
    ("judging", "again"),
    [(0.0, ["file_sets", "formats"]), (6.0, ["file_sets", "formats", "storages"])],
)
def test_many_stale_rows_are_confirmed_by_the_records(
    site: Site, slow: Slow, monkeypatch: pytest.MonkeyPatch, judging: float, again: list[str]
) -> None:
    """One look and one judgement suffice, even if judging takes longer than evidence is fresh."""
    judge = rule.judge

    def judge_slowly(evidence: Evidence) -> Iterator[tuple[FileSet, str | None]]:
        slow.pause(judging)
        return judge(evidence)

    monkeypatch.setattr(rule, "judge", judge_slowly)
    asset_id, _ = site.asset(frames(51))
    slow.at(4, slow.pause)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    look = ["file_sets", "formats", "files", "files", "storages"]
    assert slow.calls[1:] == [*look, *again, "DELETE"]


def test_one_page_of_rows_is_read_again(site: Site, slow: Slow) -> None:
    """Stale rows that come in one page are not confirmed: another look renews them."""
    asset_id, _ = site.asset(frames(50))
    slow.at(4, slow.pause)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert slow.calls.count("files") == 2


def test_many_rows_are_read_again_after_a_refusal(site: Site, slow: Slow) -> None:
    """Only evidence that became stale by itself is confirmed; a refused deletion needs a look."""
    asset_id, _ = site.asset(frames(51))
    slow.at(6, site.quirk, refusals=1)
    assert remove(slow.iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert (slow.calls.count("DELETE"), slow.calls.count("files")) == (2, 4)


def test_an_iconik_that_is_too_slow_is_told(site: Site, slow: Slow) -> None:
    """Where even one answer takes longer than evidence stays fresh nothing is deleted."""
    asset_id, copy = site.asset()
    slow.seconds = 6.0
    (removal,) = remove(slow.iconik, asset_id)
    assert isinstance(removal.error, IconikTimeout)
    assert "too slow for a safe DELETE" in str(removal.error)
    assert copy in site.world.file_sets


@pytest.mark.parametrize(
    ("late", "error"), [(0, TooManyFiles), (220, TooManyFiles), (240, OutOfTime)]
)
def test_an_asset_that_takes_longer_than_the_request_is_told(
    site: Site, slow: Slow, late: int, error: type[PluginError]
) -> None:
    """It is blamed for the end of the time only if it had more than half of the time."""
    site.world.quirks.rows_per_page = 3
    asset_id, copy = site.asset(frames(60), file_count=2_000)
    site.world.add_file_set(asset_id, site.other, [], file_count=None)
    slow.seconds = 20.0
    slow.pause(late)
    (removal,) = remove(slow.iconik, asset_id)
    assert type(removal.error) is error
    assert error is OutOfTime or str(removal.error) == (
        "Comparing 2,060 files takes longer than the function's time limit: use a queue."
    )
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
    storage_id = {"B2": site.b2, "LucidLink": site.lucidlink}[name]
    if change:
        slow.at(5, site.world.storages[storage_id].update, change)
    else:
        slow.at(5, site.world.storages.pop, storage_id)
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
