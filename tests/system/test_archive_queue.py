"""Copies of masters that the queue waits for: each look applies the rule of removal afresh."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sandbox.site import CLIP
from tests.system.stage import QueuedStage


@pytest.fixture(scope="module")
def running() -> Iterator[QueuedStage]:
    """Run a function with a queue that archives."""
    with ExitStack() as stack:
        yield QueuedStage(stack, ARCHIVE_BEFORE_REMOVE="true")


@pytest.fixture
def queued(running: QueuedStage) -> Iterator[QueuedStage]:
    """Return that function, on an iconik in which copies take time."""
    with running.test():
        running.world.quirks.copies_take_time = True
        yield running


def test_the_queue_comes_back(queued: QueuedStage) -> None:
    """The job stays open and tells how many wait; when the copies stand the rest is removed."""
    queued.post(asset_ids=[queued.site.only_copy(), queued.site.only_copy(), *queued.assets(3)])
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.site.masters()) == (2, 3)
    job = queued.job
    assert job["message"] == "2 of 5 assets wait for their copies."
    assert (job["status"], job["progress_processed"], job["progress_total"]) == ("STARTED", 3, 5)

    first, later = queued.tasks.created
    assert first.task.schedule_time is None
    clicked = json.loads(later.task.http_request.body)["pins"]["clicked"]
    assert clicked + 59 <= later.task.schedule_time.timestamp() <= time.time() + 60
    assert len(json.loads(later.task.http_request.body)["asset_ids"]) == 2

    assert queued.tasks.deliver() == [200]
    assert queued.site.copies() == 2
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.site.masters()) == (0, 5)
    assert (job["status"], job["progress_processed"], job["progress_total"]) == ("FINISHED", 5, 5)
    assert job["message"] == "5 of 5 assets removed from LucidLink."
    assert (queued.tasks.deliver(), len(queued.world.bulk_jobs)) == ([], 1)


def test_what_stays_for_other_reasons_is_told_at_the_end(queued: QueuedStage) -> None:
    """The end names what was kept in the first round, too."""
    kept, _ = queued.site.asset([CLIP], [CLIP | {"status": "MISSING"}])
    lost = queued.world.add_collection()
    del queued.world.collections[lost]
    queued.post(asset_ids=[queued.site.only_copy(), kept], collection_ids=[lost])
    queued.tasks.deliver()
    queued.world.finish_copies()
    queued.tasks.deliver()
    job = queued.job
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "its master clip.mov is MISSING" in job["message"]
    assert f"{lost}: iconik does not know it" in job["message"]
    assert queued.site.copies() == 1


def test_a_copy_that_fails_ends_the_wait(queued: QueuedStage) -> None:
    """When iconik's copy has failed half-way the job ends with a warning that says why."""
    queued.post(asset_ids=[queued.site.only_copy(title="Final cut")])
    queued.tasks.deliver()
    queued.world.finish_copies(error="disk full")
    assert queued.tasks.deliver() == [200]
    job = queued.job
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: its master clip.mov is AWAITED; " in job["message"]
    assert "its copy to B2 failed: disk full" in job["message"]
    assert len(queued.world.notifications) == 1
    assert (queued.site.copies(), queued.tasks.deliver()) == (1, [])


@pytest.mark.parametrize(
    ("status", "end"), [("FAILED", "FINISHED_WITH_WARNING"), ("FINISHED", "STARTED")]
)
def test_a_bulk_copy_that_fails_ends_the_wait(queued: QueuedStage, status: str, end: str) -> None:
    """The failure of the whole copy ends it too; that it is finished proves nothing."""
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.tasks.deliver()
    queued.world.transfers.clear()
    queued.world.jobs[queued.world.bulk_jobs[0]]["status"] = status
    queued.tasks.deliver()
    job = queued.job
    assert (job["status"], queued.site.copies()) == (end, 1)
    assert ("its copy to B2 failed" in job["message"]) == (status == "FAILED")


@pytest.mark.parametrize(("status", "waits"), [("AWAITED", True), ("FAILED", False)])
def test_a_copy_that_iconik_lists_no_more(queued: QueuedStage, status: str, waits: bool) -> None:
    """While a file of the copy is unfinished it is waited for, without one it is told."""
    asset_id = queued.site.only_copy(CLIP, {"original_name": "clip.wav"})
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.world.transfers.clear()
    files = [CLIP, {"original_name": "clip.wav", "status": status}]
    queued.world.add_file_set(asset_id, queued.site.b2, files)
    queued.tasks.deliver()
    assert (queued.jobs[0]["status"] == "STARTED") == waits
    assert queued.site.copies() == 2


def test_after_a_day_the_wait_is_over(queued: QueuedStage) -> None:
    """A copy that takes too long ends in a warning that names the asset."""
    queued.post(asset_ids=[queued.site.only_copy(title="Final cut")])
    queued.tasks.deliver()
    request = queued.tasks.created[-1].task.http_request
    payload = json.loads(request.body)
    payload["pins"]["clicked"] -= 24 * 3600
    request.body = json.dumps(payload).encode()
    assert queued.tasks.deliver() == [200]
    job = queued.job
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: it has no master; " in job["message"]
    assert "it was not copied to B2 within 24 hours" in job["message"]
    assert (queued.site.copies(), queued.tasks.deliver()) == (1, [])


def test_what_was_not_asked_for_is_not_waited_for(queued: QueuedStage) -> None:
    """Who stays for another reason does so in each round, and is not said to be late or failed."""
    kept, _ = queued.site.asset([CLIP], [])
    missing, _ = queued.site.asset([CLIP], [CLIP | {"status": "MISSING"}])
    queued.post(asset_ids=[kept, missing, queued.site.only_copy()])
    for _ in range(2):
        queued.tasks.deliver()
        assert queued.jobs[0]["message"] == "1 of 3 assets waits for its copy."
    queued.world.finish_copies(error="disk full")
    queued.tasks.deliver()
    message = queued.jobs[0]["message"]
    assert "iconik lists no files for its master;" in message
    assert "ORIGINAL: its master clip.mov is MISSING" in message
    assert message.count("disk full") == 1


def test_what_becomes_whole_is_asked_for_then(queued: QueuedStage) -> None:
    """A render that was still being written is copied in a later round."""
    growing = queued.site.only_copy(CLIP | {"status": "GROWING"})
    queued.post(asset_ids=[growing, queued.site.only_copy()])
    queued.tasks.deliver()
    (file,) = queued.world.files.of_asset[growing].values()
    file["status"] = "CLOSED"
    queued.tasks.deliver()
    assert len(queued.world.bulk_jobs) == 2
    queued.world.finish_copies()
    queued.tasks.deliver()
    assert (queued.site.copies(), queued.jobs[0]["status"]) == (0, "FINISHED")


def test_a_lost_sub_collection_is_told_at_the_end(queued: QueuedStage) -> None:
    """A collection that iconik lacks is no asset, and not done with in the next round."""
    lost = queued.world.add_collection()
    above = queued.world.add_collection(lost, queued.site.only_copy())
    del queued.world.collections[lost]
    queued.post(collection_ids=[above])
    queued.tasks.deliver()
    queued.world.finish_copies()
    queued.tasks.deliver()
    job = queued.job
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert f"{lost}: iconik does not know it" in job["message"]


def test_a_failure_is_seen_though_the_job_was_not_told(queued: QueuedStage) -> None:
    """Whose copy somebody else asked for learns of its failure from the transfer's own job."""
    asset_id = queued.site.only_copy()
    for _ in range(2):
        queued.post(asset_ids=[asset_id])
        queued.tasks.deliver()
    queued.world.finish_copies(error="disk full")
    queued.tasks.deliver()
    assert [job["message"].count("disk full") for job in queued.jobs] == [1, 1]


def test_one_of_two_copy_jobs_fails(queued: QueuedStage) -> None:
    """While another job goes on, it is not known whose copies the failed one was for."""
    queued.world.quirks.lists_transfers_from = False
    asset_id = queued.world.add_asset("Render", ["ORIGINAL", "PROXY"])
    for name in ("ORIGINAL", "PROXY"):
        queued.world.add_file_set(asset_id, queued.site.lucidlink, [CLIP], name)
    queued.post("/remove?format=ORIGINAL,PROXY", asset_ids=[asset_id])
    queued.tasks.deliver()
    first, second = queued.world.bulk_jobs
    queued.world.transfers.clear()
    queued.world.jobs[first]["status"] = "ABORTED"
    queued.tasks.deliver()
    assert queued.jobs[0]["status"] == "STARTED"
    queued.world.jobs[second]["status"] = "FINISHED"
    queued.tasks.deliver()
    assert queued.jobs[0]["status"] == "FINISHED_WITH_WARNING"


def test_the_last_delivery_still_comes_back(queued: QueuedStage) -> None:
    """An asset that fails to the end does not end the wait of others."""
    queued.world.denied.add(denied := queued.assets(1)[0])
    queued.post(asset_ids=[denied, queued.site.only_copy()])
    queued.tasks.retries = 19
    assert queued.tasks.deliver() == [200]
    assert queued.jobs[0]["message"] == "1 of 2 assets waits for its copy."
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    job = queued.job
    assert (job["status"], queued.site.copies()) == ("FAILED", 1)
    assert "1 of 2 assets removed from LucidLink, 1 failed." in job["message"]


def test_a_queue_that_is_away_at_last_ends_the_job(queued: QueuedStage) -> None:
    """If the queue will not repeat either, the job ends as without one."""
    queued.post(asset_ids=[queued.site.only_copy(title="Final cut")])
    queued.tasks.is_away = True
    queued.tasks.retries = 19
    assert queued.tasks.deliver() == [200]
    job = queued.job
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: it is being copied to B2 first" in job["message"]


def test_a_wait_of_a_payload_is_not_believed(queued: QueuedStage) -> None:
    """Only the queue may say that copies were asked for: an editor's payload asks for them."""
    wait = {"times": 9, "awaited": {}, "before": {}, "jobs": []}
    queued.post(asset_ids=[queued.site.only_copy()], wait=wait)
    queued.tasks.deliver()
    assert len(queued.world.bulk_jobs) == 1
    assert queued.jobs[0]["message"] == "1 of 1 asset waits for its copy."


def test_without_a_job_the_queue_comes_back_too(queued: QueuedStage) -> None:
    """A removal that could not show as a job waits as well."""
    queued.world.quirks.jobs_work = False
    queued.post(asset_ids=[queued.site.only_copy()])
    assert queued.tasks.deliver() == [200]
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.site.masters()) == (0, 1)


def test_an_abort_ends_the_wait(queued: QueuedStage) -> None:
    """An aborted job removes nothing, though its copy stands now."""
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.tasks.deliver()
    queued.world.finish_copies()
    job = queued.job
    job["status"] = "ABORT_PENDING"
    assert queued.tasks.deliver() == [200]
    assert (job["status"], queued.site.copies(), queued.tasks.deliver()) == ("ABORTED", 1, [])


@pytest.mark.parametrize(("size", "left"), [(1000, 0), (1, 1)])
def test_a_master_that_appears_by_another_way(queued: QueuedStage, size: int, left: int) -> None:
    """A complete one lets the file go; a different one keeps it, and ends the wait."""
    asset_id = queued.site.only_copy()
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.world.transfers.clear()
    queued.world.add_file_set(asset_id, queued.site.b2, [CLIP | {"size": size}])
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.tasks.deliver()) == (left, [])


def test_the_action_is_repeated_meanwhile(queued: QueuedStage) -> None:
    """Two removals of the same wait for one copy, and both come to their end."""
    asset_id = queued.site.only_copy()
    for _ in range(2):
        queued.post(asset_ids=[asset_id])
        queued.tasks.deliver()
    assert len(queued.world.bulk_jobs) == 1
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200, 200]
    assert [job["status"] for job in queued.jobs] == ["FINISHED", "FINISHED"]
    assert (queued.site.copies(), queued.site.masters()) == (0, 1)


def test_a_task_that_comes_twice_waits_once(queued: QueuedStage) -> None:
    """The queue comes back once, though the first task was delivered again."""
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.tasks.deliver()
    assert queued.tasks.post(queued.tasks.created[0].task) == 200
    assert len(queued.tasks.created) == 2
    assert len(queued.world.bulk_jobs) == 1


def test_a_queue_that_is_away_delays_only(queued: QueuedStage) -> None:
    """If the queue does not take the next task, it repeats this one."""
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.tasks.is_away = True
    assert queued.tasks.deliver() == [503]
    queued.tasks.is_away = False
    assert queued.tasks.deliver() == [200]
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.jobs[0]["status"]) == (0, "FINISHED")


def test_after_a_day_nothing_waits(queued: QueuedStage) -> None:
    """Late is late for all, also for what became whole only then: no other task is made."""
    growing = queued.site.only_copy(CLIP | {"status": "GROWING"})
    queued.post(asset_ids=[growing, queued.site.only_copy()])
    queued.tasks.deliver()
    (file,) = queued.world.files.of_asset[growing].values()
    file["status"] = "CLOSED"
    request = queued.tasks.created[-1].task.http_request
    payload = json.loads(request.body)
    payload["pins"]["clicked"] -= 24 * 3600
    request.body = json.dumps(payload).encode()
    queued.tasks.deliver()
    assert (queued.jobs[0]["status"], queued.tasks.deliver()) == ("FINISHED_WITH_WARNING", [])
    assert len(queued.world.bulk_jobs) == 1


def test_a_failed_copy_is_not_asked_for_again(queued: QueuedStage) -> None:
    """While another asset waits, the one whose copy failed does not, and its reason is kept."""
    failed = queued.site.only_copy()
    queued.post(asset_ids=[failed, queued.site.only_copy()])
    queued.tasks.deliver()
    for id, row in list(queued.world.transfers.items()):
        if row["asset_id"] == failed:
            broken = {"status": "FAILED", "error_message": "disk full"}
            queued.world.jobs[row["job_id"]].update(broken)
            del queued.world.transfers[id]
    for _ in range(3):
        queued.tasks.deliver()
    assert len(queued.world.bulk_jobs) == 1
    queued.world.finish_copies()
    queued.tasks.deliver()
    job = queued.job
    assert (job["status"], job["message"].count("disk full")) == ("FINISHED_WITH_WARNING", 1)


def test_a_transfer_that_is_listed_is_waited_for(queued: QueuedStage) -> None:
    """Whatever part of a copy stands already, it is under way while iconik lists it."""
    asset_id = queued.site.only_copy(CLIP, {"original_name": "clip.wav"})
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.world.add_file_set(asset_id, queued.site.b2, [CLIP])
    queued.tasks.deliver()
    assert queued.jobs[0]["status"] == "STARTED"


def test_an_abort_that_could_not_be_told_is_told_later(queued: QueuedStage) -> None:
    """While the job cannot be written the queue goes on, until it says that it is aborted."""
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.tasks.deliver()
    job = queued.job
    job["status"] = "ABORT_PENDING"
    queued.world.quirks.jobs_work = False
    assert queued.tasks.deliver() == [503]
    queued.world.quirks.jobs_work = True
    assert queued.tasks.deliver() == [200]
    assert (job["status"], queued.site.copies()) == ("ABORTED", 1)


def test_a_deleted_job_does_not_silence_the_end(queued: QueuedStage) -> None:
    """Who has deleted the waiting job is still notified of what stays."""
    queued.post(asset_ids=[queued.site.only_copy()])
    queued.tasks.deliver()
    del queued.world.jobs[queued.jobs[0]["id"]]
    queued.world.finish_copies(error="disk full")
    assert queued.tasks.deliver() == [200]
    (notification,) = queued.world.notifications.values()
    assert "disk full" in notification["message_long"]


def test_a_later_add_wins(queued: QueuedStage) -> None:
    """An asset that is added again while its removal waits stays, and the job says why."""
    added, other = queued.site.only_copy(title="Final cut"), queued.site.only_copy()
    queued.post(asset_ids=[added, other])
    queued.tasks.deliver()
    queued.world.finish_copies()
    queued.post("/add", asset_ids=[added])
    assert queued.tasks.post(queued.tasks.created[-1].task) == 200
    queued.tasks.deliver()
    assert queued.site.copies() == 1
    assert queued.world.file_sets_of(added, queued.site.lucidlink)
    job = queued.jobs[0]
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: it was added to LucidLink again after the click" in job["message"]


@pytest.mark.parametrize("unsaid", ["storage_id", "date_created", "role"])
def test_what_iconik_does_not_say_of_a_later_add(queued: QueuedStage, unsaid: str) -> None:
    """Where it cannot be known whether an asset was added again, it stays."""
    asset_id = queued.site.only_copy()
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.world.finish_copies()
    queued.world.copy(queued.site.lucidlink, {"object_type": "assets", "object_ids": [asset_id]})
    later = {"type": "TRANSFER", "object_id": asset_id, "status": "STARTED"}
    row = queued.world.add_job(later | {"metadata": {"storage_id": queued.site.other}})
    if unsaid == "role":
        queued.world.roles.remove("can_read_jobs")
    elif unsaid == "storage_id":
        row["metadata"] = {}
    else:
        row.update({"date_created": None, "metadata": {"storage_id": queued.site.lucidlink}})
    assert queued.tasks.deliver() == [200]
    assert queued.site.copies() == 1


def test_a_transfer_elsewhere_or_before_the_click_does_not_matter(queued: QueuedStage) -> None:
    """Neither the copy to B2, nor a transfer to another storage, nor an old one keeps an asset."""
    asset_id = queued.site.only_copy()
    common = {"type": "TRANSFER", "object_id": asset_id, "status": "FINISHED"}
    before = {"date_created": "2026-01-09T17:00:00"}
    queued.world.add_job(common | before | {"metadata": {"storage_id": queued.site.lucidlink}})
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.world.add_job(common | {"metadata": {"storage_id": queued.site.other}})
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.site.masters()) == (0, 1)
