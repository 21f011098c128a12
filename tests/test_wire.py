"""Answers that never end, on a real wire: they are cut in time, and by their size."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from storage_plugin.errors import IconikError, IconikTimeout
from storage_plugin.pace import Deadline, Pace
from storage_plugin.rest import MAX_ANSWER, Patience, Rest
from storage_plugin.settings import Settings
from storage_plugin.wire import _Bounded, new_session

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(send: Callable[[socket.socket], None], seconds: float = 0.3) -> Iterator[Rest]:
    """Serve one request, and yield what sends it.

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
        settings = Settings("app", "LucidLink", iconik_url=url)
        session = new_session()
        yield Rest(
            session,
            settings,
            read_token=lambda **_: "token",
            pace=Pace(),
            deadline=Deadline(60),
            patience=Patience(attempts=1, read=seconds, ends_when_silent=True),
        )
        session.close()
        thread.join()


def drip(connection: socket.socket, byte: bytes) -> None:
    """Send a byte now and then, until the client hangs up."""
    pause = threading.Event()
    while True:
        connection.sendall(byte)
        pause.wait(0.02)


def test_nothing_is_read_after_the_time() -> None:
    """Bytes that arrive fast enough to be always there do not prolong the time."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.0)
    with ours, theirs, _Bounded(ours) as stream:
        theirs.sendall(b"x")
        with pytest.raises(TimeoutError):
            stream.read(1)


@pytest.mark.parametrize(
    ("head", "byte"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (HEAD + b"Content-Length: 99999\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"\r\n", b" "),
    ],
)
def test_an_answer_that_drips_is_cut(head: bytes, byte: bytes) -> None:
    """Headers or a body that come byte by byte take no longer than an answer may."""

    def send(connection: socket.socket) -> None:
        connection.sendall(head)
        drip(connection, byte)

    with answering(send) as rest, pytest.raises(IconikTimeout):
        rest.get("/")


@pytest.mark.parametrize("is_packed", [True, False])
def test_an_answer_that_is_too_large_is_not_read(is_packed: bool) -> None:
    """However it arrives, what is over the limit does not come into memory."""
    part = b" " * (1 << 20)
    parts = (MAX_ANSWER >> 20) + 9

    def send(connection: socket.socket) -> None:
        packed = HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(part * parts)
        connection.sendall(packed if is_packed else HEAD + b"\r\n")
        while not is_packed:
            connection.sendall(part)

    with answering(send, 60) as rest, pytest.raises(IconikError, match="32 MiB"):
        rest.get("/")


def test_a_connection_is_used_again() -> None:
    """An answer that was read to its end leaves its connection to the next request."""

    def send(connection: socket.socket) -> None:
        for _ in range(3):
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
            connection.recv(1 << 16)

    with answering(send) as rest:
        assert [rest.get("/") for _ in range(3)] == [{}] * 3
