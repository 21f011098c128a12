"""A thin client of iconik's REST API: one method per endpoint that adding and removing need.

https://app.iconik.io/docs/reference.html
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from storage_plugin import pages
from storage_plugin.errors import AccessDenied, IconikError, NotFound
from storage_plugin.rest import Rest, Row
from storage_plugin.webhook import is_uuid

MAX_IDS = 500
"""Ids that one bulk call takes."""

UNFINISHED = frozenset({"OPEN", "GROWING", "AWAITED"})
"""States of a file that is still being written.

https://app.iconik.io/help/pages/entities/files
"""

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
class Item:
    """An object in a collection or a search result; `type` as in `object_type` of bulk calls."""

    id: str
    type: str
    title: str | None


class Iconik:
    """iconik, as adding and removing need it. What `Rest` raises, all methods raise.

    Args:
        rest: sends the requests.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    @needs("can_read_storages")
    def storages(self) -> list[Storage]:
        """List all storages. The filter by name is not used, because it need not be exact."""
        return [
            Storage(id_of(row), *(text_or_none(row, name) for name in ("name", "method", "status")))
            for row in pages.numbered(self._rest, f"{FILES}/storages/")
        ]

    @needs("can_read_assets", "can_read_files", "can_read_formats", "can_write_transfers")
    def copy(
        self,
        storage_id: str,
        object_type: str,
        *,
        object_ids: Sequence[str],
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
        response = self._rest.send("POST", f"{FILES}/storages/{storage_id}/bulk/", json=body)
        try:  # iconik documents no body here, so none is required.
            job_id = response.json()["job_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return str(job_id) if is_uuid(job_id) else None

    @needs("can_read_formats")
    def formats(self, asset_id: str) -> list[Format]:
        """List the formats of an asset's current version; none where iconik knows none."""
        rows = self._all(f"{FILES}/assets/{asset_id}/formats/")
        return [
            Format(id_of(row), text_of(row, "name"), text_or_none(row, "status")) for row in rows
        ]

    @needs("can_read_files")
    def files(self, asset_id: str) -> list[File]:
        """List the files of an asset, of all formats and storages; none where iconik knows none."""
        rows = self._all(f"{FILES}/assets/{asset_id}/files/", {"generate_signed_url": "false"})
        return [_file(row, asset_id) for row in rows]

    @needs("can_read_files")
    def file_status(self, asset_id: str, file_id: str) -> str | None:
        """Return a file's status; None: iconik does not say."""
        return self._status(f"{FILES}/assets/{asset_id}/files/", file_id)

    @needs("can_read_files")
    def file_set_status(self, asset_id: str, file_set_id: str) -> str | None:
        """Return a file set's status; None: iconik does not say."""
        return self._status(f"{FILES}/assets/{asset_id}/file_sets/", file_set_id)

    @needs("can_delete_files")
    def delete_file_set(self, asset_id: str, file_set_id: str) -> None:
        """Delete a file set and its files for good; one that is gone already is fine."""
        path = f"{FILES}/assets/{asset_id}/file_sets/{file_set_id}/"
        with suppress(NotFound):
            response = self._rest.send("DELETE", path, query={"immediately": "true"})
            # 200 instead of 204: the file set is only in the recycle bin.
            if response.status_code != 204:
                self._rest.send("DELETE", f"{path}purge/")

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

    def _all(self, path: str, query: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a list with a cursor, none where iconik has no such list."""
        try:
            return list(pages.by_cursor(self._rest, path, query))
        except NotFound:
            return []

    def _status(self, folder: str, object_id: str) -> str | None:
        try:
            row = self._rest.get(f"{folder}{object_id}/")
        except NotFound:
            return "DELETED"
        return text_or_none(row, "status") if id_of(row) == object_id else None


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


def number_or_none(row: Row, field: str) -> int | None:
    """Return a whole number of at least 0, None where iconik sends none."""
    value = row.get(field)
    return value if type(value) is int and value >= 0 else None


def lacking(field: str) -> IconikError:
    """Return the error of a row without a field that the plugin needs."""
    return IconikError(f"iconik's answer holds an object without {field}: nothing is done with it.")


def _file(row: Row, asset_id: str) -> File:
    if row.get("asset_id") not in (None, asset_id):
        raise IconikError(f"iconik's answer holds a file of another asset than {asset_id}.")
    return File(
        id=id_of(row),
        file_set_id=id_of(row, "file_set_id"),
        format_id=id_of(row, "format_id"),
        storage_id=id_of(row, "storage_id"),
        original_name=text_of(row, "original_name"),
        type=text_or_none(row, "type"),
        status=text_or_none(row, "status"),
        file_set_status=text_or_none(row, "file_set_status"),
        format_status=text_or_none(row, "format_status"),
        size=number_or_none(row, "size"),
        checksum=text_or_none(row, "checksum"),
    )
