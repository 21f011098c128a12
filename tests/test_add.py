"""ADD: the bulk copies that are requested."""

import pytest

from sandbox.site import CLIP
from tests.stage import Stage

MASTER = "MASTER_STORAGE_NAME"
TWO = {("B2", "Third", "/in", "ORIGINAL"), ("B2", "Third", "/in", "PROXY")}


@pytest.mark.parametrize(
    ("path", "settings", "expected"),
    [
        ("/add", {}, {("B2", "LucidLink", "/", "ORIGINAL")}),
        ("/add", {MASTER: "Other"}, {("Other", "LucidLink", "/", "ORIGINAL")}),
        ("/add", {MASTER: None}, {("Any", "LucidLink", "/", "ORIGINAL")}),  # iconik chooses.
        ("/add", {"STORAGE_PATH": ""}, {("B2", "LucidLink", "/Clip/ORIGINAL", "ORIGINAL")}),
        ("/add?storage=Third&path=/in&format=ORIGINAL,PROXY", {}, TWO),
    ],
)
def test_copies_come_from_the_masters(
    path: str, settings: dict[str, str | None], expected: set[tuple[str, ...]]
) -> None:
    """The settings and the URL say from where, to where, into which folder, and which formats."""
    stage = Stage()
    environ = {**stage.environ, **settings}
    stage.environ = {name: value for name, value in environ.items() if value is not None}
    world, site = stage.world, stage.site
    storages = [world.add_storage("Any"), site.other, site.b2]
    world.add_storage("Third")
    asset_id = world.add_asset("Clip", ["ORIGINAL", "PROXY", "OTHER"])
    for name in ("ORIGINAL", "PROXY", "OTHER"):
        for storage in storages:
            world.add_file_set(asset_id, storage, [CLIP], name)
    assert stage.click(path, asset_ids=[asset_id]).text == "OK"
    names = {id: row["name"] for id, row in world.storages.items()}
    copies = {
        (
            names[row["original_storage_id"]],
            names[row["destination_storage_id"]],
            row["destination_directory_path"],
            world.formats[row["format_id"]]["name"],
        )
        for row in world.transfers.values()
    }
    assert copies == expected
