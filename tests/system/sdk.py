"""What the plugin's client does, and the same with an SDK that is not part of this project.

https://github.com/NorthShoreAutomation/iconik-sdk-generator
"""

import importlib
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import flask
import pytest
from pythonik.files.types import Response
from pythonik.friendly import Iconik as Sdk

from sandbox.quirks import Quirks
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site
from sandbox.world import Row, World, new_id
from storage_plugin.iconik.client import Iconik as Plugin

PAGE = 100
"""Rows that both ask for at once."""

FILES = (CLIP, {"original_name": "clip.wav"}, {"original_name": "clip.xml"})
ACTION: Row = {"context": "ASSET", "title": "Add", "url": "https://f.example/add", "type": "POST"}
JOB: Row = {"title": "Remove", "type": "CUSTOM", "custom_type": "REMOVE", "status": "STARTED"}
PROGRESS: Row = {"title": "Remove", "progress_total": 2, "progress_processed": 1}
NOTED: Row = PROGRESS | {"metadata": {"part 1": {"split": 0}}}
KEPT: Row = {"status": "STARTED", "type": "CUSTOM"}
"""What a PATCH leaves as it is, but the SDK's model of a job demands."""

NOTIFICATION: Row = {
    "event_type": "finished",
    "message_short": "Removed",
    "message_long": "2 assets",
    "object_type": "assets",
    "object_id": new_id(),
    "recipient_id": new_id(),
    "sender_id": new_id(),
}

Answers = list[Response[Any]]


class Scene(Site):
    """A world in which each list that the plugin reads has two pages at least.

    Attributes:
        clip: an asset.
        copies: its file sets on LucidLink, the last one in the recycle bin.
        collection: has the asset and another collection in it.
        search: a saved search that finds the asset and the collection.
        moving: assets that are being copied.
        bulk: the job that copies them to LucidLink.
        job: one of two jobs of the plugin.
        action: a custom action.
    """

    def __init__(self) -> None:
        super().__init__(
            World(quirks=Quirks(rows_per_page=1, counts_rows=True, copies_take_time=True))
        )
        world = self.world
        world.permissions[self.lucidlink] = {"delete_access": True}
        self.clip = world.add_asset("Clip", ["ORIGINAL", "PROXY"])
        world.add_file_set(self.clip, self.b2, FILES)
        self.copies = [
            world.add_file_set(self.clip, self.lucidlink, FILES, status=status)
            for status in ("ACTIVE", "ACTIVE", "DELETED")
        ]
        self.collection = world.add_collection(self.clip, world.add_collection())
        self.search = world.add_saved_search(self.clip, self.collection)
        self.moving = [world.add_asset(title) for title in ("Drone", "Night")]
        for asset_id in self.moving:
            world.add_file_set(asset_id, self.b2, FILES)
        request = {"object_type": "assets", "object_ids": self.moving}
        self.bulk, _ = (world.copy(id, request) for id in (self.lucidlink, self.other))
        self.job, _ = (world.add_job(JOB)["id"] for _ in range(2))
        self.action = world.add_custom_action(ACTION)["id"]


class Request(NamedTuple):
    """A request as the sandbox has got it."""

    rule: str
    method: str
    path: str
    query: Row
    body: Row

    def parts(self) -> Row:
        """Return the parts of the request by their places in it."""
        parts = {"method": self.method, "path": self.path}
        parts |= {f"query.{name}": value for name, value in self.query.items()}
        return parts | {f"body.{name}": value for name, value in self.body.items()}


@contextmanager
def recorded(world: World) -> Iterator[tuple[str, list[Request]]]:
    """Serve a world; yield its URL and the list that its requests are added to."""
    app, requests = create_app(world), list[Request]()

    @app.before_request
    def record() -> None:
        asked = flask.request
        body = asked.get_json() if asked.data else {}
        rule = f"{asked.method} {asked.url_rule}"
        requests.append(Request(rule, asked.method, asked.path, asked.args.to_dict(), body))

    with serve(app) as url:
        yield url, requests


@contextmanager
def sdk_of(url: str, world: World) -> Iterator[Sdk]:
    """Yield the SDK's client of a world."""
    with (
        pytest.MonkeyPatch.context() as patch,
        Sdk(world.app_id, world.token, base_url=f"{url}/API") as sdk,
    ):
        patch.setenv("no_proxy", "127.0.0.1")
        yield sdk


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


def model(name: str) -> Any:
    """Return a model of the SDK by its service and name.

    The models of a service are imported late, because each process that runs tests imports this
    module, and only one runs the tests of the SDK.
    """
    service, name = name.split(".")
    return getattr(importlib.import_module(f"pythonik.{service}.models"), name)


def body(name: str, fields: Row) -> Any:
    """Return a body as a model of the SDK, which must know all fields and lack none."""
    made = model(name).from_dict(fields)
    assert [*faults(made)] == []
    return made


def numbered(call: Callable[..., Response[Any]], *ids: str, **query: object) -> Answers:
    """Read a list whose pages are numbered."""
    first = call(*ids, per_page=PAGE, **query)
    others = range(2, first.parsed.pages + 1)
    return [first, *(call(*ids, per_page=PAGE, page=page, **query) for page in others)]


def by_cursor(call: Callable[..., Response[Any]], *ids: str, **query: object) -> Answers:
    """Read a list whose pages follow the last row of the one before, and have one row each."""
    answers = [call(*ids, per_page=PAGE, **query)]
    while len(answers) < answers[0].parsed.total:
        (row,) = answers[-1].parsed.objects
        answers.append(call(*ids, per_page=PAGE, last_id=str(row.id), **query))
    return answers


class Operation(NamedTuple):
    """What the plugin's client does, and the same with the SDK."""

    plugin: Callable[[], object]
    sdk: Callable[[], Answers]


def operations(plugin: Plugin, sdk: Sdk, scene: Scene) -> dict[str, Operation]:
    """Return all that the plugin does, by its methods and, after a space, their variants."""
    clip = scene.clip
    b2, lucidlink, other = scene.b2, scene.lucidlink, scene.other
    return {
        "storages": Operation(plugin.storages, lambda: numbered(sdk.get_storages)),
        "can_delete_on": Operation(
            lambda: plugin.can_delete_on(lucidlink),
            lambda: [sdk.get_storage_verifications_permissions(lucidlink)],
        ),
        "formats": Operation(
            lambda: plugin.formats(clip), lambda: by_cursor(sdk.get_asset_formats, clip)
        ),
        "file_sets": Operation(
            lambda: plugin.file_sets(clip),
            lambda: by_cursor(sdk.get_asset_file_sets, clip, file_count=True),
        ),
        "files": Operation(
            lambda: plugin.files(clip),
            lambda: by_cursor(sdk.get_asset_files, clip, generate_signed_url=False),
        ),
        "asset_title": Operation(lambda: plugin.asset_title(clip), lambda: [sdk.get_asset(clip)]),
        "collection_contents": Operation(
            lambda: plugin.collection_contents(scene.collection).items,
            lambda: numbered(
                sdk.get_collection_contents, scene.collection, object_types="assets,collections"
            ),
        ),
        "saved_search_results": Operation(
            lambda: plugin.saved_search_results(scene.search).items,
            lambda: numbered(sdk.get_search_saved_by_search, scene.search, include_results=True),
        ),
        "transfers": Operation(
            lambda: plugin.transfers([b2], lucidlink),
            lambda: [
                *by_cursor(sdk.get_storage_transfers_to, lucidlink),
                *by_cursor(sdk.get_storage_transfers_from, b2),
            ],
        ),
        "running_jobs": Operation(
            lambda: plugin.running_jobs("REMOVE"),
            lambda: numbered(sdk.get_jobs, type_="CUSTOM", status="STARTED"),
        ),
        "job": Operation(lambda: plugin.job(scene.job), lambda: [sdk.get_job(scene.job)]),
        "create_job": Operation(
            lambda: plugin.create_job(JOB),
            lambda: [sdk.post_jobs(body=body("jobs.JobSchema", JOB))],
        ),
        "update_job": Operation(
            lambda: plugin.update_job(scene.job, PROGRESS),
            lambda: [sdk.patch_job(scene.job, body=body("jobs.JobSchema", KEPT | PROGRESS))],
        ),
        "update_job with metadata": Operation(
            lambda: plugin.update_job(scene.job, NOTED),
            lambda: [
                sdk.patch_job(
                    scene.job, body=body("jobs.JobSchema", KEPT | NOTED), merge_metadata="true"
                )
            ],
        ),
        "current_user": Operation(plugin.current_user, lambda: [sdk.get_users_current()]),
        "current_user_id": Operation(plugin.current_user_id, lambda: [sdk.get_users_current()]),
        "current_roles": Operation(plugin.current_roles, lambda: [sdk.get_users_current_roles()]),
        "notify": Operation(
            lambda: plugin.notify(NOTIFICATION),
            lambda: [
                sdk.post_notifications(
                    body=body("usersnotifications.NotificationSchema", NOTIFICATION)
                )
            ],
        ),
        "custom_actions": Operation(plugin.custom_actions, lambda: [sdk.get_custom_actions()]),
        "create_custom_action": Operation(
            lambda: plugin.create_custom_action(ACTION),
            lambda: [
                sdk.post_custom_actions_by_context(
                    "ASSET", body=body("assets.CustomActionCreateSchema", ACTION)
                )
            ],
        ),
        "update_custom_action": Operation(
            lambda: plugin.update_custom_action(scene.action, ACTION),
            lambda: [
                sdk.patch_custom_actions_by_context_by_action(
                    "ASSET", scene.action, body=body("assets.CustomActionSchema", ACTION)
                )
            ],
        ),
        "delete_custom_action": Operation(
            lambda: plugin.delete_custom_action(plugin.custom_actions()[0]),
            lambda: [
                sdk.get_custom_actions(),
                sdk.delete_custom_actions_by_context_by_action("ASSET", scene.action),
            ],
        ),
        "copy": Operation(
            lambda: plugin.copy(
                other,
                "assets",
                object_ids=[clip],
                format_name="ORIGINAL",
                file_path="/projects",
                preferred_source=b2,
            ),
            lambda: [
                sdk.post_storage_bulk(
                    other,
                    body=model("files.BulkTransferToStorageSchema")(
                        object_type=model("files.BulkTransferToStorageSchemaObjectType")("assets"),
                        object_ids=[UUID(clip)],
                        format_name="ORIGINAL",
                        file_path="/projects",
                        preferred_original_storage_id=UUID(b2),
                    ),
                )
            ],
        ),
        "delete_file_set": Operation(
            lambda: plugin.delete_file_set(
                clip, scene.copies[0], immediately=False, not_after=math.inf
            ),
            lambda: [sdk.delete_asset_file_set(clip, scene.copies[0])],
        ),
        "delete_file_set immediately": Operation(
            lambda: plugin.delete_file_set(
                clip, scene.copies[1], immediately=True, not_after=math.inf
            ),
            lambda: [sdk.delete_asset_file_set(clip, scene.copies[1], immediately=True)],
        ),
        "purge_file_set": Operation(
            lambda: plugin.purge_file_set(clip, scene.copies[2], not_after=math.inf),
            lambda: [sdk.delete_asset_file_set_purge(clip, scene.copies[2])],
        ),
    }
