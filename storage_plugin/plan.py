"""What an action works with: the storages that the settings name, as iconik lists them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from storage_plugin.errors import AdministratorError
from storage_plugin.iconik import Iconik, Storage
from storage_plugin.kept import Kept
from storage_plugin.settings import Settings

LISTED = 2.5
"""Seconds for which a list of storages is evidence: half as long as evidence may be old."""


@dataclass(frozen=True)
class Plan:
    """What an action works with.

    Attributes:
        storage: that files are copied to and deleted from.
        master: the storage that MASTER_STORAGE_NAME names; None: it names none.
        masters: the storages whose copies count as masters.
        format_names: the formats that are copied and deleted.
        path: the folder on the storage that files are copied into; empty: as at the source.
        use_recycle_bin: whether what is deleted can be restored for some time.
        listed: when iconik listed the storages, and what it listed.
    """

    storage: Storage
    master: Storage | None
    masters: tuple[Storage, ...]
    format_names: tuple[str, ...]
    path: str
    use_recycle_bin: bool
    listed: Kept[tuple[float, list[Storage]]] = field(repr=False, compare=False)

    def active_masters(self) -> tuple[float, frozenset[str]]:
        """Return the ids of the storages whose copies count now, and since when that is known."""
        asked, storages = self.listed.read()
        own = {master.id for master in self.masters}
        return asked, frozenset(each.id for each in storages if each.id in own and each.is_active)


def make_plan(iconik: Iconik, settings: Settings) -> Plan:
    """Return the plan that the settings mean.

    Raises:
        AdministratorError: a name belongs to no storage, or to several.
    """
    listed = Kept(lambda: (iconik.now(), iconik.storages()), LISTED, iconik.now)
    _, storages = listed.read()
    name, master = settings.master_storage_name, None
    if name:
        master = find_storage(storages, "MASTER_STORAGE_NAME", name)
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


def check_removal(plan: Plan) -> None:
    """See that the storages allow a removal.

    Raises:
        AdministratorError: they do not; nothing is removed.
    """
    storage, masters = plan.storage, plan.masters
    remedy = "let STORAGE_NAME, or storage= in the custom action's URL, name the one to copy to."
    if storage.method != "FILE":
        raise AdministratorError(
            f"Nothing is removed from {storage.name}: it is of type {storage.method}, and files "
            f"are removed only from storages of type FILE; {remedy}"
        )
    if own := [master for master in masters if _is_same_place(master, storage)]:
        raise AdministratorError(
            f"Nothing is removed from {storage.name}, because its files are the masters of "
            f"{own[0].name}; {remedy}"
        )
    if not any(master.is_active for master in masters):
        states = ", ".join(f"{master.name} is {master.status}" for master in masters)
        raise AdministratorError(
            f"Nothing is removed while no storage for masters is ACTIVE ({states or 'none is B2'}):"
            " see iconik's settings of it, or set MASTER_STORAGE_NAME."
        )


def _is_same_place(master: Storage, storage: Storage) -> bool:
    """Whether two storages are one, or share a mount point, so that a file is on both."""
    is_mounted = master.method == "FILE" and storage.mount_point is not None
    return master.id == storage.id or (is_mounted and master.mount_point == storage.mount_point)
