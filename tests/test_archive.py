"""Files that are only on LucidLink are copied to the masters' storage, and removed only then."""

import itertools
import json
from collections import Counter

import pytest

from sandbox.site import CLIP
from sandbox.world import Row, new_id
from storage_plugin.iconik import client
from tests.stage import HOUR, Stage, failing, nothing

COPYING = "ORIGINAL is being copied to B2 first"
NO_COPY = "ORIGINAL has no copy on B2"
MINUTE = 60.0


@pytest.fixture
def stage() -> Stage:
    """Return a function that archives, without a queue."""
    return Stage(ARCHIVE_BEFORE_REMOVE="true")


@pytest.fixture
def queued() -> Stage:
    """Return a function that archives, with a queue."""
    return Stage(has_queue=True, ARCHIVE_BEFORE_REMOVE="true")


def requests(stage: Stage) -> int:
    """Return how often copies to the masters' storage were requested."""
    return sum(call.endswith(f"{stage.site.b2}/bulk/") for call in stage.calls)


def click(stage: Stage, *assets: str, path: str = "/remove") -> str:
    """Remove assets, or all, and return the answer."""
    return stage.click(path, asset_ids=assets or [*stage.world.assets]).text


# Without a queue


def test_the_first_click_copies_and_the_last_one_removes(stage: Stage) -> None:
    """Clicks meanwhile request nothing, because iconik is making the copy."""
    asset_id = stage.site.only_copy()
    for _ in range(2):
        assert click(stage) == (
            f"OK: 0 of 1 asset removed from LucidLink, 1 waits for its copy. {asset_id}: {COPYING}."
            " Repeat the action when the copies are complete."
        )
    assert (stage.site.copies(), requests(stage)) == (1, 1)
    stage.world.finish_copies()
    assert (click(stage), stage.site.copies(), stage.site.masters()) == ("OK", 0, 1)


def test_each_format_is_copied_from_lucidlink(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call takes one format and so many ids, and what another storage has is not copied."""
    monkeypatch.setattr(client, "MAX_IDS", 2)
    stage.site.quirk(copies_take_time=False)
    for _ in range(3):
        asset_id = stage.world.add_asset("Render", ["ORIGINAL", "PROXY"])
        for name in ("ORIGINAL", "PROXY"):
            stage.world.add_file_set(asset_id, stage.site.other, [CLIP | {"size": 1}], name)
            stage.world.add_file_set(asset_id, stage.site.lucidlink, [CLIP], name)
    for answer in ("OK: 0 of 3 assets removed from LucidLink, 3 wait for their copies.", "OK"):
        assert click(stage, path="/remove?format=ORIGINAL,PROXY").startswith(answer)
    assert len(stage.world.names_on(stage.site.other)) == 6
    assert (requests(stage), stage.site.copies(), stage.site.masters()) == (4, 0, 6)


@pytest.mark.parametrize("lists_from", [True, False])
@pytest.mark.parametrize("format_id", ["its own", None, "another"])
def test_what_iconik_is_copying_is_not_requested(
    stage: Stage, format_id: str | None, lists_from: bool
) -> None:
    """Only a transfer of another format is another one, whichever of iconik's lists says so."""
    stage.site.quirk(lists_transfers_from=lists_from)
    renders = [stage.site.only_copy(), stage.site.only_copy()]
    stage.world.copy(stage.site.b2, {"object_type": "assets", "object_ids": renders[:1]})
    (row,) = stage.world.transfers.values()
    row["format_id"] = {"its own": row["format_id"], "another": new_id()}.get(str(format_id))
    click(stage)
    copied = Counter(each["asset_id"] for each in stage.world.transfers.values())
    assert [copied[id] for id in renders] == [1 + (format_id == "another"), 1]


LOCK = {"original_name": "lock", "size": 0, "checksum": "d41d8cd98f00b204e9800998ecf8427e"}
ICON = {"original_name": "Icon\r", "size": 0}
FOLDER = {"original_name": "day1", "type": "DIRECTORY", "size": None}


@pytest.mark.parametrize(
    ("files", "changes", "copies"),
    [
        ([CLIP | {"status": "GROWING"}], {}, 0),
        ([CLIP | {"status": "MISSING"}], {}, 0),
        ([CLIP | {"size": None}], {}, 0),
        ([CLIP, LOCK | {"checksum": None}], {}, 0),
        ([CLIP], {"status": "DELETED"}, 0),
        ([CLIP], {"file_count": 2}, 0),
        ([CLIP, LOCK, ICON, FOLDER], {}, 1),
    ],
)
def test_what_is_not_whole_is_not_copied(
    stage: Stage, files: list[Row], changes: Row, copies: int
) -> None:
    """What is still being written, or could never be verified, stays.

    An empty file may be one whose data LucidLink has not uploaded yet.
    """
    asset_id = stage.site.only_copy(*files)
    stage.world.file_sets_of(asset_id, stage.site.lucidlink)[0].update(changes)
    assert ("waits" in click(stage)) == copies
    assert requests(stage) == copies


def test_what_the_name_of_a_format_does_not_distinguish_is_not_copied(stage: Stage) -> None:
    """Iconik copies by the format's name. If that is the name of two, neither is copied."""
    two_formats = stage.world.add_asset("Two formats of a name", ["ORIGINAL", "ORIGINAL"])
    two_sets = stage.site.only_copy()
    in_bin = stage.site.only_copy()
    for asset_id in (two_formats, two_sets):
        stage.world.add_file_set(asset_id, stage.site.lucidlink, [{"original_name": "clip.wav"}])
    stage.world.formats_of(in_bin)[0]["status"] = "DELETED"
    assert click(stage).startswith("OK: 0 of 3 assets removed from LucidLink, 3 stayed.")
    assert requests(stage) == 0


@pytest.mark.parametrize("refused", ["transfers_from", "bulk"])
def test_a_copy_that_cannot_be_requested(stage: Stage, refused: str) -> None:
    """The assets that need it have failed, and wait for nothing. The others are removed."""
    stage.on_call = failing(f"{refused}/", fault="403")
    renders, _ = [stage.site.only_copy(), stage.site.only_copy()], stage.site.asset()
    assert click(stage).startswith("1 of 3 assets removed from LucidLink, 2 failed.")
    assert "Render: it failed; Render: it failed." in stage.job["message"]
    assert (stage.job["status"], stage.world.transfers) == ("FAILED", {})
    assert all(stage.world.file_sets_of(id, stage.site.lucidlink) for id in renders)


# Through the queue


def test_the_queue_removes_what_waited(queued: Stage) -> None:
    """When the copies are complete the assets are removed. The job says what waits, and stayed."""
    kept, _ = queued.site.asset([CLIP], [CLIP | {"status": "MISSING"}], title="Interview")
    renders = [queued.site.only_copy(), queued.site.only_copy()]
    unknown = queued.world.add_collection()
    del queued.world.collections[unknown]
    above = queued.world.add_collection(*renders, queued.site.asset()[0])
    answer = queued.click(asset_ids=[kept], collection_ids=[unknown, above]).text
    numbers = "1 of 4 assets removed from LucidLink, 1 stayed, 2 wait for their copies."
    lost = "iconik does not list 1 selected object, which may be deleted."
    assert answer == f"OK: {numbers} {lost} The removal continues in the background."
    job, (task,) = queued.job, queued.tasks
    assert (job["status"], job["message"]) == ("STARTED", answer.removeprefix("OK: "))
    assert (job["progress_processed"], job["progress_total"]) == (2, 4)
    assert MINUTE - 5 <= task.due - queued.now <= MINUTE
    assert sorted(json.loads(task.body)["asset_ids"]) == sorted(renders)

    queued.deliver(2)
    assert (queued.site.copies(), requests(queued)) == (3, 1)
    queued.world.finish_copies()
    queued.deliver()
    assert (queued.site.copies(), queued.site.masters(), requests(queued)) == (1, 4, 1)
    numbers = f"3 of 4 assets removed from LucidLink, 1 stayed. {lost}"
    assert job["message"] == f"{numbers} Interview: clip.mov on B2 is MISSING."
    assert (job["status"], job["progress_processed"]) == ("FINISHED_WITH_WARNING", 4)


def test_pauses_grow_to_an_hour_and_end_after_a_day(queued: Stage) -> None:
    """The last look is when 24 hours are over. Then the job says what waits, and what to do."""
    queued.site.only_copy(title="Final cut")
    click(queued)
    clicked, looks = queued.now, [queued.now]
    while queued.tasks:
        queued.deliver(1)
        looks.append(queued.now)
    pauses = [round((after - before) / MINUTE) for before, after in itertools.pairwise(looks)]
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert looks[-1] - clicked == pytest.approx(24 * HOUR, abs=MINUTE)
    assert (queued.job["status"], queued.site.copies()) == ("FINISHED_WITH_WARNING", 1)
    assert queued.job["message"] == (
        f"0 of 1 asset removed from LucidLink, 1 waits for its copy. Final cut: {COPYING}. "
        "Repeat the action when the copies are complete."
    )


def test_without_time_a_copy_is_left_for_the_next_round(queued: Stage) -> None:
    """It has not failed."""
    queued.site.only_copy()

    def delay(_: str, path: str) -> str:
        queued.now += 10.0 if "transfers" in path else 0.0
        return ""

    queued.on_call = delay
    assert click(queued).startswith("OK: 0 of 1 asset removed from LucidLink, 1 not done yet.")
    queued.on_call = nothing
    queued.deliver(1)
    assert requests(queued) == 1


def test_a_failed_copy_is_not_requested_again(queued: Stage) -> None:
    """Rounds without time for all do not pause before all are requested, and forget none."""
    queued.latency, queued.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = 1.0, "60"
    for _ in range(14):
        queued.site.only_copy()
    click(queued)
    while len(queued.world.transfers) < 14:
        assert queued.tasks[0].due <= queued.now
        queued.deliver(1)
    before = requests(queued)
    queued.deliver(1)
    assert (before > 1, queued.tasks[0].due > queued.now) == (True, True)
    queued.world.transfers.clear()  # No gateway made the copies.
    queued.deliver()
    assert (requests(queued), queued.site.copies()) == (before, 14)


@pytest.mark.parametrize(
    ("master", "changes", "waits"),
    [
        ([CLIP | {"size": 1}], {}, False),
        ([CLIP | {"status": "FAILED"}], {}, False),
        ([CLIP | {"status": "GROWING"}], {}, True),
        ([CLIP | {"status": "AWAITED"}], {}, True),
        ([CLIP | {"file_set_status": "DELETED"}], {}, False),
        ([CLIP | {"file_set_status": "DELETED", "status": "AWAITED"}], {}, True),
        ([CLIP], {"status": "DELETED"}, False),
        ([], {}, True),
    ],
)
def test_a_master_is_never_copied_over(
    queued: Stage, master: list[Row], changes: Row, waits: bool
) -> None:
    """What the masters' storage has of a format stays, and is waited for while it is unfinished."""
    queued.site.asset([CLIP], master, **changes)
    click(queued)
    assert (requests(queued), queued.site.copies(), len(queued.tasks)) == (0, 1, waits)


@pytest.mark.parametrize("fault", ["500", "500, but done"])
def test_an_uncertain_request_is_made_once(queued: Stage, fault: str) -> None:
    """If iconik is making the copy, it is waited for; otherwise it is requested later."""
    queued.site.only_copy()
    queued.on_call = failing("bulk/", fault=fault)
    click(queued)
    queued.on_call = failing("nothing")
    queued.deliver(1)
    assert len(queued.world.transfers) == 1
    queued.world.finish_copies()
    queued.deliver()
    assert (queued.site.copies(), queued.job["status"]) == (0, "FINISHED")


def test_a_round_in_a_payload_is_not_believed(queued: Stage) -> None:
    """Only the queue may name a job, and state what was requested or removed."""
    asset_id = queued.site.only_copy()
    click(queued)
    forged = json.loads(queued.tasks.pop().body)["round"]
    queued.world.transfers.clear()
    queued.click(asset_ids=[asset_id], round=forged)
    assert (requests(queued), len(queued.jobs)) == (2, 2)
