"""Single requests to iconik: their limits, their errors, their repeats, and the token."""

import traceback
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, call

import flask
import pytest
import requests
from requests_mock import Mocker

from sandbox.server import serve
from sandbox.world import World
from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    IconikError,
    IconikTimeout,
    IconikUnavailable,
    NotFound,
    OutOfTime,
    PluginError,
)
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest
from tests.conftest import Time, mocked_rest, new_rest

URL = "https://app.iconik.io"
PATH = "/API/files/v1/storages/"
QUOTED = "words that nobody shall see"


@pytest.fixture
def rest(time: Time) -> Rest:
    """Return a REST client of mocked answers."""
    return mocked_rest(time)


def test_every_request_is_authenticated_and_limited(rest: Rest, requests_mock: Mocker) -> None:
    """Headers contain the App ID and the token, and the time is limited."""
    requests_mock.get(PATH, json={})
    assert rest.get(PATH) == {}
    request = requests_mock.last_request
    assert request.headers.items() >= {"App-ID": World.app_id, "Auth-Token": World.token}.items()
    assert request.timeout == (3.05, 10.0)


def test_no_request_outlasts_the_deadline(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """The time limit shrinks with the remaining time; without time, nothing is sent."""
    requests_mock.get(PATH, json={})
    time.sleep(56)
    rest.get(PATH)
    assert requests_mock.last_request.timeout == (0.5, 0.5)
    time.sleep(1)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    assert rest.calls == 1


def test_nothing_but_iconik_decides_on_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session keeps no cookies, and does not use the environment's proxy."""
    app, cookies = flask.Flask("cookies"), []

    @app.get(PATH)
    def answer() -> flask.Response:
        cookies.append(flask.request.headers.get("Cookie"))
        response = flask.jsonify({})
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
    requests_mock.get("https://elsewhere.example/", json={})
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
    pace.wait(deadline)
    for seconds in (30, 1):
        time.sleep(seconds)
        new_rest(URL, World(), pace=pace)
    assert closed == [1031]


# Errors and repeats


@pytest.mark.parametrize(
    ("answer", "error", "status", "calls"),
    [
        ({"status_code": 400, "text": QUOTED}, IconikError, 502, 1),
        ({"status_code": 401, "text": QUOTED}, AdministratorError, 500, 1),
        ({"status_code": 403, "text": QUOTED}, AccessDenied, 500, 1),
        ({"status_code": 404, "text": QUOTED}, NotFound, 502, 1),
        ({"status_code": 500, "text": QUOTED}, IconikUnavailable, 502, 5),
        ({"status_code": 503, "text": QUOTED}, IconikUnavailable, 502, 5),
        ({"exc": requests.ConnectTimeout(QUOTED)}, IconikTimeout, 504, 1),
        ({"exc": requests.ReadTimeout(QUOTED)}, IconikTimeout, 504, 1),
        ({"exc": requests.ConnectionError(QUOTED)}, IconikUnavailable, 502, 5),
        ({"exc": requests.exceptions.ChunkedEncodingError(QUOTED)}, IconikUnavailable, 502, 5),
        ({"exc": requests.exceptions.InvalidHeader(QUOTED)}, IconikUnavailable, 502, 5),
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
    assert QUOTED not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("text", ["", "<html>", "null", "[]", '"x"', '{"objects": [', "[" * 99999])
def test_what_is_no_object_is_an_error(rest: Rest, requests_mock: Mocker, text: str) -> None:
    """The client never takes an invalid answer for an empty one."""
    requests_mock.get(PATH, text=text)
    with pytest.raises(IconikUnavailable, match="not a JSON object"):
        rest.get(PATH)


FAULTS = [{"status_code": 500}, {"exc": requests.ConnectionError}, {"text": '{"objects": ['}]
"""The last one is a fault only in the answer to a GET."""


@pytest.mark.parametrize("fault", FAULTS)
def test_harmless_requests_are_repeated(
    rest: Rest, requests_mock: Mocker, time: Time, fault: dict[str, Any]
) -> None:
    """A GET survives four failures, with pauses between them."""
    requests_mock.get(PATH, [fault] * 4 + [{"json": {}}])
    assert rest.get(PATH) == {}
    assert 1000 + 3 < time.now < 1000 + 8


@pytest.mark.parametrize("fault", FAULTS[:-1])
def test_post_is_not_repeated(rest: Rest, requests_mock: Mocker, fault: dict[str, Any]) -> None:
    """A POST that failed may have been served, so the client does not send it again."""
    requests_mock.post(PATH, [fault])
    with pytest.raises(IconikUnavailable):
        rest.send("POST", PATH, json={})
    assert rest.calls == 1


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
    answers: list[dict[str, Any]] = [{"status_code": 429, "headers": headers}, {"json": {}}]
    requests_mock.request(method, PATH, answers)
    assert rest.send(method, PATH) == {}
    least, most = pause
    assert least <= round(time.now - 1000, 6) <= most


def test_refusals_are_no_failures(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """Refusals do not count as attempts, and the pauses start small again after a success."""
    refusal = {"status_code": 429}
    requests_mock.get(PATH, [refusal] * 6 + [{"json": {}}, refusal, {"json": {}}])
    rest.get(PATH)
    before = time.now
    rest.get(PATH)
    assert time.now - before < 1


def hanging(time: Time, meanwhile: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Return an answer that never comes, as requests_mock takes it."""

    def hang(request: object, context: object) -> str:
        time.sleep(10)
        meanwhile()
        raise requests.ReadTimeout

    return {"text": hang}


def test_a_hanging_iconik_costs_one_time_limit(
    rest: Rest, requests_mock: Mocker, time: Time
) -> None:
    """Once iconik answers no request at all, nothing else is sent."""
    requests_mock.get(PATH, [hanging(time)])
    with pytest.raises(IconikTimeout):
        rest.get(PATH)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    assert (rest.calls, time.now) == (1, 1010)


def test_a_single_hanging_answer_is_asked_for_again(
    rest: Rest, requests_mock: Mocker, time: Time
) -> None:
    """While iconik answers other threads, a request without an answer is repeated."""
    requests_mock.get("/other", json={})
    requests_mock.get(PATH, [hanging(time, lambda: rest.get("/other")), {"json": {}}])
    assert rest.get(PATH) == {}


# The token


def test_a_refused_token_is_read_again_once(world: World, iconik_url: str) -> None:
    """A token that iconik keeps refusing causes one access, and the error names the secret."""
    read = Mock(side_effect=["old", "wrong"])
    rest = new_rest(iconik_url, world, read)
    for _ in range(3):
        with pytest.raises(AdministratorError, match="iconik-token"):
            rest.get(PATH)
    assert read.mock_calls == [call(), call(max_age=0)]


@pytest.mark.parametrize("token", ["line\nbreak", "ümlaut", "tab\t", " space"])
def test_an_impossible_token_is_not_sent(token: str) -> None:
    """A token that is invalid in a header is an error that does not quote it."""
    with pytest.raises(AdministratorError) as raised:
        new_rest(URL, World(), lambda **_: token)
    assert token not in str(raised.value)
