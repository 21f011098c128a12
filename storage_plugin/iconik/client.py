"""A thin client of iconik's REST API, with one method for each endpoint.

https://app.iconik.io/docs/reference.html
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from storage_plugin.errors import AccessDenied, BadRequest, IconikError, NotFound
from storage_plugin.iconik import pages, rows
from storage_plugin.iconik.pace import PLACES
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import Deletion, Row, as_flag, as_id, as_text

MAX_IDS = 500
"""The most ids that one bulk call accepts."""

MAX_FOUND = 10_000
"""The most results of a saved search that iconik lists."""

ASSETS = "/API/assets/v1"
FILES = "/API/files/v1"
JOBS = "/API/jobs/v1/jobs/"
USER = "/API/users/v1/users/current/"

ROLES: dict[str, tuple[str, ...]] = {}
"""The roles that the token's user needs for the endpoint of a method, by the method's name."""

T = TypeVar("T")
R = TypeVar("R")
Method = TypeVar("Method", bound=Callable[..., object])


def needs(*roles: str) -> Callable[[Method], Method]:
    """Declare the roles that the endpoint of a method needs."""

    def declare(method: Method) -> Method:
        ROLES[method.__name__] = roles
        return method

    return declare


class Iconik:
    """iconik. All methods raise the errors of `Rest`.

    Args:
        rest: sends the requests. Its pace, its deadline and the clock `now` are here, too.
    """

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.pace, self.deadline, self.now = rest.pace, rest.deadline, rest.pace.now

    @needs("can_read_storages")
    def storages(self) -> list[rows.Storage]:
        """List all storages. iconik's filter by name is not used, because it may be inexact."""
        return pages.read_whole(self.rest, f"{FILES}/storages/", rows.storage)

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
            object_type: `assets`, `collections` (with all their contents) or `saved_searches`.
            file_path: the folder on the storage; empty: the folders of the source.
            preferred_source: the id of the storage to copy from if there is a choice.

        Returns:
            The id of iconik's job; None: iconik did not send it.
        """
        body = {
            "object_type": object_type,
            "object_ids": object_ids,
            "format_name": format_name,
            "file_path": file_path,
            "preferred_original_storage_id": preferred_source,
        }
        body = {name: value for name, value in body.items() if value}
        answer = self.rest.send("POST", f"{FILES}/storages/{storage_id}/bulk/", json=body)
        return as_id(answer.get("job_id"))

    @needs("can_read_files")
    def file_sets(self, asset_id: str) -> list[rows.FileSet]:
        """List the file sets of an asset, of all formats and storages; empty: iconik has none."""
        with suppress(BadRequest):  # Another answer for an asset that iconik does not know.
            return self._of_asset(asset_id, "file_sets", rows.file_set, {"file_count": "true"})
        return []

    @needs("can_read_formats")
    def formats(self, asset_id: str) -> list[rows.Format]:
        """List the formats of an asset's current version; empty: iconik has none."""
        return self._of_asset(asset_id, "formats", rows.format)

    @needs("can_read_files")
    def files(self, asset_id: str) -> list[rows.File]:
        """List the files of an asset, of all formats and storages; empty: iconik has none."""
        return self._of_asset(asset_id, "files", rows.file, {"generate_signed_url": "false"})

    @needs("can_delete_files")
    def delete_file_set(
        self, asset_id: str, file_set_id: str, *, immediately: bool, not_after: float
    ) -> Deletion:
        """Request once that a file set and its files are deleted, on fresh evidence.

        Args:
            immediately: whether to bypass the recycle bin.
            not_after: the moment, by the clock `now`, from which the evidence is too old.

        Raises:
            IconikBusy, IconikUnavailable: see `Rest.send_once`; look again.
        """
        query = {"immediately": "true"} if immediately else None
        return self._delete(f"{asset_id}/file_sets/{file_set_id}/", query, not_after)

    @needs("can_delete_files")
    def purge_file_set(self, asset_id: str, file_set_id: str, *, not_after: float) -> Deletion:
        """Delete a file set in the recycle bin for good; see `delete_file_set`."""
        return self._delete(f"{asset_id}/file_sets/{file_set_id}/purge/", None, not_after)

    @needs("can_read_collections")
    def collection_contents(self, collection_id: str) -> tuple[list[rows.Item], int]:
        """List the assets and collections directly in a collection.

        Returns:
            The objects, and the number of those that iconik counts and does not send, for example
            because the token's user has no access to them.
        """
        path = f"{ASSETS}/collections/{collection_id}/contents/"
        query = {"object_types": "assets,collections"}
        return pages.read(self.rest, path, rows.item, query=query)

    @needs("can_read_saved_searches", "can_search")
    def saved_search_results(self, search_id: str) -> tuple[list[rows.Item], int]:
        """Run a saved search and list its results; see `collection_contents`.

        Raises:
            CallerError: iconik does not list all results.
        """
        path, query = f"/API/search/v1/search/saved/{search_id}/", {"include_results": "true"}
        return pages.read(self.rest, path, rows.item, query=query, most=MAX_FOUND)

    @needs("can_read_transfers")
    def transfers(self, source_ids: Iterable[str], destination_id: str) -> list[rows.Transfer]:
        """List the transfers from some storages to one, and perhaps more.

        iconik lists transfers to and from a so-called local storage. iconik does not document which
        of the two storages that is, so the plugin reads both lists. They change meanwhile, so they
        may lack rows.
        """
        lists = [f"{destination_id}/transfers_to/", *(f"{id}/transfers_from/" for id in source_ids)]
        found: list[rows.Transfer] = []
        for name in lists:
            path = f"{FILES}/storages/{name}"
            found += pages.read(self.rest, path, rows.transfer, key="last_id")[0]
        return [each for each in found if each.destination_id in (None, destination_id)]

    @needs("can_read_assets")
    def asset_title(self, asset_id: str) -> str | None:
        """Return an asset's title; None: iconik did not send it."""
        return as_text(self.rest.get(f"{ASSETS}/assets/{asset_id}/").get("title"))

    @needs("can_write_jobs")
    def create_job(self, job: Row) -> str:
        """Create a job and return its id."""
        return rows.identified(self.rest.send("POST", JOBS, json=job)).id

    @needs("can_write_jobs")
    def update_job(self, job_id: str, changes: Row) -> str | None:
        """Change some fields of a job, and return its status; None: iconik did not send it.

        Change the status only at the end, because an editor may have aborted the job meanwhile.
        """
        return as_text(self.rest.send("PATCH", f"{JOBS}{job_id}/", json=changes).get("status"))

    @needs("can_read_jobs")
    def job(self, job_id: str) -> rows.Job:
        """Return the progress of a job."""
        return rows.job(self.rest.get(f"{JOBS}{job_id}/"))

    @needs("can_read_jobs")
    def running_jobs(self, custom_type: str) -> list[rows.Job]:
        """List the running jobs of a custom type."""
        query = {"type": "CUSTOM", "status": "STARTED"}
        found, _ = pages.read(self.rest, JOBS, rows.job, query=query)
        return [job for job in found if job.custom_type == custom_type]

    def current_user(self) -> rows.User:
        """Return the token's user."""
        return rows.user(self.rest.get(USER))

    def notify(self, notification: Row) -> None:
        """Send a notification to a user."""
        self.rest.send("POST", "/API/users-notifications/v1/notifications/", json=notification)

    # What only the administrator's commands need.

    @needs("can_write_storages")
    def can_delete_on(self, storage_id: str) -> bool | None:
        """Return whether iconik may delete files on a storage; None: unknown."""
        path = f"{FILES}/storages/{storage_id}/verifications/permissions/"
        try:
            return as_flag(self.rest.get(path).get("delete_access"))
        except (AccessDenied, IconikError):  # The plugin itself does not need that role.
            return None

    def current_roles(self) -> list[str]:
        """List the roles of the token's user."""
        roles = self.rest.get(f"{USER}roles/").get("objects")
        return [str(role) for role in roles] if isinstance(roles, list) else []

    @needs("can_read_custom_actions")
    def custom_actions(self) -> list[rows.CustomAction]:
        """List the custom actions of all contexts; iconik sends them on one page."""
        answer = self.rest.get(f"{ASSETS}/custom_actions/")
        return [rows.custom_action(row) for row in pages.rows_of(answer)]

    @needs("can_write_custom_actions")
    def create_custom_action(self, action: Row) -> None:
        """Create a custom action."""
        self.rest.send("POST", f"{ASSETS}/custom_actions/{action['context']}/", json=action)

    @needs("can_write_custom_actions")
    def update_custom_action(self, action_id: str, action: Row) -> None:
        """Change a custom action, except its context."""
        path = f"{ASSETS}/custom_actions/{action['context']}/{action_id}/"
        self.rest.send("PATCH", path, json=action)

    @needs("can_delete_custom_actions")
    def delete_custom_action(self, action: rows.CustomAction) -> None:
        """Delete a custom action. If it is gone already, do nothing."""
        with suppress(NotFound):
            path = f"{ASSETS}/custom_actions/{action.context}/{action.id}/"
            self.rest.send("DELETE", path)

    def _of_asset(
        self, asset_id: str, name: str, parse: Callable[[Row], T], query: Row | None = None
    ) -> list[T]:
        """Return the rows of a whole list below an asset; none if iconik answers 404."""

        def parse_own(row: Row) -> T:
            if str(row.get("asset_id") or asset_id).lower() != asset_id:
                raise IconikError(f"iconik's answer for asset {asset_id} has a row of another.")
            return parse(row)

        path = f"{FILES}/assets/{asset_id}/{name}/"
        with suppress(NotFound):
            return pages.read_whole(self.rest, path, parse_own, key="last_id", query=query)
        return []

    def _delete(self, path: str, query: Row | None, not_after: float) -> Deletion:
        status, path = 0, f"{FILES}/assets/{path}"
        with suppress(NotFound):
            status, _ = self.rest.send_once("DELETE", path, query=query, not_after=not_after)
        outcomes = {204: Deletion.GONE, 200: Deletion.BINNED}
        return outcomes.get(status, Deletion.UNCERTAIN)


def chunks(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield ids in pieces that fit into one bulk call."""
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]


def side_by_side(work: Callable[[T], R], items: Iterable[T], threads: int = PLACES) -> list[R]:
    """Return the result of `work` for each item, computed by threads; stop at the first error."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
