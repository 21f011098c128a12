"""Handing long work to Cloud Tasks, and recognising it when it comes back.

https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from storage_plugin.errors import QueueUnavailable

if TYPE_CHECKING:
    from google.cloud.tasks_v2 import CloudTasksClient

TIMEOUT = 3.0
"""Seconds for one call."""

DISPATCH_DEADLINE = 1800
"""Seconds that Cloud Tasks waits for an answer, the most that it may."""

KEEP = 3600.0
"""Seconds for which Google's certificates are kept; it publishes new ones long before their use."""


class TaskQueue:
    """Cloud Tasks. Its libraries are slow to import, so that waits for the first use.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._client: CloudTasksClient | None = None
        self._certificates: tuple[Any, float] = (None, float("-inf"))
        self._lock = threading.Lock()

    def hand_over(self, queue: str, account: str, audience: str, path: str, body: bytes) -> None:
        """Have a request sent to the function, until it is answered well.

        Args:
            queue: the queue's full name.
            account: e-mail of the service account whose OIDC token goes along.
            audience: the function's URL, for which the token is made out.
            path: what follows the function's URL.
            body: of the request.

        Raises:
            QueueUnavailable: the queue did not take it.
        """
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import tasks_v2
        from google.protobuf.duration_pb2 import Duration

        request = tasks_v2.HttpRequest(
            http_method=tasks_v2.HttpMethod.POST,
            url=audience + path,
            headers={"Content-Type": "application/json"},
            body=body,
            oidc_token=tasks_v2.OidcToken(service_account_email=account, audience=audience),
        )
        task = tasks_v2.Task(
            http_request=request, dispatch_deadline=Duration(seconds=DISPATCH_DEADLINE)
        )
        try:
            with self._lock:
                self._client = self._client or tasks_v2.CloudTasksClient()
            self._client.create_task(parent=queue, task=task, timeout=TIMEOUT, retry=None)
        except (GoogleAPIError, GoogleAuthError) as error:
            raise QueueUnavailable(
                f"The queue does not take the action ({type(error).__name__}), nothing is done: "
                "try again, or see to TASK_QUEUE and to the roles of the function's account."
            ) from None

    def is_sender(self, token: str, account: str, audience: str) -> bool:
        """Whether an OIDC token is Google's, made out for this function to this account.

        https://cloud.google.com/run/docs/authenticating/service-to-service

        Raises:
            QueueUnavailable: Google's certificates cannot be read.
        """
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.oauth2 import id_token

        try:
            claims = id_token.verify_oauth2_token(  # type: ignore[no-untyped-call]
                token, self._fetch, audience, clock_skew_in_seconds=10
            )
        except TransportError:
            raise QueueUnavailable("Google's certificates cannot be read: try again.") from None
        except (GoogleAuthError, ValueError, KeyError):
            return False
        return claims.get("email_verified") is True and claims.get("email") == account

    def _fetch(self, url: str, method: str = "GET") -> Any:
        """Fetch Google's certificates, or return the kept ones."""
        import google.auth.transport.requests

        with self._lock:
            response, fetched = self._certificates
            if fetched < self._clock() - KEEP:
                fetch = google.auth.transport.requests.Request()
                response = fetch(url, method, timeout=TIMEOUT)
                if response.status == 200:
                    self._certificates = (response, self._clock())
            return response
