"""Selections too large for one task: several tasks of one job, which counts each asset once."""

import itertools
import math

import pytest

from sandbox.site import CLIP, Site
from storage_plugin import background
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.errors import IconikUnavailable
from storage_plugin.rest import Rest
from tests.clicks import Clicks


@pytest.fixture
def clicks(site: Site, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> Clicks:
    """Return a function whose tasks hold two objects each."""
    monkeypatch.setattr(background, "PART", 2)
    return Clicks(site, rest)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_job_counts_each_asset_once(clicks: Clicks, order: tuple[int, ...]) -> None:
    """In whatever order the parts are delivered, and though one comes twice, the job counts all."""
    for _ in range(4):
        clicks.site.asset()
    clicks.site.asset([CLIP], [], title="Night shoot")
    assert clicks.later() == "OK"
    assert len(clicks.tasks) == 3
    assert clicks.job["title"] == "Remove 5 assets from LucidLink"
    for number in (order[0], *order[:2]):
        assert clicks.deliver(number).startswith("OK")
        assert clicks.job["status"] == "STARTED"
    assert clicks.deliver(order[2]).startswith("OK")
    assert clicks.job["status"] == "FINISHED_WITH_WARNING"
    assert (clicks.job["progress_processed"], clicks.job["progress_total"]) == (5, 5)
    assert clicks.job["message"] == (
        "4 of 5 assets removed from LucidLink, 1 stayed. "
        "Night shoot: ORIGINAL: iconik lists no files for its master."
    )
    assert (clicks.site.copies(), len(clicks.site.world.notifications)) == (1, 1)


def test_what_waits_is_split_again(clicks: Clicks) -> None:
    """A collection whose assets all wait for copies comes back as several tasks of the same job."""
    site = clicks.site
    site.quirk(copies_take_time=True)
    collection = site.world.add_collection(*(site.only_copy() for _ in range(5)))
    assert clicks.later(collections=[collection], archive_before_remove=True) == "OK"
    clicks.deliver(0)
    assert len(clicks.tasks) == 1 + 3
    site.world.finish_copies()
    for number in (2, 1, 3):
        assert clicks.job["status"] == "STARTED"
        clicks.deliver(number)
    assert clicks.job["status"] == "FINISHED"
    assert clicks.job["message"] == "5 of 5 assets removed from LucidLink."
    assert (site.copies(), site.masters()) == (0, 5)


def test_a_part_that_cannot_be_noted_is_delivered_again(clicks: Clicks) -> None:
    """The job ends only when it shows the end of each part."""
    for _ in range(3):
        clicks.site.asset()
    clicks.later()
    clicks.site.quirk(jobs_work=False)
    assert clicks.deliver(0).startswith("EndNotShown: ")
    clicks.site.quirk(jobs_work=True)
    assert clicks.deliver(1) == "OK"
    assert (clicks.job["status"], clicks.site.copies()) == ("STARTED", 0)
    assert clicks.deliver(0) == "OK"
    assert clicks.job["status"] == "FINISHED"


@pytest.mark.parametrize("call", ["job", "update_job"])
def test_a_result_that_is_noted_but_not_shown_is_shown_later(
    clicks: Clicks, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """If the job cannot be ended after its last part is noted, the next delivery ends it."""
    for _ in range(3):
        clicks.site.asset()
    clicks.later()
    clicks.deliver(0)
    real, calls = getattr(BackgroundIconik, call), itertools.count()

    def fail(*arguments: object) -> object:
        is_end = next(calls) % 2 if call == "job" else "status" in repr(arguments[-1])
        if is_end:
            raise IconikUnavailable("iconik is away.")
        return real(*arguments)

    with monkeypatch.context() as context:
        context.setattr(BackgroundIconik, call, fail)
        for _ in range(2):
            assert clicks.deliver(1).startswith("EndNotShown: ")
            assert clicks.job["status"] == "STARTED"
    assert clicks.deliver(1) == "OK: It had already ended."
    assert (clicks.job["status"], clicks.job["message"]) == (
        "FINISHED",
        "3 of 3 assets removed from LucidLink.",
    )


def test_parts_without_a_job_are_done(clicks: Clicks) -> None:
    """Where no job can be made, all parts are done all the same."""
    clicks.site.quirk(jobs_work=False)
    for _ in range(5):
        clicks.site.asset()
    clicks.later()
    assert [clicks.deliver(number) for number in range(3)] == ["OK"] * 3
    assert clicks.site.copies() == 0


def test_parts_whose_job_cannot_be_read_are_done_once(clicks: Clicks) -> None:
    """Without the role to read jobs, another delivery could not show more, so there is none."""
    clicks.site.world.roles.remove("can_read_jobs")
    for _ in range(3):
        clicks.site.asset()
    clicks.later()
    assert [clicks.deliver(number) for number in range(2)] == ["OK", "OK"]
    assert (clicks.site.copies(), clicks.job["status"]) == (0, "STARTED")


def test_an_add_is_handed_over_in_parts(clicks: Clicks) -> None:
    """A large Add is several tasks, and no job."""
    for _ in range(3):
        clicks.site.master()
    assert clicks.later("add") == "OK"
    assert [clicks.deliver(number) for number in range(2)] == ["OK", "OK"]
    assert (clicks.site.copies(), clicks.jobs) == (3, [])


@pytest.mark.parametrize(
    "nonsense",
    [None, 1, {}, {"tally": 1}, {"tally": {"removed": "x"}}, {"tally": {"removed": math.inf}}],
)
def test_nonsense_in_a_job_s_metadata_does_no_harm(clicks: Clicks, nonsense: object) -> None:
    """Editors and other programs may write into a job, too."""
    for _ in range(5):
        clicks.site.asset()
    clicks.later()
    clicks.job["metadata"] |= {"part 1.": nonsense, "part x": nonsense}
    assert [clicks.deliver(number) for number in range(3)] == ["OK"] * 3
    assert (clicks.site.copies(), clicks.job["status"]) == (0, "FINISHED")
