"""Selections too large for one task: several tasks of one job, which counts each asset once."""

import itertools

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin import background
from storage_plugin.rest import Rest
from tests.later import Later


@pytest.fixture
def later(world: World, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> Later:
    """Return a function whose tasks hold two objects each."""
    monkeypatch.setattr(background, "PART", 2)
    return Later(Site(world), rest)


def job(later: Later) -> Row:
    """Return the one job of the plugin."""
    (job,) = (job for job in later.site.world.jobs.values() if job["type"] == "CUSTOM")
    return job


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_job_counts_each_asset_once(later: Later, order: tuple[int, ...]) -> None:
    """In whatever order the parts are delivered, and though one comes twice, the job counts all."""
    for _ in range(4):
        later.site.asset()
    later.site.asset([CLIP], [], title="Night shoot")
    assert later.click() == "OK"
    assert len(later.tasks) == 3
    assert job(later)["title"] == "Remove 5 assets from LucidLink"
    for number in (order[0], *order[:2]):
        assert later.deliver(number).startswith("OK")
        assert job(later)["status"] == "STARTED"
    assert later.deliver(order[2]).startswith("OK")
    assert job(later)["status"] == "FINISHED_WITH_WARNING"
    assert (job(later)["progress_processed"], job(later)["progress_total"]) == (5, 5)
    assert job(later)["message"] == (
        "4 of 5 assets removed from LucidLink, 1 stayed. "
        "Night shoot: ORIGINAL: of its master iconik lists no files."
    )
    assert (later.site.copies(), len(later.site.world.notifications)) == (1, 1)


def test_what_waits_is_split_again(later: Later) -> None:
    """A collection whose assets all wait for copies comes back as several tasks of the same job."""
    world = later.site.world
    world.copies_take_time = True
    collection = world.add_collection(*(later.site.only_copy() for _ in range(5)))
    assert later.click(collections=[collection], archive_before_remove=True) == "OK"
    later.deliver(0)
    assert len(later.tasks) == 1 + 3
    world.finish_copies()
    for number in (2, 1, 3):
        assert job(later)["status"] == "STARTED"
        later.deliver(number)
    assert job(later)["status"] == "FINISHED"
    assert job(later)["message"] == "5 of 5 assets removed from LucidLink."
    assert (later.site.copies(), later.site.masters()) == (0, 5)


def test_parts_without_a_job_are_done(later: Later) -> None:
    """Where no job can be made, all parts are done all the same."""
    later.site.world.jobs_work = False
    for _ in range(5):
        later.site.asset()
    later.click()
    for number in range(3):
        assert later.deliver(number) == "OK"
    assert later.site.copies() == 0


def test_an_add_is_handed_over_in_parts(later: Later) -> None:
    """A large Add is several tasks, and no job."""
    world = later.site.world
    for _ in range(3):
        world.add_file_set(world.add_asset("Clip"), later.site.b2, [CLIP])
    assert later.click("add") == "OK"
    assert [later.deliver(number) for number in range(2)] == ["OK", "OK"]
    assert (later.site.copies(), [row["type"] for row in world.jobs.values()].count("CUSTOM")) == (
        3,
        0,
    )


@pytest.mark.parametrize("nonsense", [None, 1, {}, {"tally": 1}, {"tally": {"removed": "x"}}])
def test_nonsense_in_a_job_s_metadata_does_no_harm(later: Later, nonsense: object) -> None:
    """Editors and other programs may write into a job, too."""
    for _ in range(5):
        later.site.asset()
    later.click()
    job(later)["metadata"] |= {"part 1.": nonsense, "part x": nonsense}
    for number in range(3):
        assert later.deliver(number) == "OK"
    assert (later.site.copies(), job(later)["status"]) == (0, "FINISHED")
