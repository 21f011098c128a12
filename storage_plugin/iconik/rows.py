"""The data that iconik sends: the types, and how rows become them.

iconik's description requires few fields, so most may be missing. `None` means that iconik did not
send a field, or sent something else in its place.

https://app.iconik.io/docs/reference.html
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from enum import Enum
from sys import intern
from types import NoneType
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints

from storage_plugin.errors import IconikError
from storage_plugin.webhook import is_uuid

T = TypeVar("T")

Row = Mapping[str, Any]
"""A JSON object that iconik sends or receives."""

ENDED = frozenset(
    {"FINISHED", "FINISHED_WITH_WARNING", "FAILED", "ABORTED", "SKIPPED", "DISCARDED"}
)
"""The states of a job that has ended."""


def as_id(value: object) -> str | None:
    """Return an id, in lower case."""
    return intern(str(value).lower()) if is_uuid(value) else None


def as_text(value: object) -> str | None:
    """Return a text that is not empty."""
    return intern(value) if isinstance(value, str) and value else None


def as_capitals(value: object) -> str | None:
    """Return a text that is safe to put into a URL."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Z_]+", value) else None


def as_number(value: object) -> int | None:
    """Return a whole number of at least 0."""
    return value if type(value) is int and value >= 0 else None


def as_flag(value: object) -> bool | None:
    """Return whether something is the case."""
    return value if isinstance(value, bool) else None


def as_time(value: object) -> float | None:
    """Return a time in seconds since 1970. iconik sends UTC, usually without a time zone."""
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def as_object(value: object) -> Row:
    """Return an object, which is empty if iconik did not send one."""
    return value if isinstance(value, dict) else {}


def within(name: str) -> Callable[[object], str | None]:
    """Return what reads a text in an object."""
    return lambda value: as_text(as_object(value).get(name))


Id = Annotated[str, as_id]
Text = Annotated[str, as_text]
IdOrNone = Annotated[str | None, as_id]
TextOrNone = Annotated[str | None, as_text]
TextOrEmpty = Annotated[str, lambda value: as_text(value) or ""]
NumberOrNone = Annotated[int | None, as_number]
FlagOrNone = Annotated[bool | None, as_flag]
TimeOrNone = Annotated[float | None, as_time]

# A field has the name that it has at iconik, unless its annotation gives another.


class Storage(NamedTuple):
    """A storage. iconik does not document its settings.

    Attributes:
        method: its type: FILE, B2, S3 or another.
        mount_point: the folder that a Storage Gateway serves as a storage of type FILE.
    """

    id: Id
    name: TextOrNone
    method: TextOrNone
    status: TextOrNone
    mount_point: Annotated[str | None, within("mount_point"), "settings"]

    @property
    def is_active(self) -> bool:
        """Whether iconik can reach the storage."""
        return self.status == "ACTIVE"


class Format(NamedTuple):
    """A format of an asset, for example ORIGINAL."""

    id: Id
    name: Text
    version_id: IdOrNone
    status: TextOrNone


class FileSet(NamedTuple):
    """iconik's own record of the files of one format on one storage.

    Attributes:
        type: REGULAR, or MANY_FILES, whose files iconik may not list individually.
        created: the time of its creation, in seconds since 1970.
        modified: the time of its last change, as iconik writes it.
    """

    id: Id
    format_id: IdOrNone
    storage_id: IdOrNone
    version_id: IdOrNone
    status: TextOrNone
    type: TextOrNone
    file_count: NumberOrNone
    created: Annotated[TimeOrNone, "date_created"]
    modified: Annotated[TextOrNone, "date_modified"]


class File(NamedTuple):
    """A file's row.

    What a row says of its format, storage, version and their states may be out of date.

    Attributes:
        type: FILE, DIRECTORY, SYMLINK or SEQUENCE.
        size: in bytes.
    """

    file_set_id: Id
    format_id: IdOrNone
    storage_id: IdOrNone
    version_id: IdOrNone
    file_set_status: TextOrNone
    format_status: TextOrNone
    folder: Annotated[TextOrEmpty, "directory_path"]
    own_name: Annotated[TextOrNone, "name"]
    original_name: Text
    type: TextOrNone
    status: TextOrNone
    size: NumberOrNone
    checksum: TextOrNone

    @property
    def name(self) -> str:
        """The name of the file on its storage."""
        return self.own_name or self.original_name


class Item(NamedTuple):
    """An object in a collection or search result; `type` is the `object_type` of bulk calls."""

    id: Id
    type: Annotated[Text, "object_type"]
    title: TextOrNone


class Transfer(NamedTuple):
    """A copy that is under way."""

    asset_id: IdOrNone
    format_id: IdOrNone
    destination_id: Annotated[IdOrNone, "destination_storage_id"]


class Job(NamedTuple):
    """A job.

    Attributes:
        modified: the time of its last change, in seconds since 1970.
        click_id: the click that the plugin created it for.
    """

    id: Id
    status: TextOrNone
    custom_type: TextOrNone
    modified: Annotated[TimeOrNone, "date_modified"]
    message: TextOrNone
    click_id: Annotated[str | None, within("click_id"), "metadata"]


class User(NamedTuple):
    """A user."""

    id: Id
    email: TextOrNone
    is_admin: FlagOrNone

    @property
    def name(self) -> str:
        """The e-mail address, or else the id."""
        return self.email or self.id


class CustomAction(NamedTuple):
    """A custom action; `status`: HEALTHY or FAILING. As text, it does not contain its headers."""

    id: Id
    context: Annotated[str, as_capitals]
    title: TextOrEmpty
    url: TextOrEmpty
    type: TextOrNone
    headers: Annotated[Row, as_object]
    is_disabled: Annotated[FlagOrNone, "disabled"]
    status: TextOrNone
    error: Annotated[TextOrEmpty, "last_error"]

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


def parser(kind: Callable[..., T]) -> Callable[[Row], T]:
    """Return what makes rows into tuples of a type, as the annotations of its fields say.

    It raises IconikError if a row lacks a field that must not be None.
    """
    fields = []
    for field, hint in get_type_hints(kind, include_extras=True).items():
        read, name = (*hint.__metadata__, field)[:2]
        fields.append((read, name, NoneType in get_args(hint.__origin__)))

    def parse(row: Row) -> T:
        values = []
        for read, name, may_lack in fields:
            value = read(row.get(name))
            if value is None and not may_lack:
                raise lacking(name)
            values.append(value)
        return kind(*values)

    return parse


storage, format, file_set = parser(Storage), parser(Format), parser(FileSet)
file, item, transfer = parser(File), parser(Item), parser(Transfer)
job, user, custom_action = parser(Job), parser(User), parser(CustomAction)


def id_of(row: Row) -> str:
    """Return the id of a row.

    Raises:
        IconikError: it is no UUID.
    """
    if id := as_id(row.get("id")):
        return id
    raise lacking("id")


def lacking(field: str) -> IconikError:
    """Return the error for a row without a field that the plugin needs."""
    return IconikError(f"iconik's answer contains an object without {field}: it is not used.")
