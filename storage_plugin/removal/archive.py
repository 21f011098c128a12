"""Files without a master are copied to the masters' storage first, and removed afterwards.

A finished copy job is no proof of a copy: only the rule decides whether files are removed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storage_plugin.errors import OutOfTime, PluginError
from storage_plugin.iconik.client import Iconik, chunks
from storage_plugin.iconik.rows import FileSet, Format
from storage_plugin.removal.comparison import UNFINISHED
from storage_plugin.removal.evidence import Evidence
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import Kind, Verdict, is_whole
from storage_plugin.storages import Storages


class Plan(NamedTuple):
    """What is to be done about a file set that stays.

    Attributes:
        reason: why it stays, for editors.
        is_waiting: whether it stays only until its copy on the masters' storage is complete.
        to_copy: its format if a copy is to be requested.
    """

    reason: str
    is_waiting: bool = False
    to_copy: Format | None = None


def plan(file_set: FileSet, verdict: Verdict, evidence: Evidence, *, is_awaited: bool) -> Plan:
    """Return what is to be done about a file set that stays.

    Args:
        file_set: the file set.
        verdict: why it stays.
        evidence: the evidence for the verdict.
        is_awaited: whether an earlier round has requested a copy, which happens only once.
    """
    name = evidence.format_of(file_set)
    masters = evidence.masters_of(file_set)
    files = [file for each in masters for file in evidence.files_of(each)]
    copying = f"{name} is being copied to {evidence.master_names} first"
    if verdict.kind is Kind.NOT_YET:
        return Plan(verdict.reason, is_waiting=True)
    # The rows of a new copy may contradict its record.
    if is_awaited and any(file.status in UNFINISHED for file in files):
        return Plan(copying, is_waiting=True)
    # What is on the masters' storage is never overwritten.
    if masters or not is_whole(file_set, evidence):
        return Plan(verdict.reason)
    to_copy = None if is_awaited else evidence.formats.get(str(file_set.format_id))
    return Plan(copying, is_waiting=True, to_copy=to_copy)


def request_copies(
    iconik: Iconik, outcomes: Sequence[Outcome], storages: Storages
) -> list[Outcome]:
    """Request the copies that assets need, except those that iconik is already making.

    Args:
        iconik: a client.
        outcomes: what became of the assets, with the formats that need a copy.
        storages: the storage to copy from, and the masters' storage to copy to.

    Returns:
        The outcomes. An asset whose copy could not be requested is left, or has failed.
    """
    wanted: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for outcome in outcomes:
        for format in outcome.to_copy:
            wanted[format.name][outcome.asset_id] = format.id
    errors: dict[str, PluginError] = {}
    for format_name, formats in wanted.items():
        for some in chunks([*formats]):
            try:
                _request(iconik, storages, format_name, {id: formats[id] for id in some})
            except PluginError as error:
                errors |= dict.fromkeys(some, error)
    return [
        _without_copy(each, errors[each.asset_id]) if each.asset_id in errors else each
        for each in outcomes
    ]


def _without_copy(outcome: Outcome, error: PluginError) -> Outcome:
    end = End.LEFT if isinstance(error, OutOfTime) else End.FAILED
    return outcome._replace(end=end, reasons=(), error=error)


def _request(
    iconik: Iconik, storages: Storages, format_name: str, formats: Mapping[str, str]
) -> None:
    """Request the copies of a format of up to 500 assets.

    Args:
        iconik: a client.
        storages: as above.
        format_name: the format.
        formats: its id for each asset, by the id of the asset.
    """
    master_id, source_id = storages.masters[0].id, storages.storage.id
    transfers = iconik.transfers([source_id], master_id)
    under_way = {(each.asset_id, each.format_id) for each in transfers}
    if missing := [id for id in formats if under_way.isdisjoint({(id, formats[id]), (id, None)})]:
        iconik.copy(
            master_id,
            "assets",
            object_ids=missing,
            format_name=format_name,
            file_path="",
            preferred_source=source_id,
        )
