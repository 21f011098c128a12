"""Lists that iconik sends in pages.

The plugin builds each query itself, and a link only says that more rows follow. Lists of files and
file sets may come without a link, a total and even the number of rows on a page.

https://app.iconik.io/docs/api.html
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from storage_plugin.errors import IconikError, IconikUnavailable, NotFound, TooManyFound
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import Row, id_of, number_or_none

PAGE = 100
"""Rows to request at once, the most that iconik documents for any list."""

USUAL_PAGE = 10
"""Rows on a page that does not state their number, because iconik may not heed the request."""

T = TypeVar("T")
Query = Mapping[str, str]


@dataclass(frozen=True)
class Listing(Generic[T]):
    """The rows of all pages, each once.

    Attributes:
        items: the rows.
        missing: the number of rows that iconik counts and does not send.
        flaw: why rows may be missing or wrong; empty: the list is whole.
    """

    items: list[T]
    missing: int
    flaw: str

    def whole(self) -> list[T]:
        """Return the rows of a list that is evidence.

        Raises:
            IconikUnavailable: the list may not be whole.
        """
        if self.flaw:
            raise IconikUnavailable(f"iconik {self.flaw}: try again.")
        return self.items


def by_number(page: int, _: str) -> Query:
    """Return the query for a page of a list with numbered pages."""
    return {"page": str(page)}


def by_cursor(_: int, last_id: str) -> Query:
    """Return the query for the page that begins after a row."""
    return {"last_id": last_id}


def read(
    rest: Rest,
    path: str,
    parse: Callable[[Row], T],
    *,
    following: Callable[[int, str], Query] = by_number,
    query: Query | None = None,
    most: float = math.inf,
) -> Listing[T]:
    """Read all pages of a list.

    Args:
        rest: sends the requests.
        path: the path of the list.
        parse: returns what is needed of a row.
        following: returns the query for a page, given its number and the last id before it.
        query: the rest of the query.
        most: the number of rows that iconik lists at most.

    Raises:
        TooManyFound: iconik does not list all rows.
    """
    first = {"per_page": str(PAGE), **(query or {})}
    found: dict[str, T] = {}
    answer: Row = rest.get(path, first)
    received, total, flaw = 0, 0, ""
    for page in itertools.count(1):  # pragma: no branch - it never ends by itself.
        rows, known = rows_of(answer), len(found)
        for row in rows:
            item = parse(row)
            if found.setdefault(row["id"], item) != item:
                flaw = f"contradicts itself in {path}"
        received, total = received + len(rows), max(total, number_or_none(answer, "total") or 0)
        size = number_or_none(answer, "per_page") or USUAL_PAGE
        if len(found) == known:
            if rows and len(rows) in (size, PAGE):
                flaw = f"keeps sending the same page of {path}"
            break
        if not _may_go_on(answer, page, is_full=len(rows) >= size, missing=total - len(found)):
            break
        if received >= most or total > most:
            raise TooManyFound(
                f"A search finds over {most:,} objects, which is more than iconik lists: narrow "
                "the search, or put the assets into a collection."
            )
        answer = _later_page(rest, path, {**first, **following(page + 1, rows[-1]["id"])})
    missing = max(0, total - len(found))
    if missing:
        flaw = f"sends only {len(found)} of {total} rows of {path}"
    return Listing([*found.values()], missing, flaw)


def rows_of(answer: Row) -> list[Row]:
    """Return the rows of a list, or of one page of it.

    Raises:
        IconikError: the answer contains no list, or a row without a UUID.
    """
    rows = answer.get("objects", "")
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise IconikError("iconik's answer contains no list of objects: try again later.")
    return [row | {"id": id_of(row)} for row in rows]


def _may_go_on(answer: Row, page: int, *, is_full: bool, missing: int) -> bool:
    """Whether rows may follow a page."""
    if answer.get("next_url") or missing > 0 or (number_or_none(answer, "pages") or 0) > page:
        return True
    return is_full and not number_or_none(answer, "total")


def _later_page(rest: Rest, path: str, query: Query) -> Row:
    """Return a page after the first; an empty one if it does not exist."""
    try:
        return rest.get(path, query)
    except NotFound:
        return {"objects": []}
