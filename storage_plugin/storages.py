"""The plan of an action: the storages that the settings name, as iconik lists them."""

from collections.abc import Sequence
from typing import NamedTuple

from storage_plugin.errors import AdministratorError
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.rows import Storage
from storage_plugin.kept import Kept
from storage_plugin.settings import MASTER, Settings

LISTED = 2.5
"""Seconds for which a list of storages is kept: half the time for which evidence is fresh."""


class Plan(NamedTuple):
    """The storages and formats of an action.

    Attributes:
        storage: the storage to copy to and delete from.
        master: the storage that MASTER_STORAGE_NAME names; None: it is not set.
        masters: the storages whose copies count as masters.
        format_names: the formats to copy and delete.
        path: the folder on the storage to copy into; empty: the folders of the source.
        use_recycle_bin: whether deleted files can be restored for some time.
        listed: the list of storages, with the time in seconds when it was requested.
    """

    storage: Storage
    master: Storage | None
    masters: tuple[Storage, ...]
    format_names: tuple[str, ...]
    path: str
    use_recycle_bin: bool
    listed: Kept[tuple[float, list[Storage]]]


def make_plan(iconik: Iconik, settings: Settings) -> Plan:
    """Return the plan for some settings.

    Raises:
        AdministratorError: no storage has the name, or several have it.
    """
    listed = Kept(lambda: (iconik.now(), iconik.storages()), LISTED, iconik.now)
    _, storages = listed.read()
    name, master = settings.master_storage_name, None
    if name:
        master = find_storage(storages, MASTER, name)
    return Plan(
        storage=find_storage(
            storages, "STORAGE_NAME, or storage= in the URL", settings.storage_name
        ),
        master=master,
        masters=(master,) if master else tuple(each for each in storages if each.method == "B2"),
        format_names=settings.format_names,
        path=settings.storage_path,
        use_recycle_bin=settings.use_recycle_bin,
        listed=listed,
    )


def find_storage(storages: Sequence[Storage], setting: str, name: str) -> Storage:
    """Return the storage with exactly this name.

    Args:
        storages: all storages.
        setting: the setting that holds the name, for the message.
        name: the name of the storage.

    Raises:
        AdministratorError: no storage has the name, or several have it; the message lists all
            names.
    """
    found = [storage for storage in storages if storage.name == name]
    if len(found) != 1:
        names = ", ".join(sorted(str(storage.name) for storage in storages)) or "none"
        raise AdministratorError(
            f"{setting}: the token's user sees {len(found) or 'no'} storages named {name}; "
            f"there must be exactly one. That user sees {names}."
        )
    return found[0]


def check_removal(plan: Plan) -> tuple[float, frozenset[str]]:
    """Check that the storages allow a removal now.

    Returns:
        When iconik was asked for the storages, in seconds, and the ids of those whose copies count.

    Raises:
        AdministratorError: they do not; nothing is removed.
    """
    asked, listed = plan.listed.read()
    now = {each.id: each for each in listed}
    masters = [now[each.id] for each in plan.masters if each.id in now]
    if not plan.master:
        masters = [each for each in masters if each.method == "B2"]
    if obstacle := _obstacle(now.get(plan.storage.id), masters):
        raise AdministratorError(f"Nothing is removed from {plan.storage.name}: {obstacle}.")
    return asked, frozenset(master.id for master in masters if master.is_active)


def _obstacle(storage: Storage | None, masters: Sequence[Storage]) -> str | None:
    """Return why the storages do not allow a removal, and the remedy; None: they allow it."""
    remedy = "set STORAGE_NAME, or storage= in the custom action's URL, to the one to copy to"
    if storage is None:
        return f"iconik no longer lists it; {remedy}"
    if storage.method != "FILE":
        return (
            f"it is of type {storage.method}, and files are removed only from storages of type "
            f"FILE; {remedy}"
        )
    if own := [master for master in masters if _is_same_place(master, storage)]:
        return f"its files are the masters of {own[0].name}; {remedy}"
    if not any(master.is_active for master in masters):
        states = ", ".join(f"{master.name} is {master.status}" for master in masters)
        return (
            f"no storage for masters is ACTIVE ({states or 'none is of type B2'}); check its "
            f"settings in iconik, or set {MASTER}"
        )
    return None


def _is_same_place(master: Storage, storage: Storage) -> bool:
    """Whether two storages are the same or share a mount point, so they have the same files."""
    is_mounted = master.method == "FILE" and storage.mount_point is not None
    return master.id == storage.id or (is_mounted and master.mount_point == storage.mount_point)
