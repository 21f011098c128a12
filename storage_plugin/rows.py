"""Fields of the rows that iconik sends, which are not trusted to be well-formed."""

from collections.abc import Mapping
from typing import Any

from storage_plugin.errors import IconikError
from storage_plugin.webhook import is_uuid

Row = Mapping[str, Any]


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
