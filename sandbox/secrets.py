"""A Secret Manager on loopback, over gRPC, and the metadata server whose tokens it demands.

https://cloud.google.com/secret-manager/docs/reference/rpc/google.cloud.secretmanager.v1
https://cloud.google.com/run/docs/container-contract#metadata-server
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flask
import google_crc32c
import grpc
from flask.typing import ResponseReturnValue
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest as Request
from google.cloud.secretmanager_v1.types import AccessSecretVersionResponse as Response

from sandbox.faults import Faults
from sandbox.function import Function, run_function
from sandbox.network import Network
from sandbox.server import serve

Answer = Callable[[Request, grpc.ServicerContext], Response]
METHOD = "google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"
PROJECT, TOKEN = "project", "of-the-functions-account"
ACCOUNT = {"email": "function@project.iam.gserviceaccount.com", "scopes": []}
PROJECT_PATH = "/computeMetadata/v1/project/project-id"
ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"
METADATA: dict[str, Any] = {
    "/": "computeMetadata/",
    PROJECT_PATH: PROJECT,
    f"{ACCOUNTS}/default/": ACCOUNT,
    f"{ACCOUNTS}/{ACCOUNT['email']}/": ACCOUNT,
    f"{ACCOUNTS}/default/token": {"access_token": TOKEN, "expires_in": 3600, "token_type": "x"},
}


def found(data: bytes) -> Answer:
    """Return an answer with a secret."""
    return lambda *_: Response(payload={"data": data, "data_crc32c": google_crc32c.value(data)})


def refused(code: grpc.StatusCode) -> Answer:
    """Return an answer that is an error."""
    return lambda _, context: context.abort(code, "of no interest")


def hang(_: Request, context: grpc.ServicerContext) -> Response:
    """Answer when nobody waits any more."""
    while context.is_active():
        time.sleep(0.1)
    return Response()


class Secrets:
    """The secrets of a project, and what else a function needs to read them."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}  # For the latest version of each secret.
        self.accesses: list[str] = []  # The secrets that were asked for.
        self.asked: list[str] = []  # The paths that the metadata server was asked for.
        self.faults = Faults()  # What goes wrong with requests to the metadata server.
        self.network = Network()

    def access(self, request: Request, context: grpc.ServicerContext) -> Response:
        """Answer a request for a secret."""
        if ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        path, _, name = request.name.removesuffix("/versions/latest").rpartition("/")
        self.accesses.append(name)
        answers = self.answers if path == f"projects/{PROJECT}/secrets" else {}
        return answers.get(name, refused(grpc.StatusCode.NOT_FOUND))(request, context)

    def _metadata(self) -> ResponseReturnValue:
        self.asked.append(flask.request.path)
        value = METADATA.get(flask.request.path)
        return ("", 404) if value is None else (value, {"Metadata-Flavor": "Google"})

    @contextmanager
    def serve(self) -> Iterator[dict[str, str]]:
        """Serve the secrets, and yield the environment of a function that is deployed with them."""
        app = flask.Flask("metadata", static_folder=None)
        app.before_request(self._metadata)
        rpc = self.network.rpc("secretmanager", METHOD, self.access, takes=Request, gives=Response)
        with rpc, serve(app, self.faults) as url, self.network.serve() as proxy:
            metadata = url.removeprefix("http://")
            yield proxy | {
                "K_SERVICE": "iconik-handler",
                "GOOGLE_CLOUD_PROJECT": PROJECT,
                "GCE_METADATA_HOST": metadata,
                "GCE_METADATA_IP": metadata,
                "CLOUDSDK_CONFIG": "/nonexistent",  # No credentials of the developer's own.
            }

    @contextmanager
    def run_function(self, settings: Mapping[str, str]) -> Iterator[Function]:
        """Run the function as it is deployed with these services."""
        with self.serve() as google, run_function({**google, **settings}) as function:
            yield function
