"""Handing long work to Cloud Tasks, and recognising it when it comes back.

https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage_plugin.errors import BodyTooLarge, QueueUnavailable

if TYPE_CHECKING:
    from google.cloud.tasks_v2 import CloudTasksClient

TIMEOUT = 3.0
"""Seconds for one call."""

DISPATCH_DEADLINE = 1800
"""Seconds that Cloud Tasks waits for an answer, the most that it may."""

ATTEMPTS = 20
"""How often the queue delivers a task, as the README sets it up."""

MAX_BODY = 900_000
"""Bytes of the largest body that is handed over: a task may have 1 MB."""

MAX_TOKEN = 4096
"""Bytes of the longest token that is looked at."""

PAUSE = 10.0
"""Seconds after which Google's certificates are asked for again where they could not be read."""

KEEP = 3600.0
"""Seconds for which Google's certificates are kept; it publishes new ones long before their use."""


@dataclass(frozen=True)
class Delivery:
    """A task, as the queue sends it.

    Attributes:
        task: its name.
        is_last: whether the queue gives it up if it fails once more.
    """

    task: str
    is_last: bool


def read_delivery(task: str, retries: str) -> Delivery:
    """Read what the queue's headers say; they prove nothing of where a request is from.

    https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler

    Args:
        task: the header `X-CloudTasks-TaskName`.
        retries: the header `X-CloudTasks-TaskRetryCount`.
    """
    return Delivery(task, retries.isdecimal() and int(retries) >= ATTEMPTS - 1)


class TaskQueue:
    """Cloud Tasks. Its libraries are slow to import, so that waits for the first use.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._client: CloudTasksClient | None = None
        self._certificates: Any = None
        self._ask_from = float("-inf")
        self._client_lock, self._certificates_lock = threading.Lock(), threading.Lock()

    def hand_over(
        self,
        queue: str,
        account: str,
        audience: str,
        path: str,
        body: bytes,
        *,
        name: str = "",
        pause: float = 0,
    ) -> None:
        """Have a request sent to the function, until it is answered well.

        Args:
            queue: the queue's full name.
            account: e-mail of the service account whose OIDC token goes along.
            audience: the function's URL, for which the token is made out.
            path: what follows the function's URL.
            body: of the request.
            name: by which the queue knows the task, so that it takes it once; empty: none.
            pause: seconds that pass before it is sent.

        Raises:
            BodyTooLarge: no task may be so large.
            QueueUnavailable: the queue did not take it.
        """
        if len(body) > MAX_BODY:
            raise BodyTooLarge("The selection is too large for a task: select a collection.")
        from google.api_core.exceptions import AlreadyExists, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import tasks_v2
        from google.protobuf.duration_pb2 import Duration
        from google.protobuf.timestamp_pb2 import Timestamp

        request = tasks_v2.HttpRequest(
            http_method=tasks_v2.HttpMethod.POST,
            url=audience + path,
            headers={"Content-Type": "application/json"},
            body=body,
            oidc_token=tasks_v2.OidcToken(service_account_email=account, audience=audience),
        )
        task = tasks_v2.Task(
            name=f"{queue}/tasks/{name}" if name else None,
            http_request=request,
            schedule_time=Timestamp(seconds=int(time.time() + pause)) if pause else None,
            dispatch_deadline=Duration(seconds=DISPATCH_DEADLINE),
        )
        try:
            with self._client_lock:
                self._client = self._client or tasks_v2.CloudTasksClient()
            self._client.create_task(parent=queue, task=task, timeout=TIMEOUT, retry=None)
        except AlreadyExists:
            return  # The same was handed over by an earlier delivery of the same task.
        except (GoogleAPIError, GoogleAuthError) as error:
            raise QueueUnavailable(
                f"The queue did not take the action ({type(error).__name__}): try again, or see to "
                "TASK_QUEUE and to the roles of the function's account."
            ) from None

    def is_sender(self, token: str, account: str, audience: str) -> bool:
        """Whether an OIDC token is Google's, made out for this function to this account.

        https://cloud.google.com/run/docs/authenticating/service-to-service

        Raises:
            QueueUnavailable: Google's certificates cannot be read.
        """
        from google.auth import jwt
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.oauth2 import id_token

        def is_ours(claims: Any) -> bool:
            return (claims["aud"], claims["email"], claims["email_verified"]) == (
                audience,
                account,
                True,
            )

        try:
            # Looked at unverified first, so that strangers do not make it fetch certificates.
            if len(token) > MAX_TOKEN or not is_ours(jwt.decode(token, verify=False)):  # type: ignore[no-untyped-call]
                return False
            verify: Any = id_token.verify_oauth2_token
            return is_ours(verify(token, self._fetch, audience, clock_skew_in_seconds=10))
        except TransportError:
            raise QueueUnavailable("Google's certificates cannot be read: try again.") from None
        except (GoogleAuthError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def _fetch(self, url: str, method: str = "GET") -> Any:
        """Fetch Google's certificates, or return the kept ones."""
        import google.auth.transport.requests
        from google.auth.exceptions import TransportError

        with self._certificates_lock:
            if self._clock() >= self._ask_from:
                self._certificates, self._ask_from = None, self._clock() + PAUSE
                response = google.auth.transport.requests.Request()(url, method, timeout=TIMEOUT)
                keys = json.loads(response.data) if response.status == 200 else {}
                if keys and all(isinstance(key, str) for key in keys.values()):
                    self._certificates, self._ask_from = response, self._clock() + KEEP
            if self._certificates is None:
                raise TransportError("no certificates")  # type: ignore[no-untyped-call]
            return self._certificates
