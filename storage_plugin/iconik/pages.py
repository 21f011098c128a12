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

PAGE = 100  # Rows to request at once, the most that iconik documents for any list.
USUAL_PAGE = 10  # iconik's default, and the size of a page that does not state another.
T = TypeVar("T")
Key = Literal["page", "last_id"]  # A page's number, or the id of the last row before it.


def read(
    rest: Rest,
    path: str,
    parse: Callable[[Row], T],
    *,
    key: Key = "page",
    query: Row | None = None,
    most: float = math.inf,
) -> tuple[list[T], int]:
    """Read a list to its end, with the parameter `key` to ask for the next page.

    Return the parsed rows, each once, and the number of rows that iconik counts but does not send.
    Raises IconikError if the list contradicts itself or does not go on, and CallerError if there
    may be more rows than `most`, the number that iconik lists at most.
    """
    first = {"per_page": str(PAGE), **(query or {})}
    answer: Row = rest.get(path, first)
    found: dict[str, T] = {}
    received = total = 0
    for page in itertools.count(1):  # pragma: no branch - it never ends by itself.
        rows, known = rows_of(answer), len(found)
        received += len(rows)
        stated = as_number(answer.get("total")) or 0
        total = max(total, stated)
        if max(received, total) >= most:  # A total may stop at that number, too.
            text = f"A search finds {most:,} or more objects: narrow it, or use a collection."
            raise CallerError(text, status=413)
        for row in rows:
            if found.setdefault(row["id"], item := parse(row)) != item:
                raise IconikUnavailable(f"iconik contradicts itself in {path}: try again.")
        missing, new = total - len(found), len(found) - known
        counted = missing if stated else missing or -1  # Totals of earlier pages may be too small.
        if not _goes_on(answer, path, page, rows=len(rows), new=new, missing=counted):
            break
        following = {"page": str(page + 1), "last_id": rows[-1]["id"]}[key]
        answer = {"objects": []}
        with suppress(NotFound):
            answer = rest.get(path, first | {key: following})
    return [*found.values()], max(0, missing)


def read_whole(
    rest: Rest, path: str, parse: Callable[[Row], T], *, key: Key = "page", query: Row | None = None
) -> list[T]:
    """Read a list that is evidence, or raise IconikUnavailable if rows are missing; see `read`."""
    found, missing = read(rest, path, parse, key=key, query=query)
    if missing:
        raise IconikUnavailable(f"iconik does not send {missing} of the rows of {path}: try again.")
    return found


def rows_of(answer: Row) -> list[Row]:
    """Return the rows of a page, or raise IconikError if one of them has no UUID."""
    rows = answer.get("objects", "none")
    rows = [] if rows is None else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise IconikError("iconik's answer contains no list of objects: report this to iconik.")
    return [row | {"id": identified(row).id} for row in rows]


def _goes_on(answer: Row, path: str, page: int, *, rows: int, new: int, missing: int) -> bool:
    """Whether more rows may follow a page of so many rows, of which so many are new."""
    size = as_number(answer.get("per_page")) or USUAL_PAGE
    if not new and rows in (size, PAGE):  # There may be more rows, which iconik never sends.
        raise IconikError(f"iconik sends the same page of {path} again and again: report this.")
    is_promised = answer.get("next_url") or (as_number(answer.get("pages")) or 0) > page
    # If `missing` is negative, iconik counts no rows, so only a page that is not full is the last.
    return bool(new) and bool(is_promised or missing > 0 or (missing < 0 and rows >= size))
