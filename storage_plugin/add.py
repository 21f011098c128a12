"""ADD: the bulk copies of a selection."""

from collections.abc import Sequence

from storage_plugin.errors import PluginError
from storage_plugin.iconik.client import Iconik, chunks, side_by_side
from storage_plugin.job import Job
from storage_plugin.settings import Settings
from storage_plugin.storages import find_storages
from storage_plugin.webhook import Selection


def add(iconik: Iconik, selection: Selection, settings: Settings, job: Job) -> list[str]:
    """Have the selection copied to the storage.

    Args:
        iconik: a client.
        selection: the objects to copy.
        settings: the storage, the formats and the folder.
        job: shows the editor a failure. iconik itself shows the jobs of the copies.

    Returns:
        The ids of iconik's copy jobs, if iconik sends them.

    Raises:
        PluginError: iconik has refused a call. It may have accepted others.
    """
    try:
        return _request_copies(iconik, selection, settings)
    except PluginError as error:
        job.fail(error)
        raise


def _request_copies(iconik: Iconik, selection: Selection, settings: Settings) -> list[str]:
    """Request the copies: iconik accepts 500 objects of one type, and one format, in a call."""
    storages = find_storages(iconik.storages(), settings)

    def copy(request: tuple[str, str, Sequence[str]]) -> str | None:
        object_type, format_name, ids = request
        return iconik.copy(
            storages.storage.id,
            object_type,
            object_ids=ids,
            format_name=format_name,
            file_path=settings.storage_path,
            preferred_source=storages.master.id if storages.master else None,
        )

    requests = [
        (object_type, format_name, some)
        for object_type, ids in selection.by_type()
        for format_name in settings.format_names
        for some in chunks(ids)
    ]
    return [job_id for job_id in side_by_side(copy, requests) if job_id]
