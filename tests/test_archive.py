"""What stands only on LucidLink is copied to the masters first, and removed only then."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from sandbox.world import Row, World
from storage_plugin.archive import Archive, next_wait
from storage_plugin.errors import AccessDenied, IconikError, OutOfTime
from storage_plugin.iconik import Format, Iconik, Storage
from storage_plugin.webhook import Wait
from tests.conftest import Time
from tests.test_task_queue import Queued
from tests.test_transfers import CLIP, SETTINGS, Site, remove

ON = replace(SETTINGS, archive_before_remove=True)


@pytest.fixture
def site(world: World) -> Site:
    """Return a world with storages, on which copies take time."""
    world.copies_take_time = True
    return Site(world)


def render(site: Site, *files: Row, title: str = "Render") -> str:
    """Add an asset that stands on LucidLink alone, and return its id."""
    asset_id = site.world.add_asset(title)
    site.world.add_file_set(asset_id, site.lucidlink, files or [CLIP])
    return asset_id


def test_a_render_is_copied_and_then_removed(site: Site, iconik: Iconik) -> None:
    """The first removal asks for the copy and keeps the file, one after the copy removes it."""
    asset_id = render(site)
    (removal,) = remove(iconik, asset_id, settings=ON)
    assert removal.kept == [
        "ORIGINAL: it is being copied to B2 first; the same action removes it then"
    ]
    assert site.world.names_on(site.lucidlink) == ["clip.mov"]
    site.world.finish_copies()
    (removal,) = remove(iconik, asset_id, settings=ON)
    assert (removal.removed, removal.kept) == (1, [])
    assert site.world.names_on(site.lucidlink) == []
    assert site.world.names_on(site.b2) == ["clip.mov"]


def test_off_nothing_is_copied(site: Site, iconik: Iconik) -> None:
    """Without the setting the file stays, as before."""
    (removal,) = remove(iconik, render(site))
    assert removal.kept == ["ORIGINAL: no master stands elsewhere"]
    assert site.world.bulk_jobs == []


def test_a_copy_under_way_is_not_asked_for_twice(site: Site, iconik: Iconik) -> None:
    """Who repeats the action meanwhile is told the same, and iconik is asked for nothing."""
    asset_id = render(site)
    first = remove(iconik, asset_id, settings=ON)
    assert remove(iconik, asset_id, settings=ON) == first
    assert len(site.world.bulk_jobs) == 1


@pytest.mark.parametrize(
    "file",
    [{"status": "GROWING"}, {"status": "MISSING"}, {"size": None}, {"type": "DIRECTORY"}],
)
def test_what_is_not_whole_is_not_copied(site: Site, iconik: Iconik, file: Row) -> None:
    """A file that is still being written, or whose copy could never be verified, just stays."""
    (removal,) = remove(iconik, render(site, CLIP | file), settings=ON)
    assert removal.kept == ["ORIGINAL: no master stands elsewhere"]
    assert site.world.bulk_jobs == []


@pytest.mark.parametrize(
    ("master", "changes", "reason"),
    [
        ([CLIP | {"size": 1}], {}, "its master has no clip.mov of the same size and checksum"),
        ([CLIP | {"status": "GROWING"}], {}, "its master clip.mov is GROWING"),
        ([CLIP], {"status": "DELETED"}, "its master's file set is DELETED"),
        ([], {}, "no master stands elsewhere"),
    ],
)
def test_a_bad_master_is_never_copied_over(
    site: Site, iconik: Iconik, master: list[Row], changes: Row, reason: str
) -> None:
    """Whatever the masters' storage has of the format stays as it is, and is told."""
    asset_id, _ = site.asset([CLIP], master, **changes)
    (removal,) = remove(iconik, asset_id, settings=ON)
    assert removal.kept == [f"ORIGINAL: {reason}"]
    assert site.world.bulk_jobs == []


def test_many_renders_are_copied_from_lucidlink(
    site: Site, iconik: Iconik, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call takes so many ids, and what another storage has of them is not taken for it."""
    monkeypatch.setattr("storage_plugin.iconik.MAX_IDS", 2)
    site.world.copies_take_time = False
    renders = [render(site) for _ in range(3)]
    for asset_id in renders:
        site.world.add_file_set(asset_id, site.other, [CLIP | {"size": 1}])
    remove(iconik, *renders, settings=ON)
    assert len(site.world.bulk_jobs) == 2
    remove(iconik, *renders, settings=ON)
    assert site.world.names_on(site.lucidlink) == []
    assert len(site.world.names_on(site.b2)) == len(site.world.names_on(site.other)) == 3


def test_without_the_role_nothing_is_copied(site: Site, iconik: Iconik) -> None:
    """Where it cannot be seen what is under way nothing is asked for; the rest is removed."""
    site.world.roles.remove("can_read_transfers")
    fine, _ = site.asset([CLIP])
    failed, removed = remove(iconik, render(site), fine, settings=ON)
    assert isinstance(failed.error, AccessDenied)
    assert "can_read_transfers" in str(failed.error)
    assert (removed.removed, site.world.bulk_jobs) == (1, [])


def test_a_copy_that_iconik_refuses_is_told(
    site: Site, iconik: Iconik, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An asset whose copy could not be asked for has failed, and waits for nothing."""
    monkeypatch.delattr(World, "copy")
    (removal,) = remove(iconik, render(site), settings=ON)
    assert isinstance(removal.error, IconikError)
    assert (removal.waits, removal.kept) == (False, [])


def test_an_aborted_removal_asks_for_no_copy(site: Site, iconik: Iconik) -> None:
    """What was found before the abort is left."""
    asset_id, master = render(site), Storage(site.b2, "B2", "B2", "ACTIVE")
    archive = Archive(iconik, Storage(site.lucidlink, "LucidLink", "FILE", "ACTIVE"), master, None)
    (format,) = site.world.formats_of(asset_id)
    assert archive.brings(asset_id, Format(format["id"], "ORIGINAL", "ACTIVE"), [])
    errors = archive.ask(is_aborted=True)
    assert isinstance(errors[asset_id], OutOfTime)
    assert site.world.bulk_jobs == []


def test_pauses_grow_up_to_an_hour_and_end_after_a_day(time: Time) -> None:
    """A minute, two, four, ...; the last look is when 24 hours are over."""
    began, wait, pauses = time.now, None, [1.0]
    while pauses[-1] > 0:
        wait, pause = next_wait(wait, 5, ["job"], time)
        pauses.append(pause)
        time.sleep(pause)
    assert pauses[1:9] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert time.now == began + 24 * 3600
    assert wait == Wait(began, len(pauses) - 2, 5, ("job",))


# With the queue


@pytest.fixture
def queued() -> Iterator[Queued]:
    """Run a function with a queue that archives, on a world on which copies take time."""
    with ExitStack() as stack:
        queued = Queued(stack, ARCHIVE_BEFORE_REMOVE="true")
        queued.world.copies_take_time = True
        yield queued


def jobs(queued: Queued) -> list[Row]:
    """Return the jobs that the plugin has made."""
    return [job for job in queued.world.jobs.values() if job["type"] == "CUSTOM"]


def masters(queued: Queued) -> int:
    """Return the number of files on B2."""
    return len(queued.world.names_on(queued.site.b2))


def test_the_queue_comes_back(queued: Queued) -> None:
    """The job stays open and tells how many wait; when the copies stand the rest is removed."""
    queued.post(asset_ids=[render(queued.site), render(queued.site), *queued.assets(3)])
    assert queued.tasks.deliver() == [200]
    assert (queued.copies(), masters(queued)) == (2, 3)
    (job,) = jobs(queued)
    assert job["message"] == "2 of 5 assets wait for their copies on B2."
    assert (job["status"], job["progress_processed"], job["progress_total"]) == ("STARTED", 3, 5)

    first, later = queued.tasks.created
    assert first.task.schedule_time is None
    since = json.loads(later.task.http_request.body)["wait"]["since"]
    assert since + 59 <= later.task.schedule_time.timestamp() <= time.time() + 60
    assert later.task.name == f"{later.parent}/tasks/{job['id']}-0"
    assert len(json.loads(later.task.http_request.body)["asset_ids"]) == 2

    assert queued.tasks.deliver() == [200]
    assert queued.copies() == 2
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    assert (queued.copies(), masters(queued)) == (0, 5)
    assert (job["status"], job["progress_processed"], job["progress_total"]) == ("FINISHED", 5, 5)
    assert job["message"] == "5 of 5 assets are done."
    assert (queued.tasks.deliver(), len(queued.world.bulk_jobs)) == ([], 1)


def test_what_stays_for_other_reasons_is_told_at_the_end(queued: Queued) -> None:
    """The end names what was kept in the first round, too."""
    kept, _ = queued.site.asset([CLIP], [CLIP | {"status": "MISSING"}])
    lost = queued.world.add_collection()
    del queued.world.collections[lost]
    queued.post(asset_ids=[render(queued.site), kept], collection_ids=[lost])
    queued.tasks.deliver()
    queued.world.finish_copies()
    queued.tasks.deliver()
    (job,) = jobs(queued)
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "its master clip.mov is MISSING" in job["message"]
    assert f"{lost}: iconik does not know it" in job["message"]
    assert queued.copies() == 1


def test_a_copy_that_fails_ends_the_wait(queued: Queued) -> None:
    """When iconik's copy has failed half-way the job ends with a warning that says why."""
    queued.post(asset_ids=[render(queued.site, title="Final cut")])
    queued.tasks.deliver()
    queued.world.finish_copies(error="disk full")
    assert queued.tasks.deliver() == [200]
    (job,) = jobs(queued)
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: its master clip.mov is AWAITED; " in job["message"]
    assert "its copy to B2 failed: disk full" in job["message"]
    assert len(queued.world.notifications) == 1
    assert (queued.copies(), queued.tasks.deliver()) == (1, [])


@pytest.mark.parametrize(
    ("status", "end"), [("FAILED", "FINISHED_WITH_WARNING"), ("FINISHED", "STARTED")]
)
def test_a_bulk_copy_that_fails_ends_the_wait(queued: Queued, status: str, end: str) -> None:
    """The failure of the whole copy ends it too; that it is finished proves nothing."""
    queued.post(asset_ids=[render(queued.site)])
    queued.tasks.deliver()
    queued.world.transfers_to.clear()
    queued.world.jobs[queued.world.bulk_jobs[0]]["status"] = status
    queued.tasks.deliver()
    (job,) = jobs(queued)
    assert (job["status"], queued.copies()) == (end, 1)
    assert ("its copy to B2 failed" in job["message"]) == (status == "FAILED")


@pytest.mark.parametrize(("status", "waits"), [("AWAITED", True), ("FAILED", False)])
def test_a_copy_that_iconik_lists_no_more(queued: Queued, status: str, waits: bool) -> None:
    """While a file of the copy is unfinished it is waited for, without one it is told."""
    asset_id = render(queued.site, CLIP, {"original_name": "clip.wav"})
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.world.transfers_to.clear()
    files = [CLIP, {"original_name": "clip.wav", "status": status}]
    queued.world.add_file_set(asset_id, queued.site.b2, files)
    queued.tasks.deliver()
    assert (jobs(queued)[0]["status"] == "STARTED") == waits
    assert queued.copies() == 2


def test_after_a_day_the_wait_is_over(queued: Queued) -> None:
    """A copy that takes too long ends in a warning that names the asset."""
    queued.post(asset_ids=[render(queued.site, title="Final cut")])
    queued.tasks.deliver()
    request = queued.tasks.created[-1].task.http_request
    payload = json.loads(request.body)
    payload["wait"]["since"] -= 24 * 3600
    request.body = json.dumps(payload).encode()
    assert queued.tasks.deliver() == [200]
    (job,) = jobs(queued)
    assert job["status"] == "FINISHED_WITH_WARNING"
    assert "Final cut: ORIGINAL: no master stands elsewhere; " in job["message"]
    assert "its copy to B2 took over 24 hours" in job["message"]
    assert (queued.copies(), queued.tasks.deliver()) == (1, [])


def test_an_abort_ends_the_wait(queued: Queued) -> None:
    """An aborted job removes nothing, though its copy stands now."""
    queued.post(asset_ids=[render(queued.site)])
    queued.tasks.deliver()
    queued.world.finish_copies()
    (job,) = jobs(queued)
    job["status"] = "ABORT_PENDING"
    assert queued.tasks.deliver() == [200]
    assert (job["status"], queued.copies(), queued.tasks.deliver()) == ("ABORTED", 1, [])


@pytest.mark.parametrize(("size", "left"), [(1000, 0), (1, 1)])
def test_a_master_that_appears_by_another_way(queued: Queued, size: int, left: int) -> None:
    """A complete one lets the file go; a different one keeps it, and ends the wait."""
    asset_id = render(queued.site)
    queued.post(asset_ids=[asset_id])
    queued.tasks.deliver()
    queued.world.transfers_to.clear()
    queued.world.add_file_set(asset_id, queued.site.b2, [CLIP | {"size": size}])
    assert queued.tasks.deliver() == [200]
    assert (queued.copies(), queued.tasks.deliver()) == (left, [])


def test_the_action_is_repeated_meanwhile(queued: Queued) -> None:
    """Two removals of the same wait for one copy, and both come to their end."""
    asset_id = render(queued.site)
    for _ in range(2):
        queued.post(asset_ids=[asset_id])
        queued.tasks.deliver()
    assert len(queued.world.bulk_jobs) == 1
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200, 200]
    assert [job["status"] for job in jobs(queued)] == ["FINISHED", "FINISHED"]
    assert (queued.copies(), masters(queued)) == (0, 1)


def test_a_task_that_comes_twice_waits_once(queued: Queued) -> None:
    """The queue comes back once, though the first task was delivered again."""
    queued.post(asset_ids=[render(queued.site)])
    queued.tasks.deliver()
    assert queued.tasks.post(queued.tasks.created[0].task) == 200
    assert len(queued.tasks.created) == 2
    assert len(queued.world.bulk_jobs) == 1


def test_a_queue_that_is_away_delays_only(queued: Queued) -> None:
    """If the queue does not take the next task, it repeats this one."""
    queued.post(asset_ids=[render(queued.site)])
    queued.tasks.is_away = True
    assert queued.tasks.deliver() == [503]
    queued.tasks.is_away = False
    assert queued.tasks.deliver() == [200]
    queued.world.finish_copies()
    assert queued.tasks.deliver() == [200]
    assert (queued.copies(), jobs(queued)[0]["status"]) == (0, "FINISHED")
