"""A thin client of iconik's REST API, with one method for each endpoint that the core needs.

https://app.iconik.io/docs/reference.html
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple, ParamSpec, TypeVar

from storage_plugin import pages
from storage_plugin.errors import AccessDenied, IconikError, NotFound
from storage_plugin.rest import Rest, Row
from storage_plugin.webhook import is_uuid

MAX_IDS = 500
"""The most ids that one bulk call accepts."""

WORKERS = 16
"""Threads for one action. At 0.1 s a call they send 160 requests a second, above iconik's limit."""

FILES = "/API/files/v1"

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


class Storage(NamedTuple):
    """A storage; `method` is its type: FILE, B2, S3 or another; None: iconik did not send it."""

    id: str
    name: str | None
    method: str | None
    status: str | None
    mount_point: str | None

    @property
    def is_active(self) -> bool:
        """Whether iconik can reach the storage."""
        return self.status == "ACTIVE"


class Format(NamedTuple):
    """A format of an asset, for example ORIGINAL; None: iconik did not send it."""

    id: str
    name: str
    version_id: str | None
    status: str | None


class FileSet(NamedTuple):
    """iconik's own record of the files of one format on one storage; None: iconik did not send it.

    Attributes:
        type: REGULAR, or MANY_FILES, whose files iconik may not list individually.
        file_count: the number of files.
    """

    id: str
    format_id: str
    storage_id: str
    version_id: str | None
    status: str | None
    type: str | None
    file_count: int | None


class Claim(NamedTuple):
    """The statements in a file's row about its file set and format, which may be out of date."""

    format_id: str
    storage_id: str
    version_id: str | None
    file_set_status: str | None
    format_status: str | None


class File(NamedTuple):
    """A file's row; `size` is in bytes; None: iconik did not send it. There may be very many."""

    file_set_id: str
    claim: Claim
    folder: str
    name: str
    original_name: str
    type: str | None
    status: str | None
    size: int | None
    checksum: str | None


class Deletion(Enum):
    """The outcome of a deletion according to iconik's answer."""

    GONE = "The file set is deleted for good."
    BINNED = "The file set is in the recycle bin."
    UNCERTAIN = "Only another look can show the outcome."


class Item(NamedTuple):
    """An object in a collection or search result; `type` is the `object_type` of bulk calls."""

    id: str
    type: str
    title: str | None


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
        return [_storage(row) for row in pages.numbered(self._rest, f"{FILES}/storages/")]

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
        rows = self._of_asset(asset_id, "file_sets/", {"file_count": "true"})
        return [_file_set(row) for row in rows]

    @needs("can_read_formats")
    def formats(self, asset_id: str) -> list[Format]:
        """List the formats of an asset's current version; empty: iconik has none."""
        return [_format(row) for row in self._of_asset(asset_id, "formats/")]

    @needs("can_read_files")
    def files(self, asset_id: str) -> list[File]:
        """List the files of an asset, of all formats and storages; empty: iconik has none."""
        rows = self._of_asset(asset_id, "files/", {"generate_signed_url": "false"})
        shared = functools.cache(lambda value: value)  # It returns the first of equal values.
        return [_file(row, shared) for row in rows]

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

    def _items(self, path: str, query: Mapping[str, str]) -> list[Item]:
        return [
            Item(id_of(row), text_of(row, "object_type"), text_or_none(row, "title"))
            for row in pages.numbered(self._rest, path, query)
        ]

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


def id_of(row: Row, field: str = "id") -> str:
    """Return an id, in lower case.

    Raises:
        IconikError: the field does not contain a UUID.
    """
    if not is_uuid(row.get(field)):
        raise lacking(field)
    return str(row[field]).lower()


def text_of(row: Row, field: str) -> str:
    """Return a text.

    Raises:
        IconikError: the field does not contain a text, or an empty one.
    """
    if text := text_or_none(row, field):
        return text
    raise lacking(field)


def text_or_none(row: Row, field: str) -> str | None:
    """Return a text; None: iconik did not send one."""
    value = row.get(field)
    return value if isinstance(value, str) and value else None


def id_or_none(row: Row, field: str) -> str | None:
    """Return an id, in lower case; None: iconik did not send one."""
    return id_of(row, field) if is_uuid(row.get(field)) else None


def number_or_none(row: Row, field: str) -> int | None:
    """Return a whole number of at least 0; None: iconik did not send one."""
    value = row.get(field)
    return value if type(value) is int and value >= 0 else None


def lacking(field: str) -> IconikError:
    """Return the error for a row without a field that the plugin needs."""
    return IconikError(f"iconik's answer contains an object without {field}: it is not used.")


def _storage(row: Row) -> Storage:
    settings = row.get("settings")
    # iconik does not document the settings of a storage.
    mount_point = text_or_none(settings, "mount_point") if isinstance(settings, dict) else None
    name, method, status = (text_or_none(row, field) for field in ("name", "method", "status"))
    return Storage(id_of(row), name, method, status, mount_point)


def _format(row: Row) -> Format:
    version_id, status = id_or_none(row, "version_id"), text_or_none(row, "status")
    return Format(id_of(row), text_of(row, "name"), version_id, status)


def _file_set(row: Row) -> FileSet:
    return FileSet(
        id=id_of(row),
        format_id=id_of(row, "format_id"),
        storage_id=id_of(row, "storage_id"),
        version_id=id_or_none(row, "version_id"),
        status=text_or_none(row, "status"),
        type=text_or_none(row, "type"),
        file_count=number_or_none(row, "file_count"),
    )


def _file(row: Row, shared: Callable[[Any], Any]) -> File:
    """Return a file.

    Args:
        row: iconik's row.
        shared: returns the equal value of an earlier row, if there is one, to save memory.
    """
    claim = Claim(
        format_id=id_of(row, "format_id"),
        storage_id=id_of(row, "storage_id"),
        version_id=id_or_none(row, "version_id"),
        file_set_status=text_or_none(row, "file_set_status"),
        format_status=text_or_none(row, "format_status"),
    )
    original_name, name = text_of(row, "original_name"), text_or_none(row, "name")
    return File(
        file_set_id=shared(id_of(row, "file_set_id")),
        claim=shared(claim),
        folder=shared(text_or_none(row, "directory_path") or ""),
        name=original_name if name in (None, original_name) else str(name),
        original_name=original_name,
        type=shared(text_or_none(row, "type")),
        status=shared(text_or_none(row, "status")),
        size=number_or_none(row, "size"),
        checksum=text_or_none(row, "checksum"),
    )
