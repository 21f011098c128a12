"""Google's hosts on loopback, which the function and gcloud reach over TLS.

gRPC, requests and gcloud connect through a proxy that the environment names, and trust the
certificate in a file. So Google's own software works as it is.

https://grpc.github.io/grpc/core/md_doc_environment_variables.html
"""

import atexit
import functools
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import flask
import grpc
from werkzeug.serving import make_ssl_devcert

from sandbox.server import serve

DOMAIN = "googleapis.com"
OTHERS = "those that are not named"


@functools.cache
def certificate() -> tuple[str, str]:
    """Return the files with the certificate of all of Google's hosts, and with its key."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return make_ssl_devcert(f"{folder}/google", cn=DOMAIN)


class Network:
    """Leads connections to Google's hosts."""

    def __init__(self) -> None:
        self.opened: list[str] = []  # The names of the hosts, one for each connection.
        self._ports: dict[str, int] = {}

    def connect(self, host: str) -> socket.socket:
        """Open a connection to a host."""
        self.opened.append(host)
        port = self._ports.get(host) or self._ports[OTHERS]
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return connection

    @contextmanager
    def rpc(
        self, host: str, method: str, answer: Callable[..., Any], *, takes: Any, gives: Any
    ) -> Iterator[None]:
        """Let a method of gRPC, with the types that it takes and gives, be a host."""
        service, _, name = method.partition("/")
        handler = grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=takes.deserialize, response_serializer=gives.serialize
        )
        service_handler = grpc.method_handlers_generic_handler(service, {name: handler})
        server = grpc.server(ThreadPoolExecutor(8))
        server.add_generic_rpc_handlers((service_handler,))
        public, private = (Path(file).read_bytes() for file in certificate())
        tls = grpc.ssl_server_credentials([(private, public)])
        self._ports[f"{host}.{DOMAIN}"] = server.add_secure_port("127.0.0.1:0", tls)
        server.start()
        try:
            yield
        finally:
            server.stop(None)

    @contextmanager
    def site(self, app: flask.Flask) -> Iterator[None]:
        """Let an application be all hosts that have no method of gRPC."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate())
        with serve(app, tls=tls) as url:
            self._ports[OTHERS] = urlsplit(url).port or 0
            yield

    @contextmanager
    def serve(self) -> Iterator[dict[str, str]]:
        """Lead connections, and yield the environment in which Google's software comes here."""
        (roots, _), connect = certificate(), self.connect

        class Tunnel(BaseHTTPRequestHandler):
            """See https://www.rfc-editor.org/rfc/rfc9110#name-connect."""

            disable_nagle_algorithm = True

            def do_CONNECT(self) -> None:
                """Connect to the host, and pass on what both sides send."""
                with connect(self.path.partition(":")[0]) as host:
                    self.send_response_only(200)
                    self.end_headers()
                    back = (host, self.connection)
                    threading.Thread(target=_pass_on, args=back, daemon=True).start()
                    _pass_on(self.connection, host)

        with ThreadingHTTPServer(("127.0.0.1", 0), Tunnel) as proxy:
            threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield {
                    "https_proxy": f"http://127.0.0.1:{proxy.server_port}",
                    "REQUESTS_CA_BUNDLE": roots,
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": roots,
                    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": roots,
                }
            finally:
                proxy.shutdown()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Pass on what one side sends, until it has closed."""
    with suppress(OSError):  # The other side has broken off.
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
