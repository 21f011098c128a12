"""One request to iconik: authenticated, paced, in time, and repeated if that is harmless.

https://app.iconik.io/docs/api.html
"""

import json
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError

from storage_plugin import errors
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rows import Row
from storage_plugin.settings import Settings

CONNECT = 3.05  # Seconds to connect.
CONNECTIONS = 128  # The most that stay open: 16 threads for each of 8 requests to the plugin.
MAX_ANSWER = 32 << 20  # The largest answer that is read, in bytes after decompression.
NEVER_ACCEPTED = "iconik refuses the token: correct the secret iconik-token, or ICONIK_ID."


class _NotSent(errors.IconikUnavailable):
    """There is no connection, so iconik has not received the request."""


class _TokenRefused(errors.IconikUnavailable):
    """iconik refused the token. It may have been rotated, or iconik may accept it the next time."""


def new_session() -> requests.Session:
    """Return a session for many threads, without cookies, a proxy, or passwords from .netrc."""
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    return session


@dataclass
class Rest:
    """iconik's REST API for one request to the plugin, and all its threads.

    All methods raise AdministratorError if iconik refuses the token every time, AccessDenied if it
    refuses the call, BadRequest and NotFound if it answers 400 and 404, IconikUnavailable if it
    still fails after some attempts, and OutOfTime if no time is left.
    """

    session: requests.Session  # From `new_session`.
    settings: Settings
    _: KW_ONLY
    read_token: Callable[..., str]  # With `max_age=0`, it reads a new one if it was rotated.
    pace: Pace
    deadline: Deadline
    share: float = 1.0  # While this part of iconik's limit is used up, these requests wait.
    attempts: int = 5  # The most attempts at a request; answers with 429 do not count.
    patience: float = 10.0  # Seconds to wait for an answer, and then for its end.
    is_accepted: bool = False  # Whether iconik has accepted the token.
    sent: list[str] = field(default_factory=list)  # Methods and paths, also for the editor.

    def __post_init__(self) -> None:
        if self.pace.is_idle():
            self.session.close()  # The network may have silently dropped the open connections.
        self._headers()  # If there is no token, nothing else needs to begin.

    def for_editor(self, deadline: Deadline) -> "Rest":
        """Return this client with less patience, and another deadline, for notifying the editor."""
        return replace(self, deadline=deadline, attempts=2, patience=3.0)

    def get(self, path: str, query: Row | None = None) -> Row:
        """Return the JSON object at a path."""
        return self.send("GET", path, query=query)

    def send(
        self, method: str, path: str, *, query: Row | None = None, json: Row | None = None
    ) -> Row:
        """Send a request until iconik serves it, and return the JSON object in the answer.

        If iconik or the network fails, every request except a POST is repeated, because a repeat is
        harmless. The object is empty if the answer to anything but a GET contains none.
        """
        failures, was_refused = 0, False
        while True:
            try:
                return self.send_once(method, path, query=query, json=json)[1]
            except errors.IconikBusy:
                pass  # iconik did nothing, and the pace makes the next attempt wait.
            except _TokenRefused as refusal:
                if was_refused:
                    never = errors.AdministratorError(NEVER_ACCEPTED)
                    raise (refusal if self.is_accepted else never) from None
                was_refused = True
                self.read_token(max_age=0)
                self.pace.back_off(2, self.deadline)
            except errors.IconikUnavailable as error:
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
    ) -> tuple[int, Row]:
        """Send a request once; if iconik serves it, return the status and the JSON object.

        From the moment `not_after`, by the clock of the pace, it is not sent. Raises Stale then,
        IconikUnavailable if the outcome is uncertain, and IconikBusy if iconik refuses it.
        """
        self.pace.reserve(self.deadline, self.share)
        call, headers, now = f"{method} {path}", self._headers(), self.pace.now()
        if now >= not_after:
            raise errors.Stale(f"iconik is too slow for a safe {call}: try again later.")
        half = self.deadline.remaining() / 2
        patience = min(self.patience, half)
        self.sent.append(call)
        try:
            response = self.session.request(
                method,
                self.settings.iconik_url + path,
                params=query,
                json=json,
                headers=headers,
                timeout=(min(CONNECT, half, not_after - now), patience),
                allow_redirects=False,
                stream=True,
            )
            found = self._read(response, patience)
        except (OSError, HTTPError, ValueError) as error:  # A malformed Location is a ValueError.
            raise self._failure(error, call) from None
        self._check(response, call, is_iconiks=found is not None)
        if found is None or (method == "GET" and not found):
            raise errors.IconikUnavailable(f"The answer to {call} is not iconik's: try again.")
        self.is_accepted = True
        self.pace.accepted()
        return response.status_code, found

    def _headers(self) -> dict[str, str]:
        token = self.read_token()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise errors.AdministratorError("The secret iconik-token is malformed: store it again.")
        return {"App-ID": self.settings.iconik_id, "Auth-Token": token}

    def _read(self, response: requests.Response, seconds: float) -> Row | None:
        """Return the JSON object in an answer, or an empty one, or None if it is not JSON."""
        ends, body = self.pace.now() + seconds, bytearray()
        with response:
            while chunk := response.raw.read1(1 << 16, decode_content=True):
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise errors.IconikError("iconik's answer is over 32 MiB, and is not read.")
                if self.pace.now() >= ends:
                    raise requests.ReadTimeout
        try:
            found = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else {}

    def _failure(self, error: Exception, call: str) -> errors.IconikUnavailable:
        """Return the error for a request without a whole answer; the cause may quote a header."""
        cause = getattr(next(iter(error.args), None), "reason", error)  # Of urllib3.
        where, name = self.settings.iconik_url, type(cause).__name__
        if isinstance(cause, (requests.ConnectTimeout, ConnectTimeoutError)):
            return _NotSent(f"{where} cannot be reached ({name}): check ICONIK_URL, or try again.")
        status, text = 502, f"The connection to {where} broke during {call} ({name}): try again."
        if isinstance(cause, (requests.ReadTimeout, ReadTimeoutError)):
            status, text = 504, f"iconik did not answer {call} in time: try again."
        return errors.IconikUnavailable(text, status=status)

    def _check(self, response: requests.Response, call: str, *, is_iconiks: bool) -> None:
        """Raise the error for an answer that is no success."""
        status = response.status_code
        answered = f"answered {call} with {status}"
        if status == 401:
            raise _TokenRefused(f"iconik refuses the application token for {call}: try again.")
        if status == 429:
            asked = response.headers.get("Retry-After", "")
            self.pace.refused(float(asked) if asked.isdecimal() else 0.0)
            raise errors.IconikBusy("iconik receives too many requests: try again in a minute.")
        if status >= 500:
            raise errors.IconikUnavailable(f"iconik {answered}: try again later.")
        if status >= 300 and not is_iconiks:
            raise errors.IconikError(f"A firewall {answered}: let the function's requests pass.")
        if status == 403:
            why = "a role or the access to the object is missing; `make doctor` names missing roles"
            raise errors.AccessDenied(f"iconik refuses {call}: {why}.")
        if status >= 300:
            kinds = {400: errors.BadRequest, 404: errors.NotFound}
            raise kinds.get(status, errors.IconikError)(f"iconik {answered}.")
