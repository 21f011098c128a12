"""Cloud Tasks: what is handed over to it, and how its deliveries are recognized."""

import base64
import os
import time
from collections.abc import Iterator
from unittest.mock import patch

import pytest
import requests
import requests_mock
from google.cloud.tasks_v2 import HttpMethod
from google.oauth2.credentials import Credentials

from sandbox.secrets import TOKEN
from sandbox.tasks import ACCOUNT, CERTIFICATES, QUEUE, Key, Tasks
from storage_plugin import task_queue
from storage_plugin.errors import QueueUnavailable
from storage_plugin.settings import Settings
from storage_plugin.task_queue import hand_over, is_delivery

URL, ELSEWHERE = "https://function.example", "https://elsewhere.example"
ENVIRON = {"TASK_QUEUE": QUEUE, "TASK_SERVICE_ACCOUNT": ACCOUNT, "FUNCTION_URL": f"{URL}/"}
SETTINGS = Settings.from_environment({"ICONIK_ID": "app-id", "STORAGE_NAME": "x"} | ENVIRON)
CERTIFICATES_URL = f"https://www.googleapis.com{CERTIFICATES}"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tasks]:
    """Return a queue for the real library, and credentials as on Google Cloud."""
    credentials = Credentials(TOKEN)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(task_queue, "google_credentials", lambda: (credentials, "project"))
    tasks = Tasks()
    with tasks.serve() as environ, patch.dict(os.environ, environ):
        yield tasks


@pytest.mark.parametrize("loses_answers", [False, True])
def test_a_task_is_handed_over_once(tasks: Tasks, loses_answers: bool) -> None:
    """The queue posts the body to the function, as its account, when the delay is over.

    If it is handed over again, also because an answer was lost, it is not created again.
    """
    tasks.loses_answers, before = loses_answers, time.time()
    for _ in range(2):
        hand_over(SETTINGS, path="/remove", name="click-1", body=b"{}", delay=600)
    (created,) = tasks.created
    assert (created.parent, created.task.name) == (QUEUE, f"{QUEUE}/tasks/click-1")
    request, token = created.task.http_request, created.task.http_request.oidc_token
    assert (request.http_method, request.url) == (HttpMethod.POST, f"{URL}/remove")
    assert (request.headers, request.body) == ({"Content-Type": "application/json"}, b"{}")
    assert (token.service_account_email, token.audience) == (ACCOUNT, URL)
    assert before + 600 <= created.task.schedule_time.timestamp() <= time.time() + 600
    assert created.task.dispatch_deadline.seconds == 1800
    tasks.is_away = True
    with pytest.raises(QueueUnavailable, match=r"\(ServiceUnavailable\): try again, or check"):
        hand_over(SETTINGS, path="/remove", name="click-2", body=b"{}")


# Deliveries

KEY, NOW = Key(), int(time.time())
NESTED = base64.urlsafe_b64encode(b"[" * 2500).decode()


@pytest.fixture
def google() -> Iterator[requests_mock.Mocker]:
    """Return Google's server with the certificate of the key."""
    with requests_mock.Mocker() as google:
        google.get(CERTIFICATES_URL, json={"key-1": KEY.certificate})
        yield google


def test_a_delivery_is_recognized(google: requests_mock.Mocker) -> None:
    """A token of the queue's account for this function lets in; Google's clock may be ahead."""
    for ahead in (0, 5):
        assert is_delivery(f"Bearer {KEY.token(URL, iat=int(time.time()) + ahead)}", ENVIRON)
    assert google.last_request.timeout == 3


@pytest.mark.parametrize(
    ("token", "asks_google"),
    [
        (Key().token(URL), True),  # It is forged.
        (KEY.token(URL, iss=ELSEWHERE), True),
        (KEY.token(URL, iat=NOW - 7200, exp=NOW - 3600), True),
        (KEY.token(ELSEWHERE), False),
        (KEY.token(URL, email="someone@project.iam.gserviceaccount.com"), False),
        (KEY.token(URL, email_verified=False), False),
        *((f"{text}.e30", False) for text in ("x.y", f"{NESTED}.e30", "e30.e30", "e30.W10")),
        ("\xff", False),
    ],
    ids=lambda value: "token" if isinstance(value, str) else None,
)
def test_other_tokens_let_nobody_in(
    google: requests_mock.Mocker, token: str, asks_google: bool
) -> None:
    """What is not for this function, or is no token at all, causes no request to Google."""
    assert not is_delivery(f"Bearer {token}", ENVIRON)
    assert google.called == asks_google


def test_without_a_queue_there_are_no_deliveries(google: requests_mock.Mocker) -> None:
    """Without the queue, its account or the URL, and without a token, nothing lets in."""
    assert not is_delivery(f"Basic {KEY.token(URL)}", ENVIRON)
    for missing in ENVIRON:
        assert not is_delivery(f"Bearer {KEY.token(URL)}", ENVIRON | {missing: ""})
    assert not google.called


def test_without_certificates_the_queue_must_wait(google: requests_mock.Mocker) -> None:
    """A delivery that cannot be verified is refused, so that it comes again later."""
    token = f"Bearer {KEY.token(URL)}"
    for failure in ({"status_code": 503}, {"exc": requests.Timeout}):
        google.get(CERTIFICATES_URL, **failure)
        with pytest.raises(QueueUnavailable, match="certificates cannot be read"):
            is_delivery(token, ENVIRON)
    for nonsense in ("<html>", "null", "[]", "{}", '{"key-1": "x"}', '{"key-1": null}'):
        google.get(CERTIFICATES_URL, text=nonsense)
        assert not is_delivery(token, ENVIRON)
