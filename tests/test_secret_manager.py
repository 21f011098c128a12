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
from storage_plugin.secret_manager import GoogleError, Secret, google_credentials
from tests.conftest import Time

NAME, VARIABLE = "bz-shared-secret", "BZ_SHARED_SECRET"
UNREADABLE = f"The secret {NAME} cannot be read: see the function's log."


def damaged(*_: object) -> Response:
    """Answer with a secret of another checksum."""
    return Response(payload={"data": b"damaged", "data_crc32c": 1})


FIRST, SECOND = found(b"first"), found("schlüssel".encode())
AWAY = refused(grpc.StatusCode.UNAVAILABLE)


class Stage(Secrets):
    """A Secret Manager, and a secret that is read with the real library."""

    def __init__(self) -> None:
        super().__init__()
        self.store(FIRST)
        self.secret = Secret(NAME, VARIABLE)

    def store(self, *answers: Answer) -> None:
        """Give some answers to accesses, the last one for ever."""
        rest = list(answers)
        self.answers[NAME] = lambda *call: (rest.pop(0) if rest[1:] else rest[0])(*call)

    def read(self, max_age: float = 300) -> str:
        """Read the secret; return it, or what the administrator learns instead."""
        try:
            return self.secret.read(max_age)
        except SecretUnavailable as error:
            assert str(error) == UNREADABLE
            return error.detail


@pytest.fixture
def stage(time: Time, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Return a secret, for which there are credentials as on Google Cloud, and a time to turn."""
    stage, credentials = Stage(), Credentials(TOKEN)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(secret_manager, "google_credentials", lambda: (credentials, "project"))
    monkeypatch.setattr(secret_manager, "time", SimpleNamespace(monotonic=time))
    monkeypatch.setattr(Secret, "_away_until", 0.0)
    monkeypatch.delenv(VARIABLE, raising=False)
    with stage.serve() as environ, patch.dict(os.environ, environ):
        yield stage


@pytest.mark.parametrize(
    ("answer", "expected", "accesses"),
    [(FIRST, "first", 1), (AWAY, "Secret Manager is unavailable (ServiceUnavailable)", 2)],
)
def test_wrong_secrets_cause_few_accesses(
    stage: Stage, time: Time, answer: Answer, expected: str, accesses: int
) -> None:
    """A new secret is valid at its first use, unless wrong ones have just caused an access."""
    stage.read()
    time.sleep(301)
    stage.read()
    stage.store(SECOND)
    time.sleep(0.1)
    assert stage.read(0) == "schlüssel"
    stage.store(answer)
    for _ in range(99):
        time.sleep(0.1)
        assert (stage.read(0), stage.read()) == ("schlüssel", "schlüssel")
    assert len(stage.accesses) == 3
    time.sleep(0.2)
    assert stage.read(0).startswith(expected)
    assert len(stage.accesses) == 3 + accesses


def test_a_secret_is_used_for_five_minutes_and_in_need_for_an_hour_more(
    stage: Stage, time: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    """One access serves all requests of five minutes; then a warning is logged every ten seconds.

    While Google is away, no access lasts longer than another try.
    """
    stage.read()
    stage.store(AWAY)
    time.sleep(300)
    assert (stage.read(), len(stage.accesses)) == ("first", 1)
    time.sleep(1)
    for _ in range(1200):
        assert stage.read() == "first"
        time.sleep(3)
    assert len(stage.accesses) == 1 + 2 * 300
    why = stage.read()
    assert why == "Secret Manager is unavailable (ServiceUnavailable): try again."
    warning = f"{UNREADABLE} The last one is used for up to an hour. {why}"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["severity"], line["message"]) for line in lines] == [("WARNING", warning)] * 300


@pytest.mark.parametrize("max_age", [0, 300])
@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (refused(grpc.StatusCode.NOT_FOUND), "Create it in the function's project"),
        (refused(grpc.StatusCode.PERMISSION_DENIED), "Grant roles/secretmanager.secretAccessor"),
        (refused(grpc.StatusCode.FAILED_PRECONDITION), "disabled or destroyed"),
        (found(b"\xff"), "UTF-8"),
        *((found(empty.encode()), "It is empty") for empty in ("", "\n", "\ufeff")),
    ],
)
def test_a_secret_that_is_gone_serves_no_longer(
    stage: Stage, time: Time, answer: Answer, remedy: str, max_age: float
) -> None:
    """The log names the remedy, and the old secret lets nobody in, also while Google is away."""
    stage.read()
    stage.store(answer)
    time.sleep(301)
    assert remedy in stage.read(max_age)
    assert len(stage.accesses) == 2
    stage.store(SECOND)
    assert stage.read() == "schlüssel"
    stage.store(answer)
    time.sleep(301)
    assert remedy in stage.read(max_age)
    stage.store(AWAY)
    assert "unavailable" in stage.read()


@pytest.mark.parametrize("stored", ["a b", "a b\n", "\ufeffa b\r\n", " a b\t\n\n"])
def test_a_secret_is_stripped(stage: Stage, monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
    """What editors and shells add at the ends is no part of a secret, as in a header of HTTP."""
    stage.store(found(stored.encode()))
    assert (stage.read(), len(stage.accesses)) == ("a b", 1)
    stage.store(SECOND)
    monkeypatch.setenv(VARIABLE, stored)
    assert (stage.read(), stage.read(0), len(stage.accesses)) == ("a b", "a b", 1)
    monkeypatch.setenv(VARIABLE, stored.replace("a b", ""))
    assert stage.read() == f"It is empty: set it here or in {VARIABLE}."


@pytest.mark.parametrize("first", [AWAY, damaged])
def test_an_access_is_tried_again_once(stage: Stage, first: Answer) -> None:
    """The secret arrives as it was stored, in UTF-8."""
    stage.store(first, SECOND)
    assert (stage.read(), len(stage.accesses)) == ("schlüssel", 2)


@pytest.mark.parametrize(
    ("answer", "error", "tries"),
    [
        (refused(grpc.StatusCode.RESOURCE_EXHAUSTED), "ResourceExhausted", 1),
        (AWAY, "ServiceUnavailable", 2),
        (damaged, "DataLoss", 2),
    ],
)
def test_a_request_waits_for_google_once(
    stage: Stage, time: Time, answer: Answer, error: str, tries: int
) -> None:
    """For a moment after a failure that passes no other secret is asked for, either."""
    other, unknown = Secret("iconik-token", ""), Secret("iconik-token", "")
    stage.answers["iconik-token"] = FIRST
    other.read()
    time.sleep(301)
    stage.store(answer)
    stage.accesses.clear()
    assert stage.read() == f"Secret Manager is unavailable ({error}): try again."
    assert stage.read() == "Secret Manager has just failed: try again."
    time.sleep(0.9)
    assert other.read() == "first"
    with pytest.raises(SecretUnavailable):
        unknown.read()
    assert stage.accesses == [NAME] * tries
    time.sleep(0.1)
    assert (other.read(), unknown.read()) == ("first", "first")
    assert stage.accesses == [NAME] * tries + ["iconik-token"] * 2


def test_both_tries_have_one_limit(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try has only the time that the first one has left."""
    limits = []

    def call(seconds: float) -> str:
        limits.append(seconds)
        time.sleep(1.5)
        raise ServiceUnavailable("away")

    monkeypatch.setattr(secret_manager, "time", SimpleNamespace(monotonic=time))
    with pytest.raises(GoogleError, match=r"^ServiceUnavailable$"):
        secret_manager.call_google(call)
    assert limits == [4, 2.5]


def test_without_a_project_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the metadata server has failed, the next call works."""
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    projects = iter([None, "project"])
    monkeypatch.setattr(google.auth, "default", lambda **_: ("credentials", next(projects)))
    google_credentials.cache_clear()
    with pytest.raises(GoogleError, match="no GOOGLE_CLOUD_PROJECT"):
        google_credentials()
    assert google_credentials() == ("credentials", "project")
    google_credentials.cache_clear()
