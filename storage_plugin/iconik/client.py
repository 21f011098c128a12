"""A thin client of iconik's REST API, with one method for each endpoint.

https://app.iconik.io/docs/reference.html
"""

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from storage_plugin.errors import AccessDenied, BadRequest, IconikError, NotFound
from storage_plugin.iconik import pages, rows
from storage_plugin.iconik.pace import PLACES
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import Row, as_id, as_text

MAX_IDS = 500  # The most ids that one bulk call accepts.
MAX_FOUND = 10_000  # The most results of a saved search that iconik lists.
GONE, BINNED = 204, 200  # The file set is deleted for good, or in the recycle bin.
ASSETS = "/API/assets/v1"
FILES = "/API/files/v1"
JOBS = "/API/jobs/v1/jobs/"
USER = "/API/users/v1/users/current/"
# The roles that the token's user needs for the endpoint of a method, by the method's name.
ROLES: dict[str, tuple[str, ...]] = {}

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
    """iconik. All methods raise the errors of `Rest`, whose pace, deadline and clock are here."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.pace, self.deadline, self.now = rest.pace, rest.deadline, rest.pace.now

    @needs("can_read_storages")
    def storages(self) -> list[rows.Storage]:
        """List all storages. iconik's filter by name is not used, because it may be inexact."""
        found = pages.read_whole(self.rest, f"{FILES}/storages/", rows.storage)
        return [each._replace(name=each.name or each.id) for each in found]

    @needs("can_read_assets", "can_read_files", "can_read_formats", "can_write_transfers")
    def copy(self, storage_id: str, order: Row) -> str | None:
        """Have objects of one type copied to a storage; return the job's id, or None if unknown.

        `order` is as iconik's API takes it, except that what is empty is not sent. Collections are
        copied with all their contents. Without a `file_path`, the source's folders are kept.
        """
        path = f"{FILES}/storages/{storage_id}/bulk/"
        body = {name: value for name, value in order.items() if value}
        return as_id(self.rest.send("POST", path, json=body).get("job_id"))

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
    ) -> int:
        """Request once that a file set and its files are deleted, on fresh evidence.

        `immediately` bypasses the recycle bin. From `not_after`, by the clock `now`, the evidence
        is too old; see `Rest.send_once`. Unless the status is GONE or BINNED, look again.
        """
        query = {"immediately": "true"} if immediately else None
        return self._delete(f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/", not_after, query)

    @needs("can_delete_files")
    def purge_file_set(self, asset_id: str, file_set_id: str, *, not_after: float) -> int:
        """Delete a file set in the recycle bin for good; see `delete_file_set`."""
        return self._delete(f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/purge/", not_after)

    @needs("can_read_collections")
    def collection_contents(self, collection_id: str) -> tuple[list[rows.Item], int]:
        """List what is directly in a collection, and count what iconik does not send of it."""
        path = f"{ASSETS}/collections/{collection_id}/contents/"
        query = {"object_types": "assets,collections"}
        return pages.read(self.rest, path, rows.item, query=query)

    @needs("can_read_saved_searches", "can_search")
    def saved_search_results(self, search_id: str) -> tuple[list[rows.Item], int]:
        """Run a saved search; see `collection_contents`. Too many results are a CallerError."""
        path, query = f"/API/search/v1/search/saved/{search_id}/", {"include_results": "true"}
        return pages.read(self.rest, path, rows.item, query=query, most=MAX_FOUND)

    @needs("can_read_transfers")
    def transfers(self, source_ids: Iterable[str], destination_id: str) -> list[rows.Transfer]:
        """List the transfers from some storages to one, and perhaps more.

        iconik lists those to and from a so-called local storage. Its description does not say which
        of the two that is, so both lists are read. They change meanwhile, and may lack rows.
        """
        lists = [f"{destination_id}/transfers_to/", *(f"{id}/transfers_from/" for id in source_ids)]
        found: list[rows.Transfer] = []
        for name in lists:
            path = f"{FILES}/storages/{name}"
            found += pages.read(self.rest, path, rows.transfer, key="last_id")[0]
        return [each for each in found if each.destination_id in (None, destination_id)]

    @needs("can_read_assets")
    def asset_title(self, asset_id: str) -> str | None:
        """Return an asset's title, or None if iconik did not send it."""
        return as_text(self.rest.get(f"{ASSETS}/assets/{asset_id}/").get("title"))

    @needs("can_write_jobs")
    def create_job(self, job: Row) -> str:
        """Create a job and return its id."""
        return rows.job(self.rest.send("POST", JOBS, json=job)).id

    @needs("can_write_jobs")
    def update_job(self, job_id: str, changes: Row) -> str | None:
        """Change some fields of a job, and return its status, or None if it is not sent.

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

    def current_user(self) -> Row:
        """Return the token's user."""
        return self.rest.get(USER)

    def notify(self, notification: Row) -> None:
        """Send a notification to a user."""
        self.rest.send("POST", "/API/users-notifications/v1/notifications/", json=notification)

    # What only the administrator's commands need.

    @needs("can_write_storages")
    def can_delete_on(self, storage_id: str) -> bool | None:
        """Return whether iconik may delete files on a storage, or None if unknown."""
        with suppress(AccessDenied, IconikError):  # The plugin itself does not need that role.
            path = f"{FILES}/storages/{storage_id}/verifications/permissions/"
            access = self.rest.get(path).get("delete_access")
            return access if isinstance(access, bool) else None
        return None

    def current_roles(self) -> list[str]:
        """List the roles of the token's user."""
        return [str(role) for role in self.rest.get(f"{USER}roles/").get("objects") or ()]

    @needs("can_read_custom_actions")
    def custom_actions(self) -> list[Row]:
        """List the custom actions of all contexts; iconik sends them on one page."""
        found = pages.rows_of(self.rest.get(f"{ASSETS}/custom_actions/"))
        texts = ("context", "title", "url", "last_error")  # The context enters URLs.
        found = [{**row, **{name: as_text(row.get(name)) or "" for name in texts}} for row in found]
        return [row for row in found if re.fullmatch("[A-Z_]+", row["context"])]

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
    def delete_custom_action(self, action: Row) -> None:
        """Delete a custom action. If it is gone already, do nothing."""
        with suppress(NotFound):
            self.rest.send("DELETE", f"{ASSETS}/custom_actions/{action['context']}/{action['id']}/")

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

    def _delete(self, path: str, not_after: float, query: Row | None = None) -> int:
        with suppress(NotFound):
            return self.rest.send_once("DELETE", path, query=query, not_after=not_after)[0]
        return 404


def chunks(items: Sequence[T]) -> list[Sequence[T]]:
    """Return items in pieces that fit into one bulk call."""
    return [items[start : start + MAX_IDS] for start in range(0, len(items), MAX_IDS)]


def side_by_side(work: Callable[[T], R], items: Iterable[T], threads: int = PLACES) -> list[R]:
    """Return the result of `work` for each item, computed by threads; stop at the first error."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
