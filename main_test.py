"""System tests: the README's promises, sent over HTTP to the function as Google runs it."""

import json
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.faults import ALL_BUT_HANG, HANG, Faults
from sandbox.function import ROOT, Function, run_function
from sandbox.server import create_app, serve
from sandbox.world import World, new_id
from storage_plugin.threads import WORKERS
from tests import contract

SECRET = "schlüssel-for-tests"
ID = "11f0aaaa-0000-4000-8000-00000000000a"
CLIP = {"original_name": "clip.mov"}


class System:
    """An iconik in memory with masters on B2, and running functions that work on it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.world = World(token="token-for-tests")
        self.faults = Faults()
        app = create_app(self.world)
        self.mistakes = contract.enforce(app) if contract.DESCRIPTION.is_file() else []
        self.settings = {
            "ICONIK_URL": stack.enter_context(serve(app, self.faults)),
            "ICONIK_ID": self.world.app_id,
            "ICONIK_TOKEN": self.world.token,
            "STORAGE_NAME": "LucidLink",
            "MASTER_STORAGE_NAME": "B2",
            "BZ_SHARED_SECRET": SECRET,
        }
        self.function = self.run()

    def run(self, **settings: str | None) -> Function:
        """Run another function, with other settings; None takes one away."""
        changed = self.settings | settings
        environ = {name: value for name, value in changed.items() if value is not None}
        return self._stack.enter_context(run_function(environ))

    def reset(self) -> None:
        """Empty the iconik, but for its storages, and let it work well."""
        self.faults.latency, self.faults.probabilities = 0, {}
        self.faults.services = None
        self.faults.requests.clear()
        fresh = vars(World(token=self.world.token))
        vars(self.world).clear()
        vars(self.world).update(fresh)
        self.b2 = self.world.add_storage("B2", "B2")
        self.lucidlink = self.world.add_storage("LucidLink")
        self.world.add_storage("LucidLink 2")

    def asset(self, *, copied: bool = True, **master: object) -> str:
        """Add an asset with a master on B2, and a copy on LucidLink."""
        asset_id = self.world.add_asset("Clip")
        self.world.add_file_set(asset_id, self.b2, [CLIP | master])
        if copied:
            self.world.add_file_set(asset_id, self.lucidlink, [CLIP])
        return asset_id

    def copies(self) -> int:
        """Return how many files stand on LucidLink."""
        return len(self.world.names_on(self.lucidlink))


@pytest.fixture(scope="module")
def running() -> Iterator[System]:
    """Start the function once for all tests; requests and answers must be as iconik describes."""
    with ExitStack() as stack:
        system = System(stack)
        yield system
        assert system.mistakes == []


@pytest.fixture
def system(running: System) -> System:
    """Return the running function, with an iconik that holds nothing yet."""
    running.reset()
    return running


def post(
    function: Function, path: str, secret: str | None = SECRET, **payload: object
) -> requests.Response:
    """Post a custom action's payload as iconik does."""
    body = {
        "user_id": new_id(),
        "system_domain_id": new_id(),
        "context": "BULK",
        "action_id": new_id(),
        "asset_ids": [],
        "collection_ids": [],
        "saved_search_ids": [],
        "metadata_view_id": None,
        "metadata_values": None,
        "date_created": "2026-01-09T17:00:00.000000",
        "auth_token": "payload-token",
    }
    return send(function, "POST", path, secret, json=body | payload)


def send(
    function: Function, method: str, path: str, secret: str | None = SECRET, **kwargs: Any
) -> requests.Response:
    """Send any request."""
    headers = {"x-bz-secret": secret.encode()} if secret is not None else {}
    return requests.request(method, function.url + path, headers=headers, timeout=60, **kwargs)


def events(function: Function, since: int = 0) -> list[dict[str, Any]]:
    """Return what the function has logged, line by line."""
    return [json.loads(line) for line in function.output[since:].splitlines()]


# Add and remove


def test_add_then_remove(system: System) -> None:
    """Assets and collections go to LucidLink and come off it again; the masters stay."""
    asset, inside = system.asset(copied=False), system.asset(copied=False)
    selection = {"asset_ids": [asset], "collection_ids": [system.world.add_collection(inside)]}
    added = post(system.function, "/add", **selection)
    assert (added.status_code, added.text) == (200, "OK")
    assert system.copies() == 2
    removed = post(system.function, "/remove", **selection)
    assert (removed.status_code, removed.text) == (200, "OK")
    assert system.copies() == 0
    assert len(system.world.names_on(system.b2)) == 2


def test_saved_search(system: System) -> None:
    """What a saved search finds goes to LucidLink and comes off it again."""
    search = system.world.add_saved_search(*(system.asset(copied=False) for _ in range(11)))
    assert post(system.function, "/add", saved_search_ids=[search]).text == "OK"
    assert system.copies() == 11
    assert post(system.function, "/remove", saved_search_ids=[search]).text == "OK"
    assert system.copies() == 0


def test_remove_keeps_what_has_no_complete_master(system: System) -> None:
    """The answer says in one sentence what stayed, and why."""
    kept, gone = system.asset(status="GROWING"), system.asset()
    response = post(system.function, "/remove", asset_ids=[kept, gone])
    assert response.status_code == 200
    assert response.text == (
        f"OK: 1 of 2 assets removed from LucidLink, 1 stayed. {kept}: "
        "ORIGINAL: its master clip.mov is GROWING."
    )
    assert len(system.world.file_sets_of(kept, system.lucidlink)) == 1
    assert len(system.world.file_sets_of(gone, system.lucidlink)) == 0


def test_remove_does_the_rest_when_some_fail(system: System) -> None:
    """An asset that iconik answers nonsense for is named in a 502; the others are removed."""
    broken, fine = system.asset(storage_id=None), system.asset()
    response = post(system.function, "/remove", asset_ids=[broken, fine])
    assert response.status_code == 502
    assert response.text.startswith("1 of 2 assets removed from LucidLink, 1 failed.")
    assert broken in response.text
    assert system.copies() == 1


def test_odd_names_are_told_in_one_line(system: System) -> None:
    """Names that cannot be encoded, or that hold newlines, do no harm to the answer."""
    asset_id = system.world.add_asset("Odd")
    files = [{"original_name": "a\nb\ud800", "status": "OPEN"}]
    for storage_id in (system.b2, system.lucidlink):
        system.world.add_file_set(asset_id, storage_id, files)
    response = post(system.function, "/remove", asset_ids=[asset_id])
    assert response.status_code == 200
    assert response.text.endswith("its master a b? is OPEN.")


def test_answers_are_plain_text(system: System) -> None:
    """What goes well is text as well, so that a file's name is nothing but a name."""
    asset_id = system.world.add_asset("Odd")
    files = [{"original_name": "<img src=x onerror=alert(1)>", "status": "OPEN"}]
    for storage_id in (system.b2, system.lucidlink):
        system.world.add_file_set(asset_id, storage_id, files)
    for selected in ([asset_id], [system.asset()]):
        response = post(system.function, "/remove", asset_ids=selected)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_long_reports_are_cut(system: System) -> None:
    """An answer names three assets; the log names all."""
    kept = [system.asset(status="OPEN") for _ in range(5)]
    since = len(system.function.output)
    response = post(system.function, "/remove", asset_ids=kept)
    assert response.text.endswith("; and 2 more.")
    assert {event.get("kept") for event in events(system.function, since)} >= set(kept)


def test_url_overrides_the_settings(system: System) -> None:
    """One function serves several storages, formats and folders."""
    other = system.world.add_storage("Other & more")
    asset_id = system.world.add_asset("Clip", ["A", "B", "C"])
    for name in "ABC":
        system.world.add_file_set(asset_id, system.b2, [{"original_name": name}], name)
    query = "?storage=Other%20%26%20more&format=A,B&path=/in"
    assert post(system.function, "/add" + query, asset_ids=[asset_id]).text == "OK"
    assert system.world.names_on(other) == ["A", "B"]
    assert {row["base_dir"] for row in system.world.file_sets_of(asset_id, other)} == {"/in"}
    assert post(system.function, "/remove" + query, asset_ids=[asset_id]).text == "OK"
    assert system.world.names_on(other) == []


def test_remove_archives_what_has_no_master(system: System) -> None:
    """Where that is wanted, the answer and the job tell what is copied to B2 first."""
    function = system.run(ARCHIVE_BEFORE_REMOVE="true")
    asset_id = system.world.add_asset("Render")
    system.world.add_file_set(asset_id, system.lucidlink, [CLIP])
    response = post(function, "/remove", asset_ids=[asset_id])
    assert response.text == (
        f"OK: 1 of 1 asset stayed on LucidLink. {asset_id}: ORIGINAL: it is being copied to B2 "
        "first; the same action removes it then."
    )
    (job,) = (job for job in system.world.jobs.values() if job["type"] == "CUSTOM")
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Render: ORIGINAL: it is being copied to B2 first" in job["message"]
    assert post(function, "/remove", asset_ids=[asset_id]).text == "OK"
    assert (system.copies(), system.world.names_on(system.b2)) == (0, ["clip.mov"])


@pytest.mark.parametrize("storage", ["B2", "Second%20B2"])
def test_masters_are_never_removed(system: System, storage: str) -> None:
    """Removal from a B2 storage is refused outright."""
    second = system.world.add_storage("Second B2", "B2")
    asset_id = system.asset()
    system.world.add_file_set(asset_id, second, [CLIP])
    response = post(system.function, f"/remove?storage={storage}", asset_ids=[asset_id])
    assert response.status_code == 500
    assert "STORAGE_NAME" in response.text
    assert len(system.world.file_sets) == 3


def test_requests_run_side_by_side(system: System) -> None:
    """Fifty actions at once, half of them with a wrong secret, do what each one does alone."""
    assets = [system.asset() for _ in range(50)]
    secrets = [SECRET, "wrong"] * 25
    with ThreadPoolExecutor(50) as pool:
        answers = pool.map(
            lambda asset, secret: post(system.function, "/remove", secret, asset_ids=[asset]),
            assets,
            secrets,
        )
        assert [answer.status_code for answer in answers] == [200, 401] * 25
    assert system.copies() == 25


# What iconik and the network may do


def test_out_of_time_goes_on_when_repeated(system: System) -> None:
    """A removal ends before the platform ends it, says what is left, and goes on from there."""
    function = system.run(CLOUD_RUN_TIMEOUT_SECONDS="2")
    collection = system.world.add_collection(*(system.asset() for _ in range(100)))
    system.faults.latency = 0.1
    response = post(function, "/remove", collection_ids=[collection])
    assert response.status_code == 504
    assert response.text.endswith(" not done yet. Repeat the action.")
    system.faults.latency = 0
    for _ in range(50):
        if response.status_code == 504:
            response = post(function, "/remove", collection_ids=[collection])
    assert (response.text, system.copies()) == ("OK", 0)


def test_a_hanging_iconik_is_asked_once(system: System) -> None:
    """An iconik that does not answer is given up, and not asked for every asset."""
    function = system.run(CLOUD_RUN_TIMEOUT_SECONDS="3")
    system.faults.probabilities = {HANG: 1}
    response = post(function, "/remove", asset_ids=[system.asset() for _ in range(20)])
    assert response.status_code == 504
    assert system.faults.requests["files"] == 1


def test_faults_do_no_harm(system: System) -> None:
    """With one request in six going wrong, what can be removed is, and what must stay stays."""
    removable = [system.asset() for _ in range(30)]
    kept = [system.asset(status="MISSING") for _ in range(10)]
    system.faults.seed(1)
    system.faults.probabilities = dict.fromkeys(ALL_BUT_HANG, 0.02)
    for _ in range(4):
        response = post(system.function, "/remove", asset_ids=removable + kept)
        if response.status_code == 200:
            break
    assert "removed from LucidLink, 10 stayed" in response.text
    assert system.copies() == 10
    assert all(system.world.file_sets_of(asset_id, system.lucidlink) for asset_id in kept)
    assert len(system.world.names_on(system.b2)) == 40


# What the editor sees in iconik

EDITOR = "11f0aaaa-0000-4000-8000-00000000000e"


def test_a_removal_is_a_job(system: System) -> None:
    """A removal shows as one job, linked to what was selected; nobody is bothered for success."""
    asset_id = system.asset()
    post(system.function, "/remove", asset_ids=[asset_id], user_id=EDITOR)
    (job,) = system.world.jobs.values()
    assert (job["type"], job["status"]) == ("CUSTOM", "FINISHED")
    assert job["title"] == "Remove 1 asset from LucidLink"
    assert (job["object_type"], job["object_id"]) == ("assets", asset_id)
    assert (job["progress_processed"], job["progress_total"]) == (1, 1)
    assert job["message"] == "1 of 1 asset removed from LucidLink."
    assert system.world.notifications == {}


def test_kept_assets_are_told_by_their_titles(system: System) -> None:
    """The job and one notification say what stayed and why, in the editor's own words."""
    selected = system.asset(status="GROWING")
    collected = system.asset(size=1)
    system.world.assets[selected]["title"] = "Night shoot"
    system.world.assets[collected]["title"] = "Interview"
    collection = system.world.add_collection(collected, system.asset())
    selection = {"asset_ids": [selected], "collection_ids": [collection]}
    post(system.function, "/remove", user_id=EDITOR, **selection)
    (job,) = system.world.jobs.values()
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert job["message"] == (
        "1 of 3 assets removed from LucidLink, 2 stayed. "
        "Night shoot: ORIGINAL: its master clip.mov is GROWING; "
        "Interview: ORIGINAL: clip.mov differs from its master in size: 1,000 and 1 bytes."
    )
    (notification,) = system.world.notifications.values()
    assert notification["recipient_id"] == EDITOR
    assert notification["sender_id"] == system.world.user_id
    assert (notification["object_type"], notification["object_id"]) == ("jobs", job["id"])
    assert notification["message_short"] == (
        "Remove 3 assets from LucidLink: 1 of 3 assets removed from LucidLink, 2 stayed."
    )
    assert notification["message_long"] == job["message"]


def test_a_long_list_of_titles_is_cut(system: System) -> None:
    """A job names ten assets, and asks for no more titles than that."""
    post(system.function, "/remove", asset_ids=[system.asset(status="OPEN") for _ in range(30)])
    (job,) = system.world.jobs.values()
    assert job["message"].count("Clip: ORIGINAL") == 10
    assert job["message"].endswith("; and 20 more.")
    assert system.faults.requests["assets"] == 10


def test_titles_that_cannot_be_read_do_not_matter(system: System) -> None:
    """A job names assets by their ids where their titles are not to be had, and asks once."""
    system.faults.services = ("assets",)
    system.faults.probabilities = {"502 in HTML": 1}
    kept = [system.asset(status="OPEN") for _ in range(3)]
    post(system.function, "/remove", asset_ids=kept)
    (job,) = system.world.jobs.values()
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert all(f"{asset_id}: ORIGINAL" in job["message"] for asset_id in kept)
    assert system.faults.requests["assets"] == 2  # It is repeated as ever.


@pytest.mark.parametrize("query", ["", "?storage=B2"])
def test_a_failed_removal_is_reported(system: System, query: str) -> None:
    """The editor learns whom to ask, and the administrator finds the reason by the reference."""
    asset_id = system.asset(storage_id=None)
    system.world.assets[asset_id]["title"] = "Night shoot"
    since = len(system.function.output)
    post(system.function, f"/remove{query}", asset_ids=[asset_id], user_id=EDITOR)
    (job,) = system.world.jobs.values()
    assert job["status"] == "FAILED"
    assert job["message"] == job["error_message"]
    reference = events(system.function, since)[-1]["reference"]
    failed = "1 of 1 asset failed. Night shoot: it failed. "
    advice = f"Ask your administrator: reference {reference}."
    assert job["message"] == (advice if query else failed + advice)
    log = system.function.output[since:]
    assert ("of type B2" if query else "without storage_id") in log
    (notification,) = system.world.notifications.values()
    assert notification["message_long"] == job["message"]


@pytest.mark.parametrize(
    ("query", "status", "advice"),
    [
        ("?storage=Nowhere", 500, "Ask your administrator: reference "),
        ("", 502, "Repeat the action in some minutes."),
    ],
)
def test_a_failed_add_is_reported(system: System, query: str, status: int, advice: str) -> None:
    """An Add that fails makes a job and a notification; one that succeeds makes none."""
    selection = {"asset_ids": [system.asset(copied=False) for _ in range(3)], "user_id": EDITOR}
    assert post(system.function, "/add", **selection).text == "OK"
    assert not [job for job in system.world.jobs.values() if job["type"] == "CUSTOM"]
    system.faults.services = ("files",)
    system.faults.probabilities = {"500": int(status == 502)}
    assert post(system.function, f"/add{query}", **selection).status_code == status
    (job,) = (job for job in system.world.jobs.values() if job["type"] == "CUSTOM")
    storage = query.partition("=")[2] or "LucidLink"
    assert (job["title"], job["status"]) == (f"Add 3 assets to {storage}", "FAILED")
    assert job["message"].startswith(advice)
    (notification,) = system.world.notifications.values()
    assert notification["message_short"].startswith(f"Add 3 assets to {storage}: {advice}")


def test_nothing_to_remove_is_said(system: System) -> None:
    """An editor is not told that something was removed where nothing was."""
    post(system.function, "/remove", asset_ids=[system.asset(copied=False)])
    (job,) = system.world.jobs.values()
    assert (job["status"], job["message"]) == ("FINISHED", "Nothing was on LucidLink.")


def test_interrupted_jobs_are_closed(system: System) -> None:
    """The next removal closes what a killed instance has left; neither younger nor others' jobs."""
    old = {"status": "STARTED", "type": "CUSTOM", "date_modified": "2026-01-09T17:00:00"}
    ours = old | {"custom_type": "REMOVE_FROM_STORAGE", "title": "Remove 1 asset"}
    queued = {"metadata": {"interrupted_after": 1e9}}
    jobs = {
        "left": system.world.add_job(ours | {"metadata": {"interrupted_after": 120}}),
        "unknown": system.world.add_job(ours),
        "running": system.world.add_job(ours | {"date_modified": World.now()}),
        "in the queue": system.world.add_job(ours | queued),
        "another's": system.world.add_job(old | {"custom_type": "TAXI"}),
    }
    assert post(system.function, "/remove", asset_ids=[system.asset()]).text == "OK"
    closed = [name for name, job in jobs.items() if job["status"] == "FAILED"]
    assert closed == ["left", "unknown"]
    assert jobs["left"]["message"] == "It was interrupted: repeat the action."


@pytest.mark.parametrize(
    ("jobs_tell", "status"), [(True, "ABORT_PENDING"), (False, "ABORTED"), (True, "DISCARDED")]
)
def test_an_aborted_job_ends_the_removal(system: System, jobs_tell: bool, status: str) -> None:
    """An abort in iconik is noticed: nothing more is begun, and the job says what was done."""
    system.world.jobs_tell = jobs_tell
    collection = system.world.add_collection(*(system.asset() for _ in range(300)))
    system.faults.latency = 0.05
    purge = system.world.purge

    def purge_and_abort(file_set_id: str) -> None:
        purge(file_set_id)
        for job in system.world.jobs.values():
            job["status"] = status

    system.world.purge = purge_and_abort
    response = post(system.function, "/remove", collection_ids=[collection], user_id=EDITOR)
    (job,) = system.world.jobs.values()
    assert response.status_code == 200
    assert response.text.startswith("OK: Aborted: ")
    assert job["status"] == "ABORTED"
    done = 300 - system.copies()
    assert 0 < done < 300
    left = 300 - done
    assert job["message"] == (
        f"Aborted: {done} of 300 assets removed from LucidLink, {left} not done yet."
    )
    assert system.world.notifications == {}


def test_a_paused_job_goes_on_when_it_is_resumed(system: System) -> None:
    """While an editor has paused the job no other asset is begun; resumed, it goes on."""
    collection = system.world.add_collection(*(system.asset() for _ in range(100)))
    system.faults.latency = 0.05
    paused: list[str] = []

    def pause_and_resume(method: str, _: str) -> None:
        for job in system.world.jobs.values():
            if job["status"] == "PAUSED":
                paused.append(method)
            elif method == "DELETE" and not paused:
                job["status"] = "PAUSED"
            if paused.count("PATCH") == 2:
                job["status"] = "STARTED"

    system.world.on_call = pause_and_resume
    assert post(system.function, "/remove", collection_ids=[collection]).text == "OK"
    assert system.copies() == 0
    seen = paused[paused.index("PATCH") :]
    assert seen.count("DELETE") <= WORKERS  # Those of assets that had begun.


def test_a_pause_that_outlasts_the_time_is_told(system: System) -> None:
    """Without a queue a paused removal ends within its time, and says that it was paused."""
    function = system.run(CLOUD_RUN_TIMEOUT_SECONDS="5")
    collection = system.world.add_collection(*(system.asset() for _ in range(100)))
    system.faults.latency = 0.05

    def pause(method: str, _: str) -> None:
        for job in system.world.jobs.values() if method == "DELETE" else ():
            job["status"] = "PAUSED"

    system.world.on_call = pause
    response = post(function, "/remove", collection_ids=[collection])
    assert response.status_code == 504
    assert response.text.startswith("Paused: ")
    (job,) = system.world.jobs.values()
    assert job["status"] == "FAILED"
    assert 0 < system.copies() < 100


def test_progress_moves_until_the_end(system: System) -> None:
    """The job counts the assets while they are removed, in few calls, and stands still after."""
    collection = system.world.add_collection(*(system.asset() for _ in range(300)))
    system.faults.latency = 0.05
    post(system.function, "/remove", collection_ids=[collection])
    changes = system.world.job_changes
    processed = [change["progress_processed"] for change in changes]
    assert processed == sorted(processed)
    assert 0 < processed[0] < processed[-1] == 300
    assert changes[-1]["status"] == "FINISHED"
    assert not any("status" in change for change in changes[:-1])
    assert 1 + len(changes) <= 0.05 * system.faults.requests["files"]


@pytest.mark.parametrize("trouble", ["denied", "500", HANG])
def test_trouble_with_jobs_does_not_hinder(system: System, trouble: str) -> None:
    """Without a job the removal is done all the same, and one warning says what to do."""
    if trouble == "denied":
        system.world.jobs_work = False
    else:
        system.faults.services = ("jobs", "users", "users-notifications")
        system.faults.probabilities = {trouble: 1}
    since = len(system.function.output)
    response = post(system.function, "/remove", asset_ids=[system.asset()], user_id=EDITOR)
    assert response.text == "OK"
    assert system.copies() == 0
    warning, _ = events(system.function, since)
    assert warning["severity"] == "WARNING"
    assert ("can_write_jobs" in warning["message"]) == (trouble == "denied")


def test_a_short_trouble_with_jobs_is_over_some_time(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """News that hang once do not end the news: the job still tells its end."""
    collection = system.world.add_collection(*(system.asset() for _ in range(300)))
    system.faults.latency = 0.1
    draw, jobs = system.faults.next, []

    def hang_once(path: str) -> str | None:
        fault = draw(path)
        jobs.extend([path] if "/jobs/" in path else [])
        return HANG if "/jobs/" in path and len(jobs) == 2 else fault

    monkeypatch.setattr(system.faults, "next", hang_once)
    assert post(system.function, "/remove", collection_ids=[collection]).text == "OK"
    (job,) = system.world.jobs.values()
    assert (job["status"], job["progress_processed"]) == ("FINISHED", 300)


def test_out_of_time_is_told(system: System) -> None:
    """A removal that runs out of time has some left to tell so."""
    system.faults.services = ("files",)
    system.faults.probabilities = {"429": 1}
    function = system.run(CLOUD_RUN_TIMEOUT_SECONDS="8")
    assert post(function, "/remove", asset_ids=[system.asset()]).status_code == 504
    (job,) = system.world.jobs.values()
    assert job["status"] == "FAILED"


def test_a_user_who_is_gone_does_not_hinder(system: System) -> None:
    """A notification that nobody can get leaves the job as it is, and one warning."""
    system.faults.services = ("users-notifications",)
    system.faults.probabilities = {"500": 1}
    since = len(system.function.output)
    post(system.function, "/remove", asset_ids=[system.asset(status="OPEN")], user_id=EDITOR)
    (job,) = system.world.jobs.values()
    assert job["status"] == "FINISHED_WITH_WARNING"
    messages = [event["message"] for event in events(system.function, since)]
    assert sum("users-notifications" in message for message in messages) == 1


# Who is let in, and what is refused


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET.upper(), SECRET + "x", "\xff" * 500])
@pytest.mark.parametrize("method", ["POST", "GET", "TRACE"])
@pytest.mark.parametrize("path", ["/add", "/remove", "/nowhere?x=y"])
def test_without_the_secret_everything_is_401(
    system: System, method: str, path: str, secret: str | None
) -> None:
    """Nothing else of a request is looked at before its secret."""
    response = send(system.function, method, path, secret, data=b"{nonsense")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "x-bz-secret"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_other_methods_are_405(system: System, method: str) -> None:
    """Only POST is served, whatever the path."""
    response = send(system.function, method, "/nowhere")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


def test_large_bodies_are_413(system: System) -> None:
    """Over 1 MiB is refused, whether or not the length was told before."""
    body = b" " * (1 << 20)
    assert send(system.function, "POST", "/nowhere", data=body).status_code == 400
    assert send(system.function, "POST", "/nowhere", data=body + b" ").status_code == 413
    assert send(system.function, "POST", "/nowhere", data=iter([body, b" "])).status_code == 413


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "JSON object"),
        (b"\x00\xff", "JSON object"),
        (b"[]", "JSON object"),
        (b"[" * 500_000, "JSON object"),
        (b"{}", "Nothing is selected"),
        (b'{"asset_ids": null, "collection_ids": []}', "Nothing is selected"),
        (b'{"asset_ids": ["../../users/v1/users"]}', "asset_ids"),
        (b'{"collection_ids": "x"}', "collection_ids"),
        (b'{"saved_search_ids": [{}]}', "saved_search_ids"),
    ],
)
def test_unusable_bodies_are_400(system: System, body: bytes, named: str) -> None:
    """A body that selects nothing usable is refused."""
    response = send(system.function, "POST", "/add", data=body)
    assert response.status_code == 400
    assert named in response.text


@pytest.mark.parametrize("body", [b'{"auth_token": "payload-token"}', b"zz\r\n", b"ff\r\ncut"])
def test_broken_bodies_are_400(system: System, body: bytes) -> None:
    """A body that breaks off or is no chunk is refused, and does not come into the log."""
    since = len(system.function.output)
    url = urlsplit(system.function.url)
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        head = f"POST /add HTTP/1.1\r\nHost: x\r\nx-bz-secret: {SECRET}\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    (event,) = events(system.function, since)
    assert event["status"] == 400
    assert "payload-token" not in event["message"]


@pytest.mark.parametrize("query", ["?x=1", "?storage=", "?storage=a&storage=b", "?path=a"])
def test_wrong_queries_are_400(system: System, query: str) -> None:
    """A mistyped override is refused, for it would act on the wrong storage."""
    assert post(system.function, "/remove" + query, asset_ids=[ID]).status_code == 400


def test_other_paths_are_404(system: System) -> None:
    """Only the two actions are there; the function's own name and a slash are tolerated."""
    asset = system.asset()
    assert post(system.function, "/", asset_ids=[asset]).status_code == 404
    assert post(system.function, "/added", asset_ids=[asset]).status_code == 404
    assert post(system.function, "/iconik_handler/remove/", asset_ids=[asset]).text == "OK"
    assert system.copies() == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/add", 405, "A custom action is sent with POST."),
        ("POST", "/add", 400, "Nothing is selected"),
        ("POST", "/add?storage=x", 500, "x"),
    ],
)
def test_errors_are_one_plain_line(
    system: System, method: str, path: str, status: int, text: str
) -> None:
    """A refusal says what and why in one line of text, whatever its status."""
    selected = {"asset_ids": [ID] if status == 500 else []}
    response = send(system.function, method, path, json=selected)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "X-Google-Status" not in response.headers
    assert text in response.text
    assert not {"<", "\n"} & set(response.text)


def promise_a_body(function: Function) -> socket.socket:
    """Send a request without the secret, and without the body that it promises."""
    url = urlsplit(function.url)
    stranger = socket.create_connection((url.hostname, url.port), timeout=60)
    stranger.sendall(b"POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    return stranger


@pytest.mark.parametrize(("threads", "is_served"), [("4", False), ("16", True)])
def test_strangers_who_never_send_a_body(system: System, threads: str, is_served: bool) -> None:
    """A dozen of them keep out a good caller where the framework has four threads, not with 16."""
    function = system.run(THREADS=threads)
    with ExitStack() as stack:
        strangers = [stack.enter_context(promise_a_body(function)) for _ in range(12)]
        for stranger in strangers[: int(threads)]:
            assert stranger.recv(100).startswith(b"HTTP/1.1 401 ")  # A thread waits for the body.
        url = urlsplit(function.url)
        caller = stack.enter_context(socket.create_connection((url.hostname, url.port)))
        caller.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nx-bz-secret: {SECRET}\r\n\r\n".encode())
        # The framework lets a thread wait for 5 s: what has no thread gets no answer in one.
        answered, _, _ = select.select([caller], [], [], 60 if is_served else 1)
        assert bool(answered) == is_served
        for stranger in strangers:
            stranger.close()
        assert caller.recv(100).startswith(b"HTTP/1.1 405 ")


# What the administrator sees


FAULTY = """
import importlib.util, sys

sys.path.insert(0, {root!r})
spec = importlib.util.spec_from_file_location("main", {root!r} + "/main.py")
deployed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deployed)

def act(*_):
    raise RuntimeError("words of".title())

deployed.act = act
iconik_handler = deployed.iconik_handler
"""


@pytest.mark.parametrize("execution_id", ["true", "false"])
def test_a_fault_is_one_line(system: System, tmp_path: Path, execution_id: str) -> None:
    """What nobody has thought of is a 500 without details, and one line for Error Reporting."""
    (tmp_path / "main.py").write_text(FAULTY.format(root=str(ROOT)))
    settings = system.settings | {"LOG_EXECUTION_ID": execution_id}
    trace = "0123456789abcdef0123456789abcdef"
    with run_function(settings | {"GOOGLE_CLOUD_PROJECT": "p"}, tmp_path) as function:
        response = requests.post(
            f"{function.url}/add",
            json={"asset_ids": [ID]},
            headers={"x-bz-secret": SECRET.encode(), "X-Cloud-Trace-Context": trace},
            timeout=60,
        )
        output = function.output
    (event,) = map(json.loads, output.splitlines())
    assert response.status_code == 500
    assert response.text == "The plugin has failed: see the function's log."
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert event["severity"] == "ERROR"
    assert event["logging.googleapis.com/trace"] == f"projects/p/traces/{trace}"
    assert event["stack_trace"].endswith("RuntimeError")
    assert "in act" in event["stack_trace"]
    assert event["@type"].endswith(".ReportedErrorEvent")
    assert "Words Of" not in output


def test_wrong_settings_are_500_and_named(system: System) -> None:
    """Everything missing or wrong is said at once, to the caller and in the log."""
    function = system.run(ICONIK_ID=None, STORAGE_NAME=None, ICONIK_URL="ftp://x")
    response = post(function, "/add", asset_ids=[ID])
    assert response.status_code == 500
    (event,) = events(function)
    assert event["severity"] == "ERROR"
    for variable in ("ICONIK_ID", "STORAGE_NAME", "ICONIK_URL"):
        assert variable in response.text
        assert variable in event["message"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ICONIK_TOKEN": "wrong"}, "iconik-token"),
        ({"STORAGE_NAME": "Lucid"}, "STORAGE_NAME"),
        ({"MASTER_STORAGE_NAME": "Lucid"}, "MASTER_STORAGE_NAME"),
    ],
)
def test_what_iconik_does_not_accept_is_500(
    system: System, settings: dict[str, str], named: str
) -> None:
    """A token that iconik refuses, or a storage it does not have, is the administrator's."""
    response = post(system.run(**settings), "/add", asset_ids=[ID])
    assert response.status_code == 500
    assert named in response.text


def test_iconik_away_is_502(system: System) -> None:
    """An iconik that cannot be reached is told as that."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    function = system.run(ICONIK_URL=f"http://127.0.0.1:{port}")
    response = post(function, "/remove", asset_ids=[ID])
    assert response.status_code == 502
    assert "cannot be reached" in response.text


def test_secret_manager_away_is_503(system: System) -> None:
    """Where the shared secret cannot be read nobody is let in, and the log says why."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    metadata = {"GCE_METADATA_HOST": nobody, "GCE_METADATA_IP": nobody}
    function = system.run(BZ_SHARED_SECRET=None, HOME="/nonexistent", **metadata)
    response = post(function, "/remove", asset_ids=[system.asset()])
    assert response.status_code == 503
    assert response.text == "The secret bz-shared-secret cannot be read: see the function's log."
    assert "Secret Manager cannot be used now" in events(function)[-1]["message"]
    assert system.copies() == 1


@pytest.mark.parametrize("execution_id", ["true", "false"])
def test_log_lines(system: System, execution_id: str) -> None:
    """Each request is one JSON line, and so is each asset that stayed; nothing secret is in any."""
    function = system.run(LOG_EXECUTION_ID=execution_id, GOOGLE_CLOUD_PROJECT="project")
    trace = "0123456789abcdef0123456789abcdef"
    kept, gone = system.asset(status="MISSING"), system.asset()
    headers = {"x-bz-secret": SECRET.encode(), "X-Cloud-Trace-Context": f"{trace}/1;o=1"}
    body = {"asset_ids": [kept, gone], "auth_token": "payload-token"}
    requests.post(f"{function.url}/remove", json=body, headers=headers, timeout=60)
    requests.post(f"{function.url}/remove", json=body, timeout=60)
    asset, request, refusal = events(function)

    assert (asset["severity"], asset["kept"]) == ("WARNING", kept)
    assert "MISSING" in asset["message"]
    assert request["severity"] == "INFO"
    assert request["message"].startswith("remove 200: OK: 1 of 2 assets removed from LucidLink, ")
    expected = {"action": "remove", "storage": "LucidLink", "selected": {"assets": 2}}
    expected |= {"assets": 2, "file_sets_removed": 1, "kept": 1, "failed": 0}
    expected |= {"iconik_calls": 1 + 3 + 4 + 4, "status": 200}  # Four for the job.
    assert {name: request.get(name) for name in expected} == expected
    assert isinstance(request["duration_ms"], int)
    assert (refusal["severity"], refusal["status"]) == ("WARNING", 401)
    for event in (asset, request):
        assert event["logging.googleapis.com/trace"] == f"projects/project/traces/{trace}"
    for secret in (SECRET, system.world.token, "payload-token", system.world.app_id):
        assert secret not in function.output
