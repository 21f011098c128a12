"""Calls to Google's services. Each call has a time limit, and a stuck call holds up no other.

No library of Google's is imported before the first call.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SECONDS = 4.0
"""Seconds for a call with its setup. iconik waits about 10 s; a library would wait a minute."""

MARGIN = 0.2
"""Seconds between the end of a call's own time limit and the moment when it counts as stuck."""

MAX_STUCK = 8
"""The most threads that are left behind with work that does not end."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
"""The status of temporary failures. https://grpc.io/docs/guides/status-codes/"""

C = TypeVar("C")
R = TypeVar("R")


class GoogleError(Exception):
    """A call failed.

    Args:
        code: the name of gRPC's status; if the service sent none, the name of the error.
        passes: whether the same call may succeed later.
        severity: for the log.
    """

    def __init__(self, code: str, *, passes: bool, severity: str = "ERROR") -> None:
        super().__init__(code)
        self.code = code
        self.passes = passes
        self.severity = severity


class TimeLimit:
    """Runs each piece of work in a thread of its own, and leaves a stuck thread behind.

    Args:
        seconds: the time limit for a piece of work.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._stuck: list[threading.Thread] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[], R]) -> R:
        """Run work, and return its result or raise its error.

        Raises:
            GoogleError: `Stuck`: the work takes too long; its thread goes on by itself.
                `TooManyStuck`: the work is not started, because earlier work still goes on.
        """
        with self._lock:
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
            if len(self._stuck) >= MAX_STUCK:
                raise GoogleError("TooManyStuck", passes=True, severity="CRITICAL")
        outcome: Future[R] = Future()
        # A daemon, because a stuck thread must not delay the end of the process.
        thread = threading.Thread(target=_fulfil, args=(outcome, work), daemon=True)
        thread.start()
        wait([outcome], self.seconds)
        if not outcome.done():
            with self._lock:
                self._stuck.append(thread)
            raise GoogleError("Stuck", passes=True)
        return outcome.result()


def _fulfil(outcome: "Future[R]", work: Callable[[], R]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:  # noqa: BLE001 - `run` raises it.
        outcome.set_exception(error)


class GoogleClient(Generic[C]):
    """A client of one service, for all threads of an instance.

    Each call has a connection of its own. The network silently drops a connection that is not used
    for a while, and a call over a dropped one would fail only after some time.

    Args:
        connect: returns a new client for the given credentials; imports its library.
        seconds: the time limit of a call.
        clock: returns seconds that never go back.

    Attributes:
        project: the credentials' project; empty before the first call.
    """

    def __init__(
        self,
        connect: Callable[["Credentials"], AbstractContextManager[C]],
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.project = ""
        self._connect = connect
        self._limit = TimeLimit(seconds)
        self._clock = clock
        self._credentials: Credentials | None = None

    def call(self, use: Callable[[C, float], R]) -> R:
        """Make a call, and return its result.

        Args:
            use: makes the call with the given client, within the given seconds. If the service is
                unavailable, `use` is called once more, so a repeat must do no harm.

        Raises:
            GoogleError: the call failed.
        """
        return self._limit.run(lambda: self._call(use))

    def _call(self, use: Callable[[C, float], R]) -> R:
        ends = self._clock() + self._limit.seconds - MARGIN
        try:
            return self._use(use, ends)
        except GoogleError as error:
            if error.code != "UNAVAILABLE":
                raise
            return self._use(use, ends)

    def _use(self, use: Callable[[C, float], R], ends: float) -> R:
        """Make a call that ends at the given moment."""
        with _translated(), self._connect(self._valid_credentials()) as client:
            return use(client, max(MARGIN, ends - self._clock()))

    def _valid_credentials(self) -> "Credentials":
        """Return credentials with a token; the metadata server may be called for both."""
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        if not self._credentials:
            credentials, project = google.auth.default(scopes=SCOPES)
            if not project:  # The metadata server failed meanwhile.
                raise GoogleAuthError("no project")  # type: ignore[no-untyped-call]
            self.project, self._credentials = project, credentials
        if not self._credentials.valid:
            # gRPC would refresh them in a thread of its own, without a time limit.
            self._credentials.refresh(Request())  # type: ignore[no-untyped-call]
        return self._credentials


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
