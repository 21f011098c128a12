"""What the assets of one removal share: the storages, and what iconik is copying to one of them."""

from collections.abc import Callable, Collection
from threading import Lock
from typing import TypeVar

from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.rows import Storage
from storage_plugin.settings import Settings
from storage_plugin.storages import check_removal, find_storages

SHARED = 1.0
"""Seconds for which assets share a list of storages: a part of those for which it is evidence."""

T = TypeVar("T")


def once(ask: Callable[[], T]) -> Callable[[], T]:
    """Return a function that asks once, for all threads; after an error, the next asks again."""
    lock, answers = Lock(), list[T]()

    def read() -> T:
        with lock:
            if not answers:
                answers.append(ask())
            return answers[0]

    return read


class Removal:
    """One removal: what its assets have in common. Its threads share this object.

    Args:
        iconik: a client.
        settings: the storages, the formats to remove, and whether the recycle bin is used.
        clicked: when the editor clicked, in seconds since 1970, if the removal has waited since
            then; what was added to the storage later stays. None: it has not waited.
        awaited: the assets whose copies to the masters' storage were requested before.

    Attributes:
        storages: the storage to remove from, and those with the masters.
        arriving: returns the assets that iconik is copying to the storage, perhaps not all.

    Raises:
        AdministratorError: the storages do not allow a removal.
    """

    def __init__(
        self,
        iconik: Iconik,
        settings: Settings,
        clicked: float | None = None,
        awaited: Collection[str] = (),
    ) -> None:
        self.iconik, self.settings = iconik, settings
        self.clicked, self.awaited = clicked, awaited
        self.arriving = once(self._list_arriving)
        self._lock = Lock()
        self._asked, self._listed = iconik.now(), once(iconik.storages)
        self.storages = find_storages(self._listed(), settings)
        check_removal(self.storages, self._listed())

    def masters(self) -> tuple[float, dict[str, Storage]]:
        """Return when iconik was asked for the storages, and those whose copies count, by id.

        Raises:
            AdministratorError: the storages do not allow a removal.
        """
        with self._lock:
            if (now := self.iconik.now()) - self._asked >= SHARED:
                self._asked, self._listed = now, once(self.iconik.storages)
            asked, listed = self._asked, self._listed
        return asked, check_removal(self.storages, listed())

    def _list_arriving(self) -> frozenset[str | None]:
        master_ids = [each.id for each in self.storages.masters]
        transfers = self.iconik.transfers(master_ids, self.storages.storage.id)
        return frozenset(each.asset_id for each in transfers)
