"""An SDK of iconik's API that is not part of this project judges the sandbox and the plugin.

The SDK is generated from iconik's own descriptions. Its functions show whether the plugin asks as
iconik expects, and its models whether the sandbox answers as iconik does.

https://github.com/NorthShoreAutomation/iconik-sdk-generator
"""

import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import attrs
import flask
import functions_framework
import httpx
import pytest
from pythonik import friendly

from admin.custom_actions import wanted
from sandbox.function import ROOT
from sandbox.quirks import Quirks
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site, payload
from sandbox.world import Row, World
from storage_plugin.iconik.client import Iconik
from storage_plugin.webhook import SECRET_HEADER
from tests.conftest import new_rest

# What a change of a job leaves as it is, but the SDK's model of a job demands.
JOB: Row = {"title": "Remove", "type": "CUSTOM", "status": "STARTED"}
# In the SDK's source, each endpoint has its method, path, module and service.
ENDPOINT = r'\((\w+) (/v1/\S*)\)"\s+from \.([\w.]+) import \(?\s*(\w+) as .*?_client\("([\w-]+)"'


class Exchange(NamedTuple):
    """A request as the sandbox has received it, and its answer."""

    rule: str  # The method and the path, with its parameters in angle brackets.
    query: dict[str, str]
    body: Row
    status: int
    answer: str


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


def do_all(scene: Scene, plugin: Iconik) -> None:
    """Use the plugin's client, except what `click` uses."""
    clip, (binned, gone, purged) = scene.clip, scene.copies
    for read in (plugin.formats, plugin.file_sets, plugin.files, plugin.asset_title):
        read(clip)
    plugin.storages()
    plugin.can_delete_on(scene.lucidlink)
    plugin.collection_contents(scene.collection)
    plugin.saved_search_results(scene.search)
    plugin.transfers([scene.b2], scene.lucidlink)
    plugin.running_jobs("REMOVE")
    plugin.job(scene.job)
    plugin.current_roles()
    order = {"object_type": "assets", "object_ids": [clip], "format_name": "ORIGINAL"}
    order |= {"file_path": "/projects", "preferred_original_storage_id": scene.b2}
    plugin.copy(scene.other, order)
    plugin.delete_file_set(clip, binned, immediately=False, not_after=inf)
    plugin.delete_file_set(clip, gone, immediately=True, not_after=inf)
    plugin.purge_file_set(clip, purged, not_after=inf)
    for action in wanted("https://f.example", {"format": "PROXY"}, secret="s", label=None):
        plugin.create_custom_action(action | {"context": "BULK"})
    for found in plugin.custom_actions():
        plugin.update_custom_action(found["id"], action | {"context": "BULK"})
        plugin.delete_custom_action(found)


def click(scene: Scene, url: str) -> None:
    """Have the function create and change jobs, and notify the editor."""
    tokens = {"ICONIK_TOKEN": scene.world.token, "BZ_SHARED_SECRET": "s"}
    settings = {**scene.settings(url), **tokens, "FUNCTION_TARGET": "iconik_handler"}
    with patch.dict(os.environ, settings):
        function = functions_framework.create_app("iconik_handler", str(ROOT / "main.py"))
        for path in ("/remove", "/add?storage=Nowhere"):
            body = payload(asset_ids=[scene.only_copy()])
            function.test_client().post(path, headers={SECRET_HEADER: "s"}, json=body)


@cache
def endpoints() -> dict[str, str]:
    """Return the modules of the SDK's endpoints, by the method and the path."""
    found = re.findall(ENDPOINT, Path(friendly.__file__).read_text(), re.DOTALL)
    return {
        f"{method} /API/{service}{re.sub('{.*?}', '<>', path)}": f"pythonik.{package}.{module}"
        for method, path, package, module, service in found
    }


def endpoint(exchange: Exchange) -> ModuleType:
    """Return the SDK's module for a request."""
    name = endpoints()[re.sub("<.*?>", "<>", exchange.rule)]
    models = name.partition(".api.")[0] + ".models"
    if models not in sys.modules:  # Its __init__ would import all models, which takes seconds.
        sys.modules[models] = package = ModuleType(models)
        folders = models.removeprefix("pythonik.").replace(".", "/")
        package.__path__ = [str(Path(friendly.__file__).parent / folders)]
    return importlib.import_module(name)


def mistakes(exchange: Exchange) -> Iterator[str]:
    """Yield where a request or its answer differs from what the SDK knows."""
    module = endpoint(exchange)
    parameters = inspect.signature(module._get_kwargs).parameters
    types = {name.removesuffix("_"): str(each.annotation) for name, each in parameters.items()}
    for name, text in exchange.query.items():
        kind = "int" if text.isdigit() else "bool" if text in ("true", "false") else "str"
        if not re.search(rf"\b({kind}|str)\b", types.get(name, "unknown")):
            yield f"{name} is {text!r}, not {types.get(name)}"
    if "body" in parameters:
        unchanged = JOB if "PATCH" in exchange.rule and "/jobs/" in exchange.rule else {}
        yield from faults(parameters["body"].annotation.from_dict(unchanged | exchange.body))
    elif exchange.body:
        yield f"{exchange.body} is not expected"
    response = httpx.Response(exchange.status, text=exchange.answer)
    answer = module._parse_response(client=None, response=response)
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


def test_client_and_sandbox_are_as_described() -> None:
    """The SDK knows all requests and answers, and they lack nothing that it demands.

    All routes of the sandbox are used, and so all methods of the plugin's client.
    """
    scene = Scene()
    with recorded(scene.world) as (url, exchanges):
        do_all(scene, Iconik(new_rest(url, scene.world)))
        click(scene, url)
    assert [fault for each in exchanges for fault in mistakes(each)] == []
    rules = {
        f"{method} {rule}"
        for rule in create_app(World()).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {each.rule for each in exchanges} == rules


def listed(**changes: Any) -> Row:
    """Return the change of an exchange into a list of a storage."""
    row = {"name": "B2", "method": "B2", "purpose": "FILES", "settings": {"bucket": "b"}}
    return {"answer": json.dumps({"objects": [row | changes]})}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (listed(colour="red"), ".objects.colour is unknown"),
        (listed(status="ODD"), ".objects.status is 'ODD', not "),
        (listed(id="1"), ".objects.id is '1', not "),
        ({"answer": '{"objects": [{"id": "1"}]}'}, ".objects is {"),
        ({"query": {"colour": "red"}}, "colour is 'red', not None"),
        ({"query": {"per_page": "true"}}, "per_page is 'true', not int"),
        ({"body": {"colour": "red"}}, "{'colour': 'red'} is not expected"),
        ({"status": 201}, "201 is unknown"),
        ({"rule": "POST /API/jobs/v1/jobs/", "body": JOB | {"colour": 1}}, ".colour is unknown"),
    ],
)
def test_deviations_are_found(change: Row, fault: str) -> None:
    """What is unknown, missing or of another type is a fault, in a request and in an answer."""
    sound = Exchange("GET /API/files/v1/storages/", {"page": "1"}, {}, 200, listed()["answer"])
    assert [*mistakes(sound)] == []
    assert any(each.startswith(fault) for each in mistakes(sound._replace(**change)))
