"""A thin client of iconik's REST API: one method per endpoint that the plugin needs.

https://app.iconik.io/docs/reference.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from storage_plugin.errors import IconikError, NotFound
from storage_plugin.rest import Rest, Row, json_object, rows_of
from storage_plugin.webhook import is_uuid

MAX_IDS = 500
"""Ids that one bulk call takes."""

UNFINISHED = frozenset({"OPEN", "GROWING", "AWAITED"})
"""States of a file that is still being written.

https://app.iconik.io/help/pages/entities/files
"""

ENDED = frozenset({"FINISHED", "FINISHED_WITH_WARNING", "FAILED", "ABORTED", "SKIPPED"})
"""The states of a job that has come to its end."""

BROKEN = frozenset({"FAILED", "ABORTED"})
"""Those in which it has not done its work."""

FILES = "/API/files/v1"
JOBS = "/API/jobs/v1/jobs/"
CUSTOM_ACTIONS = "/API/assets/v1/custom_actions/"
USER = "/API/users/v1/users/current/"


@dataclass(frozen=True)
class Storage:
    """A storage; `method`: FILE, B2, S3 and others; None: iconik did not say."""

    id: str
    name: str | None
    method: str | None
    status: str | None


@dataclass(frozen=True)
class Format:
    """A format of an asset, for instance ORIGINAL; None: iconik did not say."""

    id: str
    name: str
    status: str | None


@dataclass(frozen=True)
class File:
    """A file's record; `size` in bytes; None: iconik did not say."""

    id: str
    file_set_id: str
    format_id: str
    storage_id: str
    original_name: str
    type: str | None
    status: str | None
    file_set_status: str | None
    format_status: str | None
    size: int | None
    checksum: str | None

    @property
    def is_unfinished(self) -> bool:
        """Whether it is still being written."""
        return self.status in UNFINISHED


@dataclass(frozen=True)
class Transfer:
    """A copy that is under way; None: iconik did not say."""

    asset_id: str
    format_id: str | None
    job_id: str | None


@dataclass(frozen=True)
class Item:
    """An object in a collection or a search result; `type` as in `object_type` of bulk calls."""

    id: str
    type: str
    title: str | None


@dataclass(frozen=True)
class User:
    """A user; the name is the e-mail address, where iconik says so; None: it does not say."""

    id: str
    name: str
    is_admin: bool | None


@dataclass(frozen=True)
class CustomAction:
    """A custom action; `status`: HEALTHY or FAILING; `headers` hold a secret, so they stay out."""

    id: str
    context: str
    title: str
    url: str
    type: str | None
    headers: Mapping[str, str] = field(repr=False)
    is_disabled: bool
    status: str | None
    last_error: str


@dataclass(frozen=True)
class JobState:
    """How far a job is, in assets; a status of None: iconik did not say."""

    status: str | None
    processed: int
    total: int


class Iconik:
    """iconik, as the plugin needs it. What `Rest` raises, all methods raise.

    Args:
        rest: sends the requests.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def storages(self) -> list[Storage]:
        """List all storages. The filter by name is not used: it need not be exact."""
        return [
            Storage(_id(row), *(_text_or_none(row, name) for name in ("name", "method", "status")))
            for row in self._rest.pages(f"{FILES}/storages/", "can_read_storages")
        ]

    def can_delete_on(self, storage_id: str) -> bool | None:
        """Return whether iconik may delete files on a storage; None: it does not say."""
        path = f"{FILES}/storages/{storage_id}/verifications/permissions/"
        try:
            can_delete = self._rest.get(path, "can_read_storages").get("delete_access")
        except IconikError:  # For which types of storages it can be asked is not documented.
            return None
        return can_delete if isinstance(can_delete, bool) else None

    def copy(
        self,
        storage_id: str,
        object_type: str,
        object_ids: Sequence[str],
        *,
        format_name: str,
        file_path: str | None,
        preferred_source: str | None,
    ) -> str | None:
        """Have one format of up to 500 objects copied to a storage.

        Args:
            object_type: `assets`, `collections` (with all that is below) or `saved_searches`.
            file_path: the folder on the storage; None: iconik chooses.
            preferred_source: the id of the storage to copy from, where there is a choice.

        Returns:
            The id of iconik's job, where it tells.
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
        role = "can_read_files and can_write_transfers"
        response = self._rest.send("POST", f"{FILES}/storages/{storage_id}/bulk/", role, json=body)
        try:  # iconik documents no body here, so none is required.
            job_id = response.json()["job_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return str(job_id) if is_uuid(job_id) else None

    def formats(self, asset_id: str) -> list[Format]:
        """List the formats of an asset's current version; none where iconik knows none."""
        rows = self._all(f"{FILES}/assets/{asset_id}/formats/", "can_read_formats", {})
        return [Format(_id(row), _text(row, "name"), _text_or_none(row, "status")) for row in rows]

    def files(self, asset_id: str) -> list[File]:
        """List the files of an asset, of all formats and storages; none where iconik knows none."""
        query = {"generate_signed_url": "false"}
        rows = self._all(f"{FILES}/assets/{asset_id}/files/", "can_read_files", query)
        return [_file(row, asset_id) for row in rows]

    def has_file_set(self, asset_id: str, format_id: str, storage_id: str) -> bool:
        """Whether a format has a file set on a storage, in whatever state, even without files."""
        of_format = f"{FILES}/assets/{asset_id}/formats/{format_id}"
        path = f"{of_format}/storages/{storage_id}/file_sets/"
        return bool(self._all(path, "can_read_files", {}))

    def transfers(self, source_id: str, destination_id: str) -> list[Transfer]:
        """List what is being copied from a storage to another, and perhaps more.

        iconik lists transfers to, and from, what it calls a local storage. Which one that is here
        is not documented, so both lists are read.
        """
        lists = (f"{destination_id}/transfers_to/", f"{source_id}/transfers_from/")
        return [
            Transfer(
                asset_id=(_text_or_none(row, "asset_id") or "").lower(),
                format_id=(_text_or_none(row, "format_id") or "").lower() or None,
                job_id=_text_or_none(row, "parent_job_id") or _text_or_none(row, "job_id"),
            )
            for path in lists
            for row in self._rest.pages(
                f"{FILES}/storages/{path}", "can_read_transfers", cursor=True, is_moving=True
            )
            if str(row.get("destination_storage_id") or destination_id).lower() == destination_id
        ]

    def file_status(self, asset_id: str, file_id: str) -> str | None:
        """Return a file's status; None: iconik does not say."""
        return self._status(f"{FILES}/assets/{asset_id}/files/", file_id)

    def file_set_status(self, asset_id: str, file_set_id: str) -> str | None:
        """Return a file set's status; None: iconik does not say."""
        return self._status(f"{FILES}/assets/{asset_id}/file_sets/", file_set_id)

    def delete_file_set(self, asset_id: str, file_set_id: str) -> None:
        """Delete a file set and its files for good; one that is gone already is fine."""
        path, role = f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/", "can_delete_files"
        with suppress(NotFound):
            response = self._rest.send("DELETE", path, role, query={"immediately": "true"})
            # 200 instead of 204: the file set is only in the recycle bin.
            if response.status_code != 204:
                self._rest.send("DELETE", f"{path}purge/", role)

    def collection_contents(self, collection_id: str) -> list[Item]:
        """List the assets and collections directly in a collection."""
        path = f"/API/assets/v1/collections/{collection_id}/contents/"
        query = {"object_types": "assets,collections"}
        rows = self._rest.pages(path, "can_read_collections", query=query)
        return [_item(row) for row in rows]

    def saved_search_results(self, search_id: str) -> list[Item]:
        """Run a saved search and list what it finds."""
        path, query = f"/API/search/v1/search/saved/{search_id}/", {"include_results": "true"}
        rows = self._rest.pages(path, "can_read_saved_searches and can_search", query=query)
        return [_item(row) for row in rows]

    def asset_title(self, asset_id: str) -> str | None:
        """Return an asset's title; None: iconik does not say."""
        row = self._rest.get(f"/API/assets/v1/assets/{asset_id}/", "can_read_assets")
        return _text_or_none(row, "title")

    def create_job(self, job: Row) -> str:
        """Create a job and return its id."""
        response = self._rest.send("POST", JOBS, "can_write_jobs", json=job)
        return _id(json_object(response))

    def update_job(self, job_id: str, changes: Row) -> str | None:
        """Change some of a job's fields; return its status, None where iconik does not say.

        The status is to be changed only at the end: an editor may have asked for an end meanwhile.
        """
        response = self._rest.send("PATCH", f"{JOBS}{job_id}/", "can_write_jobs", json=changes)
        return _text_or_none(json_object(response), "status") or self.job(job_id).status

    def job(self, job_id: str) -> JobState:
        """Return how far a job is."""
        row = self._rest.get(f"{JOBS}{job_id}/", "can_read_jobs")
        processed, total = row.get("progress_processed"), row.get("progress_total")
        return JobState(_text_or_none(row, "status"), _size(processed) or 0, _size(total) or 0)

    def failed_below(self, job_id: str) -> dict[str, str]:
        """Return what went wrong in the jobs below a bulk copy's job, by their assets' ids."""
        rows = self._rest.pages(JOBS, "can_read_jobs", query={"parent_id": job_id})
        return {
            str(row.get("object_id")).lower(): _text_or_none(row, "error_message")
            or "iconik says no more"
            for row in rows
            if _text_or_none(row, "status") in BROKEN
        }

    def current_user(self) -> User:
        """Return the token's user."""
        row = self._rest.get(USER, "no role")
        return User(_id(row), _text_or_none(row, "email") or _id(row), row.get("is_admin"))

    def current_roles(self) -> list[str]:
        """List the roles of the token's user."""
        roles = self._rest.get(f"{USER}roles/", "no role").get("objects")
        return [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []

    def custom_actions(self) -> list[CustomAction]:
        """List the custom actions of all contexts; iconik sends them on one page."""
        answer = self._rest.get(CUSTOM_ACTIONS, "can_read_custom_actions")
        return [_custom_action(row) for row in rows_of(answer)]

    def create_custom_action(self, action: Row) -> None:
        """Create a custom action."""
        path = f"{CUSTOM_ACTIONS}{action['context']}/"
        self._rest.send("POST", path, "can_write_custom_actions", json=action)

    def update_custom_action(self, action_id: str, action: Row) -> None:
        """Change a custom action; its context stays."""
        path = f"{CUSTOM_ACTIONS}{action['context']}/{action_id}/"
        self._rest.send("PATCH", path, "can_write_custom_actions", json=action)

    def delete_custom_action(self, action: CustomAction) -> None:
        """Delete a custom action; one that is gone already is fine."""
        path = f"{CUSTOM_ACTIONS}{action.context}/{action.id}/"
        with suppress(NotFound):
            self._rest.send("DELETE", path, "can_delete_custom_actions")

    def notify(self, notification: Row) -> None:
        """Send a notification to a user."""
        path = "/API/users-notifications/v1/notifications/"
        self._rest.send("POST", path, "no role", json=notification)

    def _all(self, path: str, role: str, query: Mapping[str, str]) -> list[Row]:
        try:
            return list(self._rest.pages(path, role, cursor=True, query=query))
        except NotFound:
            return []

    def _status(self, folder: str, object_id: str) -> str | None:
        try:
            row = self._rest.get(f"{folder}{object_id}/", "can_read_files")
        except NotFound:
            return "DELETED"
        return _text_or_none(row, "status") if _id(row) == object_id else None


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ids, as many at a time as one bulk call takes."""
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]


def _file(row: Row, asset_id: str) -> File:
    if row.get("asset_id") not in (None, asset_id):
        raise IconikError(f"iconik's answer holds a file of another asset than {asset_id}.")
    return File(
        id=_id(row),
        file_set_id=_id(row, "file_set_id"),
        format_id=_id(row, "format_id"),
        storage_id=_id(row, "storage_id"),
        original_name=_text(row, "original_name"),
        type=_text_or_none(row, "type"),
        status=_text_or_none(row, "status"),
        file_set_status=_text_or_none(row, "file_set_status"),
        format_status=_text_or_none(row, "format_status"),
        size=_size(row.get("size")),
        checksum=_text_or_none(row, "checksum"),
    )


def _custom_action(row: Row) -> CustomAction:
    headers, context = row.get("headers"), _text(row, "context")
    headers = headers if isinstance(headers, dict) else {}
    last_error = _text_or_none(row, "last_error") or ""
    for value in headers.values():  # It may quote what was sent, and that is a secret.
        last_error = last_error.replace(str(value), "***") if value else last_error
    if not re.fullmatch(r"[A-Z_]+", context):
        raise _lacking("a proper context")  # It enters URLs.
    return CustomAction(
        id=_id(row),
        context=context,
        title=_text_or_none(row, "title") or "",
        url=_text_or_none(row, "url") or "",
        type=_text_or_none(row, "type"),
        headers=headers,
        is_disabled=bool(row.get("disabled")),
        status=_text_or_none(row, "status"),
        last_error=last_error,
    )


def _size(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _item(row: Row) -> Item:
    return Item(_id(row), _text(row, "object_type"), _text_or_none(row, "title"))


def _id(row: Row, field: str = "id") -> str:
    if not is_uuid(row.get(field)):
        raise _lacking(field)
    return _text(row, field).lower()


def _text(row: Row, field: str) -> str:
    if text := _text_or_none(row, field):
        return text
    raise _lacking(field)


def _text_or_none(row: Row, field: str) -> str | None:
    value = row.get(field)
    return value if isinstance(value, str) and value else None


def _lacking(field: str) -> IconikError:
    return IconikError(f"iconik's answer holds an object without {field}: nothing is done with it.")
