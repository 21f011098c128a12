"""Lists that iconik sends in pages.

The plugin builds each query itself; iconik's links only say that more rows follow. Lists of files
and file sets may come without links, without a total, and without the size of a page.

https://app.iconik.io/docs/api.html
"""

import itertools
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeVar

from storage_plugin.errors import CallerError, IconikError, IconikUnavailable, NotFound
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import Row, as_number, identified

PAGE = 100
"""Rows to request at once, the most that iconik documents for any list."""

USUAL_PAGE = 10
"""iconik's default. A page that does not state its size may have it, whatever was requested."""

T = TypeVar("T")
Key = Literal["page", "last_id"]
"""What asks for the next page: its number, or the id of the last row before it."""


def read(
    rest: Rest,
    path: str,
    parse: Callable[[Row], T],
    *,
    key: Key = "page",
    query: Row | None = None,
    most: float = math.inf,
) -> tuple[list[T], int]:
    """Read a list to its end.

    Args:
        parse: returns what the plugin needs of a row.
        key: the query parameter that asks for the next page.
        most: the number of rows that iconik lists at most.

    Returns:
        The rows, each once, and the number of rows that iconik counts but does not send.

    Raises:
        IconikError: the list contradicts itself, or does not go on.
        CallerError: there may be more rows than iconik lists.
    """
    first = {"per_page": str(PAGE), **(query or {})}
    answer: Row = rest.get(path, first)
    found: dict[str, T] = {}
    received = total = 0
    for page in itertools.count(1):  # pragma: no branch - it never ends by itself.
        rows = rows_of(answer)
        received += len(rows)
        total = max(total, as_number(answer.get("total")) or 0)
        if max(received, total) >= most:  # A total may stop at that number, too.
            raise CallerError(
                f"A search finds {most:,} objects or more, the most that iconik lists: narrow the "
                "search, or put the assets into a collection.",
                status=413,
            )
        size = as_number(answer.get("per_page")) or USUAL_PAGE
        if not _add(rows, found, parse, path):
            if len(rows) in (size, PAGE):  # There may be more rows, which iconik never sends.
                raise IconikError(f"iconik sends the same page of {path} again and again.")
            break
        if not _goes_on(answer, page, is_full=len(rows) >= size, missing=total - len(found)):
            break
        following = {"page": str(page + 1), "last_id": rows[-1]["id"]}[key]
        answer = {"objects": []}
        with suppress(NotFound):
            answer = rest.get(path, first | {key: following})
    return [*found.values()], max(0, total - len(found))


def read_whole(
    rest: Rest, path: str, parse: Callable[[Row], T], *, key: Key = "page", query: Row | None = None
) -> list[T]:
    """Read a list that is evidence; see `read`.

    Raises:
        IconikUnavailable: rows are missing.
    """
    found, missing = read(rest, path, parse, key=key, query=query)
    if missing:
        raise IconikUnavailable(f"iconik withholds {missing} rows of {path}: try again.")
    return found


def rows_of(answer: Row) -> list[Row]:
    """Return the rows of a list, or of one page of it.

    Raises:
        IconikError: the answer contains no list, or a row without a UUID.
    """
    rows = answer.get("objects", "none")
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise IconikError("iconik's answer contains no list of objects: try again later.")
    return [row | {"id": identified(row).id} for row in rows]


def _add(rows: list[Row], found: dict[str, T], parse: Callable[[Row], T], path: str) -> bool:
    """Add the rows of a page, each once, and return whether there are new ones."""
    known = len(found)
    for row in rows:
        if found.setdefault(row["id"], item := parse(row)) != item:
            raise IconikUnavailable(f"iconik contradicts itself in {path}: try again.")
    return len(found) > known


def _goes_on(answer: Row, page: int, *, is_full: bool, missing: int) -> bool:
    """Whether more rows may follow a page."""
    if answer.get("next_url") or missing > 0 or (as_number(answer.get("pages")) or 0) > page:
        return True
    return is_full and not as_number(answer.get("total"))
