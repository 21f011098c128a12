"""Single requests to iconik: their limits, their errors, their repeats, and the token."""

import gzip
import socket
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, product, repeat
from typing import Any

import pytest
import requests
from requests_mock import Mocker

from sandbox.function import reserved_port
from sandbox.world import World
from storage_plugin import errors
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import MAX_ANSWER, Rest
from tests.conftest import Time, mocked_rest, new_rest

URL = "https://app.iconik.io"
PATH = "/API/files/v1/storages/"
SECRET_TEXT = "words that nobody shall see"
PAGE = f"<html>{SECRET_TEXT}</html>"
FOUND: dict[str, Any] = {"objects": []}
GOOD = {"json": FOUND}
NO_OBJECTS = ["", "null", "[]", '"x"', '{"objects": [', "[" * 99999]


def answer(status: int, **headers: str) -> dict[str, Any]:
    """Return one of iconik's errors, as requests_mock takes it."""
    return {"status_code": status, "json": {"errors": [SECRET_TEXT]}, "headers": headers}


@pytest.fixture
def rest(time: Time) -> Rest:
    """Return a REST client of mocked answers."""
    return mocked_rest(time)


def test_requests_have_a_token_and_an_end(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """The time limit shrinks with the remaining time; the editor's calls have an own, later end."""
    requests_mock.get(PATH, [GOOD, GOOD, answer(500)])
    editor = rest.for_editor(Deadline(64, time))
    assert rest.get(PATH) == editor.get(PATH) == FOUND
    time.sleep(59)
    with pytest.raises(errors.OutOfTime):
        rest.get(PATH)
    assert time.now < 1060
    time.now = 1060
    with pytest.raises(errors.IconikUnavailable):
        editor.get(PATH)
    sent = requests_mock.request_history
    ends = [(3.05, 10), (3.05, 3), (0.5, 0.5), (2, 2)]
    assert [sent[number].timeout for number in (0, 1, 2, -2)] == ends
    assert sent[0].headers.items() >= {"App-ID": World.app_id, "Auth-Token": World.token}.items()
    assert len(rest.sent) == len(editor.sent) == requests_mock.call_count


def test_idle_connections_are_not_used(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """An action starts with new connections only if the old ones were idle."""
    closed: list[float] = []
    monkeypatch.setattr(requests.Session, "close", lambda _: closed.append(time.now))
    pace = Pace(time, time.sleep)
    new_rest(URL, World(), pace=pace)
    pace.reserve(Deadline(600, time))
    for seconds in (30, 1):
        time.sleep(seconds)
        new_rest(URL, World(), pace=pace)
    assert closed == [1031]


# Errors and repeats


@pytest.mark.parametrize(
    ("fault", "error", "status", "calls"),
    [
        (answer(400), errors.BadRequest, 502, 1),
        (answer(403), errors.AccessDenied, 500, 1),
        (answer(404), errors.NotFound, 502, 1),
        (answer(405), errors.IconikError, 502, 1),
        (answer(302, Location="https://elsewhere.example/"), errors.IconikError, 502, 1),
        (answer(302, Location="http://["), errors.IconikUnavailable, 502, 5),
        *(({"status_code": n, "text": PAGE}, errors.IconikError, 502, 1) for n in (400, 403, 404)),
        *(({"status_code": n, "text": PAGE}, errors.IconikUnavailable, 502, 5) for n in (500, 503)),
        ({"exc": requests.ConnectTimeout(PAGE)}, errors.IconikUnavailable, 502, 5),
        ({"exc": requests.ReadTimeout(PAGE)}, errors.IconikUnavailable, 504, 5),
        ({"exc": requests.ConnectionError(PAGE)}, errors.IconikUnavailable, 502, 5),
        ({"exc": requests.exceptions.InvalidHeader(PAGE)}, errors.IconikUnavailable, 502, 5),
        *(({"text": text}, errors.IconikUnavailable, 502, 5) for text in NO_OBJECTS),
    ],
)
def test_errors_are_by_who_must_act(
    rest: Rest, requests_mock: Mocker, fault: Any, error: type[Exception], status: int, calls: int
) -> None:
    """A refusal is final, a failure is not; no error quotes anything; no redirect is followed."""
    requests_mock.get(PATH, [fault] * calls + [GOOD] + [fault] * (calls - 1) + [GOOD])
    with pytest.raises(error) as raised:
        rest.get(PATH)
    assert (raised.value.status, len(rest.sent)) == (status, calls)
    finals = (errors.BadRequest, errors.NotFound)
    assert isinstance(raised.value, finals) == (error in finals)
    assert SECRET_TEXT not in "".join(traceback.format_exception(raised.value))
    assert ("roles" in str(raised.value)) == (error is errors.AccessDenied)
    assert rest.get(PATH) == FOUND  # The error is that of one call.
    begun = rest.pace.now()
    assert rest.get(PATH) == FOUND  # One failure less is none, after some pauses.
    assert 3 < rest.pace.now() - begun < 8 or calls == 1


def test_an_unreachable_host_is_named() -> None:
    """If nothing answers at all, the error names the host and the cause."""
    with reserved_port() as port, pytest.raises(errors.IconikUnavailable) as raised:
        new_rest(f"http://127.0.0.1:{port}", World(), pace=Pace(sleep=lambda _: None)).get(PATH)
    assert f"http://127.0.0.1:{port} cannot be reached (NewConnectionError)" in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "is_repeated"),
    [
        (answer(500), False),
        ({"text": PAGE}, False),
        ({"exc": requests.ConnectionError}, False),
        ({"exc": requests.ReadTimeout}, False),
        ({"exc": requests.ConnectTimeout}, True),
        (answer(401), True),
        (answer(429), True),
    ],
)
def test_what_may_have_been_served_is_not_repeated(
    rest: Rest, requests_mock: Mocker, fault: dict[str, Any], is_repeated: bool
) -> None:
    """A POST is repeated only if iconik did nothing, and a DELETE needs fresh evidence."""
    requests_mock.post(PATH, [fault, GOOD])
    with suppress(errors.IconikUnavailable):
        assert rest.send("POST", PATH, json={}) == FOUND
    assert len(rest.sent) == 1 + is_repeated
    requests_mock.delete(PATH, **fault)
    with pytest.raises((errors.IconikUnavailable, errors.IconikBusy)):
        rest.send_once("DELETE", PATH)
    assert len(rest.sent) == 2 + is_repeated


def test_only_a_get_needs_an_object(rest: Rest, requests_mock: Mocker) -> None:
    """Answers to other methods may have no body, or no object in it."""
    for method, text in product(("POST", "PATCH", "DELETE"), ("", "null", "{}")):
        requests_mock.request(method, PATH, text=text)
        assert rest.send(method, PATH) == {}


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [("3", 3, 3.3), ("1000000000", 10, 10), *((each, 0.125, 0.25) for each in ("0", "-5", "soon"))],
)
def test_too_many_requests_are_sent_again(
    rest: Rest, requests_mock: Mocker, time: Time, retry_after: str, least: float, most: float
) -> None:
    """After the pause that iconik asks for, any request is repeated; the next pause is short."""
    refusal = answer(429, **{"Retry-After": retry_after})
    for method in ("GET", "POST", "DELETE"):
        requests_mock.request(method, PATH, [refusal, GOOD])
        before = time.now
        assert rest.send(method, PATH) == FOUND
        assert least <= round(time.now - before, 6) <= most + 0.03
    requests_mock.get(PATH, [answer(429)] * 6 + [GOOD])
    assert rest.get(PATH) == FOUND  # Refusals do not count as attempts.


# The token


def test_a_rotated_token_is_read_again(rest: Rest, requests_mock: Mocker) -> None:
    """After the refusal of the old one, all requests use the new one."""
    tokens = ["old"]

    def read(max_age: float = 300) -> str:
        if max_age == 0:
            tokens.append("new")
        return tokens[-1]

    rest.read_token = read
    requests_mock.get(PATH, **answer(401))
    requests_mock.get(PATH, request_headers={"Auth-Token": "new"}, **GOOD)
    assert rest.get(PATH) == rest.get(PATH) == FOUND
    assert len(rest.sent) == 3


def test_a_token_is_at_fault_if_never_accepted(rest: Rest, requests_mock: Mocker) -> None:
    """One refusal is nothing, and two of one call say nothing about other calls."""
    requests_mock.get(PATH, [*[answer(401)] * 3, GOOD, answer(401)])
    with pytest.raises(errors.AdministratorError, match="iconik-token"):
        rest.get(PATH)
    assert rest.pace.now() > 1000  # A pause, in which iconik may change its mind.
    assert rest.get(PATH) == FOUND
    with pytest.raises(errors.IconikUnavailable, match="token"):
        rest.get(PATH)
    assert len(rest.sent) == 6


@pytest.mark.parametrize("token", ["line\nbreak", "ümlaut", "tab\t", " space"])
def test_an_impossible_token_is_not_sent(token: str) -> None:
    """A token that is invalid in a header is an error that does not quote it."""
    with pytest.raises(errors.AdministratorError) as raised:
        new_rest(URL, World(), lambda **_: token)
    assert token not in str(raised.value)


# Answers over a socket

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP, CHUNKED = b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n"
LONG = {"objects": ["x" * 99_999]}
BODY = b'{"objects": ["' + b"x" * 99_999 + b'"]}'
PACKED = gzip.compress(BODY)


@contextmanager
def answering(
    *answers: Iterable[bytes | None], seconds: float = 60
) -> Iterator[tuple[Rest, list[bytes]]]:
    """Answer the requests of one connection; yield a REST client, and the requests.

    An answer consists of parts. After None, nothing comes until the client is done.
    """
    received, is_over = list[bytes](), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # The client may hang up.
                for parts in answers:
                    received.append(connection.recv(1 << 16))
                    for part in parts:
                        is_over.wait() if part is None else connection.sendall(part)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield new_rest(url, World(), deadline=Deadline(seconds)), received
        is_over.set()
        thread.join()


def in_chunks(body: bytes) -> bytes:
    """Return a body in two chunks of odd sizes, and the end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:77], body[77:], b""))


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (b"\r\n" + BODY, LONG),
        (GZIP + b"\r\n" + PACKED, LONG),
        (CHUNKED + b"\r\n" + in_chunks(BODY), LONG),
        (GZIP + CHUNKED + b"\r\n" + in_chunks(PACKED), LONG),
        (b"Content-Length: 99\r\n\r\n{}", None),
        (CHUNKED + b"\r\n2\r\n{}\r\n", None),
        (GZIP + b"\r\nnot gzip", None),
        (GZIP + b"\r\n" + PACKED[:-50], None),
    ],
    ids=["no end", "gzip", "chunks", "both", "short", "half chunks", "no gzip", "half gzip"],
)
def test_only_a_whole_answer_counts(more: bytes, found: object) -> None:
    """A server may pack a body, or send it in chunks; one that breaks off may look whole."""
    answer = None
    with answering([HEAD + more]) as (rest, _), suppress(errors.IconikUnavailable):
        _, answer = rest.send_once("GET", "/")
    assert answer == found


@pytest.mark.parametrize(
    ("parts", "seconds", "reason"),
    [
        ([None], 0.2, "in time"),
        ([HEAD, None], 0.2, "in time"),
        ([HEAD + b"Content-Length: 99\r\n\r\n", None], 0.2, "in time"),
        (chain([HEAD + CHUNKED + b"\r\n"], repeat(b"1\r\n \r\n")), 0.2, "in time"),
        ([HEAD + GZIP + b"\r\n", gzip.compress(b" " * (MAX_ANSWER + 1))], 60, "32 MiB"),
        (chain([HEAD + b"\r\n"], repeat(BODY)), 60, "32 MiB"),
    ],
    ids=["silent", "head", "no body", "drip", "packed", "plain"],
)
def test_an_answer_without_end_is_given_up(
    parts: Iterable[bytes | None], seconds: float, reason: str
) -> None:
    """It takes no more than the remaining time, and no more memory, even after decompression."""
    with (
        answering(parts, seconds=seconds) as (rest, _),
        pytest.raises(errors.IconikError, match=reason),
    ):
        rest.send_once("GET", "/")


def test_a_connection_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stays open, but no cookie is kept, and the environment's proxy is not used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    parts = [HEAD, b"Set-Cookie: a=b\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY]
    with answering(parts, parts) as (rest, requests):
        assert rest.get("/") == rest.get("/") == LONG
    assert b"Auth-Token" in requests[1]
    assert b"Cookie" not in requests[1]
