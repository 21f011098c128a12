"""Secrets: how long they are used, and how they are read from Secret Manager."""

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from unittest.mock import patch

import google.auth
import grpc
import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.cloud.secretmanager_v1.types import AccessSecretVersionResponse as Response
from google.oauth2.credentials import Credentials

from sandbox.secrets import TOKEN, Answer, Secrets, found, refused
from storage_plugin import secret_manager
from storage_plugin.errors import SecretUnavailable
from storage_plugin.secret_manager import GoogleError, Secret, SecretManager, google_credentials
from tests.conftest import Time

NAME, VARIABLE = "bz-shared-secret", "BZ_SHARED_SECRET"
AWAY = GoogleError("UNAVAILABLE")
UNREADABLE = f"The secret {NAME} cannot be read: see the function's log."


@pytest.fixture(autouse=True)
def virtual(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass at once, and ignore a secret in the developer's own environment."""
    monkeypatch.setattr(secret_manager, "time", SimpleNamespace(monotonic=time))
    monkeypatch.delenv(VARIABLE, raising=False)


class Source(Secret):
    """A secret whose value, or why it cannot be read, a test sets."""

    def __init__(self) -> None:
        super().__init__(NAME, VARIABLE, access=self.access)
        self.accesses = 0
        self.value: str | GoogleError = "first"

    def access(self, name: str) -> str:
        """Return the secret, or fail."""
        assert name == NAME
        self.accesses += 1
        if isinstance(self.value, GoogleError):
            raise self.value
        return self.value

    def read(self, max_age: float = 300) -> str:
        """Read the secret; return it, or what the administrator learns instead."""
        try:
            return super().read(max_age)
        except SecretUnavailable as error:
            return error.detail


@pytest.fixture
def source() -> Source:
    """Return a secret that can be read."""
    return Source()


@pytest.mark.parametrize(
    ("value", "expected"), [("first", "first"), (AWAY, "Secret Manager is unavailable")]
)
def test_wrong_secrets_cause_few_accesses(
    source: Source, time: Time, value: str | GoogleError, expected: str
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
    assert source.read(0).startswith(expected)
    assert source.accesses == 4


def test_a_secret_is_used_for_five_minutes_and_in_need_for_an_hour_more(
    source: Source, time: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    """One access serves all requests of five minutes; then a warning is logged once a minute."""
    source.read()
    source.value = AWAY
    time.sleep(300)
    assert (source.read(), source.accesses) == ("first", 1)
    time.sleep(1)
    for _ in range(3600):
        assert source.read() == "first"
        time.sleep(1)
    assert source.accesses == 1 + 60
    why = source.read()
    assert why.startswith("Secret Manager is unavailable (UNAVAILABLE)")
    warning = f"{UNREADABLE} The last known one is used for up to an hour. {why}"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["severity"], line["message"]) for line in lines] == [("WARNING", warning)] * 60


@pytest.mark.parametrize("max_age", [0, 300])
@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (GoogleError("NOT_FOUND"), "Create it in the function's project"),
        (GoogleError("PERMISSION_DENIED"), "Grant roles/secretmanager.secretAccessor"),
        (GoogleError("FAILED_PRECONDITION"), "disabled or destroyed"),
        (GoogleError("UnicodeDecodeError"), "UTF-8"),
        *((empty, "It is empty") for empty in ("", "\n", "\ufeff")),
    ],
)
def test_a_secret_that_is_gone_serves_no_longer(
    source: Source, time: Time, value: str | GoogleError, remedy: str, max_age: float
) -> None:
    """The log names the remedy, and the old secret lets nobody in, also while Google is away."""
    source.read()
    source.value = value
    time.sleep(301)
    assert remedy in source.read(max_age)
    source.value = AWAY
    assert "UNAVAILABLE" in source.read()
    source.value = "mended"
    assert source.read() == "mended"


@pytest.mark.parametrize("stored", ["a b", "a b\n", "\ufeffa b\r\n", " a b\t\n\n"])
def test_a_secret_is_stripped(source: Source, monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
    """What editors and shells add at the ends is no part of a secret, as in a header of HTTP."""
    source.value = stored
    assert (source.read(), source.accesses) == ("a b", 1)
    source.value = "unused"
    monkeypatch.setenv(VARIABLE, stored)
    assert (source.read(), source.read(0), source.accesses) == ("a b", "a b", 1)
    monkeypatch.setenv(VARIABLE, stored.replace("a b", ""))
    assert source.read() == f"It is empty: set it, here or in {VARIABLE}."


# The real library against a server that speaks its protocol


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Secrets]:
    """Return a project without secrets, for which there are credentials as on Google Cloud."""
    secrets, credentials = Secrets(), Credentials(TOKEN)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(secret_manager, "google_credentials", lambda: (credentials, "project"))
    with secrets.serve() as environ, patch.dict(os.environ, environ):
        yield secrets


def damaged(*_: object) -> Response:
    """Answer with a secret of another checksum."""
    return Response(payload={"data": b"damaged", "data_crc32c": 1})


GOOD = found("schlüssel\n".encode())
UNAVAILABLE = refused(grpc.StatusCode.UNAVAILABLE)


@pytest.mark.parametrize("first", [GOOD, UNAVAILABLE, damaged])
def test_the_latest_version_is_read(secrets: Secrets, first: Answer) -> None:
    """The secret arrives as it was stored, in UTF-8, if need be at the second try."""
    answers = iter([first, GOOD])
    secrets.answers[NAME] = lambda *call: next(answers)(*call)  # noqa: PLW0108 - Each time another.
    assert SecretManager().access(NAME) == "schlüssel\n"


@pytest.mark.parametrize(
    ("answer", "error", "tries", "next_error"),
    [
        *(
            (refused(grpc.StatusCode[name]), name, 1, "NOT_FOUND")
            for name in ("NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION")
        ),
        (found(b"\xff"), "UnicodeDecodeError", 1, "NOT_FOUND"),
        (refused(grpc.StatusCode.RESOURCE_EXHAUSTED), "RESOURCE_EXHAUSTED", 1, "a moment ago"),
        (UNAVAILABLE, "UNAVAILABLE", 2, "a moment ago"),
        (damaged, "DATA_LOSS", 2, "a moment ago"),
    ],
)
def test_a_request_waits_for_google_once(
    secrets: Secrets, time: Time, answer: Answer, error: str, tries: int, next_error: str
) -> None:
    """For a moment after a failure that passes no other secret is asked for, either."""
    manager, secrets.answers[NAME] = SecretManager(), answer
    with pytest.raises(GoogleError, match=f"^{error}$"):
        manager.access(NAME)
    assert len(secrets.accesses) == tries
    for seconds, expected in ((0.9, next_error), (0.1, "NOT_FOUND")):
        time.sleep(seconds)
        with pytest.raises(GoogleError, match=f"^{expected}$"):
            manager.access("iconik-token")


def test_both_tries_have_one_limit(time: Time) -> None:
    """The second try has only the time that the first one has left."""
    limits = []

    def call(seconds: float) -> None:
        limits.append(seconds)
        time.sleep(1.5)
        raise ServiceUnavailable("away")

    with pytest.raises(GoogleError, match=r"^UNAVAILABLE$"):
        secret_manager.call_google(call)
    assert limits == [4, 2.5]


def test_without_a_project_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the metadata server has failed, the next call works."""
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    projects = iter([None, "project"])
    monkeypatch.setattr(google.auth, "default", lambda **_: ("credentials", next(projects)))
    google_credentials.cache_clear()
    with pytest.raises(GoogleError, match="no project"):
        google_credentials()
    assert google_credentials() == ("credentials", "project")
    google_credentials.cache_clear()
