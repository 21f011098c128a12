"""The cost of the function: the modules that it imports, and its calls to iconik."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import new_id
from tests.stage import Stage

ROOT = Path(__file__).parent.parent
SCRIPT = """
import json, sys
import functions_framework, requests

def names():  # Of Google's packages that share one name, each by itself.
    names = {name if name.startswith("google") else name.partition(".")[0] for name in sys.modules}
    return names - sys.stdlib_module_names

known = names()
client = functions_framework.create_app("iconik_handler", "main.py").test_client()
for action in ("add", "remove"):
    body = {"asset_ids": sys.argv[1:]}
    response = client.post("/" + action, headers={"x-bz-secret": "let-me-in"}, json=body)
    assert response.text == "OK", response.text
print(json.dumps(sorted(names() - known)))
"""


def test_secrets_in_the_environment_need_no_library(site: Site, iconik_url: str) -> None:
    """The waiting editor pays only for functions-framework and requests."""
    command = [sys.executable, "-c", SCRIPT, site.asset()[0]]
    environ = site.settings(iconik_url) | site.secrets()
    output = subprocess.check_output(command, cwd=ROOT, env=environ, text=True)
    assert json.loads(output.splitlines()[-1]) == ["main", "storage_plugin"]


# Calls to iconik

STORAGES = {"GET storages": 1}
ABSENT = {"GET transfers_to": 1, "GET transfers_from": 1}  # Are copies of assets on their way?


def count(stage: Stage, path: str, **selection: object) -> dict[str, int]:
    """Post a custom action, and count its calls, but for the job, whatever their ids."""
    stage.calls.clear()
    response = stage.click(path, **selection)
    assert response.status_code == 200, response.text
    calls = [re.sub(r"/[0-9a-f-]{36}", "", call) for call in stage.calls if "/jobs/" not in call]
    return dict(Counter(re.sub(r"(?<= ).*/(?=\w+/$)|/$", "", call) for call in calls))


@pytest.fixture
def stage() -> Stage:
    """Return a function without a queue, whose assets share one list of storages."""
    stage = Stage()
    stage.latency = 0.001
    return stage


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
    stage: Stage, objects: dict[str, int], formats: str, calls: int
) -> None:
    """An Add lists the storages, then has each format copied; iconik walks the collections."""
    selection = {kind: [new_id() for _ in range(number)] for kind, number in objects.items()}
    assert count(stage, f"/add?format={formats}", **selection) == STORAGES | {"POST bulk": calls}


@pytest.mark.parametrize("assets", [1, 7])
def test_a_remove_is_four_calls_for_an_asset_and_then_one(stage: Stage, assets: int) -> None:
    """An asset on the storage costs four calls; otherwise, as in a repeat, it costs one."""
    ids, words = stage.assets(assets), ("GET file_sets", "GET formats", "GET files")
    first = dict.fromkeys((*words, "DELETE file_sets"), assets)
    assert count(stage, "/remove", asset_ids=ids) == STORAGES | first
    again = STORAGES | {"GET file_sets": assets} | ABSENT
    assert count(stage, "/remove", asset_ids=ids) == again


def test_what_stays_costs_its_news(stage: Stage) -> None:
    """The notification costs a call for each of ten titles, and two for all."""
    ids = [stage.site.asset([CLIP], [CLIP | {"size": 1}])[0] for _ in range(13)]
    news = {"GET assets": 10, "GET current": 1, "POST notifications": 1}
    looks = dict.fromkeys(("GET file_sets", "GET formats", "GET files"), 13)
    assert count(stage, "/remove", asset_ids=ids) == STORAGES | looks | news
