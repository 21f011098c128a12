"""The commands for custom actions, against an iconik in memory."""

import json
from typing import Any

import pytest

from sandbox.world import World
from tests.admin.conftest import OTHER, SECRET, URL, Run

BULK = ("--contexts", "BULK")


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
    assert create(run).count(": already up to date.\n") == 6
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
    ids=["two that call the same", "another function's", "one of Backblaze's plugin"],
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


@pytest.mark.undocumented
def test_a_context_that_is_none_enters_no_url(world: World, run: Run) -> None:
    """A custom action's context is part of URLs, so what is no context is refused."""
    world.add_custom_action(OTHER | {"context": "../../users", "url": f"{URL}/add"})
    status, output = run("actions", "--delete", "--url", URL)
    assert (status, "context" in output, len(world.custom_actions)) == (1, True, 1)
