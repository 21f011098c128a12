"""The data that iconik sends: the types, and how rows become them.

iconik's description requires few fields, so most may be missing. `None` means that iconik did not
send a field, or sent something else in its place.

https://app.iconik.io/docs/reference.html
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from inspect import Parameter, signature
from sys import intern
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

from storage_plugin.errors import IconikError
from storage_plugin.webhook import is_uuid

T = TypeVar("T")
Row = Mapping[str, Any]  # A JSON object that iconik sends or receives.
Id = Annotated[str, "a UUID, in lower case"]
# The states of a job that has ended.
ENDED = ("FINISHED", "FINISHED_WITH_WARNING", "FAILED", "ABORTED", "SKIPPED", "DISCARDED")


def as_id(value: object) -> str | None:
    """Return a UUID, in lower case."""
    return str(value).lower() if is_uuid(value) else None


def as_text(value: object) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None


def as_number(value: object) -> int | None:
    """Return a whole number of at least 0."""
    return value if type(value) is int and value >= 0 else None


def as_time(value: object) -> float | None:
    """Return a time in seconds since 1970. iconik sends UTC, usually without a time zone."""
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


# The functions that read a value, by the type of the field.
READERS = {Id: as_id, str: as_text, int: as_number, float: as_time}


class Identified(NamedTuple):
    """Any object."""

    id: Id


class Storage(NamedTuple):
    """A storage. iconik does not document its settings."""

    id: Id
    method: str | None  # Its type: FILE, B2, S3 or another.
    status: str | None  # ACTIVE if iconik can reach it.
    mount_point: str | None  # The folder that a Storage Gateway serves as a storage of type FILE.
    name: str = ""


class Format(NamedTuple):
    """A format of an asset, for example ORIGINAL."""

    id: Id
    name: str
    version_id: Id | None
    status: str | None


class FileSet(NamedTuple):
    """iconik's own record of the files of one format on one storage."""

    id: Id
    format_id: Id | None
    storage_id: Id | None
    version_id: Id | None
    status: str | None
    type: str | None  # REGULAR, or MANY_FILES, whose files iconik may not list individually.
    file_count: int | None
    created: float | None  # In seconds since 1970.
    modified: str | None  # The time of its last change, as iconik writes it.


class File(NamedTuple):
    """A file's row. Its format, storage, version and their states may be out of date."""

    file_set_id: Id
    format_id: Id | None
    storage_id: Id | None
    version_id: Id | None
    file_set_status: str | None
    format_status: str | None
    own_name: str | None
    original_name: str
    type: str | None  # FILE, DIRECTORY, SYMLINK or SEQUENCE.
    status: str | None
    size: int | None  # In bytes.
    checksum: str | None
    folder: str = ""

    @property
    def name(self) -> str:
        """The name of the file on its storage."""
        return self.own_name or self.original_name


class Item(NamedTuple):
    """An object in a collection or search result."""

    id: Id
    object_type: str  # `assets` or `collections`.


class Transfer(NamedTuple):
    """A copy that is under way."""

    asset_id: Id | None
    format_id: Id | None
    destination_id: Id | None


class Job(NamedTuple):
    """A job."""

    id: Id
    status: str | None
    custom_type: str | None
    modified: float | None  # The time of its last change, in seconds since 1970.
    message: str | None
    click_id: str | None  # The click that the plugin created it for.


def parser(kind: Callable[..., T], **paths: str) -> Callable[[Row], T]:
    """Return a function that makes rows into tuples; `paths` are iconik's names of some fields.

    It raises IconikError if a row lacks a field that has no default and must not be None.
    """
    fields = []
    for name, field in signature(kind).parameters.items():
        types = get_args(field.annotation)
        read = READERS.get(field.annotation) or READERS[types[0]]
        default = None if type(None) in types else field.default
        fields.append((read, paths.get(name, name).split("."), default))

    def parse(row: Row) -> T:
        values = []
        for read, path, default in fields:
            value: Any = row
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if (value := read(value)) is None and (value := default) is Parameter.empty:
                text = f"iconik's answer contains an object without {name}: report this to iconik."
                raise IconikError(text)
            # Many of 60,000 rows have the same texts, except their ids.
            values.append(intern(value) if isinstance(value, str) and name != "id" else value)
        return kind(*values)

    return parse


identified, format, item = parser(Identified), parser(Format), parser(Item)
storage = parser(Storage, mount_point="settings.mount_point")
file_set = parser(FileSet, created="date_created", modified="date_modified")
file = parser(File, own_name="name", folder="directory_path")
transfer = parser(Transfer, destination_id="destination_storage_id")
job = parser(Job, modified="date_modified", click_id="metadata.click_id")
