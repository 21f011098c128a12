"""What holds of every world, every fault, every request and every list: hypothesis looks for more.

https://hypothesis.readthedocs.io/
"""

import base64
import json
import logging
import os
import string
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import functions_framework
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from sandbox.world import Row, World
from storage_plugin import pages
from storage_plugin.pace import Deadline, Pace
from storage_plugin.settings import Settings
from tests import worlds
from tests.conftest import Time
from tests.oracle import must_go, wrong_deletions
from tests.worlds import IN_PROCESS, Edit, Sandbox, Scene, Step, mostly

ROOT = Path(__file__).parent.parent
SECRET = "schlüssel-for-properties"
LOG = logging.getLogger(__name__)

EXAMPLES = os.environ.get("PROPERTY_EXAMPLES")
"""The number of examples of each test; without it some hundred, the same in each run."""


def examples(usual: int) -> settings:
    """Return what sets the number of a test's examples, however busy the machine is."""
    return settings(
        max_examples=int(EXAMPLES or usual),
        derandomize=EXAMPLES is None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Return an iconik that one thread works on, so that each example can be repeated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage_plugin.iconik.WORKERS", 1)
        yield Sandbox()


# Removal


def test_no_deletion_is_wrong_whatever_changes_meanwhile(sandbox: Sandbox) -> None:
    """Whatever changes or goes wrong, each deletion is right; when all is well, the rest goes."""
    figures: Counter[str] = Counter()

    @examples(160)
    @given(scene=worlds.CHANGING)
    def try_world(scene: Scene) -> None:
        world = sandbox.reset(scene)
        selected, wire = set(world.assets), sandbox.wire
        before = {*world.file_sets}
        removable = must_go(world, scene.settings, selected)
        removed = sum(removal.removed for removal in sandbox.remove(scene.settings))
        assert wrong_deletions(wire.log, scene.settings, selected) == []
        assert {call.method for call in wire.log} <= {"GET", "DELETE"}
        assert removed <= len(before - world.file_sets.keys()) or scene.settings.use_recycle_bin
        figures.update(
            worlds=1,
            removable=bool(removable),
            deleting=bool(removable and wire.deleted),
            deletions=len(wire.deleted),
            changed=bool(sandbox.overtaken()),
        )
        check_convergence(sandbox, scene)

    try_world()
    LOG.info("Figures: %s", dict(figures))
    assert figures["deleting"] >= 0.5 * figures["removable"] > 0
    assert figures["changed"] >= 0.03 * figures["worlds"]


def check_convergence(sandbox: Sandbox, scene: Scene) -> None:
    """Remove again on a world where all is well: what must go is gone."""
    world, settings = sandbox.world, scene.settings
    world.quirks.deletion_status, world.quirks.deletions_work = None, True
    doomed = must_go(world, settings, set(world.assets))
    sandbox.wire.reset(None)
    sandbox.remove(settings)
    assert not any(worlds.is_there(world, id) for id in doomed)


@examples(80)
@given(scene=worlds.CALM)
def test_what_may_go_goes_and_nothing_else(sandbox: Sandbox, scene: Scene) -> None:
    """A removal deletes what the rule lets go and all of that; repeated, it changes nothing."""
    check_removal(sandbox, scene)


@pytest.mark.parametrize("kind", worlds.once(worlds.CHANGES), ids=str)
def test_each_oddity_by_itself(sandbox: Sandbox, kind: tuple[str, str, Row]) -> None:
    """The rule decides on each thing that may be odd, also where it has to be copied first."""
    configured = Settings(World.app_id, "LucidLink", iconik_url=IN_PROCESS)
    archiving = configured._replace(master_storage_name="B2", archive_before_remove=True)
    odd = [Edit(*kind, 0)]
    for asset in worlds.SMALL:
        for unsaid in ({}, worlds.UNSAID):
            check_removal(sandbox, Scene(configured, {"unsaid": unsaid}, [asset], odd))
        check_archiving(sandbox, Scene(archiving, {"copies_take_time": True}, [asset], odd), None)


@pytest.mark.parametrize("kind", worlds.once(worlds.CHANGES), ids=str)
def test_each_change_of_records_is_seen(sandbox: Sandbox, kind: tuple[str, str, Row]) -> None:
    """What changes after all has been read slowly, and before records confirm it, counts."""
    configured = Settings(World.app_id, "LucidLink", iconik_url=IN_PROCESS)
    steps = {5: Step(edits=[Edit(*kind, 0)])}
    sandbox.reset(Scene(configured, {}, [worlds.USUAL], seconds=1.25, steps=steps))
    selected = {*sandbox.world.assets}
    sandbox.remove(configured)
    assert sandbox.wire.log[5].path.endswith("/file_sets/")
    assert wrong_deletions(sandbox.wire.log, configured, selected) == []


def check_removal(sandbox: Sandbox, scene: Scene) -> None:
    """Remove everything, and again: what must go goes, and nothing else."""
    world = sandbox.reset(scene)
    for _ in range(2):
        doomed = must_go(world, scene.settings, set(world.assets))
        rest = worlds.all_but(world, doomed)
        removals = sandbox.remove(scene.settings)
        assert worlds.all_but(world, doomed) == rest
        assert not any(worlds.is_there(world, id) for id in doomed)
        assert scene.settings.use_recycle_bin or not doomed & world.file_sets.keys()
        assert sum(removal.removed for removal in removals) == len(doomed)


@pytest.mark.parametrize(
    ("place", "fields"),
    [("copy", worlds.MOVED[1]), *(("master", fields) for fields in worlds.MOVED)],
)
def test_a_storage_that_moves_meanwhile_is_noticed(
    sandbox: Sandbox, place: str, fields: Row
) -> None:
    """A list of storages that is evidence counts in all that it says."""
    configured = Settings(World.app_id, "LucidLink", iconik_url=IN_PROCESS)
    moves = Step(seconds=3.0, edits=[Edit(place, "storage", fields, 0)])
    sandbox.reset(Scene(configured, {}, [worlds.USUAL], steps={1: moves}))
    sandbox.remove(configured)
    assert wrong_deletions(sandbox.wire.log, configured, set(sandbox.world.assets)) == []


def test_file_sets_share_a_file_whatever_its_row_says(sandbox: Sandbox) -> None:
    """A file set that is on the storage by its own record protects its files there."""
    configured = Settings(World.app_id, "LucidLink", iconik_url=IN_PROCESS)
    asset = worlds.USUAL | {"formats": ("ORIGINAL", "PROXY"), "in_folders": False}
    check_removal(
        sandbox,
        Scene(configured, {}, [asset], [Edit("copy", "file", {"storage_id": worlds.STRANGE}, 1)]),
    )


@examples(60)
@given(scene=worlds.ARCHIVING, error=mostly(None, "The disk is full."))
def test_renders_go_once_there_is_a_complete_copy(
    sandbox: Sandbox, scene: Scene, error: str | None
) -> None:
    """Copies go only to where there is nothing, and one that is half-made never lets go."""
    check_archiving(sandbox, scene, error)


def check_archiving(sandbox: Sandbox, scene: Scene, error: str | None) -> None:
    """Remove everything before copies are made and after.

    Args:
        error: what makes the copies fail half-way.
    """
    world = sandbox.reset(scene)
    for _ in range(2):
        sandbox.wire.reset(scene)
        sandbox.remove(scene.settings)
        assert wrong_deletions(sandbox.wire.log, scene.settings, set(world.assets)) == []
        if not scene.steps:
            check_copies(world)
        world.finish_copies(error)
    is_calm = scene.seconds == 0.125 and not (scene.steps or scene.odd or error)
    if is_calm and all(map(worlds.is_whole_render, scene.assets)):
        assert scene.settings.storage_name != "LucidLink" or not any(
            row["status"] == "ACTIVE" and world.storages[row["storage_id"]]["name"] == "LucidLink"
            for row in world.file_sets.values()
            if world.formats[row["format_id"]]["name"] in scene.settings.format_names
        )


def check_copies(world: World) -> None:
    """See that copies are made of what is whole, to where there is nothing."""
    for transfer in world.transfers.values():
        files = world.files_in(transfer["original_file_set_id"])
        assert all(
            row["status"] == "CLOSED" and row["size"] for row in files if row["type"] != "DIRECTORY"
        )
        place = transfer["format_id"], transfer["destination_storage_id"]
        assert world.storages[place[1]]["name"] == "B2"
        assert place not in [
            (row["format_id"], row["storage_id"]) for row in world.file_sets.values()
        ]


# Requests: whatever they are

ENVIRONMENT = {
    "BZ_SHARED_SECRET": SECRET,
    "ICONIK_TOKEN": World.token,
    "ICONIK_ID": World.app_id,
    "STORAGE_NAME": "LucidLink",
    "MASTER_STORAGE_NAME": "B2",
    "ICONIK_URL": IN_PROCESS,
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
        **dict.fromkeys(["pins", "part"], JSON),
        "wait": st.fixed_dictionaries(dict.fromkeys(["times", "awaited", "jobs", "before"], JSON)),
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
def function(sandbox: Sandbox) -> Iterator[FlaskClient]:
    """Return a client of the function that works on the sandbox; no request leaves the process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.delenv("FORMAT_NAME", raising=False)
        app = functions_framework.create_app("iconik_handler", str(ROOT / "main.py"))
        main, time = sys.modules["main"], Time()
        main.session.mount(IN_PROCESS, sandbox.wire)  # type: ignore[attr-defined]
        patch.setattr(main, "pace", Pace(time, time.sleep))
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


@examples(80)
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
    assert sandbox.wire.log == []


@examples(100)
@given(request=REQUESTS, headers=HEADERS, is_delivery=st.booleans())
def test_with_the_secret_nothing_crashes(
    sandbox: Sandbox, function: FlaskClient, request: Row, headers: Row, is_delivery: bool
) -> None:
    """Whatever is let in is answered in one line, and no master is touched."""
    world = sandbox.reset()
    b2, lucidlink = world.add_storage("B2", "B2"), world.add_storage("LucidLink")
    asset_id = world.add_asset("Clip")
    for storage_id in (b2, lucidlink):
        world.add_file_set(asset_id, storage_id, [{"original_name": "clip.mov"}])
    request = request | {"body": request["body"].replace(KNOWN.encode(), asset_id.encode())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["main"].task_queue, "is_sender", lambda *_: is_delivery)
        response = send(
            function, request, headers | {} if is_delivery else headers | {"x-bz-secret": GIVEN}
        )
    assert response.status_code in (200, 400, 404, 405, 413, 502, 503) or request["query"]
    assert is_delivery or (response.status_code == 405) == (request["method"] != "POST")
    assert "X-Google-Status" not in response.headers
    assert "\n" not in response.text
    assert len(world.names_on(b2)) == 1


# Lists


@examples(50)
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
    world = sandbox.reset(rows_per_page=rows_per_page, links_pages=links_pages)
    storages = [world.add_storage(str(number)) for number in range(rows)]
    asset_id = world.add_asset("Clip")
    world.add_file_set(asset_id, storages[0], [{"original_name": "clip.mov"}] * rows)
    of_files = f"/API/files/v1/assets/{asset_id}/files/"
    rest = sandbox.rest(Deadline(60, sandbox.wire.time))
    read, path, expected = (
        (pages.by_cursor, of_files, world.files)
        if cursor
        else (pages.numbered, "/API/files/v1/storages/", world.storages)
    )
    assert [row["id"] for row in read(rest, path)] == list(expected)
    assert rest.calls <= -(-rows // rows_per_page) + 1
