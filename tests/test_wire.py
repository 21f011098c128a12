"""Answers over a real wire: their limits in time and size, and their connections."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from sandbox.world import World
from storage_plugin.errors import IconikError, IconikTimeout
from storage_plugin.iconik.rest import MAX_ANSWER, PATIENT, Rest
from storage_plugin.iconik.wire import _Bounded, new_session
from tests.conftest import new_rest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(send: Callable[[socket.socket], None], seconds: float = 60) -> Iterator[Rest]:
    """Serve one connection, and yield a REST client of it.

    Args:
        seconds: that an answer may take.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                with suppress(OSError):  # The client may hang up.
                    send(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield new_rest(url, World(), patience=PATIENT._replace(attempts=1, read=seconds))
        thread.join()


def test_https_has_the_same_limits_as_http() -> None:
    """Both use one adapter; the other tests use http."""
    session = new_session()
    assert session.get_adapter("https://x") is session.get_adapter("http://x")


def test_nothing_is_read_after_the_time() -> None:
    """The time limit applies even if bytes are always available."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.0)
    with ours, theirs, _Bounded(ours) as stream:
        theirs.sendall(b"x")
        with pytest.raises(TimeoutError):
            stream.read(1)


@pytest.mark.parametrize(
    ("head", "byte"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", id="head"),
        pytest.param(HEAD + b"Content-Length: 99999\r\n\r\n", b" ", id="body"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", id="chunks"),
        pytest.param(HEAD + b"\r\n", b" ", id="body without an end"),
    ],
)
def test_an_answer_that_drips_is_cut(head: bytes, byte: bytes) -> None:
    """Headers or a body that come byte by byte take no longer than an answer may."""
    pause = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        while not pause.wait(0.002):
            connection.sendall(byte)

    with answering(drip, seconds=0.3) as rest, pytest.raises(IconikTimeout):
        rest.get("/")


@pytest.mark.parametrize("is_packed", [True, False], ids=["packed", "plain"])
def test_an_answer_that_is_too_large_is_not_read(is_packed: bool) -> None:
    """The size counts after decompression."""
    part = b" " * (1 << 20)
    parts = (MAX_ANSWER >> 20) + 9

    def send(connection: socket.socket) -> None:
        packed = HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(part * parts)
        connection.sendall(packed if is_packed else HEAD + b"\r\n")
        while not is_packed:
            connection.sendall(part)

    with answering(send) as rest, pytest.raises(IconikError, match="32 MiB"):
        rest.get("/")


def test_a_connection_is_used_again() -> None:
    """The next request uses the connection of an answer that was read to its end."""

    def send(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        for _ in range(2):
            connection.recv(1 << 16)
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with answering(send) as rest:
        assert [rest.get("/") for _ in range(3)] == [{}] * 3
