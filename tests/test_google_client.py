"""Calls to Google: their connections, their errors, and their time limit.

test_main.py tests too many calls that hang.
"""

import threading
from unittest.mock import MagicMock, Mock

import google.auth
import pytest
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from storage_plugin.google_client import GoogleClient, GoogleError, TimeLimit
from tests.conftest import Time

QUOTED = "words that nobody shall see"


class Maker:
    """Makes clients, and calls them.

    Attributes:
        made: the clients.
        errors: what calls to the next ones raise.
    """

    def __init__(self, time: Time, seconds: float = 60) -> None:
        self.made: list[MagicMock] = []
        self.errors: list[Exception] = []
        self.client = GoogleClient(self.make, seconds, time)

    def make(self, credentials: object) -> MagicMock:
        """Make a client."""
        client = MagicMock()
        client.__enter__.return_value = client
        client.call.return_value = "answer"
        client.call.side_effect = self.errors.pop(0) if self.errors else None
        self.made.append(client)
        return client

    def call(self) -> str:
        """Make a call."""
        return self.client.call(lambda client, seconds: client.call(seconds))

    def are_closed(self) -> list[bool]:
        """Return which clients are closed."""
        return [client.__exit__.called for client in self.made]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Return the credentials of the machine, as on Google Cloud."""
    credentials = Mock(valid=True)
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    return credentials


@pytest.fixture
def maker(time: Time) -> Maker:
    """Return a maker of clients."""
    return Maker(time)


def test_each_call_has_a_connection_of_its_own(maker: Maker) -> None:
    """A connection is closed after its call, so the network cannot drop it before the next."""
    assert maker.client.project == ""
    assert [maker.call(), maker.call()] == ["answer", "answer"]
    assert maker.client.project == "project"
    assert maker.are_closed() == [True, True]


def test_a_call_is_repeated_once(maker: Maker) -> None:
    """A call that an unavailable service may not have received is made again, once."""
    unavailable = exceptions.ServiceUnavailable(QUOTED)
    maker.errors = [unavailable]
    assert maker.call() == "answer"
    maker.errors = [unavailable, unavailable]
    with pytest.raises(GoogleError) as raised:
        maker.call()
    assert raised.value.passes
    assert QUOTED not in repr(raised.value)
    assert maker.are_closed() == [True] * 4


@pytest.mark.parametrize(
    ("error", "code", "passes"),
    [
        (exceptions.NotFound, "NOT_FOUND", False),
        (exceptions.InternalServerError, "INTERNAL", False),
        (exceptions.ResourceExhausted, "RESOURCE_EXHAUSTED", True),
        (exceptions.DeadlineExceeded, "DEADLINE_EXCEEDED", True),
        (exceptions.GoogleAPICallError, "GoogleAPICallError", False),
    ],
)
def test_a_refusal_is_not_repeated(
    maker: Maker, error: type[exceptions.GoogleAPICallError], code: str, passes: bool
) -> None:
    """A refusal is an answer of the service."""
    maker.errors = [error(QUOTED)]
    with pytest.raises(GoogleError) as raised:
        maker.call()
    assert (raised.value.code, raised.value.passes) == (code, passes)
    assert len(maker.made) == 1


def test_a_fault_is_not_hidden(maker: Maker) -> None:
    """An error of the plugin itself is raised as it is."""
    maker.errors = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        maker.call()
    assert len(maker.made) == 1


def test_both_attempts_have_one_limit(time: Time) -> None:
    """A repeat has only the time that the first attempt has left."""
    maker, seconds = Maker(time, seconds=4), []

    def use(_: object, limit: float) -> None:
        seconds.append(limit)
        time.sleep(1.5)
        raise exceptions.ServiceUnavailable(QUOTED)

    with pytest.raises(GoogleError):
        maker.client.call(use)
    assert seconds == pytest.approx([3.8, 2.3])


def test_a_call_that_hangs_is_given_up(time: Time) -> None:
    """A call without an end fails, as one that may succeed later."""
    may_end = threading.Event()
    with pytest.raises(GoogleError) as raised:
        Maker(time, seconds=0.01).client.call(lambda *_: may_end.wait())
    assert (raised.value.code, raised.value.passes) == ("Stuck", True)
    may_end.set()


def test_a_token_is_renewed_within_the_limit(maker: Maker, credentials: Mock) -> None:
    """The thread that has a limit fetches the token, not one of gRPC's own."""
    threads = []

    def refresh(request: object) -> None:
        threads.append(threading.current_thread())
        credentials.valid = True

    credentials.refresh = refresh
    for _ in range(2):
        credentials.valid = False
        maker.call()
        maker.call()
    assert len(threads) == 2
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("error", [DefaultCredentialsError, RefreshError])
def test_without_credentials_nothing_is_called(
    time: Time, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """The error names missing credentials, and may pass."""
    monkeypatch.setattr(google.auth, "default", Mock(side_effect=error("none")))
    with pytest.raises(GoogleError) as raised:
        Maker(time).call()
    assert (raised.value.code, raised.value.passes) == (error.__name__, True)


def test_without_a_project_nothing_is_kept(
    time: Time, credentials: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the metadata server has failed, the next call works."""
    maker = Maker(time)
    default = Mock(side_effect=[(credentials, None), (credentials, "project")])
    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(GoogleError):
        maker.call()
    assert maker.call() == "answer"


# The time limit


@pytest.mark.parametrize("error", [ZeroDivisionError, TimeoutError])
def test_work_is_done(error: type[Exception]) -> None:
    """Results and errors of work are passed on, even an error of its own about time."""

    def fail() -> None:
        raise error

    limit = TimeLimit(60)
    assert limit.run(lambda: "done") == "done"
    with pytest.raises(error):
        limit.run(fail)


def test_work_that_hangs_hinders_no_other() -> None:
    """A stuck thread is left behind, and does not keep the process alive."""
    threads, may_end = [], threading.Event()

    def hang() -> None:
        threads.append(threading.current_thread())
        may_end.wait()

    limit = TimeLimit(0.01)
    with pytest.raises(GoogleError, match=r"^Stuck$"):
        limit.run(hang)
    limit.seconds = 60
    assert limit.run(lambda: "done") == "done"
    (thread,) = threads
    assert thread.is_alive()
    assert thread.daemon
    may_end.set()
    thread.join()
