"""The commands for custom actions, against an iconik in memory."""

import io
import json
import sys
from pathlib import Path

import pytest
from requests_mock import Mocker

from admin.iconik import AdminIconik
from sandbox.world import World, new_id
from storage_plugin.errors import IconikError
from storage_plugin.iconik.rest import Rest
from tests.admin.conftest import OTHER, SECRET, URL, Run, change_settings, set_deployment

BULK = ("--contexts", "BULK")


def create(run: Run, *options: str, url: str = URL) -> str:
    """Create actions, and return the output."""
    status, output = run("actions", "create", "--url", url, *options)
    assert status == 0
    return output


def fail_to_create(world: World, run: Run, *options: str) -> str:
    """Fail to create actions, change nothing, and return the output."""
    before = json.dumps(world.custom_actions)
    status, output = run("actions", "create", "--url", URL, *options)
    assert status == 1
    assert json.dumps(world.custom_actions) == before
    return output


def titles(world: World) -> list[str]:
    """Return the titles of the actions in iconik."""
    return [action["title"] for action in world.custom_actions.values()]


def test_create(world: World, run: Run) -> None:
    """Both actions are there in three contexts, with URL, type, secret and App."""
    assert create(run, url=f"{URL}/").startswith("Add to LucidLink (ASSET): created.\n")
    actions = [
        (action["context"], action["title"], action["url"])
        for action in world.custom_actions.values()
    ]
    assert actions == [
        (context, title, URL + path)
        for context in ("ASSET", "COLLECTION", "BULK")
        for title, path in (("Add to LucidLink", "/add"), ("Remove from LucidLink", "/remove"))
    ]
    for action in world.custom_actions.values():
        assert action["type"] == "POST"
        assert action["headers"] == {"x-bz-secret": SECRET}
        assert action["app_id"] == world.app_id


def test_create_with_overrides(world: World, run: Run) -> None:
    """Overrides are in the URL, encoded, and in the title, so that editors can choose."""
    world.add_storage("Dailies & more")
    world.add_asset("Interview", ["ORIGINAL", "PPRO_PROXY"])
    options = ["--storage", "Dailies & more", "--format", "PPRO_PROXY,ORIGINAL", "--path", "/in"]
    create(run)
    create(run, "--contexts", "SAVED_SEARCH,BULK", *options)
    assert len(world.custom_actions) == 6 + 4
    action = list(world.custom_actions.values())[-1]
    assert action["context"] == "BULK"
    assert action["title"] == "Remove from LucidLink (Dailies & more, PPRO_PROXY,ORIGINAL, /in)"
    query = "storage=Dailies%20%26%20more&format=PPRO_PROXY,ORIGINAL&path=/in"
    assert action["url"] == f"{URL}/remove?{query}"


def test_create_again_changes_nothing(world: World, run: Run) -> None:
    """An action that is right stays untouched, to the letter."""
    create(run)
    for action in world.custom_actions.values():
        action["headers"]["X-Team"] = "post"
    before = json.dumps(world.custom_actions)
    assert create(run).count(": already up to date.\n") == 6
    assert json.dumps(world.custom_actions) == before


@pytest.mark.parametrize(
    ("differing", "changes"),
    [
        ("url", {"url": f"{URL}/add/"}),
        ("title", {"title": "Fetch"}),
        ("headers", {"headers": {"X-BZ-Secret": "old", "X-Team": "post"}}),
        ("headers", {"headers": None}),
        ("type", {"type": "OPEN"}),
    ],
)
def test_create_again_updates_what_differs(
    world: World, run: Run, differing: str, changes: dict[str, object]
) -> None:
    """A new secret or label goes into the action that exists; its other headers stay."""
    create(run, *BULK)
    action = next(iter(world.custom_actions.values()))
    right = dict(action)
    action.update(changes)
    assert create(run, *BULK).startswith(f"Add to LucidLink (BULK): updated, {differing}.\n")
    if changes.get("headers"):
        right["headers"] = {"X-Team": "post", "x-bz-secret": SECRET}
    assert action == right
    assert len(world.custom_actions) == 2


def test_create_refuses_to_choose(world: World, run: Run) -> None:
    """Of two actions that call what one should call, none is changed."""
    for title in ("Add", "Fetch"):
        world.add_custom_action(OTHER | {"title": title, "url": f"{URL}/add"})
    assert "delete all but one" in fail_to_create(world, run)


@pytest.mark.parametrize("url", [f"{URL}2/add", f"{URL}/add?path=/in", "https://taxi.example"])
def test_create_takes_nothing_over(world: World, run: Run, url: str) -> None:
    """A title that belongs to another action is an error, and nothing is changed."""
    world.add_custom_action(OTHER | {"title": "Add to LucidLink", "url": url})
    output = fail_to_create(world, run)
    assert f"which calls {url}: " in output
    assert "--label" in output
    create(run, "--label", "Filespace")


def test_create_knows_an_action_by_what_it_calls(world: World, run: Run) -> None:
    """However its URL is written, an action that calls the same is changed, not doubled."""
    world.add_storage("Dailies & more")
    url = f"{URL}/add/?path=%2Fin&storage=Dailies+%26+more"
    world.add_custom_action(OTHER | {"title": "Fetch", "url": url})
    create(run, *BULK, "--storage", "Dailies & more", "--path", "/in")
    assert titles(world) == [
        "Add to LucidLink (Dailies & more, /in)",
        "Remove from LucidLink (Dailies & more, /in)",
    ]


def test_actions_of_backblaze_s_plugin(world: World, run: Run) -> None:
    """Actions without a query are mended; those with its query are named, and can be deleted."""
    old = OTHER | {"title": "Add to LucidLink", "type": "POST", "headers": {"x-bz-secret": "old"}}
    world.add_custom_action(old | {"url": f"{URL}/add"})
    query = "b2_storage_id=73a746d2&ll_storage_id=d39b62e1"
    proxies = old | {"title": "Add Premiere Pro proxy file(s) to LucidLink"}
    world.add_custom_action(proxies | {"url": f"{URL}/add?{query}&formats=PPRO_PROXY"})
    assert "Add to LucidLink (BULK): updated, headers." in create(run, *BULK)

    world.add_custom_action(old | {"context": "ASSET", "url": f"{URL}/add?{query}"})
    output = fail_to_create(world, run, "--contexts", "ASSET")
    assert f"which calls {URL}/add?{query}: delete" in output
    run("actions", "delete", "--url", URL, "--yes")
    assert world.custom_actions == {}


def test_label_is_the_whole_title(world: World, run: Run) -> None:
    """With a label the title names no overrides; a context that is named twice counts once."""
    create(run, "--contexts", "BULK,BULK", "--label", "B", "--path", "/in")
    assert titles(world) == ["Add to B", "Remove from B"]


def test_create_for_everyone(world: World, run: Run) -> None:
    """With --everyone iconik is asked to show new actions to all; those that exist stay."""
    assert "--everyone" in create(run, "--contexts", "ASSET")
    assert "--everyone" not in create(run, "--contexts", "ASSET,BULK", "--everyone")
    access = {
        action["context"]: action.get("read_access_for_everyone")
        for action in world.custom_actions.values()
    }
    assert access == {"ASSET": None, "BULK": True}


@pytest.mark.parametrize(
    ("roles", "where"),
    [(["can_search"], "iconik has ORIGINAL, PPRO_PROXY in"), ([], "iconik names no formats in")],
)
def test_create_looks_at_formats(world: World, run: Run, roles: list[str], where: str) -> None:
    """Of a format that no asset was seen with there is a warning: it may be a new one."""
    world.add_asset("Interview", ["ORIGINAL", "PPRO_PROXY"])
    world.roles = roles
    format = "ORIGINAL,PRPO_PROXY" if roles else "PRPO_PROXY"
    output = create(run, "--format", format)
    assert output.startswith(f"Warning: check the format PRPO_PROXY. {where}")
    assert "format ORIGINAL" not in output


def test_the_url_of_the_deployment(world: World, run: Run) -> None:
    """Without --url the last deployment counts, else the settings, else it is said."""
    status, output = run("actions", "create")
    assert (status, "deploy the function, or add --url" in output) == (1, True)
    change_settings(FUNCTION_URL=f"{URL}2")
    run("actions", "create", "--contexts", "ASSET")
    set_deployment(URL)
    run("actions", "create", "--contexts", "BULK")
    assert {action["url"].rpartition("/")[0] for action in world.custom_actions.values()} == {
        URL,
        f"{URL}2",
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "https://example.com"}'])
def test_a_deployment_that_is_damaged(run: Run, text: str) -> None:
    """A file that holds no deployment is named."""
    Path(".deployment.json").write_text(text)
    status, output = run("actions", "create")
    assert (status, ".deployment.json is damaged" in output) == (1, True)


def test_create_where_iconik_takes_no_app(world: World, run: Run) -> None:
    """An iconik that fails with the App named gets the actions without."""
    world.quirks.apps_work = False
    assert create(run).count(": created, without an App.\n") == 6
    assert create(run).count(": already up to date.\n") == len(world.custom_actions) == 6


def test_create_whose_answer_is_lost(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An action that exists although iconik answered with an error is not created twice."""
    add = world.add_custom_action

    def add_and_fail(action: dict[str, object]) -> None:
        add(action)
        raise RuntimeError

    monkeypatch.setattr(world, "add_custom_action", add_and_fail)
    create(run)
    assert len(world.custom_actions) == 6


@pytest.mark.parametrize(
    "options",
    [
        ["--url", "http://example.com"],
        ["--url", URL + "/add"],
        ["--url", URL, "--contexts", "ASSET,SHARED_ASSET"],
    ],
    ids=["without TLS", "an action's URL", "a context without a selection"],
)
def test_create_refuses_wrong_options(
    world: World, run: Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that no function can have is refused."""
    with pytest.raises(SystemExit) as raised:
        run("actions", "create", *options)
    assert raised.value.code == 2
    assert options[-2] in capsys.readouterr().err
    assert world.custom_actions == {}


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("--path", "in", "path"), ("--storage", "lucidlink", "That user sees B2, LucidLink, Other.")],
)
def test_create_refuses_wrong_overrides(
    world: World, run: Run, option: str, value: str, reason: str
) -> None:
    """Overrides that the function would refuse at each click are refused here."""
    assert reason in fail_to_create(world, run, option, value)


def test_list(world: World, run: Run) -> None:
    """Health and the last error are shown of the plugin's actions, and nothing of others."""
    create(run, *BULK)
    world.add_custom_action(OTHER)
    failing, disabled = list(world.custom_actions.values())[:2]
    failing.update(status="FAILING", last_error=f"timed\x1bout, sent {SECRET}")
    disabled.update(disabled=True)
    assert run("actions", "list") == (
        0,
        "TITLE                  CONTEXT  STATE     URL\n"
        f"Add to LucidLink       BULK     FAILING   {URL}/add\n"
        "  Last error: timed?out, sent ***\n"
        f"Remove from LucidLink  BULK     disabled  {URL}/remove\n",
    )


@pytest.mark.parametrize(("answer", "left"), [("y\n", 2), ("\n", 8), ("", 8)])
def test_delete_asks(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    """The function's actions are shown, and deleted after a yes; the others stay."""
    world.add_custom_action(OTHER)
    world.add_custom_action(OTHER | {"url": URL + "2/add"})
    create(run)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    status, output = run("actions", "delete", "--url", URL)
    assert (status, "Delete these 6? [y/N] " in output) == (0, True)
    assert output.count(f"{URL}/") == 6
    assert len(world.custom_actions) == left


def test_delete_without_asking(world: World, run: Run) -> None:
    """With --yes nobody is asked, and what is gone is gone."""
    create(run)
    assert run("actions", "delete", "--url", URL, "--yes")[1].count("Deleted ") == 6
    assert world.custom_actions == {}
    assert run("actions", "list") == (0, "iconik has no custom actions of the plugin.\n")
    expected = f"No matching custom action calls {URL}.\n"
    assert run("actions", "delete", "--url", URL, "--yes") == (0, expected)


@pytest.mark.parametrize(
    ("options", "deleted"),
    [
        (["--contexts", "BULK"], 4),
        (["--storage", "B2"], 4),
        (["--contexts", "ASSET", "--storage", "B2"], 2),
        (["--format", "PROXY"], 2),
        (["--format", "ORIGINAL"], 0),
    ],
)
def test_delete_some(world: World, run: Run, options: list[str], deleted: int) -> None:
    """A deletion can be limited by context, storage and format."""
    create(run, "--contexts", "ASSET,BULK")
    create(run, "--contexts", "ASSET", "--storage", "B2", "--format", "PROXY")
    create(run, *BULK, "--storage", "B2")
    assert len(world.custom_actions) == 8
    run("actions", "delete", "--url", URL, "--yes", *options)
    assert len(world.custom_actions) == 8 - deleted


def test_a_context_that_is_none_enters_no_url(rest: Rest, requests_mock: Mocker) -> None:
    """A custom action's context is part of URLs, so what is no context is refused."""
    action = {"id": new_id(), "context": "../../users", "title": "x", "url": "https://x"}
    requests_mock.get("/API/assets/v1/custom_actions/", json={"objects": [action]})
    with pytest.raises(IconikError, match="context"):
        AdminIconik(rest).custom_actions()
