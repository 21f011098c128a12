"""What stands only on LucidLink is copied to the masters first, and removed only then."""

from collections.abc import Callable
from functools import partial

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row, World
from storage_plugin import transfers
from storage_plugin.background.archive import Archive
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.background.task import FIRST, Pins, Task, Wait
from storage_plugin.errors import AccessDenied, IconikError, OutOfTime
from storage_plugin.pace import Deadline
from storage_plugin.plan import make_plan
from storage_plugin.progress import Progress
from storage_plugin.report import NO_ASSETS, Removal, Tally
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.webhook import Action, Selection
from tests.conftest import Time
from tests.test_transfers import SETTINGS

ON = SETTINGS._replace(archive_before_remove=True)
NO_MASTER = "ORIGINAL: it has no master"
FIVE = Tally(removed=5)
CLICK = Action("remove", Selection(), {}, None)


@pytest.fixture
def site(world: World) -> Site:
    """Return a world with storages, on which copies take time."""
    world.quirks.copies_take_time = True
    return Site(world)


@pytest.fixture
def iconik(rest: Rest) -> BackgroundIconik:
    """Return a client of the world that can archive."""
    return BackgroundIconik(rest)


def archive_selection(
    iconik: BackgroundIconik,
    selection: Selection,
    settings: Settings = ON,
    *,
    wait: Wait = FIRST,
    progress: Progress | None = None,
) -> tuple[list[Removal], Wait]:
    """Remove what is selected, and archive; return the results, and what to remember."""
    plan, progress = make_plan(iconik, settings), progress or Progress(Deadline(60))
    archive = Archive(iconik, plan, Task(CLICK, wait=wait))
    report = transfers.remove(iconik, selection, plan, progress=progress, archive=archive.explain)
    archive.request(report.removals, lambda: not progress.halt)
    return list(report.removals), archive.next_wait(NO_ASSETS)[0]


def remove(iconik: BackgroundIconik, *assets: str) -> list[Removal]:
    """Remove assets, and archive."""
    return archive_selection(iconik, Selection(assets))[0]


def before_call(site: Site, ending: str, number: int, do: Callable[[], object]) -> None:
    """Do something before iconik serves the request, by its number, for paths that end so."""
    calls: list[str] = []

    def on_call(_: str, path: str) -> None:
        calls.extend([path] if path.endswith(ending) else [])
        if path.endswith(ending) and len(calls) == number:
            do()

    site.quirk(on_call=on_call)


def test_a_render_is_copied_and_then_removed(site: Site, iconik: BackgroundIconik) -> None:
    """The first removal asks for the copy, a second one for nothing, and the last one removes."""
    asset_id = site.only_copy()
    waiting = "ORIGINAL: it is being copied to B2 first; the same action removes it afterwards"
    for _ in range(2):
        assert remove(iconik, asset_id) == [Removal(asset_id, waiting=[waiting])]
    assert (site.copies(), len(site.world.bulk_jobs)) == (1, 1)
    site.world.finish_copies()
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert (site.copies(), site.masters()) == (0, 1)


@pytest.mark.parametrize("unsaid", [{}, {"file_set_status": None}])
@pytest.mark.parametrize(
    ("file", "waits"),
    [({"status": "AWAITED"}, True), ({"status": "FAILED"}, False), ({"size": 1}, False)],
)
def test_what_became_of_a_copy(
    site: Site, iconik: BackgroundIconik, unsaid: Row, file: Row, waits: bool
) -> None:
    """A copy that was asked for is waited for while it is unfinished, and no longer."""
    asset_id, _ = site.asset([CLIP], [CLIP | file])
    site.quirk(unsaid=unsaid)
    (format_id,) = site.world.formats
    wait = Wait(1, {format_id: asset_id})
    (removal,), _ = archive_selection(iconik, Selection((asset_id,)), wait=wait)
    assert (bool(removal.waiting), bool(removal.kept)) == (waits, not waits)


def test_the_jobs_that_copy_are_remembered(site: Site, iconik: BackgroundIconik) -> None:
    """Who waits for copies must be able to ask what became of them."""
    asset_id = site.only_copy()
    _, wait = archive_selection(iconik, Selection((asset_id,)))
    assert wait == Wait(1, dict.fromkeys(site.world.formats, asset_id), tuple(site.world.bulk_jobs))


def test_a_format_in_the_recycle_bin_is_not_copied(site: Site, iconik: BackgroundIconik) -> None:
    """Its masters may not last."""
    asset_id = site.only_copy()
    site.world.formats_of(asset_id)[0]["status"] = "DELETED"
    assert remove(iconik, asset_id)[0].kept == ["ORIGINAL: the format is DELETED"]
    assert site.world.bulk_jobs == []


@pytest.mark.parametrize(
    "file", [{"status": "GROWING"}, {"status": "MISSING"}, {"size": None}, {"size": 0}]
)
def test_what_is_not_whole_is_not_copied(site: Site, iconik: BackgroundIconik, file: Row) -> None:
    """A file that is still being written, or whose copy could never be verified, just stays."""
    assert remove(iconik, site.only_copy(CLIP | file))[0].kept == [NO_MASTER]
    assert site.world.bulk_jobs == []


@pytest.mark.parametrize(
    ("master", "changes", "reason"),
    [
        ([CLIP | {"size": 1}], {}, "clip.mov differs from its master in size: 1,000 and 1 bytes"),
        ([CLIP | {"status": "GROWING"}], {}, "its master clip.mov is GROWING"),
        ([CLIP], {"status": "DELETED"}, "iconik's record of its master is DELETED"),
        ([], {}, "iconik lists no files for its master"),
    ],
)
def test_a_bad_master_is_never_copied_over(
    site: Site, iconik: BackgroundIconik, master: list[Row], changes: Row, reason: str
) -> None:
    """Whatever the masters' storage has of the format stays as it is, and is told."""
    asset_id, _ = site.asset([CLIP], master, **changes)
    assert remove(iconik, asset_id)[0].kept == [f"ORIGINAL: {reason}"]
    assert site.world.bulk_jobs == []


def test_what_a_format_s_name_does_not_tell_is_not_copied(
    site: Site, iconik: BackgroundIconik
) -> None:
    """Iconik copies by the format's name, so where that means two, neither is copied."""
    two_formats = site.world.add_asset("Two formats of a name", ["ORIGINAL", "ORIGINAL"])
    two_sets = site.only_copy()
    for asset_id in (two_formats, two_sets):
        site.world.add_file_set(asset_id, site.lucidlink, [{"original_name": "clip.wav"}])
    first, second = remove(iconik, two_formats, two_sets)
    assert (first.kept, second.kept) == ([NO_MASTER], [NO_MASTER] * 2)
    assert site.world.bulk_jobs == []


def test_a_copy_that_somebody_else_asks_for_meanwhile(
    site: Site, iconik: BackgroundIconik, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way when the copies are to be asked for is left out."""
    monkeypatch.setattr("storage_plugin.iconik.MAX_IDS", 1)
    monkeypatch.setattr("storage_plugin.iconik.WORKERS", 1)
    renders = [site.only_copy(), site.only_copy()]
    request = {"object_type": "assets", "object_ids": renders[:1]}
    before_call(site, f"{site.b2}/file_sets/", 1, partial(site.world.copy, site.b2, request))
    assert all(removal.waiting for removal in remove(iconik, *renders))
    copied = [row["asset_id"] for row in site.world.transfers.values()]
    assert sorted(copied) == sorted(renders)


def test_a_master_that_appears_meanwhile_is_not_copied_over(
    site: Site, iconik: BackgroundIconik
) -> None:
    """What the masters' storage has is looked at again when the copies are asked for."""
    asset_id, incomplete = site.only_copy(), [CLIP | {"size": 1}]
    add_master = partial(site.world.add_file_set, asset_id, site.b2, incomplete)
    before_call(site, f"{site.b2}/file_sets/", 2, add_master)
    remove(iconik, asset_id)
    assert (site.masters(), site.world.bulk_jobs) == (1, [])


def test_a_list_of_transfers_may_change_while_it_is_read(
    site: Site, iconik: BackgroundIconik
) -> None:
    """Copies that end between two pages are no contradiction."""
    site.quirk(rows_per_page=1)
    remove(iconik, *(site.only_copy() for _ in range(3)))
    before_call(site, "/transfers_from/", 2, site.world.transfers.popitem)
    assert len(iconik.transfers(site.lucidlink, site.b2)) == 2


def test_many_renders_are_copied_from_lucidlink(
    site: Site, iconik: BackgroundIconik, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call takes so many ids, and what another storage has of them is not taken for it."""
    monkeypatch.setattr("storage_plugin.iconik.MAX_IDS", 2)
    site.quirk(copies_take_time=False)
    renders = [site.world.add_asset("Render") for _ in range(3)]
    for asset_id in renders:
        site.world.add_file_set(asset_id, site.other, [CLIP | {"size": 1}])
        site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    remove(iconik, *renders)
    assert len(site.world.bulk_jobs) == 2
    remove(iconik, *renders)
    assert (site.copies(), site.masters(), len(site.world.names_on(site.other))) == (0, 3, 3)


def test_without_the_role_nothing_is_copied(site: Site, iconik: BackgroundIconik) -> None:
    """Where it cannot be seen what is under way nothing is asked for; the rest is removed."""
    site.world.roles.remove("can_read_transfers")
    fine, _ = site.asset([CLIP])
    *failed, removed = remove(iconik, site.only_copy(), site.only_copy(), fine)
    for removal in failed:
        assert isinstance(removal.error, AccessDenied)
        assert "can_read_transfers" in str(removal.error)
    assert (removed.removed, site.world.bulk_jobs) == (1, [])


def test_a_copy_that_iconik_refuses_is_told(
    site: Site, iconik: BackgroundIconik, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An asset whose copy could not be asked for has failed, and waits for nothing."""
    monkeypatch.delattr(World, "copy")
    (removal,) = remove(iconik, site.only_copy())
    assert isinstance(removal.error, IconikError)
    assert not removal.reasons


def test_an_aborted_removal_asks_for_no_copy(site: Site, iconik: BackgroundIconik) -> None:
    """What was found before the abort is left."""
    progress, selection = Progress(Deadline(60)), Selection((site.only_copy(),))
    before_call(site, f"{site.b2}/file_sets/", 1, partial(progress.halt_as, "Aborted"))
    (removal,), _ = archive_selection(iconik, selection, progress=progress)
    assert isinstance(removal.error, OutOfTime)
    assert (removal.waiting, site.world.bulk_jobs) == ([], [])


def test_pauses_grow_up_to_an_hour_and_end_after_a_day(
    site: Site, iconik: BackgroundIconik, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute, two, four, ...; the last look is when 24 hours are over."""
    clock, pauses, wait = Time(), [1], FIRST
    began = clock.now
    monkeypatch.setattr("storage_plugin.background.archive.time.time", clock)
    plan = make_plan(iconik, ON)
    pins = Pins.of(ON, plan)._replace(clicked=began)
    while pauses[-1] > 0:
        wait, pause = Archive(iconik, plan, Task(CLICK, pins, wait=wait)).next_wait(FIVE)
        pauses.append(pause)
        clock.sleep(pause)
    assert pauses[1:9] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert clock.now == began + 24 * 3600
    assert wait == Wait(len(pauses) - 1, before=FIVE)
