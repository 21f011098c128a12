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

NAME, OTHER, VARIABLE = "bz-shared-secret", "iconik-token", "BZ_SHARED_SECRET"
UNREADABLE = "The secret {} cannot be read: see the function's log."


def damaged(*_: object) -> Response:
    """Answer with a secret of another checksum."""
    return Response(payload={"data": b"damaged", "data_crc32c": 1})


FIRST, SECOND = found(b"first"), found("schlüssel".encode())
AWAY = refused(grpc.StatusCode.UNAVAILABLE)


class Vault(Secrets):
    """A Secret Manager, and one secret that is read from it with the real library."""

    def __init__(self) -> None:
        super().__init__()
        self.secret, self.answers[NAME] = Secret(NAME, VARIABLE), FIRST

    def read(self, max_age: float = 300) -> str:
        """Read the secret; return it, or what the administrator learns instead."""
        try:
            return self.secret.read(max_age)
        except SecretUnavailable as error:
            return error.detail


@pytest.fixture
def vault(time: Time, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """Return a vault, for which there are credentials as on Google Cloud, and whose time is."""
    vault, credentials = Vault(), Credentials(TOKEN)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(secret_manager, "google_credentials", lambda: (credentials, "project"))
    monkeypatch.setattr(secret_manager, "time", SimpleNamespace(monotonic=time))
    monkeypatch.setattr(Secret, "_away_until", 0.0)
    monkeypatch.delenv(VARIABLE, raising=False)
    with vault.serve() as environ, patch.dict(os.environ, environ):
        yield vault


@pytest.mark.parametrize(
    ("answer", "expected", "accesses"),
    [(FIRST, "first", 1), (AWAY, "Secret Manager is unavailable (ServiceUnavailable)", 2)],
)
def test_wrong_secrets_cause_few_accesses(
    vault: Vault, time: Time, answer: Answer, expected: str, accesses: int
) -> None:
    """A new secret is valid at its first use, unless wrong ones have just caused an access."""
    vault.read()
    time.sleep(301)
    vault.read()
    vault.answers[NAME] = SECOND
    time.sleep(0.1)
    assert vault.read(0) == "schlüssel"
    vault.answers[NAME] = answer
    for _ in range(99):
        time.sleep(0.1)
        assert (vault.read(0), vault.read()) == ("schlüssel", "schlüssel")
    assert len(vault.accesses) == 3
    time.sleep(0.2)
    assert vault.read(0).startswith(expected)
    assert len(vault.accesses) == 3 + accesses


def test_a_secret_is_used_for_five_minutes_and_in_need_for_an_hour_more(
    vault: Vault, time: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    """One access serves all requests of five minutes; then each failed one is logged."""
    vault.read()
    vault.answers[NAME] = AWAY
    time.sleep(300)
    assert (vault.read(), len(vault.accesses)) == ("first", 1)
    time.sleep(1)
    for _ in range(12):
        assert vault.read() == "first"
        time.sleep(9.9)
        assert vault.read() == "first"
        time.sleep(290.1)
    why = vault.read()
    assert why == "Secret Manager is unavailable (ServiceUnavailable): try again."
    warning = f"{UNREADABLE.format(NAME)} The last one is used for up to an hour. {why}"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["severity"], line["message"]) for line in lines] == [("WARNING", warning)] * 12


@pytest.mark.parametrize(
    ("answer", "remedy", "max_age"),
    [
        (refused(grpc.StatusCode.NOT_FOUND), "Create it in the function's project", 300),
        (refused(grpc.StatusCode.NOT_FOUND), "Create it in the function's project", 0),
        (refused(grpc.StatusCode.PERMISSION_DENIED), "Grant roles/secretmanager.secretAcc", 300),
        (refused(grpc.StatusCode.FAILED_PRECONDITION), "disabled or destroyed", 0),
        (found(b"\xff"), "UTF-8", 300),
        (found(b""), "It is empty", 300),
        (found("\ufeff\n".encode()), "It is empty", 0),
    ],
)
def test_a_secret_that_is_gone_serves_no_longer(
    vault: Vault, time: Time, answer: Answer, remedy: str, max_age: float
) -> None:
    """The log names the remedy, and the old secret lets nobody in, also while Google is away."""
    vault.read()
    vault.answers[NAME] = answer
    time.sleep(301)
    for accesses in (2, 3):
        assert remedy in vault.read(max_age)
        assert len(vault.accesses) == accesses
    vault.answers[NAME] = AWAY
    assert "unavailable" in vault.read()
    vault.answers[NAME] = SECOND
    time.sleep(1)
    assert vault.read() == "schlüssel"


@pytest.mark.parametrize("stored", ["a b", "a b\n", "\ufeffa b\r\n", " a b\t\n\n"])
def test_a_secret_is_stripped(vault: Vault, monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
    """What editors and shells add at the ends is no part of a secret, as in a header of HTTP."""
    vault.answers[NAME] = found(stored.encode())
    assert (vault.read(), len(vault.accesses)) == ("a b", 1)
    vault.answers[NAME] = SECOND
    monkeypatch.setenv(VARIABLE, stored)
    assert (vault.read(), vault.read(0), len(vault.accesses)) == ("a b", "a b", 1)
    monkeypatch.setenv(VARIABLE, stored.replace("a b", ""))
    assert vault.read() == f"It is empty: store it, or set {VARIABLE}."


@pytest.mark.parametrize("first", [AWAY, damaged])
def test_an_access_is_tried_again_once(vault: Vault, first: Answer) -> None:
    """The secret arrives as it was stored, in UTF-8."""
    answers = iter([first, SECOND])
    vault.answers[NAME] = lambda *call: next(answers)(*call)  # noqa: PLW0108 - Each time another.
    assert vault.read() == "schlüssel"


@pytest.mark.parametrize(
    ("answer", "error", "tries"),
    [
        (refused(grpc.StatusCode.RESOURCE_EXHAUSTED), "ResourceExhausted", 1),
        (AWAY, "ServiceUnavailable", 2),
        (damaged, "DataLoss", 2),
    ],
)
def test_a_request_waits_for_google_once(
    vault: Vault, time: Time, answer: Answer, error: str, tries: int
) -> None:
    """For a moment after a failure that passes no other secret is asked for, either."""
    vault.answers = {OTHER: FIRST, NAME: answer}
    known, unknown = Secret(OTHER, ""), Secret(OTHER, "")
    known.read()
    time.sleep(301)
    assert vault.read() == f"Secret Manager is unavailable ({error}): try again."
    assert vault.read() == "Secret Manager has just failed: try again."
    time.sleep(0.9)
    assert known.read() == "first"
    with pytest.raises(SecretUnavailable, match=f"^{UNREADABLE.format(OTHER)}$"):
        unknown.read()
    time.sleep(0.1)
    assert (known.read(), unknown.read()) == ("first", "first")
    assert vault.accesses == [OTHER, *[NAME] * tries, OTHER, OTHER]


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
