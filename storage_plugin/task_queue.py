"""Cloud Tasks: handing over a task, and recognizing its delivery.

https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

import functools
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from storage_plugin.errors import QueueUnavailable
from storage_plugin.secret_manager import GoogleError, call_google, google_credentials
from storage_plugin.settings import Settings

DISPATCH_DEADLINE = 1800  # Seconds that Cloud Tasks waits for an answer, the most it allows.


def hand_over(settings: Settings, *, path: str, name: str, body: bytes, delay: float = 0.0) -> None:
    """Have Cloud Tasks post a JSON object to the function until the answer is a success.

    The first delivery is `delay` seconds from now. The queue accepts a name of letters, digits,
    hyphens and underscores only once, so handing over the same task again does nothing. Raises
    QueueUnavailable if the queue does not accept the task.
    """
    url = settings.function_url
    task = {
        "name": f"{settings.task_queue}/tasks/{name}",
        "http_request": {
            "http_method": "POST",
            "url": url + path,
            "headers": {"Content-Type": "application/json"},
            "body": body,
            "oidc_token": {"service_account_email": settings.task_service_account, "audience": url},
        },
        "schedule_time": datetime.now(timezone.utc) + timedelta(seconds=delay),
        "dispatch_deadline": timedelta(seconds=DISPATCH_DEADLINE),
    }

    def create(seconds: float) -> str:
        from google.cloud.tasks_v2 import CloudTasksClient

        request = {"parent": settings.task_queue, "task": task}
        with CloudTasksClient(credentials=google_credentials()[0]) as client:
            return client.create_task(request, timeout=seconds, retry=None).name

    try:
        call_google(create)
    except GoogleError as error:
        if str(error) != "AlreadyExists":
            remedy = "try again, or check TASK_QUEUE and the account's roles"
            raise QueueUnavailable(f"The queue accepts no task ({error}): {remedy}.") from None


def is_delivery(authorization: str, environ: Mapping[str, str]) -> bool:
    """Whether the queue sent a request, by its OIDC token in the `Authorization` header.

    Raises QueueUnavailable if Google's certificates cannot be read.

    https://cloud.google.com/run/docs/authenticating/service-to-service
    """
    scheme, _, token = authorization.partition(" ")
    account = environ.get("TASK_SERVICE_ACCOUNT")
    audience = environ.get("FUNCTION_URL", "").rstrip("/")
    if scheme != "Bearer" or not (environ.get("TASK_QUEUE") and account and audience):
        return False
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request
    from google.oauth2.id_token import verify_oauth2_token

    request = functools.partial(Request(), timeout=3.0)  # For Google's certificates.
    try:
        claims = jwt.decode(token, verify=False)
        if (claims["aud"], claims["email"], claims["email_verified"]) != (audience, account, True):
            return False  # Other tokens are refused before any certificates are fetched.
        verify_oauth2_token(token, request, audience=audience, clock_skew_in_seconds=10)
    except TransportError:
        raise QueueUnavailable("Google's certificates cannot be read: try again.") from None
    except (GoogleAuthError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return True
