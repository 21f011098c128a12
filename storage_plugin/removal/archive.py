"""Files without a master are copied to the masters' storage first, and removed afterwards.

A finished copy job is no proof of a copy: only the rule decides whether files are removed.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from operator import attrgetter, itemgetter

from storage_plugin.errors import OutOfTime, PluginError
from storage_plugin.iconik.client import chunks
from storage_plugin.iconik.rows import FileSet
from storage_plugin.removal.comparison import OF_NOTHING, needed
from storage_plugin.removal.evidence import Evidence, Removal
from storage_plugin.removal.report import End, Outcome
from storage_plugin.removal.rule import Kind, Verdict

_requesting = threading.RLock()  # One click at a time, so that it sees the requests before it.


def with_copy(
    verdict: Verdict, file_set: FileSet, evidence: Evidence, *, is_awaited: bool
) -> Verdict:
    """Return the verdict on a file set that stays; NOT_YET if it is copied to the masters first.

    If the copy is awaited, an earlier round has requested it, which happens only once.
    """
    # What is on the masters' storage is never overwritten.
    if verdict.kind is not Kind.ALONE or not _is_whole(file_set, evidence):
        return verdict
    (id,) = evidence.masters  # Archiving needs MASTER_STORAGE_NAME.
    reason = f"{evidence.format_of(file_set)} is being copied to {evidence.storage_name(id)} first"
    to_copy = None if is_awaited else evidence.formats[str(file_set.format_id)]
    return Verdict(reason, Kind.NOT_YET, to_copy)


def _is_whole(file_set: FileSet, evidence: Evidence) -> bool:
    """Whether iconik, given only the name of the format, makes a complete copy of a file set."""
    names = [each.name for each in evidence.formats.values()]
    rivals = [each for each in evidence.doomed if each.format_id == file_set.format_id]
    return (
        file_set.status == "ACTIVE"
        and names.count(evidence.formats[str(file_set.format_id)].name) == len(rivals) == 1
        and all(  # Other machines may see a file as empty until LucidLink has its data.
            file.status == "CLOSED" and (file.size or file.checksum in OF_NOTHING)
            for file in needed(evidence.files[file_set.id])
        )
    )


def request_copies(removal: Removal, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Request the copies that assets need. If that fails, change their outcomes."""
    iconik, storages = removal.iconik, removal.storages
    master_id, source_id = storages.masters[0].id, storages.storage.id
    done = {each.asset_id: each for each in outcomes}
    for name, some in _batches(outcomes):
        try:
            with ExitStack() as turn:
                while not _requesting.acquire(timeout=iconik.deadline.remaining()):
                    pass  # At the deadline, `remaining` raises OutOfTime.
                turn.callback(_requesting.release)
                # What iconik is already copying is not requested again.
                transfers = iconik.transfers([source_id], master_id)
                under_way = {*map(attrgetter("asset_id", "format_id"), transfers)}
                missing = [id for _, id, of in some if under_way.isdisjoint({(id, of), (id, None)})]
                if missing:
                    order = {"object_type": "assets", "object_ids": missing, "format_name": name}
                    iconik.copy(master_id, order | {"preferred_original_storage_id": source_id})
        except PluginError as error:
            end = End.LEFT if isinstance(error, OutOfTime) else End.FAILED
            for _, id, _ in some:
                done[id] = done[id]._replace(end=end, reasons=(), error=error)
    return [*done.values()]


def _batches(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, Sequence[tuple[str, ...]]]]:
    """Yield a format's name for each call, and the name, asset and format's id of each copy."""
    copies = sorted((of.name, each.asset_id, of.id) for each in outcomes for of in each.to_copy)
    for name, same in itertools.groupby(copies, key=itemgetter(0)):
        for some in chunks([*same]):
            yield name, some
