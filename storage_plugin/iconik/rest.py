"""One request to iconik: authenticated, paced, in time, and repeated if that is harmless.

https://app.iconik.io/docs/api.html
"""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
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
    IconikUnavailable,
    NotFound,
    Stale,
)
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rows import Row
from storage_plugin.settings import Settings

Answer = dict[str, Any]

CONNECT = 3.05
"""Seconds to connect."""

CONNECTIONS = 128
"""The most connections that stay open: 16 threads for each of 8 requests to the plugin."""

MAX_ANSWER = 32 << 20
"""The largest answer that is read, in bytes after decompression."""

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


@dataclass
class Rest:
    """iconik's REST API for one request to the plugin, and all its threads.

    All methods raise AdministratorError if iconik accepts the token for nothing, AccessDenied if it
    refuses the call, BadRequest and NotFound if it answers 400 and 404, IconikUnavailable if it
    still fails after some attempts, and OutOfTime if no time is left.

    Attributes:
        session: a session from `new_session`.
        settings: the settings with iconik's URL and the App ID of the application token.
        read_token: returns the application token; with `max_age=0`, a new one if it was rotated.
        deadline: the end of the time for this request to the plugin.
        share: the part of iconik's limit that these requests may help to use up.
        attempts: the most attempts at a request; answers with 429 do not count.
        patience: seconds to wait for an answer, and then for its end.
        sent: the method and path of each request, including those for the editor.
    """

    session: requests.Session
    settings: Settings
    _: KW_ONLY
    read_token: Callable[..., str]
    pace: Pace
    deadline: Deadline
    share: float = 1.0
    attempts: int = 5
    patience: float = 10.0
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._is_accepted = False
        if self.pace.is_idle():
            self.session.close()  # The network may have silently dropped the open connections.
        self._headers()  # If there is no token, nothing else needs to begin.

    def for_editor(self, deadline: Deadline) -> "Rest":
        """Return this client with less patience, and another deadline, for notifying the editor."""
        return dataclasses.replace(self, deadline=deadline, share=1.0, attempts=2, patience=3.0)

    def get(self, path: str, query: Row | None = None) -> Answer:
        """Return the JSON object at a path."""
        return self.send("GET", path, query=query)

    def send(
        self, method: str, path: str, *, query: Row | None = None, json: Row | None = None
    ) -> Answer:
        """Send a request until iconik serves it, and return the JSON object in the answer.

        If iconik or the network fails, every request except a POST is repeated, because a repeat is
        harmless. The object is empty if the answer to anything but a GET contains none.
        """
        failures, was_refused = 0, False
        while True:
            try:
                return self.send_once(method, path, query=query, json=json)[1]
            except IconikBusy:
                pass  # iconik did nothing, and the pace makes the next attempt wait.
            except _TokenRefused as refusal:
                if was_refused:
                    never = AdministratorError(NEVER_ACCEPTED)
                    raise (refusal if self._is_accepted else never) from None
                was_refused = True
                self.read_token(max_age=0)
                self.pace.back_off(2, self.deadline)
            except IconikUnavailable as error:
                failures += 1
                is_repeatable = method != "POST" or isinstance(error, _NotSent)
                if failures == self.attempts or not is_repeatable:
                    raise
                self.pace.back_off(failures, self.deadline)

    def send_once(
        self,
        method: str,
        path: str,
        *,
        query: Row | None = None,
        json: Row | None = None,
        not_after: float = math.inf,
    ) -> tuple[int, Answer]:
        """Send a request once; if iconik serves it, return the status and the JSON object.

        From the moment `not_after`, by the clock of the pace, it must not be sent.

        Raises:
            IconikBusy: iconik has refused it because of its rate limit.
            Stale: that moment has passed.
            IconikUnavailable: the outcome is uncertain.
        """
        self.pace.reserve(self.deadline, self.share)
        call, headers, now = f"{method} {path}", self._headers(), self.pace.now()
        if now >= not_after:
            raise Stale(f"iconik is too slow for a safe {call}: try again later.")
        half = self.deadline.remaining() / 2
        self.sent.append(call)
        try:
            response = self.session.request(
                method,
                self.settings.iconik_url + path,
                params=query,
                json=json,
                headers=headers,
                timeout=(min(CONNECT, half, not_after - now), min(self.patience, half)),
                allow_redirects=False,
                stream=True,
            )
            found = self._read(response, min(self.patience, half))
        except (OSError, HTTPError, ValueError) as error:  # A malformed Location is a ValueError.
            raise self._failure(error, call) from None
        if response.status_code == requests.codes.too_many_requests:
            self.pace.refused(_retry_after(response))
        _check(call, response.status_code, is_iconiks=found is not None)
        if found is None or (method == "GET" and not found):
            raise IconikUnavailable(f"The answer to {call} is not iconik's: try again later.")
        self._is_accepted = True
        self.pace.accepted()
        return response.status_code, found

    def _headers(self) -> dict[str, str]:
        token = self.read_token()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise AdministratorError(
                "The secret iconik-token contains invalid characters: store the token again."
            )
        return {"App-ID": self.settings.iconik_id, "Auth-Token": token}

    def _read(self, response: requests.Response, seconds: float) -> Answer | None:
        """Return the JSON object in an answer, empty if there is none; None: it is not JSON.

        An answer that is too large or takes too long is not read to its end.
        """
        ends, body = self.pace.now() + seconds, bytearray()
        with response:
            while chunk := response.raw.read1(1 << 16, decode_content=True):
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise IconikError("iconik's answer is larger than 32 MiB and is not read.")
                if self.pace.now() >= ends:
                    raise TimeoutError
        try:
            found = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else {}

    def _failure(self, error: Exception, call: str) -> IconikUnavailable:
        """Return the error for a request without a whole answer.

        The message of the original error may quote a header, so only its name is used.
        """
        wrapped = error.args[0] if error.args else None
        reason = getattr(wrapped, "reason", wrapped)  # What requests wraps is an error of urllib3.
        cause = reason if isinstance(reason, Exception) else error
        url, name = self.settings.iconik_url, type(cause).__name__
        if isinstance(cause, (requests.ConnectTimeout, ConnectTimeoutError)):
            text = f"{url} cannot be reached ({name}): check ICONIK_URL if that remains so."
            return _NotSent(text)
        if isinstance(cause, (requests.ReadTimeout, ReadTimeoutError, TimeoutError)):
            text = f"iconik did not answer {call} in time: try again."
            return IconikUnavailable(text, status=504)
        text = f"The connection to {url} broke during {call} ({name}): try again."
        return IconikUnavailable(text)


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds that iconik asks the plugin to wait; None: it does not."""
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _check(call: str, status: int, *, is_iconiks: bool) -> None:
    """Raise the error for an answer that is no success."""
    answered = f"iconik answered {call} with {status}"
    if status == requests.codes.unauthorized:
        raise _TokenRefused(f"iconik refuses the application token for {call}: try again.")
    if status == requests.codes.too_many_requests:
        raise IconikBusy("iconik receives too many requests: try again in a minute.")
    if status >= 500:
        raise IconikUnavailable(f"{answered}: try again later.")
    if status >= 300 and not is_iconiks:
        raise IconikError(
            f"Something in front of iconik, such as a firewall, answered {call} with {status}: "
            "it must let the function's requests pass."
        )
    if status == requests.codes.forbidden:
        raise AccessDenied(
            f"iconik refuses {call}: a role or the access to the object is missing. `make doctor` "
            "names missing roles."
        )
    if status >= 300:
        kinds = {requests.codes.bad_request: BadRequest, requests.codes.not_found: NotFound}
        raise kinds.get(status, IconikError)(f"{answered}.")
