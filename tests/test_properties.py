"""What holds of every world, every fault and every request: hypothesis looks for more.

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

from sandbox.site import Site
from sandbox.tasks import ACCOUNT, QUEUE
from sandbox.world import Row, World
from storage_plugin.iconik.pace import Pace
from storage_plugin.removal import evidence
from tests import worlds
from tests.conftest import Time, as_if_parallel
from tests.in_process import URL
from tests.oracle import must_go, wrong_deletions
from tests.worlds import Edit, Sandbox, Scene, mostly

ROOT = Path(__file__).parent.parent
SECRET = "schlüssel-for-properties"
LOG = logging.getLogger(__name__)

# The number of examples of each test; without it some hundred, the same in each run.
EXAMPLES = os.environ.get("PROPERTY_EXAMPLES")


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
    sandbox = Sandbox()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "side_by_side", as_if_parallel(sandbox.time))
        yield sandbox


# Removal


def test_no_deletion_is_wrong_whatever_changes_meanwhile(sandbox: Sandbox) -> None:
    """Whatever changes or goes wrong, each deletion is right; when all is well, the rest goes."""
    figures: Counter[str] = Counter()

    @examples(80)
    @given(scene=worlds.CHANGING)
    def try_world(scene: Scene) -> None:
        world = sandbox.reset(scene)
        removable = must_go(world, scene.settings)
        removed = sum(outcome.removed for outcome in sandbox.remove(scene.settings))
        unsafe = wrong_deletions(sandbox.log, scene.settings, set(world.assets))
        assert {call.method for call in sandbox.log} <= {"GET", "DELETE"}
        lists = (call.body for call in sandbox.log if call.path.endswith("/file_sets/"))
        listed = {row["id"] for body in lists for row in body.get("objects", ())}
        assert removed <= len(listed - world.file_sets.keys()) or scene.settings.use_recycle_bin
        deletions, has_changed = sandbox.deletions, bool(sandbox.overtaken)
        left = remove_again(sandbox, scene)
        figures.update(
            worlds=1,
            removable=bool(removable),
            deleting=bool(removable and deletions),
            deletions=deletions,
            changed=has_changed,
            unsafe=len(unsafe),
            left=len(left),
        )
        assert (unsafe, left) == ([], set())

    try_world()
    LOG.info("Figures: %s", dict(figures))
    assert figures["deleting"] >= 0.5 * figures["removable"] > 0
    assert figures["changed"] > 0


def remove_again(sandbox: Sandbox, scene: Scene) -> set[str]:
    """Remove again on a world where all is well, however slow; return what is left and must go."""
    world, seconds = sandbox.world, scene.seconds
    world.quirks.deletion_status, world.quirks.deletions_work = None, True
    doomed = must_go(world, scene.settings)
    if world.quirks.rows_per_page:  # All pages of a list must be fresh.
        longest = max(len(file_sets) for file_sets in world.file_sets.of_asset.values())
        seconds = min(seconds, 0.75, 4.9 / -(-longest // world.quirks.rows_per_page))
    sandbox.begin(scene._replace(steps={}, seconds=seconds))
    sandbox.remove(scene.settings)
    return {id for id in doomed if worlds.is_there(world, id)}


@examples(40)
@given(scene=worlds.CALM)
def test_what_may_go_goes_and_nothing_else(sandbox: Sandbox, scene: Scene) -> None:
    """A removal deletes what the rule lets go and all of that; repeated, it changes nothing."""
    check_removal(sandbox, scene)


@pytest.mark.parametrize("edit", worlds.EACH, ids=range(len(worlds.EACH)))
def test_each_oddity_by_itself(sandbox: Sandbox, edit: Edit) -> None:
    """The rule decides on each thing that may be odd."""
    # One on each asset; from the last one, because a file set that is purged shifts the numbers.
    odd = [edit._replace(number=number) for number in (2, 1, 0)]
    check_removal(sandbox, worlds.NOTHING._replace(assets=worlds.SMALL, odd=odd))


def check_removal(sandbox: Sandbox, scene: Scene) -> None:
    """Remove everything, and again: what must go goes, and nothing else."""
    world = sandbox.reset(scene)
    for _ in range(2):
        doomed = must_go(world, scene.settings)
        rest = worlds.all_but(world, doomed)
        outcomes = sandbox.remove(scene.settings)
        assert worlds.all_but(world, doomed) == rest
        assert not any(worlds.is_there(world, id) for id in doomed)
        assert scene.settings.use_recycle_bin or not doomed & world.file_sets.keys()
        assert sum(outcome.removed for outcome in outcomes) == len(doomed)


# Requests: whatever they are

SECRETS = {"BZ_SHARED_SECRET": SECRET, "ICONIK_TOKEN": World.token}
ENVIRONMENT = Site().settings(URL) | SECRETS | {"FUNCTION_TARGET": "iconik_handler"}
WITH_QUEUE = {"TASK_QUEUE": QUEUE, "TASK_SERVICE_ACCOUNT": ACCOUNT, "FUNCTION_URL": URL}
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
        **dict.fromkeys(["user_id", "round", "anything"], often(st.just(KNOWN), JSON)),
    },
)
NAMES = st.sampled_from(["storage", "format", "path"])
OVERRIDES = st.tuples(NAMES, st.sampled_from(["LucidLink", "B2", "/in"])) | st.tuples(TEXT, TEXT)
QUERIES = st.lists(OVERRIDES, max_size=2).map(lambda query: urlencode(query, errors="replace"))
PATHS = st.sampled_from(["/remove", "/add", "/iconik_handler/remove/"])
BODIES = PAYLOADS.map(lambda payload: json.dumps(payload).encode())
DEEP = st.integers(1, 100_000).map(lambda depth: b"[" * depth)
REQUESTS = st.fixed_dictionaries(
    {
        "method": mostly("POST", "GET", "PUT", "DELETE", "OPTIONS", "TRACE"),
        "path": often(PATHS, LATIN.map("/{}".format)),
        "query": often(st.just(""), ASCII, QUERIES),
        "body": often(BODIES, st.binary(), DEEP),
    }
)
TOKENS = st.lists(JSON, min_size=3, max_size=3).map(
    lambda parts: ".".join(base64.b64encode(json.dumps(x).encode()).decode() for x in parts)
)
HEADERS = st.dictionaries(st.text(string.ascii_letters + "-", min_size=1), LATIN, max_size=3)
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
        patch.setattr(main, "session", sandbox)
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


@examples(40)
@given(request=REQUESTS, headers=HEADERS, credentials=WITHOUT_SECRET)
def test_without_the_secret_nothing_is_done(
    sandbox: Sandbox, function: FlaskClient, request: Row, headers: Row, credentials: Row
) -> None:
    """Whatever a stranger sends is refused as theirs, and iconik is not called."""
    sandbox.reset()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WITH_QUEUE.items():
            patch.setenv(name, value)
        response = send(function, request, headers | credentials)
    assert response.status_code == 401
    assert sandbox.log == []


@examples(60)
@given(request=REQUESTS, headers=HEADERS, is_delivery=st.booleans())
def test_with_the_secret_nothing_crashes(
    sandbox: Sandbox, function: FlaskClient, request: Row, headers: Row, is_delivery: bool
) -> None:
    """Whatever is let in is answered in one line, and no master is touched."""
    site = Site(sandbox.reset())
    asset_id, _ = site.asset()
    request = request | {"body": request["body"].replace(KNOWN.encode(), asset_id.encode())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["main"].task_queue, "is_delivery", lambda *_: is_delivery)
        credentials = {} if is_delivery else {"x-bz-secret": GIVEN}
        response = send(function, request, headers | credentials)
    assert response.status_code in (200, 400, 404, 405, 413, 502, 503) or request["query"]
    assert is_delivery or (response.status_code == 405) == (request["method"] != "POST")
    assert "X-Google-Status" not in response.headers
    assert "\n" not in response.text
    assert site.masters() == 1
