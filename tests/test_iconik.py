"""The client of iconik's endpoints: their odd answers, and those that iconik has really sent.

The latter are from public sources, which `real.json` names. Ids are replaced.
"""

import json
from collections.abc import Callable
from pathlib import Path
from time import tzset
from typing import Any

import pytest
from requests_mock import Mocker

from storage_plugin.errors import IconikBusy, IconikError, IconikUnavailable
from storage_plugin.iconik import rows
from storage_plugin.iconik.client import BINNED, GONE, Iconik
from storage_plugin.webhook import read_action
from tests.conftest import Time, mocked_rest

ID = "11f0aaaa-0000-4000-8000-00000000000a"
OTHER = "11f0aaaa-0000-4000-8000-00000000000b"
STORAGES = "/API/files/v1/storages/"
ASSET = f"/API/files/v1/assets/{ID}/"
FILE_SET = f"{ASSET}file_sets/{OTHER}/"
# All that the plugin needs of any object.
ROW = dict.fromkeys(["id", "file_set_id", "original_name", "name", "object_type"], ID)
REAL = {
    name: example["content"]
    for name, example in json.loads(Path(__file__).with_name("real.json").read_text()).items()
}


@pytest.fixture
def iconik(time: Time) -> Iconik:
    """Return a client of mocked answers."""
    return Iconik(mocked_rest(time))


@pytest.mark.parametrize(
    ("parse", "field", "values"),
    [
        (rows.file, "file_set_id", (None, "", 1, "../x")),
        (rows.file, "original_name", (None, "", 1)),
        (rows.format, "name", (None, "", 1)),
        (rows.item, "object_type", (None, "", 1)),
        (rows.storage, "id", (None, "", 1, "../../users")),
    ],
)
def test_what_an_object_is_must_be_there(
    parse: Callable[..., object], field: str, values: tuple[object, ...]
) -> None:
    """An object is an error without some fields, or with something else in their place."""
    parse(ROW)
    for value in values:
        with pytest.raises(IconikError, match=field):
            parse(ROW | {field: value})


@pytest.mark.parametrize("value", [None, "", "1000", -1, 1.5, True, "../x", []])
def test_all_else_may_be_missing(value: object) -> None:
    """An odd value is as good as none."""
    odd = dict.fromkeys(["format_id", "storage_id", "version_id", "size"], value)
    assert rows.file(ROW | odd) == rows.file(ROW)
    assert rows.storage({"id": ID, "settings": value}) == (ID, None, None, None, "")


@pytest.mark.parametrize("created", ["2022-04-29T00:22:10.316685", "2022-04-29T00:22:10.316685Z"])
def test_times_are_in_utc(monkeypatch: pytest.MonkeyPatch, created: str) -> None:
    """A time comes without a zone, or with one, and the zone of this machine does not matter."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzset()
    assert rows.as_time(created) == 1651191730.316685
    monkeypatch.undo()
    tzset()


def test_texts_may_be_missing(iconik: Iconik, requests_mock: Mocker) -> None:
    """A storage is then called by its id. The context of a custom action must be fit for URLs."""
    rows = [{"id": ID, "context": context} for context in ("ASSET", "../ASSET", None)]
    for path in ("/API/assets/v1/custom_actions/", "/API/files/v1/storages/"):
        requests_mock.get(path, json={"objects": rows})
    assert [storage.name for storage in iconik.storages()] == [ID]
    (action,) = iconik.custom_actions()
    assert (action["context"], action["url"], action["title"]) == ("ASSET", "", "")


def test_transfers_may_name_their_destination(iconik: Iconik, requests_mock: Mocker) -> None:
    """A transfer to another storage does not count, whatever the case; one that names none does."""
    names = [{"destination_storage_id": id} for id in (ID, ID.upper(), OTHER, None)]
    found = [row | {"id": f"{ID[:-1]}{number}"} for number, row in enumerate(names)]
    requests_mock.get(f"{STORAGES}{ID}/transfers_to/", json={"objects": found})
    requests_mock.get(f"{STORAGES}{OTHER}/transfers_from/", json={"objects": found})
    assert [each.destination_id for each in iconik.transfers([OTHER], ID)] == [ID, ID, None] * 2


@pytest.mark.parametrize("status", [200, 400, 404])
def test_lists_of_an_asset(iconik: Iconik, requests_mock: Mocker, status: int) -> None:
    """A row of another asset is an error. 404 means an empty list, and for file sets also 400."""
    answer = {"objects": [ROW | {"asset_id": OTHER}]}
    for read in (iconik.files, iconik.file_sets, iconik.formats):
        requests_mock.get(f"{ASSET}{read.__name__}/", json=answer, status_code=status)
        if status == 404 or (status == 400 and read == iconik.file_sets):
            assert read(ID) == []
        else:
            with pytest.raises(IconikError, match="with 400" if status == 400 else "of another"):
                read(ID)


@pytest.mark.parametrize("status", [GONE, BINNED, 202, 404])
def test_a_deletion_s_answer_is_read(iconik: Iconik, requests_mock: Mocker, status: int) -> None:
    """Only 204 says that a file set is gone for good, and 200 that it is in the recycle bin."""
    requests_mock.delete(FILE_SET, status_code=status)
    requests_mock.delete(f"{FILE_SET}purge/", status_code=status)
    later = iconik.now() + 5
    for immediately in (True, False):
        done = iconik.delete_file_set(ID, OTHER, immediately=immediately, not_after=later)
        assert (done, done == 204, done == 200) == (status, done == GONE, done == BINNED)
        assert ("immediately=true" in requests_mock.last_request.query) == immediately
    assert iconik.purge_file_set(ID, OTHER, not_after=later) == status


def test_a_deletion_on_old_evidence_is_not_sent(
    iconik: Iconik, requests_mock: Mocker, time: Time
) -> None:
    """A deletion that had to wait too long for its turn is not sent."""
    requests_mock.delete(FILE_SET, status_code=429)
    fresh = {"immediately": True, "not_after": iconik.now() + 5}
    time.sleep(4)
    with pytest.raises(IconikBusy):
        iconik.delete_file_set(ID, OTHER, **fresh)
    assert requests_mock.last_request.timeout == (1, 10)
    time.sleep(1)
    with pytest.raises(IconikUnavailable, match="too slow"):
        iconik.delete_file_set(ID, OTHER, **fresh)
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        ({"job_id": ID.upper()}, ID),
        ({"success": "x"}, None),
        ({"job_id": "x" * 99}, None),
        (REAL["bulk_copy"], REAL["bulk_copy"]["job_id"]),
    ],
)
def test_copy_returns_the_job_that_iconik_names(
    iconik: Iconik, requests_mock: Mocker, answer: dict[str, Any], job: str | None
) -> None:
    """The id of the job is optional, because iconik does not document it; nothing empty is sent."""
    requests_mock.post(f"{STORAGES}{ID}/bulk/", status_code=202, json=answer)
    order = {"object_ids": [OTHER], "format_name": "A"}
    assert iconik.copy(ID, order | {"file_path": "", "preferred_original_storage_id": None}) == job
    assert requests_mock.last_request.json() == order


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
    action = read_action("/remove", {}, json.dumps(REAL[name]).encode())
    assert action.selection.counts() == objects
    assert action.user_id == REAL[name]["user_id"]


def test_objects() -> None:
    """The records of an asset from a camera's card, a job and a storage are read as they are."""
    (file,), format = map(rows.file, REAL["files"]), rows.format(REAL["format"])
    file_set, job = rows.file_set(REAL["file_set"]), rows.job(REAL["job"])
    assert file.file_set_id == file_set.id
    assert file.name == file.original_name != rows.file(REAL["files"][0] | {"name": "x"}).name
    assert file.format_id == file_set.format_id == format.id
    assert (file.type, file.status, file.size) == ("FILE", "CLOSED", 264032992)
    assert f"{file.folder}/{file.name}" == "Test Content/MXF/AVCI_Card/CONTENTS/VIDEO/0002EM.MXF"
    assert file.checksum == "38f7f32d194b725bd0b1855a6e35d3d3"
    assert (file.file_set_status, file.format_status) == (None, None)
    assert (format.name, format.status, file_set.status) == ("ORIGINAL", "ACTIVE", "ACTIVE")
    assert (file_set.type, file_set.file_count, file_set.created) == (None, None, None)
    assert job == (REAL["job"]["id"], "FINISHED", None, 1660667368.821, None, None)
    assert rows.storage(REAL["storage"]).method == "GCS"


def test_answers(iconik: Iconik, requests_mock: Mocker) -> None:
    """A list may have a link and nothing else, or nothing at all; an asset has a title."""
    pages = [{"json": REAL[name]} for name in ("list_with_link", "list_without_count")]
    requests_mock.get(f"/API/assets/v1/collections/{ID}/contents/", pages)
    (item,), missing = iconik.collection_contents(ID)
    assert (item.object_type, missing) == ("collections", 0)
    requests_mock.get(f"/API/assets/v1/assets/{ID}/", json=REAL["asset"])
    assert iconik.asset_title(ID) == "My New Asset"
