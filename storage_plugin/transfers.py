"""What happens to files, and in which order: copied to a storage, deleted from it again.

No file leaves the storage unless a complete copy of it stands elsewhere: see `why_keep`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from storage_plugin.errors import AccessDenied, AdministratorError, IconikError, NotFound
from storage_plugin.iconik import MAX_IDS, File, Iconik, Storage
from storage_plugin.settings import Settings
from storage_plugin.webhook import Selection

UNFINISHED = frozenset({"OPEN", "GROWING", "AWAITED", "FAILED"})
"""States of a file that never was whole: nothing is lost with it where a complete copy stands.

https://app.iconik.io/help/pages/entities/files
"""


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
        removed: the number of file sets deleted.
        kept: for each file set left alone, the reason.
        failure: what went wrong; empty where nothing did.
    """

    object_id: str
    removed: int = 0
    kept: list[str] = field(default_factory=list)
    failure: str = ""


def add(iconik: Iconik, selection: Selection, settings: Settings) -> list[str]:
    """Have the selection copied to the storage; iconik skips what stands there already.

    Returns:
        The ids of iconik's copy jobs, as far as it tells them.
    """
    storage, master = find_storages(iconik, settings)
    jobs = [
        iconik.copy(
            storage.id,
            object_type,
            ids[start : start + MAX_IDS],
            format_name=format_name,
            file_path=settings.storage_path,
            preferred_source=master.id if master else None,
        )
        for object_type, ids in selection.by_type()
        for format_name in settings.format_name
        for start in range(0, len(ids), MAX_IDS)
    ]
    return [job for job in jobs if job]


def remove(iconik: Iconik, selection: Selection, settings: Settings) -> list[Removal]:
    """Delete the selection's files from the storage, as far as complete copies stand elsewhere.

    Raises:
        AdministratorError: the storage is one for masters; nothing was touched.
    """
    storage, master = find_storages(iconik, settings)
    if storage.method == "B2" or storage == master:
        raise AdministratorError(
            f"Nothing is ever removed from {storage.name}, for it holds masters: let STORAGE_NAME, "
            "or storage= in the custom action's URL, name the storage that files are copied to."
        )
    assets, unknown = _find_assets(iconik, selection)
    return unknown + [
        _remove_asset(iconik, asset_id, settings.format_name, storage, master)
        for asset_id in assets
    ]


def _remove_asset(
    iconik: Iconik,
    asset_id: str,
    format_names: Sequence[str],
    storage: Storage,
    master: Storage | None,
) -> Removal:
    """Delete an asset's file sets from the storage, each only if `why_keep` knows no reason."""
    removal = Removal(asset_id)
    try:
        # A format in the recycle bin takes its masters along: its other files are left alone.
        formats = {
            format.id: format.name
            for format in iconik.formats(asset_id)
            if format.name in format_names and format.status != "DELETED"
        }
        file_sets = _group(iconik.files(asset_id)) if formats else []
        for file_set in file_sets:
            if file_set.storage_id != storage.id or file_set.format_id not in formats:
                continue
            doomed = _complete(iconik, asset_id, file_set)
            if doomed.status in ("ARCHIVED", "DELETED"):
                continue
            copies = [
                _complete(iconik, asset_id, copy)
                for copy in file_sets
                if copy.format_id == doomed.format_id
                and copy.storage_id != storage.id
                and (master is None or copy.storage_id == master.id)
            ]
            if reason := why_keep(doomed, copies):
                removal.kept.append(f"{formats[doomed.format_id]}: {reason}")
            else:
                iconik.delete_file_set(asset_id, doomed.id)
                removal.removed += 1
    except (IconikError, AccessDenied) as error:
        removal.failure = str(error)
    return removal


def why_keep(doomed: FileSet, copies: Sequence[FileSet]) -> str | None:
    """Return why a file set must stay on its storage; None where one of the copies is complete."""
    if doomed.status != "ACTIVE":
        return "iconik does not tell whether it is active"
    flaws = [flaw(copy, doomed) for copy in copies]
    if None in flaws:
        return None
    return "; ".join(filter(None, flaws)) or "no master stands elsewhere"


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
    for file in sorted(doomed.files, key=lambda file: (_is_unfinished(file), not file.checksum)):
        twins = [twin for twin in spare[file.original_name] if _is_twin(twin, file)]
        if not twins:
            return f"its master has no {file.original_name} of the same size and checksum"
        spare[file.original_name].remove(
            max(twins, key=lambda twin: twin.checksum == file.checksum)
        )
    return None


def _is_twin(twin: File, file: File) -> bool:
    """Whether a file of the same name stands in for a doomed one."""
    if _is_unfinished(file):
        return True
    return (
        twin.type == file.type
        and twin.size == file.size
        and (file.size is not None or file.type == "DIRECTORY")
        and (twin.checksum == file.checksum or not twin.checksum or not file.checksum)
    )


def _is_unfinished(file: File) -> bool:
    return file.status in UNFINISHED


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


def _complete(iconik: Iconik, asset_id: str, file_set: FileSet) -> FileSet:
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
    storages = list(iconik.storages())

    def find(name: str) -> Storage:
        found = [storage for storage in storages if storage.name == name]
        if len(found) != 1:
            raise AdministratorError(
                f"iconik has {len(found) or 'no'} storages named {name}: let STORAGE_NAME, "
                "MASTER_STORAGE_NAME, or storage= in the custom action's URL, name one exactly, "
                "and the token's user see it."
            )
        return found[0]

    master = settings.master_storage_name
    return find(settings.storage_name), find(master) if master else None


def _find_assets(iconik: Iconik, selection: Selection) -> tuple[list[str], list[Removal]]:
    """Return the selected assets, each once, and what was selected but is unknown to iconik.

    Collections are walked to the bottom; one that contains itself is walked once.
    """
    assets = dict.fromkeys(selection.assets)
    unknown: list[Removal] = []
    for search_id in selection.saved_searches:
        try:
            found = list(iconik.saved_search_results(search_id))
            assets.update((item.id, None) for item in found if item.type == "assets")
        except NotFound:
            unknown.append(Removal(search_id, kept=["iconik knows no such saved search"]))
    waiting, walked = list(selection.collections), set()
    while waiting:
        collection_id = waiting.pop()
        if collection_id in walked:
            continue
        walked.add(collection_id)
        try:
            contents = list(iconik.collection_contents(collection_id))
        except NotFound:
            unknown.append(Removal(collection_id, kept=["iconik knows no such collection"]))
            continue
        assets.update((item.id, None) for item in contents if item.type == "assets")
        waiting.extend(item.id for item in contents if item.type == "collections")
    return list(assets), unknown
