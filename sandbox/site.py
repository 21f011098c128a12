"""The world that most tests and figures need: masters on B2, and copies on LucidLink."""

from collections.abc import Sequence
from typing import Any

from sandbox.world import Row, World, new_id

Rows = Sequence[Row]
CLIP: Row = {"original_name": "clip.mov"}
SECRET = "let-me-in"
LONG_AGO = "2026-01-09T17:00:00"


class Site:
    """An iconik system with a storage for masters, one to copy to, and another one."""

    masters_name = "B2"

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        # The ids of the storages, each of which is on a disk of its own.
        self.b2 = self.world.add_storage(self.masters_name, "B2")
        self.lucidlink = self.world.add_storage("LucidLink")
        self.other = self.world.add_storage("Other")

    def asset(
        self,
        copy: Rows = (CLIP,),
        master: Rows | None = None,
        title: str = "Clip",
        **changes: Any,
    ) -> tuple[str, str]:
        """Add an asset on both storages; return its id and that of its file set on LucidLink.

        Without `master`, the files are the same. `changes` are those of the file set on B2.
        """
        asset_id = self.world.add_asset(title)
        self.world.add_file_set(asset_id, self.b2, copy if master is None else master, **changes)
        return asset_id, self.world.add_file_set(asset_id, self.lucidlink, copy)

    def assets(self, number: int, copy: Rows = (CLIP,), master: Rows | None = None) -> list[str]:
        """Add assets that have been on both storages for a while, and return their ids."""
        ids = [self.asset(copy, master, date_created=LONG_AGO)[0] for _ in range(number)]
        for id in ids:
            self.world.file_sets_of(id, self.lucidlink)[0]["date_created"] = LONG_AGO
        return ids

    def add_copies(self, asset_id: str, files: Rows, format_name: str = "ORIGINAL") -> str:
        """Add files of an asset to both storages; return the file set on LucidLink."""
        self.world.add_file_set(asset_id, self.b2, files, format_name)
        return self.world.add_file_set(asset_id, self.lucidlink, files, format_name)

    def master(self, title: str = "Clip") -> str:
        """Add an asset that is on B2 alone, and return its id."""
        asset_id = self.world.add_asset(title)
        self.world.add_file_set(asset_id, self.b2, [CLIP])
        return asset_id

    def only_copy(self, *files: Row, title: str = "Render") -> str:
        """Add an asset that is on LucidLink alone, and return its id."""
        asset_id = self.world.add_asset(title)
        self.world.add_file_set(asset_id, self.lucidlink, files or [CLIP])
        return asset_id

    def quirk(self, **quirks: object) -> None:
        """Let iconik differ from the usual one; see `Quirks`."""
        vars(self.world.quirks).update(quirks)

    def settings(self, iconik_url: str) -> dict[str, str]:
        """Return a function's settings for this site, without the secrets."""
        return {
            "ICONIK_URL": iconik_url,
            "ICONIK_ID": self.world.app_id,
            "STORAGE_NAME": "LucidLink",
            "MASTER_STORAGE_NAME": self.masters_name,
        }

    def secrets(self) -> dict[str, str]:
        """Return the variables with the function's secrets."""
        return {"BZ_SHARED_SECRET": SECRET, "ICONIK_TOKEN": self.world.token}

    def copies(self) -> int:
        """Return the number of files on LucidLink."""
        return len(self.world.names_on(self.lucidlink))

    def masters(self) -> int:
        """Return the number of files on B2."""
        return len(self.world.names_on(self.b2))


def payload(**changes: object) -> Row:
    """Return what iconik posts after a right-click; `changes` contain the selection."""
    usual: Row = {
        "user_id": new_id(),
        "system_domain_id": new_id(),
        "action_id": new_id(),
        "context": "BULK",
        "asset_ids": [],
        "collection_ids": [],
        "saved_search_ids": [],
        "metadata_view_id": None,
        "metadata_values": None,
        "date_created": f"{LONG_AGO}.000000",
        "auth_token": "payload-token",
    }
    return usual | changes
