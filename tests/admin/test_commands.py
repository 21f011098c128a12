"""The commands for settings and custom actions, against an iconik in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.world import World
from tests.admin.conftest import OTHER, SECRET, URL, Run, change_settings

BULK = ("--contexts", "BULK")


def test_the_environment(run: Run) -> None:
    """The settings are completed with what only a deployment knows, but what is set stays."""
    change_settings(TASK_QUEUE="auto", STORAGE_PATH="", STORAGE_NAME="It''s é: #1")
    completed = {
        "GOOGLE_CLOUD_PROJECT": "p",
        "THREADS": "16",
        "TASK_QUEUE": "projects/p/locations/r/queues/iconik",
        "TASK_SERVICE_ACCOUNT": "iconik-queue@p.iam.gserviceaccount.com",
        "FUNCTION_URL": "https://r-p.cloudfunctions.net/iconik_handler",
    }
    own = dict.fromkeys(completed, "https://function.example.com") | {
        "TASK_QUEUE": "projects/other/locations/l/queues/own",
        "TASK_SERVICE_ACCOUNT": "queue@other.iam.gserviceaccount.com",
    }
    for values, expected in (({}, completed), (own, own)):
        change_settings(**values)
        written = yaml.safe_load(Path(".env.yaml").read_text())
        status, output = run("settings", "p", "r")
        assert (status, yaml.safe_load(output)) == (0, written | expected)
        assert written["STORAGE_NAME"] == "It's é: #1"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("STORAGE_NAME: 'Other'", ".env.yaml is wrong: line 5 has STORAGE_NAME a second time."),
        ("THREADS: 8", "line 5 must have a name and a value in quotes"),
        ("ICONIK_TOKEN: 'x'", "line 5 has ICONIK_TOKEN, which belongs in Secret Manager"),
        ("FORMAT_NAME = 'x'", "line 6 could not find expected ':'"),
        ("\0", ".env.yaml is wrong: it is no text."),
        ("USE_RECYCLE_BIN: ''", "USE_RECYCLE_BIN must be true or false"),
        ("FORMAT_NAME: 'PROXY '", "several with commas, without spaces around it"),
        ("TASK_QUEUE: 'Auto'", "TASK_QUEUE must be projects/P/locations/L/queues/Q, or auto"),
        ("FORMAT_NAMES: 'x'", "Warning: Nothing reads FORMAT_NAMES."),
    ],
)
def test_what_is_wrong(run: Run, line: str, text: str) -> None:
    """What Google would refuse, or the function could not use, is named."""
    with Path(".env.yaml").open("a") as file:
        file.write(f"{line}\n")
    status, output = run("settings", "p", "r")
    assert (status, text in output) == (int("Warning" not in text), True)


def create(run: Run, *options: str, url: str = URL) -> str:
    """Create actions, and return the output."""
    status, output = run("actions", "--url", url, *options)
    assert status == 0
    return output


def test_create(world: World, run: Run) -> None:
    """Both actions are there in three contexts; a second time changes nothing, to the letter."""
    output = create(run, url=f"{URL}/")
    assert output.startswith("Add to LucidLink (ASSET): created.\n")
    assert "--everyone" in output
    actions = world.custom_actions.values()
    assert [(action["context"], action["title"], action["url"]) for action in actions] == [
        (context, title, URL + path)
        for context in ("ASSET", "COLLECTION", "BULK")
        for title, path in (("Add to LucidLink", "/add"), ("Remove from LucidLink", "/remove"))
    ]
    for action in actions:
        assert (action["type"], action["headers"]) == ("POST", {"x-bz-secret": SECRET})
        assert action["app_id"] == world.app_id
    before = json.dumps(world.custom_actions)
    output = create(run, "--everyone")
    assert (output.count(": already up to date.\n"), "--delete" in output) == (6, True)
    assert json.dumps(world.custom_actions) == before


def test_create_with_overrides(world: World, run: Run) -> None:
    """Overrides are in the URL and the title; an action is known by them, however it is written."""
    world.add_storage("Dailies & more")
    options = ["--storage", "Dailies & more", "--format", "PPRO_PROXY,ORIGINAL", "--path", "/in"]
    create(run, *BULK)
    create(run, "--contexts", "SAVED_SEARCH", "BULK", *options, "--everyone")
    action = list(world.custom_actions.values())[-1]
    assert (len(world.custom_actions), action["context"]) == (2 + 4, "BULK")
    assert action["title"] == "Remove from LucidLink (Dailies & more, PPRO_PROXY,ORIGINAL, /in)"
    query = "storage=Dailies%20%26%20more&format=PPRO_PROXY,ORIGINAL&path=/in"
    assert action["url"] == f"{URL}/remove?{query}"
    assert action["read_access_for_everyone"] is True
    other = "path=%2Fin&format=PPRO_PROXY%2CORIGINAL&storage=Dailies+%26+more"
    action["url"] = f"{URL}/remove/?{other}"
    create(run, *BULK, *options, "--label", "Dailies")
    assert (len(world.custom_actions), action["title"]) == (2 + 4, "Remove from Dailies")


def test_create_again_updates_what_differs(world: World, run: Run) -> None:
    """A new secret or label goes into the action that exists; its other headers stay."""
    create(run, *BULK)
    action = next(iter(world.custom_actions.values()))
    right = {**action, "headers": {"X-Team": "post", "x-bz-secret": SECRET}}
    headers = {"X-BZ-Secret": "old", "X-Team": "post"}
    action |= {"title": "Fetch", "url": f"{URL}/add/", "type": "OPEN", "headers": headers}
    output = create(run, *BULK)
    assert output.startswith("Add to LucidLink (BULK): updated, title, url, type, headers.\n")
    assert (action, len(world.custom_actions)) == (right, 2)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ({"Add": "/add", "X": "/add/"}, f"calls {URL}/add; X (BULK) calls {URL}/add/. Delete"),
        ({"Add to LucidLink": "2/add"}, f"calls {URL}2/add. Delete"),
        ({"Add to LucidLink": "/add?ll_storage_id=1"}, "?ll_storage_id=1. Delete"),
    ],
)
def test_create_takes_nothing_over(
    world: World, run: Run, actions: dict[str, str], words: str
) -> None:
    """Where it is not clear which action is meant, none is changed."""
    for title, path in actions.items():
        world.add_custom_action(OTHER | {"title": title, "url": URL + path})
    before = json.dumps(world.custom_actions)
    status, output = run("actions", "--url", URL)
    assert (status, words in output, json.dumps(world.custom_actions)) == (1, True, before)


def test_create_where_iconik_fails(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If iconik fails with the App named, actions are created without, but none a second time."""
    add = world.add_custom_action

    def add_and_fail(action: dict[str, Any]) -> dict[str, Any]:
        if "app_id" not in action:
            return add(action)
        if "add" in action["url"]:
            add(action)
        raise RuntimeError

    monkeypatch.setattr(world, "add_custom_action", add_and_fail)
    assert create(run).count(": created.\n") == len(world.custom_actions) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--url http://example.com", "http://example.com is not the URL of a function"),
        (f"--url {URL}/add", f"{URL}/add is not the URL of a function"),
        (f"--url {URL} --path in", "path"),
        (f"--url {URL} --storage lucidlink", "That user sees B2, LucidLink, Other."),
        ("", "The function's URL is unknown: run make deploy, or add OPTIONS='--url URL'"),
    ],
)
def test_create_refuses_wrong_options(world: World, run: Run, options: str, words: str) -> None:
    """What no function can have, or would refuse at each click, is refused here."""
    status, output = run("actions", *options.split())
    assert (status, words in output, world.custom_actions) == (1, True, {})


def test_delete(world: World, run: Run) -> None:
    """Only what calls the function is deleted. A title cannot control the terminal."""
    for path in ("/add", "/remove/?storage=x", "2/add", "/add-ride"):
        world.add_custom_action(OTHER | {"url": URL + path, "title": "A\x1b"})
    output = f"Deleted A? (BULK), which called {URL}/add.\n"
    output += output.replace("/add", "/remove/?storage=x")
    assert run("actions", "--delete", "--url", URL) == (0, output)
    assert run("actions", "--delete", "--url", URL) == (0, "")
    assert len(world.custom_actions) == 2
