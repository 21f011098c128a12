"""A Secret Manager on loopback, over gRPC, and the metadata server whose tokens it demands.

https://cloud.google.com/secret-manager/docs/reference/rpc/google.cloud.secretmanager.v1
https://cloud.google.com/run/docs/container-contract#metadata-server
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import grpc
from google.auth.credentials import Credentials
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest as Request
from google.cloud.secretmanager_v1.types import AccessSecretVersionResponse as Response

from sandbox.function import Function, run_function
from sandbox.network import Network

Answer = Callable[[Request, grpc.ServicerContext], Response]
HOST = "secretmanager.googleapis.com"
PROJECT, TOKEN = "project", "of-the-functions-account"
EMAIL = "function@project.iam.gserviceaccount.com"
PROJECT_PATH = "/computeMetadata/v1/project/project-id"
ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"

METADATA: dict[str, object] = {
    "/": "computeMetadata/",
    PROJECT_PATH: PROJECT,
    f"{ACCOUNTS}/default/": {"email": EMAIL, "scopes": []},
    f"{ACCOUNTS}/{EMAIL}/": {"email": EMAIL, "scopes": []},
    f"{ACCOUNTS}/default/token": {
        "access_token": TOKEN,
        "expires_in": 3600,
        "token_type": "Bearer",
    },
}


def found(data: bytes) -> Answer:
    """Return an answer with a secret."""
    return lambda *_: Response(payload={"data": data, "data_crc32c": google_crc32c.value(data)})


def refused(code: grpc.StatusCode) -> Answer:
    """Return an answer that is an error."""

    def refuse(_: Request, context: grpc.ServicerContext) -> Response:
        context.abort(code, "of no interest")
        return Response()

    return refuse


def connect(kind: Any, address: str, credentials: Credentials) -> Any:
    """Return a real client of Google's, of some kind, connected to an address on loopback."""
    # These take the place of TLS alone: a token goes along as ever.
    local = grpc.local_channel_credentials()
    transport = kind.get_transport_class("grpc")
    return kind(
        transport=transport(host=address, credentials=credentials, ssl_channel_credentials=local)
    )


class Secrets:
    """The secrets of a project.

    Attributes:
        answers: what is answered for the latest version of a secret, by its name.
        accesses: the names of the secrets that were asked for.
        network: between the function and Secret Manager.
        address: where Secret Manager is without TLS.
        asked: the paths that the metadata server was asked for.
        silent: the path that the metadata server does not answer.
        drips: whether it sends a byte now and then instead.
        speaks: is set when what hangs or drips shall come to an end.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.accesses: list[str] = []
        self.network = Network()
        self.address = ""
        self.asked: list[str] = []
        self.silent, self.drips = "", False
        self.speaks = threading.Event()

    def access(self, request: Request, context: grpc.ServicerContext) -> Response:
        """Answer a request for a secret."""
        if ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        path, _, name = request.name.removesuffix("/versions/latest").rpartition("/")
        self.accesses.append(name)
        missing = refused(grpc.StatusCode.NOT_FOUND)
        answer = (
            self.answers.get(name, missing) if path == f"projects/{PROJECT}/secrets" else missing
        )
        return answer(request, context)

    def hang(self, *_: object) -> Response:
        """Be the answer to a request that gets none."""
        self.speaks.wait()
        return Response()

    @contextmanager
    def serve(self) -> Iterator[dict[str, str]]:
        """Serve the secrets, and yield the environment of a function that is deployed with them."""
        handler = grpc.unary_unary_rpc_method_handler(
            self.access,
            request_deserializer=Request.deserialize,
            response_serializer=Response.serialize,
        )
        service = "google.cloud.secretmanager.v1.SecretManagerService"
        server = grpc.server(ThreadPoolExecutor(8))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"AccessSecretVersion": handler}),)
        )
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        self.address = f"127.0.0.1:{port}"
        self.network.add_host(HOST, server)
        server.start()
        with _Metadata(self) as metadata:
            threading.Thread(target=metadata.serve_forever, args=(0.01,), daemon=True).start()
            address = f"127.0.0.1:{metadata.server_port}"
            try:
                yield {
                    "K_SERVICE": "iconik-handler",
                    "GOOGLE_CLOUD_PROJECT": PROJECT,
                    "GCE_METADATA_HOST": address,
                    "GCE_METADATA_IP": address,
                    "CLOUDSDK_CONFIG": "/nonexistent",  # No credentials of the developer's own.
                }
            finally:
                self.speaks.set()
                metadata.shutdown()
                server.stop(None)

    @contextmanager
    def run_function(self, settings: Mapping[str, str]) -> Iterator[Function]:
        """Run the function with these secrets."""
        with ExitStack() as stack:
            google = stack.enter_context(self.serve()) | stack.enter_context(self.network.serve())
            yield stack.enter_context(run_function({**google, **settings}))


class _Metadata(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, secrets: Secrets) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets = secrets

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what goes wrong, but for clients that break off."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Metadata

    def do_GET(self) -> None:
        """Answer what is known, sooner or later."""
        path, secrets = urlsplit(self.path).path, self.server.secrets
        secrets.asked.append(path)
        while path == secrets.silent and not secrets.speaks.wait(0.5):
            if secrets.drips:
                self.wfile.write(b"x")
        value = METADATA.get(path)
        is_text = isinstance(value, str)
        self.send_response(404 if value is None else 200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/text" if is_text else "application/json")
        self.end_headers()
        self.wfile.write((str(value) if is_text else json.dumps(value)).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""
