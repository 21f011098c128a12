"""The function's process with Cloud Tasks: its own messages, real tokens, and killed instances."""

import json
import time

import psutil
import requests

from sandbox.tasks import Key
from tests.system.stage import QueuedStage


def remove_renders(stage: QueuedStage, number: int) -> None:
    """Click a removal that waits in the queue until its copies are complete."""
    stage.world.quirks.copies_take_time = True
    renders = [stage.site.only_copy() for _ in range(number)]
    for row in stage.world.file_sets.values():
        row["date_created"] = "2026-01-09T17:00:00"
    response = stage.post("/remove?format=ORIGINAL&path=/x", asset_ids=renders)
    assert response.status_code == 200, response.text
    assert response.text.endswith("The removal continues in the background.")


def test_a_removal_is_handed_over_and_comes_back(queued: QueuedStage) -> None:
    """The task carries what is left, a minute later, to the function alone, and no token."""
    remove_renders(queued, 3)
    (request,) = queued.tasks.created
    assert 30 < request.task.schedule_time.timestamp() - time.time() <= 60
    sent, url = request.task.http_request, queued.function.url
    assert sent.url == f"{url}/remove?storage={queued.site.lucidlink}&format=ORIGINAL"
    assert json.loads(sent.body)["round"]["job_id"] == queued.job["id"]
    assert b"payload-token" not in sent.body
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.job["status"]) == (3, "STARTED")
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.site.masters()) == (0, 3)
    assert (queued.job["status"], queued.tasks.waiting) == ("FINISHED", [])


def test_only_the_queue_delivers(queued: QueuedStage) -> None:
    """What says that it is Cloud Tasks is let in only with the token of the queue's account."""
    body, url = {"asset_ids": queued.assets(1)}, queued.function.url
    for token in ("", Key().token(url), queued.tasks.key.token(url, email="x@example.com")):
        headers = {"X-CloudTasks-TaskName": "x", "Authorization": f"Bearer {token}"}
        response = requests.post(f"{url}/remove", json=body, headers=headers, timeout=60)
        assert (response.status_code, queued.site.copies()) == (401, 1)


def test_a_killed_instance_does_not_matter(queued: QueuedStage) -> None:
    """What a dying process leaves is done by the next delivery, under the same job."""
    remove_renders(queued, 30)
    queued.world.finish_copies()
    queued.faults.latency = 0.02
    purge = queued.world.purge

    def purge_and_kill(file_set_id: str) -> None:
        purge(file_set_id)
        if queued.site.copies() == 15:
            (worker,) = psutil.Process(queued.function.pid).children()
            worker.kill()

    queued.world.purge = purge_and_kill  # type: ignore[method-assign]
    assert queued.tasks.deliver() == [0]
    assert 0 < queued.site.copies() <= 15
    assert queued.job["status"] == "STARTED"
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")
    assert queued.job["message"] == "30 of 30 assets removed from LucidLink."
