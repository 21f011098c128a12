"""What an editor sees in iconik: one job for a removal or a failed Add, and a notification."""

import json
import re

import pytest

from sandbox.site import CLIP
from tests.stage import EDITOR, HOUR, Stage, failing, written

GROWING = CLIP | {"status": "GROWING"}
IS_GROWING = "clip.mov is still being written on B2 (GROWING)"
DONE = "1 of 1 asset removed from LucidLink."


@pytest.fixture
def stage() -> Stage:
    """Return a function without a queue."""
    return Stage()


def fill(stage: Stage, number: int) -> list[str]:
    """Add assets on both storages, and return their ids."""
    return [stage.site.asset()[0] for _ in range(number)]


def remove(stage: Stage, *assets: str) -> str:
    """Remove assets, or all, and return the answer."""
    return stage.click(asset_ids=assets or [*stage.world.assets]).text


def updates(stage: Stage) -> int:
    """Return how often the job was changed."""
    return sum(call.startswith("PATCH") for call in stage.calls)


# A removal


def test_a_removal_is_a_job(stage: Stage) -> None:
    """A removal is one job, linked to what was selected; nobody is notified of success."""
    (asset_id,) = fill(stage, 1)
    assert remove(stage) == "OK"
    job = stage.job
    assert (job["custom_type"], job["status"]) == ("REMOVE_FROM_STORAGE", "FINISHED")
    assert job["title"] == "Remove 1 asset from LucidLink"
    assert (job["object_type"], job["object_id"]) == ("assets", asset_id)
    assert (job["progress_processed"], job["progress_total"]) == (1, 1)
    assert job["message"] == DONE
    assert stage.notes == []


@pytest.mark.parametrize(
    ("selection", "title"),
    [
        ({"asset_ids": 2, "collection_ids": 1}, "2 assets and 1 collection"),
        ({"saved_search_ids": 2}, "2 saved searches"),
    ],
)
def test_the_title_says_what_was_selected(
    stage: Stage, selection: dict[str, int], title: str
) -> None:
    """It does so until the number of assets is known."""
    titles = []

    def watch(method: str, path: str) -> str:
        titles.extend(job["title"] for job in stage.jobs)
        return ""

    stage.on_call = watch
    make = {
        "asset_ids": lambda: stage.site.asset()[0],
        "collection_ids": lambda: stage.world.add_collection(stage.site.asset()[0]),
        "saved_search_ids": lambda: stage.world.add_saved_search(stage.site.asset()[0]),
    }
    stage.click(**{name: [make[name]() for _ in range(n)] for name, n in selection.items()})
    assert titles[0] == f"Remove {title} from LucidLink"
    number = len(stage.world.assets)
    assert stage.job["title"] == f"Remove {number} assets from LucidLink"


def test_what_stays_is_named_by_its_title(stage: Stage) -> None:
    """The job and one notification say what stayed and why."""
    stage.site.asset([CLIP], [GROWING], title="Night shoot")
    stage.site.asset([CLIP], [CLIP | {"size": 1}], title="Interview")
    fill(stage, 1)
    remove(stage)
    job, (note,) = stage.job, stage.notes
    numbers = "1 of 3 assets removed from LucidLink, 2 stayed."
    reasons = [f"Night shoot: {IS_GROWING}", "Interview: clip.mov has 1,000 bytes and its master 1"]
    assert (job["status"], job["message"][: len(numbers)]) == ("FINISHED_WITH_WARNING", numbers)
    assert sorted(job["message"][len(numbers) + 1 : -1].split("; ")) == sorted(reasons)
    assert note["event_type"] == "finished"
    assert (note["recipient_id"], note["sender_id"]) == (EDITOR, stage.world.user_id)
    assert (note["object_type"], note["object_id"]) == ("jobs", job["id"])
    assert note["message_short"] == f"Remove 3 assets from LucidLink: {numbers}"
    assert note["message_long"] == job["message"]


def test_numbers_come_before_titles(stage: Stage) -> None:
    """The job has ended, and shows its numbers, before the first title is asked for."""
    stage.site.asset([CLIP], [GROWING], title="Night shoot")
    seen = []

    def watch(method: str, path: str) -> str:
        if "/API/assets/" in path:
            seen.append((stage.job["status"], stage.job["message"]))
        return ""

    stage.on_call = watch
    remove(stage)
    assert seen == [("FINISHED_WITH_WARNING", "1 of 1 asset stayed on LucidLink.")]
    assert stage.job["message"] == f"1 of 1 asset stayed on LucidLink. Night shoot: {IS_GROWING}."


def test_titles_that_iconik_has_sent_are_not_asked_for(stage: Stage) -> None:
    """Lists of collections contain titles."""
    kept, _ = stage.site.asset([CLIP], [GROWING], title="Night shoot")
    stage.click(collection_ids=[stage.world.add_collection(kept)])
    assert "Night shoot: " in stage.job["message"]
    assert not any(f"/assets/{kept}/" in call and "/assets/v1/" in call for call in stage.calls)


def test_long_lists_are_cut_and_the_log_is_whole(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer names three assets, a job ten with their titles, and the log all."""
    kept = [stage.site.asset([CLIP], [GROWING])[0] for _ in range(13)]
    assert remove(stage).endswith("; and 10 more.")
    assert stage.job["message"].count(f"Clip: {IS_GROWING}") == 10
    assert stage.job["message"].endswith("; and 3 more.")
    assert sum(call.startswith("GET /API/assets/") for call in stage.calls) == 10
    log = capsys.readouterr().out
    assert all(f"Kept {asset_id}: {IS_GROWING}" in log for asset_id in kept)


def test_without_a_title_an_id_is_named(stage: Stage) -> None:
    """Titles that cannot be read do not matter."""
    stage.on_call = failing("/API/assets/")
    kept, _ = stage.site.asset([CLIP], [GROWING])
    remove(stage)
    assert (stage.job["status"], len(stage.notes)) == ("FINISHED_WITH_WARNING", 1)
    assert f"{kept}: {IS_GROWING}" in stage.job["message"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/remove", "1 of 1 asset failed. Night shoot: it failed."),
        ("/remove?storage=B2", "Nothing was removed from B2."),
        ("/remove?storage=Nowhere", "Nothing was removed from Nowhere."),
    ],
)
def test_a_failure_names_whom_to_ask(
    stage: Stage, path: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The editor learns whom to ask, and the administrator finds the line by the reference."""
    asset_id, _ = stage.site.asset(title="Night shoot")
    stage.on_call = failing(f"{asset_id}/file_sets/", fault="403")
    assert stage.click(path, asset_ids=[asset_id]).status_code == 500
    reference = json.loads(capsys.readouterr().out.splitlines()[-1])["reference"]
    message += f" Ask your administrator: reference {reference}."
    job, (note,) = stage.job, stage.notes
    assert (job["status"], job["message"], job["error_message"]) == ("FAILED", message, message)
    assert note["message_long"] == message
    assert stage.site.copies() == 1


def test_nothing_to_remove_is_no_removal(stage: Stage) -> None:
    """An editor does not read that something was removed if nothing was there."""
    stage.site.master()
    remove(stage)
    assert stage.job["status"] == "FINISHED"
    assert stage.job["message"] == "Nothing was on LucidLink."


def test_without_an_editor_nobody_is_notified(stage: Stage) -> None:
    """The payload may lack the user."""
    stage.site.only_copy()
    stage.click(asset_ids=[*stage.world.assets], user_id=None)
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
    message = advice.format(json.loads(capsys.readouterr().out.splitlines()[-1])["reference"])
    job, (note,) = stage.job, stage.notes
    title = f"Add 3 assets to {path.partition('=')[2]}"
    assert (job["custom_type"], job["status"], job["title"]) == ("ADD_TO_STORAGE", "FAILED", title)
    assert (job["message"], job["error_message"]) == (message, message)
    assert (note["message_short"], note["message_long"]) == (f"{title}: {message}", message)


def test_a_failed_add_without_a_job_is_notified(stage: Stage) -> None:
    """The notification then belongs to what was selected."""
    stage.on_call = failing("POST", "bulk/")
    stage.world.roles.remove("can_write_jobs")
    asset_id = stage.site.master()
    stage.click("/add", asset_ids=[asset_id])
    (note,) = stage.notes
    assert (note["object_type"], note["object_id"]) == ("assets", asset_id)


# Progress and halts


def test_progress_moves_until_the_end(stage: Stage) -> None:
    """The job counts the assets, and gets a status only at the end."""
    fill(stage, 40)
    stage.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "1800"
    remove(stage)
    changes = stage.world.job_changes
    processed = [change["progress_processed"] for change in changes]
    assert processed == sorted(processed)
    assert any(0 < number < 40 for number in processed)
    assert processed[-1] == 40
    assert [change for change in changes if "status" in change] == changes[-1:]
    assert stage.job["status"] == "FINISHED"


def test_updates_become_rare(stage: Stage) -> None:
    """A long removal updates its job every ten seconds, to spare iconik's limit."""
    stage.latency = 1.0
    stage.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "3600"
    fill(stage, 80)
    remove(stage)
    seconds = stage.now - stage.clicked
    assert seconds > 320
    assert updates(stage) < seconds / 10 + 30


@pytest.mark.parametrize("shows_status", [True, False])
@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("ABORT_PENDING", "Aborted"),
        ("ABORTED", "Aborted"),
        ("DISCARDED", "Aborted"),
        ("PAUSED", "Paused"),
    ],
)
def test_a_halt_ends_the_removal(stage: Stage, status: str, word: str, shows_status: bool) -> None:
    """Nothing more begins; the job says what was done, how it ended, and what to do."""
    stage.site.quirk(jobs_show_status=shows_status)
    fill(stage, 40)

    def halt(method: str, _: str) -> str:
        if method == "DELETE" and stage.job["status"] == "STARTED":
            stage.job["status"] = status
        return ""

    stage.on_call = halt
    assert remove(stage).startswith("OK: ")
    done = 40 - stage.site.copies()
    assert 0 < done < 40
    numbers = f"{done} of 40 assets removed from LucidLink, {40 - done} not done yet."
    assert stage.job["status"] == "ABORTED"
    assert stage.job["message"] == f"{word}: {numbers} Repeat the action."
    assert [note["message_long"] for note in stage.notes] == [stage.job["message"]]


def test_a_halt_after_the_last_asset_is_no_halt(stage: Stage) -> None:
    """What is done is done."""
    fill(stage, 1)

    def halt(method: str, path: str) -> str:
        if method == "PATCH":
            stage.job["status"] = "ABORT_PENDING"
        return ""

    stage.on_call = halt
    remove(stage)
    assert (stage.job["status"], stage.job["message"]) == ("FINISHED", DONE)


# Trouble with jobs


def test_a_deleted_job_ends_in_a_notification(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The removal goes on, no other job is created, and one warning is logged."""
    (asset_id,) = fill(stage, 1)

    def delete_job(method: str, _: str) -> str:
        if method == "DELETE":
            stage.world.jobs.clear()
        return ""

    stage.on_call = delete_job
    assert remove(stage) == "OK"
    assert (stage.site.copies(), stage.jobs) == (0, [])
    (note,) = stage.notes
    assert note["message_long"] == DONE
    assert (note["object_type"], note["object_id"]) == ("assets", asset_id)
    assert capsys.readouterr().out.count("The editor may not see the result in iconik") == 1


def test_a_job_that_cannot_be_created_at_first_is_created_at_the_end(stage: Stage) -> None:
    """Nobody is notified of success, because the job shows it."""
    fill(stage, 1)
    refused = []

    def refuse_once(method: str, path: str) -> str:
        if (method, path) == ("POST", "/API/jobs/v1/jobs/") and not refused:
            refused.append(path)
            return "500"
        return ""

    stage.on_call = refuse_once
    remove(stage)
    assert (stage.job["status"], stage.job["message"]) == ("FINISHED", DONE)
    assert stage.notes == []


def test_a_job_whose_creation_was_not_answered_is_found(stage: Stage) -> None:
    """It is found by its click, among the running jobs of other clicks."""
    fill(stage, 1)
    other = stage.world.add_job(
        {"status": "STARTED", "type": "CUSTOM", "custom_type": "REMOVE_FROM_STORAGE"}
    )
    stage.on_call = failing("POST", "/jobs/", fault="no answer")
    remove(stage)
    assert [job["status"] for job in stage.jobs] == ["STARTED", "FINISHED"]
    assert stage.jobs[0] == other


@pytest.mark.parametrize("fault", ["403", "500", "no answer", "time-out", "HTML", "half an answer"])
def test_without_any_job_the_editor_is_notified_of_success(
    stage: Stage, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The removal is done all the same, and one warning is logged."""
    fill(stage, 1)
    stage.on_call = failing("/jobs/", fault=fault)
    assert remove(stage) == "OK"
    assert stage.site.copies() == 0
    assert [note["message_long"] for note in stage.notes] == [DONE]
    assert capsys.readouterr().out.count('"WARNING"') == 1


def test_if_nothing_can_be_shown_the_removal_is_done(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warning names the role that is missing."""
    fill(stage, 1)
    stage.on_call = lambda _, path: "403" if re.search("/(jobs|users)", path) else ""
    assert (remove(stage), stage.site.copies()) == ("OK", 0)
    warning, _ = capsys.readouterr().out.splitlines()
    assert "iconik refuses POST /API/jobs/v1/jobs/" in warning


def test_a_short_trouble_with_jobs_passes(stage: Stage) -> None:
    """An update that fails is not the last one."""
    stage.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "1800"
    fill(stage, 40)
    stage.on_call = lambda method, _: "500" if method == "PATCH" and updates(stage) < 3 else ""
    assert remove(stage) == "OK"
    assert (stage.job["status"], stage.job["progress_processed"]) == ("FINISHED", 40)


def test_a_notification_that_nobody_gets_leaves_the_job(stage: Stage) -> None:
    """The job shows the result all the same."""
    stage.on_call = failing("users-notifications")
    stage.site.only_copy()
    remove(stage)
    assert (stage.job["status"], stage.notes) == ("FINISHED_WITH_WARNING", [])


def test_interrupted_jobs_are_closed(stage: Stage) -> None:
    """The next removal closes what a killed instance has left; neither younger nor others' jobs."""
    ours = {"status": "STARTED", "type": "CUSTOM", "custom_type": "REMOVE_FROM_STORAGE"}
    times = {"old": -1.1 * HOUR, "running": -0.9 * HOUR, "another's": -9 * HOUR, "undated": None}
    jobs = {name: stage.world.add_job(ours | {"title": name}) for name in times}
    for name, seconds in times.items():  # The first click is an hour from now.
        changed = None if seconds is None else written(stage.now + seconds)
        jobs[name]["date_modified"] = changed
    jobs["another's"]["custom_type"] = "TAXI"
    fill(stage, 1)
    assert remove(stage) == "OK"
    assert [name for name, job in jobs.items() if job["status"] != "STARTED"] == ["old"]
    assert jobs["old"]["status"] == "FAILED"
    assert jobs["old"]["message"].startswith("The removal was interrupted.")


def test_interrupted_jobs_that_cannot_be_listed_wait(stage: Stage) -> None:
    """The next removal tries again."""
    fill(stage, 1)
    stage.on_call = failing("GET", "/jobs/")
    assert remove(stage) == "OK"
    assert stage.job["status"] == "FINISHED"


# Through the queue


def test_a_job_that_was_deleted_while_it_waited() -> None:
    """The removal goes on, and the editor is notified."""
    queued = Stage(has_queue=True)
    fill(queued, 5)
    queued.latency = 1.0
    remove(queued)
    queued.world.jobs.clear()
    queued.deliver()
    assert queued.site.copies() == 0
    assert queued.jobs == []
    assert [note["message_long"] for note in queued.notes] == [
        "5 of 5 assets removed from LucidLink."
    ]


@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_a_job_that_has_ended_is_not_begun(status: str) -> None:
    """What is done is not done again."""
    queued = Stage(has_queue=True)
    fill(queued, 5)
    queued.latency = 1.0
    remove(queued)
    queued.job["status"] = status
    queued.calls.clear()
    queued.deliver()
    assert (queued.site.copies(), queued.job["status"]) == (5, status)
    assert queued.calls == [f"GET /API/jobs/v1/jobs/{queued.job['id']}/"]
