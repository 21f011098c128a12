"""Odd answers on the wire, and what the client makes of them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests_mock import Mocker

from sandbox.world import World
from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    IconikBusy,
    IconikError,
    IconikTimeout,
    PluginError,
)
from storage_plugin.iconik import Iconik, new_session
from tests.conftest import new_client

URL = "https://app.iconik.io"
ID = "11f0aaaa-0000-4000-8000-00000000000a"
OTHER = "11f0aaaa-0000-4000-8000-00000000000b"
STORAGES = f"{URL}/API/files/v1/storages/"
FILES = f"{URL}/API/files/v1/assets/{ID}/files/"
FILE_SET = f"{URL}/API/files/v1/assets/{ID}/file_sets/{OTHER}/"
TOKEN = "the-token"


@pytest.fixture
def client() -> Iconik:
    """Return a client of an iconik that exists in mocked answers alone."""
    return Iconik(new_session(), URL, "the-app", lambda **_: TOKEN)


def storage(number: int, name: str = "x") -> dict[str, Any]:
    """Return the row of a storage."""
    return {"id": f"{number:08}-0000-4000-8000-000000000000", "name": name, "method": "FILE"}


def test_every_request_is_authenticated_and_limited(client: Iconik, requests_mock: Mocker) -> None:
    """App ID and token go along in headers, and the time is limited."""
    requests_mock.get(STORAGES, json={"objects": []})
    assert list(client.storages()) == []
    request = requests_mock.last_request
    assert request.headers["App-ID"] == "the-app"
    assert request.headers["Auth-Token"] == TOKEN
    assert request.timeout == (3.05, 10.0)


def test_nothing_that_iconik_sends_is_kept_in_the_session(requests_mock: Mocker) -> None:
    """Cookies of one answer do not go along with the next request of another thread."""
    session = new_session()
    requests_mock.get(STORAGES, json={"objects": []}, headers={"Set-Cookie": "a=b"})
    for _ in range(2):
        list(Iconik(session, URL, "the-app", lambda **_: TOKEN).storages())
    assert "Cookie" not in requests_mock.last_request.headers
    assert not {"App-ID", "Auth-Token"} & session.headers.keys()


def test_redirects_are_not_followed(client: Iconik, requests_mock: Mocker) -> None:
    """The token does not go where iconik's answer points to."""
    elsewhere = "https://elsewhere.example/"
    requests_mock.get(STORAGES, status_code=302, headers={"Location": elsewhere})
    requests_mock.get(elsewhere, json={"objects": []})
    with pytest.raises(IconikError, match="302"):
        list(client.storages())
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(
    ("status", "error", "answered"),
    [
        (400, IconikError, 502),
        (401, AdministratorError, 500),
        (403, AccessDenied, 500),
        (404, IconikError, 502),
        (429, IconikBusy, 503),
        (500, IconikError, 502),
        (503, IconikError, 502),
    ],
)
def test_statuses_are_errors_by_who_must_act(
    client: Iconik, requests_mock: Mocker, status: int, error: type[PluginError], answered: int
) -> None:
    """Each refusal becomes an error that says what to do, and quotes nothing of the answer."""
    requests_mock.get(STORAGES, status_code=status, text="<html>quoted")
    with pytest.raises(error) as raised:
        list(client.storages())
    assert raised.value.status == answered
    assert "quoted" not in str(raised.value)
    assert TOKEN not in str(raised.value)


def test_missing_roles_are_named(client: Iconik, requests_mock: Mocker) -> None:
    """A refusal tells the role to grant."""
    requests_mock.get(STORAGES, status_code=403)
    with pytest.raises(AccessDenied, match="can_read_storages"):
        list(client.storages())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (requests.ConnectTimeout, IconikTimeout),
        (requests.ReadTimeout, IconikTimeout),
        (requests.ConnectionError, IconikError),
        (requests.exceptions.ChunkedEncodingError, IconikError),
        (requests.exceptions.InvalidHeader, IconikError),
    ],
)
def test_network_faults_are_told_without_their_text(
    client: Iconik, requests_mock: Mocker, fault: type[Exception], error: type[PluginError]
) -> None:
    """The text of a network fault may quote a header, so it goes nowhere."""
    requests_mock.get(STORAGES, exc=fault(f"header {TOKEN}"))
    with pytest.raises(error) as raised:
        list(client.storages())
    assert TOKEN not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    "text",
    [
        "", "<html>", "null", "[]", '"x"', "{}", '{"objects": null}', '{"objects": {}}',
        '{"objects": [null]}', '{"objects": [{}]}', '{"objects": [{"id": "../x"}]}',
        f'{{"objects": [{{"id": "{ID}"}}]}}',
        f'{{"objects": [{{"id": "{ID}", "name": null, "method": "FILE"}}]}}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_nonsense_is_an_error(client: Iconik, requests_mock: Mocker, text: str) -> None:
    """An answer that is not what was asked for is never taken for an empty one."""
    requests_mock.get(STORAGES, text=text)
    with pytest.raises(IconikError, match="answer holds"):
        list(client.storages())


@pytest.mark.parametrize("field", ["file_set_id", "format_id", "storage_id", "original_name"])
@pytest.mark.parametrize("value", [None, "", 1])
def test_files_must_say_where_they_belong(
    client: Iconik, requests_mock: Mocker, field: str, value: object
) -> None:
    """A file that belongs nowhere might be the one that is lost: it is an error."""
    row = dict.fromkeys(["id", "file_set_id", "format_id", "storage_id", "original_name"], ID)
    requests_mock.get(FILES, json={"objects": [row | {field: value}]})
    with pytest.raises(IconikError, match=field):
        client.files(ID)


# Pages


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example/API/files/v1/storages/?page=2",
        "//elsewhere.example/API/files/v1/storages/",
        "http://app.iconik.io/API/files/v1/storages/?page=2",
        "https://app.iconik.io@elsewhere.example/API/",
        "https://app.iconik.io:444/API/files/v1/storages/",
        "/elsewhere",
        "http://[",
        17,
    ],
)
def test_links_to_other_hosts_are_not_followed(
    client: Iconik, requests_mock: Mocker, link: object
) -> None:
    """The token goes to iconik alone."""
    requests_mock.get(STORAGES, json={"objects": [storage(1)], "next_url": link})
    with pytest.raises(IconikError, match="another host"):
        list(client.storages())
    assert requests_mock.call_count == 1


@pytest.mark.parametrize("link", ["/API/files/v1/storages/?page=2", f"{STORAGES}?page=2"])
def test_links_are_followed_as_they_are(client: Iconik, requests_mock: Mocker, link: str) -> None:
    """A link holds its query already."""
    requests_mock.get(STORAGES, json={"objects": [storage(1)], "next_url": link})
    requests_mock.get(f"{STORAGES}?page=2", json={"objects": [storage(2)], "next_url": None})
    assert len(list(client.storages())) == 2
    assert requests_mock.last_request.query == "page=2"


def test_rows_count_once(client: Iconik, requests_mock: Mocker) -> None:
    """What moves from one page to the next while they are read does not count twice."""
    pages = [
        {"objects": [storage(1), storage(1), storage(2)], "page": 1, "pages": 2},
        {"objects": [storage(2), storage(3)], "page": 2, "pages": 2},
    ]
    requests_mock.get(STORAGES, [{"json": page} for page in pages])
    assert [row.id for row in client.storages()] == [storage(number)["id"] for number in (1, 2, 3)]


@pytest.mark.parametrize(
    "following", [{"next_url": "/API/files/v1/storages/?page=2"}, {"pages": 9}]
)
def test_a_page_that_comes_again_and_again_is_an_error(
    client: Iconik, requests_mock: Mocker, following: dict[str, object]
) -> None:
    """Paging that leads nowhere ends, and not as if the list were complete."""
    requests_mock.get(STORAGES, json={"objects": [storage(1)], **following})
    with pytest.raises(IconikError, match="again and again"):
        list(client.storages())


def test_a_full_page_may_be_followed_by_none(client: Iconik, requests_mock: Mocker) -> None:
    """Where a page is full and says nothing of others, the next one is asked for."""
    row = dict.fromkeys(["file_set_id", "format_id", "storage_id", "original_name"], ID)
    rows = [row | {"id": storage(number)["id"]} for number in range(10)]
    ends = [{"json": {"objects": []}}, {"status_code": 404}]
    for end in ends:
        requests_mock.get(FILES, [{"json": {"objects": rows}}, end])
        assert len(client.files(ID)) == 10
        assert f"last_id={rows[-1]['id']}" in requests_mock.last_request.query


def test_a_link_to_nowhere_is_an_error(client: Iconik, requests_mock: Mocker) -> None:
    """A page that iconik links to must be there."""
    link = "/API/files/v1/storages/?page=2"
    requests_mock.get(
        STORAGES, [{"json": {"objects": [storage(1)], "next_url": link}}, {"status_code": 404}]
    )
    with pytest.raises(IconikError):
        list(client.storages())


# Delete


@pytest.mark.parametrize(
    ("deleted", "purged", "calls"), [(204, None, 1), (404, None, 1), (200, 204, 2), (200, 404, 2)]
)
def test_delete_is_for_good(
    client: Iconik, requests_mock: Mocker, deleted: int, purged: int | None, calls: int
) -> None:
    """What iconik only marks is purged; what is gone already is fine."""
    requests_mock.delete(f"{FILE_SET}?immediately=true", status_code=deleted)
    if purged:
        requests_mock.delete(f"{FILE_SET}purge/", status_code=purged)
    client.delete_file_set(ID, OTHER)
    assert requests_mock.call_count == calls


def test_a_failed_purge_is_an_error(client: Iconik, requests_mock: Mocker) -> None:
    """A file set that stays in the recycle bin is told."""
    requests_mock.delete(FILE_SET, status_code=200)
    requests_mock.delete(f"{FILE_SET}purge/", status_code=400)
    with pytest.raises(IconikError):
        client.delete_file_set(ID, OTHER)


# Copy


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        ({"json": {"job_id": ID, "success": "x"}}, ID),
        ({"json": {"success": "x"}}, None),
        ({"json": {"job_id": "x" * 99}}, None),
        ({"text": ""}, None),
    ],
)
def test_copy_returns_the_job_that_iconik_tells(
    client: Iconik, requests_mock: Mocker, answer: dict[str, Any], job: str | None
) -> None:
    """A job's id is documented nowhere: it is passed on where there is one."""
    requests_mock.post(f"{STORAGES}{ID}/bulk/", status_code=202, **answer)
    assert (
        client.copy(ID, "assets", [OTHER], format_name="A", file_path="/", preferred_source=None)
        == job
    )
    assert requests_mock.last_request.json() == {
        "object_type": "assets",
        "object_ids": [OTHER],
        "format_name": "A",
        "file_path": "/",
    }


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
    assert list(new_client(iconik_url, world, read).storages()) == []
    assert asked == [None, 0]


def test_a_wrong_token_is_read_again_once(world: World, iconik_url: str) -> None:
    """A token that stays refused costs one access in all, and the administrator is told."""
    read, asked = rotating("old", "wrong")
    client = new_client(iconik_url, world, read)
    for _ in range(3):
        with pytest.raises(AdministratorError, match="iconik-token"):
            list(client.storages())
    assert len(asked) == 2


@pytest.mark.parametrize("token", ["line\nbreak", "ümlaut", "tab\t"])
def test_an_impossible_token_is_not_sent(token: str, requests_mock: Mocker) -> None:
    """A token that is no header is the administrator's to mend, and is not quoted."""
    client = Iconik(new_session(), URL, "the-app", lambda **_: token)
    with pytest.raises(AdministratorError) as raised:
        list(client.storages())
    assert not re.search(re.escape(token), str(raised.value))
    assert requests_mock.call_count == 0
