"""What an editor sees in iconik: one job for a removal or a failed Add, and a notification."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.site import CLIP
from storage_plugin.job import PAUSED, Job
from storage_plugin.logs import Log
from storage_plugin.rounds import first_round
from storage_plugin.webhook import Action, Selection
from tests.stage import HOUR, Stage, failing, written
from tests.system.stage import EDITOR

GROWING = CLIP | {"status": "GROWING"}
IS_GROWING = "clip.mov is still being written on B2 (GROWING)"
DONE = "1 of 1 asset removed from LucidLink."
OURS = {"status": "STARTED", "type": "CUSTOM", "custom_type": "REMOVE_FROM_STORAGE"}

Call = Callable[[str, str], str]


@pytest.fixture
def stage() -> Stage:
    """Return a function without a queue."""
    return Stage()


def reference(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the reference in the last line of the log."""
    return str(json.loads(capsys.readouterr().out.splitlines()[-1])["reference"])


def at(method: str, do: Callable[[], object]) -> Call:
    """Return what does something before each call with a method."""

    def on_call(called: str, _: str) -> str:
        if called == method:
            do()
        return ""

    return on_call


# A removal


@pytest.mark.parametrize(
    ("numbers", "title"),
    [
        ((5, 0, 0), "5 assets"),
        ((2, 1, 0), "2 assets and 1 collection"),
        ((0, 0, 2), "2 saved searches"),
    ],
)
def test_a_removal_is_a_job(stage: Stage, numbers: tuple[int, int, int], title: str) -> None:
    """The title counts what was selected, and then the assets; nobody is notified of success."""
    titles: list[str] = []
    stage.on_call = at("GET", lambda: titles.extend(job["title"] for job in stage.jobs))
    assets, collections, searches = (stage.assets(number) for number in numbers)
    collections = [stage.world.add_collection(each) for each in collections]
    searches = [stage.world.add_saved_search(each) for each in searches]
    selection = {"asset_ids": assets, "collection_ids": collections, "saved_search_ids": searches}
    assert (stage.click(**selection).text, stage.notes) == ("OK", [])
    total, job = sum(numbers), stage.job
    assert (job["custom_type"], job["status"]) == ("REMOVE_FROM_STORAGE", "FINISHED")
    assert titles[0] == f"Remove {title} from LucidLink"
    assert job["title"] == f"Remove {total} assets from LucidLink"
    assert job["message"] == f"{total} of {total} assets removed from LucidLink."
    assert job["object_id"] == [*assets, *collections, *searches][0]
    assert (job["progress_processed"], job["progress_total"]) == (total, total)


@pytest.mark.parametrize(
    ("title", "fault"), [("Night shoot", ""), ("Night shoot", "500"), ("", "")]
)
def test_what_stays_is_named_by_its_title(stage: Stage, title: str, fault: str) -> None:
    """The job shows its numbers before the first title is asked for; an id may stand for one."""
    kept, _ = stage.site.asset([CLIP], [GROWING], title=title)
    stage.assets(1)
    seen = []

    def watch(_: str, path: str) -> str:
        if "/API/assets/v1/assets/" not in path:
            return ""
        seen.append((stage.job["status"], stage.job["message"]))
        return fault

    stage.on_call = watch
    stage.remove()
    job, (note,) = stage.job, stage.world.notifications.values()
    numbers = "1 of 2 assets removed from LucidLink, 1 stayed."
    assert seen[0] == ("FINISHED_WITH_WARNING", numbers)
    assert job["message"] == f"{numbers} {kept if fault else title or kept}: {IS_GROWING}."
    assert note["event_type"] == "finished"
    assert (note["recipient_id"], note["sender_id"]) == (EDITOR, stage.world.user_id)
    assert (note["object_type"], note["object_id"]) == ("jobs", job["id"])
    assert (note["message_short"], note["message_long"]) == (numbers, job["message"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/remove", "0 of 1 asset removed from LucidLink, 1 failed. Clip: it failed."),
        ("/remove?storage=B2", "Nothing was removed from B2."),
        ("/remove?storage=Nowhere", "Nothing was removed from Nowhere."),
    ],
)
def test_a_failure_names_whom_to_ask(
    stage: Stage, path: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The editor learns whom to ask, and the administrator finds the line by the reference."""
    asset_id, _ = stage.site.asset()
    stage.on_call = failing(f"{asset_id}/file_sets/", fault="403")
    assert stage.remove(path).status_code == 500
    message += f" Ask your administrator: reference {reference(capsys)}."
    job = stage.job
    assert (job["status"], job["message"], job["error_message"]) == ("FAILED", message, message)
    assert (stage.notes, stage.site.copies()) == ([message], 1)


def test_without_an_editor_nobody_is_notified(stage: Stage) -> None:
    """The payload may lack the user."""
    stage.click(asset_ids=[stage.site.only_copy()], user_id=None)
    assert (stage.job["status"], stage.notes) == ("FINISHED_WITH_WARNING", [])


# An Add


@pytest.mark.parametrize(
    ("path", "fault", "advice"),
    [
        ("/add?storage=Nowhere", "", "Ask your administrator: reference {}."),
        ("/add?storage=Other", "500", "Repeat the action in a few minutes."),
    ],
)
def test_a_failed_add_is_a_job(
    stage: Stage, path: str, fault: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An Add that fails makes a job and a notification; one that succeeds makes neither."""
    assets = [stage.site.master() for _ in range(3)]
    assert stage.click("/add", asset_ids=assets).text == "OK"
    assert (stage.jobs, stage.notes) == ([], [])
    stage.on_call = failing("bulk/", fault=fault)
    assert stage.click(path, asset_ids=assets).status_code in (500, 502)
    message = advice.format(reference(capsys))
    job, (note,) = stage.job, stage.world.notifications.values()
    title = f"Add 3 assets to {path.partition('=')[2]}"
    assert (job["custom_type"], job["status"], job["title"]) == ("ADD_TO_STORAGE", "FAILED", title)
    assert (job["message"], job["error_message"]) == (message, message)
    assert (note["message_short"], note["message_long"]) == (f"{title}: {message}", message)


def test_a_failed_add_without_a_job_is_notified(stage: Stage) -> None:
    """The notification then belongs to what was selected."""
    stage.on_call = failing("POST", "/jobs/")
    stage.click("/add?storage=Nowhere", asset_ids=[asset_id := stage.site.master()])
    (note,) = stage.world.notifications.values()
    assert (note["object_type"], note["object_id"]) == ("assets", asset_id)


# Progress and halts


@pytest.mark.parametrize("fault", ["", "500"])
def test_progress_moves_until_the_end(stage: Stage, fault: str) -> None:
    """The job counts the assets, and gets a status only at the end; an update may also fail."""
    stage.assets(40)
    stage.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "1800"
    faults = [fault]
    stage.on_call = lambda method, _: faults.pop() if faults and method == "PATCH" else ""
    assert stage.remove().text == "OK"
    changes = stage.world.job_changes
    processed = [change["progress_processed"] for change in changes]
    assert processed == sorted(processed)
    assert (0 < processed[0] < 40, processed[-1], stage.job["status"]) == (True, 40, "FINISHED")
    assert [change for change in changes if "status" in change] == changes[-1:]


@pytest.mark.parametrize(
    ("status", "word"),
    [("ABORT_PENDING", "Aborted"), ("DISCARDED", "Aborted"), ("PAUSED", "Paused")],
)
def test_a_halt_ends_the_removal(stage: Stage, status: str, word: str) -> None:
    """Nothing more begins; the job says what was done, how it ended, and what to do."""
    stage.assets(40)
    stage.on_call = at("DELETE", lambda: stage.job.update(status=status))
    assert stage.remove().text.startswith("OK: ")
    done = 40 - stage.site.copies()
    assert 0 < done < 40
    numbers = f"{done} of 40 assets removed from LucidLink, {40 - done} not done yet."
    assert (stage.job["status"], stage.job["progress_processed"]) == ("ABORTED", done)
    assert stage.job["message"] == f"{word}: {numbers} To continue, repeat the action."
    assert stage.notes == [stage.job["message"]]


@pytest.mark.parametrize("late", [None, "STARTED"])
def test_no_later_answer_ends_a_halt(late: str | None) -> None:
    """The answer to a change may lack a status, or have one from before, and arrive late."""
    answers = [late, "PAUSED"]
    client: Any = SimpleNamespace(now=lambda: 0.0, update_job=lambda *_: answers.pop())
    round = first_round(Action("remove", Selection((EDITOR,)), {}, None))._replace(job_id=EDITOR)
    shown = Job(client, round, storage_name="LucidLink", log=Log())
    assert (shown.update(1, 3), shown.update(2, 3)) == (True, True)
    assert shown.halt == PAUSED


# Trouble with jobs


def test_a_deleted_job_ends_in_a_notification(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The removal goes on, no other job is created, and one warning is logged."""
    (asset_id,) = stage.assets(1)
    stage.on_call = at("DELETE", stage.world.jobs.clear)
    assert stage.remove().text == "OK"
    assert (stage.site.copies(), stage.jobs, stage.notes) == (0, [], [DONE])
    (note,) = stage.world.notifications.values()
    assert (note["object_type"], note["object_id"]) == ("assets", asset_id)
    assert capsys.readouterr().out.count("The editor may not see the result in iconik") == 1


@pytest.mark.parametrize("fault", ["500", "no answer"])
def test_a_job_is_shown_at_the_end(stage: Stage, fault: str) -> None:
    """It is created later, or, if iconik had created it, found by its click among other jobs."""
    stage.assets(1)
    stage.world.add_job(dict(OURS))
    faults = [fault]
    stage.on_call = lambda *call: (
        faults.pop() if faults and call == ("POST", "/API/jobs/v1/jobs/") else ""
    )
    stage.remove()
    assert [job["status"] for job in stage.jobs] == ["STARTED", "FINISHED"]
    assert (stage.jobs[1]["message"], stage.notes) == (DONE, [])


@pytest.mark.parametrize("others", ["nowhere", "/users"])
@pytest.mark.parametrize("fault", ["403", "500", "no answer", "time-out", "HTML", "half an answer"])
def test_without_any_job_the_editor_is_notified_of_success(
    stage: Stage, fault: str, others: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The removal is done even if nothing can be shown, and one warning names what is missing."""
    stage.assets(1)
    stage.on_call = lambda _, path: fault if "/jobs/" in path or others in path else ""
    assert stage.remove().text == "OK"
    assert (stage.site.copies(), stage.notes) == (0, [DONE] if others == "nowhere" else [])
    log = capsys.readouterr().out
    assert log.count('"WARNING"') == 1
    assert fault != "403" or "iconik refuses POST /API/jobs/v1/jobs/" in log


@pytest.mark.parametrize("fault", ["", "GET", "PATCH"])
def test_interrupted_jobs_are_closed(stage: Stage, fault: str) -> None:
    """The next removal closes what a killed instance has left; neither younger nor others' jobs."""
    old, *others = (stage.world.add_job(dict(OURS)) for _ in range(4))
    # The first click is an hour from now.
    for job, hours in zip((old, *others), (-1.1, -0.9, -9, None), strict=True):
        job["date_modified"] = None if hours is None else written(stage.now + hours * HOUR)
    others[1]["custom_type"] = "TAXI"
    stage.on_call = failing(fault or "nothing", "/jobs/" if fault == "GET" else old["id"])
    stage.assets(1)
    assert stage.remove().text == "OK"
    assert {job["status"] for job in others} == {"STARTED"}
    assert old["status"] == ("STARTED" if fault else "FAILED")
    assert fault or old["message"].startswith("The removal was interrupted.")


# Through the queue


def test_a_result_that_the_job_shows_needs_no_other_round() -> None:
    """Even if the editor cannot be notified."""
    queued = Stage(has_queue=True)
    queued.on_call, _ = failing("/notifications/"), queued.site.only_copy()
    queued.remove()
    assert (queued.job["status"], queued.notes) == ("FINISHED_WITH_WARNING", [])
    assert queued.tasks == []


@pytest.mark.parametrize(("method", "copies"), [("GET", 5), ("DELETE", 0)])
@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_a_job_that_another_delivery_has_ended(method: str, copies: int, status: str) -> None:
    """Nothing begins, and nothing is shown twice."""
    queued = Stage(has_queue=True)
    queued.latency, _ = 1.0, queued.assets(5)
    queued.remove()
    queued.on_call = at(method, lambda: queued.job.update(status=status, message="Done."))
    queued.deliver()
    assert (queued.site.copies(), queued.notes) == (copies, [])
    assert (queued.job["status"], queued.job["message"]) == (status, "Done.")


def test_its_own_job_is_not_interrupted() -> None:
    """A job that the click could not be sure of is found later, however old it is then."""
    queued = Stage(has_queue=True, ARCHIVE_BEFORE_REMOVE="true")
    queued.site.only_copy()
    back = queued.now + 3 * HOUR

    def lose(method: str, path: str) -> str:
        if not path.endswith("/jobs/") or queued.now >= back:
            return ""
        return "500" if method == "GET" or queued.jobs else "500, but done"

    queued.on_call = lose
    queued.remove()
    queued.deliver(9)
    assert (queued.now > back, len(queued.jobs), queued.job["status"]) == (True, 1, "STARTED")
    queued.world.finish_copies()
    queued.deliver()
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")
