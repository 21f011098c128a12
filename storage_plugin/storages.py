"""The storages that the settings name, and whether files may be removed from one of them."""

import posixpath
from collections.abc import Sequence
from typing import NamedTuple

from storage_plugin.errors import AdministratorError
from storage_plugin.iconik.rows import Storage
from storage_plugin.names import place, visible
from storage_plugin.settings import MASTER, Settings


class Storages(NamedTuple):
    """The storages of an action."""

    storage: Storage  # The one to copy to and delete from.
    master: Storage | None  # The one that MASTER_STORAGE_NAME names.
    masters: tuple[Storage, ...]  # Those whose copies count as masters.


def find_storages(listed: Sequence[Storage], settings: Settings) -> Storages:
    """Return those of all listed storages that the settings name, as `find_storage` does."""
    storage = find_storage(listed, "STORAGE_NAME, or storage= in the URL", settings.storage_name)
    if not settings.master_storage_name:
        return Storages(storage, None, tuple(each for each in listed if each.method == "B2"))
    master = find_storage(listed, MASTER, settings.master_storage_name)
    return Storages(storage, master, (master,))


def find_storage(listed: Sequence[Storage], setting: str, name: str) -> Storage:
    """Return the only one of all listed storages with exactly this name or id.

    Raises AdministratorError, which names `setting` and lists all names, if there is not one.
    """
    found = [each for each in listed if each.name == name or each.id == name.lower()]
    if len(found) != 1:
        names = ", ".join(sorted(visible(each.name) for each in listed)) or "none"
        raise AdministratorError(
            f"{setting}: the token's user sees {len(found) or 'no'} storages named {visible(name)};"
            f" there must be exactly one. That user sees {names}."
        )
    return found[0]


def check_removal(storages: Storages, listed: Sequence[Storage]) -> dict[str, Storage]:
    """Return the storages whose copies count as masters now, by their ids.

    Raises AdministratorError, which says why, if nothing may be removed from the storage now.
    """
    now = {each.id: each for each in listed}
    masters = [now[each.id] for each in storages.masters if each.id in now]
    if not storages.master:
        masters = [each for each in masters if each.method == "B2"]
    name = visible(storages.storage.name)
    if obstacle := _obstacle(now.get(storages.storage.id), masters, name=name):
        raise AdministratorError(f"{obstacle}.")
    return {each.id: each for each in masters if each.status == "ACTIVE"}


def _obstacle(storage: Storage | None, masters: Sequence[Storage], *, name: str) -> str | None:
    """Return why nothing may be removed, and the remedy, or None if files may be removed."""
    remedy = "set STORAGE_NAME, or storage= in the custom action's URL, to the storage to copy to"
    if storage is None:
        return f"iconik no longer lists {name}: {remedy}"
    if storage.method != "FILE":
        return f"{name} is of type {storage.method}, not FILE: {remedy}"
    if own := [master for master in masters if _may_be_one(master, storage)]:
        return f"The files of {name} are the masters of {visible(own[0].name)}: {remedy}"
    if any(master.status == "ACTIVE" for master in masters):
        return None
    states = [f"{visible(each.name)} is {each.status}" for each in masters]
    what = f"No storage for masters is ACTIVE ({', '.join(states) or 'none is of type B2'})"
    return f"{what}: check the storages in iconik, or set {MASTER}"


def _may_be_one(master: Storage, storage: Storage) -> bool:
    """Whether two storages are the same, or the folder of one lies in that of the other."""
    if master.method != "FILE" or not (master.mount_point and storage.mount_point):
        return master.id == storage.id
    folders = [
        place(posixpath.normpath(mount_point.replace("\\", "/")))
        for mount_point in (master.mount_point, storage.mount_point)
    ]
    return posixpath.commonpath(folders) in folders
