"""Single requests to iconik: their limits, their errors, their repeats, and the token."""

import gzip
import itertools
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import requests
from requests_mock import Mocker

from sandbox.function import reserved_port
from sandbox.world import World
from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    BadRequest,
    IconikBusy,
    IconikError,
    IconikUnavailable,
    NotFound,
    OutOfTime,
    PluginError,
)
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import MAX_ANSWER, Rest
from tests.conftest import Time, mocked_rest, new_rest

URL = "https://app.iconik.io"
PATH = "/API/files/v1/storages/"
SECRET_TEXT = "words that nobody shall see"
ERRORS, PAGE = {"errors": [SECRET_TEXT]}, f"<html>{SECRET_TEXT}</html>"
FOUND: dict[str, Any] = {"objects": []}
GOOD = {"json": FOUND}
NO_OBJECTS = ["", "null", "[]", '"x"', '{"objects": [', "[" * 99999]


@pytest.fixture
def rest(time: Time) -> Rest:
    """Return a REST client of mocked answers."""
    return mocked_rest(time)


def test_every_request_is_authenticated_and_limited(rest: Rest, requests_mock: Mocker) -> None:
    """Headers contain the App ID and the token, and the time is limited."""
    requests_mock.get(PATH, **GOOD)
    assert rest.get(PATH) == FOUND
    request = requests_mock.last_request
    assert request.headers.items() >= {"App-ID": World.app_id, "Auth-Token": World.token}.items()
    assert request.timeout == (3.05, 10.0)


def test_no_request_outlasts_its_deadline(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """The time limit shrinks with the remaining time; the editor's calls have an own, later end."""
    requests_mock.get(PATH, status_code=500)
    editor = rest.for_editor(Deadline(64, time))
    time.sleep(59)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    time.now = 1060
    with pytest.raises(IconikUnavailable):
        editor.get(PATH)
    first, *_, editors, _ = requests_mock.request_history
    assert (first.timeout, editors.timeout) == ((0.5, 0.5), (2, 2))
    assert len(rest.sent) == len(editor.sent) == requests_mock.call_count


def test_requests_use_up_only_their_share(time: Time, requests_mock: Mocker) -> None:
    """Work that may use half of iconik's limit waits for more, but calls for the editor do not."""
    requests_mock.get(PATH, **GOOD)
    pace, deadline = Pace(time, time.sleep), Deadline(60, time)
    rest = new_rest(URL, World(), pace=pace, deadline=deadline, share=0.5)
    for _ in range(500):
        pace.reserve(deadline)
    rest.for_editor(deadline).get(PATH)
    assert time.now == 1000
    rest.get(PATH)
    assert time.now > 1020


@pytest.mark.parametrize("elsewhere", ["https://elsewhere.example/", "http://["])
def test_redirects_are_not_followed(rest: Rest, requests_mock: Mocker, elsewhere: str) -> None:
    """The token does not go to another host, even if iconik's answer points there."""
    requests_mock.get(PATH, status_code=302, headers={"Location": elsewhere})
    requests_mock.get("https://elsewhere.example/", **GOOD)
    with pytest.raises(IconikError):
        rest.get(PATH)
    assert {request.url for request in requests_mock.request_history} == {URL + PATH}


def test_connections_that_were_idle_are_not_used(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An action starts with new connections only if the old ones were idle."""
    closed: list[float] = []
    monkeypatch.setattr(requests.Session, "close", lambda _: closed.append(time.now))
    pace, deadline = Pace(time, time.sleep), Deadline(600, time)
    new_rest(URL, World(), pace=pace)
    pace.reserve(deadline)
    for seconds in (30, 1):
        time.sleep(seconds)
        new_rest(URL, World(), pace=pace)
    assert closed == [1031]


# Errors and repeats


@pytest.mark.parametrize(
    ("answer", "error", "status", "calls"),
    [
        ({"status_code": 400, "json": ERRORS}, BadRequest, 502, 1),
        ({"status_code": 403, "json": ERRORS}, AccessDenied, 500, 1),
        ({"status_code": 404, "json": ERRORS}, NotFound, 502, 1),
        ({"status_code": 405, "json": ERRORS}, IconikError, 502, 1),
        ({"status_code": 400, "text": PAGE}, IconikError, 502, 1),
        ({"status_code": 403, "text": PAGE}, IconikError, 502, 1),
        ({"status_code": 404, "text": PAGE}, IconikError, 502, 1),
        ({"status_code": 500, "text": PAGE}, IconikUnavailable, 502, 5),
        ({"status_code": 503, "text": PAGE}, IconikUnavailable, 502, 5),
        ({"exc": requests.ConnectTimeout(PAGE)}, IconikUnavailable, 502, 5),
        ({"exc": requests.ReadTimeout(PAGE)}, IconikUnavailable, 504, 5),
        ({"exc": requests.ConnectionError(PAGE)}, IconikUnavailable, 502, 5),
        ({"exc": requests.exceptions.ChunkedEncodingError(PAGE)}, IconikUnavailable, 502, 5),
        ({"exc": requests.exceptions.InvalidHeader(PAGE)}, IconikUnavailable, 502, 5),
        *(({"text": text}, IconikUnavailable, 502, 5) for text in NO_OBJECTS),
    ],
)
def test_errors_are_by_who_must_act(
    rest: Rest,
    requests_mock: Mocker,
    time: Time,
    answer: dict[str, Any],
    error: type[PluginError],
    status: int,
    calls: int,
) -> None:
    """A refusal is final, a failure is not; no error quotes an answer or a library's message."""
    requests_mock.get(PATH, [answer] * calls + [GOOD] + [answer] * (calls - 1) + [GOOD])
    with pytest.raises(error) as raised:
        rest.get(PATH)
    assert (raised.value.status, len(rest.sent)) == (status, calls)
    assert SECRET_TEXT not in "".join(traceback.format_exception(raised.value))
    assert ("roles" in str(raised.value)) == (error is AccessDenied)
    assert isinstance(raised.value, BadRequest | NotFound) == (error in (BadRequest, NotFound))
    assert rest.get(PATH) == FOUND  # The error is that of one call.
    begun = time.now
    assert rest.get(PATH) == FOUND  # One failure less is none, after some pauses.
    assert 3 < time.now - begun < 8 or calls == 1


def test_an_unreachable_host_is_named() -> None:
    """If nothing answers at all, the error names the host and the cause."""
    with reserved_port() as port, pytest.raises(IconikUnavailable) as raised:
        new_rest(f"http://127.0.0.1:{port}", World(), pace=Pace(sleep=lambda _: None)).get(PATH)
    assert f"http://127.0.0.1:{port} cannot be reached (NewConnectionError)" in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "methods"),
    [
        ({"status_code": 500}, "POST DELETE"),
        ({"text": PAGE}, "POST DELETE"),
        ({"exc": requests.ConnectionError}, "POST DELETE"),
        ({"exc": requests.ReadTimeout}, "POST DELETE"),
        ({"exc": requests.ConnectTimeout}, "DELETE"),
        ({"status_code": 401, "json": ERRORS}, "DELETE"),
        ({"status_code": 429}, "DELETE"),
    ],
)
def test_what_may_have_been_served_is_not_repeated(
    rest: Rest, requests_mock: Mocker, fault: dict[str, Any], methods: str
) -> None:
    """A POST has failed, and a DELETE needs fresh evidence."""
    for method in methods.split():
        requests_mock.register_uri(method, PATH, [fault, GOOD])
        send = rest.send if method == "POST" else rest.send_once
        with pytest.raises((IconikUnavailable, IconikBusy)):
            send(method, PATH)
    assert len(rest.sent) == len(methods.split())


def test_what_was_never_sent_is_sent_again(rest: Rest, requests_mock: Mocker) -> None:
    """Without a connection, not even a POST can have been served."""
    requests_mock.post(PATH, [{"exc": requests.ConnectTimeout}] * 4 + [GOOD])
    assert rest.send("POST", PATH, json={}) == FOUND


@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_only_a_get_needs_an_object(rest: Rest, requests_mock: Mocker, text: str) -> None:
    """Answers to other methods may have no body, or no object in it."""
    for method in ("POST", "PATCH", "DELETE"):
        requests_mock.register_uri(method, PATH, text=text)
        assert rest.send(method, PATH) == {}


OURS = (0.125, 0.25)
"""The shortest and the longest pause that the plugin makes by itself."""


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("3", 3, 3.3),
        ("0", *OURS),
        ("-5", *OURS),
        ("1000000000", 10, 10),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 10, 10),
        ("Wed, 21 Oct 2015 07:28:00 GMT", *OURS),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", *OURS),
        ("soon", *OURS),
    ],
)
def test_too_many_requests_are_sent_again(
    rest: Rest, requests_mock: Mocker, time: Time, retry_after: str, least: float, most: float
) -> None:
    """After the pause that iconik requests, the client repeats any request that was refused."""
    refusal = {"status_code": 429, "headers": {"Retry-After": retry_after}}
    for method in ("GET", "POST", "DELETE"):
        requests_mock.request(method, PATH, [refusal, GOOD])
        before = time.now
        assert rest.send(method, PATH) == FOUND
        assert least <= round(time.now - before, 6) <= most + 0.02


def test_refusals_are_no_failures(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """Refusals do not count as attempts, and the pauses start small again after a success."""
    refusal = {"status_code": 429}
    requests_mock.get(PATH, [refusal] * 6 + [GOOD, refusal, GOOD])
    rest.get(PATH)
    before = time.now
    rest.get(PATH)
    assert time.now - before < 1


# The token


def test_a_rotated_token_is_read_again(world: World, iconik_url: str) -> None:
    """After the refusal of the old one, all requests use the new one."""
    known = ["old"]

    def read(max_age: float = 300) -> str:
        if max_age == 0:
            known.append(world.token)
        return known[-1]

    rest = new_rest(iconik_url, world, read, pace=Pace(sleep=lambda _: None))
    for _ in range(2):
        assert rest.get(PATH) == FOUND
    assert len(rest.sent) == 3


def test_the_token_is_at_fault_only_if_it_was_never_accepted(
    rest: Rest, requests_mock: Mocker
) -> None:
    """One refusal is nothing, and two of one call say nothing about other calls."""
    refusal = {"status_code": 401, "json": ERRORS}
    requests_mock.get(PATH, [refusal, refusal, refusal, GOOD, refusal])
    with pytest.raises(AdministratorError, match="iconik-token"):
        rest.get(PATH)
    assert rest.get(PATH) == FOUND
    with pytest.raises(IconikUnavailable, match="token"):
        rest.get(PATH)
    assert len(rest.sent) == 6


@pytest.mark.parametrize("token", ["line\nbreak", "ümlaut", "tab\t", " space"])
def test_an_impossible_token_is_not_sent(token: str) -> None:
    """A token that is invalid in a header is an error that does not quote it."""
    with pytest.raises(AdministratorError) as raised:
        new_rest(URL, World(), lambda **_: token)
    assert token not in str(raised.value)


# Answers over a socket

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP, CHUNKED = b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n"
LONG = {"objects": ["x" * 99_999]}
BODY = b'{"objects": ["' + b"x" * 99_999 + b'"]}'


@contextmanager
def answering(
    send: Callable[[socket.socket], None], pace: Pace | None = None, seconds: float = 60
) -> Iterator[Rest]:
    """Serve one connection, and yield a REST client of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve_one() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # The client may hang up.
                connection.recv(1 << 16)
                send(connection)

        thread = threading.Thread(target=serve_one, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield new_rest(url, World(), pace=pace, deadline=Deadline(seconds))
        thread.join()


def in_chunks(body: bytes) -> bytes:
    """Return a body in chunks of odd sizes."""
    parts = [body[start : start + 7_777] for start in range(0, len(body), 7_777)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"\r\n" + BODY, LONG),
        (GZIP + b"\r\n" + gzip.compress(BODY), LONG),
        (CHUNKED + b"\r\n" + in_chunks(BODY), LONG),
        (GZIP + CHUNKED + b"\r\n" + in_chunks(gzip.compress(BODY)), LONG),
        (b"Content-Length: 99\r\n\r\n{}", None),
        (CHUNKED + b"\r\n2\r\n{}\r\n", None),
        (GZIP + b"\r\nnot gzip", None),
        (GZIP + b"\r\n" + gzip.compress(BODY)[:-50], None),
    ],
    ids=["no end", "gzip", "chunks", "both", "short", "half chunks", "no gzip", "half gzip"],
)
def test_only_a_whole_answer_counts(answer: bytes, found: object) -> None:
    """A server may pack a body, or send it in chunks; one that breaks off may look whole."""
    received = None
    with (
        answering(lambda connection: connection.sendall(HEAD + answer)) as rest,
        suppress(IconikUnavailable),
    ):
        _, received = rest.send_once("GET", "/")
    assert received == found


@pytest.mark.parametrize("head", [b"", HEAD, HEAD + b"Content-Length: 99\r\n\r\n"])
def test_an_answer_that_stops_is_given_up(head: bytes) -> None:
    """Nothing is waited for beyond the remaining time."""
    is_over = threading.Event()

    def stop(connection: socket.socket) -> None:
        connection.sendall(head)
        is_over.wait()

    with answering(stop, seconds=0.2) as rest:
        with pytest.raises(OutOfTime):
            rest.get("/")
        is_over.set()
        assert len(rest.sent) == 1


def test_an_answer_that_drips_is_given_up() -> None:
    """A body that comes byte by byte takes no longer than an answer may."""
    seconds = itertools.count()

    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + CHUNKED + b"\r\n")
        for _ in seconds:
            connection.sendall(b"1\r\n \r\n")

    pace = Pace(seconds.__next__)
    with answering(drip, pace) as rest, pytest.raises(IconikUnavailable, match="in time"):
        rest.send_once("GET", "/")


@pytest.mark.parametrize("is_packed", [True, False], ids=["packed", "plain"])
def test_an_answer_that_is_too_large_is_not_read(is_packed: bool) -> None:
    """The size counts after decompression."""
    part = b" " * (1 << 20)

    def send(connection: socket.socket) -> None:
        packed = HEAD + GZIP + b"\r\n" + gzip.compress(part * ((MAX_ANSWER >> 20) + 9))
        connection.sendall(packed if is_packed else HEAD + b"\r\n")
        while not is_packed:
            connection.sendall(part)

    with answering(send) as rest, pytest.raises(IconikError, match="32 MiB"):
        rest.get("/")


def test_a_connection_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stays open, but no cookie is kept, and the environment's proxy is not used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    answer = HEAD + b"Set-Cookie: a=b\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    requests = []

    def send(connection: socket.socket) -> None:
        connection.sendall(answer)
        requests.append(connection.recv(1 << 16))
        connection.sendall(answer)

    with answering(send) as rest:
        assert [rest.get("/") for _ in range(2)] == [LONG] * 2
    assert b"Auth-Token" in requests[0]
    assert b"Cookie" not in requests[0]
