"""What the function may cost: what it imports, and how often it calls iconik."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import flask
import functions_framework
import pytest

from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site
from sandbox.world import World, new_id
from storage_plugin.background import job

ROOT = Path(__file__).parent.parent

# What is imported

SCRIPT = """
import json, sys
import {known}

def names():  # Of Google's packages that share one name, each by itself.
    return {{name if name.startswith("google") else name.partition(".")[0] for name in sys.modules}}

known = names() | sys.stdlib_module_names

def tell():
    print(json.dumps(sorted(names() - known)))

"""


def imported(known: str, script: str, **environ: str) -> list[list[str]]:
    """Run a script in a fresh interpreter; return which modules there are each time that it tells.

    Args:
        known: packages that are not told of, nor is what they import.
        script: calls `tell`.
    """
    command = [sys.executable, "-c", SCRIPT.format(known=known) + script]
    process = subprocess.run(
        command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True
    )
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    return [line for line in lines if isinstance(line, list)]  # The others are the function's log.


@pytest.fixture
def environ(world: World) -> dict[str, str]:
    """Return the settings of a function whose secrets are in the environment."""
    return {
        "BZ_SHARED_SECRET": "first",
        "ICONIK_TOKEN": world.token,
        "ICONIK_ID": world.app_id,
        "STORAGE_NAME": "LucidLink",
        "MASTER_STORAGE_NAME": "B2",
    }


@pytest.mark.parametrize("source", ["environment", "files"])
def test_secrets_without_secret_manager_need_no_library(
    world: World, iconik_url: str, environ: dict[str, str], tmp_path: Path, source: str
) -> None:
    """The waiting editor pays for functions-framework and requests, and for nothing else."""
    asset_id, _ = Site(world).asset([CLIP])
    if source == "files":
        for variable in ("BZ_SHARED_SECRET", "ICONIK_TOKEN"):
            path = tmp_path / variable
            path.write_text(environ.pop(variable))
            environ[f"{variable}_FILE"] = str(path)
    script = f"""
client = functions_framework.create_app("iconik_handler", "main.py").test_client()
tell()
for action in ("add", "remove"):
    body = {{"asset_ids": ["{asset_id}"]}}
    response = client.post("/" + action, headers={{"x-bz-secret": "first"}}, json=body)
    assert response.text == "OK", response.text
    tell()
"""
    ours = ["main", "storage_plugin"]
    told = imported("functions_framework, requests", script, **environ, ICONIK_URL=iconik_url)
    assert told == [ours, ours, ours]


def test_only_the_entry_point_knows_flask() -> None:
    """All modules of the plugin are imported with requests alone."""
    script = """
import importlib, pkgutil, storage_plugin
for module in pkgutil.walk_packages(storage_plugin.__path__, "storage_plugin."):
    importlib.import_module(module.name)
tell()
"""
    assert imported("requests", script) == [["storage_plugin"]]


# How often iconik is called

JOB = {"create_job": 1, "jobs": 1, "update_job": 1}


class Counted:
    """A function in this process, and how often it has called each endpoint of iconik."""

    def __init__(self, world: World) -> None:
        self.site = Site(world)
        self.app = create_app(world)
        self.app.before_request(lambda: self.calls.update([flask.request.endpoint]))
        app = functions_framework.create_app("iconik_handler", str(ROOT / "main.py"))
        self._client = app.test_client()

    def post(self, path: str, **selection: object) -> dict[str | None, int]:
        """Post a custom action, and return how often it called what."""
        self.calls: Counter[str | None] = Counter()
        headers = {"x-bz-secret": "first"}
        response = self._client.post(path, headers=headers, json=selection)
        assert response.status_code == 200, response.text
        return dict(self.calls)


@pytest.fixture
def counted(
    world: World, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Counted]:
    """Return a function whose job tells nothing on the way, however slow this machine is."""
    late = SimpleNamespace(monotonic=itertools.count(0, 1000).__next__)
    monkeypatch.setattr(job, "time", late)
    monkeypatch.setenv("FUNCTION_TARGET", "iconik_handler")
    counted = Counted(world)
    with serve(counted.app) as url:
        for variable, value in {**environ, "ICONIK_URL": url}.items():
            monkeypatch.setenv(variable, value)
        yield counted


@pytest.mark.parametrize(
    ("assets", "formats", "calls"), [(1, "A", 1), (500, "A", 1), (501, "A", 2), (1001, "A,B", 6)]
)
def test_an_add_is_one_call_for_500_objects(
    counted: Counted, assets: int, formats: str, calls: int
) -> None:
    """An Add asks for the storages, then has each format of up to 500 objects copied by a call."""
    ids = [new_id() for _ in range(assets)]
    expected = {"storages": 1, "bulk": calls}
    assert counted.post(f"/add?format={formats}", asset_ids=ids) == expected


def test_an_add_is_one_call_for_each_kind_of_object(counted: Counted) -> None:
    """Collections and saved searches are iconik's to walk, however much is in them."""
    kinds = ("asset_ids", "collection_ids", "saved_search_ids")
    selection = {kind: [new_id(), new_id()] for kind in kinds}
    assert counted.post("/add", **selection) == {"storages": 1, "bulk": 3}


@pytest.mark.parametrize("assets", [1, 7])
def test_a_remove_is_four_calls_for_an_asset_and_then_one(counted: Counted, assets: int) -> None:
    """What is on the storage costs four calls; what is not, as in a repeat, costs one."""
    ids = [counted.site.asset([CLIP])[0] for _ in range(assets)]
    first = dict.fromkeys(["all_file_sets", "formats", "files", "delete"], assets)
    assert counted.post("/remove", asset_ids=ids) == {"storages": 1, **first, **JOB}
    assert counted.post("/remove", asset_ids=ids) == {"storages": 1, "all_file_sets": assets, **JOB}


def test_a_remove_of_a_collection_is_one_call_more(counted: Counted) -> None:
    """A collection of up to 100 objects is read in one call, and so is each one below it."""
    world = counted.site.world
    inner = world.add_collection(*(world.add_asset("Clip") for _ in range(20)))
    outer = world.add_collection(inner, *(world.add_asset("Clip") for _ in range(60)))
    calls = counted.post("/remove", collection_ids=[outer])
    assert calls == {"storages": 1, "contents": 2, "all_file_sets": 80, **JOB}


def test_many_storages_are_a_call_for_each_hundred(counted: Counted) -> None:
    """The list of storages is read page by page, once for an action."""
    for number in range(250):
        counted.site.world.add_storage(str(number))
    assert counted.post("/add", asset_ids=[new_id()]) == {"storages": 3, "bulk": 1}


def test_what_stays_costs_its_news(counted: Counted) -> None:
    """A kept asset is told to the editor by its title: a call for each, and two for all."""
    ids = [counted.site.asset([CLIP], [CLIP | {"size": 1}])[0] for _ in range(3)]
    calls = counted.post("/remove", asset_ids=ids, user_id=new_id())
    news = {"asset": 3, "current_user": 1, "notify": 1}
    looks = {"all_file_sets": 3, "formats": 3, "files": 3}
    assert calls == {"storages": 1, **looks, **news, **JOB}
