"""The cost of the function: the modules that it imports, and its calls to iconik."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import flask
import functions_framework
import pytest

from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site
from sandbox.world import World, new_id

ROOT = Path(__file__).parent.parent

# Imported modules

SCRIPT = """
import json, sys
import {known}

def names():  # Of Google's packages that share one name, each by itself.
    return {{name if name.startswith("google") else name.partition(".")[0] for name in sys.modules}}

known = names() | sys.stdlib_module_names

def report():
    print(json.dumps(sorted(names() - known)))

"""


def imported(known: str, script: str, **environ: str) -> list[list[str]]:
    """Run a script in a fresh interpreter; return the imported modules at each `report()`.

    Args:
        known: packages that are left out, and so is what they import.
    """
    command = [sys.executable, "-c", SCRIPT.format(known=known) + script]
    output = subprocess.check_output(command, cwd=ROOT, env=environ, text=True)
    lines = [json.loads(line) for line in output.splitlines()]
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


def test_secrets_in_the_environment_need_no_library(
    site: Site, iconik_url: str, environ: dict[str, str]
) -> None:
    """The waiting editor pays only for functions-framework and requests."""
    asset_id, _ = site.asset()
    script = f"""
client = functions_framework.create_app("iconik_handler", "main.py").test_client()
report()
for action in ("add", "remove"):
    body = {{"asset_ids": ["{asset_id}"]}}
    response = client.post("/" + action, headers={{"x-bz-secret": "first"}}, json=body)
    assert response.text == "OK", response.text
    report()
"""
    found = imported("functions_framework, requests", script, **environ, ICONIK_URL=iconik_url)
    assert found == [["main", "storage_plugin"]] * 3


def test_only_the_entry_point_knows_flask() -> None:
    """All modules of the plugin are imported with requests alone."""
    script = """
import importlib, pkgutil, storage_plugin
for module in pkgutil.walk_packages(storage_plugin.__path__, "storage_plugin."):
    importlib.import_module(module.name)
report()
"""
    assert imported("requests", script) == [["storage_plugin"]]


# Calls to iconik

ABSENT = {"transfers_to": 1, "transfers_from": 1}
"""The calls that tell whether copies are on their way, if assets have none."""

JOB = {"create_job", "jobs", "job", "update_job"}
"""The calls for the job that the editor sees; their number depends on the time."""

Count = Callable[..., dict[str | None, int]]


@pytest.fixture
def count(site: Site, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Count]:
    """Return a function that posts a custom action and counts its calls to each endpoint."""
    calls: Counter[str | None] = Counter()
    iconik = create_app(site.world)
    iconik.before_request(lambda: calls.update([flask.request.endpoint]))
    monkeypatch.setenv("FUNCTION_TARGET", "iconik_handler")
    client = functions_framework.create_app("iconik_handler", str(ROOT / "main.py")).test_client()

    def post(path: str, **selection: object) -> dict[str | None, int]:
        calls.clear()
        response = client.post(path, headers={"x-bz-secret": "first"}, json=selection)
        assert response.status_code == 200, response.text
        return {name: number for name, number in calls.items() if name not in JOB}

    with serve(iconik) as url:
        for variable, value in {**environ, "ICONIK_URL": url}.items():
            monkeypatch.setenv(variable, value)
        yield post


@pytest.mark.parametrize(
    ("objects", "formats", "calls"),
    [
        ({"asset_ids": 1}, "A", 1),
        ({"asset_ids": 500}, "A", 1),
        ({"asset_ids": 501}, "A", 2),
        ({"asset_ids": 1001}, "A,B", 6),
        ({"asset_ids": 2, "collection_ids": 2, "saved_search_ids": 2}, "A", 3),
    ],
)
def test_an_add_is_one_call_for_500_objects_of_a_kind(
    count: Count, objects: dict[str, int], formats: str, calls: int
) -> None:
    """An Add lists the storages, then has each format copied; iconik walks the collections."""
    selection = {kind: [new_id() for _ in range(number)] for kind, number in objects.items()}
    assert count(f"/add?format={formats}", **selection) == {"storages": 1, "bulk": calls}


@pytest.mark.parametrize("assets", [1, 7])
def test_a_remove_is_four_calls_for_an_asset_and_then_one(
    count: Count, site: Site, assets: int
) -> None:
    """An asset on the storage costs four calls; otherwise, as in a repeat, it costs one."""
    ids = [site.asset()[0] for _ in range(assets)]
    first = dict.fromkeys(["all_file_sets", "formats", "files", "delete"], assets)
    assert count("/remove", asset_ids=ids) == {"storages": 1, **first}
    again = {"storages": 1, "all_file_sets": assets, **ABSENT}
    assert count("/remove", asset_ids=ids) == again


@pytest.mark.parametrize(("counts_rows", "calls"), [(True, 2), (False, 4)])
def test_a_remove_of_a_collection_is_a_call_for_each_page(
    count: Count, site: Site, calls: int, *, counts_rows: bool
) -> None:
    """A page has up to 100 objects. If iconik does not count more than nine, one more is asked."""
    site.quirk(counts_rows=counts_rows)
    inner = site.world.add_collection(*(site.world.add_asset("Clip") for _ in range(20)))
    outer = site.world.add_collection(inner, *(site.world.add_asset("Clip") for _ in range(60)))
    found = count("/remove", collection_ids=[outer])
    assert found == {"storages": 1, "contents": calls, "all_file_sets": 80, **ABSENT}


def test_what_stays_costs_its_news(count: Count, site: Site) -> None:
    """The notification with titles costs a call for each kept asset, and two for all."""
    ids = [site.asset([CLIP], [CLIP | {"size": 1}])[0] for _ in range(3)]
    news = {"asset": 3, "current_user": 1, "notify": 1}
    looks = {"all_file_sets": 3, "formats": 3, "files": 3}
    calls = count("/remove", asset_ids=ids, user_id=new_id())
    assert calls == {"storages": 1, **looks, **news}
