"""Looking at one asset: what iconik states about it, for the rule to judge."""

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

from storage_plugin.errors import (
    IconikUnavailable,
    OutOfTime,
    PluginError,
    Stale,
    TooManyFiles,
)
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import File, FileSet, Format, Storage
from storage_plugin.settings import Settings
from storage_plugin.storages import Storages, check_removal

FRESH = 5.0
"""Seconds for which evidence is fresh, counted from just before the first request for it."""

SHARED = 1.0
"""Seconds for which assets in progress share a list of storages."""

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
        self._asked, self._answer = -math.inf, Future[T]()

    def read(self) -> tuple[float, T]:
        """Return when iconik was asked, and the answer."""
        with self._lock:
            now = self._clock()
            is_first = now - self._asked >= self._seconds
            if is_first:
                self._asked, self._answer = now, Future()
            asked, answer = self._asked, self._answer
        if is_first:
            self._fill(answer)
        return asked, answer.result()

    def _fill(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask())
        except PluginError as error:
            answer.set_exception(error)
            self._asked = -math.inf  # The next thread asks again.


class Removal:
    """One removal: what its assets have in common. Its threads share this object.

    Args:
        iconik: a client.
        storages: the storage to remove from, and those with the masters.
        settings: the formats to remove, and whether the recycle bin is used.
        clicked: when the editor clicked, in seconds since 1970, if the removal had to wait since;
            what was added to the storage later stays.

    Attributes:
        arriving: the assets that iconik is copying to the storage. The list may lack some.
    """

    def __init__(
        self,
        iconik: Iconik,
        storages: Storages,
        settings: Settings,
        clicked: float | None = None,
    ) -> None:
        self.iconik, self.storages, self.settings = iconik, storages, settings
        self.clicked = clicked
        self.arriving = Shared(self._list_arriving, math.inf, iconik.now)
        self._listed = Shared(iconik.storages, SHARED, iconik.now)

    def masters(self) -> tuple[float, dict[str, Storage]]:
        """Return when iconik was asked for the storages, and those whose copies count, by id.

        Raises:
            AdministratorError: the storages do not allow a removal.
        """
        asked, listed = self._listed.read()
        return asked, check_removal(self.storages, listed)

    def _list_arriving(self) -> frozenset[str | None]:
        transfers = self.iconik.transfers_to(self.storages.storage.id)
        return frozenset(each.asset_id for each in transfers)


class Evidence(NamedTuple):
    """iconik's statements about one asset, and what a removal wants.

    Attributes:
        storage: the storage to remove from.
        masters: the storages whose copies count as masters, by id.
        format_names: the formats to remove.
        to_bin: whether removed files go to iconik's recycle bin.
        clicked: see `Removal`.
        asked: the moment before the first request for evidence, in seconds that never go back.
        file_sets: iconik's own records of the file sets, of all formats and storages, by id.
        formats: the formats of the asset's current version, by id.
        files: the rows of the files, by the id of the file set.
    """

    storage: Storage
    masters: Mapping[str, Storage]
    format_names: Sequence[str]
    to_bin: bool
    clicked: float | None
    asked: float
    file_sets: Mapping[str, FileSet]
    formats: Mapping[str, Format] = {}
    files: Mapping[str, Sequence[File]] = {}

    @property
    def present(self) -> list[FileSet]:
        """The file sets that are on the storage, or may be because iconik does not say where."""
        return [
            each for each in self.file_sets.values() if each.storage_id in (self.storage.id, None)
        ]

    @property
    def doomed(self) -> list[FileSet]:
        """The file sets that are to be deleted if the rule allows it.

        Those whose format iconik does not name are among them, so that somebody learns of them.
        """
        spared = ("ARCHIVED", "DELETED") if self.to_bin else ("ARCHIVED",)
        chosen = {each.id for each in self.formats.values() if each.name in self.format_names}
        return [
            each
            for each in self.present
            if each.status not in spared
            and (each.format_id in chosen or each.format_id is None)
            and not self._is_purged(each)
        ]

    def files_of(self, file_set: FileSet) -> Sequence[File]:
        """Return the rows of a file set."""
        return self.files.get(file_set.id, ())

    def _is_purged(self, file_set: FileSet) -> bool:
        """Whether only the record is left of a file set in the recycle bin."""
        is_empty = not (file_set.file_count or self.files_of(file_set))
        return file_set.status == "DELETED" and is_empty


def look(removal: Removal, asset_id: str) -> Evidence:
    """Ask iconik for the evidence that the rule needs, and no more.

    Raises:
        AdministratorError: the storages do not allow a removal.
        TooManyFiles: the rows of this asset alone take too long to read.
    """
    iconik, settings = removal.iconik, removal.settings
    evidence = Evidence(
        storage=removal.storages.storage,
        masters={},
        format_names=settings.format_names,
        to_bin=settings.use_recycle_bin,
        clicked=removal.clicked,
        asked=iconik.now(),
        file_sets=_file_sets(iconik, asset_id),
    )
    if not evidence.present:
        return evidence
    evidence = evidence._replace(formats=_formats(iconik, asset_id))
    if not evidence.doomed:
        return evidence
    evidence = evidence._replace(files=_files(removal, asset_id, evidence))
    listed, masters = removal.masters()
    return evidence._replace(masters=masters, asked=min(evidence.asked, listed))


def renew(removal: Removal, asset_id: str, evidence: Evidence) -> Evidence:
    """Return evidence as fresh if all that iconik stated besides the rows of files is unchanged.

    It may take longer to read and judge many rows than evidence stays fresh. The records of the
    file sets state the number of files and the last change, so rows that were read before the same
    records are still right.

    Raises:
        Stale: something has changed.
    """
    iconik, asked = removal.iconik, removal.iconik.now()
    asks: tuple[Callable[[], Any], ...] = (
        lambda: _file_sets(iconik, asset_id),
        lambda: _formats(iconik, asset_id),
        removal.masters,
    )
    file_sets, formats, (listed, masters) = side_by_side(lambda ask: ask(), asks)
    if (file_sets, formats, masters) != (evidence.file_sets, evidence.formats, evidence.masters):
        raise Stale("The asset has changed while its files were compared: try again later.")
    return evidence._replace(asked=min(asked, listed))


def _file_sets(iconik: Iconik, asset_id: str) -> dict[str, FileSet]:
    return {each.id: each for each in iconik.file_sets(asset_id)}


def _formats(iconik: Iconik, asset_id: str) -> dict[str, Format]:
    """Return the formats of an asset that has file sets, by id."""
    if formats := {each.id: each for each in iconik.formats(asset_id)}:
        return formats
    raise IconikUnavailable("iconik lists file sets, but no formats of the asset: try again later.")


def _files(removal: Removal, asset_id: str, evidence: Evidence) -> dict[str, list[File]]:
    """Return the rows of an asset's files, by the id of the file set."""
    iconik, rows = removal.iconik, defaultdict(list)
    begun = iconik.now()
    try:
        for file in iconik.files(asset_id):
            rows[file.file_set_id].append(file)
    except OutOfTime:
        if iconik.now() - begun < removal.settings.timeout / 2:
            raise
        count = sum(each.file_count or 0 for each in evidence.file_sets.values())
        raise TooManyFiles(
            f"Comparing {count:,} files takes longer than the function's time limit: use a queue."
        ) from None
    return dict(rows)
