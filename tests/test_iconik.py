"""The client of iconik's endpoints, and their odd answers."""

from typing import Any

import pytest
import requests
from requests_mock import Mocker

from storage_plugin.errors import AccessDenied, IconikBusy, IconikError, IconikUnavailable, Stale
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.rows import Deletion
from tests.conftest import Time, mocked_rest

ID = "11f0aaaa-0000-4000-8000-00000000000a"
OTHER = "11f0aaaa-0000-4000-8000-00000000000b"
FILES, FILE_SETS, FORMATS = (
    f"/API/files/v1/assets/{ID}/{name}/" for name in ("files", "file_sets", "formats")
)
FILE_SET = f"{FILE_SETS}{OTHER}/"
BULK = f"/API/files/v1/storages/{ID}/bulk/"
ROW = dict.fromkeys(["id", "file_set_id", "format_id", "storage_id", "original_name"], ID)
"""A file with only the fields that the plugin needs."""


def listing(row: dict[str, Any]) -> dict[str, Any]:
    """Return the list that holds one row."""
    return {"objects": [row], "total": 1, "next_url": None}


@pytest.fixture
def iconik(time: Time) -> Iconik:
    """Return a client of mocked answers."""
    return Iconik(mocked_rest(time))


def copy(iconik: Iconik) -> str | None:
    """Have an asset copied, and return the job."""
    return iconik.copy(
        ID, "assets", object_ids=[OTHER], format_name="A", file_path="/", preferred_source=None
    )


def delete(iconik: Iconik, not_after: float, *, immediately: bool = True) -> Deletion:
    """Delete a file set, and return the result."""
    return iconik.delete_file_set(ID, OTHER, immediately=immediately, not_after=not_after)


def test_missing_roles_are_named(iconik: Iconik, requests_mock: Mocker) -> None:
    """The error names the refused call, and the roles to grant."""
    requests_mock.post(BULK, status_code=403)
    with pytest.raises(AccessDenied, match=f"POST {BULK}: .* can_write_transfers, and access"):
        copy(iconik)


@pytest.mark.parametrize("field", ["file_set_id", "format_id", "storage_id", "original_name"])
@pytest.mark.parametrize("value", [None, "", 1])
def test_files_must_say_where_they_belong(
    iconik: Iconik, requests_mock: Mocker, field: str, value: object
) -> None:
    """A file without a known place could get lost, so it is an error."""
    requests_mock.get(FILES, json=listing(ROW | {field: value}))
    with pytest.raises(IconikError, match=field):
        iconik.files(ID)


def test_ids_are_compared_in_lower_case(iconik: Iconik, requests_mock: Mocker) -> None:
    """Upper and lower case make no difference to an id."""
    requests_mock.get(FILES, json=listing(dict.fromkeys(ROW, ID.upper())))
    (file,) = iconik.files(ID)
    assert (file.file_set_id, file.claim.format_id, file.claim.storage_id) == (ID, ID, ID)


def test_answers_belong_to_what_was_asked(iconik: Iconik, requests_mock: Mocker) -> None:
    """A row of another asset is an error in each list."""
    lists = {FILES: iconik.files, FILE_SETS: iconik.file_sets, FORMATS: iconik.formats}
    for path, read in lists.items():
        requests_mock.get(path, json=listing(ROW | {"asset_id": OTHER}))
        with pytest.raises(IconikError, match="another asset"):
            read(ID)


def test_nameless_storages_do_not_matter(iconik: Iconik, requests_mock: Mocker) -> None:
    """A storage without a name is no error."""
    requests_mock.get("/API/files/v1/storages/", json=listing({"id": ID, "name": None}))
    assert iconik.storages()[0].name is None


@pytest.mark.parametrize("size", [None, -1, True, 1.5, "1000"])
def test_odd_sizes_are_unknown(iconik: Iconik, requests_mock: Mocker, size: object) -> None:
    """Only a whole number of at least 0 is a size."""
    requests_mock.get(FILES, json=listing(ROW | {"size": size}))
    assert iconik.files(ID)[0].size is None


@pytest.mark.parametrize(
    ("status", "deletion"),
    [
        (204, Deletion.GONE),
        (200, Deletion.BINNED),
        (202, Deletion.UNCERTAIN),
        (404, Deletion.UNCERTAIN),
    ],
)
def test_a_deletion_s_answer_is_read(
    iconik: Iconik, requests_mock: Mocker, status: int, deletion: Deletion
) -> None:
    """Only 204 says that a file set is gone for good, and 200 that it is in the recycle bin."""
    requests_mock.delete(FILE_SET, status_code=status)
    requests_mock.delete(f"{FILE_SET}purge/", status_code=status)
    later = iconik.now() + 5
    for immediately in (True, False):
        assert delete(iconik, later, immediately=immediately) is deletion
        assert ("immediately=true" in requests_mock.last_request.query) == immediately
    assert iconik.purge_file_set(ID, OTHER, not_after=later) is deletion


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status_code": 429}, IconikBusy),
        ({"status_code": 500}, IconikUnavailable),
        ({"exc": requests.ConnectionError}, IconikUnavailable),
    ],
)
def test_a_deletion_is_sent_once(
    iconik: Iconik, requests_mock: Mocker, answer: dict[str, Any], error: type[Exception]
) -> None:
    """The client never repeats a deletion, because it needs fresh evidence."""
    requests_mock.delete(FILE_SET, [answer, {"status_code": 204}])
    with pytest.raises(error):
        delete(iconik, iconik.now() + 5)
    assert requests_mock.call_count == 1


def test_a_deletion_on_old_evidence_is_not_sent(
    iconik: Iconik, requests_mock: Mocker, time: Time
) -> None:
    """A deletion that had to wait too long for its turn is not sent."""
    requests_mock.delete(FILE_SET, status_code=429)
    until = iconik.now() + 5
    time.sleep(4)
    with pytest.raises(IconikBusy):
        delete(iconik, until)
    assert requests_mock.last_request.timeout == (1, 10)
    time.sleep(1)
    with pytest.raises(Stale):
        delete(iconik, until)
    assert requests_mock.call_count == 1


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
def test_copy_returns_the_job_that_iconik_names(
    iconik: Iconik, requests_mock: Mocker, answer: dict[str, Any], job: str | None
) -> None:
    """The id of the job is optional, because iconik does not document it."""
    requests_mock.post(BULK, status_code=202, **answer)
    assert copy(iconik) == job
    assert requests_mock.last_request.json() == {
        "object_type": "assets",
        "object_ids": [OTHER],
        "format_name": "A",
        "file_path": "/",
    }
