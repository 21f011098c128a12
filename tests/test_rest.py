"""Odd answers on the wire: what is repeated, what is an error, and where requests never go."""

from collections.abc import Callable
from typing import Any

import flask
import pytest
import requests
from requests_mock import Mocker

from sandbox.server import serve
from sandbox.world import World
from storage_plugin import pages
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
from storage_plugin.pace import Deadline, Pace
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.wire import new_session
from tests.conftest import Time, new_rest

URL = "https://app.iconik.io"
PATH = "/API/files/v1/storages/"
TOKEN = "the-token"


@pytest.fixture
def rest(time: Time) -> Rest:
    """Return what speaks to an iconik that exists in mocked answers alone, in no time."""
    return begin(new_session(), Pace(time, time.sleep), Deadline(60, time))


def begin(session: requests.Session, pace: Pace, deadline: Deadline) -> Rest:
    """Return what sends the requests of one action."""
    settings = Settings("the-app", "LucidLink", iconik_url=URL)
    read = lambda **_: TOKEN  # noqa: E731
    return Rest(session, settings, read_token=read, pace=pace, deadline=deadline)


def row(number: int) -> dict[str, str]:
    """Return a row with an id."""
    return {"id": f"{number:08}-0000-4000-8000-000000000000"}


def page(*numbers: int, **more: object) -> dict[str, Any]:
    """Return the answer with a page of rows, as requests_mock takes it."""
    return {"json": {"objects": [row(number) for number in numbers], **more}}


def ids(rest: Rest, *, cursor: bool = False) -> list[int]:
    """Return the numbers of the rows of all pages."""
    read = pages.by_cursor if cursor else pages.numbered
    return [int(row["id"][:8]) for row in read(rest, PATH)]


def test_every_request_is_authenticated_and_limited(rest: Rest, requests_mock: Mocker) -> None:
    """App ID and token go along in headers, and the time is limited."""
    requests_mock.get(PATH, json={})
    assert rest.get(PATH) == {}
    request = requests_mock.last_request
    assert request.headers["App-ID"] == "the-app"
    assert request.headers["Auth-Token"] == TOKEN
    assert request.timeout == (3.05, 10.0)


def test_no_request_outlasts_the_deadline(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """The time limit shrinks with the time that is left, and with none left nothing is sent."""
    requests_mock.get(PATH, json={})
    time.sleep(56)
    rest.get(PATH)
    assert requests_mock.last_request.timeout == (0.5, 0.5)
    time.sleep(1)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    assert rest.calls == 1


def test_nothing_but_iconik_decides_on_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookies are not kept for the next request, and the environment's proxy is not used."""
    app = flask.Flask("cookies")
    cookies = []

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
    """The token does not go where iconik's answer points to, be that a place or nonsense."""
    requests_mock.get(PATH, status_code=302, headers={"Location": elsewhere})
    requests_mock.get("https://elsewhere.example/", json={})
    with pytest.raises(IconikError):
        rest.get(PATH)
    assert {request.url for request in requests_mock.request_history} == {URL + PATH}


# Errors


@pytest.mark.parametrize(
    ("status", "error", "answered"),
    [
        (400, IconikError, 502),
        (401, AdministratorError, 500),
        (403, AccessDenied, 500),
        (404, NotFound, 502),
        (500, IconikUnavailable, 502),
        (503, IconikUnavailable, 502),
    ],
)
def test_statuses_are_errors_by_who_must_act(
    rest: Rest, requests_mock: Mocker, status: int, error: type[PluginError], answered: int
) -> None:
    """Each refusal becomes an error that says what to do, and quotes nothing of the answer."""
    requests_mock.get(PATH, status_code=status, text="<html>quoted")
    with pytest.raises(error) as raised:
        rest.get(PATH)
    assert raised.value.status == answered
    assert "quoted" not in str(raised.value)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (requests.ConnectTimeout, IconikTimeout),
        (requests.ReadTimeout, IconikTimeout),
        (requests.ConnectionError, IconikUnavailable),
        (requests.exceptions.ChunkedEncodingError, IconikUnavailable),
        (requests.exceptions.InvalidHeader, IconikUnavailable),
    ],
)
def test_network_faults_are_told_without_their_text(
    rest: Rest, requests_mock: Mocker, fault: type[Exception], error: type[PluginError]
) -> None:
    """The text of a network fault may quote a header, so it goes nowhere."""
    requests_mock.get(PATH, exc=fault(f"header {TOKEN}"))
    with pytest.raises(error) as raised:
        rest.get(PATH)
    assert TOKEN not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("text", ["", "<html>", "null", "[]", '"x"', '{"objects": [', "[" * 99999])
def test_what_is_no_object_is_an_error(rest: Rest, requests_mock: Mocker, text: str) -> None:
    """An answer that is not what was asked for is never taken for an empty one."""
    requests_mock.get(PATH, text=text)
    with pytest.raises(IconikUnavailable, match="not a JSON object"):
        rest.get(PATH)


# Repeats


FAULTS = [
    {"status_code": 500},
    {"status_code": 502, "text": "<html>"},
    {"exc": requests.ConnectionError},
    {"text": '{"objects": ['},
]
"""The last one of them is a fault in the answer to a GET alone."""


@pytest.mark.parametrize("fault", FAULTS)
def test_harmless_requests_are_repeated(
    rest: Rest, requests_mock: Mocker, time: Time, fault: dict[str, Any]
) -> None:
    """A GET survives four failures, with pauses between them."""
    requests_mock.get(PATH, [fault] * 4 + [{"json": {}}])
    assert rest.get(PATH) == {}
    assert rest.calls == 5
    assert 1000 + 3 < time.now < 1000 + 8


@pytest.mark.parametrize("fault", FAULTS)
def test_repeats_end(rest: Rest, requests_mock: Mocker, fault: dict[str, Any]) -> None:
    """A GET that fails five times is given up."""
    requests_mock.get(PATH, [fault])
    with pytest.raises(IconikUnavailable):
        rest.get(PATH)
    assert rest.calls == 5


@pytest.mark.parametrize("fault", FAULTS[:-1])
def test_post_is_not_repeated(rest: Rest, requests_mock: Mocker, fault: dict[str, Any]) -> None:
    """Whether a POST that failed was served is not known, so it is not sent again."""
    requests_mock.post(PATH, [fault])
    with pytest.raises(IconikUnavailable):
        rest.send("POST", PATH, json={})
    assert rest.calls == 1


@pytest.mark.parametrize("status", [400, 403, 404])
def test_refusals_are_not_repeated(rest: Rest, requests_mock: Mocker, status: int) -> None:
    """What iconik refuses once it refuses again."""
    requests_mock.get(PATH, status_code=status)
    with pytest.raises(PluginError):
        rest.get(PATH)
    assert rest.calls == 1


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        (None, 0.25, 0.5),
        ("3", 3, 3.3),
        ("0", 0.25, 0.5),
        ("-5", 0.25, 0.5),
        ("1000000000", 10, 10),
        ("1e9", 0.25, 0.5),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 10, 10),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.25, 0.5),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0.25, 0.5),
        ("Wed, 21 Oct 2015 07:28:00", 0.25, 0.5),
        ("nan", 0.25, 0.5),
        ("soon", 0.25, 0.5),
    ],
)
def test_too_many_requests_are_sent_again(
    rest: Rest,
    requests_mock: Mocker,
    time: Time,
    method: str,
    retry_after: str | None,
    least: float,
    most: float,
) -> None:
    """What iconik refused as too many it did not do: it is sent after the pause iconik asks for."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    answers: list[dict[str, Any]] = [{"status_code": 429, "headers": headers}, {"json": {}}]
    requests_mock.request(method, PATH, answers)
    assert rest.send(method, PATH) == {}
    assert least <= round(time.now - 1000, 6) <= most


def test_refusals_are_no_failures(rest: Rest, requests_mock: Mocker, time: Time) -> None:
    """A request that was refused often is not given up, and what is served ends the growth."""
    refusal = {"status_code": 429}
    requests_mock.get(PATH, [refusal] * 6 + [{"json": {}}, refusal, {"json": {}}])
    rest.get(PATH)
    before = time.now
    rest.get(PATH)
    assert time.now - before < 1


def test_too_many_requests_for_ever_end_in_time(
    rest: Rest, requests_mock: Mocker, time: Time
) -> None:
    """An iconik that refuses everything is asked with growing pauses, until the deadline."""
    requests_mock.get(PATH, status_code=429)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    assert rest.calls < 20
    assert time.now < 1000 + 60


def test_a_hanging_iconik_costs_one_time_limit(
    rest: Rest, requests_mock: Mocker, time: Time
) -> None:
    """When nobody gets an answer any more nothing else is sent."""

    def hang(request: object, context: object) -> str:
        time.sleep(10)
        raise requests.ReadTimeout

    requests_mock.get(PATH, text=hang)
    with pytest.raises(IconikTimeout):
        rest.get(PATH)
    with pytest.raises(OutOfTime):
        rest.get(PATH)
    assert (rest.calls, time.now) == (1, 1010)


def test_connections_that_were_idle_are_not_used(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause the session starts with new connections, while it is in use it does not."""
    session, pace, closed = new_session(), Pace(time, time.sleep), []
    monkeypatch.setattr(session, "close", lambda: closed.append(time.now))
    deadline = Deadline(600, time)
    begin(session, pace, deadline)
    pace.wait(deadline)
    time.sleep(30)
    begin(session, pace, deadline)
    time.sleep(1)
    begin(session, pace, deadline)
    assert closed == [1031]


def test_a_single_hanging_answer_is_asked_for_again(
    rest: Rest, requests_mock: Mocker, time: Time
) -> None:
    """While others are answered a request that is not is repeated."""
    requests_mock.get("/other", json={})

    def hang(request: object, context: object) -> str:
        time.sleep(10)
        rest.get("/other")  # As another thread does meanwhile.
        raise requests.ReadTimeout

    requests_mock.get(PATH, [{"text": hang}, {"json": {}}])
    assert rest.get(PATH) == {}


# Pages


@pytest.mark.parametrize(
    "objects", [None, {}, "x", [None], [{}], [{"id": None}], [{"id": "../x"}], [row(1), {"id": 1}]]
)
def test_rows_must_have_ids(rest: Rest, requests_mock: Mocker, objects: object) -> None:
    """A list is an error as a whole where one of its rows is nonsense."""
    requests_mock.get(PATH, json={"objects": objects})
    with pytest.raises(IconikError, match="answer contains"):
        ids(rest)


@pytest.mark.parametrize(
    "link",
    [
        f"https://elsewhere.example{PATH}?page=2",
        f"//elsewhere.example{PATH}",
        f"http://app.iconik.io{PATH}?page=2",
        f"https://app.iconik.io@elsewhere.example{PATH}",
        f"https://app.iconik.io:444{PATH}",
        "/elsewhere",
        "/API/users/v1/users/",
        "http://[",
        17,
    ],
)
def test_links_to_other_hosts_are_not_followed(
    rest: Rest, requests_mock: Mocker, link: object
) -> None:
    """The token goes to iconik alone."""
    requests_mock.get(PATH, **page(1, next_url=link))
    with pytest.raises(IconikError, match="elsewhere"):
        ids(rest)
    assert rest.calls == 1


@pytest.mark.parametrize(
    ("link", "query"),
    [
        (f"{PATH}?page=2", "per_page=100&page=2"),
        (f"{URL}{PATH}?page=2&per_page=10", "per_page=10&page=2"),
    ],
)
def test_links_are_followed(rest: Rest, requests_mock: Mocker, link: str, query: str) -> None:
    """What a link says counts; what it leaves out, such as a filter, is asked for as before."""
    requests_mock.get(PATH, [page(1, next_url=link), page(2, next_url=None, total=2)])
    assert ids(rest) == [1, 2]
    assert requests_mock.last_request.query == query


@pytest.mark.parametrize(
    ("cursor", "query"), [(False, "page=2"), (True, f"last_id={row(1)['id']}")]
)
def test_a_link_to_nowhere_is_an_error(
    rest: Rest, requests_mock: Mocker, cursor: bool, query: str
) -> None:
    """A page that iconik links to must be there: the list is not complete without it."""
    requests_mock.get(PATH, [page(1, next_url=f"{PATH}?{query}"), {"status_code": 404}])
    with pytest.raises(IconikError, match="missing page"):
        ids(rest, cursor=cursor)


@pytest.mark.parametrize("cursor", [True, False])
def test_empty_pages_may_link_on(rest: Rest, requests_mock: Mocker, cursor: bool) -> None:
    """What an empty page links to is read; the last one may link to itself."""
    links = [f"{PATH}?page={number}" for number in (2, 3, 4, 4)]
    pages = [page(1, next_url=links[0]), page(next_url=links[1]), page(2, next_url=links[2])]
    requests_mock.get(PATH, [*pages, page(next_url=links[3])])
    assert ids(rest, cursor=cursor) == [1, 2]


def test_ids_count_once_in_any_case(rest: Rest, requests_mock: Mocker) -> None:
    """However iconik writes an id, it is one row."""
    rows = [
        {"id": "0000000A-0000-4000-8000-000000000000"},
        {"id": "0000000a-0000-4000-8000-000000000000"},
    ]
    requests_mock.get(PATH, json={"objects": rows, "total": 1, "next_url": None})
    assert len(list(pages.by_cursor(rest, PATH))) == 1


def test_numbered_pages_are_read_to_the_last(rest: Rest, requests_mock: Mocker) -> None:
    """Without links the number of pages is believed, even if pages are short."""
    requests_mock.get(PATH, [page(number, pages=3, total=3) for number in (1, 2, 3)])
    assert ids(rest) == [1, 2, 3]
    assert "page=3" in requests_mock.last_request.query


@pytest.mark.parametrize("cursor", [True, False])
@pytest.mark.parametrize("end", [page(), {"status_code": 404}])
def test_a_full_page_may_be_the_last(
    rest: Rest, requests_mock: Mocker, cursor: bool, end: dict[str, Any]
) -> None:
    """Where a full page says nothing of others the next one is asked for, but need not exist."""
    requests_mock.get(PATH, [page(*range(10), per_page=100), end])
    assert ids(rest, cursor=cursor) == list(range(10))
    asked = f"last_id={row(9)['id']}" if cursor else "page=2"
    assert asked in requests_mock.last_request.query


@pytest.mark.parametrize("cursor", [True, False])
@pytest.mark.parametrize(
    "first",
    [
        page(*range(10), per_page=100, total=12),
        page(*range(10), page=1, pages=2, per_page=100, next_url=None),
        page(*range(9), total=11),
        page(*range(9)),
        page(*range(10), total=10),
        page(*range(10), next_url=None),
    ],
)
def test_a_page_is_not_the_last_on_one_word(
    rest: Rest, requests_mock: Mocker, cursor: bool, first: dict[str, Any]
) -> None:
    """A page that may be cut, by any of what iconik says, is followed by the next one."""
    requests_mock.get(PATH, [first, page(10, 11), page()])
    assert ids(rest, cursor=cursor)[-2:] == [10, 11]


@pytest.mark.parametrize("more", [{"next_url": None, "total": 10}, {"pages": 1, "total": 10}])
def test_a_full_page_is_the_last_on_two_words(
    rest: Rest, requests_mock: Mocker, more: dict[str, object]
) -> None:
    """Where iconik says twice that nothing follows nothing is asked for."""
    requests_mock.get(PATH, **page(*range(10), **more))
    assert len(ids(rest, cursor=True)) == 10
    assert rest.calls == 1


@pytest.mark.parametrize("cursor", [True, False])
@pytest.mark.parametrize("end", [page(), {"status_code": 404}, page(10)])
def test_a_list_must_be_whole(
    rest: Rest, requests_mock: Mocker, cursor: bool, end: dict[str, Any]
) -> None:
    """A list that ends before its total is an error."""
    requests_mock.get(PATH, [page(*range(10), total=12), end, page()])
    with pytest.raises(IconikError, match=r"only 1[01] of 12"):
        ids(rest, cursor=cursor)


def test_a_list_of_files_must_agree_with_itself(rest: Rest, requests_mock: Mocker) -> None:
    """Two rows of one id that differ are an error in a list with a cursor."""
    rows = [row(1) | {"status": "OPEN"}, row(1) | {"status": "CLOSED"}]
    requests_mock.get(PATH, json={"objects": rows})
    with pytest.raises(IconikError, match="contradicts itself"):
        ids(rest, cursor=True)


def test_rows_count_once(rest: Rest, requests_mock: Mocker) -> None:
    """What moves from one page to the next while they are read does not count twice."""
    requests_mock.get(PATH, [page(1, 1, 2, pages=2), page(2, 3, pages=2), page()])
    assert ids(rest) == [1, 2, 3]


@pytest.mark.parametrize("following", [{"next_url": f"{PATH}?page=2"}, {"pages": 9}])
def test_a_page_that_comes_again_and_again_is_an_error(
    rest: Rest, requests_mock: Mocker, following: dict[str, object]
) -> None:
    """Paging that leads nowhere ends, and not as if the list were complete."""
    requests_mock.get(PATH, **page(1, **following))
    with pytest.raises(IconikError, match="keeps sending"):
        ids(rest)


# The token


def rotating(*tokens: str) -> tuple[Callable[..., str], list[float | None]]:
    """Return a source of tokens, and the list of what it was asked with."""
    asked: list[float | None] = []

    def read(max_age: float | None = None) -> str:
        asked.append(max_age)
        return tokens[min(len(asked), len(tokens)) - 1]

    return read, asked


def test_a_rotated_token_is_read_again(world: World, iconik_url: str) -> None:
    """A token that iconik refuses is read anew, past any that is kept."""
    read, asked = rotating("old", world.token)
    assert new_rest(iconik_url, world, read).get(PATH)["objects"] == []
    assert asked == [None, 0]


def test_a_wrong_token_is_read_again_once(world: World, iconik_url: str) -> None:
    """A token that stays refused costs one access in all, and the administrator is told."""
    read, asked = rotating("old", "wrong")
    rest = new_rest(iconik_url, world, read)
    for _ in range(3):
        with pytest.raises(AdministratorError, match="iconik-token"):
            rest.get(PATH)
    assert len(asked) == 2


@pytest.mark.parametrize("token", ["line\nbreak", "ümlaut", "tab\t", " space"])
def test_an_impossible_token_is_not_sent(world: World, iconik_url: str, token: str) -> None:
    """A token that is no header is the administrator's to mend, and is not quoted."""
    with pytest.raises(AdministratorError) as raised:
        new_rest(iconik_url, world, lambda **_: token)
    assert token not in str(raised.value)
