"""Files without a master are copied to the masters' storage first, and removed afterwards.

A finished copy job is no proof of a copy: only the rule decides whether files are removed.
"""

from collections import defaultdict
from collections.abc import Sequence
from enum import Enum

from storage_plugin.errors import PluginError
from storage_plugin.iconik.client import Iconik, chunks
from storage_plugin.iconik.rows import FileSet
from storage_plugin.removal.evidence import Evidence
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import UNFINISHED, Kind, Verdict, is_whole
from storage_plugin.storages import Storages


class Need(Enum):
    """Whether a file set that stays needs a copy on the masters' storage."""

    NOTHING = "A copy would not help, or must not be made."
    COPY = "A copy is to be requested."
    PATIENCE = "A copy is being made."


def need(file_set: FileSet, verdict: Verdict, evidence: Evidence, *, is_awaited: bool) -> Need:
    """Return whether a file set that stays can be removed once it is copied.

    Args:
        file_set: the file set.
        verdict: why it stays.
        evidence: the evidence for the verdict.
        is_awaited: whether an earlier round requested a copy. A copy is requested only once.
    """
    if verdict.kind is Kind.NOT_YET:
        return Need.PATIENCE
    if not is_whole(file_set, evidence):
        return Need.NOTHING
    masters = evidence.masters_of(file_set)
    if not masters:
        return Need.PATIENCE if is_awaited else Need.COPY
    # An incomplete or different file set on the masters' storage is never overwritten. iconik may
    # list a new file set before its files.
    files = [file for master in masters for file in evidence.files_of(master)]
    is_arriving = not files or any(file.status in UNFINISHED for file in files)
    return Need.PATIENCE if is_awaited and is_arriving else Need.NOTHING


def request_copies(
    iconik: Iconik, outcomes: Sequence[Outcome], storages: Storages
) -> list[Outcome]:
    """Request the copies that assets need, except those that iconik is already making.

    Args:
        iconik: a client.
        outcomes: what became of the assets, with the names of the formats that need a copy.
        storages: the storage to copy from, and the masters' storage to copy to.

    Returns:
        The outcomes. Where a request failed, the asset has failed.
    """
    master = storages.masters[0]
    wanted = defaultdict(list)
    for outcome in outcomes:
        for format_name in outcome.to_copy:
            wanted[format_name].append(outcome.asset_id)
    if not wanted:
        return list(outcomes)
    failed: dict[str, PluginError] = {}
    under_way = {each.asset_id for each in iconik.transfers(storages.storage.id, master.id)}
    for format_name, asset_ids in wanted.items():
        for some in chunks([id for id in asset_ids if id not in under_way]):
            try:
                iconik.copy(
                    master.id,
                    "assets",
                    object_ids=some,
                    format_name=format_name,
                    file_path="",
                    preferred_source=storages.storage.id,
                )
            except PluginError as error:
                failed |= dict.fromkeys(some, error)
    return [
        each._replace(end=End.FAILED, error=failed[each.asset_id])
        if each.asset_id in failed
        else each
        for each in outcomes
    ]
