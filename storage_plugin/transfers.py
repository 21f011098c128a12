"""What happens to files, and in which order: copied to a storage, deleted from it again.

No file leaves the storage unless a complete copy of it stands elsewhere: see `why_keep`.
"""

import random
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from storage_plugin.archive import Archive
from storage_plugin.errors import (
    AdministratorError,
    IconikError,
    NotFound,
    OutOfTime,
    PluginError,
)
from storage_plugin.iconik import File, Format, Iconik, Item, Storage, chunks
from storage_plugin.pace import Deadline
from storage_plugin.settings import Settings
from storage_plugin.threads import side_by_side
from storage_plugin.webhook import Selection


@dataclass(frozen=True)
class FileSet:
    """The files of one format on one storage; a status of None: iconik did not say."""

    id: str
    format_id: str
    storage_id: str
    status: str | None
    files: tuple[File, ...]


@dataclass
class Removal:
    """What became of one asset, or of a collection or saved search that iconik does not know.

    Attributes:
        object_id: its id.
        title: what editors call it, if that is known.
        removed: the number of file sets deleted.
        object_type: as in bulk calls.
        kept: for each file set left alone, the reason.
        waits: the same for those that are removed when their copies are there.
        error: what went wrong, if something did; OutOfTime: it is not done.
    """

    object_id: str
    title: str | None = None
    object_type: str = "assets"
    removed: int = 0
    kept: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    error: PluginError | None = None

    @property
    def is_left(self) -> bool:
        """Whether it was not begun or not finished."""
        return isinstance(self.error, OutOfTime)

    @property
    def stays(self) -> list[str]:
        """Why something was kept, for now or for good."""
        return self.kept + self.waits

    @property
    def reason(self) -> str:
        """Why something was kept, or failed."""
        return "; ".join([*self.stays, *([str(self.error)] if self.error else [])]).rstrip(".")


class Progress:
    """How far a removal has come; written by its threads, read by others.

    Attributes:
        total: the number of assets, None before it is known.
        before: the number of those that were done with when it began.
        processed: the number of those that are done.
        is_aborted: to be set when no other asset shall be begun.
        archive: the copies of masters that come first, if they are wanted.
    """

    def __init__(self) -> None:
        self.total: int | None = None
        self.before = self.processed = 0
        self.is_aborted = False
        self.archive: Archive | None = None
        self._lock = threading.Lock()

    def count(self) -> None:
        """Count one asset as done."""
        with self._lock:
            self.processed += 1


def add(iconik: Iconik, selection: Selection, settings: Settings) -> list[str]:
    """Have the selection copied to the storage.

    Returns:
        The ids of iconik's copy jobs, as far as it tells them.
    """
    storage, master = find_storages(iconik, settings)

    def copy(request: tuple[str, str, Sequence[str]]) -> str | None:
        object_type, format_name, ids = request
        return iconik.copy(
            storage.id,
            object_type,
            ids,
            format_name=format_name,
            file_path=settings.storage_path,
            preferred_source=master.id if master else None,
        )

    requests = [
        (object_type, format_name, some)
        for object_type, ids in selection.by_type()
        for format_name in settings.format_names
        for some in chunks(ids)
    ]
    return [job for job in side_by_side(copy, requests) if job]


def remove(
    iconik: Iconik,
    selection: Selection,
    settings: Settings,
    deadline: Deadline,
    progress: Progress,
) -> list[Removal]:
    """Delete the selection's files from the storage, as far as complete copies stand elsewhere.

    When the deadline is near, or the removal is aborted, no other asset is begun: it is left.

    Raises:
        AdministratorError: the storage is one for masters; nothing was touched.
    """
    storage, master = find_storages(iconik, settings)
    if may_hold_masters(storage, master):
        raise AdministratorError(
            f"Nothing is ever removed from {storage.name}, for it may hold masters: let "
            "STORAGE_NAME, or storage= in the custom action's URL, name the one that is copied to."
        )
    assets, unknown = _find_assets(iconik, selection)
    if settings.archive_before_remove and master:
        progress.archive = Archive(iconik, storage, master, selection.wait)

    progress.before = progress.processed = selection.wait.done if selection.wait else 0
    progress.total = progress.before + len(assets)

    def remove_asset(asset: tuple[str, str | None]) -> Removal:
        removal = Removal(*asset)
        if deadline.is_near or progress.is_aborted:
            removal.error = OutOfTime("Not begun.")
            return removal
        _remove_asset(iconik, removal, settings.format_names, storage, master, progress.archive)
        if isinstance(removal.error, AdministratorError):
            deadline.end()  # It would be the same with every other asset.
        progress.count()
        return removal

    # In an order that differs each time: what is done already must not take a repeat all its time.
    order = random.sample(list(assets.items()), len(assets))
    removals = {removal.object_id: removal for removal in side_by_side(remove_asset, order)}
    if progress.archive:
        errors = progress.archive.ask(lambda: progress.is_aborted)
        for asset_id, error in errors.items():
            removals[asset_id].waits.clear()
            removals[asset_id].error = removals[asset_id].error or error
    return unknown + [removals[asset_id] for asset_id in assets]


def _remove_asset(
    iconik: Iconik,
    removal: Removal,
    format_names: Sequence[str],
    storage: Storage,
    master: Storage | None,
    archive: Archive | None,
) -> None:
    """Delete an asset's file sets from the storage, each only if `why_keep` knows no reason."""
    asset_id = removal.object_id
    try:
        file_sets = _group(iconik.files(asset_id))
        on_storage = [file_set for file_set in file_sets if file_set.storage_id == storage.id]
        formats = {
            format.id: format
            for format in (iconik.formats(asset_id) if on_storage else [])
            if format.name in format_names
        }
        for file_set in on_storage:
            if file_set.format_id not in formats:
                continue
            doomed = _with_statuses(iconik, asset_id, file_set)
            if doomed.status in ("ARCHIVED", "DELETED"):
                continue
            masters = [
                candidate
                for candidate in file_sets
                if candidate.format_id == doomed.format_id
                and candidate.storage_id != storage.id
                and (master is None or candidate.storage_id == master.id)
            ]
            # Asked for their statuses one by one, until a complete copy is found.
            candidates = (_with_statuses(iconik, asset_id, candidate) for candidate in masters)
            format = formats[doomed.format_id]
            reason = why_keep(doomed, format, candidates)
            if not reason:
                iconik.delete_file_set(asset_id, doomed.id)
                removal.removed += 1
                continue
            waits = False
            if archive and can_be_copied(doomed, on_storage, formats.values()):
                files = [
                    file
                    for candidate in masters
                    for file in _with_statuses(iconik, asset_id, candidate).files
                ]
                reason, waits = archive.tell(asset_id, format, files, reason)
            (removal.waits if waits else removal.kept).append(f"{format.name}: {reason}")
    except PluginError as error:
        removal.error = error


def why_keep(doomed: FileSet, of: Format, candidates: Iterable[FileSet]) -> str | None:
    """Return why a file set must stay on its storage; None where a candidate is a complete copy."""
    if reason := _why_untouchable(doomed, of):
        return reason
    flaws = []
    for candidate in candidates:
        if not (found := flaw(candidate, doomed)):
            return None
        flaws.append(found)
    return "; ".join(flaws) or "no master stands elsewhere"


def _why_untouchable(file_set: FileSet, of: Format) -> str | None:
    """Return why nothing at all is done with a file set; None where something may be."""
    if file_set.status != "ACTIVE":
        return "iconik does not say that it is active"
    # The rule does not rest on the format's status, so it need not be told; but masters of a
    # format in the recycle bin may not last.
    for status in {of.status, *(file.format_status for file in file_set.files)}:
        if status not in ("ACTIVE", None):
            return f"the format is {status}"
    return None


def can_be_copied(
    file_set: FileSet, on_storage: Sequence[FileSet], formats: Iterable[Format]
) -> bool:
    """Whether a file set is whole, and what iconik copies by its format's name can only be this.

    Other machines may see a file on LucidLink as empty until its data is uploaded, so an empty one
    may not be whole.
    """
    files = [file for file in file_set.files if file.type != "DIRECTORY"]
    names = {format.id: format.name for format in formats}
    return (
        bool(files)
        and all(file.status == "CLOSED" and file.size for file in files)
        and not any(_why_untouchable(file_set, of) for of in formats if of.id == file_set.format_id)
        and list(names.values()).count(names[file_set.format_id]) == 1
        and [other.format_id for other in on_storage].count(file_set.format_id) == 1
    )


def flaw(copy: FileSet, doomed: FileSet) -> str | None:
    """Return what a copy lacks to stand in for a doomed file set; None where it is complete.

    Every doomed file needs a file of its own in the copy. Folders are not compared, for they
    differ from storage to storage.
    """
    if copy.status != "ACTIVE":
        return f"its master's file set is {copy.status or 'in an unknown state'}"
    if all(file.type == "DIRECTORY" for file in copy.files):
        return "its master has no files"
    for file in copy.files:
        if file.status != "CLOSED":
            return f"its master {file.original_name} is {file.status or 'in an unknown state'}"
    spare = defaultdict(list)
    for file in copy.files:
        spare[file.original_name].append(file)
    # Files that few others can stand in for choose first.
    for file in sorted(doomed.files, key=lambda file: (file.is_unfinished, not file.checksum)):
        twins = [twin for twin in spare[file.original_name] if _is_twin(twin, file)]
        if not twins:
            return f"its master has no {file.original_name} of the same size and checksum"
        spare[file.original_name].remove(
            max(twins, key=lambda twin: twin.checksum == file.checksum)
        )
    return None


def _is_twin(twin: File, file: File) -> bool:
    """Whether a file of the same name stands in for a doomed one.

    Of one that is still being written nothing is lost that is worth more than the master.
    """
    if twin.type != file.type or file.is_unfinished:
        return twin.type == file.type
    return (
        twin.size == file.size
        and (file.size is not None or file.type == "DIRECTORY")
        and (twin.checksum == file.checksum or not twin.checksum or not file.checksum)
    )


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
        first = group[0]
        if {(file.format_id, file.storage_id) for file in group} != {
            (first.format_id, first.storage_id)
        }:
            raise IconikError(f"iconik contradicts itself about the file set {id}: it is kept.")
        statuses = {file.file_set_status for file in group}
        status = first.file_set_status if len(statuses) == 1 else None
        file_sets.append(FileSet(id, first.format_id, first.storage_id, status, tuple(group)))
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


def find_storages(iconik: Iconik, settings: Settings) -> tuple[Storage, Storage | None]:
    """Return the storage to work on and, where one is configured, the storage of the masters.

    Raises:
        AdministratorError: a name belongs to no storage, or to several.
    """
    storages, master = iconik.storages(), settings.master_storage_name
    return (
        find_storage(storages, "STORAGE_NAME, or storage= in the URL", settings.storage_name),
        find_storage(storages, "MASTER_STORAGE_NAME", master) if master else None,
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


def _find_assets(
    iconik: Iconik, selection: Selection
) -> tuple[dict[str, str | None], list[Removal]]:
    """Return the selected assets with their titles, and what was selected but iconik lacks.

    Collections are walked level by level; one that contains itself is walked once.
    """
    assets: dict[str, str | None] = dict.fromkeys(selection.assets)
    unknown: list[Removal] = []
    read = {
        "saved_searches": iconik.saved_search_results,
        "collections": iconik.collection_contents,
    }

    def contents(container: tuple[str, str]) -> list[Item] | None:
        object_type, object_id = container
        try:
            return read[object_type](object_id)
        except NotFound:
            return None

    level = [(kind, id) for kind, ids in selection.by_type() if kind in read for id in ids]
    walked = set(level)
    while level:
        below: list[tuple[str, str]] = []
        for (kind, object_id), items in zip(level, side_by_side(contents, level), strict=True):
            if items is None:
                lost = Removal(object_id, object_type=kind, kept=["iconik does not know it"])
                unknown.append(lost)
                continue
            assets.update((item.id, item.title) for item in items if item.type == "assets")
            if kind == "collections":
                below += [(item.type, item.id) for item in items if item.type == "collections"]
        level = [container for container in dict.fromkeys(below) if container not in walked]
        walked.update(level)
    return assets, unknown
