"""Handing long work to Cloud Tasks, and recognizing its deliveries.

https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

import functools
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import requests

from storage_plugin.background.task import Task
from storage_plugin.errors import PluginError
from storage_plugin.google_client import SECONDS, GoogleClient, GoogleError, TimeLimit
from storage_plugin.kept import Kept
from storage_plugin.settings import Settings
from storage_plugin.wire import new_session

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud import tasks_v2
    from google.cloud.tasks_v2 import CloudTasksClient

CALL_TIMEOUT = 3.0
"""Seconds to connect to the server with Google's certificates, and to read from it."""

DISPATCH_DEADLINE = 1800
"""Seconds that Cloud Tasks waits for an answer, the longest time that it allows."""

MAX_TOKEN = 4096
"""The longest token that is verified, in bytes."""

MAX_CERTIFICATES = 1 << 16
"""The longest list of Google's certificates that is read, in bytes."""

CERTIFICATES_PAUSE = 10.0
"""Seconds to wait before another request for Google's certificates after one that failed."""

CERTIFICATES_KEPT = 3600.0
"""Seconds to keep Google's certificates. Google publishes new ones long before their use."""


CLOCK_SKEW = 10
"""Seconds by which the clocks of this machine and Google may differ."""

ISSUERS = ("accounts.google.com", "https://accounts.google.com")
"""https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload"""


class QueueUnavailable(PluginError):
    """Cloud Tasks, or the server with Google's certificates, cannot be reached."""

    status = 503
    can_retry = True


class TaskQueue:
    """Cloud Tasks. Its libraries are slow to import, so they are imported on first use.

    Args:
        certificates_url: the URL of Google's certificates.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        certificates_url: str = "https://www.googleapis.com/oauth2/v1/certs",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = GoogleClient(_connect)
        fetch = functools.partial(_fetch_certificates, certificates_url, TimeLimit(SECONDS))
        self._certificates = Kept(fetch, CERTIFICATES_KEPT, clock)

    def hand_over(self, task: Task, settings: Settings) -> None:
        """Have a task sent to the function until the answer is a success.

        Args:
            task: the task.
            settings: the settings with the queue, its account and the function's URL.

        Raises:
            QueueUnavailable: the queue did not accept the task.
        """
        # Every task gets a name, so a repeated call creates it only once.
        named = task._replace(name=task.name or uuid.uuid4().hex)

        def create(client: "CloudTasksClient", seconds: float) -> None:
            message = _message(named, settings)
            client.create_task(
                parent=str(settings.task_queue), task=message, timeout=seconds, retry=None
            )

        try:
            self._client.call(create)
        except GoogleError as error:
            if error.code == "ALREADY_EXISTS":
                return  # This call, or an earlier delivery, has already created the task.
            failure = QueueUnavailable(
                f"The queue did not accept the action ({error.code}): try again, or check "
                "TASK_QUEUE and the roles of the function's account."
            )
            failure.severity = error.severity
            raise failure from None

    def is_sender(self, authorization: str, environ: Mapping[str, str]) -> bool:
        """Whether a request comes from the queue, with an OIDC token that Google signed for it.

        https://cloud.google.com/run/docs/authenticating/service-to-service

        Args:
            authorization: the request's `Authorization` header.
            environ: the environment with the queue, its account and the function's URL, which is
                the token's audience.

        Raises:
            QueueUnavailable: Google's certificates cannot be read.
        """
        scheme, _, token = authorization.partition(" ")
        account = environ.get("TASK_SERVICE_ACCOUNT")
        audience = environ.get("FUNCTION_URL", "").rstrip("/")
        if scheme != "Bearer" or not (environ.get("TASK_QUEUE") and account and audience):
            return False
        from google.auth import jwt
        from google.auth.exceptions import GoogleAuthError

        decode: Any = jwt.decode
        ours = (audience, account, True)

        def is_ours(claims: Any) -> bool:
            return (claims["aud"], claims["email"], claims["email_verified"]) == ours

        try:
            # Check the claims before verifying them, so arbitrary tokens cause no fetch.
            if len(token) > MAX_TOKEN or not is_ours(decode(token, verify=False)):
                return False
            certificates = self._certificates.read(pause=CERTIFICATES_PAUSE)
            claims = decode(
                token, certificates, audience=audience, clock_skew_in_seconds=CLOCK_SKEW
            )
            return is_ours(claims) and claims["iss"] in ISSUERS
        except (GoogleAuthError, ValueError, KeyError, TypeError, RecursionError):
            return False


def _connect(credentials: "Credentials") -> "CloudTasksClient":
    from google.cloud.tasks_v2 import CloudTasksClient

    return CloudTasksClient(credentials=credentials)


def _message(task: Task, settings: Settings) -> "tasks_v2.Task":
    """Return a task in the form of Cloud Tasks."""
    from google.cloud import tasks_v2
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    audience = settings.function_url
    request = tasks_v2.HttpRequest(
        http_method=tasks_v2.HttpMethod.POST,
        url=f"{audience}/{task.action.name}",
        headers={"Content-Type": "application/json"},
        body=task.body(),
        oidc_token=tasks_v2.OidcToken(
            service_account_email=settings.task_service_account, audience=audience
        ),
    )
    return tasks_v2.Task(
        name=f"{settings.task_queue}/tasks/{task.name}",
        http_request=request,
        schedule_time=Timestamp(seconds=int(time.time() + task.pause)) if task.pause else None,
        dispatch_deadline=Duration(seconds=DISPATCH_DEADLINE),
    )


def _fetch_certificates(url: str, limit: TimeLimit) -> dict[str, str]:
    """Return Google's certificates, by the ids of their keys."""
    failure = QueueUnavailable("Google's certificates cannot be read: try again.")
    try:
        return limit.run(lambda: _download_certificates(url))
    except GoogleError as error:
        failure.severity = error.severity
    except Exception:  # noqa: BLE001, S110 - A malformed answer may cause any error.
        pass
    raise failure


def _download_certificates(url: str) -> dict[str, str]:
    """Return Google's certificates after trying each one; raise any error if one is unusable."""
    from google.auth.crypt import RSAVerifier

    verifier: Any = RSAVerifier
    headers = {"Accept-Encoding": "identity"}
    with (
        new_session() as session,
        session.get(
            url, headers=headers, timeout=CALL_TIMEOUT, allow_redirects=False, stream=True
        ) as answer,
    ):
        content = answer.raw.read(MAX_CERTIFICATES + 1)
    if answer.status_code != requests.codes.ok or len(content) > MAX_CERTIFICATES:
        raise ValueError
    certificates: dict[str, str] = json.loads(content)
    for certificate in certificates.values():
        verifier.from_string(certificate).verify(b"", b"")
    if not certificates:
        raise ValueError
    return certificates
