"""Lists that iconik sends in pages: numbered pages, and pages with a cursor.

iconik links to the next page in some answers and not in others. The plugin follows a link. Without
a link it requests the next page, unless iconik says in two ways that nothing follows. A file that
is missing from a list could be lost, so a list must be as long as iconik says.

https://app.iconik.io/docs/api.html
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import parse_qsl, urljoin, urlsplit

from storage_plugin.errors import IconikError, IconikUnavailable, NotFound
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import Row
from storage_plugin.webhook import is_uuid

PAGE = 100
"""Rows to request at once, the most that iconik documents for any list."""

Query = Mapping[str, str]


class ListIncomplete(IconikUnavailable):
    """A list ended before its total."""


def numbered(rest: Rest, path: str, query: Query | None = None) -> Iterator[Row]:
    """Yield the rows of a list with numbered pages, each once.

    A row may change, or move to the next page, while the list is read.
    """
    return _rows(rest, path, query or {}, lambda page, _: {"page": str(page)}, lambda _: 0)


def by_cursor(rest: Rest, path: str, query: Query | None = None) -> Iterator[Row]:
    """Yield the rows of a list with a cursor, each once. A page starts after a given row.

    These lists say where files are, so a row that appears twice must be the same both times.
    """
    return _rows(rest, path, query or {}, _after, _digest)


def changing(rest: Rest, path: str) -> Iterator[Row]:
    """Yield the rows of a list with a cursor that may change meanwhile and be incomplete."""
    with suppress(ListIncomplete):
        yield from _rows(rest, path, {}, _after, lambda _: 0)


def rows_of(answer: Row) -> list[Row]:
    """Return the rows of a list, or of one page of it.

    Raises:
        IconikError: the answer contains no list, or a row without a UUID.
    """
    rows = answer.get("objects")
    if not isinstance(rows, list):
        raise IconikError("iconik's answer contains no list of objects: try again later.")
    if not all(isinstance(row, dict) and is_uuid(row.get("id")) for row in rows):
        raise IconikError("iconik's answer contains an object without an id: try again later.")
    return [row | {"id": row["id"].lower()} for row in rows]


def _rows(
    rest: Rest,
    path: str,
    query: Query,
    following: Callable[[int, list[Row]], Query],
    fingerprint: Callable[[Row], int],
) -> Iterator[Row]:
    """Yield the rows of all pages, each once.

    Args:
        following: returns the query for a page, given its number and the rows of the page before.
        fingerprint: returns a number that must be equal if a row appears twice.
    """
    first = sent = {"per_page": str(PAGE), **query}
    link, links, total = "", {""}, 0
    seen: dict[str, int] = {}
    for page in itertools.count(1):  # pragma: no branch - it never ends by itself.
        answer = rest.get(path, sent) if page == 1 else _next_page(rest, path, sent, link)
        rows = rows_of(answer)
        yield from _unseen(rows, seen, fingerprint, path)
        total = max(total, _total(answer))
        link = str(answer.get("next_url") or "")
        if link in links:  # The last page may link to itself, empty.
            link = ""
            if not rows or _is_last(answer, total - len(seen), page):
                break
            sent = {**first, **following(page + 1, rows)}
        else:
            links.add(link)
            sent = {**first, **_query_of_link(rest.url, path, link)}
    if total > len(seen):
        raise ListIncomplete(f"iconik sends only {len(seen)} of {total} rows of {path}: try again.")


def _total(answer: Row) -> int:
    total = answer.get("total")
    return total if isinstance(total, int) else 0


def _is_last(answer: Row, missing: int, page: int) -> bool:
    """Whether iconik says in two ways that nothing follows a page that links to no other."""
    return missing == 0 and ("next_url" in answer or answer.get("pages") == page)


def _next_page(rest: Rest, path: str, query: Query, link: str) -> Row:
    """Return another page of a list; an empty one if it does not exist and no link led there."""
    try:
        return rest.get(path, query)
    except NotFound:
        if link:
            raise IconikError(f"iconik links to a missing page of {path}: try again.") from None
        return {"objects": []}


def _query_of_link(url: str, path: str, link: str) -> dict[str, str]:
    """Return the query of a link to another page at a path of iconik."""
    try:
        target = urlsplit(urljoin(url, link))
    except ValueError:
        target = urlsplit("")
    place = f"{target.scheme}://{target.netloc}", target.path.rstrip("/")
    if place == (url, path.rstrip("/")):
        return dict(parse_qsl(target.query))
    raise IconikError(f"iconik's link to the next page of {path} leads elsewhere: not followed.")


def _unseen(
    rows: list[Row], seen: dict[str, int], fingerprint: Callable[[Row], int], path: str
) -> Iterator[Row]:
    """Yield the rows that are new, and note them as seen."""
    before = len(seen)
    for row in rows:
        mark = fingerprint(row)
        if row["id"] not in seen:
            seen[row["id"]] = mark
            yield row
        elif seen[row["id"]] != mark:
            raise IconikUnavailable(f"iconik contradicts itself in {path}: try again.")
    if rows and len(seen) == before:
        raise IconikError(f"iconik keeps sending the same page of {path}: try again.")


def _after(_: int, rows: list[Row]) -> Query:
    return {"last_id": rows[-1]["id"]}


def _digest(row: Row) -> int:
    """Return a number that changes with a row; the rows themselves would fill the memory."""
    return hash(json.dumps(row, sort_keys=True))
