"""The data that iconik sends: the types, and how rows become them.

iconik's description requires few fields, so most may be missing. `None` means that iconik did not
send a field, or sent something else in its place.

https://app.iconik.io/docs/reference.html
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from enum import Enum
from inspect import Parameter, signature
from sys import intern
from types import NoneType
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

from storage_plugin.errors import IconikError
from storage_plugin.webhook import is_uuid

T = TypeVar("T")

Row = Mapping[str, Any]
"""A JSON object that iconik sends or receives."""

Id = Annotated[str, "a UUID, in lower case"]
Capitals = Annotated[str, "safe to put into a URL"]

ENDED = ("FINISHED", "FINISHED_WITH_WARNING", "FAILED", "ABORTED", "SKIPPED", "DISCARDED")
"""The states of a job that has ended."""


def as_id(value: object) -> str | None:
    """Return an id, in lower case."""
    return str(value).lower() if is_uuid(value) else None


def as_text(value: object) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None


def as_number(value: object) -> int | None:
    """Return a whole number of at least 0."""
    return value if type(value) is int and value >= 0 else None


def as_flag(value: object) -> bool | None:
    """Return true or false."""
    return value if isinstance(value, bool) else None


def as_time(value: object) -> float | None:
    """Return a time in seconds since 1970. iconik sends UTC, usually without a time zone."""
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


READERS: dict[object, Callable[[object], Any]] = {
    Id: as_id,
    Capitals: lambda value: value if re.fullmatch("[A-Z_]+", str(value)) else None,
    str: as_text,
    int: as_number,
    bool: as_flag,
    float: as_time,
    Row: lambda value: value if isinstance(value, dict) else None,
}
"""The functions that read a value, by the type of the field."""


class Identified(NamedTuple):
    """Any object."""

    id: Id


class Storage(NamedTuple):
    """A storage. iconik does not document its settings.

    Attributes:
        method: its type: FILE, B2, S3 or another.
        mount_point: the folder that a Storage Gateway serves as a storage of type FILE.
    """

    id: Id
    method: str | None
    status: str | None
    mount_point: str | None
    own_name: str | None

    @property
    def name(self) -> str:
        """The name, or else the id."""
        return self.own_name or self.id

    @property
    def is_active(self) -> bool:
        """Whether iconik can reach the storage."""
        return self.status == "ACTIVE"


class Format(NamedTuple):
    """A format of an asset, for example ORIGINAL."""

    id: Id
    name: str
    version_id: Id | None
    status: str | None


class FileSet(NamedTuple):
    """iconik's own record of the files of one format on one storage.

    Attributes:
        type: REGULAR, or MANY_FILES, whose files iconik may not list individually.
        created: the time of its creation, in seconds since 1970.
        modified: the time of its last change, as iconik writes it.
    """

    id: Id
    format_id: Id | None
    storage_id: Id | None
    version_id: Id | None
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

    file_set_id: Id
    format_id: Id | None
    storage_id: Id | None
    version_id: Id | None
    file_set_status: str | None
    format_status: str | None
    own_name: str | None
    original_name: str
    type: str | None
    status: str | None
    size: int | None
    checksum: str | None
    folder: str = ""

    @property
    def name(self) -> str:
        """The name of the file on its storage."""
        return self.own_name or self.original_name


class Item(NamedTuple):
    """An object in a collection or search result; see `object_type` in `Iconik.copy`."""

    id: Id
    object_type: str


class Transfer(NamedTuple):
    """A copy that is under way."""

    asset_id: Id | None
    format_id: Id | None
    destination_id: Id | None


class Job(NamedTuple):
    """A job.

    Attributes:
        modified: the time of its last change, in seconds since 1970.
        click_id: the click that the plugin created it for.
    """

    id: Id
    status: str | None
    custom_type: str | None
    modified: float | None
    message: str | None
    click_id: str | None


class User(NamedTuple):
    """A user."""

    id: Id
    email: str | None
    is_admin: bool | None

    @property
    def name(self) -> str:
        """The e-mail address, or else the id."""
        return self.email or self.id


class CustomAction(NamedTuple):
    """A custom action; `status`: HEALTHY or FAILING. As text, it does not contain its headers."""

    id: Id
    context: Capitals
    type: str | None
    is_disabled: bool | None
    status: str | None
    headers: Mapping[str, Any] = {}
    title: str = ""
    url: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return f"{self.title} ({self.context})"

    @property
    def last_error(self) -> str:
        """The last error without the headers, which it may quote, because they hold a secret."""
        error = self.error
        for value in filter(None, map(str, self.headers.values())):
            error = error.replace(value, "***")
        return error


class Deletion(Enum):
    """The outcome of a deletion according to iconik's answer."""

    GONE = "The file set is deleted for good."
    BINNED = "The file set is in the recycle bin."
    UNCERTAIN = "Only another look can show the outcome."


def parser(kind: Callable[..., T], **paths: str) -> Callable[[Row], T]:
    """Return a function that makes rows into tuples; `paths` are iconik's names of some fields.

    It raises IconikError if a row lacks a field that has no default and must not be None.
    """
    fields = []
    for name, field in signature(kind).parameters.items():
        types = get_args(field.annotation)
        read = READERS.get(field.annotation) or READERS[types[0]]
        default = None if NoneType in types else field.default
        fields.append((read, paths.get(name, name).split("."), default))

    def parse(row: Row) -> T:
        values = []
        for read, path, default in fields:
            value: Any = row
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            value = default if (found := read(value)) is None else found
            if value is Parameter.empty:
                missing = f"iconik's answer contains an object without {name}: try again later."
                raise IconikError(missing)
            if isinstance(value, str) and name != "id":
                value = intern(value)  # Many of 60,000 rows have the same texts.
            values.append(value)
        return kind(*values)

    return parse


identified = parser(Identified)
storage = parser(Storage, own_name="name", mount_point="settings.mount_point")
format, item, user = parser(Format), parser(Item), parser(User)
file_set = parser(FileSet, created="date_created", modified="date_modified")
file = parser(File, own_name="name", folder="directory_path")
transfer = parser(Transfer, destination_id="destination_storage_id")
job = parser(Job, modified="date_modified", click_id="metadata.click_id")
custom_action = parser(CustomAction, is_disabled="disabled", error="last_error")
