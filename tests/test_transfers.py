"""What is copied, what is deleted, and above all what is kept."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row
from storage_plugin import iconik as iconik_module
from storage_plugin import transfers
from storage_plugin.errors import AdministratorError, IconikError, OutOfTime
from storage_plugin.iconik.client import WORKERS, Iconik, side_by_side
from storage_plugin.iconik.pace import Deadline
from storage_plugin.storages import make_plan
from storage_plugin.progress import Progress
from storage_plugin.removal.report import Removal, Report
from storage_plugin.settings import Settings
from storage_plugin.webhook import Selection
from tests.conftest import Time, new_rest

SETTINGS = Settings("app-id", "LucidLink", master_storage_name="B2")


def add(iconik: Iconik, *assets: str, settings: Settings = SETTINGS) -> list[str]:
    """Add assets."""
    return transfers.add(iconik, Selection(assets=assets), make_plan(iconik, settings))


def remove(iconik: Iconik, *assets: str, settings: Settings = SETTINGS) -> list[Removal]:
    """Remove assets."""
    return list(remove_selection(iconik, Selection(assets=assets), settings).removals)


def remove_selection(
    iconik: Iconik,
    selection: Selection,
    settings: Settings = SETTINGS,
    progress: Progress | None = None,
    **options: Any,
) -> Report:
    """Remove what is selected."""
    plan, progress = make_plan(iconik, settings), progress or Progress(Deadline(60))
    return transfers.remove(iconik, selection, plan, progress=progress, **options)


# Add


def test_add_copies_every_kind_of_object(site: Site, iconik: Iconik) -> None:
    """Assets, collections with all that is below, and saved searches are copied, with jobs."""
    ids = [site.world.add_asset(title) for title in "abcd"]
    for asset_id, title in zip(ids, "abcd", strict=True):
        site.world.add_file_set(asset_id, site.b2, [{"original_name": title}])
    inner = site.world.add_collection(ids[1])
    selection = Selection(
        assets=(ids[0],),
        collections=(site.world.add_collection(inner),),
        saved_searches=(site.world.add_saved_search(ids[2]),),
    )
    jobs = transfers.add(iconik, selection, make_plan(iconik, SETTINGS))
    assert site.world.names_on(site.lucidlink) == ["a", "b", "c"]
    assert site.world.names_on(site.b2) == ["a", "b", "c", "d"]
    assert sorted(jobs) == sorted(site.world.bulk_jobs)


@pytest.mark.parametrize(("path", "folder"), [("/in", "/in"), ("", "/day1")])
def test_add_copies_the_formats_to_the_folder(
    site: Site, iconik: Iconik, path: str, folder: str
) -> None:
    """Only the chosen formats are copied; without a path they keep the folders of the source."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PPRO_PROXY", "OTHER"])
    for name in ("ORIGINAL", "PPRO_PROXY", "OTHER"):
        files = [{"original_name": name}]
        site.world.add_file_set(asset_id, site.b2, files, name, base_dir="/day1")
    settings = SETTINGS._replace(format_names=("ORIGINAL", "PPRO_PROXY"), storage_path=path)
    add(iconik, asset_id, settings=settings)
    assert site.world.names_on(site.lucidlink) == ["ORIGINAL", "PPRO_PROXY"]
    copies = site.world.file_sets_of(asset_id, site.lucidlink)
    assert {row["base_dir"] for row in copies} == {folder}


@pytest.mark.parametrize(
    ("master", "source"), [("B2", "B2"), ("Other", "Other"), (None, "iconik's choice")]
)
def test_add_prefers_the_master(
    site: Site, iconik: Iconik, master: str | None, source: str
) -> None:
    """Of the storages that have a file, the masters' is the one that it is copied from."""
    asset_id, first = site.world.add_asset("Clip"), site.world.add_storage("First")
    for storage_id, name in ((first, "iconik's choice"), (site.b2, "B2"), (site.other, "Other")):
        site.world.add_file_set(asset_id, storage_id, [{"original_name": name}])
    add(iconik, asset_id, settings=SETTINGS._replace(master_storage_name=master))
    assert site.world.names_on(site.lucidlink) == [source]


@pytest.mark.parametrize(("assets", "calls"), [(500, 1), (501, 2), (1001, 3)])
def test_add_sends_at_most_500_ids(site: Site, iconik: Iconik, assets: int, calls: int) -> None:
    """A large selection takes as many calls as iconik's limit demands."""
    add(iconik, *[site.master() for _ in range(assets)])
    assert (site.copies(), len(site.world.bulk_jobs)) == (assets, calls)


# Storages


def test_storage_is_found_by_its_exact_name_on_any_page(site: Site, iconik: Iconik) -> None:
    """Look-alikes and a long list of storages do not lead astray."""
    for number in range(120):
        site.world.add_storage(f"LucidLink {number}")
    for name in ("lucidlink", "LucidLin", "The LucidLink"):
        site.world.add_storage(name)
    last = site.world.add_storage("Filespace")
    assert make_plan(iconik, SETTINGS).storage.id == site.lucidlink
    assert make_plan(iconik, SETTINGS._replace(storage_name="Filespace")).storage.id == last


@pytest.mark.parametrize("act", [add, remove])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storage_name": "Lucid"}, "^STORAGE_NAME.* no storages named Lucid"),
        ({"storage_name": "Twin"}, "^STORAGE_NAME.* 2 storages named Twin"),
        ({"master_storage_name": "No"}, "^MASTER_STORAGE_NAME.* no storages named No"),
    ],
)
def test_doubtful_storage_names_stop_everything(
    site: Site, iconik: Iconik, act: Any, changes: Row, message: str
) -> None:
    """A name that belongs to no storage or to two is the administrator's to mend."""
    site.world.add_storage("Twin")
    site.world.add_storage("Twin")
    asset_id, _ = site.asset()
    with pytest.raises(AdministratorError, match=message):
        act(iconik, asset_id, settings=SETTINGS._replace(**changes))
    assert len(site.world.file_sets) == 2


@pytest.mark.parametrize(
    ("b2", "target", "master", "message"),
    [
        # Files leave gateways' storages alone, and none that is the masters' or in its place.
        ({}, "B2", None, "type B2"),
        ({}, "B2", "Other", "type B2"),
        ({}, "Other", "Other", "masters of Other"),
        ({}, "Bucket", "B2", "type S3"),
        ({}, "Mirror", "Other", "masters of Other"),
        # Masters that iconik does not reach do not count, and a copy on a disk is none.
        *(
            ({"status": status}, "LucidLink", master, f"B2 is {status}")
            for status in ("FAILING", "INACTIVE", None)
            for master in ("B2", None)
        ),
        ({"method": "FILE"}, "LucidLink", None, "none is of type B2"),
    ],
)
def test_storages_that_do_not_allow_a_removal(
    site: Site, iconik: Iconik, b2: Row, target: str, master: str | None, message: str
) -> None:
    """Nothing is removed, and the answer says why."""
    site.world.add_storage("Bucket", "S3")
    site.world.add_storage("Mirror", settings={"mount_point": "/mnt/Other"})
    site.world.storages[site.b2].update(b2)
    asset_id = site.world.add_asset("Clip")
    for storage_id in site.world.storages:
        site.world.add_file_set(asset_id, storage_id, [CLIP])
    settings = SETTINGS._replace(storage_name=target, master_storage_name=master)
    with pytest.raises(AdministratorError, match=f"Nothing is removed from .*{message}"):
        remove(iconik, asset_id, settings=settings)
    assert len(site.world.file_sets) == len(site.world.storages)


# Remove: the selection


def test_collections_are_walked_to_the_bottom(site: Site, iconik: Iconik) -> None:
    """All pages, all branches, loops and assets in several collections are coped with."""
    world = site.world
    world.quirks.rows_per_page = 10
    assets = [site.asset()[0] for _ in range(24)]
    leaves = [world.add_collection(*assets[20:23]), world.add_collection(assets[23])]
    branches = [world.add_collection(leaf) for leaf in leaves]
    root = world.add_collection(*assets[:21], *branches)
    world.put_into(leaves[0], branches[0])
    world.put_into(root, root)
    selection = Selection(assets=(assets[0],), collections=(root, leaves[0]))
    result = remove_selection(iconik, selection).removals
    assert sorted(removal.object_id for removal in result) == sorted(assets)
    assert site.copies() == 0


def test_saved_searches_are_run_to_the_end(site: Site, iconik: Iconik) -> None:
    """All pages of what a saved search finds are removed, and so are collections that it finds."""
    site.world.quirks.rows_per_page = 10
    found = [site.asset()[0] for _ in range(12)]
    collected, _ = site.asset()
    search_id = site.world.add_saved_search(*found, site.world.add_collection(collected))
    result = remove_selection(iconik, Selection(saved_searches=(search_id,))).removals
    assert [removal.object_id for removal in result] == [*found, collected]
    assert site.copies() == 0


def test_unknown_objects_are_told(site: Site, iconik: Iconik) -> None:
    """An unknown asset has nothing to remove; an unknown collection or search may be a mistake."""
    known, _ = site.asset()
    unknown = "00000000-0000-4000-8000-000000000000"
    selection = Selection((unknown, known), (unknown,), (unknown,))
    reasons = ["iconik does not know it"]
    assert remove_selection(iconik, selection).removals == [
        Removal(unknown, object_type="collections", kept=reasons),
        Removal(unknown, object_type="saved_searches", kept=reasons),
        Removal(unknown),
        Removal(known, removed=1),
    ]


@pytest.mark.parametrize("kind", ["collections", "saved_searches"])
def test_a_broken_walk_removes_nothing(site: Site, iconik: Iconik, kind: str) -> None:
    """What is to be removed is known to the end before the first file goes."""
    asset_id, _ = site.asset()
    world = site.world
    add = {"collections": world.add_collection, "saved_searches": world.add_saved_search}[kind]
    broken, fine = add(asset_id), add(asset_id)
    getattr(world, kind)[broken].append({"id": None, "object_type": "assets", "title": "x"})
    with pytest.raises(IconikError):
        remove_selection(iconik, Selection((asset_id,), **{kind: (broken, fine)}))
    assert site.copies() == 1


# Remove: several assets


def test_after_an_error_nothing_new_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has begun when something fails is finished; what has not is left."""
    is_shut, done = Event(), []

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            is_shut.set()
            super().shutdown()

    def work(item: int) -> None:
        if item == 0:
            raise IconikError("broken")
        is_shut.wait()
        done.append(item)

    monkeypatch.setattr(iconik_module, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(iconik_module, "WORKERS", 1)
    with pytest.raises(IconikError):
        side_by_side(work, [0, 1, 2, 3])
    assert done in ([], [1])


def test_one_failure_does_not_stop_the_others(site: Site, iconik: Iconik) -> None:
    """An asset that iconik answers nonsense for, or lets nobody touch, fails; others go."""
    nonsense, _ = site.asset([CLIP | {"format_id": None}])
    denied, _ = site.asset()
    site.world.denied.add(denied)
    fine, _ = site.asset()
    failed, refused, removed = remove(iconik, nonsense, denied, fine)
    assert "format_id" in str(failed.error)
    assert "can_read_files" in str(refused.error)
    assert removed == Removal(fine, removed=1)


def test_a_refused_token_stops_everything(site: Site, iconik_url: str) -> None:
    """What befalls one asset and would befall all is told, with what was done before."""
    token = site.world.token
    iconik = Iconik(new_rest(iconik_url, site.world, lambda **_: token))
    assets = [site.asset()[0] for _ in range(100)]

    def revoke(method: str, _: str) -> None:
        if method == "DELETE":
            site.world.token = "another"

    site.world.quirks.on_call = revoke
    report = remove_selection(iconik, Selection(assets=tuple(assets)))
    assert isinstance(report.error, AdministratorError)
    assert 0 < report.tally.removed == 100 - site.copies()
    assert report.tally.left > 50


def test_a_guard_keeps_an_asset_as_a_whole(site: Site, iconik: Iconik) -> None:
    """An asset that the guard names stays, for the guard's reason; another asset goes."""
    (guarded, copy), (other, _) = site.asset(), site.asset()
    guard = {guarded: "it was added again"}.get
    report = remove_selection(iconik, Selection((guarded, other)), guard=guard)
    assert report.removals == [
        Removal(guarded, kept=["it was added again"]),
        Removal(other, removed=1),
    ]
    assert copy in site.world.file_sets


@pytest.mark.parametrize("halt", ["Aborted", "Paused"])
def test_a_halted_removal_begins_nothing_and_says_so(
    site: Site, iconik: Iconik, time: Time, halt: str
) -> None:
    """The report names the halt, and the file is still there."""
    asset_id, _ = site.asset()
    progress = Progress(Deadline(60, time))
    progress.deadline.end()  # A removal that stays paused waits for its deadline.
    progress.halt_as(halt)
    report = remove_selection(iconik, Selection((asset_id,)), progress=progress)
    assert report.text() == f"{halt}: 1 of 1 asset not done yet."
    assert site.copies() == 1


def test_near_the_deadline_nothing_is_begun(site: Site, iconik: Iconik, time: Time) -> None:
    """What runs is finished, what is not begun is left, and the answer counts both."""
    assets = [site.asset()[0] for _ in range(100)]
    site.world.quirks.on_call = lambda method, _: time.sleep(5 if method == "DELETE" else 0)
    progress = Progress(Deadline(60, time))
    report = remove_selection(iconik, Selection(tuple(assets)), progress=progress)
    left = [removal for removal in report.removals if removal.end == "left"]
    assert {removal.reason for removal in left} == {"Not begun"}
    assert (progress.done, progress.total) == (100 - len(left), 100)
    assert site.copies() == len(left)
    assert 100 - 10 - WORKERS <= len(left) <= 100 - 10
    assert isinstance(report.error, OutOfTime)
    assert report.text().startswith(f"{100 - len(left)} of 100 assets removed from LucidLink, ")
