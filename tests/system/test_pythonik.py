"""An SDK of iconik's API that is not part of this project judges the sandbox and the plugin.

The SDK is generated from iconik's own descriptions. Its functions show whether the plugin asks as
iconik expects, and its models whether the sandbox answers as iconik does.

https://github.com/NorthShoreAutomation/iconik-sdk-generator
"""

import functools
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import flask
import functions_framework
import httpx
import pytest
from pythonik import friendly
from pythonik.files.types import Unset

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
# What a change of a job leaves as it is, but the SDK's model of a job demands.
UNCHANGED: Row = {"status": "STARTED", "type": "CUSTOM", "title": "Remove"}
NOTE = dict.fromkeys(("event_type", "message_short", "message_long"), "finished")
NOTE |= {"object_type": "assets", "object_id": new_id(), "recipient_id": new_id()}
# In the SDK's source, each endpoint has its method, path, module and service.
ENDPOINT = r'\((\w+) (/v1/\S*)\)"\s+from \.([\w.]+) import \(?\s*(\w+) as .*?_client\("([\w-]+)"'


class Exchange(NamedTuple):
    """A request as the sandbox has received it, and its answer."""

    rule: str  # The method and the path, with its parameters in angle brackets.
    query: dict[str, str]
    body: Row
    status: int
    answer: str


# Methods of the plugin's client, with their results and exchanges.
Done = list[tuple[str, Any, list[Exchange]]]


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


def calls(scene: Scene, plugin: Iconik) -> Iterator[Callable[[], Any]]:
    """Yield all that the plugin's client does."""
    clip, action = scene.clip, rows.custom_action(scene.world.custom_actions[scene.action])
    binned, gone, purged = scene.copies
    order = {"object_type": "assets", "object_ids": [clip], "format_name": "ORIGINAL"}
    order |= {"file_path": "/projects", "preferred_original_storage_id": scene.b2}
    for method, *arguments in (
        (plugin.storages,),
        (plugin.can_delete_on, scene.lucidlink),
        (plugin.formats, clip),
        (plugin.file_sets, clip),
        (plugin.files, clip),
        (plugin.asset_title, clip),
        (plugin.collection_contents, scene.collection),
        (plugin.saved_search_results, scene.search),
        (plugin.transfers, [scene.b2], scene.lucidlink),
        (plugin.running_jobs, "REMOVE"),
        (plugin.job, scene.job),
        (plugin.create_job, JOB),
        (plugin.update_job, scene.job, {"progress_total": 2, "progress_processed": 1}),
        (plugin.current_user,),
        (plugin.current_roles,),
        (plugin.notify, NOTE | {"sender_id": new_id()}),
        (plugin.custom_actions,),
        (plugin.create_custom_action, ACTION),
        (plugin.update_custom_action, action.id, ACTION),
        (plugin.delete_custom_action, action),
        (plugin.copy, scene.other, order),
    ):
        yield functools.partial(method, *arguments)
    for file_set_id, immediately in ((binned, False), (gone, True)):
        fresh = {"immediately": immediately, "not_after": inf}
        yield functools.partial(plugin.delete_file_set, clip, file_set_id, **fresh)
    yield functools.partial(plugin.purge_file_set, clip, purged, not_after=inf)


@functools.cache
def endpoints() -> dict[str, str]:
    """Return the modules of the SDK's endpoints, by the method and the path."""
    found = re.findall(ENDPOINT, Path(friendly.__file__).read_text(), re.DOTALL)
    return {
        f"{method} /API/{service}{re.sub('{.*?}', '<>', path)}": f"pythonik.{package}.{module}"
        for method, path, package, module, service in found
    }


def endpoint(exchange: Exchange) -> ModuleType:
    """Return the SDK's module for a request. A module is imported when it is needed."""
    return importlib.import_module(endpoints()[re.sub("<.*?>", "<>", exchange.rule)])


def parsed(exchange: Exchange) -> Any:
    """Return an answer as the SDK reads it."""
    response = httpx.Response(exchange.status, text=exchange.answer)
    return endpoint(exchange)._parse_response(client=None, response=response)


def mistakes(exchange: Exchange) -> Iterator[str]:
    """Yield where a request or its answer differs from what the SDK knows."""
    parameters = inspect.signature(endpoint(exchange)._get_kwargs).parameters
    types = {name.removesuffix("_"): str(each.annotation) for name, each in parameters.items()}
    for name, text in exchange.query.items():
        kind = "int" if text.isdigit() else "bool" if text in ("true", "false") else "str"
        if not re.search(rf"\b({kind}|str)\b", types.get(name, "unknown")):
            yield f"{name} is {text!r}, not {types.get(name)}"
    if "body" in parameters:
        unchanged = UNCHANGED if "PATCH" in exchange.rule and "/jobs/" in exchange.rule else {}
        yield from faults(parameters["body"].annotation.from_dict(unchanged | exchange.body))
    elif exchange.body:
        yield f"{exchange.body} is not expected"
    answer = parsed(exchange)
    if not 200 <= exchange.status < 300 or "ResponseDefault" in type(answer).__name__:
        yield f"{exchange.status} is unknown"
    elif answer is not None:
        yield from faults(answer)


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
def recorded(world: World) -> Iterator[tuple[str, list[Exchange]]]:
    """Serve a world; yield its URL and the list that its exchanges are added to."""
    app, exchanges = create_app(world), list[Exchange]()

    @app.after_request
    def record(answer: flask.Response) -> flask.Response:
        asked = flask.request
        rule, body = f"{asked.method} {asked.url_rule}", json.loads(asked.data or "{}")
        text = answer.get_data(as_text=True)
        exchanges.append(Exchange(rule, asked.args.to_dict(), body, answer.status_code, text))
        return answer

    with serve(app) as url:
        yield url, exchanges


@pytest.fixture(scope="module")
def done() -> Done:
    """Have the plugin's client do all that it does."""
    scene, found = Scene(), []
    with recorded(scene.world) as (url, exchanges):
        for call in calls(scene, Iconik(new_rest(url, scene.world))):
            result = call()
            found.append((call.func.__name__, result, exchanges[:]))
            exchanges.clear()
    return found


def test_client_and_sandbox_are_as_described(done: Done) -> None:
    """The SDK knows all requests and answers, and the latter lack nothing that it demands."""
    for name, _, exchanges in done:
        assert [fault for each in exchanges for fault in mistakes(each)] == [], name


def test_nothing_is_left_out(done: Done) -> None:
    """All methods of the plugin's client are used, and all of the sandbox."""
    methods = {name for name, _ in inspect.getmembers(Iconik, inspect.isfunction)}
    assert {name for name, _, _ in done} == {name for name in methods if name[0] != "_"}
    rules = {
        f"{method} {rule}"
        for rule in create_app(World()).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {each.rule for _, _, exchanges in done for each in exchanges} == rules


def test_both_clients_read_rows_alike(done: Done) -> None:
    """In lists, they read the same values of the fields that both name alike."""
    for name, found, exchanges in done:
        ours = found[0] if isinstance(found, tuple) else found  # Without the number that lacks.
        if isinstance(ours, list) and name != "current_roles":
            theirs = [row for each in exchanges for row in parsed(each).objects]
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


ROW: Row = {"name": "B2", "method": "B2", "purpose": "FILES", "settings": {"bucket": "b"}}


def listed(**changes: Any) -> Row:
    """Return the change of an exchange into a list of a storage; None takes a field away."""
    row = {name: value for name, value in (ROW | changes).items() if value is not None}
    return {"answer": json.dumps({"objects": [row]})}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (listed(colour="red"), ".objects.colour is unknown"),
        (listed(status="ODD"), ".objects.status is 'ODD', not "),
        (listed(id="1"), ".objects.id is '1', not "),
        (listed(name=None), ".objects is {"),
        ({"query": {"colour": "red"}}, "colour is 'red', not None"),
        ({"query": {"per_page": "true"}}, "per_page is 'true', not int"),
        ({"body": {"colour": "red"}}, "{'colour': 'red'} is not expected"),
        ({"status": 201}, "201 is unknown"),
        ({"status": 401}, "401 is unknown"),
        ({"rule": "POST /API/jobs/v1/jobs/", "body": JOB | {"colour": 1}}, ".colour is unknown"),
    ],
)
def test_deviations_are_found(change: Row, fault: str) -> None:
    """What is unknown, missing or of another type is a fault, in a request and in an answer."""
    sound = Exchange("GET /API/files/v1/storages/", {"page": "1"}, {}, 200, listed()["answer"])
    assert [*mistakes(sound)] == []
    assert any(each.startswith(fault) for each in mistakes(sound._replace(**change)))


def test_the_sdk_knows_all_that_the_plugin_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs, notifications and custom actions of the plugin fit the SDK's models."""
    site, secret = Site(), "let-me-in"
    click = payload(asset_ids=[site.only_copy()])
    with recorded(site.world) as (url, exchanges):
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
    kinds = {(each.rule.split()[0], each.rule.split("/")[4]) for each in exchanges if each.body}
    posts = {("POST", kind) for kind in ("jobs", "notifications", "custom_actions")}
    assert kinds == posts | {("PATCH", "jobs")}
    assert [fault for each in exchanges for fault in mistakes(each)] == []
