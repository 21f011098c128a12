"""Lists in pages: where they go on, where they end, and when they cannot be trusted."""

from collections.abc import Callable
from typing import Any

import pytest
from requests_mock import Mocker

from storage_plugin.errors import CallerError, IconikError
from storage_plugin.iconik import pages
from storage_plugin.iconik.client import Iconik
from tests.conftest import Time, mocked_rest

PATH = "/API/files/v1/storages/"

Read = Callable[..., list[int]]


@pytest.fixture(params=["page", "last_id"])
def read(request: pytest.FixtureRequest, time: Time, requests_mock: Mocker) -> Read:
    """Return a function that reads a list with the given pages and returns the rows' numbers."""

    def read(*answers: dict[str, Any]) -> list[int]:
        requests_mock.get(PATH, list(answers))
        rows = pages.read_whole(mocked_rest(time), PATH, dict, key=request.param)
        assert requests_mock.call_count == len(answers)
        return [int(row["id"][:8]) for row in rows]

    return read


def row(number: int) -> dict[str, str]:
    """Return a row with an id."""
    return {"id": f"{number:08}-000a-4000-8000-00000000000a"}


def page(*numbers: int, **more: object) -> dict[str, Any]:
    """Return an answer with a page of rows, as requests_mock takes it."""
    return {"json": {"objects": [row(number) for number in numbers], **more}}


MISSING, NULL = {"status_code": 404}, {"json": {"objects": None}}
TEN, LINK = range(10), {"next_url": f"https://elsewhere.example{PATH}?page=7"}


def test_rows_count_once(read: Read) -> None:
    """A row that moves to the next page does not count twice, nor does its id in upper case."""
    second = {"json": {"objects": [row(2), row(3), {"id": row(3)["id"].upper()}]}}
    assert read(page(1, 1, 2, **LINK), second) == [1, 2, 3]


# Where a list ends

# Pages that are not full, or as full as iconik's total: the usual list costs one request.
LAST = [
    page(),
    page(total=0, pages=0),
    page(*range(9)),
    page(*range(24), per_page=100),
    page(*TEN, total=10),
    page(*TEN, total=10, pages=1, per_page=10, next_url=None),
    NULL,
]
# Pages after which, without another word from iconik, only the next shows that there is none.
FULL = [
    page(*TEN),
    page(*range(24)),
    page(*TEN, next_url=None),
    page(*TEN, per_page=10),
    page(*range(100), per_page=100),
]
# Pages that are not full, but iconik says that more rows follow.
CONTINUED = [page(1, **LINK), page(1, total=2), page(1, pages=2), page(1, total=2, per_page=100)]


@pytest.mark.parametrize(
    "answers",
    [
        *([last] for last in LAST),
        *([full, end] for full in FULL for end in (page(), MISSING, NULL)),
        [page(*range(24)), page(*range(24))],
        [page(*TEN, total=20), page(*range(10, 20)), page(20)],
        *([first, page(2)] for first in CONTINUED),
    ],
)
def test_a_list_is_read_to_its_end_and_no_further(
    read: Read, answers: list[dict[str, Any]]
) -> None:
    """All rows arrive, with as few requests as iconik's words allow, even if each page has all."""
    sent = [row for each in answers for row in each.get("json", {}).get("objects") or ()]
    assert read(*answers) == [*dict.fromkeys(int(row["id"][:8]) for row in sent)]


@pytest.mark.parametrize(
    ("read", "asked"),
    [("page", "page=3"), ("last_id", f"last_id={row(2)['id']}")],
    indirect=["read"],
)
def test_the_plugin_builds_each_query(read: Read, requests_mock: Mocker, asked: str) -> None:
    """No link is followed, wherever it leads."""
    assert read(page(1, **LINK), page(2, **LINK), page(3)) == [1, 2, 3]
    assert requests_mock.last_request.query == f"per_page=100&{asked}"
    assert {request.hostname for request in requests_mock.request_history} == {"app.iconik.io"}


# Lists that cannot be trusted


NO_ROWS = [{}, "x", [None], [{}], [{"id": None}], [{"id": "../x"}], [row(1), {"id": 1}]]
ODD_ROWS = [row(1) | {"status": status} for status in ("OPEN", "CLOSED")]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        *(([{"json": {"objects": objects}}], "answer contains") for objects in NO_ROWS),
        ([{"json": {"rows": []}}], "answer contains"),
        ([{"json": {"objects": ODD_ROWS}}], "contradicts itself"),
        ([page(total=1)], "not send 1 of"),
        ([{"json": {"objects": None, "total": 1}}], "not send 1 of"),
        ([page(*TEN, total=12), page()], "not send 2 of"),
        ([page(*TEN, total=12), MISSING], "not send 2 of"),
        ([page(*TEN, total=12), page(10), page()], "not send 1 of"),
        ([page(*TEN), page(*TEN)], "again and again"),
        ([page(*range(100)), page(*range(100))], "again and again"),
        ([page(1, 2, per_page=2), page(1, 2, per_page=2)], "again and again"),
    ],
)
def test_evidence_must_be_whole(read: Read, answers: list[dict[str, Any]], reason: str) -> None:
    """Rows without ids, two that differ, too few, or always the same page: that is no evidence."""
    with pytest.raises(IconikError, match=reason):
        read(*answers)


@pytest.mark.parametrize("total", [{"total": 10_200}, {"total": 10_000}, {}])
def test_a_search_that_finds_too_much_says_what_to_do(
    time: Time, requests_mock: Mocker, total: dict[str, int]
) -> None:
    """No list goes beyond 10,000 results, so trying again does not help."""
    search_id = row(1)["id"]

    def answer(request: Any, context: Any) -> dict[str, Any]:
        number = int(request.qs.get("page", ["1"])[0])
        context.status_code = 200 if number <= 100 else 400
        found = range(100 * number, 100 * number + 100)
        return {"objects": [row(each) | {"object_type": "assets"} for each in found], **total}

    requests_mock.get(f"/API/search/v1/search/saved/{search_id}/", json=answer)
    with pytest.raises(CallerError, match=r"10,000 .* narrow it") as raised:
        Iconik(mocked_rest(time)).saved_search_results(search_id)
    assert "again" not in str(raised.value) + raised.value.for_editor("")
    assert requests_mock.call_count == (1 if total else 100)
