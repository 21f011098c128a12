"""REMOVE: the rounds of a removal, from the click to the end of its job."""

import itertools
from unittest.mock import patch

import pytest

from storage_plugin import remove, rounds
from storage_plugin.iconik.pace import Pace
from storage_plugin.remove import SMALL
from tests.stage import AWAY, HOUR, MINUTE, Stage, failing, nothing, written

DONE = "5 of 5 assets removed from LucidLink."
NEXT = "To continue, repeat the action."
LEFT = "0 of 5 assets removed from LucidLink, 5 not done yet."


@pytest.fixture
def queued() -> Stage:
    """Return a function with a queue and five assets, and an iconik too slow for a click."""
    stage = Stage(has_queue=True)
    stage.latency = 1.0
    stage.assets(5)
    return stage


# Time


@pytest.mark.parametrize(("has_queue", "most"), [(False, 60.0), (True, 10.0)])
def test_a_click_is_answered_in_time(has_queue: bool, most: float) -> None:
    """Without a queue, the editor repeats the action. With one, the removal goes on by itself."""
    stage = Stage(has_queue=has_queue)
    stage.latency, _ = 0.4, stage.assets(60)
    status = stage.remove().status_code
    assert (status, stage.now - stage.clicked < most) == (200 if has_queue else 504, True)
    left, world = stage.site.copies(), stage.world
    assert 0 < left < 60
    gone = [not world.file_sets_of(id, stage.site.lucidlink) for id in world.assets]
    assert (gone == sorted(gone, reverse=True)) == has_queue  # Otherwise in any order.
    numbers = f"{60 - left} of 60 assets removed from LucidLink, {left} not done yet."
    step = "The removal continues in the background." if has_queue else NEXT
    assert stage.job["message"] == f"{numbers} {step}"
    stage.deliver(1)
    assert stage.site.copies() > 0  # Removals take turns of a minute.
    stage.latency = 0.1
    assert has_queue or stage.remove().text == "OK"
    stage.deliver()
    assert stage.site.copies() == 0


@pytest.mark.parametrize("fault", ["429", "time-out"])
def test_an_iconik_that_never_answers(fault: str) -> None:
    """There is time left to tell the editor."""
    stage = Stage()
    stage.assets(1)
    stage.on_call = failing("/files/", fault=fault)
    assert (stage.remove().status_code, stage.now - stage.clicked < 60) == (504, True)
    assert (stage.job["status"], len(stage.notes)) == ("FAILED", 1)


# From round to round


def test_the_queue_delivers_only_removals(queued: Stage) -> None:
    """Nothing else is ever handed over."""
    queued.remove()
    queued.calls.clear()
    response = queued.post("/add", queued.tasks[0].body, {"Authorization": "queue"})
    assert (response.status_code, queued.calls) == (404, [])


@pytest.mark.parametrize("latency", [0.01, 1.0])
@pytest.mark.parametrize(("number", "shares"), [(SMALL, {1, 16}), (SMALL + 1, {0.8, 1, 12})])
def test_other_clicks_find_room(number: int, shares: set[float], latency: float) -> None:
    """Large removals, by a click or from the queue, take 80 % of iconik's limit and the places."""
    stage = Stage(has_queue=True)
    stage.latency, _ = latency, stage.assets(number)
    with (
        patch.object(Pace, "reserve", autospec=True, side_effect=Pace.reserve) as reserve,
        patch.object(remove, "side_by_side", side_effect=remove.side_by_side) as side_by_side,
    ):
        stage.remove()
        stage.deliver(1)
    calls = [*reserve.call_args_list, *side_by_side.call_args_list]
    assert ({call.args[2] for call in calls}, stage.deliveries) == (shares, latency == 1.0)


def test_what_is_not_named_in_a_task_goes_on_at_once(
    monkeypatch: pytest.MonkeyPatch, queued: Stage
) -> None:
    """Rounds pause only after a round in which nothing was done."""
    monkeypatch.setattr(rounds, "MAX_IDS", 5)
    lost, above = queued.world.add_collection(), queued.world.add_collection(*queued.assets(15))
    del queued.world.collections[lost]
    queued.click(collection_ids=[above, lost])
    queued.deliver()
    assert queued.site.copies() == 5
    assert queued.job["message"] == (
        "15 of 15 assets removed from LucidLink. "
        "iconik does not list 1 selected object, which may be deleted."
    )
    assert queued.now < queued.clicked + 10 * MINUTE


def test_a_storage_is_renamed_meanwhile(queued: Stage) -> None:
    """The next rounds know it by its id."""
    queued.remove()
    queued.world.storages[queued.site.lucidlink]["name"] = "Renamed"
    queued.world.add_storage("LucidLink")
    queued.deliver()
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")


@pytest.mark.parametrize("query", ["", "?storage=Other&format=A"])
@pytest.mark.parametrize("broken", ["nothing", "storages"])
def test_rounds_keep_to_the_click(queued: Stage, broken: str, query: str) -> None:
    """A later deployment changes neither the storage nor the formats, whatever fails at first."""
    asset_id, site = queued.world.add_asset("Clip", ["A", "B"]), queued.site
    places = list(itertools.product((site.b2, site.lucidlink, site.other), "AB"))
    for storage, name in places:
        queued.world.add_file_set(asset_id, storage, [{"original_name": f"{name}.mov"}], name)
    queued.environ |= {} if query else {"STORAGE_NAME": "Other", "FORMAT_NAME": "A"}
    queued.on_call = failing(broken)
    queued.remove(f"/remove{query}")
    assert queued.job["status"] == "STARTED"
    queued.on_call = nothing
    queued.environ |= {"STORAGE_NAME": "LucidLink", "FORMAT_NAME": "A,B"}
    queued.deliver()
    left = [site.masters(), site.copies(), queued.world.names_on(site.other)]
    assert left == [7, 7, ["B.mov"]]
    assert queued.job["title"] == "Remove 6 assets from Other"


# What an editor does meanwhile


@pytest.mark.parametrize(("created", "stays"), [(-MINUTE, False), (MINUTE, True), (None, True)])
def test_a_later_add_wins(queued: Stage, created: float | None, stays: bool) -> None:
    """What came after the click stays, and what may have, too."""
    queued.remove()
    for row in queued.world.file_sets.values():
        row["date_created"] = None if created is None else written(queued.clicked + created)
    queued.now += 2 * MINUTE
    queued.deliver()
    said = "ORIGINAL on LucidLink was added again after the click" in queued.job["message"]
    assert (queued.site.copies(), said) == (5 * stays, stays)


@pytest.mark.parametrize(
    ("status", "word"), [("ABORT_PENDING", "Aborted"), ("ABORTED", "Aborted"), ("PAUSED", "Paused")]
)
def test_a_halt_before_a_delivery(queued: Stage, status: str, word: str) -> None:
    """Nothing is removed, and even if the round comes again, the editor is told once."""
    queued.remove()
    (task,) = queued.tasks
    queued.job.update(status=status, message=f"{word} by somebody")
    assert queued.deliver() == 1
    queued.deliver_one(task)
    assert (queued.job["status"], queued.site.copies(), queued.tasks) == ("ABORTED", 5, [])
    assert queued.notes == [f"{word}: {LEFT} {NEXT}"]


# What goes wrong


@pytest.mark.parametrize("has_queue", [False, True])
def test_what_concerns_all_assets_ends_the_removal(has_queue: bool) -> None:
    """Nothing more begins after an asset that only an administrator can help."""
    stage = Stage(has_queue=has_queue)
    stage.assets(5)

    def fail_storage(method: str, _: str) -> str:
        if method == "DELETE":
            stage.world.storages[stage.site.b2]["status"] = "FAILING"
            stage.now += 1.1  # The assets share a list of storages for a second.
        return ""

    stage.on_call = fail_storage
    response, numbers = stage.remove(), "1 of 5 assets removed from LucidLink, 1 failed, 3 not done"
    assert (response.status_code, stage.site.copies()) == (500, 4)
    assert (numbers in response.text, "B2 is FAILING" in response.text) == (True, True)
    assert (stage.job["status"], stage.tasks, len(stage.notes)) == ("FAILED", [], 1)


def test_what_can_never_work_is_not_repeated(queued: Stage) -> None:
    """The queue hears a success, and the editor of the failure."""
    queued.remove()
    queued.world.storages[queued.site.b2]["status"] = "FAILING"
    assert queued.deliver() == 1
    assert (queued.job["status"], queued.site.copies(), len(queued.notes)) == ("FAILED", 5, 1)
    assert queued.job["message"].startswith("Nothing was removed from LucidLink. Ask your ")


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_killed_delivery_counts_what_it_has_removed(queued: Stage, is_killed: bool) -> None:
    """In a repeated delivery, an asset with nothing there counts as removed; in the first, not."""
    queued.site.master()
    deletions = []

    def kill(method: str, _: str) -> str:
        deletions.extend([method] if method == "DELETE" else [])
        return "kill" if is_killed and len(deletions) == 3 and method == "PATCH" else ""

    queued.on_call = kill
    queued.remove()
    queued.deliver(1)
    assert queued.site.copies() == 2 * is_killed
    queued.on_call = nothing
    queued.deliver()
    assert (queued.job["status"], queued.site.copies()) == ("FINISHED", 0)
    absent = "." if is_killed else ", 1 had nothing left to remove."
    assert queued.job["message"] == f"{5 + is_killed} of 6 assets removed from LucidLink{absent}"


@pytest.mark.parametrize("hours", [1.5, 100])
def test_an_outage_only_delays(queued: Stage, hours: float) -> None:
    """Each pause is twice as long, up to an hour; a day after the click, the job is closed."""
    queued.remove()
    queued.on_call = lambda _, path: (
        "500" * ("/files/" in path and queued.now < queued.clicked + hours * HOUR)
    )
    queued.deliver()
    assert queued.deliveries < 40
    ended = (queued.job["status"], queued.job["message"])
    message = "Nothing was removed from LucidLink. Repeat the action in a few minutes."
    if hours < 24:
        assert queued.now < queued.clicked + (hours + 1.1) * HOUR
        assert (ended, queued.notes) == (("FINISHED", DONE), [])
    else:
        assert queued.now == pytest.approx(queued.clicked + 24 * HOUR, abs=5 * MINUTE)
        assert (ended, queued.notes) == (("FAILED", message), [message])


@pytest.mark.parametrize("times", [4, 100])
def test_a_queue_that_is_away_at_a_delivery(queued: Stage, times: int) -> None:
    """The round is delivered again. After the fifth time, job and editor learn what is left."""
    queued.assets(45)
    queued.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "40"  # For some of the assets in a round.
    queued.remove()
    faults = [AWAY] * times
    queued.latency, queued.on_task = 0.8, lambda: faults.pop() if faults else ""
    queued.deliver()
    left, ended = queued.site.copies(), (queued.job["status"], queued.notes)
    numbers = f"{50 - left} of 50 assets removed from LucidLink, {left} not done yet."
    failed = ("FAILED", [f"{numbers} {NEXT}"])
    assert ended == (("FINISHED", []) if times == 4 else failed)


@pytest.mark.parametrize("word", ["", "Aborted: "])
def test_an_end_that_cannot_be_shown(queued: Stage, word: str) -> None:
    """Another round tries that again, and says what the one before did, even if it was aborted."""
    queued.world.add_asset("Empty", ["ORIGINAL"])
    queued.remove()
    queued.on_call = lambda _, path: "500" * ("/files/" not in path)
    queued.deliver(1)
    assert (queued.site.copies(), len(queued.tasks)) == (0, 1)
    queued.on_call = nothing
    queued.job.update(status="ABORTED" if word else "STARTED")
    queued.deliver()
    numbers = "5 of 6 assets removed from LucidLink, 1 had nothing left to remove."
    assert (queued.deliveries, queued.job["message"]) == (2, f"{word}{numbers}")


def test_an_end_of_a_click_that_cannot_be_shown(queued: Stage) -> None:
    """The answer says it. Other rounds try to show it until a day after the click."""
    queued.latency, queued.on_call = 0.05, lambda _, path: "500" * ("/files/" not in path)
    assert (queued.remove().text, queued.site.copies(), len(queued.tasks)) == ("OK", 0, 1)
    queued.deliver()
    assert queued.now == pytest.approx(queued.clicked + 24 * HOUR, abs=5 * MINUTE)
    assert (queued.deliveries < 40, queued.jobs) == (True, [])
