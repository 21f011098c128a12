"""Work that goes through Cloud Tasks, with its own messages and real tokens."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from time import time as now

import psutil
import pytest
import requests

from sandbox.network import SWALLOW
from sandbox.site import CLIP
from sandbox.tasks import ACCOUNT, QUEUE, Key
from tests.system.stage import QueuedStage


@pytest.fixture
def fresh() -> Iterator[QueuedStage]:
    """Run a function for one test alone."""
    with ExitStack() as stack:
        yield QueuedStage(stack)


def deliver_as_stranger(stage: QueuedStage, authorization: str, *assets: str) -> int:
    """Post a removal as the queue does, with any token; return the status of the answer."""
    headers = {"Authorization": authorization, "X-CloudTasks-TaskName": "x"}
    return requests.post(
        f"{stage.function.url}/remove",
        json={"asset_ids": assets},
        headers={name: value.encode("latin-1") for name, value in headers.items()},
        timeout=60,
    ).status_code


def test_a_removal_is_handed_over_and_comes_back(queued: QueuedStage) -> None:
    """The answer comes before the work; the task carries the selection and the job, no token."""
    collection = queued.world.add_collection(*queued.assets(20))
    response = queued.post("/remove?format=ORIGINAL&path=/\xff", collection_ids=[collection])
    assert (response.status_code, response.text) == (200, "OK")
    assert (queued.site.copies(), queued.job["status"]) == (20, "STARTED")

    (request,) = queued.tasks.created
    assert request.parent == QUEUE
    assert request.task.dispatch_deadline.seconds == 1800
    sent = request.task.http_request
    assert sent.url == f"{queued.function.url}/remove"
    assert sent.oidc_token.service_account_email == ACCOUNT
    assert json.loads(sent.body)["job_id"] == queued.job["id"]
    assert b"payload-token" not in sent.body

    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")


def test_without_the_queue_nothing_is_done(queued: QueuedStage) -> None:
    """A queue that cannot be reached is a 503, and a job says so."""
    queued.tasks.is_away = True
    selection = {"asset_ids": queued.assets(1)}
    for path in ("/remove", "/add"):
        response = queued.post(path, **selection)
        assert response.status_code == 503
        assert "did not accept the action" in response.text
    assert {job["title"]: job["status"] for job in queued.jobs} == {
        "Remove 1 asset from LucidLink": "FAILED",
        "Add 1 asset to LucidLink": "FAILED",
    }
    assert (queued.site.copies(), len(queued.world.notifications)) == (1, 2)


def test_a_connection_that_the_network_forgets_loses_no_action(queued: QueuedStage) -> None:
    """After a quiet time the queue takes an action over another connection, and once."""
    selection = {"asset_ids": queued.assets(1)}
    assert queued.post("/add", **selection).status_code == 200
    queued.tasks.google.network.forget(SWALLOW)
    assert queued.post("/add", **selection).status_code == 200
    assert len(queued.tasks.created) == 2


def test_a_lost_answer_of_the_queue_does_not_double_the_action(queued: QueuedStage) -> None:
    """What the queue has taken without saying so is handed over again under the same name."""
    selection = {"asset_ids": queued.assets(1)}
    queued.post("/add", **selection)
    queued.tasks.loses_answers = True
    assert queued.post("/add", **selection).status_code == 200
    assert queued.tasks.deliver() == [200, 200]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x.y.z", "Bearer \xff", "Basic x"])
def test_headers_of_a_queue_prove_nothing(queued: QueuedStage, authorization: str) -> None:
    """A request that says that it is Cloud Tasks is not let in for that."""
    assert deliver_as_stranger(queued, authorization) == 401


def test_only_the_queue_has_certificates_fetched(fresh: QueuedStage) -> None:
    """Other tokens are refused without asking Google; without certificates, the queue waits."""
    fresh.post("/add", asset_ids=fresh.assets(1))
    nested = base64.urlsafe_b64encode(b"[" * 2500).decode()
    for stranger in (Key().token("https://elsewhere.example"), f"{nested}.e30.e30", "x" * 5000):
        assert deliver_as_stranger(fresh, f"Bearer {stranger}") == 401
    assert fresh.tasks.fetches == 0

    fresh.tasks.has_certificates = False
    assert fresh.tasks.deliver(attempts=2) == [503, 503]
    assert fresh.tasks.fetches == 2
    assert "Traceback" not in fresh.output
    fresh.tasks.has_certificates = True
    assert fresh.tasks.deliver() == [200]


def test_what_was_delivered_is_not_done_again(queued: QueuedStage) -> None:
    """A finished task that comes a second time costs one look at its job."""
    queued.post(asset_ids=queued.assets(3))
    assert queued.tasks.deliver() == [200]
    queued.faults.requests.clear()
    assert queued.tasks.post(queued.tasks.created[0].task) == 200
    assert queued.faults.requests == {"jobs": 1}


def test_what_can_never_work_is_not_repeated(queued: QueuedStage) -> None:
    """What only an administrator can mend ends the job as failed, and is answered well."""
    queued.post(asset_ids=queued.assets(1))
    queued.world.storages[queued.site.b2]["status"] = "FAILING"
    assert queued.tasks.deliver() == [200]
    assert (queued.job["status"], queued.site.copies()) == ("FAILED", 1)
    assert "B2 is FAILING" in queued.output
    assert re.fullmatch(r"Ask your administrator: reference [0-9a-f]{6}\.", queued.job["message"])
    assert len(queued.world.notifications) == 1


def test_an_untold_end_is_told_later(queued: QueuedStage) -> None:
    """While the end cannot be written into the job the queue goes on, until it is."""
    queued.post(asset_ids=queued.assets(2))
    queued.world.quirks.jobs_work = False
    assert queued.tasks.deliver() == [503]
    assert (queued.site.copies(), queued.job["status"]) == (0, "STARTED")
    queued.world.quirks.jobs_work = True
    assert queued.tasks.deliver() == [200]
    assert queued.job["status"] == "FINISHED"


def test_what_is_clicked_is_refused_at_once(queued: QueuedStage) -> None:
    """A storage that cannot be removed from is seen at the click, and the job says so."""
    assert queued.post("/remove?storage=B2", asset_ids=queued.assets(1)).status_code == 500
    assert (queued.job["status"], queued.tasks.created) == ("FAILED", [])
    assert len(queued.world.notifications) == 1


def test_a_task_of_another_version_ends_its_job(queued: QueuedStage) -> None:
    """A task without the storages of the click is not done with those of now."""
    queued.post(asset_ids=queued.assets(1))
    request = queued.tasks.created[0].task.http_request
    request.body = json.dumps(json.loads(request.body) | {"pins": None}).encode()
    assert queued.tasks.deliver() == [200]
    assert (queued.job["status"], queued.site.copies()) == ("FAILED", 1)
    assert "before the plugin was upgraded" in queued.output


def test_a_later_deployment_does_not_change_what_was_clicked(queued: QueuedStage) -> None:
    """A removal that waited deletes from the storage of the click, whatever is set now."""
    asset_id, copy = queued.site.asset()
    other = queued.world.add_file_set(asset_id, queued.site.other, [CLIP])
    queued.post("/remove?storage=Other", asset_ids=[asset_id])
    assert queued.tasks.deliver() == [200]
    assert (copy in queued.world.file_sets, other in queued.world.file_sets) == (True, False)
    assert queued.job["title"] == "Remove 1 asset from Other"


@pytest.mark.parametrize("storage", ["lucidlink", "b2"])
def test_another_storage_by_the_same_name_is_not_meant(queued: QueuedStage, storage: str) -> None:
    """Where a name belongs to another storage than at the click, the job ends with that reason."""
    queued.post(asset_ids=queued.assets(1))
    row = queued.world.storages[getattr(queued.site, storage)]
    queued.world.add_storage(row["name"], row["method"])
    row["name"] = "Old"
    assert queued.tasks.deliver() == [200]
    assert (queued.job["status"], queued.site.copies()) == ("FAILED", 1)
    assert "storages have changed since the click" in queued.output


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("ABORT_PENDING", "ABORTED"),
        ("ABORTED", "ABORTED"),
        ("DISCARDED", "DISCARDED"),
        ("FINISHED", "FINISHED"),
    ],
)
def test_a_job_that_has_ended_is_not_begun(queued: QueuedStage, status: str, end: str) -> None:
    """What an editor has ended while it waited, or what is done, removes nothing."""
    queued.post(asset_ids=queued.assets(1))
    queued.job["status"] = status
    assert queued.tasks.deliver() == [200]
    assert (queued.job["status"], queued.site.copies()) == (end, 1)


def test_a_paused_job_waits_in_the_queue(queued: QueuedStage) -> None:
    """While a job is paused the queue comes back now and then; resumed, it goes on."""
    queued.post(asset_ids=queued.assets(2))
    queued.job["status"] = "PAUSED"
    assert queued.tasks.deliver() == [200]
    assert queued.tasks.deliver() == [200]
    assert (queued.job["status"], queued.site.copies()) == ("PAUSED", 2)
    assert queued.tasks.created[-1].task.schedule_time.timestamp() > now() + 200
    queued.job["status"] = "STARTED"
    assert queued.tasks.deliver() == [200]
    assert (queued.job["status"], queued.site.copies()) == ("FINISHED", 0)


def test_a_job_that_is_gone_does_not_hinder(queued: QueuedStage) -> None:
    """Without the job that an editor has deleted the removal is done, with one warning."""
    queued.post(asset_ids=queued.assets(1))
    queued.world.jobs.clear()
    assert queued.tasks.deliver() == [200]
    assert queued.site.copies() == 0
    assert queued.output.count("The editor may not see the result") == 1


def test_a_job_that_may_not_be_read_is_still_told(queued: QueuedStage) -> None:
    """Without the role to read jobs the removal is done, and its job says so."""
    queued.post(asset_ids=queued.assets(2))
    queued.world.roles.remove("can_read_jobs")
    assert queued.tasks.deliver() == [200]
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")


def test_a_killed_worker_does_not_matter(fresh: QueuedStage) -> None:
    """What a dying process leaves is done by the next delivery, under the same job."""
    fresh.post(collection_ids=[fresh.world.add_collection(*fresh.assets(100))])
    fresh.faults.latency = 0.02
    purge = fresh.world.purge

    def purge_and_kill(file_set_id: str) -> None:
        purge(file_set_id)
        if fresh.site.copies() == 50:
            (worker,) = psutil.Process(fresh.function.pid).children()
            worker.kill()

    fresh.world.purge = purge_and_kill  # type: ignore[method-assign]
    assert fresh.tasks.deliver() == [0]
    assert 0 < fresh.site.copies() <= 50
    assert fresh.job["status"] == "STARTED"
    assert fresh.tasks.deliver(attempts=2)[-1] == 200
    assert (fresh.site.copies(), fresh.job["status"]) == (0, "FINISHED")
