"""Single requests to iconik: their limits, their errors, their repeats, and the token."""

import gzip
import itertools
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import flask
import pytest
import requests
from requests_mock import Mocker

from sandbox.server import serve
from sandbox.world import World
from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    BadRequest,
    IconikError,
    IconikTimeout,
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
QUOTED = '{"errors": "words that nobody shall see"}'
PAGE = "<html>words that nobody shall see</html>"
GOOD = {"json": {"objects": []}}


@pytest.fixture
def rest(time: Time) -> Rest:
    """Return a REST client of mocked answers."""
    return mocked_rest(time)


def test_every_request_is_authenticated_and_limited(rest: Rest, requests_mock: Mocker) -> None:
    """Headers contain the App ID and the token, and the time is limited."""
    requests_mock.get(PATH, **GOOD)
    assert rest.get(PATH) == GOOD["json"]
    request = requests_mock.last_request
    assert request.headers.items() >= {"App-ID": World.app_id, "Auth-Token": World.token}.items()
    assert request.timeout == (3.05, 10.0)


def test_no_request_outlasts_the_deadline(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """The time limit shrinks with the remaining time; without time, nothing is sent."""
    requests_mock.get(PATH, **GOOD)
    time.sleep(59)
    rest.get(PATH)
    assert requests_mock.last_request.timeout == (0.5, 0.5)
    time.sleep(1)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    assert rest.calls == 1


def test_calls_for_the_editor_have_an_end_of_their_own(
    rest: Rest, requests_mock: Mocker, time: Time
) -> None:
    """They have less patience, and still have time when the work has none."""
    requests_mock.get(PATH, status_code=500)
    editor = rest.for_editor(Deadline(63, time))
    time.sleep(60)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    with pytest.raises(IconikUnavailable):
        editor.get(PATH)
    assert requests_mock.request_history[0].timeout == (1.5, 1.5)
    assert (rest.calls, editor.calls) == (2, 2)


def test_nothing_but_iconik_decides_on_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session keeps no cookies, and does not use the environment's proxy."""
    app, cookies = flask.Flask("cookies"), []

    @app.get(PATH)
    def answer() -> flask.Response:
        cookies.append(flask.request.headers.get("Cookie"))
        response = flask.jsonify(GOOD["json"])
        response.set_cookie("a", "b")
        return response

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serve(app) as url:
        rest = new_rest(url, World())
        for _ in range(2):
            rest.get(PATH)
    assert cookies == [None, None]


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
        ({"status_code": 400, "text": QUOTED}, BadRequest, 502, 1),
        ({"status_code": 403, "text": QUOTED}, AccessDenied, 500, 1),
        ({"status_code": 404, "text": QUOTED}, NotFound, 502, 1),
        ({"status_code": 405, "text": QUOTED}, IconikError, 502, 1),
        ({"status_code": 500, "text": PAGE}, IconikUnavailable, 502, 5),
        ({"status_code": 503, "text": PAGE}, IconikUnavailable, 502, 5),
        ({"exc": requests.ConnectTimeout(PAGE)}, IconikUnavailable, 502, 5),
        ({"exc": requests.ReadTimeout(PAGE)}, IconikTimeout, 504, 5),
        ({"exc": requests.ConnectionError(PAGE)}, IconikUnavailable, 502, 5),
        ({"exc": requests.exceptions.ChunkedEncodingError(PAGE)}, IconikUnavailable, 502, 5),
        ({"exc": requests.exceptions.InvalidHeader(PAGE)}, IconikUnavailable, 502, 5),
    ],
)
def test_errors_are_by_who_must_act(
    rest: Rest,
    requests_mock: Mocker,
    answer: dict[str, Any],
    error: type[PluginError],
    status: int,
    calls: int,
) -> None:
    """A refusal is final, a failure is not; no error quotes an answer or a library's message."""
    requests_mock.get(PATH, [answer])
    with pytest.raises(error) as raised:
        rest.get(PATH)
    assert (raised.value.status, rest.calls) == (status, calls)
    assert "nobody shall see" not in "".join(traceback.format_exception(raised.value))
    requests_mock.get(PATH, **GOOD)
    assert rest.get(PATH) == GOOD["json"]  # The error is this call's alone.


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_stands_in_front_of_iconik_is_named(
    rest: Rest, requests_mock: Mocker, status: int
) -> None:
    """A firewall's page is neither a missing role nor an unknown object."""
    requests_mock.get(PATH, status_code=status, text=PAGE)
    with pytest.raises(IconikError, match="in front of it, such as a firewall") as raised:
        rest.get(PATH)
    assert "role" not in str(raised.value)
    assert type(raised.value) is IconikError


def test_an_unreachable_host_is_named(unused_port: int) -> None:
    """If nothing answers at all, the error names the host and the cause."""
    host = f"http://127.0.0.1:{unused_port}"
    pace = Pace(sleep=lambda _: None)
    with pytest.raises(IconikUnavailable, match=rf"{host} cannot be reached \(NewConnectionError"):
        new_rest(host, World(), pace=pace).get(PATH)


@pytest.fixture
def unused_port() -> int:
    """Return a port at which nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return int(closed.getsockname()[1])


@pytest.mark.parametrize("text", ["", "<html>", "null", "[]", '"x"', '{"objects": [', "[" * 99999])
def test_what_is_no_object_is_an_error(rest: Rest, requests_mock: Mocker, text: str) -> None:
    """The client never takes an invalid answer for an empty one."""
    requests_mock.get(PATH, [{"text": text}] * 4 + [GOOD])
    assert rest.get(PATH) == GOOD["json"]
    requests_mock.get(PATH, text=text)
    with pytest.raises(IconikUnavailable, match="not iconik's"):
        rest.get(PATH)


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_only_a_get_needs_an_object(
    rest: Rest, requests_mock: Mocker, method: str, text: str
) -> None:
    """Answers to other methods may have no body, or no object in it."""
    requests_mock.register_uri(method, PATH, text=text)
    assert rest.send(method, PATH) == {}


def test_a_page_is_no_success(rest: Rest, requests_mock: Mocker) -> None:
    """After a page with 200, a POST has failed, and the outcome of a DELETE is uncertain."""
    requests_mock.post(PATH, text=PAGE)
    requests_mock.delete(PATH, text=PAGE)
    with pytest.raises(IconikUnavailable):
        rest.send("POST", PATH, json={})
    with pytest.raises(IconikUnavailable):
        rest.delete(PATH, {}, not_after=rest.now() + 5)
    assert rest.calls == 2


FAULTS = [{"status_code": 500}, {"exc": requests.ConnectionError}, {"exc": requests.ReadTimeout}]


@pytest.mark.parametrize("fault", [*FAULTS, {"exc": requests.ConnectTimeout}])
def test_harmless_requests_are_repeated(
    rest: Rest, requests_mock: Mocker, time: Time, fault: dict[str, Any]
) -> None:
    """A GET survives four failures, with pauses between them."""
    requests_mock.get(PATH, [fault] * 4 + [GOOD])
    assert rest.get(PATH) == GOOD["json"]
    assert 1000 + 3 < time.now < 1000 + 8


@pytest.mark.parametrize("fault", FAULTS)
def test_post_is_not_repeated(rest: Rest, requests_mock: Mocker, fault: dict[str, Any]) -> None:
    """A POST that failed may have been served, so the client does not send it again."""
    requests_mock.post(PATH, [fault])
    with pytest.raises(IconikUnavailable):
        rest.send("POST", PATH, json={})
    assert rest.calls == 1


def test_what_was_never_sent_is_sent_again(rest: Rest, requests_mock: Mocker) -> None:
    """Without a connection, not even a POST can have been served."""
    requests_mock.post(PATH, [{"exc": requests.ConnectTimeout}] * 4 + [GOOD])
    assert rest.send("POST", PATH, json={}) == GOOD["json"]


OURS = (0.25, 0.5)
"""The shortest and the longest pause that the plugin makes by itself."""


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        (None, OURS),
        ("3", (3, 3.3)),
        ("0", OURS),
        ("-5", OURS),
        ("1000000000", (10, 10)),
        ("1e9", OURS),
        ("Wed, 21 Oct 2099 07:28:00 GMT", (10, 10)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", OURS),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", OURS),
        ("Wed, 21 Oct 2015 07:28:00", OURS),
        ("nan", OURS),
        ("soon", OURS),
    ],
)
def test_too_many_requests_are_sent_again(
    rest: Rest,
    requests_mock: Mocker,
    time: Time,
    method: str,
    retry_after: str | None,
    pause: tuple[float, float],
) -> None:
    """After the pause that iconik requests, the client repeats any request that was refused."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    requests_mock.request(method, PATH, [{"status_code": 429, "headers": headers}, GOOD])
    assert rest.send(method, PATH) == GOOD["json"]
    least, most = pause
    assert least <= round(time.now - 1000, 6) <= most


def test_refusals_are_no_failures(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """Refusals do not count as attempts, and the pauses start small again after a success."""
    refusal = {"status_code": 429}
    requests_mock.get(PATH, [refusal] * 6 + [GOOD, refusal, GOOD])
    rest.get(PATH)
    before = time.now
    rest.get(PATH)
    assert time.now - before < 1


# The token

REFUSED = {"status_code": 401, "text": QUOTED}


class Rotated:
    """A secret that has been rotated since it was read."""

    def __init__(self) -> None:
        self.value = "old"

    def read(self, max_age: float = 300) -> str:
        """Return the secret, or read it again."""
        self.value = self.value if max_age else World.token
        return self.value


def test_a_rotated_token_is_read_again(world: World, iconik_url: str) -> None:
    """All later requests use the new token."""
    rest = new_rest(iconik_url, world, Rotated().read, pace=Pace(sleep=lambda _: None))
    for _ in range(2):
        assert rest.get(PATH) == GOOD["json"]
    assert rest.calls == 3


def test_a_single_refusal_of_a_token_is_survived(rest: Rest, requests_mock: Mocker) -> None:
    """The next attempt may succeed with the same token."""
    requests_mock.get(PATH, [REFUSED, GOOD])
    assert rest.get(PATH) == GOOD["json"]


def test_a_refused_token_is_the_administrator_s_if_it_was_never_accepted(
    rest: Rest, requests_mock: Mocker
) -> None:
    """A token that iconik has accepted before cannot be the fault, so other assets may be fine."""
    requests_mock.get(PATH, [REFUSED, REFUSED, GOOD, REFUSED])
    with pytest.raises(AdministratorError, match="iconik-token"):
        rest.get(PATH)
    rest.get(PATH)
    with pytest.raises(IconikUnavailable, match="token"):
        rest.get(PATH)
    assert rest.calls == 5


@pytest.mark.parametrize("token", ["line\nbreak", "ümlaut", "tab\t", " space"])
def test_an_impossible_token_is_not_sent(token: str) -> None:
    """A token that is invalid in a header is an error that does not quote it."""
    with pytest.raises(AdministratorError) as raised:
        new_rest(URL, World(), lambda **_: token)
    assert token not in str(raised.value)


# Answers over a socket

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP, CHUNKED = b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n"
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

        thread = threading.Thread(target=serve_one)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield new_rest(url, World(), pace=pace, deadline=Deadline(seconds))
        thread.join()


def in_chunks(body: bytes) -> bytes:
    """Return a body in chunks of odd sizes."""
    parts = [body[start : start + 7_777] for start in range(0, len(body), 7_777)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        b"\r\n" + BODY,
        CHUNKED + b"\r\n" + in_chunks(BODY),
        GZIP + b"\r\n" + gzip.compress(BODY),
        GZIP + CHUNKED + b"\r\n" + in_chunks(gzip.compress(BODY)),
    ],
    ids=["plain", "without an end", "chunks", "gzip", "gzip in chunks"],
)
def test_answers_come_in_many_forms(answer: bytes) -> None:
    """A server may send a body in chunks, packed, both, or neither."""
    with answering(lambda connection: connection.sendall(HEAD + answer)) as rest:
        assert rest.get("/") == {"objects": ["x" * 99_999]}


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 99\r\n\r\n{}",
        CHUNKED + b"\r\n2\r\n{}\r\n",
        GZIP + b"\r\nnot gzip",
        GZIP + b"\r\n" + gzip.compress(BODY)[:-50],
    ],
    ids=["length", "chunks", "no gzip", "gzip"],
)
def test_half_an_answer_is_none(answer: bytes) -> None:
    """An answer that breaks off is a failure, even if what has arrived looks whole."""
    with (
        answering(lambda connection: connection.sendall(HEAD + answer)) as rest,
        pytest.raises(IconikUnavailable),
    ):
        rest.send("POST", "/", json={})


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


def test_an_answer_that_drips_is_given_up() -> None:
    """A body that comes byte by byte takes no longer than an answer may."""
    seconds = itertools.count()

    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + CHUNKED + b"\r\n")
        for _ in seconds:
            connection.sendall(b"1\r\n \r\n")

    with answering(drip, Pace(seconds.__next__)) as rest, pytest.raises(IconikTimeout):
        rest.send("POST", "/", json={})


@pytest.mark.parametrize("is_packed", [True, False], ids=["packed", "plain"])
def test_an_answer_that_is_too_large_is_not_read(is_packed: bool) -> None:
    """The size counts after decompression."""
    part = b" " * (1 << 20)
    parts = (MAX_ANSWER >> 20) + 9

    def send(connection: socket.socket) -> None:
        packed = HEAD + GZIP + b"\r\n" + gzip.compress(part * parts)
        connection.sendall(packed if is_packed else HEAD + b"\r\n")
        while not is_packed:
            connection.sendall(part)

    with answering(send) as rest, pytest.raises(IconikError, match="32 MiB"):
        rest.get("/")


def test_a_connection_is_used_again() -> None:
    """The next request uses the connection of an answer that was read to its end."""
    answer = HEAD + b"Content-Length: 15\r\n\r\n" + b'{"objects": []}'

    def send(connection: socket.socket) -> None:
        connection.sendall(answer)
        for _ in range(2):
            connection.recv(1 << 16)
            connection.sendall(answer)

    with answering(send) as rest:
        assert [rest.get("/") for _ in range(3)] == [GOOD["json"]] * 3
