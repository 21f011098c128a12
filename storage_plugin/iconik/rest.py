"""Requests to iconik: authenticated, paced, and repeated if that is safe.

https://app.iconik.io/docs/api.html
"""

import json
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import requests
from urllib3.exceptions import InvalidHeader, ReadTimeoutError
from urllib3.util import Retry

from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    IconikBusy,
    IconikError,
    IconikTimeout,
    IconikUnavailable,
    NotFound,
    OutOfTime,
    PluginError,
    Stale,
)
from storage_plugin.iconik.pace import Deadline, Pace, backoff
from storage_plugin.settings import Settings

Row = Mapping[str, Any]
"""A JSON object that iconik sends or receives."""

CONNECT = 3.05
"""Seconds to connect."""

MAX_ANSWER = 32 << 20
"""The largest answer that is read, in bytes after decompression."""

CHUNK = 1 << 16
"""Bytes of an answer to read at once."""

SILENCE = 0.8
"""If no request was answered for this share of a timed-out request's wait, iconik hangs.

It is less than 1, because another request may be answered just after this one was sent.
"""


class Patience(NamedTuple):
    """How long the plugin waits for iconik.

    Attributes:
        attempts: the maximum number of attempts; answers with 429 do not count.
        read: seconds to wait for an answer.
        ends_when_silent: whether the deadline ends as soon as iconik answers no request at all.
    """

    attempts: int
    read: float
    ends_when_silent: bool


PATIENT = Patience(attempts=5, read=10.0, ends_when_silent=True)
HURRIED = Patience(attempts=2, read=3.0, ends_when_silent=False)
"""For requests that must not hold up the work."""


class TokenRenewed(IconikUnavailable):
    """iconik refused a token that was rotated meanwhile. The next attempt uses the new one."""


class Rest:
    """iconik's REST API for one request to the plugin, and all its threads.

    All methods raise AdministratorError if iconik refuses the token, AccessDenied if it refuses
    the call, NotFound if it answers 404, IconikTimeout and IconikUnavailable if it still fails
    after some attempts, and OutOfTime if no time is left.

    Args:
        session: a session from `wire.new_session`.
        settings: the settings with iconik's URL and the App ID of the application token.
        read_token: returns the application token; `max_age` limits the seconds it was kept.
        pace: the pace of all requests of the instance.
        deadline: the deadline of this request to the plugin.
        patience: how long to wait for iconik.

    Attributes:
        url: scheme and host of iconik.
        deadline: the deadline of this request to the plugin.
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
        patience: Patience = PATIENT,
    ) -> None:
        if pace.is_idle():
            session.close()  # The network may have silently dropped the open connections.
        self.url = settings.iconik_url
        self.deadline = deadline
        self._session = session
        self._settings = settings
        self._read_token = read_token
        self._pace = pace
        self._patience = patience
        self._token = _checked(read_token())
        self._token_was_renewed = False
        self.now = pace.now
        self._answered = pace.now()
        self._sent: list[str] = []
        self._lock = threading.Lock()

    @property
    def calls(self) -> int:
        """The number of requests sent, including those of `hurried` clients."""
        return len(self._sent)

    def hurried(self) -> "Rest":
        """Return a client for notifying the editor. It neither delays the work nor waits for it.

        It has little patience, a pace of its own, and time left when the work has none.
        """
        client = Rest(
            self._session,
            self._settings,
            read_token=self._read_token,
            pace=Pace(),
            deadline=Deadline(self._settings.timeout),
            patience=HURRIED,
        )
        client._sent = self._sent
        return client

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
        failures = 0
        while True:
            try:
                _, found = self._exchange(method, path, query=query, json=json)
                return found
            except (IconikBusy, TokenRenewed):
                pass  # iconik did nothing, so this was no attempt.
            except IconikUnavailable:
                failures += 1
                is_last = failures == self._patience.attempts or self.deadline.is_over
                if is_last or method == "POST":
                    raise
                self._pace.sleep(backoff(failures), self.deadline)

    def delete(self, path: str, query: Mapping[str, str], *, not_after: float) -> int:
        """Send a DELETE that depends on evidence, once, and return the status of the answer.

        Args:
            path: the path of the object.
            query: the query parameters.
            not_after: the moment, by the clock `now`, from which it must not be sent.

        Raises:
            Stale: that moment has passed.
            IconikBusy, IconikUnavailable: the request was not served, or the answer is lost.
        """
        status, _ = self._exchange("DELETE", path, query=query, not_after=not_after)
        return status

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Row | None = None,
        json: Row | None = None,
        not_after: float = math.inf,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request once; if iconik serves it, return the status and the JSON object."""
        self._pace.wait(self.deadline)
        call, token, started = f"{method} {path}", self._token, self.now()
        if started >= not_after:
            raise Stale(f"iconik is too slow for a safe {call}: try again later.")
        half = self.deadline.remaining() / 2
        self._sent.append(call)
        try:
            response = self._session.request(
                method,
                self.url + path,
                params=query,
                json=json,
                headers={"App-ID": self._settings.iconik_id, "Auth-Token": token},
                timeout=(min(CONNECT, half, not_after - started), min(self._patience.read, half)),
                allow_redirects=False,
                stream=True,
            )
            body = _body(response)
        except (requests.RequestException, ValueError) as error:  # A malformed Location.
            raise self._failure(error, call, started=started, limit=half) from None
        self._answered = self.now()
        if response.status_code == requests.codes.unauthorized and self._renews(token):
            raise TokenRenewed("The application token has changed: try again.")
        if response.status_code == requests.codes.too_many_requests:
            self._pace.refused(_retry_after(response))
        if refusal := _refusal(call, response.status_code):
            raise refusal
        self._pace.accepted()
        found = _json_object(body)
        if found is None and method == "GET":
            raise IconikUnavailable("iconik's answer is not a JSON object: try again later.")
        return response.status_code, found or {}

    def _failure(self, error: Exception, call: str, *, started: float, limit: float) -> PluginError:
        """Return the error for a request without an answer; if iconik hangs, end the deadline."""
        if not _is_timeout(error):
            # The error's own message may quote a header: leave it out.
            reason = type(error).__name__
            return IconikUnavailable(f"iconik cannot be reached for {call} ({reason}): try again.")
        if limit < self._patience.read:  # The time was short; iconik is not slow.
            return OutOfTime(f"Not enough time is left for {call}.")
        waited, silence = self.now() - started, self.now() - self._answered
        if self._patience.ends_when_silent and silence >= SILENCE * waited:
            self.deadline.end()
        return IconikTimeout(f"iconik did not answer {call} in time: try again.")

    def _renews(self, refused: str) -> bool:
        """Read the token again, once; return whether it differs from the refused one."""
        with self._lock:
            if not self._token_was_renewed:
                self._token_was_renewed = True
                self._token = _checked(self._read_token(max_age=0))
            return self._token != refused


def _checked(token: str) -> str:
    """Return a token if it is valid in a header."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise AdministratorError(
            "The secret iconik-token contains invalid characters: store the token again."
        )
    return token


def _body(response: requests.Response) -> bytearray:
    """Read an answer to its end, unless it is too large."""
    body = bytearray()
    with response:
        for chunk in response.iter_content(CHUNK):
            body += chunk
            if len(body) > MAX_ANSWER:
                raise IconikError("iconik's answer is larger than 32 MiB and is not read.")
    return body


def _json_object(body: bytearray) -> dict[str, Any] | None:
    """Return the JSON object in a body; None: it is something else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_timeout(error: Exception) -> bool:
    """Whether an answer, or its body, took too long."""
    cause = error.args[0] if error.args else None
    return isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError)


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds that iconik asks the plugin to wait; None: it does not."""
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _refusal(call: str, status: int) -> PluginError | None:
    """Return the error for the status of an answer; None: it is a success."""
    if 200 <= status < 300:
        return None
    if status == requests.codes.unauthorized:
        return AdministratorError(
            "iconik refuses the application token: store a valid one in the secret iconik-token, "
            "and its App ID in ICONIK_ID."
        )
    if status == requests.codes.forbidden:
        return AccessDenied(f"iconik refuses {call}")
    if status == requests.codes.not_found:
        return NotFound(f"iconik found nothing for {call}.")
    if status == requests.codes.too_many_requests:
        return IconikBusy("iconik receives too many requests: try again in a minute.")
    kind = IconikUnavailable if status >= 500 else IconikError
    return kind(f"iconik answered {call} with {status}: try again later.")
