"""One request to iconik: authenticated, paced, in time, and repeated if that is harmless.

https://app.iconik.io/docs/api.html
"""

import copy
import json
import math
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, ReadTimeoutError
from urllib3.util import Retry

from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    BadRequest,
    IconikBusy,
    IconikError,
    IconikTimeout,
    IconikUnavailable,
    NotFound,
    PluginError,
    Stale,
)
from storage_plugin.iconik.pace import Deadline, Pace, backoff
from storage_plugin.iconik.rows import Row
from storage_plugin.settings import Settings

ATTEMPTS, ATTEMPTS_FOR_EDITOR = 5, 2
"""The most attempts at a request; answers with 429 do not count."""

READ, READ_FOR_EDITOR = 10.0, 3.0
"""Seconds to wait for an answer, and then for its end."""

CONNECT = 3.05
"""Seconds to connect."""

CONNECTIONS = 128
"""The most connections that stay open: 16 threads for each of 8 requests to the plugin."""

MAX_ANSWER = 32 << 20
"""The largest answer that is read, in bytes after decompression."""

CHUNK = 1 << 16
"""The most bytes of an answer to read at once."""

NEVER_ACCEPTED = (
    "iconik refuses the application token: store a valid one in the secret iconik-token, and its "
    "App ID in ICONIK_ID."
)


class _NotSent(IconikUnavailable):
    """There is no connection, so iconik has not received the request."""


class _TokenRefused(IconikUnavailable):
    """iconik refused the token. It may have been rotated, or iconik may accept it the next time."""


def new_session() -> requests.Session:
    """Return a session for many threads, which keeps no cookies and sends the token nowhere else.

    It uses no .netrc and no proxy.
    """
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    return session


class Rest:
    """iconik's REST API for one request to the plugin, and all its threads.

    All methods raise AdministratorError if iconik accepts the token for nothing, AccessDenied if it
    refuses the call, BadRequest and NotFound if it answers 400 and 404, IconikTimeout and
    IconikUnavailable if it still fails after some attempts, and OutOfTime if no time is left.

    Args:
        session: a session from `new_session`.
        settings: the settings with iconik's URL and the App ID of the application token.
        read_token: returns the application token; with `max_age=0`, a new one if it was rotated.
        pace: the pace of all requests of the instance.
        deadline: the end of the time for this request to the plugin.
        share: the part of iconik's limit that these requests may help to use up.

    Attributes:
        share: as above.
        pace: the pace.
        deadline: the deadline.
        now: the clock, in seconds that never go back.
    """

    def __init__(
        self,
        session: requests.Session,
        settings: Settings,
        *,
        read_token: Callable[..., str],
        pace: Pace,
        deadline: Deadline,
        share: float = 1.0,
    ) -> None:
        if pace.is_idle():
            session.close()  # The network may have silently dropped the open connections.
        self.pace, self.deadline, self.now = pace, deadline, pace.now
        self.share, self._session, self._settings = share, session, settings
        self._attempts, self._read = ATTEMPTS, READ
        self._read_token, self._is_accepted = read_token, False
        self._calls: list[str] = []  # For threads, unlike a number, and for copies of this object.
        self._headers()  # If there is no token, nothing else needs to begin.

    @property
    def calls(self) -> int:
        """The number of requests sent, including those for the editor."""
        return len(self._calls)

    def for_editor(self, deadline: Deadline) -> "Rest":
        """Return this client with less patience, and another deadline, for notifying the editor."""
        rest = copy.copy(self)
        rest.deadline, rest.share = deadline, 1.0
        rest._attempts, rest._read = ATTEMPTS_FOR_EDITOR, READ_FOR_EDITOR
        return rest

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at a path."""
        return self.send("GET", path, query=query)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Row | None = None,
    ) -> dict[str, Any]:
        """Send a request until iconik serves it, and return the JSON object in the answer.

        If iconik or the network fails, every request except a POST is repeated, because a repeat is
        harmless. The object is empty if the answer to anything but a GET contains none.
        """
        failures, was_refused = 0, False
        while True:
            try:
                return self._exchange(method, path, query=query, json=json)[1]
            except IconikBusy:
                pass  # iconik did nothing, and the pace makes the next attempt wait.
            except _TokenRefused as refusal:
                if was_refused:
                    raise (
                        refusal if self._is_accepted else AdministratorError(NEVER_ACCEPTED)
                    ) from None
                was_refused = True
                self._read_token(max_age=0)
                self.pace.sleep(backoff(2), self.deadline)
            except IconikUnavailable as error:
                failures += 1
                is_repeatable = method != "POST" or isinstance(error, _NotSent)
                if failures == self._attempts or not is_repeatable:
                    raise
                self.pace.sleep(backoff(failures), self.deadline)

    def delete(self, path: str, query: Mapping[str, str], *, not_after: float) -> int:
        """Send a DELETE that depends on evidence, once, and return the status of the answer.

        Args:
            path: the path of the object.
            query: the query parameters.
            not_after: the moment, by the clock `now`, from which it must not be sent.

        Raises:
            Stale: that moment has passed.
            IconikBusy, IconikUnavailable: the request was not served, or the outcome is uncertain.
        """
        return self._exchange("DELETE", path, query=query, not_after=not_after)[0]

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Row | None = None,
        not_after: float = math.inf,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request once; if iconik serves it, return the status and the JSON object."""
        self.pace.reserve(self.deadline, self.share)
        call, headers, sent = f"{method} {path}", self._headers(), self.now()
        if sent >= not_after:
            raise Stale(f"iconik is too slow for a safe {call}: try again later.")
        half = self.deadline.remaining() / 2
        self._calls.append(call)
        try:
            response = self._session.request(
                method,
                self._settings.iconik_url + path,
                params=query,
                json=json,
                headers=headers,
                timeout=(min(CONNECT, half, not_after - sent), min(self._read, half)),
                allow_redirects=False,
                stream=True,
            )
            found = _json_object(self._body(response, min(self._read, half)))
        except (OSError, HTTPError, ValueError) as error:  # A malformed Location is a ValueError.
            raise self._failure(error, call) from None
        status = response.status_code
        if status == requests.codes.unauthorized:
            raise _TokenRefused(f"iconik refuses the application token for {call}: try again.")
        if status == requests.codes.too_many_requests:
            self.pace.refused(_retry_after(response))
        if refusal := _refusal(call, status, is_iconiks=found is not None):
            raise refusal
        if found is None or (method == "GET" and not found):
            raise IconikUnavailable(f"The answer to {call} is not iconik's: try again later.")
        self._is_accepted = True
        self.pace.accepted()
        return status, found

    def _headers(self) -> dict[str, str]:
        token = self._read_token()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise AdministratorError(
                "The secret iconik-token contains invalid characters: store the token again."
            )
        return {"App-ID": self._settings.iconik_id, "Auth-Token": token}

    def _body(self, response: requests.Response, seconds: float) -> bytearray:
        """Read an answer to its end, unless it is too large or takes too long."""
        ends, body = self.now() + seconds, bytearray()
        with response:
            while chunk := response.raw.read1(CHUNK, decode_content=True):
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise IconikError("iconik's answer is larger than 32 MiB and is not read.")
                if self.now() >= ends:
                    raise TimeoutError
        return body

    def _failure(self, error: Exception, call: str) -> IconikUnavailable:
        """Return the error for a request without a whole answer.

        The message of the original error may quote a header, so only its name is used.
        """
        cause = _cause(error)
        if isinstance(cause, (requests.ConnectTimeout, ConnectTimeoutError)):
            return _NotSent(
                f"{self._settings.iconik_url} cannot be reached ({type(cause).__name__}): check "
                "ICONIK_URL if that remains so."
            )
        if isinstance(cause, (requests.ReadTimeout, ReadTimeoutError, TimeoutError)):
            return IconikTimeout(f"iconik did not answer {call} in time: try again.")
        return IconikUnavailable(
            f"The connection to {self._settings.iconik_url} broke during {call} "
            f"({type(cause).__name__}): try again."
        )


def _json_object(body: bytearray) -> dict[str, Any] | None:
    """Return the JSON object in a body, empty if there is none; None: the body is not JSON."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else {}


def _cause(error: Exception) -> Exception:
    """Return the error of urllib3 that an error of requests wraps, or else the error itself."""
    wrapped = error.args[0] if error.args else None
    cause = getattr(wrapped, "reason", wrapped)
    return cause if isinstance(cause, Exception) else error


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds that iconik asks the plugin to wait; None: it does not."""
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _refusal(call: str, status: int, *, is_iconiks: bool) -> PluginError | None:
    """Return the error for the status of an answer; None: it is a success."""
    if 200 <= status < 300:
        return None
    if status == requests.codes.too_many_requests:
        return IconikBusy("iconik receives too many requests: try again in a minute.")
    if status >= 500:
        return IconikUnavailable(f"iconik answered {call} with {status}: try again later.")
    if not is_iconiks:
        return IconikError(
            f"Not iconik but something in front of it, such as a firewall, answered {call} with "
            f"{status}: it must let the function's requests pass."
        )
    if status == requests.codes.forbidden:
        return AccessDenied(
            f"iconik refuses {call}: a role or the access to the object is missing: `make doctor` "
            "names roles."
        )
    kinds = {requests.codes.bad_request: BadRequest, requests.codes.not_found: NotFound}
    return kinds.get(status, IconikError)(f"iconik answered {call} with {status}.")
