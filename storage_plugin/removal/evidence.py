"""Looking at one asset: what iconik states about it, for the rule to judge."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storage_plugin.errors import OutOfTime, TooManyFiles
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.rows import File, FileSet, Format
from storage_plugin.iconik.pages import PAGE
from storage_plugin.storages import Plan, check_removal

FRESH = 5.0
"""Seconds for which evidence is fresh, counted from just before the first request for it."""


class Evidence(NamedTuple):
    """iconik's statements about one asset.

    Attributes:
        doomed: the file sets that are to be deleted if the rule allows it.
        master_ids: the ids of the storages whose copies count as masters.
        formats: the formats whose files are to be deleted, by id.
        file_sets: iconik's own records of the file sets, of all formats and storages.
        files: the rows of their files, by the id of the file set.
        asked: the moment before the first request for evidence, in seconds that never go back.
    """

    doomed: Sequence[FileSet]
    master_ids: frozenset[str]
    formats: Mapping[str, Format]
    file_sets: Sequence[FileSet]
    files: Mapping[str, Sequence[File]]
    asked: float

    def masters_of(self, doomed: FileSet) -> list[FileSet]:
        """Return the file sets that could be a complete copy of a doomed one."""
        return [
            each
            for each in self.file_sets
            if each.format_id == doomed.format_id and each.storage_id in self.master_ids
        ]

    def files_of(self, file_set: FileSet) -> Sequence[File]:
        """Return the rows of a file set."""
        return self.files.get(file_set.id, ())


def look(iconik: Iconik, asset_id: str, plan: Plan) -> Evidence:
    """Ask iconik for the evidence that the rule needs, and no more.

    Raises:
        AdministratorError: the storages do not allow a removal.
        TooManyFiles: the rows of this asset alone take too long to read.
    """
    asked = iconik.now()
    file_sets = iconik.file_sets(asset_id)
    doomed = [each for each in file_sets if _is_doomed(each, plan)]
    formats = _formats(iconik, asset_id, plan) if doomed else {}
    doomed = [each for each in doomed if each.format_id in formats]
    files = _files(iconik, asset_id, file_sets) if doomed else {}
    listed, master_ids = check_removal(plan) if doomed else (asked, frozenset())
    return Evidence(
        doomed=doomed,
        master_ids=master_ids,
        formats=formats,
        file_sets=file_sets,
        files=files,
        asked=min(asked, listed),
    )


def confirm(iconik: Iconik, asset_id: str, plan: Plan, before: Evidence) -> Evidence | None:
    """Return stale evidence with many rows of files as fresh, if iconik's records are unchanged.

    It may take longer to read many pages of rows than evidence stays fresh, so another look would
    be stale, too. Unchanged records of the file sets, with their numbers of files, take its place.

    Returns:
        None: only another look can renew the evidence.
    """
    if sum(map(len, before.files.values())) <= PAGE:
        return None
    asked = iconik.now()
    records = iconik.file_sets(asset_id), _formats(iconik, asset_id, plan)
    listed, master_ids = check_removal(plan)
    if (*records, master_ids) != (before.file_sets, before.formats, before.master_ids):
        return None
    return before._replace(asked=min(asked, listed))


def _is_doomed(file_set: FileSet, plan: Plan) -> bool:
    """Whether a file set is a candidate for the deletion, regardless of its format."""
    spared = ("ARCHIVED", "DELETED") if plan.use_recycle_bin else ("ARCHIVED",)
    return file_set.storage_id == plan.storage.id and file_set.status not in spared


def _formats(iconik: Iconik, asset_id: str, plan: Plan) -> dict[str, Format]:
    """Return the formats whose files are to be deleted, by id."""
    listed = iconik.formats(asset_id)
    return {each.id: each for each in listed if each.name in plan.format_names}


def _files(iconik: Iconik, asset_id: str, file_sets: Sequence[FileSet]) -> dict[str, list[File]]:
    """Return the rows of an asset's files, by the id of the file set."""
    rows, begun = defaultdict(list), iconik.now()
    try:
        for file in iconik.files(asset_id):
            rows[file.file_set_id].append(file)
    except OutOfTime:
        if iconik.now() - begun < iconik.deadline.seconds / 2:
            raise
        count = sum(each.file_count or 0 for each in file_sets)
        raise TooManyFiles(
            f"Comparing {count:,} files takes longer than the function's time limit: use a queue."
        ) from None
    return rows
