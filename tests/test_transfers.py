"""What is copied, what is deleted, and above all what is kept."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from sandbox.site import CLIP, Site
from storage_plugin import iconik as iconik_module
from storage_plugin import transfers
from storage_plugin.errors import AdministratorError, IconikError, OutOfTime
from storage_plugin.iconik import WORKERS, Iconik, side_by_side
from storage_plugin.pace import Deadline
from storage_plugin.plan import make_plan
from storage_plugin.progress import Progress
from storage_plugin.report import Removal, Report
from storage_plugin.settings import Settings
from storage_plugin.webhook import Selection
from tests.conftest import Time, new_rest

SETTINGS = Settings("app-id", "LucidLink", master_storage_name="B2")


def add(iconik: Iconik, *assets: str, settings: Settings = SETTINGS) -> list[str]:
    """Add assets."""
    plan = make_plan(iconik, settings)
    return transfers.add(iconik, Selection(assets=assets), plan)


def remove(iconik: Iconik, *assets: str, settings: Settings = SETTINGS) -> list[Removal]:
    """Remove assets."""
    return list(remove_selection(iconik, Selection(assets=assets), settings).removals)


def remove_selection(
    iconik: Iconik,
    selection: Selection,
    settings: Settings = SETTINGS,
    deadline: Deadline | None = None,
) -> Report:
    """Remove what is selected."""
    progress = Progress(deadline or Deadline(60))
    plan = make_plan(iconik, settings)
    return transfers.remove(iconik, selection, plan, progress=progress)


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


def test_add_copies_the_formats_to_the_folder(site: Site, iconik: Iconik) -> None:
    """Each configured format is copied, into the configured folder, and no other format."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PPRO_PROXY", "OTHER"])
    for name in ("ORIGINAL", "PPRO_PROXY", "OTHER"):
        site.world.add_file_set(asset_id, site.b2, [{"original_name": name}], name)
    settings = SETTINGS._replace(format_names=("ORIGINAL", "PPRO_PROXY"), storage_path="/in")
    add(iconik, asset_id, settings=settings)
    assert site.world.names_on(site.lucidlink) == ["ORIGINAL", "PPRO_PROXY"]
    copies = site.world.file_sets_of(asset_id, site.lucidlink)
    assert {row["base_dir"] for row in copies} == {"/in"}


def test_add_keeps_the_folders_of_the_source(site: Site, iconik: Iconik) -> None:
    """Without a path iconik is sent none, and keeps the folders."""
    asset_id = site.world.add_asset("Clip")
    site.world.add_file_set(asset_id, site.b2, [CLIP], base_dir="/day1")
    add(iconik, asset_id, settings=SETTINGS._replace(storage_path=""))
    (copy,) = site.world.file_sets_of(asset_id, site.lucidlink)
    assert copy["base_dir"] == "/day1"


@pytest.mark.parametrize("master", ["B2", "Other"])
def test_add_prefers_the_master(site: Site, iconik: Iconik, master: str) -> None:
    """Where a file stands on several storages, the masters' is the one that is copied."""
    asset_id = site.world.add_asset("Clip")
    site.world.add_file_set(asset_id, site.b2, [{"original_name": "B2"}])
    site.world.add_file_set(asset_id, site.other, [{"original_name": "Other"}])
    settings = SETTINGS._replace(master_storage_name=master)
    add(iconik, asset_id, settings=settings)
    assert site.world.names_on(site.lucidlink) == [master]


def test_add_needs_no_masters_storage(site: Site, iconik: Iconik) -> None:
    """Where none is configured iconik chooses what to copy from."""
    asset_id = site.world.add_asset("Clip")
    site.world.add_file_set(asset_id, site.other, [CLIP])
    add(iconik, asset_id, settings=SETTINGS._replace(master_storage_name=None))
    assert site.world.names_on(site.lucidlink) == ["clip.mov"]


@pytest.mark.parametrize(("assets", "calls"), [(500, 1), (501, 2), (1001, 3)])
def test_add_sends_at_most_500_ids(site: Site, iconik: Iconik, assets: int, calls: int) -> None:
    """A large selection takes as many calls as iconik's limit demands."""
    ids = tuple(site.world.add_asset(str(number)) for number in range(assets))
    for asset_id in ids:
        site.world.add_file_set(asset_id, site.b2, [CLIP])
    add(iconik, *ids)
    assert len(site.world.names_on(site.lucidlink)) == assets
    assert len(site.world.bulk_jobs) == calls


def test_add_twice_copies_once(site: Site, iconik: Iconik) -> None:
    """Repeating the action is harmless."""
    asset_id = site.world.add_asset("Clip")
    site.world.add_file_set(asset_id, site.b2, [CLIP])
    for _ in range(2):
        add(iconik, asset_id)
    assert site.world.names_on(site.lucidlink) == ["clip.mov"]


# Storages


def test_storage_is_found_by_its_exact_name_on_any_page(site: Site, iconik: Iconik) -> None:
    """Look-alikes and a long list of storages do not lead astray."""
    for number in range(120):
        site.world.add_storage(f"LucidLink {number}")
    for name in ("lucidlink", "LucidLin", "The LucidLink"):
        site.world.add_storage(name)
    last = site.world.add_storage("Filespace")
    assert make_plan(iconik, SETTINGS).storage.id == site.lucidlink
    settings = SETTINGS._replace(storage_name="Filespace")
    assert make_plan(iconik, settings).storage.id == last


@pytest.mark.parametrize("action", ["add", "remove"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SETTINGS._replace(storage_name="Lucid"), "^STORAGE_NAME.* no storages named Lucid"),
        (SETTINGS._replace(storage_name="Twin"), "^STORAGE_NAME.* 2 storages named Twin"),
        (
            SETTINGS._replace(master_storage_name="No"),
            "^MASTER_STORAGE_NAME.* no storages named No",
        ),
    ],
)
def test_doubtful_storage_names_stop_everything(
    site: Site, iconik: Iconik, action: str, settings: Settings, message: str
) -> None:
    """A name that belongs to no storage or to two is the administrator's to mend."""
    site.world.add_storage("Twin")
    site.world.add_storage("Twin")
    asset_id, _ = site.asset()
    act = {"add": add, "remove": remove}[action]
    with pytest.raises(AdministratorError, match=message):
        act(iconik, asset_id, settings=settings)
    assert len(site.world.file_sets) == 2


@pytest.mark.parametrize(
    ("target", "master", "message"),
    [
        ("B2", None, "type B2"),
        ("B2", "Other", "type B2"),
        ("Other", "Other", "masters of Other"),
        ("Bucket", "B2", "type S3"),
        ("Mirror", "Other", "masters of Other"),
    ],
)
def test_masters_are_never_removed(
    site: Site, iconik: Iconik, target: str, master: str | None, message: str
) -> None:
    """Files leave gateways' storages alone, and none that is the masters' or in its place."""
    site.world.add_storage("Bucket", "S3")
    site.world.add_storage("Mirror", settings={"mount_point": "/mnt/Other"})
    asset_id, _ = site.asset()
    for storage_id in list(site.world.storages)[2:]:
        site.world.add_file_set(asset_id, storage_id, [CLIP])
    before = len(site.world.file_sets)
    settings = SETTINGS._replace(storage_name=target, master_storage_name=master)
    with pytest.raises(AdministratorError, match=f"Nothing is removed from .*{message}"):
        remove(iconik, asset_id, settings=settings)
    assert len(site.world.file_sets) == before


@pytest.mark.parametrize("status", ["FAILING", "INACTIVE", None])
@pytest.mark.parametrize("name", ["B2", None])
def test_masters_on_a_storage_that_is_not_active_do_not_count(
    site: Site, iconik: Iconik, name: str | None, status: str | None
) -> None:
    """While iconik does not reach the masters nothing is removed, and the administrator is told."""
    asset_id, _ = site.asset()
    site.world.storages[site.b2]["status"] = status
    settings = SETTINGS._replace(master_storage_name=name)
    with pytest.raises(AdministratorError, match=f"B2 is {status}"):
        remove(iconik, asset_id, settings=settings)
    assert site.copies() == 1


def test_without_a_b2_storage_nothing_is_removed(site: Site, iconik: Iconik) -> None:
    """A copy on a disk, or on a storage that iconik lists no more, is no master."""
    asset_id, _ = site.asset()
    site.world.add_file_set(asset_id, site.other, [CLIP])
    del site.world.storages[site.b2]
    settings = SETTINGS._replace(master_storage_name=None)
    with pytest.raises(AdministratorError, match="none is of type B2"):
        remove(iconik, asset_id, settings=settings)
    assert site.copies() == 1


# Remove: the selection


@pytest.mark.parametrize("links_pages", [True, False])
def test_collections_are_walked_to_the_bottom(
    site: Site, iconik: Iconik, links_pages: bool
) -> None:
    """All pages, sub-collections, loops and assets in several collections are coped with."""
    site.world.quirks.links_pages, site.world.quirks.rows_per_page = links_pages, 10
    assets = [site.asset()[0] for _ in range(23)]
    inner = site.world.add_collection(*assets[20:])
    outer = site.world.add_collection(*assets[:21], inner)
    site.world.put_into(inner, outer)
    site.world.put_into(outer, outer)
    selection = Selection(assets=(assets[0],), collections=(outer, inner))
    result = remove_selection(iconik, selection).removals
    assert sorted(removal.object_id for removal in result) == sorted(assets)
    assert site.world.names_on(site.lucidlink) == []


def test_collections_below_collections_are_walked(site: Site, iconik: Iconik) -> None:
    """Each branch of a tree is followed to its end, though one leads back into itself."""
    leaves = [site.world.add_collection(site.asset()[0]) for _ in range(2)]
    branches = [site.world.add_collection(leaf) for leaf in leaves]
    site.world.put_into(leaves[0], branches[0])
    selection = Selection(collections=(site.world.add_collection(*branches),))
    result = remove_selection(iconik, selection).removals
    assert [removal.removed for removal in result] == [1, 1]
    assert site.world.names_on(site.lucidlink) == []


def test_saved_searches_are_run_to_the_end(site: Site, iconik: Iconik) -> None:
    """All pages of what a saved search finds are removed, and so are collections that it finds."""
    found = [site.asset()[0] for _ in range(120)]
    collected, _ = site.asset()
    search_id = site.world.add_saved_search(*found, site.world.add_collection(collected))
    selection = Selection(saved_searches=(search_id,))
    result = remove_selection(iconik, selection).removals
    assert [removal.object_id for removal in result] == [*found, collected]
    assert site.world.names_on(site.lucidlink) == []


def test_unknown_objects_are_told(site: Site, iconik: Iconik) -> None:
    """An unknown asset has nothing to remove; an unknown collection or search may be a mistake."""
    known, _ = site.asset()
    unknown = "00000000-0000-4000-8000-000000000000"
    selection = Selection(
        assets=(unknown, known), collections=(unknown,), saved_searches=(unknown,)
    )
    result = remove_selection(iconik, selection).removals
    assert [removal.reason for removal in result[:2]] == ["iconik does not know it"] * 2
    assert [removal.object_type for removal in result[:2]] == ["collections", "saved_searches"]
    assert [removal.object_id for removal in result] == [unknown, unknown, unknown, known]
    assert site.world.names_on(site.lucidlink) == []


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
    """An asset that iconik answers nonsense for is told; the others are removed."""
    broken, _ = site.asset([CLIP | {"format_id": None}])
    fine, _ = site.asset()
    result = remove(iconik, broken, fine)
    assert "format_id" in str(result[0].error)
    assert result[1].removed == 1


def test_access_to_one_asset_does_not_stop_the_others(site: Site, iconik: Iconik) -> None:
    """An asset that may not be touched is told with the role; the others are removed."""
    denied, _ = site.asset()
    fine, _ = site.asset()
    site.world.denied.add(denied)
    result = remove(iconik, denied, fine)
    assert "can_read_files" in str(result[0].error)
    assert result[1].removed == 1


def test_a_refused_token_stops_everything(site: Site, iconik_url: str) -> None:
    """What befalls one asset and would befall all is told, with what was done before."""
    token = site.world.token
    iconik = Iconik(new_rest(iconik_url, site.world, lambda **_: token))
    assets = [site.asset()[0] for _ in range(100)]
    purge = site.world.purge

    def purge_and_revoke(file_set_id: str) -> None:
        purge(file_set_id)
        site.world.token = "another"

    site.world.purge = purge_and_revoke  # type: ignore[method-assign]
    report = remove_selection(iconik, Selection(assets=tuple(assets)))
    result = report.removals
    errors = [removal.error for removal in result]
    assert any(isinstance(error, AdministratorError) for error in errors)
    assert sum(removal.removed for removal in result) == 100 - len(
        site.world.names_on(site.lucidlink)
    )
    assert sum(removal.end == "left" for removal in result) > 50
    assert isinstance(report.error, AdministratorError)


@pytest.mark.parametrize("kind", ["collections", "saved_searches"])
def test_a_broken_walk_removes_nothing(site: Site, iconik: Iconik, kind: str) -> None:
    """What is to be removed is known to the end before the first file goes."""
    asset_id, _ = site.asset()
    add_container = {
        "collections": site.world.add_collection,
        "saved_searches": site.world.add_saved_search,
    }
    broken, fine = (add_container[kind](asset_id) for _ in range(2))
    getattr(site.world, kind)[broken].append({"id": None, "object_type": "assets", "title": "x"})
    selection = Selection(assets=(asset_id,), **{kind: (broken, fine)})
    with pytest.raises(IconikError):
        remove_selection(iconik, selection)
    assert site.world.names_on(site.lucidlink) == ["clip.mov"]


def test_a_guard_keeps_an_asset_as_a_whole(site: Site, iconik: Iconik) -> None:
    """An asset that the guard names stays, for the guard's reason; another asset goes."""
    (guarded, copy), (other, _) = site.asset(), site.asset()
    report = transfers.remove(
        iconik,
        Selection(assets=(guarded, other)),
        make_plan(iconik, SETTINGS),
        progress=Progress(Deadline(60)),
        guard={guarded: "it was added again"}.get,
    )
    assert [removal.kept for removal in report.removals] == [["it was added again"], []]
    assert [row["id"] for row in site.world.file_sets_of(guarded, site.lucidlink)] == [copy]
    assert site.copies() == 1


@pytest.mark.parametrize("halt", ["Aborted", "Paused"])
def test_a_halted_removal_begins_nothing_and_says_so(
    site: Site, iconik: Iconik, time: Time, halt: str
) -> None:
    """The report names the halt, and the file is still there."""
    asset_id, _ = site.asset()
    deadline = Deadline(60, time)
    deadline.end()  # A removal that stays paused waits for its deadline.
    progress = Progress(deadline)
    progress.halt_as(halt)
    selection = Selection(assets=(asset_id,))
    report = transfers.remove(iconik, selection, make_plan(iconik, SETTINGS), progress=progress)
    assert report.text() == f"{halt}: 1 of 1 asset not done yet."
    assert site.copies() == 1


def test_near_the_deadline_nothing_is_begun(site: Site, iconik: Iconik, time: Time) -> None:
    """What runs is finished, what is not begun is left, and the answer counts both."""
    assets = [site.asset()[0] for _ in range(100)]
    purge = site.world.purge

    def purge_and_wait(file_set_id: str) -> None:
        purge(file_set_id)
        time.sleep(5)

    site.world.purge = purge_and_wait  # type: ignore[method-assign]
    deadline = Deadline(60, time)
    selection = Selection(assets=tuple(assets))
    progress, plan = Progress(deadline), make_plan(iconik, SETTINGS)
    report = transfers.remove(iconik, selection, plan, progress=progress)
    left = [removal for removal in report.removals if removal.end == "left"]
    assert {removal.reason for removal in left} == {"Not begun"}
    assert sum(removal.removed for removal in report.removals) == 100 - len(left)
    assert (progress.done, progress.total) == (100 - len(left), 100)
    assert len(site.world.names_on(site.lucidlink)) == len(left)
    assert 100 - 10 - WORKERS <= len(left) <= 100 - 10
    assert isinstance(report.error, OutOfTime)
    assert report.text().startswith(f"{100 - len(left)} of 100 assets removed from LucidLink, ")
