"""Removals that wait in the queue for copies to the masters' storage."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sandbox.site import CLIP
from sandbox.world import Row
from tests.system.stage import QueuedStage

WAV = {"original_name": "clip.wav"}


@pytest.fixture(scope="module")
def running_with_queue() -> Iterator[QueuedStage]:
    """Run a function with a queue that archives."""
    with ExitStack() as stack:
        yield QueuedStage(stack, ARCHIVE_BEFORE_REMOVE="true")


@pytest.fixture
def queued(queued: QueuedStage) -> QueuedStage:
    """Return that function, on an iconik in which copies take time."""
    queued.world.quirks.copies_take_time = True
    return queued


def remove(queued: QueuedStage, *assets: str) -> None:
    """Remove assets, up to the wait for their copies."""
    queued.post(asset_ids=assets)
    look_again(queued)


def look_again(queued: QueuedStage) -> None:
    """Deliver the task that waits."""
    assert queued.tasks.deliver() == [200]


def finish_copies(queued: QueuedStage, error: str | None = None) -> None:
    """End all copies, and deliver the task that waits."""
    queued.world.finish_copies(error)
    look_again(queued)


def let_a_day_pass(queued: QueuedStage) -> None:
    """Have the click of the last task be a day ago."""
    request = queued.tasks.created[-1].task.http_request
    payload = json.loads(request.body)
    payload["pins"]["clicked"] -= 24 * 3600
    request.body = json.dumps(payload).encode()


def close_files(queued: QueuedStage, asset_id: str) -> None:
    """Have the files of an asset written completely."""
    for file in queued.world.files.of_asset[asset_id].values():
        file["status"] = "CLOSED"


def test_the_queue_comes_back(queued: QueuedStage) -> None:
    """The job says how many assets wait; when their copies are complete they are removed."""
    remove(queued, queued.site.only_copy(), queued.site.only_copy(), *queued.assets(3))
    assert (queued.site.copies(), queued.site.masters()) == (2, 3)
    job = queued.job
    assert job["message"] == "2 of 5 assets wait for their copies."
    assert (job["status"], job["progress_processed"], job["progress_total"]) == ("STARTED", 3, 5)

    first, later = (request.task for request in queued.tasks.created)
    assert first.schedule_time is None
    body = json.loads(later.http_request.body)
    assert body["pins"]["clicked"] + 59 <= later.schedule_time.timestamp() <= time.time() + 60
    assert len(body["asset_ids"]) == 2

    look_again(queued)
    assert queued.site.copies() == 2
    finish_copies(queued)
    assert (queued.site.copies(), queued.site.masters()) == (0, 5)
    assert (job["status"], job["progress_processed"], job["progress_total"]) == ("FINISHED", 5, 5)
    assert job["message"] == "5 of 5 assets removed from LucidLink."
    assert (queued.tasks.deliver(), len(queued.world.bulk_jobs)) == ([], 1)


def test_the_end_names_what_stayed_in_the_first_round(queued: QueuedStage) -> None:
    """Assets without a whole master and collections that iconik lacks are in the last message."""
    kept, _ = queued.site.asset([CLIP], [CLIP | {"status": "MISSING"}])
    lost, below = (queued.world.add_collection() for _ in range(2))
    above = queued.world.add_collection(below, queued.site.only_copy())
    del queued.world.collections[lost], queued.world.collections[below]
    queued.post(asset_ids=[kept], collection_ids=[lost, above])
    look_again(queued)
    finish_copies(queued)
    assert (queued.job["status"], queued.site.copies()) == ("FINISHED_WITH_WARNING", 1)
    assert "its master clip.mov is MISSING" in queued.job["message"]
    for collection in (lost, below):
        assert f"{collection}: iconik does not know it" in queued.job["message"]


def test_a_copy_that_fails_ends_the_wait(queued: QueuedStage) -> None:
    """When iconik's copy fails, the job ends with a warning that says why."""
    remove(queued, queued.site.only_copy(title="Final cut"))
    finish_copies(queued, error="disk full")
    assert queued.job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: its master clip.mov is AWAITED; " in queued.job["message"]
    assert "its copy to B2 failed: disk full" in queued.job["message"]
    assert len(queued.world.notifications) == 1
    assert (queued.site.copies(), queued.tasks.deliver()) == (1, [])


@pytest.mark.parametrize(
    ("status", "end"), [("FAILED", "FINISHED_WITH_WARNING"), ("FINISHED", "STARTED")]
)
def test_a_bulk_copy_that_fails_ends_the_wait(queued: QueuedStage, status: str, end: str) -> None:
    """The failure of the whole copy ends the wait; its success proves nothing."""
    remove(queued, queued.site.only_copy())
    queued.world.transfers.clear()
    queued.world.jobs[queued.world.bulk_jobs[0]]["status"] = status
    look_again(queued)
    assert (queued.job["status"], queued.site.copies()) == (end, 1)
    assert ("its copy to B2 failed" in queued.job["message"]) == (status == "FAILED")


@pytest.mark.parametrize(
    ("masters", "is_listed", "end", "copies"),
    [([CLIP], True, "STARTED", 2), ([CLIP, WAV], False, "FINISHED", 0)],
    ids=["half a copy that is under way", "whole"],
)
def test_masters_that_appear_meanwhile(
    queued: QueuedStage, masters: list[Row], is_listed: bool, end: str, copies: int
) -> None:
    """A copy is waited for while iconik lists it; whole masters are enough, whoever copied them."""
    asset_id = queued.site.only_copy(CLIP, WAV)
    remove(queued, asset_id)
    if not is_listed:
        queued.world.transfers.clear()
    queued.world.add_file_set(asset_id, queued.site.b2, masters)
    look_again(queued)
    assert (queued.job["status"], queued.site.copies()) == (end, copies)


def test_after_a_day_the_wait_is_over(queued: QueuedStage) -> None:
    """The job names the assets that were not copied in time, and no more copies are requested."""
    growing = queued.site.only_copy(CLIP | {"status": "GROWING"})
    remove(queued, queued.site.only_copy(title="Final cut"), growing)
    close_files(queued, growing)
    let_a_day_pass(queued)
    look_again(queued)
    assert queued.job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: it has no master; " in queued.job["message"]
    assert queued.job["message"].count("it was not copied to B2 within 24 hours") == 2
    assert (queued.site.copies(), queued.tasks.deliver()) == (2, [])
    assert len(queued.world.bulk_jobs) == 1


def test_what_was_not_asked_for_is_not_waited_for(queued: QueuedStage) -> None:
    """Assets that stay for another reason do so in each round, and did not fail to be copied."""
    kept, _ = queued.site.asset([CLIP], [])
    missing, _ = queued.site.asset([CLIP], [CLIP | {"status": "MISSING"}])
    remove(queued, kept, missing, queued.site.only_copy())
    look_again(queued)
    assert queued.job["message"] == "1 of 3 assets waits for its copy."
    finish_copies(queued, error="disk full")
    message = queued.job["message"]
    assert "iconik lists no files for its master;" in message
    assert "ORIGINAL: its master clip.mov is MISSING" in message
    assert message.count("disk full") == 1


def test_what_becomes_whole_is_asked_for_then(queued: QueuedStage) -> None:
    """A render that was still being written is copied in a later round."""
    growing = queued.site.only_copy(CLIP | {"status": "GROWING"})
    remove(queued, growing, queued.site.only_copy())
    close_files(queued, growing)
    look_again(queued)
    assert len(queued.world.bulk_jobs) == 2
    finish_copies(queued)
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")


@pytest.mark.parametrize(
    ("error", "end", "copies"),
    [(None, "FINISHED", 0), ("disk full", "FINISHED_WITH_WARNING", 1)],
)
def test_the_action_is_repeated_meanwhile(
    queued: QueuedStage, error: str | None, end: str, copies: int
) -> None:
    """Two removals wait for one copy, and both learn how it ends."""
    asset_id = queued.site.only_copy()
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    assert len(queued.world.bulk_jobs) == 1
    queued.world.finish_copies(error)
    assert queued.tasks.deliver() == [200, 200]
    assert [job["status"] for job in queued.jobs] == [end, end]
    assert ["disk full" in job["message"] for job in queued.jobs] == [bool(error)] * 2
    assert queued.site.copies() == copies


def test_one_of_two_copy_jobs_fails(queued: QueuedStage) -> None:
    """While another job goes on, it is not known whose copies the failed one was for."""
    queued.world.quirks.lists_transfers_from = False
    asset_id = queued.world.add_asset("Render", ["ORIGINAL", "PROXY"])
    for name in ("ORIGINAL", "PROXY"):
        queued.world.add_file_set(asset_id, queued.site.lucidlink, [CLIP], name)
    queued.post("/remove?format=ORIGINAL,PROXY", asset_ids=[asset_id])
    look_again(queued)
    first, second = queued.world.bulk_jobs
    queued.world.transfers.clear()
    queued.world.jobs[first]["status"] = "ABORTED"
    look_again(queued)
    assert queued.job["status"] == "STARTED"
    queued.world.jobs[second]["status"] = "FINISHED"
    look_again(queued)
    assert queued.job["status"] == "FINISHED_WITH_WARNING"


def test_the_last_delivery_still_comes_back(queued: QueuedStage) -> None:
    """An asset that fails to the end does not end the wait of others."""
    queued.world.denied.add(denied := queued.assets(1)[0])
    queued.tasks.retries = 19
    remove(queued, denied, queued.site.only_copy())
    assert queued.job["message"] == "1 of 2 assets waits for its copy."
    finish_copies(queued)
    assert (queued.job["status"], queued.site.copies()) == ("FAILED", 1)
    assert "1 of 2 assets removed from LucidLink, 1 failed." in queued.job["message"]


def test_a_queue_that_is_away_at_last_ends_the_job(queued: QueuedStage) -> None:
    """If the queue will not repeat either, the job ends as without one."""
    queued.post(asset_ids=[queued.site.only_copy(title="Final cut")])
    queued.tasks.is_away = True
    queued.tasks.retries = 19
    look_again(queued)
    assert queued.job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: it is being copied to B2 first" in queued.job["message"]


def test_a_queue_that_is_away_only_delays(queued: QueuedStage) -> None:
    """If the queue does not take the next task, it repeats this one."""
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.tasks.is_away = True
    assert queued.tasks.deliver() == [503]
    queued.tasks.is_away = False
    look_again(queued)
    finish_copies(queued)
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")


def test_a_job_and_a_wait_of_a_payload_are_not_believed(queued: QueuedStage) -> None:
    """Only the queue may name a job and say that copies were requested; a click does neither."""
    other = queued.world.add_job({"status": "STARTED", "title": "Other", "type": "CUSTOM"})
    wait = {"times": 9, "awaited": {}, "before": {}, "jobs": []}
    queued.post(asset_ids=[queued.site.only_copy()], wait=wait, job_id=other["id"])
    look_again(queued)
    assert len(queued.world.bulk_jobs) == 1
    assert queued.jobs[1]["message"] == "1 of 1 asset waits for its copy."
    finish_copies(queued)
    assert [job["status"] for job in queued.jobs] == ["STARTED", "FINISHED"]


def test_without_a_job_none_is_made_later(queued: QueuedStage) -> None:
    """A removal that could not show as a job waits as well, and is done without one."""
    queued.world.quirks.jobs_work = False
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.world.quirks.jobs_work = True
    look_again(queued)
    finish_copies(queued)
    assert (queued.site.copies(), queued.site.masters(), queued.jobs) == (0, 1, [])


def test_an_abort_ends_the_wait(queued: QueuedStage) -> None:
    """An aborted job removes nothing, and the queue comes back until the job says so."""
    remove(queued, queued.site.only_copy())
    job = queued.job
    job["status"] = "ABORT_PENDING"
    queued.world.finish_copies()
    queued.world.quirks.jobs_work = False
    assert queued.tasks.deliver() == [503]
    queued.world.quirks.jobs_work = True
    look_again(queued)
    assert (job["status"], queued.site.copies(), queued.tasks.deliver()) == ("ABORTED", 1, [])


def test_a_task_that_comes_twice_waits_once(queued: QueuedStage) -> None:
    """The queue comes back once, although the first task was delivered again."""
    remove(queued, queued.site.only_copy())
    assert queued.tasks.post(queued.tasks.created[0].task) == 200
    assert (len(queued.tasks.created), len(queued.world.bulk_jobs)) == (2, 1)


def test_a_failed_copy_is_not_asked_for_again(queued: QueuedStage) -> None:
    """While another asset waits, the one whose copy failed does not, and its reason is kept."""
    failed = queued.site.only_copy()
    remove(queued, failed, queued.site.only_copy())
    for id, row in list(queued.world.transfers.items()):
        if row["asset_id"] == failed:
            broken = {"status": "FAILED", "error_message": "disk full"}
            queued.world.jobs[row["job_id"]].update(broken)
            del queued.world.transfers[id]
    look_again(queued)
    look_again(queued)
    assert len(queued.world.bulk_jobs) == 1
    finish_copies(queued)
    job = queued.job
    assert (job["status"], job["message"].count("disk full")) == ("FINISHED_WITH_WARNING", 1)


def test_a_deleted_job_does_not_silence_the_end(queued: QueuedStage) -> None:
    """An editor who has deleted the waiting job is still notified of what stays."""
    remove(queued, queued.site.only_copy())
    del queued.world.jobs[queued.job["id"]]
    finish_copies(queued, error="disk full")
    (notification,) = queued.world.notifications.values()
    assert "disk full" in notification["message_long"]


def test_a_later_add_wins(queued: QueuedStage) -> None:
    """An asset that is added again while its removal waits stays, and the job says why."""
    added, other = queued.site.only_copy(title="Final cut"), queued.site.only_copy()
    remove(queued, added, other)
    queued.world.finish_copies()
    queued.post("/add", asset_ids=[added])
    assert queued.tasks.deliver_newest() == [200]
    look_again(queued)
    assert queued.site.copies() == 1
    assert queued.world.file_sets_of(added, queued.site.lucidlink)
    job = queued.jobs[0]
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: it was added to LucidLink again after the click" in job["message"]


@pytest.mark.parametrize("unsaid", ["storage_id", "date_created", "role"])
def test_what_iconik_does_not_say_of_a_later_add(queued: QueuedStage, unsaid: str) -> None:
    """Where it cannot be known whether an asset was added again, it stays."""
    asset_id = queued.site.only_copy()
    remove(queued, asset_id)
    later = {"type": "TRANSFER", "object_id": asset_id, "status": "STARTED"}
    row = queued.world.add_job(later | {"metadata": {"storage_id": queued.site.other}})
    if unsaid == "role":
        queued.world.roles.remove("can_read_jobs")
    elif unsaid == "storage_id":
        row["metadata"] = {}
    else:
        row.update({"date_created": None, "metadata": {"storage_id": queued.site.lucidlink}})
    finish_copies(queued)
    assert queued.site.copies() == 1


def test_a_transfer_elsewhere_or_before_the_click_does_not_matter(queued: QueuedStage) -> None:
    """Neither the copy to B2, nor a transfer to another storage, nor an old one keeps an asset."""
    asset_id = queued.site.only_copy()
    common = {"type": "TRANSFER", "object_id": asset_id, "status": "FINISHED"}
    before = {"date_created": "2026-01-09T17:00:00"}
    queued.world.add_job(common | before | {"metadata": {"storage_id": queued.site.lucidlink}})
    remove(queued, asset_id)
    queued.world.add_job(common | {"metadata": {"storage_id": queued.site.other}})
    finish_copies(queued)
    assert (queued.site.copies(), queued.site.masters()) == (0, 1)
