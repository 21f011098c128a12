"""Worlds for the property tests: what iconik holds, what changes meanwhile, and what goes wrong.

Most of a world is as usual, so that most removals delete something; each oddity is rare.
"""

import itertools
import json
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import requests
from hypothesis import strategies as st

from sandbox.faults import REFUSALS, RESET_AFTER, RESET_BEFORE, TRUNCATED
from sandbox.quirks import Quirks
from sandbox.server import create_app
from sandbox.world import Row, Table, World, new_id
from storage_plugin.errors import PluginError
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import Removal
from storage_plugin.removal.report import Outcome
from storage_plugin.settings import Settings
from tests.conftest import Time
from tests.in_process import URL, Answer, InProcess
from tests.oracle import Call

STORAGES = {"LucidLink": "FILE", "B2": "B2", "Second B2": "B2", "NAS": "FILE", "S3": "S3"}
FORMATS = ("ORIGINAL", "PROXY", "OTHER")
NAMES = ("clip.mov", "clip.wav", "Übung.mov")
MD5, OTHER_MD5, SHA1 = "d0" * 16, "e1" * 16, "f2" * 20
OF_PARTS, OF_OTHER_PARTS = f"{MD5}-25", f"{OTHER_MD5}-50"
OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
STRANGE = "11f0aaaa-0000-4000-8000-00000000000b"  # An id that belongs to nothing.
FAILS_AFTER = "500, but done"  # A fault: the work is done, and the answer says that it is not.


class Edit(NamedTuple):
    """Something odd about a world from its beginning, or a change of it during a removal."""

    place: str  # The storage that is meant: `copy`, `master`, `both` or `second`.
    part: str  # A `file`, a `file set`, a `format` or the `storage` changes; or what happens.
    fields: Row  # What changes of it.
    number: int = 0  # Which of them.


class Step(NamedTuple):
    """What befalls a request."""

    seconds: float | None = None  # How long the answer takes.
    fault: str | None = None
    edits: Sequence[Edit] = ()  # What changes before iconik serves the request.


class Scene(NamedTuple):
    """A world, and a removal in it."""

    settings: Settings
    quirks: Row
    assets: Sequence[Row]
    odd: Sequence[Edit] = ()
    seconds: float = 0.125  # How long an answer takes.
    steps: Mapping[int, Step] = {}  # By the number of a request; deletions count down from -1.


NOTHING = Scene(Settings(World.app_id, "LucidLink", iconik_url=URL), {}, (), seconds=0.0)


def mostly(usual: Any, *odd: Any) -> st.SearchStrategy[Any]:
    """Choose what is usual five times as often as all that is odd."""
    return st.sampled_from([usual] * 5 * len(odd) + list(odd))


def build(kind: type, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Choose some fields of a tuple; `st.builds` would choose the others, too."""
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


# Changes

STATES = ("OPEN", "GROWING", "AWAITED", "FAILED", "ARCHIVED", "MISSING", "DELETED", None)
OF_ANOTHER = dict.fromkeys(("version_id", "format_id", "storage_id"), (STRANGE, None))
# A storage may become one at, in, above or beside the same place.
PATHS = ("/mnt/LucidLink", "/mnt/lucidlink/masters/", "\\mnt\\LucidLink", "/", "/mnt/LucidLink2")
MOVED: list[Row] = [{"method": "FILE", "settings": {"mount_point": path}} for path in PATHS]


def _each(**fields: Sequence[object]) -> list[Row]:
    """Return rows that have one field each, with each of its values."""
    return [{name: value} for name, values in fields.items() for value in values]


def _named(name: str, **fields: object) -> Row:
    return {"original_name": name, "name": name, **fields}


ODD_FILES = _each(
    size=(999, 0, None),
    checksum=(MD5, MD5.upper(), OTHER_MD5, SHA1, OF_PARTS, OF_OTHER_PARTS, OF_NOTHING, None),
    type=("DIRECTORY", "SYMLINK"),
    original_name=("other.mov", NAMES[0], "CLIP.mov", ".DS_Store"),
    status=("REDISCOVERED",),
    file_set_status=("DELETED",),
    format_status=("DELETED",),
    **OF_ANOTHER,
)
ODD_FILE_SETS = [
    {"file_count": None, "type": "MANY_FILES"},
    *_each(status=("ACTIVE", "ARCHIVED", "DELETED", "PENDING", None)),
    *_each(file_count=(24, 1, 0, None), **OF_ANOTHER),
]
UNFINISHED: list[Row] = [
    {"status": "GROWING", "size": 9_000_000},
    {"status": "OPEN", "size": 10},
    {"status": "OPEN", "checksum": OTHER_MD5},
    {"status": "AWAITED", "size": 0, "checksum": OTHER_MD5},
    {"status": "AWAITED", "size": None},
]
EMPTY: list[Row] = [{"size": 0}, {"size": 0, "checksum": None}, {"size": 0, "checksum": OF_NOTHING}]
NEW_FILES: list[Row] = [
    *[_named("new.mov")] * 2,
    {"directory_path": "again"},
    *(_named(name) for name in (".DS_Store", "Icon\r", "._clip.mov", "._other.mov")),
    *(_named("folder", type="DIRECTORY", **row) for row in ({}, {"directory_path": ""})),
    _named("ORIGINAL", type="DIRECTORY", directory_path=""),
    _named("", type="DIRECTORY", directory_path="") | {"original_name": "/"},
    _named("lock", size=0, checksum=OF_NOTHING),
    _named("lock", size=0),
    {"size": 500},
]
SAME_PLACE: list[Row] = [
    *[{}] * 3,
    *({"name": name} for name in ("CLIP.MOV", "clip.mov. ", "other.mov")),
    {"size": 999},
    {"checksum": MD5},
    {"storage_id": None},
    {"type": "DIRECTORY"},
    {"directory_path": "Folder", "name": "x"},
]


def _edits(places: str, part: str, rows: Sequence[Row] = ({},)) -> list[Edit]:
    return [Edit(place, part, fields) for place in places.split() for fields in rows]


# What may be odd, or change. What is here several times is as much more likely.
CHANGES = [
    *_edits("copy master", "file", ODD_FILES),
    *_edits("copy master", "storage", [{"method": "S3"}]),
    *_edits("master", "storage", MOVED),
    *_edits("copy master", "file set", ODD_FILE_SETS),
    *_edits("copy copy", "file", UNFINISHED),
    *_edits("copy", "file", [{"status": "MISSING"}, {"name": "x.mov", "directory_path": "x"}]),
    *_edits("master", "file", _each(status=(*STATES, "CLOSED"))),
    *_edits("both", "file", [*EMPTY, {"size": None}, {"type": "DIRECTORY"}]),
    *_edits("copy", "format", _each(status=("DELETED", None), version_id=(STRANGE,))),
    *_edits("master", "storage", _each(status=("FAILING", "INACTIVE", "ACTIVE"))),
    *_edits("copy master master master", "vanish"),
    *_edits("copy master both", "join", NEW_FILES),
    *_edits("copy master", "collide", SAME_PLACE),
    *_edits("copy master both", "twin", [{}, {"status": "DELETED"}]),
    *_edits("copy", "empty"),
    *_edits("copy", "no format"),
    *_edits("master master master master copy second", "purge"),
]
EACH = [edit for number, edit in enumerate(CHANGES) if edit not in CHANGES[:number]]
EDITS = st.builds(Edit._replace, st.sampled_from(CHANGES), number=st.integers(0, 3))


def apply(world: World, edit: Edit, settings: Settings) -> bool:
    """Make a change; return whether it is one."""
    tables = (world.storages, world.formats, world.file_sets, world.files)
    before = repr(tables)
    copy, master = settings.storage_name, settings.master_storage_name or "B2"
    names = {"copy": [copy], "master": [master], "both": [copy, master], "second": ["Second B2"]}
    for id, storage in world.storages.items():
        file_sets = [row for row in world.file_sets.values() if row["storage_id"] == id]
        if storage["name"] in names[edit.place] and edit.part == "storage":
            storage.update(edit.fields)
        elif storage["name"] in names[edit.place] and file_sets:
            _apply_to_file_set(world, edit, file_sets[edit.number % len(file_sets)])
    return repr(tables) != before


def _apply_to_file_set(world: World, edit: Edit, file_set: Row) -> None:
    """Change a file set, its format or its files."""
    files = world.files_in(file_set["id"])
    match edit.part:
        case "file set":
            file_set.update(edit.fields)
        case "format":
            _change_format(world, file_set, edit.fields)
        case "no format":
            for id in [*world.formats.of_asset[file_set["asset_id"]]]:
                del world.formats[id]
        case "purge":
            world.purge(file_set["id"])
        case "twin":
            twin = {"file_set_id": _insert(world.file_sets, file_set | edit.fields)}
            for file in files:
                _insert(world.files, file | twin)
        case _ if files:
            _apply_to_files(world, edit, file_set, files)


def _apply_to_files(world: World, edit: Edit, file_set: Row, files: Sequence[Row]) -> None:
    """Change the files of a file set, or add one."""
    match edit.part:
        case "file":
            files[edit.number % len(files)].update(edit.fields)
        case "vanish":
            del world.files[files[-1]["id"]]
        case "empty":
            file_set["status"] = "DELETED"
            for file in files:
                del world.files[file["id"]]
        case "join":
            _insert(world.files, files[-1] | edit.fields)
        case "collide":
            beside = _insert(world.file_sets, file_set | {"format_id": STRANGE})
            own = {"file_set_id": beside, "format_id": STRANGE}
            _insert(world.files, files[-1] | own | edit.fields)


def _change_format(world: World, file_set: Row, fields: Row) -> None:
    """Change the format of a file set, and its state in the rows of files, too."""
    if file_set["format_id"] in world.formats:
        world.formats[file_set["format_id"]].update(fields)
        for file in world.files.of_asset[file_set["asset_id"]].values():
            if "status" in fields and file["format_id"] == file_set["format_id"]:
                file["format_status"] = fields["status"]


def _insert(table: Table, row: Row) -> str:
    id = new_id()
    table[id] = row | {"id": id}
    return id


# Worlds

# An asset with a master and a copy.
USUAL: Row = {
    "names": ["clip.mov"],
    "formats": ("ORIGINAL",),
    "fields": {},
    "form": "NFC",
    "masters": ("master",),
    "in_folders": True,
    "copy": {},
}
# Assets on which an oddity shows.
SMALL = (
    USUAL | {"fields": {"checksum": MD5}},
    USUAL | {"names": ["clip.mov", "clip.mov"]},
    USUAL | {"copy": {"status": "DELETED"}},
)
ASSETS = build(
    dict,
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
    formats=st.sampled_from([("ORIGINAL",), ("ORIGINAL", "PROXY")]),
    fields=st.sampled_from([{}, {"checksum": MD5}] * 4 + [{"type": "SEQUENCE"}, {"size": 0}]),
    form=mostly("NFC", "NFD"),
    masters=mostly(("master",), ("second",), ("master", "second"), ()),
    in_folders=mostly(True, False),
    copy=mostly({}, {"status": "DELETED"}),
)
SETTINGS = build(
    Settings,
    iconik_id=st.just(World.app_id),
    storage_name=st.sampled_from(["LucidLink"] * 19 + ["S3"]),
    format_names=st.sampled_from([("ORIGINAL",), ("ORIGINAL", "PROXY")]),
    master_storage_name=mostly("B2", None, "NAS", None, "LucidLink"),
    use_recycle_bin=mostly(False, True),
    iconik_url=st.just(URL),
)
UNSAID = {"file_set_status": None, "format_status": None, "version_id": None}
PAGES: list[Row] = [
    {"counts_rows": True},
    {"links_pages": True},
    {"rows_per_page": 1, "counts_rows": True},
    {"rows_per_page": 2, "links_pages": True},
]
STATEMENTS = build(
    dict,
    knows_immediately=mostly(True, False),
    unsaid=mostly({}, UNSAID, {"file_set_status": "ACTIVE"}),
)
QUIRKS = st.builds(dict.__or__, STATEMENTS, mostly({}, *PAGES))
# Mostly nothing or one thing: what is odd in several ways tells little.
ODD = st.lists(EDITS, max_size=3).map(lambda edits: edits[1:])
FAULTS = [*REFUSALS, RESET_BEFORE, RESET_AFTER, TRUNCATED, FAILS_AFTER]
STEPS = st.builds(
    Step,
    seconds=mostly(None, 1.0, 3.0, 5.0, 11.0),
    fault=st.sampled_from([*[None] * 9, "429", *FAULTS]),
    edits=st.tuples(EDITS),
)
NUMBERS = st.sampled_from([*range(10), *[-1] * 8, -2, -2, -3])
DELETIONS = mostly({}, {"deletion_status": 202}, {"deletion_status": 404, "deletions_work": False})

WORLD = {"settings": SETTINGS, "assets": st.lists(ASSETS, min_size=1, max_size=2)}
# Worlds in which nothing changes by itself, and nothing goes wrong.
CALM = build(Scene, **WORLD, quirks=QUIRKS, odd=ODD)
# Worlds that change while iconik is slow, and requests fail.
CHANGING = build(
    Scene,
    **WORLD,
    quirks=st.builds(dict.__or__, QUIRKS, DELETIONS),
    odd=ODD.map(lambda edits: edits[1:]),
    seconds=st.sampled_from([0.125, 0.125, 0.125, 0.75, 1.25, 2.0, 3.0]),
    steps=st.dictionaries(NUMBERS, STEPS, max_size=2),
)


def fill(world: World, scene: Scene) -> None:
    """Put into a world what a scene holds. Files of one name are in folders."""
    settings = scene.settings
    places = {name: world.add_storage(name, method) for name, method in STORAGES.items()}
    sites = {"copy": places[settings.storage_name], "second": places["Second B2"]}
    sites["master"] = places[settings.master_storage_name or "B2"]
    for asset in scene.assets:
        asset_id = world.add_asset("Clip", FORMATS)
        for name, site in itertools.product(asset["formats"], ("copy", *asset["masters"])):
            form, folder = "NFC" if site == "copy" else asset["form"], name * asset["in_folders"]
            files = [
                {
                    "original_name": unicodedata.normalize(form, each),
                    "directory_path": f"{folder}/{number}",
                    **asset["fields"],
                }
                for number, each in enumerate(asset["names"])
            ]
            changes = asset["copy"] if site == "copy" else {}
            world.add_file_set(asset_id, sites[site], files, name, **changes)
    for edit in scene.odd:
        apply(world, edit, settings)


def all_but(world: World, file_sets: set[str]) -> Row:
    """Return in words all that a world holds, but for some file sets."""
    tables = [table for table in vars(world).values() if isinstance(table, dict)]
    rows = itertools.chain.from_iterable(table.items() for table in tables)
    return {id: str(row) for id, row in rows if not {id, row.get("file_set_id")} & file_sets}


def is_there(world: World, file_set_id: str) -> bool:
    """Whether a file set is neither gone nor in the recycle bin."""
    return world.file_sets.get(file_set_id, {"status": "DELETED"})["status"] != "DELETED"


# Removals


class Sandbox(InProcess):
    """An iconik that becomes another world for each example, and lets a scene happen."""

    def __init__(self) -> None:
        self.world, self.time = World(), Time()
        super().__init__(create_app(self.world))

    def reset(self, scene: Scene = NOTHING) -> World:
        """Return another world: that of a scene, or one without assets."""
        vars(self.world).update(vars(World(quirks=Quirks(**scene.quirks))))
        if scene.assets:
            fill(self.world, scene)
        self.begin(scene)
        return self.world

    def begin(self, scene: Scene) -> None:
        """Let a scene happen in the world as it is."""
        self._scene = scene
        self.log: list[Call] = []
        # The deletions that were done, and those before which the world had changed since the look.
        self.deletions = self.overtaken = 0
        self._deletions_sent, self._has_changed = 0, False

    def request(
        self, method: str, url: str, *, timeout: tuple[float, float], **call: Any
    ) -> requests.Response:
        """Send a request, unless something befalls it, and return the answer."""
        steps, is_deletion = self._scene.steps, method == "DELETE"
        step, sent = steps.get(len(self.log), Step()), self.time.now
        if is_deletion:
            self._deletions_sent += 1
            step = steps.get(-self._deletions_sent, step)
        seconds = self._scene.seconds if step.seconds is None else step.seconds
        is_late, seconds = seconds > timeout[1], min(seconds, timeout[1])
        self.time.sleep(seconds / 2)
        for edit in step.edits:
            self._has_changed |= apply(self.world, edit, self._scene.settings)
        if not is_deletion and "/file_sets/" in url:
            self._has_changed = False
        self.overtaken += is_deletion and self._has_changed
        answer, body = self._answer(method, url, call, step.fault), None
        self.time.sleep(seconds / 2)
        if is_late:
            answer = None
        if answer is not None:
            with suppress(ValueError):
                body = json.loads(answer.data)
        # A list that did not arrive whole is lost.
        is_lost = answer is None or (method == "GET" and body is None)
        status, query = None if is_lost else answer.status, call["params"] or {}
        self.log.append(Call(method, url.removeprefix(URL), query, sent, status, body or {}))
        if answer is None:
            raise requests.ReadTimeout if is_late else requests.ConnectionError
        return answer.response()

    def _answer(self, method: str, url: str, call: Row, fault: str | None) -> Answer | None:
        """Return the answer to a request; None: it is lost."""
        if fault == RESET_BEFORE:
            return None
        if fault in REFUSALS:
            status, headers = REFUSALS[fault]
            return Answer(status, b"<html>fault</html>", headers)
        answer = self.serve(method, url, call)
        self.deletions += method == "DELETE" and answer.status < 400
        half = answer._replace(data=answer.data[: len(answer.data) // 2])
        odd = {RESET_AFTER: None, TRUNCATED: half, FAILS_AFTER: Answer(500)}
        return odd.get(fault, answer)

    def remove(self, configured: Settings) -> list[Outcome]:
        """Remove all assets, one after another; return nothing where that is impossible."""
        read, pace = (lambda **_: self.world.token), Pace(self.time, self.time.sleep)
        deadline, outcomes = Deadline(120, self.time), list[Outcome]()
        rest = Rest(self, configured, read_token=read, pace=pace, deadline=deadline)
        with suppress(PluginError):
            removal = Removal(Iconik(rest), configured)
            for asset_id in [*self.world.assets]:
                outcomes.append(remove_asset(removal, asset_id))
        return outcomes
