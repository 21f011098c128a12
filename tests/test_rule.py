"""What may be deleted, and what stays and why: whole removals of one asset."""

import unicodedata
from unittest.mock import Mock

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin.iconik.client import Iconik
from storage_plugin.names import place, visible
from storage_plugin.removal import comparison
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import Removal, look
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import Kind, judge
from storage_plugin.settings import Settings

SETTINGS = Settings("app-id", "LucidLink", master_storage_name="B2")
SEVERAL = SETTINGS._replace(format_names=("ORIGINAL", "PROXY"))
ANY_B2 = SETTINGS._replace(master_storage_name=None)
BIN = SETTINGS._replace(use_recycle_bin=True)

STRANGE = World.app_id  # An id of something else.
WHERE = {"copy": "LucidLink", "master": "B2"}  # The storages of the two file sets.
NEEDED = "deleting ORIGINAL could also delete clip.mov of OTHER, which stays"
NO_MASTER = "ORIGINAL has no copy on B2"
DOUBTFUL = "B2 has one place for a and another file, so one may be missing"
ALONE = "has no master of its own"
EMPTY = "a and its master are empty, which may be wrong"
CHANGED = "a and its master have different checksums"
UNSIZED = "a or its master has a size that iconik does not know"
FOUND = "the master of a is REDISCOVERED, and no checksum shows that it is the same"

MD5 = "d0" * 16
NFD = unicodedata.normalize("NFD", "Übung")  # A name as macOS writes it.

# Short words for keys and values of files: no value, and checksums.
KEYS = {"sum": "checksum", "in": "directory_path"}
VALUES = {
    "-": None,
    "A": MD5,
    "a": MD5.upper(),
    "B": "e1" * 16,
    "C": "f2" * 20,
    "A-25": f"{MD5}-25",
    "B-50": f"{'e1' * 16}-50",
    "C-50": f"{'f2' * 16}-50",
    "A25": f"{MD5[:-3]}-25",
    "empty": "d41d8cd98f00b204e9800998ecf8427e",
}
# Files of the copy, files of the master, and why the copy stays; no reason: it goes.
CASES = rf"""
# Checksums of one kind are compared, regardless of case; those of parts prove no difference.
a sum=A-25 | a sum=B-50 |
a sum=A25 | a sum=B |
a sum=A | a sum=B | {CHANGED}
a status=OPEN size=1 sum=A | a sum=B | {CHANGED}
a sum=1B2M2Y8+ | a sum=XrY7u+Ae | {CHANGED}
# Original names and types are compared, but neither names on the storage nor folders.
a name=a_1 | a name=2f6d-a in=masters |
Übung | {NFD} |
{NFD} | Übung |
Ü\tb | a | Ü\tb {ALONE}
a status=AWAITED | | a {ALONE}
a, day1 type=DIRECTORY size=- status=OPEN | a |
# Sizes, also of copies that are still being written, or not there.
a | a size=999 | a has 1,000 bytes and its master 999
a size=- | a | {UNSIZED}
a status=OPEN size=0 | a | {UNSIZED}
a status=GROWING size=9000000 | a | a (GROWING) has 9,000,000 bytes and its master 1,000
a status=AWAITED size=0 sum=A | a sum=B |
# Empty files: beside files with bytes, or with the same checksum.
a size=0 sum=empty | a size=0 |
a size=0 sum=A | a size=0 sum=a |
a size=0 sum=A | a size=0 | {EMPTY}
a size=0 | a size=0 sum=C | {EMPTY}
a size=0 status=OPEN | a size=0 | {UNSIZED}
# States of the master's files.
a | a, more status=OPEN | more is still being written on B2 (OPEN)
a | a, more status=AWAITED | more has not arrived yet on B2 (AWAITED)
a | a, more status=FAILED | more on B2 is FAILED
a | a status=- | a on B2 is without a status
a | a, more status=REDISCOVERED |
a sum=A | a sum=C status=REDISCOVERED | {FOUND}
# What systems add, and nothing else, needs no master.
a, .DS_Store, Icon\r, Thumbs.db, desktop.ini, ._a | a |
a, ._day1, day1 type=DIRECTORY | a |
a | a, Icon\r status=FAILED |
a, .ds_store | a | .ds_store {ALONE}
a, Icon | a | Icon {ALONE}
a, ._a in=else | a | ._a {ALONE}
# Files of one name are paired so that each has a master of its own, if possible.
a, a | a | a {ALONE}
a, a sum=A, a sum=B | a, a name=2 sum=B, a name=3 sum=C |
a sum=A, a sum=B | a, a name=2 sum=A |
a sum=A, a sum=B | a name=2 sum=A, a |
a sum=A-25, a sum=B | a name=2 sum=B, a sum=C-50 |
a sum=A, a | a sum=A, a name=z sum=A status=REDISCOVERED |
a status=OPEN size=500, a | a, a name=2 size=2000 |
a status=OPEN size=500, a status=OPEN size=1500 | a size=2000, a name=2 size=1000 |
# Masters at one place are files of their own only if they are known to be the same bytes.
a | a, 2 name=A. | {DOUBTFUL}
a | a sum=A, a sum=B | {DOUBTFUL}
a | a sum=A, a sum=A size=9 | {DOUBTFUL}
a status=AWAITED size=0 | a size=- sum=A, a size=- sum=A | {DOUBTFUL}
a | a sum=A, a sum=a |
"""


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


def test_many_files_of_one_name_are_compared_in_no_time(
    site: Site, iconik: Iconik, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever iconik knows of them, each is compared with few masters."""
    compare = Mock(wraps=comparison._difference)
    monkeypatch.setattr(comparison, "_difference", compare)
    rows = [
        CLIP | {"directory_path": str(n), "size": 1000 + n, "checksum": f"{n:032x}"}
        for n in range(400)
    ]
    states = ("REDISCOVERED", "CLOSED", "CLOSED")
    masters = [row | {"status": states[n % 3]} for n, row in enumerate(rows)]
    for n in range(0, 400, 5):
        masters[n] = masters[n] | {"checksum": None, "status": "CLOSED"}
    asset_id, _ = site.asset(rows, masters)
    assert remove(iconik, asset_id).removed == 1
    assert compare.call_count < 2 * len(rows)


# Records


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
    nowhere = "ORIGINAL has no copy on B2 or Second B2"
    assert reasons(iconik, site.only_copy(), ANY_B2) == [nowhere]


UNSAID = "iconik does not name the format or storage of a file set"
UNCOUNTED = {"file_count": None, "type": "MANY_FILES"}
WRONG = "contradicts itself about {} (%s of a file: %s)"
ROWS = dict.fromkeys(("file_set_status", "format_status"), "DELETED")
ROWS |= dict.fromkeys(("format_id", "storage_id"), STRANGE)


@pytest.mark.undocumented
@pytest.mark.parametrize(
    ("of", "changes", "kind", "reason"),
    [
        ("format", {"status": "DELETED"}, Kind.UNCLEAR, "the format ORIGINAL is DELETED"),
        ("copy", {"status": "PENDING"}, Kind.UNCLEAR, "iconik's record of {} is PENDING"),
        ("master", {"status": "DELETED"}, Kind.STAYS, "iconik's record of {} is DELETED"),
        ("format", {"version_id": STRANGE}, Kind.STAYS, "ORIGINAL on B2 is of another version"),
        ("master", {"version_id": STRANGE}, Kind.STAYS, "{} is of another version"),
        ("copy", {"format_id": None}, Kind.UNCLEAR, UNSAID),
        ("copy", {"file_count": 24}, Kind.UNCLEAR, "iconik lists 1 of the 24 files of {}"),
        ("master", {"file_count": 1024}, Kind.NOT_YET, "iconik lists 1 of the 1,024 files of {}"),
        ("master", UNCOUNTED, Kind.NOT_YET, "iconik does not say how many files {} has"),
    ],
)
def test_records_that_keep_the_copy(
    site: Site, iconik: Iconik, of: str, changes: Row, kind: Kind, reason: str
) -> None:
    """Iconik's own record decides, whatever the rows of the files say."""
    site.world.quirks.unsaid = {"file_set_status": "ACTIVE", "version_id": None}
    asset_id, copy = site.asset()
    record(site, asset_id, of).update(changes)
    assert kinds(iconik, asset_id) == [kind]
    assert reasons(iconik, asset_id) == [reason.format(f"ORIGINAL on {WHERE.get(of)}")]
    assert copy in site.world.file_sets


@pytest.mark.parametrize(("of", "storage"), WHERE.items())
@pytest.mark.parametrize(
    ("rows", "count", "reason"),
    [
        ("", None, "lists no files of {}: rescan its folder in iconik"),
        ("1 type=DIRECTORY, .DS_Store", None, "lists no files of {}: rescan its folder in iconik"),
        ("1, 2, 3 type=DIRECTORY", 3, "lists 2 of the 3 files of {}"),
        *((f"1, 2 {name}={value}", None, WRONG % (name, value)) for name, value in ROWS.items()),
    ],
)
def test_lists_that_keep_the_copy(
    site: Site, iconik: Iconik, of: str, storage: str, rows: str, count: int | None, reason: str
) -> None:
    """Either list may have a gap, or a row that contradicts the record."""
    lists = [files(rows), files("1, 2")]
    asset_id, copy = site.asset(*(lists if of == "copy" else lists[::-1]))
    record(site, asset_id, of)["file_count"] = count
    kind = Kind.NOT_YET if reason.startswith("lists") else Kind.STAYS
    assert kinds(iconik, asset_id) == [Kind.UNCLEAR if of == "copy" else kind]
    assert reasons(iconik, asset_id) == [f"iconik {reason}".format(f"ORIGINAL on {storage}")]
    assert copy in site.world.file_sets


# Places


@pytest.mark.parametrize(
    ("path", "other", "are_one"),
    [
        ("day1/a.mov", "/Day1. //A.MOV . ", True),
        ("day1/a.mov", "\\day1\\.\\a.mov", True),
        ("Übung", NFD.upper(), True),
        ("STRASSE", "straße", True),
        ("X", "XX", False),
        (".day1", "day1", False),
        ("day1/a", "day1a", False),
    ],
)
def test_paths_that_may_be_one_place(path: str, other: str, are_one: bool) -> None:
    """Some disks ignore case, the form of accents, and dots and spaces at the end of a name."""
    assert (place(path) == place(other)) == are_one


def test_only_what_nobody_sees_is_escaped() -> None:
    """A name that is copied from a message matches."""
    assert visible("Ü\u3000\u200d\t") == "Ü\u3000\u200d\\t"


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
    # Masters of another format share a place, which does no harm.
    site.world.add_file_set(asset_id, site.b2, files("b sum=A, b sum=B"), "OTHER")
    assert list(remove(iconik, asset_id).reasons) == ([NEEDED] if is_needed else [])
    assert (copy in site.world.file_sets) == is_needed


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


# Nothing to remove

NOT_REMOVED = "on LucidLink, but this action does not remove it"


@pytest.mark.parametrize(
    ("changes", "settings", "reason"),
    [
        ({"status": "ARCHIVED", "file_count": 0}, SETTINGS, "ORIGINAL is archived"),
        ({"status": "ARCHIVED"}, BIN, "ORIGINAL is archived"),
        ({"status": "DELETED"}, BIN, "ORIGINAL is in the recycle bin"),
        ({"status": "DELETED", "file_count": 0}, BIN, ""),
        ({}, SETTINGS._replace(format_names=("ORIGINA",)), f"ORIGINAL is {NOT_REMOVED}"),
        ({"format_id": STRANGE}, SETTINGS, f"an earlier version is {NOT_REMOVED}"),
    ],
)
def test_what_is_on_the_storage_and_not_to_be_removed_is_told(
    site: Site, iconik: Iconik, changes: Row, settings: Settings, reason: str
) -> None:
    """Nobody is told that nothing is there, and it stays."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy].update(changes)
    outcome = remove(iconik, asset_id, settings)
    assert outcome == Outcome(asset_id, End.ABSENT, reasons=(reason,) if reason else ())
    assert copy in site.world.file_sets


def test_each_format_that_is_not_to_be_removed_is_named(site: Site, iconik: Iconik) -> None:
    """It is named once. An empty record in the recycle bin is nothing."""
    asset_id = site.world.add_asset("Clip", ["PPRO_PROXY", "EDIT", "ORIGINAL"])
    for name in ("PPRO_PROXY", "EDIT", "EDIT"):
        site.world.add_file_set(asset_id, site.lucidlink, [CLIP], name)
    site.world.add_file_set(asset_id, site.lucidlink, [], status="DELETED")
    named = (f"PPRO_PROXY is {NOT_REMOVED}", f"EDIT is {NOT_REMOVED}")
    assert remove(iconik, asset_id) == Outcome(asset_id, End.ABSENT, reasons=named)
