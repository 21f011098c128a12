"""An SDK of iconik's API that is not part of this project judges the sandbox and the plugin.

The SDK is generated from iconik's own descriptions. Its models show whether the sandbox answers as
iconik does, and its requests show whether the plugin asks as iconik expects.

https://github.com/NorthShoreAutomation/iconik-sdk-generator
"""

import copy
import inspect
from enum import Enum
from typing import NamedTuple

import functions_framework
import pytest
from pythonik.files.types import Unset

from admin.custom_actions import wanted
from sandbox.function import ROOT
from sandbox.server import create_app
from sandbox.site import Site, payload
from sandbox.world import Row, World
from storage_plugin.webhook import SECRET_HEADER
from tests.conftest import new_rest
from tests.system.sdk import (
    FILES,
    KEPT,
    Answers,
    Operation,
    Plugin,
    Request,
    Scene,
    body,
    faults,
    model,
    operations,
    recorded,
    sdk_of,
)

NOTHING = "nothing"
DEFAULT = "It is iconik's default."
END = "Only the end sets a status: an editor may have aborted the job meanwhile."
SAME = "A PATCH holds only the fields that change, and the type of a job does not."

STORAGE: Row = {"name": "B2", "method": "B2", "purpose": "FILES", "settings": {"bucket": "b"}}


class Difference(NamedTuple):
    """What the plugin and the SDK send at one place of a request, and why that differs."""

    operation: str
    place: str
    plugin: object
    sdk: object
    reason: str


DIFFERENCES = (
    Difference("copy", "body.allow_duplicate_transfers", NOTHING, False, DEFAULT),
    Difference("copy", "body.delete_only_from_source_folder", NOTHING, False, DEFAULT),
    Difference("copy", "body.delete_original", NOTHING, False, DEFAULT),
    Difference("copy", "body.keep_collection_structure", NOTHING, False, DEFAULT),
    Difference("copy", "body.keep_parent_collection_structure", NOTHING, False, DEFAULT),
    Difference("copy", "body.overwrite", NOTHING, False, DEFAULT),
    Difference("update_job", "body.status", NOTHING, "STARTED", END),
    Difference("update_job", "body.type", NOTHING, "CUSTOM", SAME),
    Difference("update_job with metadata", "body.status", NOTHING, "STARTED", END),
    Difference("update_job with metadata", "body.type", NOTHING, "CUSTOM", SAME),
)


class Exchange(NamedTuple):
    """The requests of both clients for an operation, and the answers to the SDK."""

    plugin: list[Request]
    sdk: list[Request]
    answers: Answers


@pytest.fixture(scope="module")
def exchanges() -> dict[str, Exchange]:
    """Have both clients do all operations, in two worlds that are alike."""
    scene, found = Scene(), {}
    twin = copy.deepcopy(scene)
    with (
        recorded(scene.world) as (url, ours),
        recorded(twin.world) as (twin_url, theirs),
        sdk_of(twin_url, twin.world) as sdk,
    ):
        plugin = Plugin(new_rest(url, scene.world))
        for name, operation in operations(plugin, sdk, scene).items():
            operation.plugin()
            answers = operation.sdk()
            found[name] = Exchange(ours[:], theirs[:], answers)
            ours.clear()
            theirs.clear()
    return found


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (STORAGE, ""),
        (STORAGE | {"colour": "red"}, ".objects.colour is unknown"),
        (STORAGE | {"status": "ODD"}, ".objects.status is 'ODD', not "),
        (STORAGE | {"id": "1"}, ".objects.id is '1', not "),
        ({}, ".objects is {}, not "),
    ],
)
def test_deviations_from_a_model_are_found(row: Row, fault: str) -> None:
    """An unknown field, a value of another type or a missing field is a fault."""
    first = next(faults(model("files.StoragesReadSchema").from_dict({"objects": [row]})), "")
    assert first.startswith(fault)
    assert bool(first) == bool(fault)


def test_the_sandbox_answers_as_described(exchanges: dict[str, Exchange]) -> None:
    """Each answer has a documented status, all fields that its model demands, and no other."""
    found = set()
    for operation, exchange in exchanges.items():
        for answer in exchange.answers:
            assert 200 <= answer.status_code < 300, operation
            assert "ResponseDefault" not in type(answer.parsed).__name__, operation
            if answer.parsed is not None:
                found |= {(operation, fault) for fault in faults(answer.parsed)}
    assert found == set()


def test_the_plugin_asks_as_the_sdk_does(exchanges: dict[str, Exchange]) -> None:
    """The requests are the same, but for the differences in the table."""
    found = {}
    for operation, (plugin, sdk, _) in exchanges.items():
        for ours, theirs in zip(plugin, sdk, strict=True):
            parts = ours.parts(), theirs.parts()
            for place in parts[0] | parts[1]:
                pair = parts[0].get(place, NOTHING), parts[1].get(place, NOTHING)
                if pair[0] != pair[1]:
                    found[operation, place] = pair
    assert found == {(row.operation, row.place): (row.plugin, row.sdk) for row in DIFFERENCES}


def test_nothing_is_left_out(exchanges: dict[str, Exchange]) -> None:
    """The operations use all methods of the plugin's client, and all of the sandbox."""
    methods = {name for name, _ in inspect.getmembers(Plugin, inspect.isfunction)}
    assert {name.split()[0] for name in exchanges} == {n for n in methods if n[0] != "_"}
    rules = {
        f"{method} {rule}"
        for rule in create_app(World()).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    for asked in zip(*[exchange[:2] for exchange in exchanges.values()], strict=True):
        assert {request.rule for requests in asked for request in requests} == rules


BODIES = {
    "POST /API/jobs/v1/jobs/": "jobs.JobSchema",
    "PATCH /API/jobs/v1/jobs/<id:job_id>/": "jobs.JobSchema",
    "POST /API/users-notifications/v1/notifications/": "usersnotifications.NotificationSchema",
    "POST /API/assets/v1/custom_actions/<context>/": "assets.CustomActionCreateSchema",
}
"""The SDK's models of the bodies that other parts of the plugin write."""


def test_the_sdk_knows_all_that_the_plugin_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs, notifications and custom actions of the plugin fit the SDK's models."""
    site, secret = Site(), "let-me-in"
    click = payload(asset_ids=[site.only_copy()])
    with recorded(site.world) as (url, requests):
        tokens = {"ICONIK_TOKEN": site.world.token, "BZ_SHARED_SECRET": secret}
        for name, value in {**site.settings(url), **tokens}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("FUNCTION_TARGET", "iconik_handler")
        function = functions_framework.create_app("iconik_handler", str(ROOT / "main.py"))
        for path in ("/remove", "/add?storage=Nowhere"):
            function.test_client().post(path, headers={SECRET_HEADER: secret}, json=click)
        query = {"format": "PROXY"}
        for action in wanted("https://f.example/function", query, secret=secret, label=None):
            Plugin(new_rest(url, site.world)).create_custom_action(action | {"context": "BULK"})
    written = [request for request in requests if request.body]
    assert {request.rule for request in written} == BODIES.keys()
    for request in written:
        kept = KEPT | {"title": "Remove"} if request.method == "PATCH" else {}
        body(BODIES[request.rule], kept | request.body)


LISTS = {
    "storages": "id name method status",
    "custom_actions": "id context title url type status",
    "running_jobs": "id status",
    "transfers": "asset_id format_id",
    "collection_contents": "id title",
    "saved_search_results": "id title",
    "formats": "id name version_id status",
    "file_sets": "id format_id storage_id version_id status type file_count",
    "files": "file_set_id name original_name type status size checksum",
}
"""The operations that read a list, and the fields of a row that both clients name alike."""


def test_both_clients_see_one_world() -> None:
    """What the SDK builds, copies, lists in pages and deletes is what the plugin's client sees."""
    scene = Scene()
    scene.world.quirks.lists_transfers_from = False
    with recorded(scene.world) as (url, _), sdk_of(url, scene.world) as sdk:
        known = operations(Plugin(new_rest(url, scene.world)), sdk, scene)

        def do(*names: str) -> dict[str, list[list[str]]]:
            """Have the SDK do something; return the lists that both clients read then."""
            for name in names:
                known[name].sdk()
            return {name: listed(known[name], fields) for name, fields in LISTS.items()}

        built = do("create_job", "create_custom_action", "copy")
        assert [len(built[name]) for name in ("running_jobs", "custom_actions")] == [3, 2]
        assert {row[0] for row in built["transfers"]} == {*scene.moving}
        scene.world.finish_copies()
        copied = do()
        assert copied["transfers"] == []
        assert len(copied["file_sets"]) == len(built["file_sets"]) + 1
        assert len(copied["files"]) == len(built["files"]) + len(FILES)
        deleted = do("delete_file_set", "delete_file_set immediately", "purge_file_set")
    states = {id: status for id, _, _, _, status, *_ in deleted["file_sets"]}
    assert [states.get(id) for id in scene.copies] == ["DELETED", None, None]


def listed(operation: Operation, fields: str) -> list[list[str]]:
    """Return the fields of a list's rows, which both clients must read alike."""
    pages = [answer.parsed for answer in operation.sdk()]
    assert [fault for page in pages for fault in faults(page)] == []
    both = operation.plugin(), [row for page in pages for row in page.objects]
    ours, theirs = [[_texts(row, fields) for row in rows] for rows in both]
    assert ours == theirs
    return ours


def _texts(row: object, fields: str) -> list[str]:
    """Return some fields of a row, as texts."""
    values = [getattr(row, f"{name}_", None) or getattr(row, name) for name in fields.split()]
    values = [value.value if isinstance(value, Enum) else value for value in values]
    return [str(None if isinstance(value, Unset) else value) for value in values]
