"""A client of Google's: its connections, what is repeated, and how long a call may take."""

import threading
from collections.abc import Callable

import google.auth
import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from storage_plugin.google_client import GoogleClient, GoogleError
from tests.conftest import Time


class Fake:
    """A client that answers what the test wants, and notes the seconds that a call may take."""

    def __init__(self, outcome: Callable[[], str]) -> None:
        self.seconds = 0.0
        self.is_closed = False
        self._outcome = outcome

    def __enter__(self) -> "Fake":
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def call(self, seconds: float) -> str:
        """Answer."""
        self.seconds = seconds
        return self._outcome()


class Credentials(AnonymousCredentials):
    """Credentials whose token can be invalid."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_valid = True
        self.refreshed: list[str] = []

    @property
    def valid(self) -> bool:
        """Whether there is a token that has not expired."""
        return self.is_valid

    def refresh(self, request: object) -> None:
        """Get a token."""
        self.refreshed.append(threading.current_thread().name)
        self.is_valid = True


class Maker:
    """Makes clients.

    Attributes:
        outcomes: what the next clients answer.
    """

    def __init__(self, time: Time, seconds: float = 60) -> None:
        self.made: list[Fake] = []
        self.outcomes: list[Callable[[], str]] = []
        self.client = GoogleClient(self.make, seconds, time)

    def make(self, credentials: object) -> Fake:
        """Make a client."""
        self.made.append(Fake(self.outcomes.pop(0) if self.outcomes else lambda: "answer"))
        return self.made[-1]

    def call(self) -> str:
        """Make a call."""
        return self.client.call(Fake.call)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Credentials:
    """Let there be credentials, as on Google Cloud."""
    credentials = Credentials()
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    return credentials


@pytest.fixture
def maker(time: Time) -> Maker:
    """Return a maker of clients."""
    return Maker(time)


def failing(error: type[exceptions.GoogleAPICallError]) -> Callable[[], str]:
    """Return an outcome that is an error."""

    def fail() -> str:
        raise error("with words that nobody shall see")

    return fail


def test_each_call_has_a_connection_of_its_own(maker: Maker) -> None:
    """A connection is closed after its call, so the network cannot drop it before the next."""
    assert maker.client.project == ""
    assert [maker.call(), maker.call()] == ["answer", "answer"]
    assert maker.client.project == "project"
    assert [client.is_closed for client in maker.made] == [True, True]


def test_a_call_is_repeated_once(maker: Maker) -> None:
    """A call that an unavailable service may not have received is made again, once."""
    maker.outcomes = [failing(exceptions.ServiceUnavailable)]
    assert maker.call() == "answer"
    maker.outcomes = [failing(exceptions.ServiceUnavailable)] * 2
    with pytest.raises(GoogleError) as raised:
        maker.call()
    assert raised.value.passes
    assert "words" not in repr(raised.value)
    assert [client.is_closed for client in maker.made] == [True] * 4


@pytest.mark.parametrize(
    ("error", "code", "passes"),
    [
        (exceptions.NotFound, "NOT_FOUND", False),
        (exceptions.PermissionDenied, "PERMISSION_DENIED", False),
        (exceptions.FailedPrecondition, "FAILED_PRECONDITION", False),
        (exceptions.InternalServerError, "INTERNAL", False),
        (exceptions.ResourceExhausted, "RESOURCE_EXHAUSTED", True),
        (exceptions.DeadlineExceeded, "DEADLINE_EXCEEDED", True),
        (exceptions.GoogleAPICallError, "GoogleAPICallError", False),
    ],
)
def test_a_refusal_is_not_repeated(
    maker: Maker, error: type[exceptions.GoogleAPICallError], code: str, passes: bool
) -> None:
    """What a service answers is an answer."""
    maker.outcomes = [failing(error)]
    with pytest.raises(GoogleError) as raised:
        maker.call()
    assert (raised.value.code, raised.value.passes) == (code, passes)
    assert len(maker.made) == 1


def test_a_fault_is_not_hidden(maker: Maker) -> None:
    """An error of the plugin's own is raised as it is."""
    with pytest.raises(ZeroDivisionError):
        maker.client.call(lambda *_: 1 / 0)
    assert len(maker.made) == 1


def test_both_attempts_have_one_limit(time: Time) -> None:
    """A repeat has only the time that the first attempt has left."""
    maker = Maker(time, seconds=4)

    def be_slow() -> str:
        time.sleep(1.5)
        return failing(exceptions.ServiceUnavailable)()

    maker.outcomes = [be_slow]
    maker.call()
    assert [client.seconds for client in maker.made] == pytest.approx([3.8, 2.3])


def test_a_call_that_hangs_is_given_up(time: Time) -> None:
    """A call without an end, or a client that is never made, does not hinder the next call."""
    may_end = threading.Event()

    def hang(*_: object) -> str:
        may_end.wait()
        return ""

    maker = Maker(time, seconds=1)
    with pytest.raises(GoogleError) as raised:
        maker.client.call(hang)
    assert (raised.value.code, raised.value.passes) == ("Stuck", True)
    assert maker.call() == "answer"
    may_end.set()


def test_a_token_is_renewed_within_the_limit(maker: Maker, credentials: Credentials) -> None:
    """The thread that has a limit fetches the token, not one of gRPC's own."""
    credentials.is_valid = False
    maker.call()
    credentials.is_valid = False
    maker.call()
    maker.call()
    assert len(credentials.refreshed) == 2
    assert threading.current_thread().name not in credentials.refreshed


@pytest.mark.parametrize("error", [DefaultCredentialsError, RefreshError])
def test_without_credentials_nothing_is_called(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """A machine that has no credentials, for now or at all, is reported as that."""

    def default(**_: object) -> None:
        raise error("none")

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(GoogleError) as raised:
        maker.call()
    assert (raised.value.code, raised.value.passes) == (error.__name__, True)


def test_without_a_project_no_client_is_kept(
    maker: Maker, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metadata server that fails for a while does no harm for longer."""
    with monkeypatch.context() as patch:
        patch.setattr(google.auth, "default", lambda **_: (credentials, None))
        with pytest.raises(GoogleError):
            maker.call()
    assert maker.call() == "answer"
