"""An independent judge of removals: which deletions were wrong, and which file sets must be gone.

The judge is written from docs/removal.md and shares no code with the plugin's rule. It reads the
log of requests: each answer of iconik is a statement, made at a moment of the injected clock. It
grants no exception to assets with more than 100 files, of which the worlds have none.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

from sandbox.world import Row, World
from storage_plugin.settings import Settings

FRESH = 5.0
"""Seconds: evidence of this age is too old for a deletion."""

STORAGES = "/API/files/v1/storages/"
ASSET = "/API/files/v1/assets/"

_DELETION = re.compile(rf"{ASSET}([^/]+)/file_sets/([^/]+)/(?:purge/)?")


class Call(NamedTuple):
    """A request of the plugin.

    Attributes:
        sent: when the plugin sent it.
        status: of the answer; None: the answer was lost.
        body: the answer; empty where it holds no JSON object.
    """

    method: str
    path: str
    query: Mapping[str, str]
    sent: float
    status: int | None
    body: Mapping[str, Any]

    @property
    def is_first_page(self) -> bool:
        """Whether the request begins a list."""
        return "last_id" not in self.query and self.query.get("page", "1") == "1"


class Reading(NamedTuple):
    """A list, as the pages of it said.

    Attributes:
        rows: the rows by their ids.
        begun: the number of the request for the first page.
        asked: when that was sent.
        is_whole: whether no row is missing.
    """

    rows: Mapping[str, Row]
    begun: int
    asked: float
    is_whole: bool


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
    removable = {"ACTIVE"} if settings.use_recycle_bin else {"ACTIVE", "DELETED"}
    return {
        id
        for asset_id in world.assets
        for state in [_state_of(world, asset_id)]
        for id, file_set in state.file_sets.items()
        if file_set["status"] in removable and not any(_reasons(state, file_set, settings))
    }


# When the evidence was asked for


def _wrongs(
    log: Sequence[Call], call: Call, settings: Settings, selected: Set[str]
) -> Iterator[str]:
    asset_id, file_set_id = _DELETION.fullmatch(call.path).groups()
    if asset_id not in selected:
        yield "nobody selected the asset"
    if settings.use_recycle_bin and (call.path.endswith("/purge/") or call.query):
        yield "it cannot be restored"
    of_asset = (f"{ASSET}{asset_id}/{name}/" for name in ("file_sets", "formats", "files"))
    readings = [_last_reading(log, path) for path in (*of_asset, STORAGES)]
    if not all(reading and reading.is_whole for reading in readings):
        yield "the evidence is not whole"
        return
    state = State(*(reading.rows for reading in readings))
    if file_set_id not in state.file_sets:
        yield "iconik does not list it"
        return
    yield from _age(log, call, dict(zip(State._fields, readings, strict=True)))
    yield from _reasons(state, state.file_sets[file_set_id], settings)


def _age(log: Sequence[Call], call: Call, readings: Mapping[str, Reading]) -> Iterator[str]:
    """Yield what is too old of the evidence for a deletion."""
    same = [n for n, each in enumerate(log) if (each.method, each.path) == ("DELETE", call.path)]
    sent_before = max(same, default=-1)
    for name, reading in readings.items():
        if call.sent - reading.asked >= FRESH:
            yield f"{name} of {reading.asked} are too old"
        elif reading.begun < sent_before and name != "storages":
            yield f"no look at {name} between"


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
    pages = [log[number] for number in numbers if number >= begun]
    rows = {row["id"]: row for page in pages for row in page.body.get("objects", ())}
    total = max(page.body.get("total", 0) for page in pages)
    return Reading(rows, begun, pages[0].sent, len(rows) >= total)


# What the evidence must say


def _reasons(state: State, file_set: Row, settings: Settings) -> Iterator[str]:
    """Yield why a file set must stay."""
    of, files = state.formats.get(file_set["format_id"]), _files_of(state, file_set)
    if of is None or of["name"] not in settings.format_names:
        yield "its format is not chosen"
        return
    yield from _reasons_of_storages(state, file_set, settings)
    if file_set["status"] not in ("ACTIVE", "DELETED"):
        yield "its own record is not ACTIVE"
    if not _is_sound(state, file_set):
        yield "its record and its rows are not to be relied on"
    if not _paths(files).isdisjoint(_paths(_files_beside(state, file_set))):
        yield "another file set has a file at the same place"
    if not any(
        _is_master(state, master, file_set)
        for master in state.file_sets.values()
        if master["storage_id"] in _masters(state, settings)
    ):
        yield "it has no complete master"


def _reasons_of_storages(state: State, file_set: Row, settings: Settings) -> Iterator[str]:
    named = [row for row in state.storages.values() if row["name"] == settings.storage_name]
    if [row["id"] for row in named] != [file_set["storage_id"]]:
        yield "it is not on the storage"
    elif named[0]["method"] != "FILE":
        yield "the storage is not of type FILE"


def _masters(state: State, settings: Settings) -> set[str]:
    """Return the storages whose copies count; none where one is the storage to remove from."""
    wanted = settings.master_storage_name
    masters = [
        row
        for row in state.storages.values()
        if (row["name"] == wanted if wanted else row["method"] == "B2")
    ]
    places = {
        place
        for row in state.storages.values()
        if row["name"] == settings.storage_name
        for place in (row["id"], row["settings"].get("mount_point"))
    }
    for row in masters:
        mount_point = row["settings"].get("mount_point") if row["method"] == "FILE" else None
        if places & ({row["id"], mount_point} - {None}):
            return set()
    return {row["id"] for row in masters if row["status"] == "ACTIVE"}


def _is_sound(state: State, file_set: Row) -> bool:
    """Whether the files of a set are listed whole, and do not contradict its record."""
    files, of = _files_of(state, file_set), state.formats[file_set["format_id"]]
    count = file_set.get("file_count")
    said = [("format_id", file_set["format_id"]), ("storage_id", file_set["storage_id"])]
    said.append(("format_status", of["status"]))
    if file_set["status"] == "ACTIVE":
        said.append(("file_set_status", "ACTIVE"))
    return (
        {of["status"], *(row["format_status"] for row in files)} <= {"ACTIVE", None}
        and all(
            None in (row[field], value) or row[field] == value
            for row in files
            for field, value in said
        )
        and len(files) >= (count or 0)
        and not (count is None and file_set["type"] == "MANY_FILES")
        and any(row["type"] != "DIRECTORY" for row in files)
    )


def _is_master(state: State, master: Row, file_set: Row) -> bool:
    """Whether a file set is a complete copy of another one."""
    if master["format_id"] != file_set["format_id"] or master["status"] != "ACTIVE":
        return False
    rows, of_master = _files_of(state, file_set), _files_of(state, master)
    of = state.formats[file_set["format_id"]]
    versions = {row["version_id"] for row in (of, master, file_set, *rows, *of_master)} - {None}
    copies = [row for row in of_master if row["type"] != "DIRECTORY"]
    return (
        _is_sound(state, master)
        and len(versions) <= 1
        and all(row["status"] == "CLOSED" for row in copies)
        and _each_has_its_own([row for row in rows if row["type"] != "DIRECTORY"], copies)
    )


def _each_has_its_own(files: Sequence[Row], copies: Sequence[Row]) -> bool:
    """Whether all files can be paired with copies of their own: a bipartite matching."""
    partner: dict[int, int] = {}

    def find(file: int, tried: set[int]) -> bool:
        for number, copy in enumerate(copies):
            if number not in tried and _saves(copy, files[file]):
                tried.add(number)
                if number not in partner or find(partner[number], tried):
                    partner[number] = file
                    return True
        return False

    return all(find(file, set()) for file in range(len(files)))


def _saves(copy: Row, file: Row) -> bool:
    """Whether nothing is lost of a file if only a copy of it is left."""
    if (_nfc(copy["original_name"]), copy["type"]) != (_nfc(file["original_name"]), file["type"]):
        return False
    if file["status"] == "AWAITED" and not file["size"]:
        return True
    if not ((file["size"] or 0) > 0 and (copy["size"] or 0) > 0):
        return False
    one, other = (str(row["checksum"] or "").lower() for row in (copy, file))
    if len(one) == len(other) and one != other:
        return False
    if file["status"] in ("OPEN", "GROWING", "AWAITED"):
        return bool(file["size"] <= copy["size"])
    return bool(file["size"] == copy["size"])


def _files_of(state: State, file_set: Row) -> list[Row]:
    return [row for row in state.files.values() if row["file_set_id"] == file_set["id"]]


def _files_beside(state: State, file_set: Row) -> list[Row]:
    """Return the files on the same storage of other sets that are not in the recycle bin."""
    place = file_set["storage_id"]
    found = []
    for row in state.files.values():
        other = state.file_sets.get(row["file_set_id"], {"storage_id": None, "status": None})
        is_there = place in (row["storage_id"], other["storage_id"])
        if is_there and row["file_set_id"] != file_set["id"] and other["status"] != "DELETED":
            found.append(row)
    return found


def _paths(files: Sequence[Row]) -> set[tuple[str, str]]:
    return {(_nfc(row["directory_path"] or "").strip("/"), _nfc(row["name"])) for row in files}


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _state_of(world: World, asset_id: str) -> State:
    """Return what iconik would say of an asset now."""
    file_sets = world.file_sets.of_asset[asset_id]
    return State(
        {id: {"file_count": len(world.files_in(id)), **row} for id, row in file_sets.items()},
        world.formats.of_asset[asset_id],
        {
            id: {"file_set_status": file_sets[row["file_set_id"]]["status"]}
            | row
            | world.quirks.unsaid
            for id, row in world.files.of_asset[asset_id].items()
        },
        world.storages,
    )
