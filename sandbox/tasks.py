"""A Cloud Tasks on loopback: takes tasks over gRPC, delivers them over HTTP with OIDC tokens.

https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2
"""

import functools
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

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


class Tasks:
    """A queue that delivers when it is told to.

    Attributes:
        created: the requests that created tasks.
        is_away: whether it refuses new ones.
        loses_answers: whether it takes one and then fails to say so.
        google: the other services that the function needs for it.
        address: where Cloud Tasks is without TLS.
        retries: the number of deliveries that are added to those of each task, as its header says.
        fetches: how often the certificates were fetched.
        has_certificates: whether the server with the certificates works.
    """

    def __init__(self) -> None:
        self.key = Key()
        self.google = Secrets()
        self.address = ""
        self.reset()

    def reset(self) -> None:
        """Work well, and forget the tasks that there were."""
        self.created: list[CreateTaskRequest] = []
        self.is_away = self.loses_answers = False
        self.has_certificates = True
        self.retries = self.fetches = 0
        self._waiting: list[Task] = []
        self._deliveries: Counter[str] = Counter()

    def deliver(self, attempts: int = 1, side_by_side: int = 1) -> list[int]:
        """Deliver what waits, and return the statuses of the answers.

        Args:
            attempts: how often a task is delivered at most.
            side_by_side: how many tasks are delivered at a time.
        """
        statuses = []
        for _ in range(attempts):
            waiting, self._waiting = self._waiting, []
            with ThreadPoolExecutor(side_by_side) as pool:
                answers = list(pool.map(self.post, waiting))
            statuses += answers
            tasks = zip(waiting, answers, strict=True)
            self._waiting += [task for task, status in tasks if not 200 <= status < 300]
        return statuses

    def deliver_newest(self) -> list[int]:
        """Deliver the task that came last; return the status of the answer."""
        return [self.post(self._waiting.pop())]

    def post(self, task: Task) -> int:
        """Deliver a task once and return the status of the answer, 0 where none came."""
        token = self.key.token(task.http_request.oidc_token.audience)
        request = task.http_request
        headers = {**request.headers, "Authorization": f"Bearer {token}"}
        headers["X-CloudTasks-TaskName"] = task.name.rpartition("/")[2]
        headers["X-CloudTasks-TaskRetryCount"] = str(self.retries + self._deliveries[task.name])
        self._deliveries[task.name] += 1
        try:
            return requests.post(
                request.url, data=request.body, headers=headers, timeout=600
            ).status_code
        except requests.RequestException:
            return 0

    def certificates(self) -> dict[str, str]:
        """Return the certificates of the keys, as Google publishes its own."""
        self.fetches += 1
        if not self.has_certificates:
            flask.abort(503)
        return {"key-1": self.key.certificate}

    def create_task(self, request: CreateTaskRequest, context: grpc.ServicerContext) -> Task:
        """Take a task, or refuse it."""
        if self.is_away:
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        if request.task.name in [earlier.task.name for earlier in self.created]:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "taken")
        request.task.name = request.task.name or f"{request.parent}/tasks/{len(self.created)}"
        self.created.append(request)
        self._waiting.append(request.task)
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
        """Run the function with this queue."""
        with reserved_port() as port, self.serve() as google:
            url = {"FUNCTION_URL": f"http://127.0.0.1:{port}"}
            with run_function({**google, **settings, **url}, port=port) as function:
                yield function
