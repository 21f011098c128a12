"""ADD: the bulk copies of a selection."""

import itertools
from collections.abc import Sequence

from storage_plugin.errors import PluginError
from storage_plugin.iconik.client import Iconik, chunks, side_by_side
from storage_plugin.job import Job
from storage_plugin.logs import Log
from storage_plugin.rounds import first_round
from storage_plugin.settings import Settings
from storage_plugin.storages import find_storages
from storage_plugin.webhook import Action


def add(
    iconik: Iconik, editors: Iconik, action: Action, *, settings: Settings, log: Log
) -> list[str]:
    """Have the selection copied to the storage, and return the ids of iconik's copy jobs.

    iconik itself shows these jobs. If it refuses one, although it may have accepted others, a job
    of the plugin shows that. `editors` is a client for that, whose time ends later.
    """

    def copy(request: tuple[tuple[str, Sequence[str]], str]) -> str | None:
        (object_type, ids), format_name = request
        order = {
            "object_type": object_type,
            "object_ids": ids,
            "format_name": format_name,
            "file_path": settings.storage_path,
            "preferred_original_storage_id": storages.master and storages.master.id,
        }
        return iconik.copy(storages.storage.id, order)

    selected = action.selection._asdict().items()
    pieces = [(kind, some) for kind, ids in selected for some in chunks(ids)]
    try:
        storages = find_storages(iconik.storages(), settings)
        jobs = side_by_side(copy, itertools.product(pieces, settings.format_names))
    except PluginError as error:
        Job(editors, first_round(action), storage_name=settings.storage_name, log=log).fail(error)
        raise
    return [job_id for job_id in jobs if job_id]
