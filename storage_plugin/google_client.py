"""A client of a Google service: made late, limited in time, and replaced when it is cut off.

No library of Google's is imported before the first call.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from storage_plugin.time_limit import Stuck, TimeLimit

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SECONDS = 4.0
"""Seconds for a call with its setup. iconik waits about 10 s; a library would wait a minute."""

PROBE = 1.5
"""Seconds for a call over a connection that may be dead; the rest is for a new one."""

MARGIN = 0.2
"""Seconds between the end of a call's own time limit and the moment when it counts as stuck."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

CUT_OFF = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
"""The status of a call on a connection that the network has dropped."""

PASSING = (*CUT_OFF, "RESOURCE_EXHAUSTED")
"""The status of temporary failures. https://grpc.io/docs/guides/status-codes/"""


class Client(Protocol):
    """The common part of the clients in Google's libraries."""

    @property
    def transport(self) -> Any:
        """The connection, which can be closed."""


C = TypeVar("C", bound=Client)
R = TypeVar("R")


class GoogleError(Exception):
    """A call failed.

    Args:
        code: the name of gRPC's status; if no call was made, the name of the error.
        passes: whether the same call may succeed later.
        severity: for the log.
    """

    def __init__(self, code: str, *, passes: bool, severity: str = "ERROR") -> None:
        super().__init__(code)
        self.code = code
        self.passes = passes
        self.severity = severity


class GoogleClient(Generic[C]):
    """Holds a client that the threads of an instance share.

    Args:
        make: returns a new client for the given credentials; imports its library.
        seconds: the time limit of a call.
        clock: returns seconds that never go back.

    Attributes:
        project: the credentials' project; empty before the first call.
    """

    def __init__(
        self,
        make: Callable[["Credentials"], C],
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.project = ""
        self._make = make
        self._limit = TimeLimit(seconds)
        self._clock = clock
        self._kept: tuple[C, Credentials] | None = None

    def call(self, use: Callable[[C, float], R]) -> R:
        """Make a call, and return its result.

        Args:
            use: makes the call with the given client, within the given seconds. If the client is
                cut off, `use` is called again with another one, so a repeat must do no harm.

        Raises:
            GoogleError: the call failed.
        """
        try:
            return self._limit.run(lambda: self._call(use))
        except Stuck as error:
            raise GoogleError(type(error).__name__, passes=True, severity=error.severity) from None

    def _call(self, use: Callable[[C, float], R]) -> R:
        ends = self._clock() + self._limit.seconds - MARGIN
        if kept := self._kept:
            try:
                return self._use(kept, use, self._clock() + PROBE)
            except Exception as error:
                is_cut_off = isinstance(error, GoogleError) and error.code in CUT_OFF
                # If another thread has closed the client meanwhile, any error counts.
                if not is_cut_off and self._kept is kept:
                    raise
                self._kept = None
                kept[0].transport.close()
        fresh = self._connect()
        try:
            answer = self._use(fresh, use, ends)
        except Exception:
            fresh[0].transport.close()
            raise
        self._kept = fresh
        return answer

    def _connect(self) -> "tuple[C, Credentials]":
        """Return a client and its credentials; both may call the metadata server."""
        with _translated():
            import google.auth
            from google.auth.credentials import with_scopes_if_required
            from google.auth.exceptions import GoogleAuthError

            credentials, project = google.auth.default()
            if not project:  # The metadata server failed meanwhile.
                raise GoogleAuthError("no project")  # type: ignore[no-untyped-call]
            self.project = project
            scoped = with_scopes_if_required(credentials, SCOPES)  # type: ignore[no-untyped-call]
            return self._make(scoped), scoped

    def _use(self, held: "tuple[C, Credentials]", use: Callable[[C, float], R], ends: float) -> R:
        """Make a call that ends at the given moment."""
        client, credentials = held
        with _translated():
            if not credentials.valid:
                # gRPC would refresh them in a thread of its own, without a time limit.
                from google.auth.transport.requests import Request

                credentials.refresh(Request())  # type: ignore[no-untyped-call]
            return use(client, max(MARGIN, ends - self._clock()))


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of Google's libraries into GoogleError, without their messages."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAPICallError as error:
        status = error.grpc_status_code
        code = status.name if status else type(error).__name__
        raise GoogleError(code, passes=code in PASSING) from None
    except GoogleAuthError as error:
        raise GoogleError(type(error).__name__, passes=True) from None
