"""Looking at one asset: what iconik states about it, for the rule to judge."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from storage_plugin.errors import IconikUnavailable, OutOfTime, PluginError, Stale
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import File, FileSet, Format, Storage
from storage_plugin.names import visible
from storage_plugin.removal.shared import Removal

FRESH = 5.0
"""Seconds for which evidence is fresh, counted from just before the first request for it."""


class Evidence(NamedTuple):
    """iconik's statements about one asset, and what a removal wants.

    Attributes:
        storage: the storage to remove from.
        format_names: the formats to remove.
        to_bin: whether removed files go to iconik's recycle bin.
        clicked: when the editor clicked, if the removal has waited since then; see `Removal`.
        asked: the moment before the first request for evidence, in seconds that never go back.
        file_sets: iconik's own records of the file sets, of all formats and storages, by id.
        formats: the formats of the asset's current version, by id.
        files: the rows of the files, by the id of the file set.
        masters: the storages whose copies count as masters, by id.
    """

    storage: Storage
    format_names: Sequence[str]
    to_bin: bool
    clicked: float | None
    asked: float
    file_sets: Mapping[str, FileSet]
    formats: Mapping[str, Format] = {}
    files: Mapping[str, Sequence[File]] = {}
    masters: Mapping[str, Storage] = {}

    @property
    def present(self) -> list[FileSet]:
        """The file sets that are on the storage, or may be because iconik does not say where."""
        places = (self.storage.id, None)
        return [each for each in self.file_sets.values() if each.storage_id in places]

    @property
    def chosen(self) -> list[FileSet]:
        """The file sets on the storage of the chosen formats, without those in the archive.

        Those whose format or storage iconik does not state are among them, so that the rule says
        why they stay. Those in the recycle bin are not, if removed files go there.
        """
        spared = ("ARCHIVED", "DELETED") if self.to_bin else ("ARCHIVED",)
        ids = {id for id, each in self.formats.items() if each.name in self.format_names}
        return [
            each
            for each in self.present
            if each.format_id in {*ids, None} and each.status not in spared
        ]

    @property
    def doomed(self) -> list[FileSet]:
        """The file sets that are to be deleted if the rule allows it.

        These are the chosen ones, without those of which the recycle bin has only the record.
        """
        return [
            each
            for each in self.chosen
            if each.status != "DELETED" or each.file_count or self.files_of(each)
        ]

    def masters_of(self, file_set: FileSet) -> list[FileSet]:
        """Return the file sets of the same format on the storages for masters."""
        return [
            each
            for each in self.file_sets.values()
            if each.format_id == file_set.format_id and each.storage_id in self.masters
        ]

    def files_of(self, file_set: FileSet) -> Sequence[File]:
        """Return the rows of a file set."""
        return self.files.get(file_set.id, ())

    def is_in_bin(self, file_set_id: str) -> bool:
        """Whether a file set is in iconik's recycle bin."""
        record = self.file_sets.get(file_set_id)
        return record is not None and record.status == "DELETED"

    def where(self, file_set: FileSet) -> str:
        """Return a file set in words: its format and its storage."""
        return f"{self.format_of(file_set)} on {self.storage_name(file_set.storage_id)}"

    def format_of(self, file_set: FileSet) -> str:
        """Return the name of a file set's format, in words if iconik does not list the format."""
        of = self.formats.get(str(file_set.format_id))
        return visible(of.name) if of else "an earlier version"

    @property
    def master_names(self) -> str:
        """The names of the storages whose copies count as masters."""
        return " or ".join(map(self.storage_name, self.masters))

    def owner(self, file_set_id: str) -> str:
        """Return the format of a file set in words; iconik may not list the file set yet."""
        file_set = self.file_sets.get(file_set_id)
        return self.format_of(file_set) if file_set else "another file set"

    def storage_name(self, storage_id: str | None) -> str:
        """Return the name of one of the storages of the removal."""
        storages = {self.storage.id: self.storage, **self.masters}
        of = storages.get(str(storage_id))
        return visible(of.name or of.id) if of else "a storage"


def look(removal: Removal, asset_id: str) -> Evidence:
    """Ask iconik for the evidence that the rule needs, and no more.

    Raises:
        AdministratorError: the storages do not allow a removal.
        PluginError: the rows of this asset alone take too long to read.
    """
    iconik, settings = removal.iconik, removal.settings
    evidence = Evidence(
        storage=removal.storages.storage,
        format_names=settings.format_names,
        to_bin=settings.use_recycle_bin,
        clicked=removal.clicked,
        asked=iconik.now(),
        file_sets=_file_sets(iconik, asset_id),
    )
    if evidence.present:
        evidence = evidence._replace(formats=_formats(iconik, asset_id))
    if evidence.chosen:
        files = _files(removal, asset_id, evidence)
        listed, masters = removal.masters()
        asked = min(evidence.asked, listed)
        evidence = evidence._replace(files=files, masters=masters, asked=asked)
    return evidence


def renew(removal: Removal, asset_id: str, evidence: Evidence) -> Evidence:
    """Return evidence as fresh if all that iconik stated besides the rows of files is unchanged.

    It may take longer to read and judge many rows than evidence stays fresh. The records of file
    sets state the number of files and the last change, so rows between equal records are right.

    Raises:
        Stale: something has changed; look again.
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
    raise IconikUnavailable("iconik lists file sets of the asset, but no formats: try again later.")


def _files(removal: Removal, asset_id: str, evidence: Evidence) -> dict[str, list[File]]:
    """Return the rows of an asset's files, by the id of the file set."""
    rows, begun = defaultdict(list), removal.iconik.now()
    try:
        for file in removal.iconik.files(asset_id):
            rows[file.file_set_id].append(file)
    except OutOfTime:
        if removal.iconik.now() - begun < removal.settings.timeout / 2:
            raise
        count = sum(each.file_count or 0 for each in evidence.file_sets.values())
        raise PluginError(
            f"Comparing {count:,} files takes longer than the function's time limit: use a queue.",
            status=504,
        ) from None
    return rows
