"""A thin client of iconik's REST API: one method per endpoint that adding and removing need.

https://app.iconik.io/docs/reference.html
"""

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple, ParamSpec, TypeVar

from storage_plugin import pages
from storage_plugin.errors import AccessDenied, IconikError, IconikUnavailable, NotFound
from storage_plugin.rest import Rest, Row, json_object
from storage_plugin.webhook import is_uuid

MAX_IDS = 500
"""Ids that one bulk call takes."""

FILES = "/API/files/v1"

_roles: dict[Callable[..., object], tuple[str, ...]] = {}

P = ParamSpec("P")
R = TypeVar("R")


def needs(*roles: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Name the roles that iconik demands of the token's user for the endpoint of a method.

    The doctor checks them, and whoever is refused reads them.
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
    """Return the roles that iconik demands for the endpoint of a method."""
    return _roles[method]


class Storage(NamedTuple):
    """A storage; `method`: FILE, B2, S3 and others; None: iconik did not say."""

    id: str
    name: str | None
    method: str | None
    status: str | None
    mount_point: str | None

    @property
    def is_active(self) -> bool:
        """Whether iconik reaches it."""
        return self.status == "ACTIVE"


class Format(NamedTuple):
    """A format of an asset, for instance ORIGINAL; None: iconik did not say."""

    id: str
    name: str
    version_id: str | None
    status: str | None


class FileSet(NamedTuple):
    """iconik's own record of the files of one format on one storage; None: iconik did not say.

    Attributes:
        type: REGULAR, or MANY_FILES, of which files may not be listed one by one.
        file_count: how many files it has.
    """

    id: str
    format_id: str
    storage_id: str
    version_id: str | None
    status: str | None
    type: str | None
    file_count: int | None


class Claim(NamedTuple):
    """What a file's row says of its file set and its format: a copy, which may lag behind."""

    format_id: str
    storage_id: str
    version_id: str | None
    file_set_status: str | None
    format_status: str | None


class File(NamedTuple):
    """A file's row; `size` in bytes; None: iconik did not say. There may be very many."""

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
    """What an answer says of a file set that was to be deleted."""

    GONE = "It is deleted for good."
    BINNED = "It is in the recycle bin."
    UNCERTAIN = "Only another look tells."


class Item(NamedTuple):
    """An object in a collection or a search result; `type` as in `object_type` of bulk calls."""

    id: str
    type: str
    title: str | None


class Iconik:
    """iconik, as adding and removing need it. What `Rest` raises, all methods raise.

    Args:
        rest: sends the requests.

    Attributes:
        now: the clock of `rest`.
        deadline: of `rest`.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self.now = rest.now
        self.deadline = rest.deadline

    @needs("can_read_storages")
    def storages(self) -> list[Storage]:
        """List all storages. The filter by name is not used, because it need not be exact."""
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
            object_type: `assets`, `collections` (with all that is below) or `saved_searches`.
            file_path: the folder on the storage; empty: as at the source.
            preferred_source: the id of the storage to copy from, where there is a choice.

        Returns:
            The id of iconik's job, where iconik says so.
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
        with suppress(IconikUnavailable):  # iconik documents no body here, so none is required.
            return id_or_none(json_object(answer), "job_id")
        return None

    @needs("can_read_files")
    def file_sets(self, asset_id: str) -> list[FileSet]:
        """List the file sets of an asset, of all formats and storages, as far as iconik does."""
        rows = self._all(f"{FILES}/assets/{asset_id}/file_sets/", {"file_count": "true"})
        return [_file_set(_of_asset(row, asset_id)) for row in rows]

    @needs("can_read_formats")
    def formats(self, asset_id: str) -> list[Format]:
        """List the formats of an asset's current version; none where iconik knows none."""
        rows = self._all(f"{FILES}/assets/{asset_id}/formats/")
        return [_format(_of_asset(row, asset_id)) for row in rows]

    @needs("can_read_files")
    def files(self, asset_id: str) -> list[File]:
        """List the files of an asset, of all formats and storages; none where iconik knows none."""
        rows = self._all(f"{FILES}/assets/{asset_id}/files/", {"generate_signed_url": "false"})
        shared: dict[object, Any] = {}
        return [_file(_of_asset(row, asset_id), shared) for row in rows]

    @needs("can_delete_files")
    def delete_file_set(
        self, asset_id: str, file_set_id: str, *, immediately: bool, not_after: float
    ) -> Deletion:
        """Delete a file set and its files, once, on evidence that is fresh.

        Args:
            immediately: whether it is deleted past the recycle bin.
            not_after: the moment, by the clock `now`, from which the evidence is too old.

        Raises:
            Stale, IconikBusy, IconikUnavailable: as `Rest.delete`; look again.
        """
        path = f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/"
        query = {"immediately": "true"} if immediately else {}
        return self._delete(path, query, not_after)

    @needs("can_delete_files")
    def purge_file_set(self, asset_id: str, file_set_id: str, *, not_after: float) -> Deletion:
        """Delete a file set in the recycle bin for good, as `delete_file_set` does."""
        path = f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/purge/"
        return self._delete(path, {}, not_after)

    @needs("can_read_collections")
    def collection_contents(self, collection_id: str) -> list[Item]:
        """List the assets and collections directly in a collection."""
        path = f"/API/assets/v1/collections/{collection_id}/contents/"
        return self._items(path, {"object_types": "assets,collections"})

    @needs("can_read_saved_searches", "can_search")
    def saved_search_results(self, search_id: str) -> list[Item]:
        """Run a saved search and list what it finds."""
        path = f"/API/search/v1/search/saved/{search_id}/"
        return self._items(path, {"include_results": "true"})

    def _items(self, path: str, query: Mapping[str, str]) -> list[Item]:
        return [
            Item(id_of(row), text_of(row, "object_type"), text_or_none(row, "title"))
            for row in pages.numbered(self._rest, path, query)
        ]

    def _all(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Row]:
        """Yield the rows of a list with a cursor, none where iconik has no such list."""
        with suppress(NotFound):
            yield from pages.by_cursor(self._rest, path, query)

    def _delete(self, path: str, query: Mapping[str, str], not_after: float) -> Deletion:
        try:
            status = self._rest.delete(path, query, not_after=not_after)
        except NotFound:
            return Deletion.UNCERTAIN
        return {204: Deletion.GONE, 200: Deletion.BINNED}.get(status, Deletion.UNCERTAIN)


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ids, as many at a time as one bulk call takes."""
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]


def id_of(row: Row, field: str = "id") -> str:
    """Return an id, in lower case.

    Raises:
        IconikError: the field holds no UUID.
    """
    if not is_uuid(row.get(field)):
        raise lacking(field)
    return str(row[field]).lower()


def text_of(row: Row, field: str) -> str:
    """Return a text.

    Raises:
        IconikError: the field holds none.
    """
    if text := text_or_none(row, field):
        return text
    raise lacking(field)


def text_or_none(row: Row, field: str) -> str | None:
    """Return a text, None where iconik sends none."""
    value = row.get(field)
    return value if isinstance(value, str) and value else None


def id_or_none(row: Row, field: str) -> str | None:
    """Return an id, in lower case, None where iconik sends none."""
    return id_of(row, field) if is_uuid(row.get(field)) else None


def number_or_none(row: Row, field: str) -> int | None:
    """Return a whole number of at least 0, None where iconik sends none."""
    value = row.get(field)
    return value if type(value) is int and value >= 0 else None


def lacking(field: str) -> IconikError:
    """Return the error of a row without a field that the plugin needs."""
    return IconikError(f"iconik's answer holds an object without {field}: nothing is done with it.")


def _of_asset(row: Row, asset_id: str) -> Row:
    if str(row.get("asset_id") or asset_id).lower() != asset_id:
        raise IconikError(f"iconik's answer holds a row of another asset than {asset_id}.")
    return row


def _storage(row: Row) -> Storage:
    settings = row.get("settings")
    # iconik does not document what is in the settings of a storage.
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


def _file(row: Row, shared: dict[object, Any]) -> File:
    """Return a file.

    Args:
        shared: what many rows say alike, so that the memory holds it once.
    """
    claim = Claim(
        format_id=id_of(row, "format_id"),
        storage_id=id_of(row, "storage_id"),
        version_id=id_or_none(row, "version_id"),
        file_set_status=text_or_none(row, "file_set_status"),
        format_status=text_or_none(row, "format_status"),
    )
    original_name, name = text_of(row, "original_name"), text_or_none(row, "name")
    file_set_id, folder = id_of(row, "file_set_id"), text_or_none(row, "directory_path") or ""
    return File(
        file_set_id=shared.setdefault(file_set_id, file_set_id),
        claim=shared.setdefault(claim, claim),
        folder=shared.setdefault(folder, folder),
        name=original_name if name in (None, original_name) else str(name),
        original_name=original_name,
        type=_shared(row, "type"),
        status=_shared(row, "status"),
        size=number_or_none(row, "size"),
        checksum=text_or_none(row, "checksum"),
    )


def _shared(row: Row, field: str) -> str | None:
    text = text_or_none(row, field)
    return sys.intern(text) if text else None
