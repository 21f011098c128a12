"""What an editor sees in iconik: one job for a removal or a failed Add, and a notification."""

import pytest

from sandbox.faults import HANG, Faults
from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin import background
from storage_plugin import rest as rest_module
from storage_plugin.background import job as job_module
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
def clicks(site: Site, hasty_rest: Rest, monkeypatch: pytest.MonkeyPatch) -> Clicks:
    """Return a function that updates its jobs often."""
    monkeypatch.setattr(job_module, "PAUSE", 0.02)
    return Clicks(site, hasty_rest)


def fill(site: Site, number: int) -> str:
    """Add a collection of some assets on both storages, and return its id."""
    return site.world.add_collection(*(site.asset()[0] for _ in range(number)))


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


def test_a_long_list_of_titles_is_cut(clicks: Clicks, faults: Faults) -> None:
    """A job names ten assets, and asks for no more titles than that."""
    for _ in range(30):
        clicks.site.asset([CLIP], [GROWING])
    clicks.now()
    assert clicks.job["message"].count("Clip: ORIGINAL") == 10
    assert clicks.job["message"].endswith("; and 20 more.")
    assert faults.requests["assets"] == 10


def test_an_answer_is_short_and_the_log_is_whole(
    clicks: Clicks, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer names three assets; the log names all."""
    kept = [clicks.site.asset([CLIP], [GROWING])[0] for _ in range(5)]
    assert clicks.now().endswith("; and 2 more.")
    log = capsys.readouterr().out
    assert all(f"Kept {asset_id}: ORIGINAL" in log for asset_id in kept)


def test_titles_that_cannot_be_read_do_not_matter(clicks: Clicks, faults: Faults) -> None:
    """A job names assets by their ids where their titles are not to be had, and asks once."""
    faults.services, faults.probabilities = ("assets",), {"502 in HTML": 1}
    kept = [clicks.site.asset([CLIP], [GROWING])[0] for _ in range(3)]
    clicks.now()
    assert clicks.job["status"] == "FINISHED_WITH_WARNING"
    assert all(f"{asset_id}: ORIGINAL" in clicks.job["message"] for asset_id in kept)
    assert faults.requests["assets"] == HURRIED.attempts


@pytest.mark.parametrize("storage", ["LucidLink", "B2"])
def test_a_failed_removal_is_reported(
    clicks: Clicks, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The editor learns whom to ask, and the administrator finds the reason by the reference."""
    clicks.site.asset([CLIP], [CLIP | {"storage_id": None}], title="Night shoot")
    clicks.now(storage_name=storage)
    failed = "1 of 1 asset failed. Night shoot: it failed. "
    advice = f"Ask your administrator: reference {clicks.log.reference}."
    job = clicks.job
    assert job["status"] == "FAILED"
    assert (
        job["message"] == job["error_message"] == (advice if storage == "B2" else failed + advice)
    )
    (notification,) = clicks.site.world.notifications.values()
    assert notification["message_long"] == job["message"]
    if storage != "B2":
        assert "without storage_id" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("storage", "away", "advice"),
    [
        ("Nowhere", 0, "Ask your administrator: reference "),
        ("LucidLink", 1, "Repeat the action in a few minutes."),
    ],
)
def test_a_failed_add_is_reported(
    clicks: Clicks, faults: Faults, storage: str, away: int, advice: str
) -> None:
    """An Add that fails makes a job and a notification; one that succeeds makes none."""
    site = clicks.site
    for _ in range(3):
        site.world.add_file_set(site.world.add_asset("Clip"), site.b2, [CLIP])
    assert clicks.now("add") == "OK"
    assert clicks.jobs == []
    faults.services, faults.probabilities = ("files",), {"500": away}
    assert not clicks.now("add", storage_name=storage).startswith("OK")
    title = f"Add 3 assets to {storage}"
    assert (clicks.job["title"], clicks.job["status"]) == (title, "FAILED")
    assert clicks.job["message"].startswith(advice)
    (notification,) = site.world.notifications.values()
    assert notification["message_short"].startswith(f"{title}: {advice}")


def test_nothing_to_remove_is_said(clicks: Clicks) -> None:
    """An editor is not told that something was removed where nothing was."""
    site = clicks.site
    site.world.add_file_set(site.world.add_asset("Clip"), site.b2, [CLIP])
    clicks.now()
    assert (clicks.job["status"], clicks.job["message"]) == (
        "FINISHED",
        "Nothing was on LucidLink.",
    )


def test_interrupted_jobs_are_closed(clicks: Clicks) -> None:
    """The next removal closes what a killed instance has left; neither younger nor others' jobs."""
    world = clicks.site.world
    old = {"status": "STARTED", "type": "CUSTOM", "date_modified": "2026-01-09T17:00:00"}
    ours = old | {"custom_type": "REMOVE_FROM_STORAGE", "title": "Remove 1 asset"}
    queued = {"metadata": {"interrupted_after": 1e9}}
    jobs = {
        "left": world.add_job(ours | {"metadata": {"interrupted_after": 120}}),
        "unknown": world.add_job(ours),
        "running": world.add_job(ours | {"date_modified": World.now()}),
        "in the queue": world.add_job(ours | queued),
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
def test_an_aborted_job_ends_the_removal(
    clicks: Clicks, faults: Faults, jobs_tell: bool, status: str
) -> None:
    """An abort in iconik is noticed: nothing more is begun, and the job says what was done."""
    world = clicks.site.world
    world.quirks.jobs_show_status = jobs_tell
    faults.latency = LATENCY

    def abort(method: str, _: str) -> None:
        for job in world.jobs.values() if method == "DELETE" else ():
            job["status"] = status

    world.quirks.on_call = abort
    assert clicks.now(collections=[fill(clicks.site, 300)]).startswith("OK: Aborted: ")
    assert clicks.job["status"] == "ABORTED"
    done = 300 - clicks.site.copies()
    assert 0 < done < 300
    assert clicks.job["message"] == (
        f"Aborted: {done} of 300 assets removed from LucidLink, {300 - done} not done yet."
    )
    assert world.notifications == {}


def test_a_paused_job_goes_on_when_it_is_resumed(clicks: Clicks, faults: Faults) -> None:
    """While an editor has paused the job no other asset is begun; resumed, it goes on."""
    world = clicks.site.world
    faults.latency = LATENCY
    paused: list[str] = []

    def pause_and_resume(method: str, _: str) -> None:
        for job in world.jobs.values():
            if job["status"] == "PAUSED":
                paused.append(method)
            elif method == "DELETE" and not paused:
                job["status"] = "PAUSED"
            if paused.count("PATCH") == 2:
                job["status"] = "STARTED"

    world.quirks.on_call = pause_and_resume
    assert clicks.now(collections=[fill(clicks.site, 100)]) == "OK"
    assert clicks.site.copies() == 0
    seen = paused[paused.index("PATCH") :]
    assert seen.count("DELETE") <= WORKERS  # Those of assets that had begun.


def test_a_pause_that_outlasts_the_time_is_reported(
    site: Site, iconik_url: str, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a queue a paused removal ends within its time, and says that it was paused."""
    monkeypatch.setattr(job_module, "PAUSE", 0.02)
    clicks = Clicks(site, new_rest(iconik_url, site.world, deadline=Deadline(1)))
    faults.latency = LATENCY

    def pause(method: str, _: str) -> None:
        for job in site.world.jobs.values() if method == "DELETE" else ():
            job["status"] = "PAUSED"

    site.world.quirks.on_call = pause
    answer = clicks.now(collections=[fill(site, 100)])
    assert answer.startswith("OutOfTime: Paused: ")
    assert clicks.job["status"] == "FAILED"
    assert 0 < site.copies() < 100


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
    assert clicks.job["message"] == ("Paused for too long, with 0 of 1 asset done.")


def test_progress_moves_until_the_end(clicks: Clicks, faults: Faults) -> None:
    """The job counts the assets while they are removed, and stands still after."""
    faults.latency = LATENCY
    clicks.now(collections=[fill(clicks.site, 100)])
    changes = clicks.site.world.job_changes
    processed = [change["progress_processed"] for change in changes]
    assert processed == sorted(processed)
    assert any(0 < number < 100 for number in processed)
    assert processed[-1] == 100
    assert changes[-1]["status"] == "FINISHED"
    assert not any("status" in change for change in changes[:-1])


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
    faults: Faults,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a job the removal is done all the same, and one warning says what to do."""
    monkeypatch.setattr(rest_module, "HURRIED", HURRIED._replace(read=0.1))
    if trouble == "denied":
        clicks.site.world.quirks.jobs_work = False
    else:
        faults.services = ("jobs", "users", "users-notifications")
        faults.probabilities = {trouble: 1}
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
    clicks: Clicks, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notification that nobody can get leaves the job as it is, and one warning."""
    faults.services, faults.probabilities = ("users-notifications",), {"500": 1}
    clicks.site.asset([CLIP], [GROWING])
    clicks.now()
    assert clicks.job["status"] == "FINISHED_WITH_WARNING"
    assert capsys.readouterr().out.count("users-notifications") == 1


# Through the queue


def test_what_may_work_later_is_repeated(clicks: Clicks, faults: Faults) -> None:
    """While iconik is down the task is to be repeated and its job stays open; then it is done."""
    for _ in range(3):
        clicks.site.asset()
    clicks.later()
    faults.services, faults.probabilities = ("files",), {"500": 1}
    assert clicks.deliver().startswith("Iconik")
    assert clicks.job["status"] == "STARTED"
    assert clicks.job["message"] == "Not finished yet. The removal continues automatically."
    faults.probabilities = {}
    assert clicks.deliver() == "OK"
    assert (clicks.site.copies(), clicks.job["status"]) == (0, "FINISHED")
    assert clicks.site.world.notifications == {}


@pytest.mark.parametrize(
    ("action", "title"),
    [("remove", "Remove 1 asset from LucidLink"), ("add", "Add 1 asset to LucidLink")],
)
def test_the_last_delivery_ends_the_job(
    clicks: Clicks, faults: Faults, action: str, title: str
) -> None:
    """When the queue gives up, the job says so and the editor is notified."""
    clicks.site.asset()
    clicks.later(action)
    faults.services, faults.probabilities = ("files",), {"500": 1}
    assert clicks.deliver(retries=18).startswith("Iconik")
    assert [job["status"] for job in clicks.jobs] == (["STARTED"] if action == "remove" else [])
    assert clicks.deliver(retries=19).startswith("Concluded")
    assert (clicks.job["status"], clicks.job["title"]) == ("FAILED", title)
    assert len(clicks.site.world.notifications) == 1


def test_a_removal_that_is_repeated_sees_a_later_add(clicks: Clicks) -> None:
    """An asset that was added again before a removal is delivered once more stays."""
    asset_id, _ = clicks.site.asset()
    clicks.later()
    added = {"type": "TRANSFER", "object_id": asset_id, "status": "STARTED"}
    clicks.site.world.add_job(added | {"metadata": {"storage_id": clicks.site.lucidlink}})
    assert "added to LucidLink again" in clicks.deliver(retries=1)
    assert clicks.site.copies() == 1


def test_nothing_is_done_before_the_job_is_known(clicks: Clicks, faults: Faults) -> None:
    """While iconik does not say whether the job was aborted, nothing is removed."""
    clicks.site.asset()
    clicks.later()
    faults.services, faults.probabilities = ("jobs",), {"500": 1}
    assert clicks.deliver().startswith("Iconik")
    assert clicks.site.copies() == 1
    faults.probabilities = {}
    assert clicks.deliver() == "OK"
    assert (clicks.site.copies(), clicks.job["status"]) == (0, "FINISHED")


def test_a_repeat_without_a_job_is_not_reported(clicks: Clicks, faults: Faults) -> None:
    """While the queue repeats a removal that has no job, the editor hears of no end."""
    clicks.site.world.quirks.jobs_work = False
    clicks.site.asset()
    clicks.later()
    faults.services, faults.probabilities = ("files",), {"500": 1}
    assert clicks.deliver().startswith("Iconik")
    assert (clicks.site.world.jobs, clicks.site.world.notifications) == ({}, {})
