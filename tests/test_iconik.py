"""Odd answers of single endpoints."""

from typing import Any

import pytest
from requests_mock import Mocker

from storage_plugin.errors import AccessDenied, IconikError
from storage_plugin.iconik import Iconik
from storage_plugin.pace import Deadline, Pace
from storage_plugin.rest import Rest, new_session
from storage_plugin.settings import Settings
from tests.conftest import Time

ID = "11f0aaaa-0000-4000-8000-00000000000a"
OTHER = "11f0aaaa-0000-4000-8000-00000000000b"
FILES = f"/API/files/v1/assets/{ID}/files/"
FILE_SET = f"/API/files/v1/assets/{ID}/file_sets/{OTHER}/"
BULK = f"/API/files/v1/storages/{ID}/bulk/"


def listing(row: dict[str, Any]) -> dict[str, Any]:
    """Return the list that holds one row."""
    return {"objects": [row], "total": 1, "next_url": None}


@pytest.fixture
def iconik(time: Time) -> Iconik:
    """Return a client of an iconik that exists in mocked answers alone, in no time."""
    session, settings, pace = new_session(), Settings("app", "x"), Pace(time, time.sleep)
    read, deadline = (lambda **_: "the-token"), Deadline(60, time)
    return Iconik(Rest(session, settings, read_token=read, pace=pace, deadline=deadline))


def test_missing_roles_are_named(iconik: Iconik, requests_mock: Mocker) -> None:
    """A refusal names the call, and the roles to grant."""
    requests_mock.post(BULK, status_code=403)
    with pytest.raises(AccessDenied, match=f"POST {BULK}: .* can_write_transfers, and access"):
        iconik.copy(
            ID, "assets", object_ids=[ID], format_name="A", file_path=None, preferred_source=None
        )


@pytest.mark.parametrize("field", ["file_set_id", "format_id", "storage_id", "original_name"])
@pytest.mark.parametrize("value", [None, "", 1])
def test_files_must_say_where_they_belong(
    iconik: Iconik, requests_mock: Mocker, field: str, value: object
) -> None:
    """A file that belongs nowhere might be the one that is lost: it is an error."""
    row = dict.fromkeys(["id", "file_set_id", "format_id", "storage_id", "original_name"], ID)
    requests_mock.get(FILES, json=listing(row | {field: value}))
    with pytest.raises(IconikError, match=field):
        iconik.files(ID)


def test_ids_are_compared_in_lower_case(iconik: Iconik, requests_mock: Mocker) -> None:
    """However iconik writes an id, it is one id."""
    row = dict.fromkeys(["file_set_id", "format_id", "storage_id", "original_name"], ID.upper())
    requests_mock.get(FILES, json=listing(row | {"id": OTHER.upper()}))
    (file,) = iconik.files(ID)
    assert (file.id, file.file_set_id, file.format_id, file.storage_id) == (OTHER, ID, ID, ID)


def test_answers_belong_to_what_was_asked(iconik: Iconik, requests_mock: Mocker) -> None:
    """A file of another asset is an error, and another file set's status is none."""
    row = dict.fromkeys(["id", "file_set_id", "format_id", "storage_id", "original_name"], ID)
    requests_mock.get(FILES, json=listing(row | {"asset_id": OTHER}))
    with pytest.raises(IconikError, match="another asset"):
        iconik.files(ID)
    requests_mock.get(FILE_SET, json={"id": ID, "status": "ACTIVE"})
    assert iconik.file_set_status(ID, OTHER) is None


def test_what_is_gone_is_deleted(iconik: Iconik, requests_mock: Mocker) -> None:
    """A file or file set that goes while its asset is looked at is no copy any more."""
    for path in (FILE_SET, f"{FILES}{OTHER}/"):
        requests_mock.get(path, status_code=404)
    assert iconik.file_set_status(ID, OTHER) == iconik.file_status(ID, OTHER) == "DELETED"


def test_nameless_storages_do_not_matter(iconik: Iconik, requests_mock: Mocker) -> None:
    """A storage without a name is one that nobody asks for."""
    requests_mock.get("/API/files/v1/storages/", json=listing({"id": ID, "name": None}))
    assert iconik.storages()[0].name is None


@pytest.mark.parametrize("size", [None, -1, True, 1.5, "1000"])
def test_odd_sizes_are_unknown(iconik: Iconik, requests_mock: Mocker, size: object) -> None:
    """What is no number of bytes is no size to compare."""
    row = dict.fromkeys(["id", "file_set_id", "format_id", "storage_id", "original_name"], ID)
    requests_mock.get(FILES, json=listing(row | {"size": size}))
    assert iconik.files(ID)[0].size is None


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([{"status_code": 204}], 1),
        ([{"status_code": 404}], 1),
        ([{"status_code": 200}, {"status_code": 204}], 2),
        ([{"status_code": 200}, {"status_code": 404}], 2),
        ([{"status_code": 500}, {"status_code": 404}], 2),
        ([{"status_code": 429}, {"status_code": 204}], 2),
    ],
)
def test_delete_is_for_good(
    iconik: Iconik, requests_mock: Mocker, answers: list[dict[str, Any]], calls: int
) -> None:
    """What iconik only marks is purged; what is gone already, maybe by a lost answer, is fine."""
    marked = answers[0] == {"status_code": 200}
    requests_mock.delete(f"{FILE_SET}?immediately=true", answers[:1] if marked else answers)
    requests_mock.delete(f"{FILE_SET}purge/", answers[1:] if marked else [{"status_code": 500}])
    iconik.delete_file_set(ID, OTHER)
    assert requests_mock.call_count == calls


def test_a_failed_purge_is_an_error(iconik: Iconik, requests_mock: Mocker) -> None:
    """A file set that stays in the recycle bin is told."""
    requests_mock.delete(FILE_SET, status_code=200)
    requests_mock.delete(f"{FILE_SET}purge/", status_code=400)
    with pytest.raises(IconikError):
        iconik.delete_file_set(ID, OTHER)


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        ({"json": {"job_id": ID, "success": "x"}}, ID),
        ({"json": {"success": "x"}}, None),
        ({"json": {"job_id": "x" * 99}}, None),
        ({"text": ""}, None),
        ({"text": "Accepted"}, None),
        ({"text": "[]"}, None),
        ({"text": "null"}, None),
    ],
)
def test_copy_returns_the_job_that_iconik_tells(
    iconik: Iconik, requests_mock: Mocker, answer: dict[str, Any], job: str | None
) -> None:
    """A job's id is documented nowhere: it is passed on where there is one."""
    requests_mock.post(BULK, status_code=202, **answer)
    told = iconik.copy(
        ID, "assets", object_ids=[OTHER], format_name="A", file_path="/", preferred_source=None
    )
    assert told == job
    assert requests_mock.last_request.json() == {
        "object_type": "assets",
        "object_ids": [OTHER],
        "format_name": "A",
        "file_path": "/",
    }
