"""Cloud Tasks: handing over a task, and recognizing its delivery.

https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

import functools
import time
from collections.abc import Mapping
from typing import Any

from storage_plugin.errors import QueueUnavailable
from storage_plugin.secret_manager import GoogleError, call_google, google_credentials
from storage_plugin.settings import Settings

DISPATCH_DEADLINE = 1800
"""Seconds that Cloud Tasks waits for an answer, the longest time that it allows."""

MAX_TOKEN = 4096
"""The longest token that is verified, in bytes."""

CERTIFICATES_TIMEOUT = 3.0
"""Seconds to connect to the server with Google's certificates, and to read from it."""

CLOCK_SKEW = 10
"""Seconds by which the clocks of this machine and Google may differ."""


def hand_over(settings: Settings, *, path: str, name: str, body: bytes, delay: float = 0.0) -> None:
    """Have Cloud Tasks post a body to the function until the answer is a success.

    Args:
        settings: the settings with the queue, its account and the function's URL.
        path: the path and query of the task's URL.
        name: the name of the task: letters, digits, hyphens and underscores. The queue accepts a
            name only once, so handing over the same task again does nothing.
        body: the JSON object to post.
        delay: seconds until the first delivery.

    Raises:
        QueueUnavailable: the queue did not accept the task.
    """

    def create(seconds: float) -> None:
        from google.cloud import tasks_v2
        from google.protobuf.duration_pb2 import Duration
        from google.protobuf.timestamp_pb2 import Timestamp

        task = tasks_v2.Task(
            name=f"{settings.task_queue}/tasks/{name}",
            http_request=tasks_v2.HttpRequest(
                http_method=tasks_v2.HttpMethod.POST,
                url=settings.function_url + path,
                headers={"Content-Type": "application/json"},
                body=body,
                oidc_token=tasks_v2.OidcToken(
                    service_account_email=settings.task_service_account,
                    audience=settings.function_url,
                ),
            ),
            schedule_time=Timestamp(seconds=int(time.time() + delay)) if delay else None,
            dispatch_deadline=Duration(seconds=DISPATCH_DEADLINE),
        )
        credentials, _ = google_credentials()
        with tasks_v2.CloudTasksClient(credentials=credentials) as client:
            client.create_task(
                parent=str(settings.task_queue), task=task, timeout=seconds, retry=None
            )

    try:
        call_google(create)
    except GoogleError as error:
        if str(error) != "ALREADY_EXISTS":
            raise QueueUnavailable(
                f"The queue did not accept the action ({error}): try again, or check TASK_QUEUE "
                "and the roles of the function's account."
            ) from None


def is_delivery(authorization: str, environ: Mapping[str, str]) -> bool:
    """Whether the queue sent a request, with an OIDC token that Google signed for it.

    https://cloud.google.com/run/docs/authenticating/service-to-service

    Args:
        authorization: the request's `Authorization` header.
        environ: the environment with the queue, its account and the function's URL, which is the
            token's audience.

    Raises:
        QueueUnavailable: Google's certificates cannot be read.
    """
    scheme, _, token = authorization.partition(" ")
    account = environ.get("TASK_SERVICE_ACCOUNT")
    audience = environ.get("FUNCTION_URL", "").rstrip("/")
    is_configured = environ.get("TASK_QUEUE") and account and audience
    if scheme != "Bearer" or len(token) > MAX_TOKEN or not is_configured:
        return False
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request
    from google.oauth2.id_token import verify_oauth2_token

    def is_ours(claims: Any) -> bool:
        given = (claims["aud"], claims["email"], claims["email_verified"])
        return given == (audience, account, True)

    try:
        # Other tokens are refused before any certificates are fetched.
        if not is_ours(jwt.decode(token, verify=False)):
            return False
        request = functools.partial(Request(), timeout=CERTIFICATES_TIMEOUT)
        return is_ours(
            verify_oauth2_token(token, request, audience=audience, clock_skew_in_seconds=CLOCK_SKEW)
        )
    except TransportError:
        raise QueueUnavailable("Google's certificates cannot be read: try again.") from None
    except (GoogleAuthError, ValueError, KeyError, TypeError, RecursionError):
        return False
