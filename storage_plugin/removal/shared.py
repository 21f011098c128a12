"""What the assets of one removal share: the storages, and answers of iconik's for some seconds."""

import math
import threading
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.rows import Storage
from storage_plugin.settings import Settings
from storage_plugin.storages import check_removal, find_storages

SHARED = 1.0
"""Seconds for which assets share a list of storages: a part of those for which it is evidence."""

T = TypeVar("T")


class Shared(Generic[T]):
    """An answer of iconik's that threads share for some seconds.

    Args:
        ask: asks iconik.
        seconds: for which an answer is shared, from just before it is asked for.
        clock: returns seconds that never go back.
    """

    def __init__(self, ask: Callable[[], T], seconds: float, clock: Callable[[], float]) -> None:
        self._ask, self._seconds, self._clock = ask, seconds, clock
        self._lock = threading.Lock()
        self._last: tuple[float, T] | None = None

    def read(self) -> tuple[float, T]:
        """Return when iconik was asked, and the answer. While one thread asks, the others wait."""
        wanted = self._clock()
        with self._lock:
            if self._last is None or wanted - self._last[0] >= self._seconds:
                self._last = self._clock(), self._ask()
            return self._last


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
        arriving: the assets that iconik is copying to the storage. The list may lack some.

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
        self.arriving = Shared(self._list_arriving, math.inf, iconik.now)
        self._listed = Shared(iconik.storages, SHARED, iconik.now)
        _, listed = self._listed.read()
        self.storages = find_storages(listed, settings)
        check_removal(self.storages, listed)

    def masters(self) -> tuple[float, dict[str, Storage]]:
        """Return when iconik was asked for the storages, and those whose copies count, by id.

        Raises:
            AdministratorError: the storages do not allow a removal.
        """
        asked, listed = self._listed.read()
        return asked, check_removal(self.storages, listed)

    def _list_arriving(self) -> frozenset[str | None]:
        master_ids = [each.id for each in self.storages.masters]
        transfers = self.iconik.transfers(master_ids, self.storages.storage.id)
        return frozenset(each.asset_id for each in transfers)
