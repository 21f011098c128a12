"""Secrets: how long they are used, and how they are read from Secret Manager."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import patch

import google.auth
import grpc
import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest as Request
from google.cloud.secretmanager_v1.types import AccessSecretVersionResponse as Response
from google.oauth2.credentials import Credentials

from sandbox.secrets import TOKEN, Answer, Secrets, found, refused
from storage_plugin import secret_manager
from storage_plugin.errors import SecretUnavailable
from storage_plugin.secret_manager import (
    GoogleError,
    Secret,
    SecretManager,
    SecretOutOfReach,
    call_google,
)
from tests.conftest import Time

NAME, VARIABLE = "bz-shared-secret", "BZ_SHARED_SECRET"
AWAY = SecretOutOfReach(NAME, "Secret Manager is away.")
GONE = SecretUnavailable(NAME, "It is gone.")
UNREADABLE = f"The secret {NAME} cannot be read: see the function's log."


class Source:
    """A secret, and the Secret Manager that a test turns.

    Attributes:
        value: of the secret, or why it cannot be read.
        meanwhile: what happens while it is read.
    """

    def __init__(self, time: Time) -> None:
        self.accesses = 0
        self.value: str | SecretUnavailable = "first"
        self.meanwhile: Callable[[], object] = lambda: None
        self.warnings: list[str] = []
        warn = self.warnings.append
        self.secret = Secret(NAME, VARIABLE, access=self.access, warn=warn, clock=time)

    def access(self, name: str) -> str:
        """Return the secret, or fail."""
        assert name == NAME
        self.accesses += 1
        value = self.value
        self.meanwhile()
        if isinstance(value, SecretUnavailable):
            raise value
        return value

    def read(self, max_age: float = 300) -> str:
        """Read the secret; return it, or what the administrator learns instead."""
        try:
            return self.secret.read(max_age)
        except SecretUnavailable as error:
            return error.detail


@pytest.fixture
def source(time: Time, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Return a source that works, and ignore a secret in the developer's own environment."""
    monkeypatch.delenv(VARIABLE, raising=False)
    return Source(time)


def test_a_secret_is_used_for_five_minutes(source: Source, time: Time) -> None:
    """One access serves all requests of five minutes; the next access sees a new secret."""
    assert source.read() == "first"
    source.value = "second"
    time.sleep(300)
    assert source.read() == "first"
    time.sleep(1)
    assert (source.read(), source.accesses) == ("second", 2)


@pytest.mark.parametrize("value", ["first", AWAY], ids=["works", "away"])
def test_wrong_secrets_cause_few_accesses(
    source: Source, time: Time, value: str | SecretUnavailable
) -> None:
    """A new secret is valid at its first use, unless wrong ones have just caused an access."""
    source.read()
    time.sleep(301)
    source.read()
    source.value = "second"
    time.sleep(0.1)
    assert source.read(0) == "second"
    source.value = value
    for _ in range(99):
        time.sleep(0.1)
        assert (source.read(0), source.read()) == ("second", "second")
    assert source.accesses == 3
    time.sleep(0.2)
    assert (source.read(0), source.accesses) == (AWAY.detail if value is AWAY else "first", 4)


def test_the_last_known_secret_serves_for_an_hour_more(source: Source, time: Time) -> None:
    """While Secret Manager is away, the known secret is valid, with one warning a minute."""
    source.read()
    source.value = AWAY
    time.sleep(301)
    for _ in range(3600):
        assert source.read() == "first"
        time.sleep(1)
    assert source.accesses == 1 + 60
    warning = f"{UNREADABLE} The last known one is used for up to an hour. {AWAY.detail}"
    assert source.warnings == [warning] * 60
    assert source.read() == AWAY.detail
    source.value = "back"
    assert source.read() == "back"


@pytest.mark.parametrize("max_age", [0, 300])
def test_a_secret_that_is_gone_serves_no_longer(source: Source, time: Time, max_age: float) -> None:
    """A missing, denied or disabled secret is refused at once, and while Secret Manager is away."""
    source.read()
    source.value = GONE
    time.sleep(301)
    assert source.read(max_age) == GONE.detail
    source.value = AWAY
    assert source.read() == AWAY.detail
    source.value = "back"
    assert (source.read(), source.warnings) == ("back", [])


@pytest.mark.parametrize("empty", ["", "\n", "\ufeff"])
def test_an_empty_secret_is_an_error(
    source: Source, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    """An empty secret lets nobody in, wherever it comes from, until it is mended."""
    source.value = empty
    assert source.read().startswith("It is empty")
    source.value = "mended"
    assert source.read() == "mended"
    monkeypatch.setenv(VARIABLE, empty)
    assert source.read().startswith("It is empty")


@pytest.mark.parametrize("stored", ["a b", "a b\n", "\ufeffa b\r\n", " a b\t\n\n"])
def test_a_secret_is_stripped(source: Source, monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
    """What editors and shells add at the ends is no part of a secret, as in a header of HTTP."""
    source.value = stored
    assert (source.read(), source.accesses) == ("a b", 1)
    source.value = "unused"
    monkeypatch.setenv(VARIABLE, stored)
    assert (source.read(), source.read(0), source.accesses) == ("a b", "a b", 1)


@pytest.mark.parametrize("is_known", [True, False])
def test_threads_share_one_access(source: Source, time: Time, is_known: bool) -> None:
    """Requests that start together wait for one access."""
    if is_known:
        source.read()
        time.sleep(1)
    others_ask = threading.Event()
    source.value, source.meanwhile = "second", others_ask.wait
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(source.read, 0 if is_known else 300) for _ in range(8)]
        others_ask.set()
    assert [each.result() for each in reads] == ["second"] * 8
    assert source.accesses == 1 + is_known


# The real library against a server that speaks its protocol


@pytest.fixture
def secrets() -> Secrets:
    """Return a project without secrets."""
    return Secrets()


@pytest.fixture
def manager(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    """Return a SecretManager that has credentials, as on Google Cloud."""
    credentials = Credentials(TOKEN)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(secret_manager, "google_credentials", lambda: (credentials, "project"))
    with secrets.serve() as environ, patch.dict(os.environ, environ):
        yield SecretManager()


def one_after_another(*answers: Answer) -> Answer:
    """Return an answer that is another one each time."""
    rest = iter(answers)

    def answer(request: Request, context: grpc.ServicerContext) -> Response:
        return next(rest)(request, context)

    return answer


def damaged(*_: object) -> Response:
    """Answer with a secret of another checksum."""
    return Response(payload={"data": b"damaged", "data_crc32c": 1})


UNAVAILABLE = refused(grpc.StatusCode.UNAVAILABLE)


@pytest.mark.parametrize("first", [found("schlüssel\n".encode()), UNAVAILABLE, damaged])
def test_the_latest_version_is_read(
    manager: SecretManager, secrets: Secrets, first: Answer
) -> None:
    """The secret arrives as it was stored, in UTF-8, if need be at the second try."""
    secrets.answers[NAME] = one_after_another(first, found("schlüssel\n".encode()))
    assert manager.access(NAME) == "schlüssel\n"


@pytest.mark.parametrize(
    ("answer", "passes", "remedy", "tries"),
    [
        (refused(grpc.StatusCode.NOT_FOUND), False, "Create it in the project project", 1),
        (refused(grpc.StatusCode.PERMISSION_DENIED), False, "secretmanager.secretAccessor", 1),
        (refused(grpc.StatusCode.FAILED_PRECONDITION), False, "disabled or destroyed", 1),
        (found(b"\xff"), False, "UTF-8", 1),
        (refused(grpc.StatusCode.RESOURCE_EXHAUSTED), True, "(RESOURCE_EXHAUSTED)", 1),
        (UNAVAILABLE, True, "(UNAVAILABLE)", 2),
        (damaged, True, "(DATA_LOSS)", 2),
    ],
)
def test_failures_are_told_to_the_administrator_alone(
    manager: SecretManager,
    secrets: Secrets,
    answer: Answer,
    passes: bool,
    remedy: str,
    tries: int,
) -> None:
    """The log names the remedy; the caller, who may be a stranger, gets no details.

    Only where nothing is said of the secret itself may the last known one serve meanwhile.
    """
    secrets.answers[NAME] = answer
    with pytest.raises(SecretUnavailable) as raised:
        manager.access(NAME)
    assert remedy in raised.value.detail
    assert str(raised.value) == UNREADABLE
    assert isinstance(raised.value, SecretOutOfReach) == passes
    assert secrets.accesses == [NAME] * tries


def test_a_request_waits_for_google_once(
    manager: SecretManager, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment after a failure no other secret is asked for, either."""
    monkeypatch.setattr(secret_manager, "MOMENT", 1000)
    secrets.answers = {NAME: UNAVAILABLE, "iconik-token": found(b"token")}
    for name in secrets.answers:
        with pytest.raises(SecretOutOfReach):
            manager.access(name)
    assert secrets.accesses == [NAME] * 2


def test_both_tries_have_one_limit(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try has only the time that the first one has left."""
    monkeypatch.setattr(secret_manager, "time", SimpleNamespace(monotonic=time))
    limits = []

    def call(seconds: float) -> None:
        limits.append(seconds)
        time.sleep(1.5)
        raise ServiceUnavailable("away")

    with pytest.raises(GoogleError, match=r"^UNAVAILABLE$"):
        call_google(call)
    assert limits == [4, 2.5]


def test_without_a_project_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the metadata server has failed, the next call works."""
    secret_manager.google_credentials.cache_clear()
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    found = iter([("credentials", None), ("credentials", "project")])
    monkeypatch.setattr(google.auth, "default", lambda **_: next(found))
    with pytest.raises(DefaultCredentialsError):
        secret_manager.google_credentials()
    assert secret_manager.google_credentials() == ("credentials", "project")
    secret_manager.google_credentials.cache_clear()
