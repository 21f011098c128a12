"""An independent judge of removals: which deletions were wrong, and which file sets must be gone.

The judge is written from docs/removal.md and shares no code with the plugin's rule. It reads the
log of requests: each answer of iconik is a statement, made at a moment of the injected clock.
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

from sandbox.world import Row, World
from storage_plugin.settings import Settings

FRESH = 5.0  # Seconds: evidence of this age is too old for a deletion.
STORAGES = "/API/files/v1/storages/"
ASSET = "/API/files/v1/assets/"

UNWRITTEN = {"OPEN", "GROWING", "AWAITED"}
OF_SYSTEMS = {".DS_Store", "Icon\r", "Thumbs.db", "desktop.ini"}
# The checksums that do not contradict a size of 0.
EMPTY = {None, *(hashlib.new(kind, b"").hexdigest() for kind in ("md5", "sha1"))}
DELETION = re.compile(rf"{ASSET}([^/]+)/file_sets/([^/]+)/(?:purge/)?")


class Call(NamedTuple):
    """A request of the plugin."""

    method: str
    path: str
    query: Mapping[str, str]
    sent: float  # When the plugin sent it.
    status: int | None  # Of the answer; None: the answer was lost.
    body: Mapping[str, Any]  # The answer; empty where it holds no JSON object.

    @property
    def is_first_page(self) -> bool:
        """Whether the request begins a list."""
        return "last_id" not in self.query and self.query.get("page", "1") == "1"


class Reading(NamedTuple):
    """A list, as its pages have said."""

    rows: Mapping[str, Row]  # By their ids.
    begun: int  # The number of the request for the first page.
    asked: float  # When that was sent.
    is_whole: bool  # Whether no row is missing.


class State(NamedTuple):
    """What iconik says of an asset and of the storages: rows by their ids."""

    file_sets: Mapping[str, Row]
    formats: Mapping[str, Row]
    files: Mapping[str, Row]
    storages: Mapping[str, Row]


def wrong_deletions(log: Sequence[Call], settings: Settings, selected: Set[str]) -> list[str]:
    """Return what is wrong with the deletions in a log; nothing, if the plugin is right."""
    return [
        f"{call.method} {call.path} at {call.sent}: {wrong}"
        for number, call in enumerate(log)
        if call.method == "DELETE"
        for wrong in _wrongs(log[:number], call, settings, selected)
    ]


def must_go(world: World, settings: Settings) -> set[str]:
    """Return the file sets that a removal of all assets must delete, if nothing changes."""
    spared = {"ARCHIVED", "DELETED"} if settings.use_recycle_bin else {"ARCHIVED"}
    doomed = set().union(*(going(state_of(world, id), settings) for id in world.assets))
    return {id for id in doomed if world.file_sets[id]["status"] not in spared}


# When the evidence was asked for


def _wrongs(
    log: Sequence[Call], call: Call, settings: Settings, selected: Set[str]
) -> Iterator[str]:
    asset_id, file_set_id = DELETION.fullmatch(call.path).groups()
    if asset_id not in selected:
        yield "nobody selected the asset"
    if settings.use_recycle_bin and (call.path.endswith("/purge/") or call.query):
        yield "it cannot be restored"
    paths = [f"{ASSET}{asset_id}/{name}/" for name in ("file_sets", "formats", "files")]
    readings = [_last_reading(log, path) for path in (*paths, STORAGES)]
    if not all(reading and reading.is_whole for reading in readings):
        yield "the evidence is not whole"
        return
    sent_before = [n for n, each in enumerate(log) if (each.method, each.path) == call[:2]]
    file_sets, formats, files, storages = readings
    if any(call.sent - each.asked >= FRESH for each in (file_sets, formats, storages)):
        yield "the evidence is too old"
    if any(each.begun < max(sent_before, default=-1) for each in (file_sets, formats, files)):
        yield "no look between"
    for path, reading in zip(paths, (file_sets, formats), strict=False):
        before = _last_reading(log[: files.begun], path)
        if before is None or before.rows != reading.rows:
            yield "the records have changed since the files were read"
    state = State(*(reading.rows for reading in readings))
    if file_set_id not in going(state, settings):
        own = state.file_sets.get(file_set_id)
        reasons = [*_reasons(state, own, settings)] if own else ["iconik does not list it"]
        yield "; ".join(reasons) or "what stays needs its files"


def _last_reading(log: Sequence[Call], path: str) -> Reading | None:
    """Return the last list at a path that the plugin has received; None: there is none."""
    numbers = [
        number
        for number, call in enumerate(log)
        if (call.method, call.path) == ("GET", path) and call.status in (200, 404)
    ]
    begun = max((number for number in numbers if log[number].is_first_page), default=None)
    if begun is None:
        return None
    pages = [log[number].body for number in numbers if number >= begun]
    rows = {row["id"]: row for page in pages for row in page.get("objects", ())}
    last, total = pages[-1], max(page.get("total", 0) for page in pages)
    is_short = len(last.get("objects", ())) < last.get("per_page", 10)
    is_whole = len(rows) >= total if total else is_short and not last.get("next_url")
    return Reading(rows, begun, log[begun].sent, is_whole)


# What the evidence must say


def going(state: State, settings: Settings) -> set[str]:
    """Return the file sets that may go, together."""
    fine = {id for id, row in state.file_sets.items() if not any(_reasons(state, row, settings))}
    while needed := {id for id in fine if _is_needed(state, id, state.file_sets.keys() - fine)}:
        fine -= needed
    return fine


def _reasons(state: State, file_set: Row, settings: Settings) -> Iterator[str]:
    """Yield why a file set must stay, whatever becomes of the others."""
    of = state.formats.get(file_set["format_id"])
    if of is None or of["name"] not in settings.format_names:
        yield "its format is not chosen"
        return
    if file_set["storage_id"] != _target(state, settings):
        yield "it is not on the storage"
        return
    if file_set["status"] not in ("ACTIVE", "DELETED") or not _is_sound(state, file_set):
        yield "its record and its rows are not to be relied on"
    masters = [
        row for row in state.file_sets.values() if row["storage_id"] in _masters(state, settings)
    ]
    if not any(_is_master(state, master, file_set) for master in masters):
        yield "it has no complete master"


def _target(state: State, settings: Settings) -> str | None:
    """Return the id of the storage to remove from; None: nothing is removed from it."""
    wanted = settings.storage_name
    found = [row for row in state.storages.values() if wanted in (row["name"], row["id"])]
    is_one = len(found) == 1 and found[0]["method"] == "FILE"
    return found[0]["id"] if is_one else None


def _masters(state: State, settings: Settings) -> set[str]:
    """Return the storages whose copies count; none where one is the storage to remove from."""
    wanted, target = settings.master_storage_name, _target(state, settings)
    masters = [
        row
        for row in state.storages.values()
        if (wanted in (row["name"], row["id"]) if wanted else row["method"] == "B2")
    ]
    own = _folder(state.storages[target]) if target else None
    folders = [_folder(row) for row in masters if row["method"] == "FILE"]
    is_one_disk = own is not None and any(
        each is not None and (own.startswith(each) or each.startswith(own)) for each in folders
    )
    if is_one_disk or target in {row["id"] for row in masters}:
        return set()
    return {row["id"] for row in masters if row["status"] == "ACTIVE"}


def _folder(storage: Row) -> str | None:
    """Return the place of a mount point, with a slash at its end; None: it is unknown."""
    mount_point = storage["settings"].get("mount_point")
    return mount_point and f"{place('', mount_point)}/".removeprefix("/")


def _is_sound(state: State, file_set: Row) -> bool:
    """Whether the files of a set are listed whole, and do not contradict its record."""
    rows, of = _rows_of(state, file_set), state.formats[file_set["format_id"]]
    count, active = file_set.get("file_count"), ("ACTIVE", None)
    states = active if file_set["status"] == "ACTIVE" else (*active, file_set["status"])
    return (
        of["status"] in active
        and all(row["format_id"] in (file_set["format_id"], None) for row in rows)
        and all(row["storage_id"] in (file_set["storage_id"], None) for row in rows)
        and all(row["format_status"] in active for row in rows)
        and all(row["file_set_status"] in states for row in rows)
        and sum(row["type"] != "DIRECTORY" for row in rows) >= (count or 0)
        and not (count is None and file_set["type"] == "MANY_FILES")
        and bool(_needing(rows))
    )


def _is_master(state: State, master: Row, file_set: Row) -> bool:
    """Whether a file set is a complete copy of another one."""
    if master["format_id"] != file_set["format_id"] or master["status"] != "ACTIVE":
        return False
    rows, of_master = _rows_of(state, file_set), _rows_of(state, master)
    of = state.formats[file_set["format_id"]]
    versions = {row["version_id"] for row in (of, master, file_set, *rows, *of_master)} - {None}
    copies, there = _needing(of_master), [*_files_on(state, master["storage_id"])]
    return (
        _is_sound(state, master)
        and len(versions) <= 1
        and all(row["status"] in ("CLOSED", "REDISCOVERED") for row in copies)
        and not any(_is_doubtful(state, row, there) for row in copies)
        and _each_has_its_own(_needing(rows), copies)
    )


def _is_doubtful(state: State, row: Row, there: Collection[Row]) -> bool:
    """Whether a file has its place with another one that is not known to be the same bytes."""
    beside = [each for each in there if _place_of(each) == _place_of(row)]
    contents = {(each["size"], _checksum(each)) for each in beside}
    is_binned = any(_is_binned(state, each) for each in beside)
    is_unknown = any(None in content for content in contents)
    return len(beside) > 1 and (is_binned or is_unknown or len(contents) > 1)


def _each_has_its_own(files: Sequence[Row], copies: Sequence[Row]) -> bool:
    """Whether all files can be paired with copies of their own: a bipartite matching."""
    partner: dict[int, int] = {}
    has_bytes = any(row["size"] for row in files)

    def find(file: int, tried: set[int]) -> bool:
        for number, copy in enumerate(copies):
            if number not in tried and _saves(copy, files[file], has_bytes):
                tried.add(number)
                if number not in partner or find(partner[number], tried):
                    partner[number] = file
                    return True
        return False

    return all(find(file, set()) for file in range(len(files)))


def _saves(copy: Row, file: Row, has_bytes: bool) -> bool:
    """Whether nothing is lost of a file if only a copy of it is left."""
    names = {(_nfc(row["original_name"]), row["type"]) for row in (copy, file)}
    is_unwritten = file["status"] == "AWAITED" and not file["size"]
    checksums = {_checksum(row) for row in (copy, file)}
    are_equal = len(checksums) == 1 and None not in checksums
    return len(names) == 1 and (
        is_unwritten
        or (
            _sizes_agree(file, copy, are_equal or (has_bytes and EMPTY.issuperset(checksums)))
            and (are_equal or not _are_comparable(checksums))
            and (are_equal or copy["status"] != "REDISCOVERED")
        )
    )


def _sizes_agree(file: Row, copy: Row, may_be_empty: bool) -> bool:
    if file["status"] in UNWRITTEN:
        return 0 < (file["size"] or 0) <= (copy["size"] or 0)
    return file["size"] == copy["size"] and bool(
        file["size"] or (copy["size"] == 0 and may_be_empty)
    )


def _are_comparable(checksums: Set[str | None]) -> bool:
    """Whether two different checksums prove that files differ."""
    known = [each for each in checksums if each]
    is_one_kind = len(known) == 2 and len(known[0]) == len(known[1])
    return is_one_kind and not any(re.search(r"-[0-9]+\Z", each) for each in known)


# Files and places


def _is_needed(state: State, file_set_id: str, staying: Collection[str]) -> bool:
    """Whether something that stays has a file at the place of a row of a file set, or below it."""
    own = state.file_sets[file_set_id]
    doomed = [_place_of(row) for row in _rows_of(state, own)]
    unlisted = {row["file_set_id"] for row in state.files.values()} - state.file_sets.keys()
    return any(
        f"{_place_of(row)}/".startswith(f"{each}/".lstrip("/"))
        for row in _files_on(state, own["storage_id"])
        if row["file_set_id"] in {*staying, *unlisted} and not _is_binned(state, row)
        for each in doomed
    )


def _is_binned(state: State, row: Row) -> bool:
    """Whether a file is in the recycle bin."""
    return state.file_sets.get(row["file_set_id"], {}).get("status") == "DELETED"


def _rows_of(state: State, file_set: Row) -> list[Row]:
    return [row for row in state.files.values() if row["file_set_id"] == file_set["id"]]


def _needing(rows: Sequence[Row]) -> list[Row]:
    """Return the files that need a master: neither folders nor what a system adds."""
    beside = {(row["directory_path"], row["original_name"]) for row in rows}
    return [
        row
        for row in rows
        if row["type"] != "DIRECTORY" and row["original_name"] not in OF_SYSTEMS
        if not row["original_name"].startswith("._")
        or (row["directory_path"], row["original_name"][2:]) not in beside
    ]


def _files_on(state: State, storage_id: str) -> Iterator[Row]:
    """Yield the files that are, or may be, on a storage, but for what a system adds."""
    for row in state.files.values():
        of = state.file_sets.get(row["file_set_id"], {}).get("storage_id")
        named = {row["storage_id"], of} - {None}
        is_file = row["type"] != "DIRECTORY" and row["original_name"] not in OF_SYSTEMS
        if is_file and (storage_id in named or not named):
            yield row


def _checksum(row: Row) -> str | None:
    return row["checksum"] and row["checksum"].lower()


def _place_of(row: Row) -> str:
    return place(row["directory_path"] or "", row["name"])


def place(folder: str, name: str) -> str:
    """Return what all paths have in common that may be one place on some disk."""
    path = _nfc(f"{folder}/{name}".replace("\\", "/")).casefold()
    names = [re.sub(r"[. ]+\Z", "", each) for each in path.split("/")]
    return "/".join(filter(None, names))


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def state_of(world: World, asset_id: str) -> State:
    """Return what iconik would say of an asset now."""
    file_sets = world.file_sets.of_asset[asset_id]
    return State(
        {id: {"file_count": world.count_files(id), **row} for id, row in file_sets.items()},
        world.formats.of_asset[asset_id],
        {
            id: {"file_set_status": file_sets[row["file_set_id"]]["status"]}
            | row
            | world.quirks.unsaid
            for id, row in world.files.of_asset[asset_id].items()
        },
        world.storages,
    )
