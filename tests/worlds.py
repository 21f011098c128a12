"""Worlds for the property tests: what iconik holds, what changes meanwhile, and what goes wrong.

Most of a world is as usual, so that most removals delete something; each oddity is rare.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import flask
import requests
from hypothesis import strategies as st
from requests.adapters import BaseAdapter

from sandbox.faults import REFUSALS, RESET_AFTER, RESET_BEFORE, TRUNCATED
from sandbox.quirks import Quirks
from sandbox.server import create_app
from sandbox.world import Row, World, new_id
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.errors import PluginError
from storage_plugin.pace import Deadline, Pace
from storage_plugin.plan import make_plan
from storage_plugin.progress import Progress
from storage_plugin.report import Removal
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.transfers import remove
from storage_plugin.webhook import Selection
from storage_plugin.wire import new_session
from tests.conftest import Time
from tests.oracle import Call, look_before
from tests.test_archive import archive_selection

IN_PROCESS = "http://localhost"
STORAGES = {"LucidLink": "FILE", "B2": "B2", "Second B2": "B2", "NAS": "FILE", "S3": "S3"}
FORMATS = ("ORIGINAL", "PROXY", "OTHER")
NAMES = ("clip.mov", "clip.wav", "Übung.mov")
MD5, OTHER_MD5, SHA1 = "d0" * 16, "e1" * 16, "f2" * 20
STRANGE = "11f0aaaa-0000-4000-8000-00000000000b"
"""An id that belongs to nothing."""

FAILS_AFTER = "500, but done"
"""A fault: the work is done, and the answer says that it is not."""


class Edit(NamedTuple):
    """Something odd about a world from its beginning, or a change of it during a removal.

    Attributes:
        place: `copy`, `master`, `both`, or `second`: the storage that is meant.
        part: what is changed: a `file`, a `file set`, a `format`, the `storage`; or what happens.
        fields: what is changed of it.
        number: which of them.
    """

    place: str
    part: str
    fields: Row
    number: int


class Step(NamedTuple):
    """What befalls a request.

    Attributes:
        seconds: how long the answer takes.
        fault: what goes wrong.
        edits: what changes before iconik serves the request.
    """

    seconds: float | None = None
    fault: str | None = None
    edits: Sequence[Edit] = ()


class Scene(NamedTuple):
    """A world, and a removal in it.

    Attributes:
        seconds: how long an answer takes.
        steps: what befalls a request, by its number; that of a deletion counts down from -1.
    """

    settings: Settings
    quirks: Row
    assets: Sequence[Row]
    odd: Sequence[Edit] = ()
    seconds: float = 0.125
    steps: Mapping[int, Step] = {}


def mostly(usual: Any, *odd: Any) -> st.SearchStrategy[Any]:
    """Choose what is usual five times as often as all that is odd."""
    return st.sampled_from([usual] * 5 * len(odd) + list(odd))


# Changes

STATES = ("OPEN", "GROWING", "AWAITED", "FAILED", "ARCHIVED", "MISSING", "DELETED", None)
ODD_FILES: list[Row] = [
    *({"size": size} for size in (999, 0, None)),
    *({"checksum": checksum} for checksum in (MD5.upper(), OTHER_MD5, SHA1, None)),
    *({"type": type} for type in ("DIRECTORY", "SYMLINK")),
    {"original_name": "other.mov"},
    {"original_name": NAMES[0]},
    {"file_set_status": "DELETED"},
    {"format_status": "DELETED"},
    *({field: STRANGE} for field in ("version_id", "format_id", "storage_id")),
]
ODD_FILE_SETS: list[Row] = [
    *({"status": status} for status in ("ACTIVE", "ARCHIVED", "DELETED", "PENDING", None)),
    *({"file_count": count} for count in (24, 1)),
    {"file_count": None, "type": "MANY_FILES"},
    *({field: STRANGE} for field in ("version_id", "format_id", "storage_id")),
]
ODD_FORMATS: list[Row] = [{"status": "DELETED"}, {"status": None}, {"version_id": STRANGE}]
ODD_STORAGES: list[Row] = [{"status": status} for status in ("FAILING", "INACTIVE", "ACTIVE")]
UNFINISHED: list[Row] = [
    {"status": "GROWING", "size": 9_000_000},
    {"status": "OPEN", "size": 10},
    {"status": "OPEN", "checksum": OTHER_MD5},
    {"status": "AWAITED", "size": 0, "checksum": OTHER_MD5},
    {"status": "AWAITED", "size": None},
]
MOVED: list[Row] = [
    {"method": "FILE", "settings": {"mount_point": "/mnt/LucidLink"}},
    {"method": "S3"},
]
"""What a storage may become: one at the same place, or one of another type."""


def _kinds(place: str, part: str, rows: Sequence[Row]) -> list[tuple[str, str, Row]]:
    return [(place, part, fields) for fields in rows]


CHANGES = [
    *(kind for place in ("copy", "master") for kind in _kinds(place, "file", ODD_FILES)),
    *(kind for place in ("copy", "master") for kind in _kinds(place, "storage", MOVED)),
    *(kind for place in ("copy", "master") for kind in _kinds(place, "file set", ODD_FILE_SETS)),
    *_kinds("copy", "file", UNFINISHED * 2),
    *_kinds("copy", "file", [{"status": "MISSING"}, {"name": "x.mov", "directory_path": "x"}]),
    *_kinds("master", "file", [{"status": status} for status in (*STATES, "CLOSED")]),
    *_kinds("both", "file", [{"size": 0}, {"size": None}, {"type": "DIRECTORY"}]),
    *_kinds("copy", "format", ODD_FORMATS),
    *_kinds("master", "storage", ODD_STORAGES),
    *((place, "vanish", {}) for place in ("copy", *["master"] * 3)),
    *((place, "join", {}) for place in (*["copy"] * 3, "master")),
    *((place, "repeat", {}) for place in ("copy", "master")),
    *((place, "folder", {}) for place in ("copy", "master")),
    *[("copy", "collide", {})] * 3,
    *[("master", "purge", {})] * 4,
    *((place, "purge", {}) for place in ("copy", "second")),
]


def once(kinds: Sequence[tuple[str, str, Row]]) -> list[tuple[str, str, Row]]:
    """Return each of some oddities once."""
    return [kind for number, kind in enumerate(kinds) if kind not in kinds[:number]]


def edits(kinds: Sequence[tuple[str, str, Row]]) -> st.SearchStrategy[Edit]:
    """Choose something odd about a file set, or about its storage."""
    return st.builds(lambda kind, n: Edit(*kind, n), st.sampled_from(kinds), st.integers(0, 3))


def apply(world: World, edit: Edit, settings: Settings) -> bool:
    """Make a change; return whether it is one."""
    before = _snapshot(world)
    names = {
        "copy": [settings.storage_name],
        "master": [settings.master_storage_name or "B2"],
        "second": ["Second B2"],
    }
    names["both"] = names["copy"] + names["master"]
    for storage in list(world.storages.values()):
        if storage["name"] in names[edit.place]:
            if edit.part == "storage":
                storage.update(edit.fields)
            else:
                _apply_to_storage(world, edit, storage["id"])
    return _snapshot(world) != before


def _apply_to_storage(world: World, edit: Edit, storage_id: str) -> None:
    file_sets = [row for row in world.file_sets.values() if row["storage_id"] == storage_id]
    if not file_sets:
        return
    file_set = file_sets[edit.number % len(file_sets)]
    files = world.files_in(file_set["id"])
    if edit.part == "file set":
        file_set.update(edit.fields)
    elif edit.part == "format" and file_set["format_id"] in world.formats:
        world.formats[file_set["format_id"]].update(edit.fields)
        for file in world.files.of_asset[file_set["asset_id"]].values():
            if "status" in edit.fields and file["format_id"] == file_set["format_id"]:
                file["format_status"] = edit.fields["status"]
    elif edit.part == "purge":
        world.purge(file_set["id"])
    elif files and edit.part == "file":
        files[edit.number % len(files)].update(edit.fields)
    elif files:
        _happen(world, edit.part, file_set, files[-1])


def _happen(world: World, what: str, file_set: Row, file: Row) -> None:
    """Let rows of files vanish from a set, or come."""
    if what == "vanish":
        del world.files[file["id"]]
    elif what == "collide":
        beside = {**file_set, "id": new_id(), "format_id": STRANGE}
        world.file_sets[beside["id"]] = beside
        _insert(world, file | {"file_set_id": beside["id"], "format_id": STRANGE})
    else:
        new: dict[str, Row] = {
            "join": {"original_name": "new.mov", "name": "new.mov"},
            "repeat": {"directory_path": "again"},
            "folder": {"original_name": "folder", "name": "folder", "type": "DIRECTORY"},
        }
        _insert(world, file | new.get(what, {}))


def _insert(world: World, file: Row) -> None:
    id = new_id()
    world.files[id] = file | {"id": id}


def _snapshot(world: World) -> object:
    tables = (world.storages, world.formats, world.file_sets, world.files)
    return [{id: dict(row) for id, row in table.items()} for table in tables]


# Worlds

USUAL: Row = {
    "names": ["clip.mov"],
    "formats": ("ORIGINAL",),
    "fields": {},
    "form": "NFC",
    "masters": ("master",),
    "in_folders": True,
    "copy": {},
}
"""An asset with a master and a copy."""

SMALL = (
    USUAL | {"fields": {"checksum": MD5}},
    USUAL | {"names": ["clip.mov", "clip.mov"]},
    USUAL | {"copy": {"status": "DELETED"}},
)
"""Assets on which an oddity shows."""

ASSETS = st.fixed_dictionaries(
    {
        "names": st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
        "formats": st.sampled_from([("ORIGINAL",), ("ORIGINAL", "PROXY")]),
        "fields": st.sampled_from(
            [*[{}, {"checksum": MD5}] * 4, {"type": "SEQUENCE"}, {"size": 0}]
        ),
        "form": mostly("NFC", "NFD"),
        "masters": mostly(("master",), ("second",), ("master", "second"), ()),
        "in_folders": mostly(True, False),
        "copy": mostly({}, {"status": "DELETED"}),
    }
)
SETTINGS = st.fixed_dictionaries(
    {
        "iconik_id": st.just(World.app_id),
        "storage_name": st.sampled_from(["LucidLink"] * 19 + ["S3"]),
        "format_names": st.sampled_from([("ORIGINAL",), ("ORIGINAL", "PROXY")]),
        "master_storage_name": mostly("B2", None, "NAS", None, "LucidLink"),
        "use_recycle_bin": mostly(False, True),
        "iconik_url": st.just(IN_PROCESS),
    }
).map(lambda values: Settings(**values))
UNSAID = {"file_set_status": None, "format_status": None, "version_id": None}
QUIRKS = st.fixed_dictionaries(
    {
        "links_pages": st.booleans(),
        "rows_per_page": mostly(None, 1, 2),
        "knows_immediately": mostly(True, False),
        "unsaid": mostly({}, UNSAID, {"file_set_status": "ACTIVE"}),
    }
)
ODD = st.lists(edits(CHANGES), max_size=3).map(lambda edits: edits[1:])
"""Mostly nothing or one thing: what is odd in several ways tells little."""

FAULTS = [*REFUSALS, RESET_BEFORE, RESET_AFTER, TRUNCATED, FAILS_AFTER]
STEPS = st.builds(
    Step,
    seconds=mostly(None, 1.0, 3.0, 5.0, 11.0),
    fault=st.sampled_from([*[None] * 9, "429", *FAULTS]),
    edits=edits(CHANGES).map(lambda edit: [edit]),
)
NUMBERS = st.sampled_from([*range(10), *[-1] * 8, -2, -2, -3])
DELETIONS = mostly({}, {"deletion_status": 202}, {"deletion_status": 404, "deletions_work": False})

WORLD = {
    "settings": SETTINGS,
    "quirks": QUIRKS,
    "assets": st.lists(ASSETS, min_size=1, max_size=2),
}
AT_REST: dict[str, Any] = {"seconds": st.just(0.125), "steps": st.just({})}
CALM = st.builds(Scene, **WORLD, odd=ODD, **AT_REST)
"""Worlds in which nothing changes by itself, and nothing goes wrong."""

UNEASY: dict[str, Any] = {
    "odd": ODD.map(lambda edits: edits[2:]),
    "seconds": st.sampled_from([0.125, 0.125, 0.125, 0.75, 1.25, 1.5]),
    "steps": st.dictionaries(NUMBERS, STEPS, max_size=2),
}
CHANGING = st.builds(
    Scene, **WORLD | {"quirks": st.builds(dict.__or__, QUIRKS, DELETIONS)}, **UNEASY
)
"""Worlds that change while iconik is slow, and requests fail."""

RENDERS = WORLD | {
    "settings": st.builds(
        Settings._replace,
        SETTINGS,
        master_storage_name=st.just("B2"),
        archive_before_remove=st.just(True),
    ),
    "quirks": st.builds(dict.__or__, QUIRKS, st.just({"copies_take_time": True})),
    "assets": st.lists(
        st.builds(dict.__or__, ASSETS, st.fixed_dictionaries({"masters": mostly((), ("master",))})),
        min_size=1,
        max_size=2,
    ),
}
ARCHIVING = st.builds(Scene, **RENDERS, odd=ODD, **AT_REST) | st.builds(Scene, **RENDERS, **UNEASY)
"""Worlds whose masters must be made first."""


def fill(world: World, scene: Scene) -> None:
    """Put into a world what a scene holds."""
    settings = scene.settings
    places = {name: world.add_storage(name, method) for name, method in STORAGES.items()}
    sites = {"copy": places[settings.storage_name], "second": places["Second B2"]}
    sites["master"] = places[settings.master_storage_name or "B2"]
    for asset in scene.assets:
        asset_id = world.add_asset("Clip", FORMATS)
        for format_name in asset["formats"]:
            for site in ("copy", *asset["masters"]):
                files = _files(asset, format_name, is_copy=site == "copy")
                changes = asset["copy"] if site == "copy" else {}
                world.add_file_set(asset_id, sites[site], files, format_name, **changes)
    for edit in scene.odd:
        apply(world, edit, settings)


def _files(asset: Row, format_name: str, *, is_copy: bool) -> list[Row]:
    """Return the files of a copy, or of its master; files of one name are in folders."""
    return [
        {
            "original_name": unicodedata.normalize("NFC" if is_copy else asset["form"], name),
            "directory_path": f"{format_name if asset['in_folders'] else ''}/{number}",
            **asset["fields"],
        }
        for number, name in enumerate(asset["names"])
    ]


def all_but(world: World, file_sets: set[str]) -> Row:
    """Return a copy of all that a world holds, but for some file sets."""
    held = {name: dict(rows) for name, rows in vars(world).items() if isinstance(rows, dict)}
    for id in file_sets:
        held["file_sets"].pop(id, None)
    for id, row in world.files.items():
        if row["file_set_id"] in file_sets:
            del held["files"][id]
    return deepcopy(held)


def is_there(world: World, file_set_id: str) -> bool:
    """Whether a file set is neither gone nor in the recycle bin."""
    return world.file_sets.get(file_set_id, {"status": "DELETED"})["status"] != "DELETED"


def is_whole_render(asset: Row) -> bool:
    """Whether nothing about an asset keeps it from being copied, and then removed."""
    is_sound = asset["in_folders"] and asset["fields"] != {"size": 0} and not asset["copy"]
    return is_sound and not asset["masters"]


# Removals


class Wire(BaseAdapter):
    """Hands requests to an application in process, which is much faster than a socket."""

    def __init__(self, app: flask.Flask) -> None:
        super().__init__()
        self._client = app.test_client(use_cookies=False)

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send a request and return the answer."""
        answer = self._client.open(
            request.path_url,
            method=request.method,
            headers=request.headers.items(),
            data=request.body,
        )
        return _response(answer.status_code, answer.data)

    def close(self) -> None:
        """Do nothing: there is no connection."""


class EventfulWire(Wire):
    """Lets befall each request what a scene says, and logs it.

    Attributes:
        scene: what befalls the requests; None: nothing does.
        log: the requests.
        changed: the numbers of those before which the world changed.
        deleted: the numbers of those that deleted something.
    """

    def __init__(self, world: World) -> None:
        super().__init__(create_app(world))
        self._world = world
        self.reset(None)

    def reset(self, scene: Scene | None) -> None:
        """Begin another scene."""
        self.scene, self.time = scene, Time()
        self.log: list[Call] = []
        self.changed: set[int] = set()
        self.deleted: list[int] = []
        self._deletions = 0

    def send(
        self,
        request: requests.PreparedRequest,
        *_: Any,
        timeout: tuple[float, float],
        **__: Any,
    ) -> requests.Response:
        """Send a request, unless something befalls it, and return the answer."""
        step, sent, number = self._next_step(request), self.time.now, len(self.log)
        usual = self.scene.seconds if self.scene else 0.0
        seconds = usual if step.seconds is None else step.seconds
        is_late, seconds = seconds > timeout[1], min(seconds, timeout[1])
        self.time.now += seconds / 2
        for edit in step.edits if self.scene else ():
            if apply(self._world, edit, self.scene.settings):
                self.changed.add(number)
        answer = self._answer(request, step.fault)
        self.time.now += seconds / 2
        self.log.append(_call(request, sent, self.time.now, None if is_late else answer))
        if is_late:
            raise requests.ReadTimeout
        if answer is None:
            raise requests.ConnectionError
        return answer

    def _next_step(self, request: requests.PreparedRequest) -> Step:
        steps = self.scene.steps if self.scene else {}
        self._deletions += request.method == "DELETE"
        of_deletion = steps.get(-self._deletions) if request.method == "DELETE" else None
        return of_deletion or steps.get(len(self.log), Step())

    def _answer(
        self, request: requests.PreparedRequest, fault: str | None
    ) -> requests.Response | None:
        """Return the answer to a request; None: it is lost."""
        if fault == RESET_BEFORE:
            return None
        if fault in REFUSALS:
            status, headers = REFUSALS[fault]
            return _response(status, b"<html>fault</html>", headers)
        answer = super().send(request)
        if request.method == "DELETE" and answer.ok:
            self.deleted.append(len(self.log))
        if fault == TRUNCATED:
            data = answer.raw.getvalue()
            return _response(answer.status_code, data[: len(data) // 2])
        if fault == FAILS_AFTER:
            return _response(500, b"")
        return None if fault == RESET_AFTER else answer


def _response(status: int, data: bytes, headers: Any = ()) -> requests.Response:
    response = requests.Response()
    response.status_code, response.raw = status, BytesIO(data)
    response.headers.update(headers)
    return response


def _call(
    request: requests.PreparedRequest,
    sent: float,
    arrived: float,
    answer: requests.Response | None,
) -> Call:
    """Return what the log says of a request; a list that did not arrive whole is lost."""
    url, body = urlsplit(request.path_url), None
    if answer is not None:
        with suppress(ValueError):
            body = json.loads(answer.raw.getvalue())
    is_lost = answer is None or (request.method == "GET" and body is None)
    status = None if is_lost else answer.status_code
    query = dict(parse_qsl(url.query))
    return Call(str(request.method), url.path, query, sent, arrived, status, body or {})


class Sandbox:
    """An iconik that becomes another world for each example."""

    def __init__(self) -> None:
        self.world = World()
        self.wire = EventfulWire(self.world)
        self.session = new_session()
        self.session.mount(IN_PROCESS, self.wire)

    def reset(self, scene: Scene | None = None, **quirks: Any) -> World:
        """Return another world: that of a scene, or one that holds nothing."""
        self.wire.reset(scene)
        vars(self.world).update(vars(World(quirks=Quirks(**(scene.quirks if scene else quirks)))))
        if scene:
            fill(self.world, scene)
        return self.world

    def rest(self, deadline: Deadline) -> Rest:
        """Return what sends requests to the world, in a time of its own."""
        time = self.wire.time
        settings = Settings(self.world.app_id, "LucidLink", iconik_url=IN_PROCESS)
        read = lambda **_: self.world.token  # noqa: E731
        pace = Pace(time, time.sleep)
        return Rest(self.session, settings, read_token=read, pace=pace, deadline=deadline)

    def remove(self, configured: Settings) -> Sequence[Removal]:
        """Remove all assets, as the function does; return nothing where that is impossible."""
        deadline = Deadline(60, self.wire.time)
        iconik, progress = BackgroundIconik(self.rest(deadline)), Progress(deadline)
        selection = Selection(assets=tuple(self.world.assets))
        with suppress(PluginError):
            if configured.archive_before_remove:
                return archive_selection(iconik, selection, configured, progress=progress)
            plan = make_plan(iconik, configured)
            return remove(iconik, selection, plan, progress=progress).removals
        return []

    def overtaken(self) -> int:
        """Return for how many deletions the world changed after the look that they rest on."""
        log, changed = self.wire.log, self.wire.changed
        looks = (
            (number, look_before(log[:number], call))
            for number, call in enumerate(log)
            if call.method == "DELETE"
        )
        return sum(
            any(look.file_sets.begun < change <= number for change in changed)
            for number, look in looks
            if look
        )
