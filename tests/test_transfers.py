"""What is copied, what is deleted, and above all what is kept."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest

from sandbox.world import Row, World
from storage_plugin import threads, transfers
from storage_plugin.errors import AdministratorError, IconikError, OutOfTime
from storage_plugin.iconik import Iconik
from storage_plugin.pace import Deadline
from storage_plugin.report import Removal, Report
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.transfers import Progress
from storage_plugin.webhook import Selection
from tests.conftest import Time, new_rest

SETTINGS = Settings("app-id", "LucidLink", master_storage_name="B2")
CLIP = {"original_name": "clip.mov"}


class Site:
    """A world with masters on B2 and copies on LucidLink."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.b2 = world.add_storage("B2", "B2")
        self.lucidlink = world.add_storage("LucidLink")
        self.other = world.add_storage("Other")

    def asset(
        self, doomed: list[Row], master: list[Row] | None = None, **changes: object
    ) -> tuple[str, str]:
        """Add an asset on both storages; return its id and that of its file set on LucidLink.

        Args:
            doomed: its files on LucidLink.
            master: its files on B2; the same by default.
            changes: what is not as usual with the file set on B2.
        """
        asset_id = self.world.add_asset("Clip")
        self.world.add_file_set(asset_id, self.b2, doomed if master is None else master, **changes)
        return asset_id, self.world.add_file_set(asset_id, self.lucidlink, doomed)


@pytest.fixture
def site(world: World) -> Site:
    """Return a world with storages."""
    return Site(world)


def add(iconik: Iconik, *assets: str, settings: Settings = SETTINGS) -> list[str]:
    """Add assets."""
    plan = transfers.make_plan(iconik, settings)
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
    plan = transfers.make_plan(iconik, settings)
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
    jobs = transfers.add(iconik, selection, transfers.make_plan(iconik, SETTINGS))
    assert site.world.names_on(site.lucidlink) == ["a", "b", "c"]
    assert site.world.names_on(site.b2) == ["a", "b", "c", "d"]
    assert sorted(jobs) == sorted(site.world.bulk_jobs)


def test_add_copies_the_formats_to_the_folder(site: Site, iconik: Iconik) -> None:
    """Each configured format is copied, into the configured folder, and no other format."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "PPRO_PROXY", "OTHER"])
    for name in ("ORIGINAL", "PPRO_PROXY", "OTHER"):
        site.world.add_file_set(asset_id, site.b2, [{"original_name": name}], name)
    settings = replace(SETTINGS, format_names=("ORIGINAL", "PPRO_PROXY"), storage_path="/in")
    add(iconik, asset_id, settings=settings)
    assert site.world.names_on(site.lucidlink) == ["ORIGINAL", "PPRO_PROXY"]
    copies = site.world.file_sets_of(asset_id, site.lucidlink)
    assert {row["base_dir"] for row in copies} == {"/in"}


@pytest.mark.parametrize("master", ["B2", "Other"])
def test_add_prefers_the_master(site: Site, iconik: Iconik, master: str) -> None:
    """Where a file stands on several storages, the masters' is the one that is copied."""
    asset_id = site.world.add_asset("Clip")
    site.world.add_file_set(asset_id, site.b2, [{"original_name": "B2"}])
    site.world.add_file_set(asset_id, site.other, [{"original_name": "Other"}])
    settings = replace(SETTINGS, master_storage_name=master)
    add(iconik, asset_id, settings=settings)
    assert site.world.names_on(site.lucidlink) == [master]


def test_add_needs_no_masters_storage(site: Site, iconik: Iconik) -> None:
    """Where none is configured iconik chooses what to copy from."""
    asset_id = site.world.add_asset("Clip")
    site.world.add_file_set(asset_id, site.other, [CLIP])
    add(iconik, asset_id, settings=replace(SETTINGS, master_storage_name=None))
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
    assert transfers.make_plan(iconik, SETTINGS).storage.id == site.lucidlink
    settings = replace(SETTINGS, storage_name="Filespace")
    assert transfers.make_plan(iconik, settings).storage.id == last


@pytest.mark.parametrize("action", ["add", "remove"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(SETTINGS, storage_name="Lucid"), "^STORAGE_NAME.* no storages named Lucid"),
        (replace(SETTINGS, storage_name="Twin"), "^STORAGE_NAME.* 2 storages named Twin"),
        (
            replace(SETTINGS, master_storage_name="No"),
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
    asset_id, _ = site.asset([CLIP])
    act = {"add": add, "remove": remove}[action]
    with pytest.raises(AdministratorError, match=message):
        act(iconik, asset_id, settings=settings)
    assert len(site.world.file_sets) == 2


@pytest.mark.parametrize(("target", "master"), [("B2", None), ("B2", "Other"), ("Other", "Other")])
def test_masters_are_never_removed(
    site: Site, iconik: Iconik, target: str, master: str | None
) -> None:
    """A wrong storage name does not turn the rule round: B2 and the masters' storage are taboo."""
    asset_id, _ = site.asset([CLIP])
    site.world.add_file_set(asset_id, site.other, [CLIP])
    settings = replace(SETTINGS, storage_name=target, master_storage_name=master)
    with pytest.raises(AdministratorError, match="Nothing is ever removed"):
        remove(iconik, asset_id, settings=settings)
    assert len(site.world.file_sets) == 3


# Remove: what goes


def test_remove_deletes_the_copy_alone(site: Site, iconik: Iconik, rest: Rest) -> None:
    """With a complete master the copy goes, in three calls and one for the storages."""
    asset_id, _ = site.asset([CLIP])
    site.world.add_file_set(asset_id, site.other, [CLIP])
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert site.world.names_on(site.lucidlink) == []
    assert site.world.names_on(site.b2) == site.world.names_on(site.other) == ["clip.mov"]
    assert rest.calls == 1 + 3


def test_remove_purges_where_iconik_only_marks(site: Site, iconik: Iconik) -> None:
    """A system that does not know `immediately` is asked to purge."""
    site.world.knows_immediately = False
    asset_id, doomed = site.asset([CLIP])
    remove(iconik, asset_id)
    assert doomed not in site.world.file_sets


def test_remove_twice_removes_once(site: Site, iconik: Iconik, rest: Rest) -> None:
    """Repeating the action is harmless, and costs a call for what is done already."""
    asset_id, _ = site.asset([CLIP])
    remove(iconik, asset_id)
    before = rest.calls
    assert remove(iconik, asset_id) == [Removal(asset_id)]
    assert rest.calls - before == 1 + 1
    assert site.world.names_on(site.b2) == ["clip.mov"]


@pytest.mark.parametrize("links_pages", [True, False])
def test_remove_compares_files_of_all_pages(site: Site, iconik: Iconik, links_pages: bool) -> None:
    """An image sequence of many pages goes, and stays if one frame on the last page differs."""
    site.world.links_pages = links_pages
    frames: list[Row] = [{"original_name": f"{number:04}.dpx"} for number in range(250)]
    complete, _ = site.asset(frames)
    broken, _ = site.asset(frames, [*frames[:-1], frames[-1] | {"size": 999}])
    result = remove(iconik, complete, broken)
    assert [removal.removed for removal in result] == [1, 0]
    assert len(site.world.names_on(site.lucidlink)) == 250


def test_remove_takes_the_chosen_formats(site: Site, iconik: Iconik) -> None:
    """Formats that are not configured stay where they are."""
    asset_id = site.world.add_asset("Clip", ["OTHER", "ORIGINAL", "PPRO_PROXY"])
    for name in ("OTHER", "ORIGINAL", "PPRO_PROXY"):
        for storage_id in (site.b2, site.lucidlink):
            site.world.add_file_set(asset_id, storage_id, [{"original_name": name}], name)
    remove(iconik, asset_id, settings=replace(SETTINGS, format_names=("ORIGINAL", "PPRO_PROXY")))
    assert site.world.names_on(site.lucidlink) == ["OTHER"]


def test_remove_takes_every_file_set_of_the_format(site: Site, iconik: Iconik) -> None:
    """An asset that was copied twice is removed twice."""
    asset_id, _ = site.asset([CLIP])
    site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    assert remove(iconik, asset_id)[0].removed == 2
    assert site.world.names_on(site.lucidlink) == []


@pytest.mark.parametrize("status", ["OPEN", "GROWING", "AWAITED"])
def test_unfinished_copies_go_by_their_names(site: Site, iconik: Iconik, status: str) -> None:
    """A copy that is still being written holds nothing that its master lacks."""
    half = CLIP | {"status": status, "size": 1, "checksum": "a"}
    asset_id, _ = site.asset([half], [CLIP | {"checksum": "b"}])
    assert remove(iconik, asset_id)[0].removed == 1


@pytest.mark.parametrize(
    ("doomed", "master"),
    [
        ({"checksum": "a"}, {"checksum": "a"}),
        ({"checksum": "a"}, {"checksum": None}),
        ({"checksum": None}, {"checksum": "a"}),
        ({"type": "DIRECTORY", "size": None}, {"type": "DIRECTORY", "size": None}),
        ({"name": "clip_1.mov"}, {"name": "2f6d-clip.mov", "directory_path": "masters"}),
        ({"size": 0}, {"size": 0}),
    ],
)
def test_what_counts_as_equal(site: Site, iconik: Iconik, doomed: Row, master: Row) -> None:
    """Name, type and size decide, and checksums where both have one; stored names do not."""
    extra = {"original_name": "another file"}
    asset_id, _ = site.asset([extra, CLIP | doomed], [extra, CLIP | master])
    assert remove(iconik, asset_id)[0].removed == 1


def test_files_with_checksums_choose_first(site: Site, iconik: Iconik) -> None:
    """Files of one name are matched so that all find a master, if that is possible."""
    doomed = [CLIP | {"checksum": checksum} for checksum in (None, "a", "b")]
    master = [CLIP | {"checksum": checksum} for checksum in (None, "b", "c")]
    asset_id, _ = site.asset(doomed, master)
    assert remove(iconik, asset_id)[0].removed == 1


def test_files_choose_their_own_checksum(site: Site, iconik: Iconik) -> None:
    """A file leaves a master without a checksum to those that have no better one."""
    doomed = [CLIP | {"checksum": checksum} for checksum in ("a", "b")]
    asset_id, _ = site.asset(doomed, [CLIP, CLIP | {"checksum": "a"}])
    assert remove(iconik, asset_id)[0].removed == 1


def test_unfinished_files_choose_last(site: Site, iconik: Iconik) -> None:
    """A file that takes any master of its name leaves the fitting one to the others."""
    doomed = [CLIP | {"status": "OPEN"}, CLIP]
    asset_id, _ = site.asset(doomed, [CLIP, CLIP | {"size": 5}])
    assert remove(iconik, asset_id)[0].removed == 1


def test_one_complete_copy_is_enough(site: Site, iconik: Iconik) -> None:
    """With any storage counting, an incomplete copy on another one does not matter."""
    asset_id, _ = site.asset([CLIP], [CLIP | {"status": "OPEN"}])
    site.world.add_file_set(asset_id, site.other, [CLIP])
    settings = replace(SETTINGS, master_storage_name=None)
    assert remove(iconik, asset_id, settings=settings)[0].removed == 1


# Remove: what stays

COMPLETE = [CLIP, {"original_name": "clip.wav"}]


@pytest.mark.parametrize(
    ("doomed", "master", "reason"),
    [
        (COMPLETE, [], "no master stands elsewhere"),
        (COMPLETE, [{**CLIP, "type": "DIRECTORY"}], "has no files"),
        (COMPLETE, [CLIP], "has no clip.wav"),
        *(
            (COMPLETE, [*COMPLETE, {"original_name": "third", "status": status}], status)
            for status in (
                "OPEN", "GROWING", "AWAITED", "FAILED", "ARCHIVED", "MISSING", "REDISCOVERED",
                "DELETED",
            )
        ),
        (COMPLETE, [CLIP, {"original_name": "clip.wav", "size": 999}], "clip.wav"),
        (COMPLETE, [CLIP, {"original_name": "clip.wav", "size": None}], "clip.wav"),
        (COMPLETE, [CLIP, {"original_name": "clip.wav", "type": "SYMLINK"}], "clip.wav"),
        ([CLIP | {"size": None}], [CLIP | {"size": None}], "clip.mov"),
        ([CLIP | {"size": -1}], [CLIP | {"size": -1}], "clip.mov"),
        ([CLIP | {"checksum": "a"}], [CLIP | {"checksum": "b"}], "clip.mov"),
        ([CLIP, CLIP], [CLIP], "clip.mov"),
        ([CLIP | {"status": "GROWING"}], [{"original_name": "other.mov"}], "clip.mov"),
        ([CLIP | {"status": "MISSING"}], [CLIP | {"size": 999}], "clip.mov"),
        *(
            ([CLIP | {"status": status}], [CLIP | {"size": 999}], "clip.mov")
            for status in ("FAILED", "ARCHIVED", "REDISCOVERED", "DELETED", None)
        ),
        *(
            (COMPLETE, [*COMPLETE, {"original_name": "x", "type": kind, "status": "OPEN"}], "OPEN")
            for kind in ("DIRECTORY", "SYMLINK")
        ),
        ([CLIP | {"status": "GROWING"}], [CLIP | {"type": "DIRECTORY"}, COMPLETE[1]], "clip.mov"),
    ],
)  # fmt: skip
def test_incomplete_masters_keep_the_copy(
    site: Site, iconik: Iconik, doomed: list[Row], master: list[Row], reason: str
) -> None:
    """In whatever way a master is incomplete, the copy stays and the reason is told."""
    asset_id, file_set_id = site.asset(doomed, master)
    (removal,) = remove(iconik, asset_id)
    assert removal.removed == 0
    assert reason in removal.kept[0]
    assert site.world.file_sets[file_set_id]["status"] == "ACTIVE"


def test_what_each_copy_lacks_is_told(site: Site, iconik: Iconik) -> None:
    """With any storage counting, the reason names every one of them."""
    asset_id, _ = site.asset([CLIP], [CLIP | {"status": "OPEN"}])
    site.world.add_file_set(asset_id, site.other, [CLIP | {"size": 999}])
    settings = replace(SETTINGS, master_storage_name=None)
    assert remove(iconik, asset_id, settings=settings)[0].kept == [
        "ORIGINAL: its master clip.mov is OPEN; "
        "its master has no clip.mov of the same size and checksum"
    ]


@pytest.mark.parametrize("status", ["ARCHIVED", "DELETED"])
def test_inactive_masters_keep_the_copy(site: Site, iconik: Iconik, status: str) -> None:
    """A master in the archive or in the recycle bin is none."""
    asset_id, _ = site.asset([CLIP], status=status)
    assert status in remove(iconik, asset_id)[0].kept[0]
    assert site.world.names_on(site.lucidlink) == ["clip.mov"]


def test_copies_elsewhere_are_no_masters(site: Site, iconik: Iconik) -> None:
    """With a masters' storage configured, copies on other storages prove nothing."""
    asset_id = site.world.add_asset("Clip")
    for storage_id in (site.lucidlink, site.other):
        site.world.add_file_set(asset_id, storage_id, [CLIP])
    assert remove(iconik, asset_id)[0].kept == ["ORIGINAL: no master stands elsewhere"]
    anywhere = replace(SETTINGS, master_storage_name=None)
    assert remove(iconik, asset_id, settings=anywhere)[0].removed == 1


def test_a_copy_beside_it_is_no_master(site: Site, iconik: Iconik) -> None:
    """Two file sets on the storage itself do not vouch for each other."""
    asset_id = site.world.add_asset("Clip")
    for _ in range(2):
        site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    settings = replace(SETTINGS, master_storage_name=None)
    assert len(remove(iconik, asset_id, settings=settings)[0].kept) == 2
    assert len(site.world.names_on(site.lucidlink)) == 2


def test_another_format_is_no_master(site: Site, iconik: Iconik) -> None:
    """Equal files of another format prove nothing."""
    asset_id = site.world.add_asset("Clip", ["ORIGINAL", "OTHER"])
    site.world.add_file_set(asset_id, site.b2, [CLIP], "OTHER")
    site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    assert len(remove(iconik, asset_id)[0].kept) == 1


def test_a_deleted_format_is_left_alone(site: Site, iconik: Iconik) -> None:
    """Masters of a format in the recycle bin may not last, so its copy stays."""
    asset_id, _ = site.asset([CLIP])
    site.world.formats_of(asset_id)[0]["status"] = "DELETED"
    told, _ = site.asset([CLIP | {"format_status": "DELETED"}], [CLIP])
    reasons = [removal.kept for removal in remove(iconik, asset_id, told)]
    assert reasons == [["ORIGINAL: the format is DELETED"]] * 2
    assert len(site.world.names_on(site.lucidlink)) == 2


def test_an_untold_format_status_does_not_matter(site: Site, iconik: Iconik) -> None:
    """The rule does not rest on the status of the format."""
    asset_id, _ = site.asset([CLIP | {"format_status": None}])
    site.world.formats_of(asset_id)[0]["status"] = None
    assert remove(iconik, asset_id)[0].removed == 1


def test_a_state_that_is_not_known_keeps_the_copy(site: Site, iconik: Iconik) -> None:
    """A file set in a state of which nothing is known stays, and is told."""
    asset_id, doomed = site.asset([CLIP])
    site.world.file_sets[doomed]["status"] = "PENDING"
    assert len(remove(iconik, asset_id)[0].kept) == 1
    assert doomed in site.world.file_sets


@pytest.mark.parametrize("status", ["ARCHIVED", "DELETED"])
def test_only_active_file_sets_are_deleted(site: Site, iconik: Iconik, status: str) -> None:
    """What is in the recycle bin or in the archive already is left there, and only that."""
    asset_id, doomed = site.asset([CLIP])
    site.world.file_sets[doomed]["status"] = status
    assert remove(iconik, asset_id) == [Removal(asset_id)]
    site.world.add_file_set(asset_id, site.lucidlink, [CLIP])
    assert remove(iconik, asset_id) == [Removal(asset_id, removed=1)]
    assert doomed in site.world.file_sets


# Remove: what rows do not say


def test_unsaid_states_are_asked_for(site: Site, iconik: Iconik, rest: Rest) -> None:
    """States that the rows of a list do not carry are asked for, and then believed."""
    site.world.unsaid = {"status": None, "file_set_status": None}
    good, _ = site.asset([CLIP])
    assert remove(iconik, good)[0].removed == 1
    assert rest.calls == 1 + 3 + 4
    binned, _ = site.asset([CLIP], status="DELETED")
    assert "DELETED" in remove(iconik, binned)[0].kept[0]
    unfinished, _ = site.asset([CLIP], [CLIP | {"status": "OPEN"}])
    assert "OPEN" in remove(iconik, unfinished)[0].kept[0]


def test_states_that_differ_are_asked_for(site: Site, iconik: Iconik) -> None:
    """Of a master's rows that contradict each other about their file set none is believed."""
    rows = [CLIP | {"file_set_status": "ACTIVE"}, {"original_name": "b.mov"}]
    asset_id, _ = site.asset([CLIP], rows, status="DELETED")
    assert "DELETED" in remove(iconik, asset_id)[0].kept[0]


@pytest.mark.parametrize("storage", ["b2", "lucidlink"])
def test_unknown_states_of_file_sets_keep_the_copy(
    site: Site, iconik: Iconik, storage: str
) -> None:
    """A file set whose state iconik does not tell even when asked proves nothing."""
    asset_id, doomed = site.asset([CLIP | {"file_set_status": None}])
    (row,) = site.world.file_sets_of(asset_id, getattr(site, storage))
    row["status"] = None
    assert len(remove(iconik, asset_id)[0].kept) == 1
    assert doomed in site.world.file_sets


def test_unknown_states_of_files_keep_the_copy(site: Site, iconik: Iconik) -> None:
    """A master file whose state iconik does not tell even when asked proves nothing."""
    asset_id, doomed = site.asset([CLIP], [CLIP | {"status": None}])
    assert "unknown state" in remove(iconik, asset_id)[0].kept[0]
    assert doomed in site.world.file_sets


def test_contradictory_rows_keep_the_copy(site: Site, iconik: Iconik) -> None:
    """Files of one file set on two storages are nonsense: nothing of the asset is deleted."""
    asset_id, doomed = site.asset([CLIP, {"original_name": "b.mov", "storage_id": site.other}])
    (removal,) = remove(iconik, asset_id)
    assert "contradicts itself" in str(removal.error)
    assert doomed in site.world.file_sets


# Remove: the selection


@pytest.mark.parametrize("links_pages", [True, False])
def test_collections_are_walked_to_the_bottom(
    site: Site, iconik: Iconik, links_pages: bool
) -> None:
    """All pages, sub-collections, loops and assets in several collections are coped with."""
    site.world.links_pages = links_pages
    assets = [site.asset([CLIP])[0] for _ in range(230)]
    inner = site.world.add_collection(*assets[200:])
    outer = site.world.add_collection(*assets[:205], inner)
    site.world.put_into(inner, outer)
    site.world.put_into(outer, outer)
    selection = Selection(assets=(assets[0],), collections=(outer, inner))
    result = remove_selection(iconik, selection).removals
    assert sorted(removal.object_id for removal in result) == sorted(assets)
    assert site.world.names_on(site.lucidlink) == []


def test_collections_below_collections_are_walked(site: Site, iconik: Iconik) -> None:
    """Each branch of a tree is followed to its end, though one leads back into itself."""
    leaves = [site.world.add_collection(site.asset([CLIP])[0]) for _ in range(2)]
    branches = [site.world.add_collection(leaf) for leaf in leaves]
    site.world.put_into(leaves[0], branches[0])
    selection = Selection(collections=(site.world.add_collection(*branches),))
    result = remove_selection(iconik, selection).removals
    assert [removal.removed for removal in result] == [1, 1]
    assert site.world.names_on(site.lucidlink) == []


def test_saved_searches_are_run_to_the_end(site: Site, iconik: Iconik) -> None:
    """All pages of what a saved search finds are removed, and so are collections that it finds."""
    found = [site.asset([CLIP])[0] for _ in range(120)]
    collected, _ = site.asset([CLIP])
    search_id = site.world.add_saved_search(*found, site.world.add_collection(collected))
    selection = Selection(saved_searches=(search_id,))
    result = remove_selection(iconik, selection).removals
    assert [removal.object_id for removal in result] == [*found, collected]
    assert site.world.names_on(site.lucidlink) == []


def test_unknown_objects_are_told(site: Site, iconik: Iconik) -> None:
    """An unknown asset has nothing to remove; an unknown collection or search may be a mistake."""
    known, _ = site.asset([CLIP])
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

    monkeypatch.setattr(threads, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(threads, "WORKERS", 1)
    with pytest.raises(IconikError):
        threads.side_by_side(work, [0, 1, 2, 3])
    assert done in ([], [1])


def test_one_failure_does_not_stop_the_others(site: Site, iconik: Iconik) -> None:
    """An asset that iconik answers nonsense for is told; the others are removed."""
    broken, _ = site.asset([CLIP | {"format_id": None}])
    fine, _ = site.asset([CLIP])
    result = remove(iconik, broken, fine)
    assert "format_id" in str(result[0].error)
    assert result[1].removed == 1


def test_access_to_one_asset_does_not_stop_the_others(site: Site, iconik: Iconik) -> None:
    """An asset that may not be touched is told with the role; the others are removed."""
    denied, _ = site.asset([CLIP])
    fine, _ = site.asset([CLIP])
    site.world.denied.add(denied)
    result = remove(iconik, denied, fine)
    assert "can_read_files" in str(result[0].error)
    assert result[1].removed == 1


def test_a_refused_token_stops_everything(site: Site, iconik_url: str) -> None:
    """What befalls one asset and would befall all is told, with what was done before."""
    token = site.world.token
    iconik = Iconik(new_rest(iconik_url, site.world, lambda **_: token))
    assets = [site.asset([CLIP])[0] for _ in range(100)]
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
    assert sum(removal.is_left for removal in result) > 50
    assert report.error is AdministratorError


@pytest.mark.parametrize("kind", ["collections", "saved_searches"])
def test_a_broken_walk_removes_nothing(site: Site, iconik: Iconik, kind: str) -> None:
    """What is to be removed is known to the end before the first file goes."""
    asset_id, _ = site.asset([CLIP])
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


def test_near_the_deadline_nothing_is_begun(site: Site, iconik: Iconik, time: Time) -> None:
    """What runs is finished, what is not begun is left, and the answer counts both."""
    assets = [site.asset([CLIP])[0] for _ in range(100)]
    purge = site.world.purge

    def purge_and_wait(file_set_id: str) -> None:
        purge(file_set_id)
        time.sleep(5)

    site.world.purge = purge_and_wait  # type: ignore[method-assign]
    deadline = Deadline(60, time)
    selection = Selection(assets=tuple(assets))
    progress, plan = Progress(deadline), transfers.make_plan(iconik, SETTINGS)
    report = transfers.remove(iconik, selection, plan, progress=progress)
    left = [removal for removal in report.removals if removal.is_left]
    assert sum(removal.removed for removal in report.removals) == 100 - len(left)
    assert (progress.done, progress.total) == (100 - len(left), 100)
    assert len(site.world.names_on(site.lucidlink)) == len(left)
    assert 100 - 10 - threads.WORKERS <= len(left) <= 100 - 10
    assert report.error is OutOfTime
    assert f"{100 - len(left)} of 100 assets are done, 0 failed and {len(left)} are left" in (
        report.sentence
    )
