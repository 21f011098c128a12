"""System tests: the plugin's promises, tested over HTTP with the function as Google runs it.

First the expected operation, then the various errors, by their status.
"""

import pytest

from sandbox.faults import HANG
from sandbox.site import CLIP
from storage_plugin import webhook
from tests.stage import Stage as InProcess
from tests.system.conftest import running, stage
from tests.system.stage import ID, SECRET, Stage, send

__all__ = ["running", "stage"]

HEADER = "x-bz-secret"
SELECTED = f'{{"asset_ids": ["{ID}"]}}'.encode()

# Expected operation


def test_add_then_remove(stage: Stage) -> None:
    """Assets, collections and saved searches go to LucidLink and leave it; the masters stay."""
    asset, inside, found = (stage.site.master() for _ in range(3))
    selection = {
        "asset_ids": [asset],
        "collection_ids": [stage.world.add_collection(inside)],
        "saved_search_ids": [stage.world.add_saved_search(found)],
    }
    added = stage.post("/add", **selection)
    assert (added.status_code, added.text, stage.site.copies()) == (200, "OK", 3)
    removed = stage.post("/remove", **selection)
    assert (removed.status_code, removed.text, stage.site.copies()) == (200, "OK", 0)
    assert stage.site.masters() == 3


def test_the_url_overrides_the_settings(stage: Stage) -> None:
    """One function serves several storages, formats and folders."""
    other = stage.world.add_storage("Other & more")
    asset_id = stage.world.add_asset("Clip", ["A", "B", "C"])
    for name in "ABC":
        stage.world.add_file_set(asset_id, stage.site.b2, [{"original_name": name}], name)
    query = "?storage=Other%20%26%20more&format=A,B&path=/in"
    assert stage.post("/add" + query, asset_ids=[asset_id]).text == "OK"
    assert stage.world.names_on(other) == ["A", "B"]
    assert {row["base_dir"] for row in stage.world.file_sets_of(asset_id, other)} == {"/in"}
    assert stage.post("/remove" + query, asset_ids=[asset_id]).text == "OK"
    assert stage.world.names_on(other) == []


def test_what_has_no_complete_master_stays(stage: Stage) -> None:
    """The answer says in one sentence what stayed, and why."""
    kept, _ = stage.site.asset([CLIP], [CLIP | {"status": "GROWING"}])
    gone, _ = stage.site.asset()
    response = stage.post("/remove", asset_ids=[kept, gone])
    assert (response.status_code, response.text) == (
        200,
        f"OK: 1 of 2 assets removed from LucidLink, 1 stayed. {kept}: "
        "clip.mov is still being written on B2 (GROWING).",
    )
    assert stage.world.file_sets_of(kept, stage.site.lucidlink)
    assert not stage.world.file_sets_of(gone, stage.site.lucidlink)


def test_what_has_no_master_can_be_archived_first() -> None:
    """With ARCHIVE_BEFORE_REMOVE, the first click copies it to B2, and the second removes it."""
    stage = InProcess(ARCHIVE_BEFORE_REMOVE="true")
    asset_id = stage.site.only_copy()
    assert ": ORIGINAL is being copied to B2 first." in stage.click(asset_ids=[asset_id]).text
    stage.world.finish_copies()
    assert stage.click(asset_ids=[asset_id]).text == "OK"
    assert (stage.site.copies(), stage.site.masters()) == (0, 1)


@pytest.mark.parametrize("name", [*webhook.ACTIONS, "check"])
@pytest.mark.parametrize("has_queue", [False, True])
def test_an_action_is_one_of_two_by_name(
    monkeypatch: pytest.MonkeyPatch, has_queue: bool, name: str
) -> None:
    """Nothing is copied or deleted for any other name, even if the table of actions has it."""
    read, stage = webhook.read_action, InProcess(has_queue=has_queue)
    monkeypatch.setattr(webhook, "read_action", lambda *given: read(*given)._replace(name=name))
    other = stage.site.master()
    response = stage.click("/add", asset_ids=[stage.site.asset()[0], other])
    added = [row["asset_id"] for row in stage.world.transfers.values()]
    found = (response.status_code, stage.site.copies(), added, stage.calls == [])
    expected = {"add": (200, 1, [other]), "remove": (200, 0, []), "check": (404, 1, [])}
    assert found == (*expected[name], name == "check")


def test_the_administrator_sees_a_line(stage: Stage) -> None:
    """Each request, and each asset that stays, is one line of JSON; no line contains a secret."""
    kept, _ = stage.site.asset([CLIP], [CLIP | {"status": "MISSING"}])
    stage.post("/remove", asset_ids=[kept, *stage.assets(1)])
    stage.post("/remove", secret="wrong")
    asset, request, refusal = stage.events
    assert (asset["severity"], asset["asset"]) == ("WARNING", kept)
    assert request["message"].startswith("remove 200: OK: 1 of 2 assets removed from LucidLink, ")
    expected = {"severity": "INFO", "action": "remove", "storage": "LucidLink", "status": 200}
    numbers = {"assets": 2, "removed": 1, "stayed": 1, "file_sets": 1}
    calls = 1 + 3 + 4 + 7  # Storages; what stays; what goes; the job and the notification.
    expected |= {"selected": {"assets": 2}, **numbers, "iconik_calls": calls}
    assert request.items() >= expected.items()
    assert (refusal["severity"], refusal["status"]) == ("WARNING", 401)
    for secret in (SECRET, stage.world.token, "payload-token", stage.world.app_id):
        assert secret not in str(stage.events)


# Errors of the caller


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET.upper(), SECRET + "x", "\xff" * 500])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/remove"), ("GET", "/nowhere?x=y"), ("TRACE", "//"), ("POST", "/%00")],
)
def test_without_the_secret_everything_is_401(
    stage: Stage, method: str, path: str, secret: str | None
) -> None:
    """The function reads nothing else of a request before its secret, and tells nothing else."""
    response = send(stage.function, method, path, secret, data=b"{nonsense")
    found = (response.status_code, response.headers["WWW-Authenticate"], response.text)
    assert found == (401, HEADER, f"The header {HEADER} must hold the shared secret.")


def test_other_methods_are_405_and_large_bodies_413(stage: Stage) -> None:
    """Only POST is served, with at most 800 kB, whether or not their length is announced."""
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        response = send(stage.function, method, "/nowhere")
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    body = b" " * 800_000
    assert send(stage.function, "POST", "/nowhere", data=body + b" ").status_code == 413
    assert send(stage.function, "POST", "/nowhere", data=iter([body, b" "])).status_code == 413


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/add", b'{"asset_ids": ["../../users/v1/users"]}', 400, "asset_ids"),
        # A mistyped override is refused, because the action would use the wrong storage.
        ("/remove?x=1", SELECTED, 400, "x"),
        ("/added", SELECTED, 404, "/add or /remove"),
    ],
)
def test_unusable_requests_are_400_or_404(
    stage: Stage, path: str, body: bytes, status: int, named: str
) -> None:
    """The answer names what is wrong."""
    response = send(stage.function, "POST", path, data=body)
    assert (response.status_code, named in response.text) == (status, True)


# Errors of the configuration, of iconik and of Google


@pytest.mark.parametrize(
    ("changes", "query", "status", "named"),
    [
        ({"ICONIK_ID": "", "ICONIK_URL": "ftp://x"}, "", 500, ["ICONIK_ID", "ICONIK_URL"]),
        # Masters are never removed.
        ({}, "?storage=B2", 500, ["STORAGE_NAME"]),
        ({"ICONIK_TOKEN": "another"}, "", 500, ["iconik-token"]),
        # Without the shared secret, nobody is let in.
        ({"BZ_SHARED_SECRET": ""}, "", 503, ["The secret bz-shared-secret cannot be read"]),
    ],
)
def test_wrong_settings_are_named(
    changes: dict[str, str], query: str, status: int, named: list[str]
) -> None:
    """The answer names everything that is missing or wrong, and nothing is touched."""
    stage = InProcess(**changes)  # Each case in a process of its own would take half a second.
    response = stage.click(f"/remove{query}", asset_ids=stage.assets(1))
    assert (response.status_code, stage.site.copies(), stage.site.masters()) == (status, 1, 1)
    assert [each for each in named if each not in response.text] == []


def test_an_asset_that_fails_is_502_and_the_others_are_removed(stage: Stage) -> None:
    """The answer names the asset for which iconik sends nonsense."""
    broken, _ = stage.site.asset([CLIP], [CLIP | {"name": "", "original_name": ""}])
    response = stage.post("/remove", asset_ids=[broken, *stage.assets(1)])
    assert response.status_code == 502
    assert response.text.startswith("1 of 2 assets removed from LucidLink, 1 failed.")
    assert (broken in response.text, stage.site.copies()) == (True, 1)


def test_an_iconik_that_hangs_is_504(stage: Stage) -> None:
    """The removal ends in time, and does not ask iconik for each asset."""
    stage.faults.probabilities = {HANG: 1}
    with stage.run(CLOUD_RUN_TIMEOUT_SECONDS="1") as function:
        response = function.click("remove", SECRET, asset_ids=stage.assets(20))
    assert (response.status_code, stage.faults.requests["files"] < 5) == (504, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/remove", 200), ("GET", "/add", 405), ("POST", "/add?storage=x", 500)],
)
def test_answers_are_one_plain_line(stage: Stage, method: str, path: str, status: int) -> None:
    """An answer is one line of text, whatever its status, and whatever iconik's names contain."""
    odd = [{"original_name": "<img onerror=x>\n\ud800", "status": "OPEN"}]
    asset_id, _ = stage.site.asset(odd)
    response = send(stage.function, method, path, json={"asset_ids": [asset_id]})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(response.content))
    assert "\n" not in response.text
