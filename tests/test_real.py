"""What iconik really sent, from public sources; `real.json` names them. Ids are replaced."""

import json
from pathlib import Path
from typing import Any

import pytest
from requests_mock import Mocker

from storage_plugin.iconik import rows
from storage_plugin.iconik.client import JOBS, Iconik
from storage_plugin.webhook import read_action
from tests.conftest import Time, mocked_rest

REAL = json.loads(Path(__file__).with_name("real.json").read_text())
LUCIDLINK = "11f0aaaa-0000-4000-8000-00000000000a"


def real(name: str) -> Any:
    """Return what iconik sent."""
    return REAL[name]["content"]


@pytest.fixture
def iconik(time: Time) -> Iconik:
    """Return a client of mocked answers."""
    return Iconik(mocked_rest(time))


@pytest.mark.parametrize(
    ("name", "objects"),
    [
        ("payload_asset", {"assets": 1}),
        ("payload_bulk", {"assets": 1, "collections": 1}),
        ("payload_asset_with_metadata", {"assets": 1}),
        ("webhook_collection_contents", {}),  # It is no custom action, and nothing is selected.
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
    assert (item.type, item.title, missing) == ("collections", None, 0)


def test_single_objects(iconik: Iconik, requests_mock: Mocker) -> None:
    """An asset, a job, a storage, and the answer to a copy are read as they are."""
    asset, job = real("asset"), real("job")
    requests_mock.get(f"/API/assets/v1/assets/{asset['id']}/", json=asset)
    requests_mock.get(f"{JOBS}{job['id']}/", json=job)
    requests_mock.post(f"/API/files/v1/storages/{LUCIDLINK}/bulk/", json=real("bulk_copy"))
    assert iconik.asset_title(asset["id"]) == "My New Asset"
    assert iconik.job(job["id"]) == rows.Job(
        job["id"], "FINISHED", None, 1660667368.821, None, None
    )
    assert rows.storage(real("storage")).method == "GCS"
    copied = iconik.copy(
        LUCIDLINK,
        "assets",
        object_ids=[asset["id"]],
        format_name="ORIGINAL",
        file_path="",
        preferred_source=None,
    )
    assert copied == real("bulk_copy")["job_id"]
