"""ADD: the bulk copies that are requested."""

import pytest

from sandbox.site import CLIP
from tests.stage import Stage


def copies(stage: Stage) -> set[tuple[str, ...]]:
    """Return what iconik copies: from where and to where, the folder, and the format."""
    names = {id: row["name"] for id, row in stage.world.storages.items()}
    return {
        (
            names[row["original_storage_id"]],
            names[row["destination_storage_id"]],
            row["destination_directory_path"],
            stage.world.formats[row["format_id"]]["name"],
        )
        for row in stage.world.transfers.values()
    }


@pytest.mark.parametrize(
    ("path", "settings", "expected"),
    [
        ("/add", {}, {("B2", "LucidLink", "/", "ORIGINAL")}),
        ("/add", {"MASTER_STORAGE_NAME": "Other"}, {("Other", "LucidLink", "/", "ORIGINAL")}),
        ("/add", {"STORAGE_PATH": ""}, {("B2", "LucidLink", "/Clip/ORIGINAL", "ORIGINAL")}),
        (
            "/add?storage=Third&path=/in&format=ORIGINAL,PROXY",
            {},
            {("B2", "Third", "/in", "ORIGINAL"), ("B2", "Third", "/in", "PROXY")},
        ),
    ],
)
def test_copies_come_from_the_masters(
    path: str, settings: dict[str, str], expected: set[tuple[str, ...]]
) -> None:
    """The settings and the URL say from where, to where, into which folder, and which formats."""
    stage = Stage(**settings)
    stage.world.add_storage("Third")
    asset_id = stage.world.add_asset("Clip", ["ORIGINAL", "PROXY", "OTHER"])
    for name in ("ORIGINAL", "PROXY", "OTHER"):
        for storage in (stage.site.other, stage.site.b2):
            stage.world.add_file_set(asset_id, storage, [CLIP], name)
    assert stage.click(path, asset_ids=[asset_id]).text == "OK"
    assert copies(stage) == expected


def test_without_a_storage_for_masters_iconik_chooses_the_source() -> None:
    """The setting MASTER_STORAGE_NAME may be missing."""
    stage = Stage()
    del stage.environ["MASTER_STORAGE_NAME"]
    assert stage.click("/add", asset_ids=[stage.site.master()]).text == "OK"
    assert copies(stage) == {("B2", "LucidLink", "/", "ORIGINAL")}
