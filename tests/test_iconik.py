"""The client of iconik's endpoints: their odd answers, and those that iconik has really sent.

The latter are from public sources, which `real.json` names. Ids are replaced.
"""

import json
from pathlib import Path
from time import tzset
from typing import Any

import pytest
from requests_mock import Mocker

from storage_plugin.errors import IconikBusy, IconikError, IconikUnavailable
from storage_plugin.iconik import rows
from storage_plugin.iconik.client import JOBS, Iconik
from storage_plugin.iconik.rows import Deletion
from storage_plugin.webhook import read_action
from tests.conftest import Time, mocked_rest

ID = "11f0aaaa-0000-4000-8000-00000000000a"
OTHER = "11f0aaaa-0000-4000-8000-00000000000b"
STORAGES = "/API/files/v1/storages/"
FILES, FILE_SETS, FORMATS = (
    f"/API/files/v1/assets/{ID}/{name}/" for name in ("files", "file_sets", "formats")
)
FILE_SET = f"{FILE_SETS}{OTHER}/"
BULK = f"{STORAGES}{ID}/bulk/"
FILE = dict.fromkeys(["id", "file_set_id", "original_name"], ID)
"""A file with only the fields that the plugin needs."""

REAL = json.loads(Path(__file__).with_name("real.json").read_text())


@pytest.fixture
def iconik(time: Time) -> Iconik:
    """Return a client of mocked answers."""
    return Iconik(mocked_rest(time))


def copy(iconik: Iconik) -> str | None:
    """Have an asset copied, and return the job."""
    return iconik.copy(
        ID, "assets", object_ids=[OTHER], format_name="A", file_path="/", preferred_source=None
    )


def real(name: str) -> Any:
    """Return what iconik has really sent."""
    return REAL[name]["content"]


def delete(iconik: Iconik, not_after: float, *, immediately: bool = True) -> Deletion:
    """Delete a file set, and return the result."""
    return iconik.delete_file_set(ID, OTHER, immediately=immediately, not_after=not_after)


@pytest.mark.parametrize("field", ["file_set_id", "original_name"])
@pytest.mark.parametrize("value", [None, "", 1])
def test_files_must_say_what_they_are(
    iconik: Iconik, requests_mock: Mocker, field: str, value: object
) -> None:
    """What iconik promises of each file must be there."""
    requests_mock.get(FILES, json={"objects": [FILE | {field: value}]})
    with pytest.raises(IconikError, match=field):
        iconik.files(ID)


@pytest.mark.parametrize("value", [None, "", "1000", -1, 1.5, True, "../x", []])
def test_all_else_may_be_missing(iconik: Iconik, requests_mock: Mocker, value: object) -> None:
    """An odd value is as good as none."""
    absent = dict.fromkeys(["format_id", "storage_id", "version_id", "size"], value)
    requests_mock.get(FILES, json={"objects": [FILE | absent]})
    (file,) = iconik.files(ID)
    assert (file.format_id, file.storage_id, file.version_id, file.size) == (None,) * 4
    requests_mock.get(STORAGES, json={"objects": [{"id": ID, "settings": value}]})
    assert iconik.storages() == [rows.Storage(ID, None, None, None, None)]


def test_a_context_that_is_none_enters_no_url() -> None:
    """The context of a custom action is part of URLs, so it must be one."""
    with pytest.raises(IconikError, match="context"):
        rows.custom_action({"id": ID, "context": "../../users"})


@pytest.mark.parametrize("created", ["2022-04-29T00:22:10.316685", "2022-04-29T00:22:10.316685Z"])
def test_times_are_in_utc(monkeypatch: pytest.MonkeyPatch, created: str) -> None:
    """A time comes without a zone, or with one, and the zone of this machine does not matter."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzset()
    row = {"id": ID, "date_created": created}
    assert rows.file_set(row).created == 1651191730.316685
    assert rows.file_set(row | {"date_created": "yesterday"}).created is None
    monkeypatch.undo()
    tzset()


def test_transfers_may_name_their_destination(iconik: Iconik, requests_mock: Mocker) -> None:
    """A transfer to another storage does not count, whatever the case; one that names none does."""
    names = [{"destination_storage_id": id} for id in (ID, ID.upper(), OTHER, None)]
    found = [row | {"id": f"{ID[:-1]}{number}"} for number, row in enumerate(names)]
    requests_mock.get(f"{STORAGES}{ID}/transfers_to/", json={"objects": found})
    requests_mock.get(f"{STORAGES}{OTHER}/transfers_from/", json={"objects": found})
    assert [each.destination_id for each in iconik.transfers([OTHER], ID)] == [ID, ID, None] * 2


def test_answers_belong_to_what_was_asked(iconik: Iconik, requests_mock: Mocker) -> None:
    """A row of another asset is an error in each list."""
    lists = {FILES: iconik.files, FILE_SETS: iconik.file_sets, FORMATS: iconik.formats}
    for path, read in lists.items():
        requests_mock.get(path, json={"objects": [FILE | {"asset_id": OTHER, "name": "x"}]})
        with pytest.raises(IconikError, match="a row of another"):
            read(ID)


@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_asset_has_no_file_sets(
    iconik: Iconik, requests_mock: Mocker, status: int
) -> None:
    """Both answers mean the same; for other lists, 400 is an error."""
    for path in (FILE_SETS, FORMATS):
        requests_mock.get(path, status_code=status, json={"errors": ["?"]})
    assert iconik.file_sets(ID) == []
    if status == 400:
        with pytest.raises(IconikError):
            iconik.formats(ID)


@pytest.mark.parametrize(
    ("status", "deletion"),
    [(204, "GONE"), (200, "BINNED"), (202, "UNCERTAIN"), (404, "UNCERTAIN")],
)
def test_a_deletion_s_answer_is_read(
    iconik: Iconik, requests_mock: Mocker, status: int, deletion: str
) -> None:
    """Only 204 says that a file set is gone for good, and 200 that it is in the recycle bin."""
    requests_mock.delete(FILE_SET, status_code=status)
    requests_mock.delete(f"{FILE_SET}purge/", status_code=status)
    later = iconik.now() + 5
    for immediately in (True, False):
        assert delete(iconik, later, immediately=immediately).name == deletion
        assert ("immediately=true" in requests_mock.last_request.query) == immediately
    assert iconik.purge_file_set(ID, OTHER, not_after=later).name == deletion


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
    with pytest.raises(IconikUnavailable, match="too slow"):
        delete(iconik, until)
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(
    ("answer", "job"),
    [({"job_id": ID.upper()}, ID), ({"success": "x"}, None), ({"job_id": "x" * 99}, None)],
)
def test_copy_returns_the_job_that_iconik_names(
    iconik: Iconik, requests_mock: Mocker, answer: dict[str, Any], job: str | None
) -> None:
    """The id of the job is optional, because iconik does not document it."""
    requests_mock.post(BULK, status_code=202, json=answer)
    assert copy(iconik) == job
    assert requests_mock.last_request.json() == {
        "object_type": "assets",
        "object_ids": [OTHER],
        "format_name": "A",
        "file_path": "/",
    }


# What iconik has really sent


@pytest.mark.parametrize(
    ("name", "objects"),
    [
        ("payload_asset", {"assets": 1}),
        ("payload_bulk", {"assets": 1, "collections": 1}),
        ("payload_asset_with_metadata", {"assets": 1}),
    ],
)
def test_payloads(name: str, objects: dict[str, int]) -> None:
    """What iconik posts is understood, with and without a token and metadata."""
    action = read_action("/remove", {}, json.dumps(real(name)).encode())
    assert action.selection.counts() == objects
    assert action.user_id == real(name)["user_id"]


def test_rows_of_an_asset(iconik: Iconik, requests_mock: Mocker) -> None:
    """The records of an asset from a camera's card are read as they are."""
    lists = {"files": real("files"), "formats": [real("format")], "file_sets": [real("file_set")]}
    asset_id, other_id = (lists[name][0]["asset_id"] for name in ("files", "file_sets"))
    for name, objects in lists.items():
        path = f"/API/files/v1/assets/{objects[0]['asset_id']}/{name}/"
        requests_mock.get(path, json={"objects": objects})
    (file,), (format,), (file_set,) = (
        iconik.files(asset_id),
        iconik.formats(asset_id),
        iconik.file_sets(other_id),
    )
    assert file.file_set_id == file_set.id
    assert file.format_id == file_set.format_id == format.id
    assert (file.type, file.status, file.size) == ("FILE", "CLOSED", 264032992)
    assert f"{file.folder}/{file.name}" == "Test Content/MXF/AVCI_Card/CONTENTS/VIDEO/0002EM.MXF"
    assert file.checksum == "38f7f32d194b725bd0b1855a6e35d3d3"
    assert (file.file_set_status, file.format_status) == (None, None)
    assert (format.name, format.status, file_set.status) == ("ORIGINAL", "ACTIVE", "ACTIVE")
    assert (file_set.type, file_set.file_count, file_set.created) == (None, None, None)


def test_lists(iconik: Iconik, requests_mock: Mocker) -> None:
    """A list may have a link and nothing else, or nothing at all."""
    collection_id = real("list_with_link")["next_url"].split("/")[5]
    path = f"/API/assets/v1/collections/{collection_id}/contents/"
    answers = [real("list_with_link"), real("list_without_count")]
    requests_mock.get(path, [{"json": answer} for answer in answers])
    (item,), missing = iconik.collection_contents(collection_id)
    assert (item.object_type, item.title, missing) == ("collections", None, 0)


def test_single_objects(iconik: Iconik, requests_mock: Mocker) -> None:
    """An asset, a job, a storage, and the answer to a copy are read as they are."""
    asset, job = real("asset"), real("job")
    requests_mock.get(f"/API/assets/v1/assets/{asset['id']}/", json=asset)
    requests_mock.get(f"{JOBS}{job['id']}/", json=job)
    requests_mock.post(BULK, json=real("bulk_copy"))
    assert iconik.asset_title(asset["id"]) == "My New Asset"
    assert iconik.job(job["id"]) == rows.Job(
        job["id"], "FINISHED", None, 1660667368.821, None, None
    )
    assert rows.storage(real("storage")).method == "GCS"
    assert copy(iconik) == real("bulk_copy")["job_id"]
