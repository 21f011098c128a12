"""Handing long work to Cloud Tasks, and recognising it when it comes back.

https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import requests

from storage_plugin.background.task import Task
from storage_plugin.errors import PluginError
from storage_plugin.kept import Kept
from storage_plugin.settings import Settings
from storage_plugin.wire import new_session

if TYPE_CHECKING:
    from google.cloud.tasks_v2 import CloudTasksClient

CALL_TIMEOUT = 3.0
"""Seconds for one call of Cloud Tasks, or for Google's certificates."""

DISPATCH_DEADLINE = 1800
"""Seconds that Cloud Tasks waits for an answer, the most that it may."""

MAX_TOKEN = 4096
"""Bytes of the longest token that is looked at."""

CERTIFICATES_PAUSE = 10.0
"""Seconds after which Google's certificates are asked for again where they could not be read."""

CERTIFICATES_KEPT = 3600.0
"""Seconds for which Google's certificates are kept; it publishes new ones long before their use."""


CLOCK_SKEW = 10
"""Seconds that the clock of this machine may differ from Google's."""

ISSUERS = ("accounts.google.com", "https://accounts.google.com")
"""https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload"""


class QueueUnavailable(PluginError):
    """Cloud Tasks, or what it is recognised by, cannot be reached."""

    status = 503
    can_retry = True


class TaskQueue:
    """Cloud Tasks. Its libraries are slow to import, so that waits for the first use.

    Args:
        certificates_url: where Google's certificates are.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        certificates_url: str = "https://www.googleapis.com/oauth2/v1/certs",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client: CloudTasksClient | None = None
        self._client_lock = threading.Lock()
        fetch = functools.partial(_fetch_certificates, certificates_url)
        self._certificates = Kept(fetch, CERTIFICATES_KEPT, clock)

    def hand_over(self, task: Task, settings: Settings) -> None:
        """Have a task sent to the function, until it is answered well.

        Raises:
            QueueUnavailable: the queue did not take it.
        """
        body = task.body()
        from google.api_core.exceptions import AlreadyExists, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import tasks_v2
        from google.protobuf.duration_pb2 import Duration
        from google.protobuf.timestamp_pb2 import Timestamp

        queue, audience = str(settings.task_queue), settings.function_url
        request = tasks_v2.HttpRequest(
            http_method=tasks_v2.HttpMethod.POST,
            url=f"{audience}/{task.action.name}",
            headers={"Content-Type": "application/json"},
            body=body,
            oidc_token=tasks_v2.OidcToken(
                service_account_email=settings.task_service_account, audience=audience
            ),
        )
        created = tasks_v2.Task(
            name=f"{queue}/tasks/{task.name}" if task.name else None,
            http_request=request,
            schedule_time=Timestamp(seconds=int(time.time() + task.pause)) if task.pause else None,
            dispatch_deadline=Duration(seconds=DISPATCH_DEADLINE),
        )
        try:
            with self._client_lock:
                self._client = self._client or tasks_v2.CloudTasksClient()
            self._client.create_task(parent=queue, task=created, timeout=CALL_TIMEOUT, retry=None)
        except AlreadyExists:
            return  # The same was handed over by an earlier delivery of the same task.
        except (GoogleAPIError, GoogleAuthError) as error:
            raise QueueUnavailable(
                f"The queue did not take the action ({type(error).__name__}): try again, or see to "
                "TASK_QUEUE and to the roles of the function's account."
            ) from None

    def is_sender(self, authorization: str, environ: Mapping[str, str]) -> bool:
        """Whether a request comes from the queue: Google has signed its OIDC token for us.

        https://cloud.google.com/run/docs/authenticating/service-to-service

        Args:
            authorization: the header of the request.
            environ: names the queue, its account and the function's URL, the token's audience.

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
            # Looked at unverified first, so that strangers do not make it fetch certificates.
            if len(token) > MAX_TOKEN or not is_ours(decode(token, verify=False)):
                return False
            certificates = self._certificates.read(pause=CERTIFICATES_PAUSE)
            claims = decode(
                token, certificates, audience=audience, clock_skew_in_seconds=CLOCK_SKEW
            )
            return is_ours(claims) and claims["iss"] in ISSUERS
        except (GoogleAuthError, ValueError, KeyError, TypeError, RecursionError):
            return False


def _fetch_certificates(url: str) -> dict[str, str]:
    """Return Google's certificates by the ids of their keys, each one parsed on trial."""
    from google.auth.crypt import RSAVerifier

    parse: Any = RSAVerifier.from_string
    try:
        answer = new_session().get(url, timeout=CALL_TIMEOUT, allow_redirects=False)
        certificates = dict(answer.json())
        if answer.status_code == requests.codes.ok and certificates:
            for certificate in certificates.values():
                parse(certificate)
            return certificates
    except (requests.RequestException, ValueError, TypeError, RecursionError):
        pass
    raise QueueUnavailable("Google's certificates cannot be read: try again.")
