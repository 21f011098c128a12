"""What holds of every world, every fault, every request and every list: hypothesis looks for more.

https://hypothesis.readthedocs.io/
"""

import base64
import json
import string
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from copy import deepcopy
from io import BytesIO
from itertools import chain, permutations
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import flask
import functions_framework
import pytest
import requests
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from requests.adapters import BaseAdapter
from werkzeug.test import TestResponse

from sandbox.faults import ALL_BUT_HANG, RESET_AFTER, TRUNCATED, Faults
from sandbox.server import create_app, serve
from sandbox.world import Row, World
from storage_plugin import pages
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.pace import Deadline, Pace
from storage_plugin.progress import Progress
from storage_plugin.report import Removal
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.transfers import make_plan, remove
from storage_plugin.webhook import Selection
from storage_plugin.wire import new_session
from tests.conftest import Time
from tests.test_archive import archive_selection

ROOT = Path(__file__).parent.parent
SECRET = "schlüssel-for-properties"
STORAGES = {"LucidLink": "FILE", "B2": "B2", "Other": "S3"}
FORMATS = ("ORIGINAL", "PROXY", "OTHER")
IN_PROCESS = "http://sandbox"

REPEATABLE = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The same examples in each run, however busy the machine is."""


class Schedule(Faults):
    """Faults that befall one request after another.

    Attributes:
        due: what befalls the next ones; None: nothing.
    """

    due: Iterator[str | None] = iter(())

    def next(self, path: str) -> str | None:
        """Count a request, and return what shall go wrong with it."""
        super().next(path)
        return next(self.due, None)


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
        response = requests.Response()
        response.status_code, response.raw = answer.status_code, BytesIO(answer.data)
        return response

    def close(self) -> None:
        """Do nothing: there is no connection."""


class Sandbox:
    """An iconik that becomes another world for each example."""

    def __init__(self) -> None:
        self.world = World()
        self.faults = Schedule()
        self.app = create_app(self.world)
        self._session = new_session()
        self._session.mount(IN_PROCESS, Wire(self.app))

    def reset(self, **ways: object) -> World:
        """Return a world that holds nothing and has its own ways."""
        self.faults.due = iter(())
        self.faults.requests.clear()
        vars(self.world).update(vars(World(**ways)))
        return self.world

    def rest(self, deadline: Deadline, time: Time, url: str = IN_PROCESS) -> Rest:
        """Return what sends requests to the world, in a time of its own."""
        world, pace = self.world, Pace(time, time.sleep)
        settings = Settings(world.app_id, "LucidLink", iconik_url=url)
        read = lambda **_: world.token  # noqa: E731
        return Rest(self._session, settings, read_token=read, pace=pace, deadline=deadline)

    def remove(
        self, selection: Selection, configured: Settings, url: str = IN_PROCESS
    ) -> list[Removal]:
        """Remove what is selected, as the function does."""
        time = Time()
        deadline = Deadline(60, time)
        iconik, progress = BackgroundIconik(self.rest(deadline, time, url)), Progress(deadline)
        if configured.archive_before_remove and configured.master_storage_name:
            return archive_selection(iconik, selection, configured, progress=progress)
        plan = make_plan(iconik, configured)
        return remove(iconik, selection, plan, progress=progress).removals


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Return an iconik that one thread works on, so that each example can be repeated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage_plugin.threads.WORKERS", 1)
        yield Sandbox()


@pytest.fixture(scope="module")
def url(sandbox: Sandbox) -> Iterator[str]:
    """Serve the iconik over a socket, with its faults."""
    with serve(sandbox.app, sandbox.faults) as url:
        yield url


# Removal: the worlds


def mostly(usual: Any, *odd: Any) -> st.SearchStrategy[Any]:
    """Choose what is usual five times as often as all that is odd."""
    return st.sampled_from([usual] * 5 * len(odd) + list(odd))


STATUSES = (
    "OPEN", "GROWING", "AWAITED", "FAILED", "ARCHIVED", "MISSING", "REDISCOVERED", "DELETED", None,
)  # fmt: skip
CLIP = {"original_name": "clip.mov"}
UNSAID = {"status": None, "file_set_status": None}
FIELDS = {
    "original_name": st.sampled_from(["clip.mov", "clip.wav"]),
    "type": st.sampled_from(["FILE", "SYMLINK", "DIRECTORY"]),
    "size": st.sampled_from([1000, 999, 0, None]),
    "checksum": st.sampled_from([None, "a", "b"]),
    "format_status": st.sampled_from(["ACTIVE", "DELETED", None]),
    "status": mostly("CLOSED", *STATUSES),
}


def alike(fields: list[str]) -> st.SearchStrategy[list[Row]]:
    """Choose files that are alike, but for some fields."""
    rows = st.fixed_dictionaries({field: FIELDS[field] for field in fields})
    return st.lists(rows.map(CLIP.__or__), min_size=1, max_size=3)


PAIRS = st.lists(st.sampled_from([*FIELDS]), max_size=2, unique=True).flatmap(
    lambda fields: st.tuples(alike(fields), alike(fields))
)
"""The files of a copy and of its master; such as differ in everything would tell nothing."""

# Rare ones, in which a file must not take the master that another one needs.
FITTING_FIRST = (
    [CLIP | {"checksum": "a"}, CLIP | {"checksum": "b"}],
    [CLIP, CLIP | {"checksum": "a"}],
)
UNFINISHED_LAST = ([CLIP, CLIP], [CLIP, CLIP | {"size": 999}])


def file_sets(usual_storage: str) -> st.SearchStrategy[Row]:
    """Choose a file set, and perhaps what is odd about its last file."""
    return st.fixed_dictionaries(
        {
            "storage": mostly(usual_storage, *STORAGES),
            "format": mostly(*FORMATS),
            "status": mostly("ACTIVE", "ARCHIVED", "DELETED", None),
            "odd": mostly({}, {"size": 999}, {"status": "GROWING"}),
        }
    )


ASSETS = st.fixed_dictionaries(
    {
        "files": st.lists(st.sampled_from(["clip.mov", "clip.wav"]), min_size=1, max_size=3),
        "file_sets": st.tuples(*map(file_sets, STORAGES)),
    }
)
OBJECTS = st.lists(st.integers(0, 9), max_size=2)
"""Numbers of objects, of which there may be fewer: see `pick`."""

SCENES = st.fixed_dictionaries(
    {
        "ways": st.fixed_dictionaries(
            {
                "links_pages": st.booleans(),
                "rows_per_page": mostly(None, 1, 2),
                "knows_immediately": st.booleans(),
                "copies_take_time": st.just(True),
                "lists_transfers_from": st.booleans(),
                "unsaid": mostly({}, UNSAID),
            }
        ),
        "assets": st.lists(ASSETS, min_size=1, max_size=3),
        "formats": mostly("ACTIVE", "DELETED", None),
        "collections": st.tuples(OBJECTS, OBJECTS, OBJECTS),
        "saved_searches": st.tuples(OBJECTS),
        "selected": st.tuples(OBJECTS, OBJECTS, OBJECTS),
    }
)

BURSTS = st.builds(
    lambda fault, requests: [fault] * requests,
    st.sampled_from([None, *ALL_BUT_HANG]),
    st.integers(1, 6),
)
"""What goes wrong with some requests in a row: one alone is overcome."""

CONFIGURED = st.builds(
    Settings,
    iconik_id=st.just("app"),
    storage_name=mostly("LucidLink", *STORAGES),
    format_names=st.sampled_from([("ORIGINAL",), ("ORIGINAL", "PROXY")]),
    master_storage_name=st.sampled_from(["B2", None, "Other"]),
    archive_before_remove=st.booleans(),
)


def pick(ids: list[str], numbers: list[int]) -> list[str]:
    """Return some ids, each once."""
    return list(dict.fromkeys(ids[number % len(ids)] for number in numbers))


def fill(world: World, scene: Row) -> Selection:
    """Put into a world what a scene holds, and return what is selected of it."""
    storages = {name: world.add_storage(name, method) for name, method in STORAGES.items()}
    for asset in scene["assets"]:
        asset_id = world.add_asset("Clip", FORMATS)
        for row in asset["file_sets"]:
            files = [{"original_name": name} for name in asset["files"]]
            files[-1] |= row["odd"]
            place = asset_id, storages[row["storage"]]
            world.add_file_set(*place, files, row["format"], status=row["status"])
    for row in world.formats.values():
        row["status"] = scene["formats"]
    for _ in scene["collections"]:
        world.add_collection()
    below = [*world.assets, *world.collections]
    for collection_id, numbers in zip(world.collections, scene["collections"], strict=True):
        for id in pick(below, numbers):  # Itself too, perhaps.
            world.put_into(collection_id, id)
    for numbers in scene["saved_searches"]:
        world.add_saved_search(*pick(below, numbers))
    kinds = (world.assets, world.collections, world.saved_searches)
    selected = zip(kinds, scene["selected"], strict=True)
    return Selection(*(tuple(pick([*ids], numbers)) for ids, numbers in selected))


# Removal: the rule, as the README's "When a file is removed" has it, and nothing else of the plugin


def removable(world: World, selection: Selection, configured: Settings) -> set[str]:
    """Return the file sets that must go; all others must stay."""
    assets = selected_assets(world, selection)
    return {
        id
        for id, row in world.file_sets.items()
        if row["asset_id"] in assets and may_go(world, row, configured)
    }


def selected_assets(world: World, selection: Selection) -> set[str]:
    """Return the assets selected, or anywhere below a collection or a saved search."""
    met = {*selection.assets, *selection.collections}
    for id in selection.saved_searches:
        met |= {row["id"] for row in world.saved_searches[id]}
    before: set[str] = set()
    while before != met:
        before = met
        met = met | {row["id"] for id in met for row in world.collections.get(id, [])}
    return met & world.assets.keys()


def may_go(world: World, row: Row, configured: Settings) -> bool:
    """Whether the rule lets a file set be deleted."""
    files, of = files_in(world, row), world.formats[row["format_id"]]
    return (
        world.storages[row["storage_id"]]["name"] == configured.storage_name
        and row["status"] == "ACTIVE"
        and of["name"] in configured.format_names
        and all(said != "DELETED" for said in [of["status"], *(f["format_status"] for f in files)])
        and not is_for_masters(configured)
        and any(stands_in(world, copy, row, configured) for copy in world.file_sets.values())
    )


def is_for_masters(configured: Settings) -> bool:
    """Whether it is a storage that nothing is ever removed from."""
    name = configured.storage_name
    return STORAGES[name] == "B2" or name == configured.master_storage_name


def stands_in(world: World, copy: Row, doomed: Row, configured: Settings) -> bool:
    """Whether a file set is the complete copy that the rule demands."""
    storage = world.storages[copy["storage_id"]]["name"]
    files, wanted = files_in(world, copy), files_in(world, doomed)
    return (
        copy["format_id"] == doomed["format_id"]
        and storage != configured.storage_name
        and storage == (configured.master_storage_name or storage)
        and copy["status"] == "ACTIVE"
        and any(file["type"] != "DIRECTORY" for file in files)
        and all(file["status"] == "CLOSED" for file in files)
        and any(
            all(is_copy(*pair) for pair in zip(chosen, wanted, strict=True))
            for chosen in permutations(files, len(wanted))
        )
    )


def is_copy(file: Row, doomed: Row) -> bool:
    """Whether one file may stand for another."""
    if (file["original_name"], file["type"]) != (doomed["original_name"], doomed["type"]):
        return False
    if doomed["status"] in ("OPEN", "GROWING", "AWAITED"):
        return True
    has_size = doomed["size"] is not None or doomed["type"] == "DIRECTORY"
    checksums = {file["checksum"], doomed["checksum"]} - {None}
    return has_size and file["size"] == doomed["size"] and len(checksums) < 2


def files_in(world: World, file_set: Row) -> list[Row]:
    """Return the files of a file set."""
    return [row for row in world.files.values() if row["file_set_id"] == file_set["id"]]


def all_but(world: World, file_sets: set[str]) -> Row:
    """Return a copy of all that a world holds, but for some file sets, and what is under way."""
    held = {name: dict(rows) for name, rows in vars(world).items() if isinstance(rows, dict)}
    for id in file_sets:
        held["file_sets"].pop(id, None)
    for id, row in world.files.items():
        if row["file_set_id"] in file_sets:
            del held["files"][id]
    return deepcopy({name: held[name] for name in held.keys() - {"jobs", "transfers"}})


def check(sandbox: Sandbox, selection: Selection, configured: Settings) -> None:
    """Remove what is selected, twice: exactly what may go must go.

    Then let the copies stand that were asked for, and do it again.
    """
    world = sandbox.world
    refused = is_for_masters(configured)
    for _ in range(2):
        doomed = removable(world, selection, configured)
        rest = all_but(world, doomed)
        asked = []
        for _ in range(2):
            with pytest.raises(AdministratorError) if refused else nullcontext():
                sandbox.remove(selection, configured)
            assert all_but(world, set()) == rest
            asked.append(dict(world.transfers))
        assert asked[0] == asked[1]
        check_copies(world, configured)
        world.finish_copies()


def check_copies(world: World, configured: Settings) -> None:
    """Copies are made of what is whole, to where there is nothing, if they are wanted at all."""
    for transfer in world.transfers.values():
        assert configured.archive_before_remove
        storage_id = transfer["destination_storage_id"]
        assert world.storages[storage_id]["name"] == configured.master_storage_name
        files = files_in(world, {"id": transfer["original_file_set_id"]})
        assert all(file["status"] == "CLOSED" for file in files if file["type"] != "DIRECTORY")
        assert not any(
            (row["format_id"], row["storage_id"]) == (transfer["format_id"], storage_id)
            for row in world.file_sets.values()
        )


@settings(REPEATABLE, max_examples=300)
@given(scene=SCENES, configured=CONFIGURED)
def test_what_may_go_goes_and_nothing_else(
    sandbox: Sandbox, scene: Row, configured: Settings
) -> None:
    """A removal deletes what the rule lets go and all of that; repeated, it changes nothing.

    It is so with ARCHIVE_BEFORE_REMOVE, too, which copies only to where there is nothing.
    """
    world = sandbox.reset(**scene["ways"])
    check(sandbox, fill(world, scene), configured)


@pytest.mark.parametrize("status", ["CLOSED", *STATUSES])
@settings(REPEATABLE, max_examples=80)
@example(pair=FITTING_FIRST, unsaid={})
@example(pair=UNFINISHED_LAST, unsaid={})
@given(pair=PAIRS, unsaid=mostly({}, UNSAID))
def test_complete_copies_alone_let_go(
    sandbox: Sandbox, status: str | None, pair: tuple[list[Row], list[Row]], unsaid: Row
) -> None:
    """Whatever the files of a copy and of its master are, the rule decides, and so each time."""
    world = sandbox.reset(unsaid=unsaid)
    asset_id = world.add_asset("Clip")
    copy, master = pair
    copy = [copy[0] | {"status": status}, *copy[1:]]
    for (name, method), files in zip(STORAGES.items(), (copy, master), strict=False):
        world.add_file_set(asset_id, world.add_storage(name, method), files)
    check(sandbox, Selection(assets=(asset_id,)), Settings("app", "LucidLink"))


@settings(REPEATABLE, max_examples=120)
@given(
    scene=SCENES,
    configured=CONFIGURED,
    bursts=st.lists(BURSTS, max_size=8),
)
def test_no_fault_lets_anything_else_go(
    sandbox: Sandbox, url: str, scene: Row, configured: Settings, bursts: list[list[str | None]]
) -> None:
    """Whatever goes wrong, nothing else is deleted; and when all is well again, the rest goes."""
    world = sandbox.reset(**scene["ways"])
    selection = fill(world, scene)
    doomed = removable(world, selection, configured)
    rest = all_but(world, doomed)
    before = len(world.file_sets)
    for due in ([*chain.from_iterable(bursts)], []):
        sandbox.faults.due = iter(due)
        try:
            removals = sandbox.remove(selection, configured, url)
        except PluginError:
            assert due or is_for_masters(configured)
        else:
            assert sum(removal.removed for removal in removals) <= before - len(world.file_sets)
        assert all_but(world, doomed) == rest
    assert not any(row["status"] == "ACTIVE" for id, row in world.file_sets.items() if id in doomed)


@pytest.mark.parametrize("fault", ["500", RESET_AFTER, TRUNCATED])
@pytest.mark.parametrize(
    ("unsaid", "master", "copy"),
    [
        ({}, [CLIP], [CLIP, CLIP | {"original_name": "clip.wav"}]),
        (UNSAID, [CLIP | {"status": "OPEN"}], [CLIP]),
    ],
)
def test_no_moment_suits_a_fault(
    sandbox: Sandbox, url: str, fault: str, unsaid: Row, master: list[Row], copy: list[Row]
) -> None:
    """Whichever request is lost for good, a copy that must stay stays."""
    for requests_before in range(12):
        world = sandbox.reset(rows_per_page=1, unsaid=unsaid)
        storages = [world.add_storage(name, method) for name, method in STORAGES.items()]
        asset_id = world.add_asset("Clip")
        for storage_id, files in ((storages[1], master), (storages[0], copy)):
            world.add_file_set(asset_id, storage_id, files)
        sandbox.faults.due = chain([None] * requests_before, [fault] * 5)
        with suppress(PluginError):
            sandbox.remove(Selection(assets=(asset_id,)), Settings("app", "LucidLink"), url)
        assert len(world.files) == len(master + copy)


# Requests: whatever they are

ENVIRONMENT = {
    "BZ_SHARED_SECRET": SECRET,
    "ICONIK_TOKEN": World.token,
    "ICONIK_ID": World.app_id,
    "STORAGE_NAME": "LucidLink",
    "MASTER_STORAGE_NAME": "B2",
    "FUNCTION_TARGET": "iconik_handler",
}
QUEUE = {
    "TASK_QUEUE": "projects/p/locations/l/queues/q",
    "TASK_SERVICE_ACCOUNT": "queue@example.com",
    "FUNCTION_URL": "https://function.example",
}
GIVEN = SECRET.encode().decode("latin-1")  # As WSGI hands it over.
KNOWN = "11f0aaaa-0000-4000-8000-00000000000a"

ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126))  # As a server demands of URLs.
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"))
TEXT = st.text(st.characters(exclude_categories=()))  # Lone surrogates too, as JSON may hold them.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)


def often(usual: st.SearchStrategy[Any], *odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Choose what is usual five times as often as all that is odd."""
    return st.integers(0, 5).flatmap(lambda number: st.one_of(*odd) if number == 5 else usual)


IDS = often(st.lists(st.just(KNOWN) | st.uuids().map(str), max_size=3), st.lists(JSON), JSON)
PAYLOADS = st.fixed_dictionaries(
    {"asset_ids": IDS},
    optional={
        **dict.fromkeys(["collection_ids", "saved_search_ids"], IDS),
        **dict.fromkeys(["user_id", "job_id", "anything"], often(st.just(KNOWN), JSON)),
        "wait": st.fixed_dictionaries(
            dict.fromkeys(["since", "times", "awaited", "done", "jobs"], JSON)
        ),
    },
)
PATHS = st.sampled_from(["/remove", "/add", "/iconik_handler/remove/"])
OVERRIDES = st.tuples(
    st.sampled_from(["storage", "format", "path"]), st.sampled_from(["LucidLink", "B2", "/in"])
)
QUERIES = st.lists(OVERRIDES | st.tuples(TEXT, TEXT), max_size=2)
REQUESTS = st.fixed_dictionaries(
    {
        "method": mostly("POST", "GET", "PUT", "DELETE", "OPTIONS", "TRACE"),
        "path": often(PATHS, LATIN.map("/{}".format)),
        "query": often(
            st.just(""), ASCII, QUERIES.map(lambda query: urlencode(query, errors="replace"))
        ),
        "body": often(
            PAYLOADS.map(lambda payload: json.dumps(payload).encode()),
            st.binary(),
            st.integers(1, 100_000).map(lambda depth: b"[" * depth),
        ),
    }
)
TOKENS = st.lists(
    JSON | st.fixed_dictionaries({"aud": st.just(QUEUE["FUNCTION_URL"]), "email": JSON}),
    min_size=3,
    max_size=3,
).map(lambda parts: ".".join(base64.b64encode(json.dumps(x).encode()).decode() for x in parts))
HEADERS = st.dictionaries(
    st.sampled_from(["Host", "Content-Type", "Content-Length", "Transfer-Encoding", "Cookie"])
    | st.sampled_from(["X-Cloud-Trace-Context", "X-CloudTasks-TaskRetryCount"])
    | st.text(string.ascii_letters + "-", min_size=1),
    LATIN,
    max_size=3,
)
WITHOUT_SECRET = st.fixed_dictionaries(
    {},
    optional={
        "x-bz-secret": st.sampled_from([SECRET, GIVEN.upper(), GIVEN[:-1], GIVEN + "x"]) | LATIN,
        "Authorization": TOKENS.map("Bearer {}".format) | LATIN,
    },
)


@pytest.fixture(scope="module")
def function(url: str) -> Iterator[FlaskClient]:
    """Return a client of the function, in process, that works on the sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, "ICONIK_URL": url}.items():
            patch.setenv(name, value)
        patch.delenv("FORMAT_NAME", raising=False)
        app = functions_framework.create_app("iconik_handler", str(ROOT / "main.py"))
        yield app.test_client(use_cookies=False)


def send(function: FlaskClient, request: Row, headers: dict[str, str]) -> TestResponse:
    """Send a request with any path and query, as a server would hand it over."""
    return function.open(
        "/",
        method=request["method"],
        headers=headers,
        data=request["body"],
        environ_overrides={"PATH_INFO": request["path"], "QUERY_STRING": request["query"]},
    )


@settings(REPEATABLE, max_examples=150)
@given(request=REQUESTS, headers=HEADERS, credentials=WITHOUT_SECRET)
def test_without_the_secret_nothing_is_done(
    sandbox: Sandbox, function: FlaskClient, request: Row, headers: Row, credentials: Row
) -> None:
    """Whatever a stranger sends is refused as theirs, and iconik is not called."""
    sandbox.reset()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUEUE.items():
            patch.setenv(name, value)
        response = send(function, request, headers | credentials)
    assert response.status_code == 401
    assert sandbox.faults.requests.total() == 0


@settings(REPEATABLE, max_examples=150)
@given(request=REQUESTS, headers=HEADERS)
def test_with_the_secret_nothing_crashes(
    sandbox: Sandbox, function: FlaskClient, request: Row, headers: Row
) -> None:
    """Whatever is sent with the secret is answered in one line, and no master is touched."""
    world = sandbox.reset()
    b2, lucidlink = world.add_storage("B2", "B2"), world.add_storage("LucidLink")
    asset_id = world.add_asset("Clip")
    for storage_id in (b2, lucidlink):
        world.add_file_set(asset_id, storage_id, [{"original_name": "clip.mov"}])
    request = request | {"body": request["body"].replace(KNOWN.encode(), asset_id.encode())}
    response = send(function, request, headers | {"x-bz-secret": GIVEN})
    assert response.status_code in (200, 400, 404, 405, 413, 502) or request["query"]
    assert (response.status_code == 405) == (request["method"] != "POST")
    assert "X-Google-Status" not in response.headers
    assert "\n" not in response.text
    assert len(world.names_on(b2)) == 1


# Lists


@settings(REPEATABLE, max_examples=60)
@given(
    rows=st.integers(1, 130),
    rows_per_page=st.integers(1, 120),
    links_pages=st.booleans(),
    cursor=st.booleans(),
)
def test_each_row_of_a_list_comes_once(
    sandbox: Sandbox, rows: int, rows_per_page: int, links_pages: bool, cursor: bool
) -> None:
    """Whatever the size of iconik's pages, all rows come, each once, and at most one empty page."""
    world, time = sandbox.reset(rows_per_page=rows_per_page, links_pages=links_pages), Time()
    storages = [world.add_storage(str(number)) for number in range(rows)]
    asset_id = world.add_asset("Clip")
    world.add_file_set(asset_id, storages[0], [{"original_name": "clip.mov"}] * rows)
    of_files = f"/API/files/v1/assets/{asset_id}/files/"
    rest = sandbox.rest(Deadline(60, time), time)
    read, path, expected = (
        (pages.by_cursor, of_files, world.files)
        if cursor
        else (pages.numbered, "/API/files/v1/storages/", world.storages)
    )
    assert [row["id"] for row in read(rest, path)] == list(expected)
    assert rest.calls <= -(-rows // rows_per_page) + 1
