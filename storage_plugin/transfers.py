"""What happens to files: they are copied to a storage, and deleted from it again.

No file leaves the storage unless `rule.judge` finds no reason to keep it.
"""

import functools
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from storage_plugin import rule
from storage_plugin.errors import AdministratorError, IconikError, NotFound, OutOfTime, PluginError
from storage_plugin.iconik import File, Iconik, Item, Storage, chunks
from storage_plugin.pace import Deadline
from storage_plugin.report import Removal, Report
from storage_plugin.rule import Evidence, FileSet
from storage_plugin.settings import Settings
from storage_plugin.threads import side_by_side
from storage_plugin.webhook import Selection

CONTAINERS = ("collections", "saved_searches")
"""What assets are found in, by the `object_type` of iconik's bulk calls."""

Archive = Callable[[str, FileSet, Evidence, str], tuple[str, bool]]
"""Sees to a copy of a file set that must stay.

Takes the asset's id, the file set, the evidence and the reason; returns the reason to report, and
whether the file set waits for its copy.
"""


@dataclass(frozen=True)
class Plan:
    """What an action works with.

    Attributes:
        storage: that files are copied to and deleted from.
        master: the storage whose copies count as masters; None: any other one.
        format_names: the formats that are copied and deleted.
        path: the folder on the storage that files are copied into.
    """

    storage: Storage
    master: Storage | None
    format_names: tuple[str, ...]
    path: str


class Progress:
    """How far a removal has come, and whether it may go on; shared by its threads.

    Args:
        deadline: near it no other asset is begun.
        done_before: the number of assets that an earlier part of the removal has done.

    Attributes:
        total: the number of assets, None before it is known.
        done: the number of those that are done.
        is_aborted: to be set when no other asset shall be begun.
    """

    def __init__(self, deadline: Deadline, done_before: int = 0) -> None:
        self.done_before = self.done = done_before
        self.total: int | None = None
        self.is_aborted = False
        self._deadline = deadline
        self._lock = threading.Lock()

    @property
    def may_go_on(self) -> bool:
        """Whether another asset may be begun."""
        return not (self.is_aborted or self._deadline.is_near)

    def begin(self, assets: int) -> None:
        """Note how many assets there are to be done."""
        self.total = self.done_before + assets

    def count(self) -> None:
        """Count one asset as done."""
        with self._lock:
            self.done += 1

    def stop(self) -> None:
        """Let no other asset be begun, nor another request be sent."""
        self._deadline.end()


def make_plan(iconik: Iconik, settings: Settings) -> Plan:
    """Return the plan that the settings mean.

    Raises:
        AdministratorError: a name belongs to no storage, or to several.
    """
    storages, master = iconik.storages(), settings.master_storage_name
    return Plan(
        find_storage(storages, "STORAGE_NAME, or storage= in the URL", settings.storage_name),
        find_storage(storages, "MASTER_STORAGE_NAME", master) if master else None,
        settings.format_names,
        settings.storage_path,
    )


def add(iconik: Iconik, selection: Selection, plan: Plan) -> list[str]:
    """Have the selection copied to the storage.

    Returns:
        The ids of iconik's copy jobs, as far as iconik says so.
    """

    def copy(request: tuple[str, str, Sequence[str]]) -> str | None:
        object_type, format_name, ids = request
        return iconik.copy(
            plan.storage.id,
            object_type,
            object_ids=ids,
            format_name=format_name,
            file_path=plan.path,
            preferred_source=plan.master.id if plan.master else None,
        )

    requests = [
        (object_type, format_name, some)
        for object_type, ids in selection.by_type()
        for format_name in plan.format_names
        for some in chunks(ids)
    ]
    return [job for job in side_by_side(copy, requests) if job]


def remove(
    iconik: Iconik,
    selection: Selection,
    plan: Plan,
    *,
    progress: Progress,
    archive: Archive | None = None,
) -> Report:
    """Delete the selection's files from the storage, as far as complete copies exist elsewhere.

    When the deadline is near, or the removal is aborted, no other asset is begun: it is left.

    Raises:
        AdministratorError: the storage is one for masters; nothing was touched.
    """
    if may_hold_masters(plan.storage, plan.master):
        raise AdministratorError(
            f"Nothing is ever removed from {plan.storage.name}, for it may hold masters: let "
            "STORAGE_NAME, or storage= in the custom action's URL, name the one that is copied to."
        )
    assets, unknown = find_assets(iconik, selection)
    progress.begin(len(assets))

    def remove_asset(asset: tuple[str, str | None]) -> Removal:
        removal = Removal(*asset)
        if not progress.may_go_on:
            removal.error = OutOfTime("Not begun.")
            return removal
        try:
            evidence = look(iconik, removal.object_id, plan)
            _delete(iconik, removal, evidence, archive=archive)
        except PluginError as error:
            removal.error = error
            if isinstance(error, AdministratorError):
                progress.stop()  # It would be the same with every other asset.
        progress.count()
        return removal

    # In an order that differs each time: what is done already must not take a repeat all its time.
    order = random.sample(list(assets.items()), len(assets))
    removals = {removal.object_id: removal for removal in side_by_side(remove_asset, order)}
    in_order = unknown + [removals[asset_id] for asset_id in assets]
    return Report(in_order, str(plan.storage.name), progress.done_before, progress.is_aborted)


def look(iconik: Iconik, asset_id: str, plan: Plan) -> Evidence:
    """Ask iconik for everything that the rule needs to know of an asset."""
    file_sets, formats = _group(iconik.files(asset_id)), {}
    if any(each.storage_id == plan.storage.id for each in file_sets):
        listed = iconik.formats(asset_id)
        formats = {each.id: each for each in listed if each.name in plan.format_names}
    evidence = Evidence(plan.storage, plan.master, formats, file_sets).of_its_formats()
    concerned = evidence.concerned()
    complete = (
        _with_statuses(iconik, asset_id, each) if each in concerned else each
        for each in evidence.file_sets
    )
    return replace(evidence, file_sets=tuple(complete))


def _delete(
    iconik: Iconik, removal: Removal, evidence: Evidence, *, archive: Archive | None
) -> None:
    """Delete an asset's file sets from the storage, each only if there is no reason to keep it."""
    for file_set, why_keep in rule.judge(evidence):
        if why_keep is None:
            iconik.delete_file_set(removal.object_id, file_set.id)
            removal.removed += 1
            continue
        reason, is_waiting = why_keep, False
        if archive:
            reason, is_waiting = archive(removal.object_id, file_set, evidence, why_keep)
        name = evidence.formats[file_set.format_id].name
        (removal.waiting if is_waiting else removal.kept).append(f"{name}: {reason}")


def _group(files: Sequence[File]) -> list[FileSet]:
    """Put an asset's files together to file sets.

    Raises:
        IconikError: the files of one file set are said to be of several.
    """
    groups = defaultdict(list)
    for file in files:
        groups[file.file_set_id].append(file)
    file_sets = []
    for id, group in groups.items():
        places = {(file.format_id, file.storage_id) for file in group}
        if len(places) != 1:
            raise IconikError(f"iconik contradicts itself about the file set {id}: it is kept.")
        statuses = {file.file_set_status for file in group}
        status = statuses.pop() if len(statuses) == 1 else None
        file_sets.append(FileSet(id, *places.pop(), status, tuple(group)))
    return file_sets


def _with_statuses(iconik: Iconik, asset_id: str, file_set: FileSet) -> FileSet:
    """Return a file set with the states that its files' rows did not carry."""
    return replace(
        file_set,
        status=file_set.status or iconik.file_set_status(asset_id, file_set.id),
        files=tuple(
            file if file.status else replace(file, status=iconik.file_status(asset_id, file.id))
            for file in file_set.files
        ),
    )


def find_storage(storages: Sequence[Storage], setting: str, name: str) -> Storage:
    """Return the storage of exactly this name.

    Args:
        setting: where the name is from.

    Raises:
        AdministratorError: the name belongs to no storage, or to several.
    """
    found = [storage for storage in storages if storage.name == name]
    if len(found) != 1:
        raise AdministratorError(
            f"{setting}: the token's user sees {len(found) or 'no'} storages named {name}; "
            "it must be exactly one."
        )
    return found[0]


def may_hold_masters(storage: Storage, master: Storage | None) -> bool:
    """Whether nothing is ever removed from a storage."""
    return storage.method in ("B2", None) or storage == master


def find_assets(
    iconik: Iconik, selection: Selection
) -> tuple[dict[str, str | None], list[Removal]]:
    """Return the selected assets with their titles, and what was selected but iconik lacks.

    Collections are walked level by level; one that contains itself is walked once.
    """
    assets: dict[str, str | None] = dict.fromkeys(selection.assets)
    unknown: list[Removal] = []
    items = [Item(id, kind, None) for kind, ids in selection.by_type() for id in ids]
    walked: set[tuple[str, str]] = set()
    while containers := _containers(items, walked):
        contents = side_by_side(functools.partial(_contents, iconik), containers)
        unknown += _unknown(containers, contents)
        items = [item for found in contents for item in found or ()]
        assets.update((item.id, item.title) for item in items if item.type == "assets")
    return assets, unknown


def _containers(items: Sequence[Item], walked: set[tuple[str, str]]) -> list[Item]:
    """Return the collections and saved searches among items, each once, and note them as walked."""
    containers = {(item.type, item.id): item for item in items if item.type in CONTAINERS}
    new = [item for key, item in containers.items() if key not in walked]
    walked.update(containers)
    return new


def _contents(iconik: Iconik, container: Item) -> list[Item] | None:
    """Return what is in a collection or found by a saved search; None: iconik does not know it."""
    try:
        if container.type == "saved_searches":
            return iconik.saved_search_results(container.id)
        return iconik.collection_contents(container.id)
    except NotFound:
        return None


def _unknown(
    containers: Sequence[Item], contents: Sequence[list[Item] | None]
) -> Iterator[Removal]:
    """Yield what becomes of the collections and saved searches that iconik does not know."""
    for container, found in zip(containers, contents, strict=True):
        if found is None:
            reason = "iconik does not know it"
            yield Removal(container.id, object_type=container.type, kept=[reason])
