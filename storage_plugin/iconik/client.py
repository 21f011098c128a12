"""A thin client of iconik's REST API, with one method for each endpoint that the core needs.

https://app.iconik.io/docs/reference.html
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from storage_plugin.errors import AccessDenied, IconikError, NotFound
from storage_plugin.iconik import pages, rows
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import (
    Deletion,
    File,
    FileSet,
    Format,
    Item,
    Job,
    Row,
    Storage,
    Transfer,
    id_of,
    id_or_none,
    text_or_none,
)

MAX_IDS = 500
"""The most ids that one bulk call accepts."""

WORKERS = 16
"""Threads for one action. At 0.1 s a call they send 160 requests a second, above iconik's limit."""

FILES = "/API/files/v1"
JOBS = "/API/jobs/v1/jobs/"
USER = "/API/users/v1/users/current/"

_roles: dict[Callable[..., object], tuple[str, ...]] = {}

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def needs(*roles: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare the roles that the token's user needs for the endpoint of a method.

    The doctor checks them, and the message of AccessDenied names them.
    """
    needed = f"{' and '.join(roles)}, and " if roles else ""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return method(*args, **kwargs)
            except AccessDenied as error:
                raise AccessDenied(
                    f"{error}: the token's user needs {needed}access to the object."
                ) from None

        _roles[call] = roles
        return call

    return decorate


def roles_of(method: Callable[..., object]) -> tuple[str, ...]:
    """Return the roles that the token's user needs for the endpoint of a method."""
    return _roles[method]


class Iconik:
    """The part of iconik that adding and removing need. All methods raise the errors of `Rest`.

    Args:
        rest: sends the requests.

    Attributes:
        now: the clock of `rest`, in seconds.
        deadline: the deadline of `rest`.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self.now = rest.now
        self.deadline = rest.deadline

    @needs("can_read_storages")
    def storages(self) -> list[Storage]:
        """List all storages. iconik's filter by name is not used, because it may be inexact."""
        return [rows.storage(row) for row in pages.numbered(self._rest, f"{FILES}/storages/")]

    @needs("can_read_assets", "can_read_files", "can_read_formats", "can_write_transfers")
    def copy(
        self,
        storage_id: str,
        object_type: str,
        *,
        object_ids: Sequence[str],
        format_name: str,
        file_path: str,
        preferred_source: str | None,
    ) -> str | None:
        """Have one format of up to 500 objects copied to a storage.

        Args:
            storage_id: the storage to copy to.
            object_type: `assets`, `collections` (with all their contents) or `saved_searches`.
            object_ids: up to 500 ids.
            format_name: the format to copy.
            file_path: the folder on the storage; empty: the folders of the source.
            preferred_source: the id of the storage to copy from if there is a choice.

        Returns:
            The id of iconik's job; None: iconik did not send it.
        """
        body = {
            "object_type": object_type,
            "object_ids": list(object_ids),
            "format_name": format_name,
        }
        if file_path:
            body["file_path"] = file_path
        if preferred_source:
            body["preferred_original_storage_id"] = preferred_source
        answer = self._rest.send("POST", f"{FILES}/storages/{storage_id}/bulk/", json=body)
        return id_or_none(answer, "job_id")

    @needs("can_read_files")
    def file_sets(self, asset_id: str) -> list[FileSet]:
        """List the file sets of an asset, of all formats and storages; empty: iconik has none."""
        query = {"file_count": "true"}
        return [rows.file_set(row) for row in self._of_asset(asset_id, "file_sets/", query)]

    @needs("can_read_formats")
    def formats(self, asset_id: str) -> list[Format]:
        """List the formats of an asset's current version; empty: iconik has none."""
        return [rows.format(row) for row in self._of_asset(asset_id, "formats/")]

    @needs("can_read_files")
    def files(self, asset_id: str) -> list[File]:
        """List the files of an asset, of all formats and storages; empty: iconik has none."""
        query = {"generate_signed_url": "false"}
        shared = functools.cache(lambda value: value)  # It returns the first of equal values.
        return [rows.file(row, shared) for row in self._of_asset(asset_id, "files/", query)]

    @needs("can_delete_files")
    def delete_file_set(
        self, asset_id: str, file_set_id: str, *, immediately: bool, not_after: float
    ) -> Deletion:
        """Request once that a file set and its files are deleted, on fresh evidence.

        Args:
            asset_id: the asset of the file set.
            file_set_id: the file set.
            immediately: whether to bypass the recycle bin.
            not_after: the moment, by the clock `now`, from which the evidence is too old.

        Raises:
            Stale, IconikBusy, IconikUnavailable: see `Rest.delete`; look again.
        """
        path = f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/"
        query = {"immediately": "true"} if immediately else {}
        return self._delete(path, query, not_after)

    @needs("can_delete_files")
    def purge_file_set(self, asset_id: str, file_set_id: str, *, not_after: float) -> Deletion:
        """Delete a file set in the recycle bin for good; see `delete_file_set`."""
        path = f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/purge/"
        return self._delete(path, {}, not_after)

    @needs("can_read_collections")
    def collection_contents(self, collection_id: str) -> list[Item]:
        """List the assets and collections directly in a collection."""
        path = f"/API/assets/v1/collections/{collection_id}/contents/"
        return self._items(path, {"object_types": "assets,collections"})

    @needs("can_read_saved_searches", "can_search")
    def saved_search_results(self, search_id: str) -> list[Item]:
        """Run a saved search and list its results."""
        path = f"/API/search/v1/search/saved/{search_id}/"
        return self._items(path, {"include_results": "true"})

    @needs("can_read_files")
    def has_file_set(self, asset_id: str, format_id: str, storage_id: str) -> bool:
        """Whether a format has a file set on a storage, in any state, even without files."""
        path = f"formats/{format_id}/storages/{storage_id}/file_sets/"
        return any(True for _ in self._of_asset(asset_id, path))

    @needs("can_read_transfers")
    def transfers(self, source_id: str, destination_id: str) -> list[Transfer]:
        """List the transfers from one storage to another, and perhaps more.

        iconik lists transfers to and from a so-called local storage. iconik does not document which
        of the two storages that is, so the plugin reads both lists.
        """
        lists = (f"{destination_id}/transfers_to/", f"{source_id}/transfers_from/")
        return [
            rows.transfer(row)
            for path in lists
            for row in pages.changing(self._rest, f"{FILES}/storages/{path}")
            if str(row.get("destination_storage_id") or destination_id).lower() == destination_id
        ]

    @needs("can_read_assets")
    def asset_title(self, asset_id: str) -> str | None:
        """Return an asset's title; None: iconik did not send it."""
        return text_or_none(self._rest.get(f"/API/assets/v1/assets/{asset_id}/"), "title")

    @needs("can_write_jobs")
    def create_job(self, job: Row) -> str:
        """Create a job and return its id."""
        return id_of(self._rest.send("POST", JOBS, json=job))

    @needs("can_write_jobs")
    def update_job(self, job_id: str, changes: Row) -> str | None:
        """Change some fields of a job, and return its status; None: iconik did not send it.

        Change the status only at the end, because an editor may have aborted the job meanwhile.
        """
        query = {"merge_metadata": "true"} if "metadata" in changes else {}
        job = self._rest.send("PATCH", f"{JOBS}{job_id}/", query=query, json=changes)
        return text_or_none(job, "status")

    @needs("can_read_jobs")
    def job(self, job_id: str) -> Job:
        """Return the progress of a job."""
        return rows.job(self._rest.get(f"{JOBS}{job_id}/"))

    @needs("can_read_jobs")
    def running_jobs(self, custom_type: str) -> list[Job]:
        """List the running jobs of a custom type."""
        query = {"type": "CUSTOM", "status": "STARTED"}
        found = pages.numbered(self._rest, JOBS, query)
        return [rows.job(row) for row in found if row.get("custom_type") == custom_type]

    @needs()
    def current_user_id(self) -> str:
        """Return the id of the token's user."""
        return id_of(self._rest.get(USER))

    @needs()
    def notify(self, notification: Row) -> None:
        """Send a notification to a user."""
        path = "/API/users-notifications/v1/notifications/"
        self._rest.send("POST", path, json=notification)

    def _items(self, path: str, query: Mapping[str, str]) -> list[Item]:
        return [rows.item(row) for row in pages.numbered(self._rest, path, query)]

    def _of_asset(
        self, asset_id: str, path: str, query: Mapping[str, str] | None = None
    ) -> Iterator[Row]:
        """Yield the rows of a list below an asset; nothing if iconik answers 404."""
        with suppress(NotFound):
            for row in pages.by_cursor(self._rest, f"{FILES}/assets/{asset_id}/{path}", query):
                if str(row.get("asset_id") or asset_id).lower() != asset_id:
                    raise IconikError(
                        f"iconik's answer for asset {asset_id} has a row of another asset."
                    )
                yield row

    def _delete(self, path: str, query: Mapping[str, str], not_after: float) -> Deletion:
        try:
            status = self._rest.delete(path, query, not_after=not_after)
        except NotFound:
            return Deletion.UNCERTAIN
        return {204: Deletion.GONE, 200: Deletion.BINNED}.get(status, Deletion.UNCERTAIN)


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ids in pieces that fit into one bulk call."""
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return the result of `work` for each item, computed by threads; stop at the first error."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, items))
