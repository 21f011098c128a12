"""A network between the function and Google's hosts on loopback, which it reaches over TLS.

gRPC and requests connect through a proxy that the environment names, and trust the certificates in
a file. So Google's libraries run in the function as they are deployed.

https://grpc.github.io/grpc/core/md_doc_environment_variables.html
"""

import datetime
import selectors
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

RESET, SWALLOW = "reset", "swallow"
"""The fates of a connection that the network has forgotten."""

_ABORT = struct.pack("ii", 1, 0)


class Network:
    """Leads connections to Google's hosts, and may forget them.

    Attributes:
        opened: the names of the hosts, one for each connection.
    """

    def __init__(self) -> None:
        self.opened: list[str] = []
        self._ports: dict[str, int] = {}
        self._certificates: list[bytes] = []
        self._tunnels: list[_Tunnel] = []

    def add_host(self, name: str, server: grpc.Server) -> None:
        """Let a gRPC server be a host of Google's."""
        credentials = grpc.ssl_server_credentials([self._certify(name)])
        self._ports[name] = server.add_secure_port("127.0.0.1:0", credentials)

    @contextmanager
    def site(self, name: str, app: "WSGIApplication") -> Iterator[None]:
        """Let an application be a host of Google's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(b"".join(self._certify(name)))
            context.load_cert_chain(file.name)
        with make_server("127.0.0.1", 0, app, handler_class=_QuietHandler) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            self._ports[name] = server.server_port
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield
            finally:
                server.shutdown()

    def _certify(self, name: str) -> tuple[bytes, bytes]:
        """Return the key and the certificate of a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._certificates.append(certify(key, name))
        return private_pem(key), self._certificates[-1]

    def forget(self, fate: str) -> None:
        """Forget all connections that are open.

        Args:
            fate: of what the function sends over them from now on.
        """
        for tunnel in self._tunnels:
            tunnel.fate = fate

    def connect(self, host: str, tunnel: "_Tunnel") -> socket.socket:
        """Open a connection to a host."""
        self.opened.append(host)
        self._tunnels.append(tunnel)
        connection = socket.create_connection(("127.0.0.1", self._ports[host]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return connection

    @contextmanager
    def serve(self) -> Iterator[dict[str, str]]:
        """Lead connections, and yield the environment in which gRPC and requests come here."""
        with tempfile.NamedTemporaryFile() as roots, _Proxy(self) as proxy:
            Path(roots.name).write_bytes(b"".join(self._certificates))
            threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
            url = f"http://127.0.0.1:{proxy.server_address[1]}"
            try:
                yield {
                    "https_proxy": url,  # gRPC reads it, too.
                    "REQUESTS_CA_BUNDLE": roots.name,
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": roots.name,
                }
            finally:
                proxy.shutdown()


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, network: Network) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.network = network


class _Tunnel(StreamRequestHandler):
    """One connection.

    https://www.rfc-editor.org/rfc/rfc9110#name-connect
    """

    server: _Proxy
    disable_nagle_algorithm = True
    fate = ""

    def handle(self) -> None:
        _, target, _ = self.rfile.readline().split()
        while self.rfile.readline().strip():
            pass
        with self.server.network.connect(target.decode().partition(":")[0], self) as host:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self._lead(host)

    def _lead(self, host: socket.socket) -> None:
        """Pass on what both sides send, until one of them has closed."""
        other = {host: self.connection, self.connection: host}
        with selectors.DefaultSelector() as selector:
            for side in other:
                selector.register(side, selectors.EVENT_READ)
            while True:
                for ready, _ in selector.select():
                    side = ready.fileobj
                    assert isinstance(side, socket.socket)
                    try:
                        data = side.recv(1 << 16)
                    except ConnectionError:
                        return
                    if not data:
                        return
                    if self.fate == RESET:
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                        self.connection.close()
                        return
                    if not self.fate:
                        other[side].sendall(data)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def certify(key: CertificateIssuerPrivateKeyTypes, name: str) -> bytes:
    """Return a certificate of a key that the key itself has signed, valid for a day, in PEM."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), serial)
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def private_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Return a private key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
