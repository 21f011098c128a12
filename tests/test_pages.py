"""Lists in pages: where they go on, where they end, and when they cannot be trusted."""

from collections.abc import Callable
from typing import Any

import pytest
from requests_mock import Mocker

from storage_plugin.iconik import pages
from storage_plugin.errors import IconikError
from tests.conftest import Time, mocked_rest

URL = "https://app.iconik.io"
PATH = "/API/files/v1/storages/"

Read = Callable[..., list[int]]


@pytest.fixture(params=[pages.numbered, pages.by_cursor])
def read(request: pytest.FixtureRequest, time: Time, requests_mock: Mocker) -> Read:
    """Return a function that reads a list with the given pages and returns the rows' numbers."""

    def read(*answers: dict[str, Any]) -> list[int]:
        requests_mock.get(PATH, list(answers))
        return [int(row["id"][:8]) for row in request.param(mocked_rest(time), PATH)]

    return read


def row(number: int) -> dict[str, str]:
    """Return a row with an id."""
    return {"id": f"{number:08}-000a-4000-8000-000000000000"}


def page(*numbers: int, **more: object) -> dict[str, Any]:
    """Return an answer with a page of rows, as requests_mock takes it."""
    return {"json": {"objects": [row(number) for number in numbers], **more}}


MISSING = {"status_code": 404}


def test_rows_count_once(read: Read) -> None:
    """A row that moves to the next page meanwhile does not count twice."""
    assert read(page(1, 1, 2, pages=2), page(2, 3, pages=2), page()) == [1, 2, 3]


def test_ids_count_once_in_any_case(read: Read) -> None:
    """Upper and lower case make no difference to an id."""
    rows = [row(1), {"id": row(1)["id"].upper()}]
    assert read({"json": {"objects": rows, "total": 1, "next_url": None}}) == [1]


# Links


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
    read: Read, requests_mock: Mocker, link: object
) -> None:
    """The token goes only to iconik."""
    with pytest.raises(IconikError, match="elsewhere"):
        read(page(1, next_url=link))
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(
    ("link", "query"),
    [
        (f"{PATH}?page=2", "per_page=100&page=2"),
        (f"{URL}{PATH}?page=2&per_page=10", "per_page=10&page=2"),
    ],
)
def test_links_are_followed(read: Read, requests_mock: Mocker, link: str, query: str) -> None:
    """A link takes precedence; parameters that it leaves out, such as filters, stay."""
    assert read(page(1, next_url=link), page(2, next_url=None, total=2)) == [1, 2]
    assert requests_mock.last_request.query == query


def test_empty_pages_may_link_on(read: Read) -> None:
    """The client follows the link of an empty page; the last page may link to itself."""
    second, third, last = ({"next_url": f"{PATH}?page={number}"} for number in (2, 3, 4))
    assert read(page(1, **second), page(**third), page(2, **last), page(**last)) == [1, 2]


# Without links


@pytest.mark.parametrize(
    ("read", "asked"),
    [(pages.numbered, "page=3"), (pages.by_cursor, f"last_id={row(2)['id']}")],
    indirect=["read"],
)
def test_pages_are_read_to_the_last(read: Read, requests_mock: Mocker, asked: str) -> None:
    """Without links, the number of pages counts, even if pages are short."""
    assert read(*(page(number, pages=3, total=3) for number in (1, 2, 3))) == [1, 2, 3]
    assert asked in requests_mock.last_request.query


@pytest.mark.parametrize("end", [page(), MISSING], ids=["empty", "missing"])
def test_a_full_page_may_be_the_last(
    read: Read, requests_mock: Mocker, end: dict[str, Any]
) -> None:
    """If a full page does not say that it is the last, the next one may exist."""
    assert read(page(*range(10), per_page=100), end) == list(range(10))
    assert requests_mock.call_count == 2


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
def test_a_page_is_not_the_last_on_one_word(read: Read, first: dict[str, Any]) -> None:
    """One sign that a page is the last is not enough, so the client requests the next page."""
    assert read(first, page(10, 11), page())[-2:] == [10, 11]


@pytest.mark.parametrize("more", [{"next_url": None, "total": 10}, {"pages": 1, "total": 10}])
def test_a_full_page_is_the_last_on_two_words(
    read: Read, requests_mock: Mocker, more: dict[str, object]
) -> None:
    """If iconik says in two ways that nothing follows, nothing is requested."""
    assert read(page(*range(10), **more)) == list(range(10))
    assert requests_mock.call_count == 1


# Lists that cannot be trusted


@pytest.mark.parametrize(
    "objects", [None, {}, "x", [None], [{}], [{"id": None}], [{"id": "../x"}], [row(1), {"id": 1}]]
)
def test_rows_must_have_ids(read: Read, objects: object) -> None:
    """One invalid row makes the whole list an error."""
    with pytest.raises(IconikError, match="answer contains"):
        read({"json": {"objects": objects}})


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([page(1, next_url=f"{PATH}?page=2"), MISSING], "missing page"),
        ([page(1, next_url=f"{PATH}?page=2")], "keeps sending"),
        ([page(1, pages=9)], "keeps sending"),
        ([page(*range(10), total=12), page()], "only 10 of 12"),
        ([page(*range(10), total=12), MISSING], "only 10 of 12"),
        ([page(*range(10), total=12), page(10), page()], "only 11 of 12"),
    ],
)
def test_a_list_must_be_whole(read: Read, answers: list[dict[str, Any]], reason: str) -> None:
    """A page that is missing or that repeats does not count as the end of a list."""
    with pytest.raises(IconikError, match=reason):
        read(*answers)


@pytest.mark.parametrize("read", [pages.by_cursor], indirect=True)
def test_a_list_of_files_must_agree_with_itself(read: Read) -> None:
    """Two rows of one id that differ are an error in a list with a cursor."""
    rows = [row(1) | {"status": status} for status in ("OPEN", "CLOSED")]
    with pytest.raises(IconikError, match="contradicts itself"):
        read({"json": {"objects": rows}})
