"""A Cloud Tasks on loopback: takes tasks over gRPC, delivers them over HTTP with OIDC tokens.

https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2
"""

import functools
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import flask
import google.auth.crypt
import google.auth.jwt
import grpc
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.tasks_v2.types import CreateTaskRequest, Task

from sandbox.function import Function, reserved_port, run_function
from sandbox.network import certify, private_pem
from sandbox.secrets import Secrets

QUEUE = "projects/project/locations/us-central1/queues/iconik"
ACCOUNT = "queue@project.iam.gserviceaccount.com"
CERTIFICATES = "/oauth2/v1/certs"

TIMEOUT = "1800"
"""The seconds that `make deploy` gives a function with a queue for each request."""

MIN_BACKOFF, MAX_BACKOFF = 30.0, 300.0
"""Seconds between the deliveries of a task, as `make deploy` sets them."""


class Key:
    """A key that OIDC tokens are signed with, as Google's own are."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = certify(key, "sandbox").decode()
        jwt: Any = google.auth.jwt
        signer: Any = google.auth.crypt.RSASigner
        self._sign = functools.partial(jwt.encode, signer.from_string(private_pem(key), "key-1"))

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
        return str(self._sign(usual | claims).decode())


class Waiting(NamedTuple):
    """A task that waits, with what it is sorted by.

    Attributes:
        due: the time of its delivery, in seconds since 1970.
        number: distinguishes tasks that are due at the same time.
        retries: the number of its earlier deliveries.
        task: the task.
    """

    due: float
    number: int
    retries: int
    task: Task


class Tasks:
    """A queue with the limits that `make deploy` sets: one delivery at a time, repeated later.

    Args:
        speed: how many times faster than Cloud Tasks it lets time pass.

    Attributes:
        created: the requests that created tasks.
        waiting: the tasks that wait, or are being delivered.
        answers: the statuses of the answers to all deliveries; 0: no answer came.
        is_away: whether it refuses new tasks.
        loses_answers: whether it takes a task and then fails to say so.
        google: the other services that the function needs for it.
        address: where Cloud Tasks is without TLS.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.key = Key()
        self.google = Secrets()
        self.address = ""
        self._speed, self._numbers = speed, itertools.count()
        self.reset()

    def reset(self) -> None:
        """Work well, and forget the tasks that there were."""
        self.created: list[CreateTaskRequest] = []
        self.waiting: list[Waiting] = []
        self.answers: list[int] = []
        self.is_away = self.loses_answers = False

    @contextmanager
    def run(self) -> Iterator[None]:
        """Deliver each task when it is due."""
        is_over = threading.Event()

        def deliver() -> None:
            while not is_over.wait(0.01):
                if self.waiting and min(self.waiting).due <= time.time():
                    self._deliver(min(self.waiting))

        threading.Thread(target=deliver, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def deliver(self) -> list[int]:
        """Deliver the tasks that wait, once and now, and return the statuses of the answers."""
        return [self._deliver(waiting) for waiting in sorted(self.waiting)]

    def _deliver(self, waiting: Waiting) -> int:
        status = self.post(waiting.task, waiting.retries)
        self.answers.append(status)
        if not 200 <= status < 300:
            pause = min(MAX_BACKOFF, MIN_BACKOFF * 2**waiting.retries)
            self._wait(waiting.task, pause, waiting.retries + 1)
        self.waiting.remove(waiting)
        return status

    def post(self, task: Task, retries: int = 0) -> int:
        """Deliver a task once, and return the status of the answer; 0: none came."""
        request = task.http_request
        token = self.key.token(request.oidc_token.audience)
        headers = {
            **request.headers,
            "Authorization": f"Bearer {token}",
            "X-CloudTasks-TaskRetryCount": str(retries),
        }
        try:
            return requests.post(
                request.url,
                data=request.body,
                headers=headers,
                timeout=task.dispatch_deadline.seconds,
            ).status_code
        except requests.RequestException:
            return 0

    def _wait(self, task: Task, seconds: float, retries: int = 0) -> None:
        due = time.time() + seconds / self._speed
        self.waiting.append(Waiting(due, next(self._numbers), retries, task))

    def certificates(self) -> dict[str, str]:
        """Return the certificates of the keys, as Google publishes its own."""
        return {"key-1": self.key.certificate}

    def create_task(self, request: CreateTaskRequest, context: grpc.ServicerContext) -> Task:
        """Take a task, or refuse it."""
        if self.is_away:
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        if request.task.name in [earlier.task.name for earlier in self.created]:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "taken")
        self.created.append(request)
        scheduled = request.task.schedule_time
        self._wait(request.task, scheduled.timestamp() - time.time() if scheduled else 0.0)  # type: ignore[attr-defined]
        if self.loses_answers:
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        return request.task

    @contextmanager
    def serve(self) -> Iterator[dict[str, str]]:
        """Serve the queue, and yield the environment of a function that is deployed with it."""
        app = flask.Flask("certificates")
        app.add_url_rule(CERTIFICATES, view_func=self.certificates)
        server = grpc.server(ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(
            self.create_task,
            request_deserializer=CreateTaskRequest.deserialize,
            response_serializer=Task.serialize,
        )
        service = "google.cloud.tasks.v2.CloudTasks"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"CreateTask": handler}),)
        )
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        self.address = f"127.0.0.1:{port}"
        network = self.google.network
        network.add_host("cloudtasks.googleapis.com", server)
        server.start()
        with (
            network.site("www.googleapis.com", app),
            self.google.serve() as google,
            network.serve() as proxy,
        ):
            try:
                yield {**google, **proxy, "TASK_QUEUE": QUEUE, "TASK_SERVICE_ACCOUNT": ACCOUNT}
            finally:
                server.stop(None)

    @contextmanager
    def run_function(self, settings: Mapping[str, str]) -> Iterator[Function]:
        """Run the function with this queue, as `make deploy` deploys it."""
        with reserved_port() as port, self.serve() as google:
            deployed = {
                "FUNCTION_URL": f"http://127.0.0.1:{port}",
                "CLOUD_RUN_TIMEOUT_SECONDS": TIMEOUT,
            }
            with run_function({**google, **deployed, **settings}, port=port) as function:
                yield function
