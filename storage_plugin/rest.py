"""Requests to iconik: authenticated, paced, repeated where that is safe, and page by page.

https://app.iconik.io/docs/api.html
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    IconikBusy,
    IconikError,
    IconikTimeout,
    IconikUnavailable,
    NotFound,
    PluginError,
)
from storage_plugin.pace import Deadline, Pace, backoff
from storage_plugin.webhook import is_uuid

PAGE = 100
"""Rows asked for at once, the most that iconik documents for any list."""

DEFAULT_PAGE = 10
"""Rows that iconik sends where it is not asked for more: a shorter page is the last."""

CONNECT = 3.05
"""Seconds to connect."""

CONNECTIONS = 128
"""Connections kept open at most: 16 threads for each of 8 requests side by side."""

Row = Mapping[str, Any]


def new_session() -> requests.Session:
    """Return a session for many threads: nothing that iconik sends is kept in it."""
    session = requests.Session()
    session.trust_env = False  # No .netrc, no proxy: the token goes to iconik alone.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_maxsize=CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class Rest:
    """iconik's REST API for one request of the plugin, and all its threads.

    All methods raise AdministratorError where iconik refuses the token, AccessDenied where it
    refuses the call, NotFound where it knows no such object, IconikTimeout and IconikUnavailable
    where it still fails after some attempts, and OutOfTime.

    Args:
        session: as `new_session` returns it.
        url: scheme and host.
        app_id: the application token's App ID.
        token: returns the application token, given the seconds that it may have been kept.
        pace: of all requests of the instance.
        deadline: of this request of the plugin.
        attempts: how often a request is sent at most, those refused as too many not counted.
        read: seconds to wait for an answer.
        is_vital: whether an iconik that hangs ends it all.

    Attributes:
        calls: the number of requests sent.
    """

    def __init__(
        self,
        session: requests.Session,
        url: str,
        app_id: str,
        token: Callable[..., str],
        pace: Pace,
        deadline: Deadline,
        attempts: int = 5,
        read: float = 10.0,
        is_vital: bool = True,
    ) -> None:
        if pace.is_idle():
            session.close()  # The network may have dropped what was open, without a word.
        self.calls = 0
        self._session = session
        self._url = url
        self._app_id = app_id
        self._read_token = token
        self._token = token()
        self._token_was_renewed = False
        self._pace = pace
        self._deadline = deadline
        self._attempts = attempts
        self._read = read
        self._is_vital = is_vital
        self._answered = pace.now()
        self._lock = threading.Lock()

    def get(self, path: str, role: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at a path.

        Args:
            role: what iconik's description of the endpoint demands.
        """
        return json_object(self.send("GET", path, role, query=query))

    def send(
        self,
        method: str,
        path: str,
        role: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Row | None = None,
    ) -> requests.Response:
        """Send a request until iconik serves it, and return the answer.

        All but POST are repeated when iconik or the network fails, for that does no harm.
        """
        attempts = 0
        while True:
            self._pace.wait(self._deadline)
            attempts += 1
            started = self._pace.now()
            try:
                return self._exchange(method, path, role, query, json)
            except IconikBusy as error:
                self._pace.refused(error.retry_after)
                attempts -= 1
            except IconikUnavailable as error:
                now = self._pace.now()
                is_silent = now - self._answered >= 0.8 * (now - started)
                if isinstance(error, IconikTimeout) and is_silent and self._is_vital:
                    self._deadline.end()  # Nobody gets an answer any more: iconik hangs.
                    raise
                if method == "POST" or attempts == self._attempts:
                    raise
                self._pace.sleep(backoff(attempts), self._deadline)

    def pages(
        self,
        path: str,
        role: str,
        *,
        cursor: bool = False,
        is_moving: bool = False,
        query: Mapping[str, str] | None = None,
    ) -> Iterator[Row]:
        """Yield the rows of all pages of a list, each once, with an id that fits into a URL.

        iconik links the next page in some answers and not in others, so: a link is followed;
        without one the next page is asked for, or, in the lists that have a cursor, the rows after
        the last, unless all is there for certain. What is overlooked in a list could be lost, so
        it must be as long as iconik says; those that have a cursor tell what stands where, so they
        must also agree with themselves; but not one that changes while it is read.
        """
        first = {"per_page": str(PAGE), **(query or {})}
        sent, page, is_linked, total = first, 1, False, 0
        links: set[str] = set()
        seen: dict[str, Row | None] = {}
        while True:
            answer = self._page(path, role, sent, is_optional=page > 1 and not is_linked)
            rows = rows_of(answer)
            yield from _unseen(rows, seen, path, is_strict=cursor and not is_moving)
            page += 1
            total = max(total, _number(answer, "total"))
            link = str(answer.get("next_url") or "")
            is_linked = link not in {"", *links}  # The last page may link to itself, empty.
            if is_linked:
                links.add(link)
                sent = self._query_of_link(link, path)
            elif not rows or _is_last(answer, len(rows), len(seen), page):
                break
            else:
                following = {"last_id": rows[-1]["id"]} if cursor else {"page": str(page)}
                sent = {**first, **following}
        if total > len(seen) and not is_moving:
            raise IconikUnavailable(
                f"iconik sends only {len(seen)} of {total} rows of {path}: try again."
            )

    def _page(
        self, path: str, role: str, query: Mapping[str, str], is_optional: bool
    ) -> dict[str, Any]:
        """Return a page of a list; an empty one for an optional page that is not there."""
        try:
            return self.get(path, role, query)
        except NotFound:
            if is_optional:
                return {"objects": []}
            if "page" in query or "last_id" in query:
                raise IconikError(f"iconik links to a page of {path} that it lacks.") from None
            raise

    def _query_of_link(self, link: str, path: str) -> dict[str, str]:
        """Return the query of a link to another page at a path."""
        try:
            url = urlsplit(urljoin(self._url, link))
        except ValueError:
            url = urlsplit("")
        if (f"{url.scheme}://{url.netloc}", url.path.rstrip("/")) == (self._url, path.rstrip("/")):
            return dict(parse_qsl(url.query))
        raise IconikError(f"iconik links the next page of {path} elsewhere: it is not followed.")

    def _exchange(
        self, method: str, path: str, role: str, query: Row | None, json: Row | None
    ) -> requests.Response:
        """Send a request once, or twice if the token has been rotated meanwhile."""
        call, token = f"{method} {urlsplit(path).path}", self._token
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise AdministratorError(
                "The secret iconik-token holds characters that no token has: store it again."
            )
        half = self._deadline.remaining() / 2
        with self._lock:
            self.calls += 1
        try:
            response = self._session.request(
                method,
                self._url + path,
                params=query,
                json=json,
                headers={"App-ID": self._app_id, "Auth-Token": token},
                timeout=(min(CONNECT, half), min(self._read, half)),
                allow_redirects=False,
            )
        except requests.Timeout:
            self._deadline.remaining()  # If that was the limit, it is not iconik that is slow.
            raise IconikTimeout(f"iconik did not answer {call} in time: try again.") from None
        except (requests.RequestException, ValueError) as error:
            # ValueError: of a nonsensical Location. The text is left out: it may quote a header.
            raise IconikUnavailable(
                f"iconik cannot be reached for {call} ({type(error).__name__}): try again."
            ) from None
        self._answered = self._pace.now()
        if response.status_code == requests.codes.unauthorized and self._renews(token):
            self._pace.wait(self._deadline)
            return self._exchange(method, path, role, query, json)
        if refusal := _refusal(call, response, role):
            raise refusal
        self._pace.accepted()
        if method == "GET":
            json_object(response)  # Repeated where it did not arrive whole.
        return response

    def _renews(self, refused: str) -> bool:
        """Read the token again, once; return whether there is another than the refused one."""
        with self._lock:
            if not self._token_was_renewed:
                self._token_was_renewed = True
                self._token = self._read_token(max_age=0)
            return self._token != refused


def _refusal(call: str, response: requests.Response, role: str) -> PluginError | None:
    """Return what iconik's answer means, None where it is good."""
    status = response.status_code
    if 200 <= status < 300:
        return None
    if status == requests.codes.unauthorized:
        return AdministratorError(
            "iconik refuses the application token: store a valid one in the secret iconik-token, "
            "and its App ID in ICONIK_ID."
        )
    if status == requests.codes.forbidden:
        return AccessDenied(
            f"iconik refuses {call}: the token's user needs {role}, and access to the object."
        )
    if status == requests.codes.not_found:
        return NotFound(f"iconik knows nothing at {call}.")
    if status == requests.codes.too_many_requests:
        retry_after = _seconds(response.headers.get("Retry-After", ""))
        return IconikBusy("iconik gets too many requests: try again in a minute.", retry_after)
    kind = IconikUnavailable if status >= 500 else IconikError
    return kind(f"iconik answered {call} with {status}: try again later.")


def _seconds(retry_after: str) -> float | None:
    """Return the seconds that a `Retry-After` asks to wait, in either of its forms."""
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(retry_after)
        return (then - datetime.now(timezone.utc)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None


def json_object(response: requests.Response) -> dict[str, Any]:
    """Return the JSON object that an answer holds."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise IconikUnavailable("iconik's answer holds no JSON object: try again later.")
    return answer


def rows_of(answer: Row) -> list[Row]:
    """Return the rows of a list, or of a page of one."""
    rows = answer.get("objects")
    if not isinstance(rows, list):
        raise IconikError("iconik's answer holds no list of objects: try again later.")
    if not all(isinstance(row, dict) and is_uuid(row.get("id")) for row in rows):
        raise IconikError("iconik's answer holds an object without an id: try again later.")
    return [row | {"id": row["id"].lower()} for row in rows]


def _unseen(
    rows: list[Row], seen: dict[str, Row | None], path: str, is_strict: bool
) -> Iterator[Row]:
    """Yield the rows that were not seen before, and note them as seen.

    Args:
        is_strict: whether a row that comes again must be the same.
    """
    before = len(seen)
    for row in rows:
        if row["id"] not in seen:
            seen[row["id"]] = row if is_strict else None
            yield row
        elif is_strict and row != seen[row["id"]]:
            raise IconikUnavailable(f"iconik contradicts itself in {path}: try again.")
    if rows and len(seen) == before:
        raise IconikError(f"iconik sends one page of {path} again and again: try again.")


def _is_last(answer: Row, rows: int, seen: int, page: int) -> bool:
    """Whether a page that links to no other is certainly the last.

    Args:
        rows: the number of rows on this page.
        seen: the number of rows on all pages so far.
        page: the number of the next page.
    """
    total, pages = _number(answer, "total"), _number(answer, "pages")
    if total > seen or pages >= page:
        return False
    # The size of the page that iconik claims is not trusted: it may only repeat what was asked for.
    return rows < DEFAULT_PAGE or (total == seen and ("next_url" in answer or pages == page - 1))


def _number(answer: Row, field: str) -> int:
    """Return a number that iconik tells, 0 where it does not."""
    value = answer.get(field)
    return value if type(value) is int else 0
