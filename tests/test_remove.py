"""REMOVE: the rounds of a removal, from the click to the end of its job."""

from collections.abc import Callable

import pytest

from storage_plugin import rounds
from storage_plugin.iconik.pace import Pace
from storage_plugin.remove import time_limits
from storage_plugin.settings import Settings
from tests import stage as stage_module
from tests.stage import AWAY, HOUR, LOST, Serial, Stage, failing, nothing, written

SLOW = 1.0
"""Seconds for a call with which a click cannot finish an asset."""

MINUTE = 60.0
DONE = "5 of 5 assets removed from LucidLink."
LEFT = "5 of 5 assets not done yet. Repeat the action."


@pytest.fixture
def queued() -> Stage:
    """Return a function with a queue and five assets, and an iconik too slow for a click."""
    stage = Stage(has_queue=True)
    stage.latency = SLOW
    for number in range(5):
        stage.site.asset(title=f"Clip {number}")
    return stage


def click(stage: Stage, path: str = "/remove") -> str:
    """Remove all assets, and return the answer."""
    return stage.click(path, asset_ids=[*stage.world.assets]).text


# Time


@pytest.mark.parametrize(
    ("timeout", "has_queue", "is_click", "limits"),
    [
        (60.0, False, True, (51.0, 57.0, 39.0)),
        (1800.0, False, True, (1791.0, 1797.0, 1779.0)),
        (10.0, False, True, (8.5, 9.5, 6.5)),
        (1800.0, True, True, (7.5, 9.5, 6.0)),
        (5.0, True, True, (4.25, 4.75, 3.25)),
        (1800.0, True, False, (1791.0, 1797.0, 60.0)),
        (60.0, True, False, (51.0, 57.0, 39.0)),
    ],
)
def test_time_limits(
    timeout: float, has_queue: bool, is_click: bool, limits: tuple[float, float, float]
) -> None:
    """A click with a queue is answered within ten seconds, and every request in its time."""
    settings = Settings("id", "LucidLink", timeout=timeout, task_queue="q" if has_queue else None)
    assert time_limits(settings, is_click=is_click) == pytest.approx(limits)


@pytest.mark.parametrize(("has_queue", "most"), [(False, 60.0), (True, 10.0)])
def test_a_click_is_answered_in_time(has_queue: bool, most: float) -> None:
    """Without a queue, the editor must repeat the action. With one, it continues by itself."""
    stage = Stage(has_queue=has_queue)
    stage.latency = 0.4
    for _ in range(60):
        stage.site.asset()
    response = stage.click(asset_ids=[*stage.world.assets])
    assert stage.now - stage.clicked < most
    assert response.status_code == (200 if has_queue else 504)
    gone = 60 - stage.site.copies()
    assert 0 < gone < 60
    numbers = f"{gone} of 60 assets removed from LucidLink, {60 - gone} not done yet."
    assert stage.job["message"].startswith(numbers)
    assert stage.job["message"].endswith(
        "continues in the background." if has_queue else " Repeat the action."
    )
    stage.deliver()
    assert stage.site.copies() == (0 if has_queue else 60 - gone)


@pytest.mark.parametrize("fault", ["429", "time-out"])
def test_an_iconik_that_never_answers(fault: str) -> None:
    """There is time left to tell the editor."""
    stage = Stage()
    stage.site.asset()
    stage.on_call = failing("/files/", fault=fault)
    response = stage.click(asset_ids=[*stage.world.assets])
    assert (response.status_code, stage.now - stage.clicked < 60) == (504, True)
    assert (stage.job["status"], len(stage.notes)) == ("FAILED", 1)


# From round to round


def test_a_removal_goes_through_the_queue(queued: Stage) -> None:
    """The answer comes before the work; one job shows all of it."""
    answer = click(queued)
    assert answer == "OK: 5 of 5 assets not done yet. The removal continues in the background."
    (task,) = queued.tasks
    assert (queued.site.copies(), queued.job["status"]) == (5, "STARTED")
    assert task.due <= queued.now
    queued.deliver()
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")
    assert (queued.job["message"], queued.notes) == (DONE, [])


def test_a_click_that_can_finish_alone_needs_no_queue(queued: Stage) -> None:
    """It is answered when all is done."""
    queued.latency = 0.1
    assert click(queued) == "OK"
    assert (queued.site.copies(), queued.tasks) == (0, [])


def test_the_queue_leaves_room_for_clicks(monkeypatch: pytest.MonkeyPatch, queued: Stage) -> None:
    """Work from the queue takes 80 % of iconik's limit and of the threads."""
    threads, shares = [], []
    reserve = Pace.reserve

    class Pool(Serial):
        def __init__(self, size: int) -> None:
            threads.append(size)

    def note(pace: Pace, deadline: object, share: float = 1.0) -> None:
        shares.append(share)
        reserve(pace, deadline, share)

    monkeypatch.setattr(stage_module, "Serial", Pool)
    monkeypatch.setattr(Pace, "reserve", note)
    click(queued)
    assert ({*threads}, {*shares}) == ({1, 16}, {1.0})
    queued.deliver()
    assert ({*threads}, {*shares}) == ({1, 12, 16}, {0.8, 1.0})


@pytest.mark.parametrize("kind", ["asset_ids", "collection_ids"])
def test_a_large_click_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """However fast iconik answers, a large click does not use up all that its limit allows."""
    stage, paces = Stage(has_queue=True), list[Pace]()

    def same(clock: Callable[[], float], sleep: Callable[[float], None]) -> Pace:
        paces.append(Pace(clock, sleep))
        return paces[0]

    monkeypatch.setattr(stage_module, "Pace", same)  # One instance serves both clicks.
    stage.latency = 0.002
    ids, master = [stage.site.asset()[0] for _ in range(400)], stage.site.master()
    selection = {"asset_ids": ids, "collection_ids": [stage.world.add_collection(*ids)]}
    assert "not done yet" in stage.click(**{kind: selection[kind]}).text
    assert stage.click("/add", asset_ids=[master]).text == "OK"
    assert stage.now - stage.clicked < 1


def test_what_is_not_named_in_a_task_goes_on_at_once(
    monkeypatch: pytest.MonkeyPatch, queued: Stage
) -> None:
    """Rounds pause only after a round in which nothing was done."""
    monkeypatch.setattr(rounds, "MAX_IDS", 5)
    assets = [queued.site.asset()[0] for _ in range(15)]
    lost, above = queued.world.add_collection(), queued.world.add_collection(*assets)
    del queued.world.collections[lost]
    queued.click(collection_ids=[above, lost])
    queued.deliver()
    assert queued.site.copies() == 5
    assert queued.job["message"] == (
        "15 of 15 assets removed from LucidLink. "
        "iconik does not know 1 of the selected collections and saved searches."
    )
    assert queued.now < queued.clicked + 10 * MINUTE


@pytest.mark.parametrize("broken", ["", "storages"])
def test_rounds_keep_to_the_click(queued: Stage, broken: str) -> None:
    """A later deployment changes neither the storage nor the formats, whatever fails at first."""
    asset_id = queued.world.add_asset("Clip", ["A", "B"])
    sets = {
        (storage, name): queued.world.add_file_set(
            asset_id, getattr(queued.site, storage), [file], name
        )
        for name in "AB"
        for file in [{"original_name": f"{name}.mov"}]
        for storage in ("b2", "lucidlink", "other")
    }
    queued.environ |= {"STORAGE_NAME": "Other", "FORMAT_NAME": "A"}
    queued.on_call = failing(broken or "nothing")
    click(queued)
    queued.on_call = nothing
    queued.environ |= {"STORAGE_NAME": "LucidLink", "FORMAT_NAME": "A,B"}
    queued.deliver()
    gone = [place for place, id in sets.items() if id not in queued.world.file_sets]
    assert (gone, queued.site.copies()) == ([("other", "A")], 7)
    assert queued.job["title"] == "Remove 6 assets from Other"


def test_a_url_counts_in_later_rounds(queued: Stage) -> None:
    """Also if the click itself could not begin."""
    queued.on_call = failing("storages")
    click(queued, "/remove?storage=Other")
    queued.on_call = nothing
    queued.deliver()
    assert queued.site.copies() == 5
    assert queued.job["message"] == "Nothing was on Other."


# What an editor does meanwhile


@pytest.mark.parametrize(("created", "stays"), [(-MINUTE, False), (MINUTE, True), (None, True)])
def test_a_later_add_wins(queued: Stage, created: float | None, stays: bool) -> None:
    """What came after the click stays, and what may have, too."""
    click(queued)
    for row in queued.world.file_sets.values():
        row["date_created"] = None if created is None else written(queued.clicked + created)
    queued.now += 2 * MINUTE
    queued.deliver()
    assert queued.site.copies() == 5 * stays
    assert ("ORIGINAL on LucidLink was added again after the click" in queued.job["message"]) == (
        stays
    )


def test_what_is_being_added_stays(queued: Stage) -> None:
    """In a later round nothing is deleted of an asset that iconik is copying to the storage."""
    click(queued)
    added = next(iter(queued.world.assets))
    format_id = queued.world.formats_of(added)[0]["id"]
    queued.world.transfers["x"] = {
        "id": "11f0aaaa-0000-4000-8000-000000000001",
        "asset_id": added,
        "format_id": format_id,
        "original_storage_id": queued.site.b2,
        "destination_storage_id": queued.site.lucidlink,
    }
    queued.deliver()
    assert queued.world.file_sets_of(added, queued.site.lucidlink)
    assert queued.site.copies() == 1
    assert "a copy of it is still on its way to LucidLink" in queued.job["message"]


@pytest.mark.parametrize(("status", "word"), [("ABORT_PENDING", "Aborted"), ("PAUSED", "Paused")])
def test_a_halt_before_a_delivery(queued: Stage, status: str, word: str) -> None:
    """Nothing is removed, and the queue does not deliver again."""
    click(queued)
    queued.job["status"] = status
    assert queued.deliver() == 1
    assert (queued.job["status"], queued.site.copies()) == ("ABORTED", 5)
    assert queued.job["message"] == f"{word}: {LEFT}"


# What goes wrong


@pytest.mark.parametrize("has_queue", [False, True])
def test_what_concerns_all_assets_ends_the_removal(has_queue: bool) -> None:
    """Nothing more begins after an asset that only an administrator can help."""
    stage = Stage(has_queue=has_queue)
    for _ in range(5):
        stage.site.asset()

    def fail_storage(method: str, _: str) -> str:
        if method == "DELETE":
            stage.world.storages[stage.site.b2]["status"] = "FAILING"
            stage.now += 1.1  # The assets share a list of storages for a second.
        return ""

    stage.on_call = fail_storage
    response = stage.click(asset_ids=[*stage.world.assets])
    assert (response.status_code, stage.site.copies()) == (500, 4)
    assert "1 of 5 assets removed from LucidLink, 1 failed, 3 not done yet." in response.text
    assert "B2 is FAILING" in response.text
    assert (stage.job["status"], stage.tasks, len(stage.notes)) == ("FAILED", [], 1)


def test_what_can_never_work_is_not_repeated(queued: Stage) -> None:
    """The queue hears a success, and the editor of the failure."""
    click(queued)
    queued.world.storages[queued.site.b2]["status"] = "FAILING"
    assert queued.deliver() == 1
    assert (queued.job["status"], queued.site.copies(), len(queued.notes)) == ("FAILED", 5, 1)
    assert queued.job["message"].startswith("Nothing was removed from LucidLink. Ask your ")


def test_a_killed_delivery_counts_what_it_has_removed(queued: Stage) -> None:
    """In a repeated delivery, an asset with nothing there counts as removed."""
    queued.site.master()
    deletions = []

    def kill(method: str, _: str) -> str:
        deletions.extend([method] if method == "DELETE" else [])
        return "kill" if len(deletions) == 3 and method == "PATCH" else ""

    queued.on_call = kill
    click(queued)
    assert queued.deliver(1) == 1
    assert queued.site.copies() == 2
    queued.on_call = nothing
    queued.deliver()
    assert (queued.job["status"], queued.site.copies()) == ("FINISHED", 0)
    assert queued.job["message"] == "6 of 6 assets removed from LucidLink."


def test_what_was_never_there_is_not_counted(queued: Stage) -> None:
    """In a first delivery, an asset with nothing there had nothing to remove."""
    queued.site.master()
    click(queued)
    queued.deliver()
    assert queued.job["message"] == (
        "5 of 6 assets removed from LucidLink, 1 had nothing to remove."
    )


def test_an_asset_that_lost_its_files_unseen_counts_as_removed(queued: Stage) -> None:
    """Its deletions were done, and then iconik failed."""
    click(queued)
    queued.latency = 0.1
    queued.on_call = lambda method, path: (
        "500, but done"
        if method == "DELETE"
        else "500" * ("DELETE" in str(queued.calls[:-1]) and "file_sets" in path)
    )
    queued.deliver(1)
    assert queued.site.copies() == 4
    queued.on_call = nothing
    queued.deliver()
    assert (queued.job["status"], queued.job["message"]) == ("FINISHED", DONE)


@pytest.mark.parametrize("hours", [1.5, 23, 100])
def test_an_outage_only_delays(queued: Stage, hours: float) -> None:
    """Each pause is twice as long, up to an hour; a day after the click, the job is closed."""
    click(queued)
    queued.on_call = lambda _, path: (
        "500" * ("/files/" in path and queued.now < queued.clicked + hours * HOUR)
    )
    queued.deliver()
    assert queued.deliveries < 40
    if hours < 24:
        assert queued.now < queued.clicked + (hours + 1.1) * HOUR
        assert (queued.job["status"], queued.job["message"]) == ("FINISHED", DONE)
    else:
        assert queued.now == pytest.approx(queued.clicked + 24 * HOUR, abs=5 * MINUTE)
        assert queued.job["status"] == "FAILED"
        assert queued.job["message"] == (
            "Nothing was removed from LucidLink. Repeat the action in a few minutes."
        )
    assert len(queued.notes) == (hours > 24)


# Trouble with the queue


def test_a_queue_that_is_away_at_the_click(queued: Stage) -> None:
    """The job says what is left, and what to do."""
    for _ in range(15):
        queued.site.asset()
    queued.latency, queued.on_task = 0.3, lambda: AWAY
    assert queued.click(asset_ids=[*queued.world.assets]).status_code == 504
    left = queued.site.copies()
    assert (queued.job["status"], len(queued.notes)) == ("FAILED", 1)
    assert queued.job["message"] == (
        f"{20 - left} of 20 assets removed from LucidLink, {left} not done yet. Repeat the action."
    )


@pytest.mark.parametrize("times", [1, 5, 100])
def test_a_queue_that_is_away_at_a_delivery(queued: Stage, times: int) -> None:
    """The queue delivers the round again, up to five times. Then the job says what is left."""
    for _ in range(5):
        queued.site.asset()
    queued.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "40"  # For some of the assets in a round.
    click(queued)
    faults = [AWAY] * times
    queued.on_task = lambda: faults.pop() if faults else ""
    queued.deliver()
    assert len(queued.jobs) == 1
    assert queued.deliveries <= 12
    if queued.site.copies():
        left = queued.site.copies()
        assert queued.job["status"] == "FAILED"
        assert queued.job["message"] == (
            f"{10 - left} of 10 assets removed from LucidLink, {left} not done yet. "
            "Repeat the action."
        )
    else:
        assert queued.job["message"] == "10 of 10 assets removed from LucidLink."


def test_a_lost_answer_of_the_queue(queued: Stage) -> None:
    """The queue delivers the round and the next one; the removal still has one end."""
    click(queued)
    faults = [LOST]
    queued.on_task = lambda: faults.pop() if faults else ""
    queued.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "30"  # For some of the assets in a round.
    queued.deliver()
    assert (queued.site.copies(), queued.job["status"], queued.notes) == (0, "FINISHED", [])
    assert faults == []


# The end


@pytest.mark.parametrize("hours", [1, 100])
def test_an_end_that_cannot_be_shown_is_shown_later(queued: Stage, hours: float) -> None:
    """The queue delivers a round that only ends the job, for up to a day."""
    click(queued, "/remove?storage=LucidLink")
    queued.environ["STORAGE_NAME"] = "Other"
    queued.on_call = lambda _, path: (
        "500" * ("/files/" not in path and queued.now < queued.clicked + hours * HOUR)
    )
    queued.deliver()
    assert queued.site.copies() == 0
    assert queued.deliveries < 40
    if hours < 24:
        assert (queued.job["status"], queued.job["message"]) == ("FINISHED", DONE)
    else:
        assert queued.job["status"] == "STARTED"
        assert queued.now < queued.clicked + 25 * HOUR


def test_without_job_and_queue_a_delivery_comes_again(queued: Stage) -> None:
    """A removal whose end can neither be shown nor handed over is delivered once more."""
    click(queued)
    back = queued.now + 10 * MINUTE
    queued.on_call = lambda _, path: "500" * ("/files/" not in path and queued.now < back)
    queued.on_task = lambda: AWAY * (queued.now < back)
    queued.deliver()
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")
    assert queued.job["message"] == DONE


def test_a_click_that_nobody_can_learn_of_is_answered(queued: Stage) -> None:
    """If the end of a click can neither be shown nor handed over, its answer still says it."""
    queued.site.asset()
    queued.latency, queued.on_call = 0.05, lambda _, path: "500" * ("/files/" not in path)
    queued.on_task = lambda: AWAY
    assert queued.click(asset_ids=[*queued.world.assets]).text == "OK"
    assert (queued.site.copies(), queued.jobs, queued.notes) == (0, [], [])


def test_a_failure_that_cannot_be_shown_remains_one(queued: Stage) -> None:
    """A round that only ends the job does not turn a failure into a success."""
    queued.world.storages[queued.site.b2]["status"] = "FAILING"
    queued.on_call = failing("POST", fault="500")
    click(queued)
    queued.world.storages[queued.site.b2]["status"] = "ACTIVE"
    queued.on_call = nothing
    queued.deliver()
    assert queued.job["status"] == "FAILED"
    assert queued.job["message"].startswith("Nothing was removed from LucidLink. Ask your ")
