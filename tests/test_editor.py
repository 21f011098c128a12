"""What an editor sees in iconik: one job for a removal or a failed Add, and a notification."""

import pytest

from sandbox.faults import HANG, Faults
from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin import background
from storage_plugin import rest as rest_module
from storage_plugin.background import job as job_module
from storage_plugin.background import overtaken
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.errors import IconikUnavailable
from storage_plugin.iconik import WORKERS
from storage_plugin.pace import Deadline
from storage_plugin.rest import HURRIED, Rest
from tests.clicks import EDITOR, Clicks
from tests.conftest import new_rest

GROWING = CLIP | {"status": "GROWING"}
LATENCY = 0.005


@pytest.fixture
def clicks(site: Site, faults: Faults, hasty_rest: Rest, monkeypatch: pytest.MonkeyPatch) -> Clicks:
    """Return a function that updates its jobs often."""
    monkeypatch.setattr(job_module, "PAUSE", 0.02)
    return Clicks(site, hasty_rest, faults)


def fill(site: Site, number: int) -> str:
    """Add a collection of some assets on both storages, and return its id."""
    return site.world.add_collection(*(site.asset()[0] for _ in range(number)))


def change_jobs_on_deletion(site: Site, status: str) -> None:
    """Let an editor change all jobs as soon as something is deleted."""

    def change(method: str, _: str) -> None:
        for job in site.world.jobs.values() if method == "DELETE" else ():
            job["status"] = status

    site.quirk(on_call=change)


def test_a_removal_is_a_job(clicks: Clicks) -> None:
    """A removal shows as one job, linked to what was selected; nobody is notified of success."""
    asset_id, _ = clicks.site.asset()
    assert clicks.now() == "OK"
    job = clicks.job
    assert (job["type"], job["status"]) == ("CUSTOM", "FINISHED")
    assert job["title"] == "Remove 1 asset from LucidLink"
    assert (job["object_type"], job["object_id"]) == ("assets", asset_id)
    assert (job["progress_processed"], job["progress_total"]) == (1, 1)
    assert job["message"] == "1 of 1 asset removed from LucidLink."
    assert clicks.site.world.notifications == {}


def test_what_stays_is_named_by_title(clicks: Clicks) -> None:
    """The job and one notification say what stayed and why, in the editor's own words."""
    site = clicks.site
    site.asset([CLIP], [GROWING], title="Night shoot")
    site.asset([CLIP], [CLIP | {"size": 1}], title="Interview")
    site.asset()
    clicks.now()
    job = clicks.job
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert job["message"] == (
        "1 of 3 assets removed from LucidLink, 2 stayed. "
        "Night shoot: ORIGINAL: its master clip.mov is GROWING; "
        "Interview: ORIGINAL: clip.mov differs from its master in size: 1,000 and 1 bytes."
    )
    (notification,) = site.world.notifications.values()
    assert notification["recipient_id"] == EDITOR
    assert notification["sender_id"] == site.world.user_id
    assert (notification["object_type"], notification["object_id"]) == ("jobs", job["id"])
    assert notification["message_short"] == (
        "Remove 3 assets from LucidLink: 1 of 3 assets removed from LucidLink, 2 stayed."
    )
    assert notification["message_long"] == job["message"]


def test_long_lists_are_cut_and_the_log_is_whole(
    clicks: Clicks, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer names three assets, a job ten, for whose titles it asks, and the log all."""
    kept = [clicks.site.asset([CLIP], [GROWING])[0] for _ in range(13)]
    assert clicks.now().endswith("; and 10 more.")
    assert clicks.job["message"].count("Clip: ORIGINAL") == 10
    assert clicks.job["message"].endswith("; and 3 more.")
    assert clicks.faults.requests["assets"] == 10
    log = capsys.readouterr().out
    assert all(f"Kept {asset_id}: ORIGINAL" in log for asset_id in kept)


def test_titles_that_cannot_be_read_do_not_matter(clicks: Clicks) -> None:
    """A job names assets by their ids where their titles are not to be had, and asks once."""
    clicks.break_services("assets", fault="502 in HTML")
    kept = [clicks.site.asset([CLIP], [GROWING])[0] for _ in range(3)]
    clicks.now()
    assert clicks.job["status"] == "FINISHED_WITH_WARNING"
    assert all(f"{asset_id}: ORIGINAL" in clicks.job["message"] for asset_id in kept)
    assert clicks.faults.requests["assets"] == HURRIED.attempts


@pytest.mark.parametrize(
    ("storage", "failed", "logged"),
    [
        ("LucidLink", "1 of 1 asset failed. Night shoot: it failed. ", "without storage_id"),
        ("B2", "", ""),
    ],
)
def test_a_failed_removal_is_reported(
    clicks: Clicks, storage: str, failed: str, logged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The editor learns whom to ask, and the administrator finds the reason by the reference."""
    clicks.site.asset([CLIP], [CLIP | {"storage_id": None}], title="Night shoot")
    clicks.now(storage_name=storage)
    message = f"{failed}Ask your administrator: reference {clicks.log.reference}."
    job = clicks.job
    assert (job["status"], job["message"], job["error_message"]) == ("FAILED", message, message)
    (notification,) = clicks.site.world.notifications.values()
    assert notification["message_long"] == message
    assert logged in capsys.readouterr().out


@pytest.mark.parametrize(
    ("storage", "broken", "advice"),
    [
        ("Nowhere", [], "Ask your administrator: reference "),
        ("LucidLink", ["files"], "Repeat the action in a few minutes."),
    ],
)
def test_a_failed_add_is_reported(
    clicks: Clicks, storage: str, broken: list[str], advice: str
) -> None:
    """An Add that fails makes a job and a notification; one that succeeds makes none."""
    for _ in range(3):
        clicks.site.master()
    assert clicks.now("add") == "OK"
    assert clicks.jobs == []
    clicks.break_services(*broken)
    assert not clicks.now("add", storage_name=storage).startswith("OK")
    title = f"Add 3 assets to {storage}"
    assert (clicks.job["title"], clicks.job["status"]) == (title, "FAILED")
    assert clicks.job["message"].startswith(advice)
    (notification,) = clicks.site.world.notifications.values()
    assert notification["message_short"].startswith(f"{title}: {advice}")


def test_nothing_to_remove_is_said(clicks: Clicks) -> None:
    """An editor is not told that something was removed where nothing was."""
    clicks.site.master()
    clicks.now()
    assert clicks.job["status"] == "FINISHED"
    assert clicks.job["message"] == "Nothing was on LucidLink."


def test_interrupted_jobs_are_closed(clicks: Clicks) -> None:
    """The next removal closes what a killed instance has left; neither younger nor others' jobs."""
    world = clicks.site.world
    old = {"status": "STARTED", "type": "CUSTOM", "date_modified": "2026-01-09T17:00:00"}
    ours = old | {"custom_type": "REMOVE_FROM_STORAGE", "title": "Remove 1 asset"}
    jobs = {
        "left": world.add_job(ours | {"metadata": {"interrupted_after": 120}}),
        "unknown": world.add_job(ours),
        "running": world.add_job(ours | {"date_modified": World.now()}),
        "in the queue": world.add_job(ours | {"metadata": {"interrupted_after": 1e9}}),
        "another's": world.add_job(old | {"custom_type": "TAXI"}),
    }
    clicks.site.asset()
    assert clicks.now() == "OK"
    closed = [name for name, job in jobs.items() if job["status"] == "FAILED"]
    assert closed == ["left", "unknown"]
    assert jobs["left"]["message"] == "It was interrupted: repeat the action."


@pytest.mark.parametrize(
    ("jobs_tell", "status"), [(True, "ABORT_PENDING"), (False, "ABORTED"), (True, "DISCARDED")]
)
def test_an_aborted_job_ends_the_removal(clicks: Clicks, jobs_tell: bool, status: str) -> None:
    """An abort in iconik is noticed: nothing more is begun, and the job says what was done."""
    clicks.site.quirk(jobs_show_status=jobs_tell)
    change_jobs_on_deletion(clicks.site, status)
    clicks.faults.latency = LATENCY
    assert clicks.now(collections=[fill(clicks.site, 300)]).startswith("OK: Aborted: ")
    done = 300 - clicks.site.copies()
    assert 0 < done < 300
    assert clicks.job["status"] == "ABORTED"
    assert clicks.job["message"] == (
        f"Aborted: {done} of 300 assets removed from LucidLink, {300 - done} not done yet."
    )
    assert clicks.site.world.notifications == {}


def test_a_paused_job_goes_on_when_it_is_resumed(clicks: Clicks) -> None:
    """While an editor has paused the job no other asset is begun; resumed, it goes on."""
    clicks.faults.latency = LATENCY
    paused: list[str] = []

    def pause_and_resume(method: str, _: str) -> None:
        for job in clicks.jobs:
            if job["status"] == "PAUSED":
                paused.append(method)
            elif method == "DELETE" and not paused:
                job["status"] = "PAUSED"
            if paused.count("PATCH") == 2:
                job["status"] = "STARTED"

    clicks.site.quirk(on_call=pause_and_resume)
    assert clicks.now(collections=[fill(clicks.site, 100)]) == "OK"
    assert clicks.site.copies() == 0
    seen = paused[paused.index("PATCH") :]
    assert seen.count("DELETE") <= WORKERS  # Those of assets that had begun.


def test_a_pause_that_outlasts_the_time_is_reported(clicks: Clicks, iconik_url: str) -> None:
    """Without a queue a paused removal ends within its time, and says that it was paused."""
    site = clicks.site
    in_a_second = Clicks(site, new_rest(iconik_url, site.world, deadline=Deadline(1)))
    change_jobs_on_deletion(site, "PAUSED")
    clicks.faults.latency = LATENCY
    answer = in_a_second.now(collections=[fill(site, 100)])
    assert answer.startswith("OutOfTime: Paused: ")
    assert clicks.job["status"] == "FAILED"
    assert 0 < site.copies() < 100


def test_progress_moves_until_the_end(clicks: Clicks) -> None:
    """The job counts the assets while they are removed, and stands still after."""
    clicks.faults.latency = LATENCY
    clicks.now(collections=[fill(clicks.site, 100)])
    changes = clicks.site.world.job_changes
    processed = [change["progress_processed"] for change in changes]
    assert processed == sorted(processed)
    assert any(0 < number < 100 for number in processed)
    assert processed[-1] == 100
    assert [change for change in changes if "status" in change] == changes[-1:]
    assert clicks.job["status"] == "FINISHED"


def test_updates_become_fewer() -> None:
    """The longer a removal takes the fewer its updates: they must not take up iconik's limit."""
    now, updates = 0.0, 0
    while now < 1800:
        now += job_module._pause(now)
        updates += 1
    assert updates < 250


@pytest.mark.parametrize("trouble", ["denied", "500", HANG])
def test_trouble_with_jobs_does_not_hinder(
    clicks: Clicks,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a job the removal is done all the same, and one warning says what to do."""
    monkeypatch.setattr(rest_module, "HURRIED", HURRIED._replace(read=0.1))
    if trouble == "denied":
        clicks.site.quirk(jobs_work=False)
    else:
        clicks.break_services("jobs", "users", "users-notifications", fault=trouble)
    clicks.site.asset()
    assert clicks.now() == "OK"
    assert clicks.site.copies() == 0
    (warning,) = capsys.readouterr().out.splitlines()
    assert '"severity": "WARNING"' in warning
    assert ("can_write_jobs" in warning) == (trouble == "denied")


def test_a_short_trouble_with_jobs_is_over_some_time(
    clicks: Clicks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An update that fails is logged, and the job still says its end."""
    update, failed = BackgroundIconik.update_job, []

    def fail_once(iconik: BackgroundIconik, job_id: str, changes: Row) -> str | None:
        if not failed:
            failed.append(changes)
            raise IconikUnavailable("iconik is away.")
        return update(iconik, job_id, changes)

    monkeypatch.setattr(BackgroundIconik, "update_job", fail_once)
    assert clicks.now(collections=[fill(clicks.site, 100)]) == "OK"
    assert (clicks.job["status"], clicks.job["progress_processed"]) == ("FINISHED", 100)
    assert "iconik is away." in capsys.readouterr().out


def test_a_user_who_is_gone_does_not_hinder(
    clicks: Clicks, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notification that nobody can get leaves the job as it is, and one warning."""
    clicks.break_services("users-notifications")
    clicks.site.asset([CLIP], [GROWING])
    clicks.now()
    assert clicks.job["status"] == "FINISHED_WITH_WARNING"
    assert capsys.readouterr().out.count("users-notifications") == 1


# Through the queue


def test_a_pause_in_the_queue_ends_with_its_task(
    clicks: Clicks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal that is paused for longer than a task may wait ends, and nothing is deleted."""
    clicks.site.asset()
    clicks.later()
    clicks.job.update(status="PAUSED", progress_total=1)
    monkeypatch.setattr(background, "MAX_WAIT", 0)
    assert clicks.deliver() == "OK: It was paused for too long."
    assert (clicks.job["status"], clicks.site.copies(), len(clicks.tasks)) == ("ABORTED", 1, 1)
    assert clicks.job["message"] == "Paused for too long, with 0 of 1 asset done."


@pytest.mark.parametrize(
    ("service", "message"),
    [("files", "Not finished yet. The removal continues automatically."), ("jobs", None)],
)
def test_what_may_work_later_is_repeated(clicks: Clicks, service: str, message: str | None) -> None:
    """While iconik is down, or does not say whether the job was aborted, nothing is removed."""
    clicks.site.asset()
    clicks.later()
    clicks.break_services(service)
    assert clicks.deliver().startswith("Iconik")
    assert (clicks.site.copies(), clicks.job["status"]) == (1, "STARTED")
    assert clicks.job.get("message") == message
    clicks.faults.reset()
    assert clicks.deliver() == "OK"
    assert (clicks.site.copies(), clicks.job["status"]) == (0, "FINISHED")
    assert clicks.site.world.notifications == {}


@pytest.mark.parametrize(
    ("action", "title"),
    [("remove", "Remove 1 asset from LucidLink"), ("add", "Add 1 asset to LucidLink")],
)
def test_the_last_delivery_ends_the_job(clicks: Clicks, action: str, title: str) -> None:
    """When the queue gives up, the job says so and the editor is notified."""
    clicks.site.asset()
    clicks.later(action)
    clicks.break_services("files")
    assert clicks.deliver(retries=18).startswith("Iconik")
    assert [job["status"] for job in clicks.jobs] == (["STARTED"] if action == "remove" else [])
    assert clicks.deliver(retries=19).startswith("Concluded")
    assert (clicks.job["status"], clicks.job["title"]) == ("FAILED", title)
    assert len(clicks.site.world.notifications) == 1


@pytest.mark.parametrize(
    ("late", "retries", "copies"),
    [
        (60.0, 0, 0),  # It comes at once.
        (-1.0, 0, 1),
        (60.0, 1, 1),
    ],
)
def test_a_removal_that_comes_late_sees_a_later_add(
    clicks: Clicks, monkeypatch: pytest.MonkeyPatch, late: float, retries: int, copies: int
) -> None:
    """What was added to the storage again since the click stays."""
    monkeypatch.setattr(overtaken, "LATE", late)
    asset_id, _ = clicks.site.asset()
    clicks.later()
    added = {"type": "TRANSFER", "object_id": asset_id, "status": "STARTED"}
    clicks.site.world.add_job(added | {"metadata": {"storage_id": clicks.site.lucidlink}})
    answer = clicks.deliver(retries=retries)
    assert ("added to LucidLink again" in answer, clicks.site.copies()) == (bool(copies), copies)


def test_a_repeat_without_a_job_is_not_reported(clicks: Clicks) -> None:
    """While the queue repeats a removal that has no job, the editor hears of no end."""
    clicks.site.quirk(jobs_work=False)
    clicks.site.asset()
    clicks.later()
    clicks.break_services("files")
    assert clicks.deliver().startswith("Iconik")
    assert (clicks.site.world.jobs, clicks.site.world.notifications) == ({}, {})
