"""An SDK of iconik's API that is not part of this project judges the sandbox and the plugin.

The SDK is generated from iconik's own descriptions. Its models show whether the sandbox answers as
iconik does, and its requests show whether the plugin asks as iconik expects.

https://github.com/NorthShoreAutomation/iconik-sdk-generator
"""

import copy
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from math import inf
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import flask
import functions_framework
import pytest
from pythonik.files.types import Response, Unset
from pythonik.friendly import Iconik as Sdk

from admin.custom_actions import wanted
from sandbox.function import ROOT
from sandbox.quirks import Quirks
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site, payload
from sandbox.world import Row, World, new_id
from storage_plugin.iconik import rows
from storage_plugin.iconik.client import Iconik
from storage_plugin.webhook import SECRET_HEADER
from tests.conftest import new_rest

ACTION: Row = {"context": "ASSET", "title": "Add", "url": "https://f.example/add", "type": "POST"}
ACTION["headers"] = {"x-secret": "s"}
JOB: Row = {"title": "Remove", "type": "CUSTOM", "custom_type": "REMOVE", "status": "STARTED"}
PROGRESS: Row = {"title": "Remove", "progress_total": 2, "progress_processed": 1}
UNCHANGED: Row = {"status": "STARTED", "type": "CUSTOM", "title": "Remove"}
"""What a change of a job leaves as it is, but the SDK's model of a job demands."""

NOTIFICATION: Row = {
    "event_type": "finished",
    "message_short": "Removed",
    "message_long": "2 assets",
    "object_type": "assets",
    "object_id": new_id(),
    "recipient_id": new_id(),
    "sender_id": new_id(),
}
MODELS = {
    "POST /API/jobs/v1/jobs/": "jobs.JobSchema",
    "PATCH /API/jobs/v1/jobs/<id:job_id>/": "jobs.JobSchema",
    "POST /API/users-notifications/v1/notifications/": "usersnotifications.NotificationSchema",
    "POST /API/assets/v1/custom_actions/<context>/": "assets.CustomActionCreateSchema",
    "PATCH /API/assets/v1/custom_actions/<context>/<id:action_id>/": "assets.CustomActionSchema",
    "POST /API/files/v1/storages/<id:storage_id>/bulk/": "files.BulkTransferToStorageSchema",
}
"""The SDK's models of all bodies."""

Ours = Callable[[Callable[..., Any]], Any]
Answers = list[Response[Any]]


class Request(NamedTuple):
    """A request as the sandbox has received it."""

    rule: str
    path: str
    query: Row
    body: Row


class Exchange(NamedTuple):
    """The requests of both clients for one operation, and what they have made of the answers."""

    plugin: list[Request]
    sdk: list[Request]
    found: Any
    answers: Answers


class Scene(Site):
    """A world in which each list that the plugin reads has two pages at least, of one row each."""

    def __init__(self) -> None:
        quirks = Quirks(rows_per_page=1, counts_rows=True, copies_take_time=True)
        super().__init__(World(quirks=quirks))
        world = self.world
        world.permissions[self.lucidlink] = {"delete_access": True}
        self.clip = world.add_asset("Clip", ["ORIGINAL", "PROXY"])
        world.add_file_set(self.clip, self.b2, [CLIP] * 3)
        self.copies = [
            world.add_file_set(self.clip, self.lucidlink, [CLIP] * 3, status=status)
            for status in ("ACTIVE", "ACTIVE", "DELETED")
        ]
        self.collection = world.add_collection(self.clip, world.add_collection())
        self.search = world.add_saved_search(self.clip, self.collection)
        moving = [self.master() for _ in range(2)]
        world.copy(self.lucidlink, {"object_type": "assets", "object_ids": moving})
        self.job, _ = (world.add_job(JOB)["id"] for _ in range(2))
        self.action = world.add_custom_action(ACTION)["id"]


def operations(scene: Scene, sdk: Sdk) -> dict[str, tuple[Ours, Callable[[], Answers]]]:
    """Return all that the plugin does: the methods and, after a space, their variants.

    Each comes with its arguments, and with the calls of the SDK that do the same.
    """
    clip, b2, lucidlink, other = scene.clip, scene.b2, scene.lucidlink, scene.other
    action = rows.custom_action(scene.world.custom_actions[scene.action])
    binned, gone, purged = [(clip, file_set_id) for file_set_id in scene.copies]
    copied = {"object_ids": [clip], "format_name": "ORIGINAL", "file_path": "/projects"}
    bulk = {"object_type": "assets", "preferred_original_storage_id": b2, **copied}
    bodies = [JOB, UNCHANGED | PROGRESS, NOTIFICATION, ACTION, ACTION, bulk]
    job, change, note, new, changed, bulk = (
        {"body": read(model, fields)} for model, fields in zip(MODELS.values(), bodies, strict=True)
    )
    to_it = by_last_id(sdk.get_storage_transfers_to, lucidlink)
    from_b2 = by_last_id(sdk.get_storage_transfers_from, b2)
    contents = partial(sdk.get_collection_contents, object_types="assets,collections")
    file_sets = partial(sdk.get_asset_file_sets, file_count=True)
    files = partial(sdk.get_asset_files, generate_signed_url=False)
    search = partial(sdk.get_search_saved_by_search, include_results=True)
    jobs = partial(sdk.get_jobs, type_="CUSTOM", status="STARTED")
    permissions = once(sdk.get_storage_verifications_permissions, lucidlink)
    delete, purge = sdk.delete_asset_file_set, sdk.delete_asset_file_set_purge
    update_action = sdk.patch_custom_actions_by_context_by_action
    delete_action = sdk.delete_custom_actions_by_context_by_action
    return {
        "storages": (given(), by_page(sdk.get_storages)),
        "can_delete_on": (given(lucidlink), permissions),
        "formats": (given(clip), by_last_id(sdk.get_asset_formats, clip)),
        "file_sets": (given(clip), by_last_id(file_sets, clip)),
        "files": (given(clip), by_last_id(files, clip)),
        "asset_title": (given(clip), once(sdk.get_asset, clip)),
        "collection_contents": (given(scene.collection), by_page(contents, scene.collection)),
        "saved_search_results": (given(scene.search), by_page(search, scene.search)),
        "transfers": (given([b2], lucidlink), lambda: [*to_it(), *from_b2()]),
        "running_jobs": (given("REMOVE"), by_page(jobs)),
        "job": (given(scene.job), once(sdk.get_job, scene.job)),
        "create_job": (given(JOB), once(sdk.post_jobs, **job)),
        "update_job": (given(scene.job, PROGRESS), once(sdk.patch_job, scene.job, **change)),
        "current_user": (given(), once(sdk.get_users_current)),
        "current_roles": (given(), once(sdk.get_users_current_roles)),
        "notify": (given(NOTIFICATION), once(sdk.post_notifications, **note)),
        "custom_actions": (given(), once(sdk.get_custom_actions)),
        "create_custom_action": (
            given(ACTION),
            once(sdk.post_custom_actions_by_context, "ASSET", **new),
        ),
        "update_custom_action": (
            given(action.id, ACTION),
            once(update_action, "ASSET", action.id, **changed),
        ),
        "delete_custom_action": (given(action), once(delete_action, "ASSET", action.id)),
        "copy": (
            given(other, "assets", preferred_source=b2, **copied),
            once(sdk.post_storage_bulk, other, **bulk),
        ),
        "delete_file_set": (
            given(*binned, immediately=False, not_after=inf),
            once(delete, *binned),
        ),
        "delete_file_set immediately": (
            given(*gone, immediately=True, not_after=inf),
            once(delete, *gone, immediately=True),
        ),
        "purge_file_set": (given(*purged, not_after=inf), once(purge, *purged)),
    }


def given(*arguments: Any, **more: Any) -> Ours:
    """Return what calls a method of the plugin's client."""
    return lambda method: method(*arguments, **more)


def once(call: Callable[..., Response[Any]], *ids: str, **more: Any) -> Callable[[], Answers]:
    """Return what makes a call of the SDK."""
    return lambda: [call(*ids, **more)]


def paged(key: str, call: Callable[..., Response[Any]], *ids: str, **more: Any) -> Any:
    """Return what reads a list with the SDK, whose next page a query parameter asks for."""

    def ask() -> Answers:
        answers = [call(*ids, per_page=100, **more)]
        while len(answers) < answers[0].parsed.total:
            (row,) = answers[-1].parsed.objects
            following = {"page": len(answers) + 1, "last_id": str(row.id)}
            answers.append(call(*ids, per_page=100, **more, **{key: following[key]}))
        return answers

    return ask


by_page, by_last_id = partial(paged, "page"), partial(paged, "last_id")


def read(name: str, fields: Row) -> Any:
    """Return a body as a model of the SDK, which must know all fields and lack none."""
    service, model = name.split(".")
    # A late import, because each process that runs tests imports this module.
    found = getattr(importlib.import_module(f"pythonik.{service}.models"), model).from_dict(fields)
    assert [*faults(found)] == []
    return found


def faults(found: Any, where: str = "") -> Iterator[str]:
    """Yield where an answer, or a body, differs from the model that the SDK has made of it.

    The SDK keeps a field that it does not know, and a value of another type, as they came.
    """
    described = attrs.fields_dict(type(found))
    if len(described) > 1:  # Otherwise the model allows any field.
        yield from (f"{where}.{name} is unknown" for name in found.additional_properties)
    for name in described.keys() - {"additional_properties"}:
        types, value = re.findall(r"\w+", str(described[name].type)), getattr(found, name)
        for each in [value, *value] if isinstance(value, list) else [value]:
            if attrs.has(type(each)):
                yield from faults(each, f"{where}.{name}")
            elif type(each).__name__.replace("NoneType", "None") not in types:
                yield f"{where}.{name} is {each!r}, not {described[name].type}"


@contextmanager
def recorded(world: World) -> Iterator[tuple[str, list[Request]]]:
    """Serve a world; yield its URL and the list that its requests are added to."""
    app, requests = create_app(world), list[Request]()

    @app.before_request
    def record() -> None:
        asked = flask.request
        body = asked.get_json() if asked.data else {}
        rule = f"{asked.method} {asked.url_rule}"
        requests.append(Request(rule, asked.path, asked.args.to_dict(), body))

    with serve(app) as url:
        yield url, requests


@pytest.fixture(scope="module")
def exchanges() -> dict[str, Exchange]:
    """Have both clients do all operations, in two worlds that are alike, and stay so."""
    scene, found = Scene(), {}
    twin = copy.deepcopy(scene)
    with (
        recorded(scene.world) as (url, ours),
        recorded(twin.world) as (twin_url, theirs),
        pytest.MonkeyPatch.context() as patch,
        Sdk(twin.world.app_id, twin.world.token, base_url=f"{twin_url}/API") as sdk,
    ):
        patch.setenv("no_proxy", "127.0.0.1")
        plugin = Iconik(new_rest(url, scene.world))
        for name, (do, ask) in operations(scene, sdk).items():
            result, answers = do(getattr(plugin, name.split()[0])), ask()
            found[name] = Exchange(ours[:], theirs[:], result, answers)
            ours.clear()
            theirs.clear()
            assert state(scene.world) == state(twin.world), name
    return found


def state(world: World) -> tuple[object, ...]:
    """Return what two worlds have in common that are alike: all but new ids, and the times."""
    tables = (world.transfers, world.jobs, world.notifications, world.custom_actions, world.files)
    file_sets = [(row["storage_id"], row["status"]) for row in world.file_sets.values()]
    return (*map(len, tables), file_sets)


def test_the_sandbox_answers_as_described(exchanges: dict[str, Exchange]) -> None:
    """Each answer has a documented status, all fields that its model demands, and no other."""
    for name, exchange in exchanges.items():
        for answer in exchange.answers:
            assert 200 <= answer.status_code < 300, name
            assert "ResponseDefault" not in type(answer.parsed).__name__, name
            assert answer.parsed is None or [*faults(answer.parsed)] == [], name


def test_the_plugin_asks_as_the_sdk_does(exchanges: dict[str, Exchange]) -> None:
    """All requests are the same, but a change of a job names nothing that does not change."""
    for name, (ours, theirs, _, _) in exchanges.items():
        extra = UNCHANGED if name == "update_job" else {}
        assert [each._replace(body=extra | each.body) for each in ours] == theirs, name


def test_nothing_is_left_out(exchanges: dict[str, Exchange]) -> None:
    """The operations use all methods of the plugin's client, and all of the sandbox."""
    methods = {name for name, _ in inspect.getmembers(Iconik, inspect.isfunction)}
    assert {name.split()[0] for name in exchanges} == {n for n in methods if n[0] != "_"}
    rules = {
        f"{method} {rule}"
        for rule in create_app(World()).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {request.rule for each in exchanges.values() for request in each.plugin} == rules


def test_both_clients_read_rows_alike(exchanges: dict[str, Exchange]) -> None:
    """In lists, they read the same values of the fields that both name alike."""
    for name, (_, _, found, answers) in exchanges.items():
        ours = found[0] if isinstance(found, tuple) else found  # Without the number that lacks.
        if isinstance(ours, list) and name != "current_roles":
            theirs = [row for answer in answers for row in answer.parsed.objects]
            for our, their in zip(ours, theirs, strict=True):
                same = our._replace(**{field: value(their, field, our) for field in our._fields})
                assert our == same, name


def value(row: object, field: str, our: object) -> object:
    """Return a field of the SDK's row; that of our row if it has none, or a model of its own."""
    found = getattr(row, f"{field}_", getattr(row, field, getattr(our, field)))
    if attrs.has(type(found)):
        return getattr(our, field)
    found = found.value if isinstance(found, Enum) else found
    found = str(found) if isinstance(found, UUID) else found
    return None if isinstance(found, Unset) else found


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"colour": "red"}, ".objects.colour is unknown"),
        ({"status": "ODD"}, ".objects.status is 'ODD', not "),
        ({"id": "1"}, ".objects.id is '1', not "),
        ({"name": None}, ".objects is {"),
    ],
)
def test_deviations_from_a_model_are_found(change: Row, fault: str) -> None:
    """An unknown field, a value of another type or a missing field is a fault."""
    row = {"name": "B2", "method": "B2", "purpose": "FILES", "settings": {"bucket": "b"}} | change
    row = {name: value for name, value in row.items() if value}
    with pytest.raises(AssertionError, match=re.escape(fault)):
        read("files.StoragesReadSchema", {"objects": [row]})


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
        iconik = Iconik(new_rest(url, site.world))
        for action in wanted("https://f.example", {"format": "PROXY"}, secret=secret, label=None):
            iconik.create_custom_action(action | {"context": "BULK"})
    written = [request for request in requests if request.body]
    assert {request.rule for request in written} == {*[*MODELS][:4]}
    for request in written:
        unchanged = UNCHANGED if "PATCH" in request.rule else {}
        read(MODELS[request.rule], unchanged | request.body)
