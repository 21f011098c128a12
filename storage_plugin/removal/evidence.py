"""Looking at one asset: what iconik states about it, for the rule to judge."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from storage_plugin.errors import IconikUnavailable, OutOfTime, PluginError
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import File, FileSet, Format, Storage
from storage_plugin.names import visible
from storage_plugin.settings import Settings
from storage_plugin.storages import check_removal, find_storages

FRESH = 5.0  # Seconds for which evidence is fresh, from just before the first request for it.
SHARED = 1.0  # Seconds for which assets share a list of storages, which is evidence, too.

T = TypeVar("T")


@dataclass
class Removal:
    """One removal: what its assets have in common. Its threads share this object.

    Raises AdministratorError if the storages do not allow a removal.
    """

    iconik: Iconik
    settings: Settings
    # When the editor clicked, in seconds since 1970, or None if the removal has not waited since
    # then. What was added to the storage later stays.
    clicked: float | None = None
    awaited: Collection[str] = ()  # The assets whose copies to the masters were requested before.

    def __post_init__(self) -> None:
        self._listed = self.iconik.now(), _once(self.iconik.storages)
        listed = self._listed[1]()
        self.storages = find_storages(listed, self.settings)
        check_removal(self.storages, listed)
        ids, id = [each.id for each in self.storages.masters], self.storages.storage.id
        # Returns the assets that iconik is copying to the storage, perhaps not all.
        self.arriving = _once(lambda: {each.asset_id for each in self.iconik.transfers(ids, id)})

    def masters(self) -> tuple[float, dict[str, Storage]]:
        """Return when iconik was asked for the storages, and those that `check_removal` returns."""
        if (now := self.iconik.now()) - self._listed[0] >= SHARED:
            self._listed = now, _once(self.iconik.storages)
        asked, listed = self._listed  # Together, because another thread may replace both.
        return asked, check_removal(self.storages, listed())


def _once(ask: Callable[[], T]) -> Callable[[], T]:
    """Return a function that asks once, for all threads; after an error, the next asks again."""
    lock, answer = Lock(), functools.cache(ask)

    def read() -> T:
        with lock:
            return answer()

    return read


class Evidence(NamedTuple):
    """iconik's statements about one asset."""

    storage: Storage  # The one to remove from.
    clicked: float | None  # See `Removal`.
    file_sets: Mapping[str, FileSet]  # iconik's own records, of all formats and storages, by id.
    asked: float = 0.0  # Just before the first request for evidence, by the clock of the pace.
    formats: Mapping[str, Format] = {}  # Those of the asset's current version, by id.
    files: Mapping[str, Sequence[File]] = {}  # The rows, by the id of the file set.
    masters: Mapping[str, Storage] = {}  # The storages whose copies count as masters, by id.
    doomed: Sequence[FileSet] = ()  # Those that are to be deleted if the rule allows it.

    @property
    def present(self) -> list[FileSet]:
        """The file sets that are on the storage, or may be because iconik does not say where."""
        places = (self.storage.id, None)
        return [each for each in self.file_sets.values() if each.storage_id in places]

    def masters_of(self, file_set: FileSet) -> list[FileSet]:
        """Return the file sets of the same format on the storages for masters."""
        ours = [each for each in self.file_sets.values() if each.format_id == file_set.format_id]
        return [each for each in ours if each.storage_id in self.masters]

    def format_of(self, file_set: FileSet) -> str:
        """Return the name of a file set's format, in words if iconik does not list the format."""
        format = self.formats.get(str(file_set.format_id))
        return visible(format.name) if format else "an earlier version"

    def storage_name(self, storage_id: str | None = None) -> str:
        """Return the name of a storage for masters, or else of the one to remove from."""
        return visible(self.masters.get(str(storage_id), self.storage).name)

    def where(self, file_set: FileSet) -> str:
        """Return a file set in words: its format and its storage."""
        return f"{self.format_of(file_set)} on {self.storage_name(file_set.storage_id)}"


def look(removal: Removal, asset_id: str) -> Evidence:
    """Ask iconik for the evidence that the rule needs, and no more.

    Raises AdministratorError if the storages do not allow a removal, and PluginError if reading the
    rows of this asset alone takes too long.
    """
    iconik, asked = removal.iconik, removal.iconik.now()
    file_sets = {each.id: each for each in iconik.file_sets(asset_id)}
    evidence = Evidence(removal.storages.storage, removal.clicked, file_sets)
    if evidence.present:
        evidence = evidence._replace(formats=_formats(iconik, asset_id))
    if not (chosen := _chosen(removal.settings, evidence)):
        return evidence
    files = _files(removal, asset_id, evidence)
    listed, masters = removal.masters()
    # Of some file sets in the recycle bin, only the record is left.
    doomed = [
        each for each in chosen if each.status != "DELETED" or each.file_count or files[each.id]
    ]
    return evidence._replace(asked=min(asked, listed), files=files, masters=masters, doomed=doomed)


def renew(removal: Removal, asset_id: str, evidence: Evidence) -> Evidence:
    """Return the evidence as fresh if all of it but the rows of files, read again, is unchanged.

    It may take longer to read and judge many rows than evidence stays fresh. The records of file
    sets state the number of files and the last change, so rows between equal records are right.

    Raises IconikUnavailable if something has changed; then look again.
    """
    iconik, asked = removal.iconik, removal.iconik.now()
    asks: tuple[Callable[[], Any], ...] = (
        lambda: {each.id: each for each in iconik.file_sets(asset_id)},
        lambda: _formats(iconik, asset_id),
        removal.masters,
    )
    file_sets, formats, (listed, masters) = side_by_side(lambda ask: ask(), asks)
    if (file_sets, formats, masters) != (evidence.file_sets, evidence.formats, evidence.masters):
        changed = "The asset changed while its files were compared: try again later."
        raise IconikUnavailable(changed, status=504)
    return evidence._replace(asked=min(asked, listed))


def _formats(iconik: Iconik, asset_id: str) -> dict[str, Format]:
    """Return the formats of an asset that has file sets, by id."""
    if formats := {each.id: each for each in iconik.formats(asset_id)}:
        return formats
    raise IconikUnavailable("iconik lists file sets of the asset, but no formats: try again later.")


def _chosen(settings: Settings, evidence: Evidence) -> list[FileSet]:
    """Return the file sets on the storage of the chosen formats, without those in the archive.

    Those whose format or storage iconik does not state are among them, so that the rule says why
    they stay. Those in the recycle bin are not, if removed files go there.
    """
    spared = ("ARCHIVED", "DELETED") if settings.use_recycle_bin else ("ARCHIVED",)
    formats, present = evidence.formats.values(), evidence.present
    ids = (None, *(each.id for each in formats if each.name in settings.format_names))
    return [each for each in present if each.format_id in ids and each.status not in spared]


def _files(removal: Removal, asset_id: str, evidence: Evidence) -> dict[str, list[File]]:
    """Return the rows of an asset's files, by the id of the file set."""
    rows: dict[str, list[File]] = {id: [] for id in evidence.file_sets}
    begun = removal.iconik.now()
    try:
        for file in removal.iconik.files(asset_id):
            rows.setdefault(file.file_set_id, []).append(file)
    except OutOfTime:
        if removal.iconik.now() - begun < removal.settings.timeout / 2:
            raise
        count = sum(each.file_count or 0 for each in evidence.file_sets.values())
        raise PluginError(
            f"Comparing {count:,} files takes longer than the function's time limit: use a queue.",
            status=504,
        ) from None
    return rows
