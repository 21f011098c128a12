"""The data that iconik sends: the types, and how rows become them.

iconik's description requires few fields, so most may be missing. `None` means that iconik did not
send a field, or sent something else in its place.

https://app.iconik.io/docs/reference.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from sys import intern
from typing import Any, NamedTuple

from storage_plugin.errors import IconikError
from storage_plugin.webhook import is_uuid

Row = Mapping[str, Any]
"""A JSON object that iconik sends or receives."""

ENDED = frozenset(
    {"FINISHED", "FINISHED_WITH_WARNING", "FAILED", "ABORTED", "SKIPPED", "DISCARDED"}
)
"""The states of a job that has ended."""


class Storage(NamedTuple):
    """A storage.

    Attributes:
        method: its type: FILE, B2, S3 or another.
        mount_point: the folder that a Storage Gateway serves as a storage of type FILE.
    """

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
    """A format of an asset, for example ORIGINAL."""

    id: str
    name: str
    version_id: str | None
    status: str | None


class FileSet(NamedTuple):
    """iconik's own record of the files of one format on one storage.

    Attributes:
        type: REGULAR, or MANY_FILES, whose files iconik may not list individually.
        file_count: the number of files.
        created: the time of its creation, in seconds since 1970.
        modified: the time of its last change, as iconik writes it.
    """

    id: str
    format_id: str | None
    storage_id: str | None
    version_id: str | None
    status: str | None
    type: str | None
    file_count: int | None
    created: float | None
    modified: str | None


class File(NamedTuple):
    """A file's row.

    What a row says of its format, storage, version and their states may be out of date.

    Attributes:
        type: FILE, DIRECTORY, SYMLINK or SEQUENCE.
        size: in bytes.
    """

    file_set_id: str
    format_id: str | None
    storage_id: str | None
    version_id: str | None
    file_set_status: str | None
    format_status: str | None
    folder: str
    name: str
    original_name: str
    type: str | None
    status: str | None
    size: int | None
    checksum: str | None


class Item(NamedTuple):
    """An object in a collection or search result; `type` is the `object_type` of bulk calls."""

    id: str
    type: str
    title: str | None


class Contents(NamedTuple):
    """The objects in a collection or search result, as far as iconik sends them.

    Attributes:
        missing: the number of objects that iconik counts and does not send, for example because the
            token's user has no access to them.
    """

    items: list[Item]
    missing: int


class Transfer(NamedTuple):
    """A copy that is under way."""

    asset_id: str | None
    format_id: str | None
    destination_id: str | None


class Job(NamedTuple):
    """A job.

    Attributes:
        modified: the time of its last change, in seconds since 1970.
        click_id: the click that the plugin created it for.
    """

    id: str
    status: str | None
    custom_type: str | None
    modified: float | None
    message: str | None
    click_id: str | None


class User(NamedTuple):
    """A user; `name` is the e-mail address, or else the id."""

    name: str
    is_admin: bool | None


@dataclass(frozen=True)
class CustomAction:
    """A custom action; `status`: HEALTHY or FAILING; `repr` omits `headers` with their secret."""

    id: str
    context: str
    title: str
    url: str
    type: str | None
    headers: Mapping[str, str] = field(repr=False)
    is_disabled: bool
    status: str | None
    last_error: str

    def __str__(self) -> str:
        return f"{self.title} ({self.context})"


class Deletion(Enum):
    """The outcome of a deletion according to iconik's answer."""

    GONE = "The file set is deleted for good."
    BINNED = "The file set is in the recycle bin."
    UNCERTAIN = "Only another look can show the outcome."


def storage(row: Row) -> Storage:
    """Return a storage. iconik does not document its settings."""
    mount_point = text_or_none(object_of(row, "settings"), "mount_point")
    name, method, status = (text_or_none(row, field) for field in ("name", "method", "status"))
    return Storage(id_of(row), name, method, status, mount_point)


def format(row: Row) -> Format:
    """Return a format."""
    version_id, status = id_or_none(row, "version_id"), text_or_none(row, "status")
    return Format(id_of(row), text_of(row, "name"), version_id, status)


def file_set(row: Row) -> FileSet:
    """Return a file set."""
    return FileSet(
        id=id_of(row),
        format_id=id_or_none(row, "format_id"),
        storage_id=id_or_none(row, "storage_id"),
        version_id=id_or_none(row, "version_id"),
        status=text_or_none(row, "status"),
        type=text_or_none(row, "type"),
        file_count=number_or_none(row, "file_count"),
        created=time_or_none(row, "date_created"),
        modified=text_or_none(row, "date_modified"),
    )


def file(row: Row) -> File:
    """Return a file."""
    original_name, name = text_of(row, "original_name"), text_or_none(row, "name")
    return File(
        file_set_id=id_of(row, "file_set_id"),
        format_id=id_or_none(row, "format_id"),
        storage_id=id_or_none(row, "storage_id"),
        version_id=id_or_none(row, "version_id"),
        file_set_status=text_or_none(row, "file_set_status"),
        format_status=text_or_none(row, "format_status"),
        folder=text_or_none(row, "directory_path") or "",
        name=name or original_name,
        original_name=original_name,
        type=text_or_none(row, "type"),
        status=text_or_none(row, "status"),
        size=number_or_none(row, "size"),
        checksum=text_or_none(row, "checksum"),
    )


def item(row: Row) -> Item:
    """Return an object in a collection or search result."""
    return Item(id_of(row), text_of(row, "object_type"), text_or_none(row, "title"))


def transfer(row: Row) -> Transfer:
    """Return a copy that is under way."""
    fields = ("asset_id", "format_id", "destination_storage_id")
    return Transfer(*(id_or_none(row, field) for field in fields))


def job(row: Row) -> Job:
    """Return a job."""
    return Job(
        id=id_of(row),
        status=text_or_none(row, "status"),
        custom_type=text_or_none(row, "custom_type"),
        modified=time_or_none(row, "date_modified"),
        message=text_or_none(row, "message"),
        click_id=text_or_none(object_of(row, "metadata"), "click_id"),
    )


def user(row: Row) -> User:
    """Return a user."""
    return User(text_or_none(row, "email") or id_of(row), row.get("is_admin"))


def custom_action(row: Row) -> CustomAction:
    """Return a custom action."""
    headers, context = object_of(row, "headers"), text_of(row, "context")
    last_error = text_or_none(row, "last_error") or ""
    for value in headers.values():  # The error may quote the headers, which contain a secret.
        last_error = last_error.replace(str(value), "***") if value else last_error
    if not re.fullmatch(r"[A-Z_]+", context):
        raise lacking("a proper context")  # It enters URLs.
    return CustomAction(
        id=id_of(row),
        context=context,
        title=text_or_none(row, "title") or "",
        url=text_or_none(row, "url") or "",
        type=text_or_none(row, "type"),
        headers=headers,
        is_disabled=bool(row.get("disabled")),
        status=text_or_none(row, "status"),
        last_error=last_error,
    )


def id_of(row: Row, field: str = "id") -> str:
    """Return an id, in lower case.

    Raises:
        IconikError: the field does not contain a UUID.
    """
    if is_uuid(row.get(field)):
        return intern(str(row[field]).lower())
    raise lacking(field)


def id_or_none(row: Row, field: str) -> str | None:
    """Return an id in lower case, or None if iconik did not send one."""
    return id_of(row, field) if is_uuid(row.get(field)) else None


def text_of(row: Row, field: str) -> str:
    """Return a text.

    Raises:
        IconikError: the field does not contain a text, or contains an empty one.
    """
    if text := text_or_none(row, field):
        return text
    raise lacking(field)


def text_or_none(row: Row, field: str) -> str | None:
    """Return a text, or None if iconik did not send one."""
    value = row.get(field)
    return intern(value) if isinstance(value, str) and value else None


def object_of(row: Row, field: str) -> Row:
    """Return an object, or an empty one if iconik did not send one."""
    value = row.get(field)
    return value if isinstance(value, dict) else {}


def number_or_none(row: Row, field: str) -> int | None:
    """Return a whole number of at least 0, or None if iconik did not send one."""
    value = row.get(field)
    return value if type(value) is int and value >= 0 else None


def time_or_none(row: Row, field: str) -> float | None:
    """Return a time in seconds since 1970, or None if iconik did not send one.

    iconik sends UTC, usually without a time zone.
    """
    try:
        moment = datetime.fromisoformat(str(row.get(field)).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def lacking(field: str) -> IconikError:
    """Return the error for a row without a field that the plugin needs."""
    return IconikError(f"iconik's answer contains an object without {field}: it is not used.")
