"""Lists that iconik sends in pages.

The plugin builds each query itself; iconik's links only say that more rows follow. Lists of files
and file sets may come without links, without a total, and without the size of a page.

https://app.iconik.io/docs/api.html
"""

import itertools
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from storage_plugin.errors import CallerError, IconikError, IconikUnavailable, NotFound
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import Row, id_of, number_or_none

PAGE = 100
"""Rows to request at once, the most that iconik documents for any list."""

USUAL_PAGE = 10
"""iconik's default. A page that does not state its size may have it, whatever was requested."""

T = TypeVar("T")
Query = Mapping[str, str]
Following = Callable[[int, str], Query]
"""Returns the query for a page, given its number and the id of the last row before it."""


def by_number(page: int, _: str) -> Query:
    """Ask for a page by its number."""
    return {"page": str(page)}


def by_cursor(_: int, last_id: str) -> Query:
    """Ask for the rows after a given one."""
    return {"last_id": last_id}


def read(
    rest: Rest,
    path: str,
    parse: Callable[[Row], T],
    *,
    following: Following = by_number,
    query: Query | None = None,
    most: float = math.inf,
) -> tuple[list[T], int]:
    """Read a list to its end.

    Args:
        rest: sends the requests.
        path: the path of the list.
        parse: returns what the plugin needs of a row.
        following: asks for the next page.
        query: the query parameters of all pages.
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
        received, total = received + len(rows), max(total, number_or_none(answer, "total") or 0)
        if max(received, total) >= most:  # A total may stop at that number, too.
            raise CallerError(
                f"A search finds {most:,} objects or more, the most that iconik lists: narrow the "
                "search, or put the assets into a collection.",
                status=413,
            )
        size = number_or_none(answer, "per_page") or USUAL_PAGE
        if not _add(rows, found, parse, path):
            if len(rows) in (size, PAGE):  # There may be more rows, which iconik never sends.
                raise IconikError(f"iconik sends the same page of {path} again and again.")
            break
        if not _goes_on(answer, page, is_full=len(rows) >= size, missing=total - len(found)):
            break
        answer = {"objects": []}
        with suppress(NotFound):
            answer = rest.get(path, {**first, **following(page + 1, rows[-1]["id"])})
    return [*found.values()], max(0, total - len(found))


def read_whole(
    rest: Rest,
    path: str,
    parse: Callable[[Row], T],
    *,
    following: Following = by_number,
    query: Query | None = None,
) -> list[T]:
    """Read a list that is evidence; see `read`.

    Raises:
        IconikUnavailable: rows are missing.
    """
    found, missing = read(rest, path, parse, following=following, query=query)
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
    return [row | {"id": id_of(row)} for row in rows]


def _add(rows: list[Row], found: dict[str, T], parse: Callable[[Row], T], path: str) -> bool:
    """Add the rows of a page, each once, and return whether there are new ones."""
    known = len(found)
    for row in rows:
        if found.setdefault(row["id"], item := parse(row)) != item:
            raise IconikUnavailable(f"iconik contradicts itself in {path}: try again.")
    return len(found) > known


def _goes_on(answer: Row, page: int, *, is_full: bool, missing: int) -> bool:
    """Whether more rows may follow a page."""
    if answer.get("next_url") or missing > 0 or (number_or_none(answer, "pages") or 0) > page:
        return True
    return is_full and not number_or_none(answer, "total")
