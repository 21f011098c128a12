"""Looking at one asset: what iconik states about it, for the rule to judge."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from storage_plugin.errors import IconikUnavailable, OutOfTime, PluginError
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import File, FileSet, Format, Storage
from storage_plugin.names import visible
from storage_plugin.removal.shared import Removal

FRESH = 5.0
"""Seconds for which evidence is fresh, counted from just before the first request for it."""


class Evidence(NamedTuple):
    """iconik's statements about one asset.

    Attributes:
        storage: the storage to remove from.
        clicked: when the editor clicked, if the removal has waited since then; see `Removal`.
        asked: the moment before the first request for evidence, in seconds that never go back.
        file_sets: iconik's own records of the file sets, of all formats and storages, by id.
        formats: the formats of the asset's current version, by id.
        files: the rows of the files, by the id of the file set.
        masters: the storages whose copies count as masters, by id.
        doomed: the file sets that are to be deleted if the rule allows it.
    """

    storage: Storage
    clicked: float | None
    asked: float
    file_sets: Mapping[str, FileSet]
    formats: Mapping[str, Format] = {}
    files: Mapping[str, Sequence[File]] = {}
    masters: Mapping[str, Storage] = {}
    doomed: Sequence[FileSet] = ()

    @property
    def present(self) -> list[FileSet]:
        """The file sets that are on the storage, or may be because iconik does not say where."""
        places = (self.storage.id, None)
        return [each for each in self.file_sets.values() if each.storage_id in places]

    def masters_of(self, file_set: FileSet) -> list[FileSet]:
        """Return the file sets of the same format on the storages for masters."""
        return [
            each
            for each in self.file_sets.values()
            if each.format_id == file_set.format_id and each.storage_id in self.masters
        ]

    def format_of(self, file_set: FileSet) -> str:
        """Return the name of a file set's format, in words if iconik does not list the format."""
        of = self.formats.get(str(file_set.format_id))
        return visible(of.name) if of else "an earlier version"

    def storage_name(self, storage_id: str | None = None) -> str:
        """Return the name of a storage for masters, or else of the one to remove from."""
        of = self.masters.get(str(storage_id), self.storage)
        return visible(of.name)

    def where(self, file_set: FileSet) -> str:
        """Return a file set in words: its format and its storage."""
        return f"{self.format_of(file_set)} on {self.storage_name(file_set.storage_id)}"


def look(removal: Removal, asset_id: str) -> Evidence:
    """Ask iconik for the evidence that the rule needs, and no more.

    Raises:
        AdministratorError: the storages do not allow a removal.
        PluginError: the rows of this asset alone take too long to read.
    """
    iconik, storage, asked = removal.iconik, removal.storages.storage, removal.iconik.now()
    evidence = Evidence(storage, removal.clicked, asked, _file_sets(iconik, asset_id))
    if not evidence.present:
        return evidence
    evidence = evidence._replace(formats=_formats(iconik, asset_id))
    if not (chosen := _chosen(removal, evidence)):
        return evidence
    files = _files(removal, asset_id, evidence)
    listed, masters = removal.masters()
    # Of some file sets in the recycle bin, only the record is left.
    doomed = [
        each for each in chosen if each.status != "DELETED" or each.file_count or files[each.id]
    ]
    asked = min(evidence.asked, listed)
    return evidence._replace(asked=asked, files=files, masters=masters, doomed=doomed)


def renew(removal: Removal, asset_id: str, evidence: Evidence) -> Evidence:
    """Return evidence as fresh if all that iconik stated besides the rows of files is unchanged.

    It may take longer to read and judge many rows than evidence stays fresh. The records of file
    sets state the number of files and the last change, so rows between equal records are right.

    Raises:
        IconikUnavailable: something has changed; look again.
    """
    iconik, asked = removal.iconik, removal.iconik.now()
    asks: tuple[Callable[[], Any], ...] = (
        lambda: _file_sets(iconik, asset_id),
        lambda: _formats(iconik, asset_id),
        removal.masters,
    )
    file_sets, formats, (listed, masters) = side_by_side(lambda ask: ask(), asks)
    if (file_sets, formats, masters) != (evidence.file_sets, evidence.formats, evidence.masters):
        changed = "The asset has changed while its files were compared: try again later."
        raise IconikUnavailable(changed, status=504)
    return evidence._replace(asked=min(asked, listed))


def _file_sets(iconik: Iconik, asset_id: str) -> dict[str, FileSet]:
    return {each.id: each for each in iconik.file_sets(asset_id)}


def _formats(iconik: Iconik, asset_id: str) -> dict[str, Format]:
    """Return the formats of an asset that has file sets, by id."""
    if formats := {each.id: each for each in iconik.formats(asset_id)}:
        return formats
    raise IconikUnavailable("iconik lists file sets of the asset, but no formats: try again later.")


def _chosen(removal: Removal, evidence: Evidence) -> list[FileSet]:
    """Return the file sets on the storage of the chosen formats, without those in the archive.

    Those whose format or storage iconik does not state are among them, so that the rule says why
    they stay. Those in the recycle bin are not, if removed files go there.
    """
    settings = removal.settings
    spared = ("ARCHIVED", "DELETED") if settings.use_recycle_bin else ("ARCHIVED",)
    names = settings.format_names
    ids = {None, *(id for id, each in evidence.formats.items() if each.name in names)}
    return [
        each for each in evidence.present if each.format_id in ids and each.status not in spared
    ]


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
