"""A Cloud Tasks on loopback: takes tasks over gRPC, delivers them over HTTP with OIDC tokens.

https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2
"""

import bisect
import operator
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import flask
import grpc
import requests
from cryptography.hazmat.primitives.serialization import Encoding
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.cloud.tasks_v2.types import CreateTaskRequest, Task
from werkzeug.serving import generate_adhoc_ssl_pair

from sandbox.secrets import Secrets

METHOD = "google.cloud.tasks.v2.CloudTasks/CreateTask"
QUEUE = "projects/project/locations/us-central1/queues/iconik"
ACCOUNT = "queue@project.iam.gserviceaccount.com"
CERTIFICATES = "/oauth2/v1/certs"

TIMEOUT = "1800"  # The seconds that `make deploy` gives a function with a queue for each request.
MIN_BACKOFF, MAX_BACKOFF = 30.0, 300.0  # Seconds between deliveries, as `make deploy` sets them.


class Key:
    """A key that OIDC tokens are signed with, as Google's own are."""

    def __init__(self) -> None:
        certificate, key = generate_adhoc_ssl_pair("sandbox")
        self.certificate = certificate.public_bytes(Encoding.PEM).decode()
        self._signer = RSASigner(key, "key-1")

    def token(self, audience: str, **claims: object) -> str:
        """Return a token for an audience, with Cloud Tasks' claims unless others are given."""
        now = int(time.time())
        usual = {
            "iss": "https://accounts.google.com",
            "aud": audience,
            "iat": now,
            "exp": now + 600,
            "email": ACCOUNT,
            "email_verified": True,
        }
        return str(jwt.encode(self._signer, usual | claims).decode())


class Waiting(NamedTuple):
    """A task that waits."""

    due: float  # In seconds since 1970.
    retries: int  # Its earlier deliveries.
    task: Task


class Tasks(Secrets):
    """A project with a queue, too, which delivers one task at a time, and repeats what fails.

    It lets time pass `speed` times faster than Cloud Tasks.
    """

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__()
        self.key, self._speed = Key(), speed
        self.reset()

    def reset(self) -> None:
        """Work well, and forget the tasks that there were."""
        self.created: list[CreateTaskRequest] = []
        self.waiting: list[Waiting] = []  # Also what is being delivered; the first is due first.
        self.statuses: list[int] = []  # Those of the answers to deliveries; 0: none came.
        self.is_away = False  # It refuses new tasks.
        self.loses_answers = False  # It takes a task, and then fails to say so.

    @contextmanager
    def run(self) -> Iterator[None]:
        """Deliver each task when it is due."""
        is_over = threading.Event()

        def deliver() -> None:
            while not is_over.wait(0.01):
                if self.waiting and self.waiting[0].due <= time.time():
                    self._deliver(self.waiting[0])

        threading.Thread(target=deliver, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def deliver(self) -> list[int]:
        """Deliver the tasks that wait, once and now, and return the statuses of the answers."""
        return [*map(self._deliver, [*self.waiting])]

    def _deliver(self, waiting: Waiting) -> int:
        _, retries, task = waiting
        self.statuses.append(status := self.post(task, retries))
        if not 200 <= status < 300:
            self._wait(task, min(MAX_BACKOFF, MIN_BACKOFF * 2**retries), retries + 1)
        self.waiting.remove(waiting)
        return status

    def _wait(self, task: Task, seconds: float, retries: int = 0) -> None:
        waiting = Waiting(time.time() + seconds / self._speed, retries, task)
        bisect.insort(self.waiting, waiting, key=operator.attrgetter("due"))

    def post(self, task: Task, retries: int = 0) -> int:
        """Deliver a task once, and return the status of the answer; 0: none came."""
        request = task.http_request
        headers = {
            **request.headers,
            "Authorization": f"Bearer {self.key.token(request.oidc_token.audience)}",
            "X-CloudTasks-TaskRetryCount": str(retries),
        }
        try:
            seconds = task.dispatch_deadline.seconds
            answer = requests.post(request.url, request.body, headers=headers, timeout=seconds)
            return answer.status_code
        except requests.RequestException:
            return 0

    def create_task(self, request: CreateTaskRequest, context: grpc.ServicerContext) -> Task:
        """Take a task, once by its name."""
        if self.is_away:
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        if request.task.name in [earlier.task.name for earlier in self.created]:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "taken")
        self.created.append(request)
        scheduled: Any = request.task.schedule_time
        self._wait(request.task, scheduled.timestamp() - time.time() if scheduled else 0.0)
        if self.loses_answers:
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        return request.task

    @contextmanager
    def serve(self) -> Iterator[dict[str, str]]:
        """Serve the queue, too, and yield the environment of a function that has one."""
        certificates = flask.Flask("certificates", static_folder=None)
        certificates.add_url_rule(CERTIFICATES, view_func=lambda: {"key-1": self.key.certificate})
        kinds = {"takes": CreateTaskRequest, "gives": Task}
        rpc = self.network.rpc("cloudtasks", METHOD, self.create_task, **kinds)
        with rpc, self.network.site(certificates), super().serve() as google:
            yield google | {
                "TASK_QUEUE": QUEUE,
                "TASK_SERVICE_ACCOUNT": ACCOUNT,
                "CLOUD_RUN_TIMEOUT_SECONDS": TIMEOUT,
            }
