"""What an iconik system holds, and what becomes of it. Rows are as the API sends them."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from sandbox.quirks import Quirks

Row = dict[str, Any]

READABLE = "assets collections custom_actions files formats jobs saved_searches storages transfers"
# All roles that the plugin can use.
ROLES = [
    "can_search",
    *(f"can_delete_{kind}" for kind in ("custom_actions", "files")),
    *(f"can_read_{kind}" for kind in READABLE.split()),
    *(f"can_write_{kind}" for kind in ("custom_actions", "jobs", "transfers")),
]


def new_id() -> str:
    """Return a new id as iconik makes them."""
    return str(uuid.uuid4())


class Table(dict[str, Row]):
    """Rows by their ids, and also by their assets, for there may be thousands."""

    def __init__(self) -> None:
        super().__init__()
        self.of_asset: dict[str, dict[str, Row]] = defaultdict(dict)

    def __setitem__(self, id: str, row: Row) -> None:
        super().__setitem__(id, row)
        self.of_asset[row["asset_id"]][id] = row

    def __delitem__(self, id: str) -> None:
        del self.of_asset[self[id]["asset_id"]][id]
        super().__delitem__(id)


@dataclass
class World:
    """An iconik system: tables of rows by their ids, and a Storage Gateway."""

    app_id: str = "11f0aaaa-0000-4000-8000-0000000000ff"
    token: str = "sandbox-token"
    user_id: str = field(default_factory=new_id)  # The token's user.
    roles: list[str] = field(default_factory=ROLES.copy)
    is_admin: bool = True
    denied: set[str] = field(default_factory=set)  # Assets that this user has no access to.
    quirks: Quirks = field(default_factory=Quirks)
    transfers: dict[str, Row] = field(default_factory=dict)
    storages: dict[str, Row] = field(default_factory=dict)
    assets: dict[str, Row] = field(default_factory=dict)
    formats: Table = field(default_factory=Table)
    file_sets: Table = field(default_factory=Table)
    files: Table = field(default_factory=Table)
    collections: dict[str, list[Row]] = field(default_factory=dict)
    saved_searches: dict[str, list[Row]] = field(default_factory=dict)
    jobs: dict[str, Row] = field(default_factory=dict)
    job_changes: list[Row] = field(default_factory=list)  # Of all jobs, in their order.
    notifications: dict[str, Row] = field(default_factory=dict)
    custom_actions: dict[str, Row] = field(default_factory=dict)
    permissions: dict[str, Row] = field(default_factory=dict)  # Those on each storage.

    def add_storage(self, name: str, method: str = "FILE", **changes: object) -> str:
        """Add a storage and return its id; changes have what is not as usual."""
        row = {"name": name, "method": method, "purpose": "FILES", "status": "ACTIVE"}
        settings = {"mount_point": f"/mnt/{name}"} if method == "FILE" else {}
        return insert(self.storages, row | {"settings": settings} | changes)

    def add_asset(self, title: str, formats: Sequence[str] = ("ORIGINAL",)) -> str:
        """Add an asset with formats that have no files yet, and return its id."""
        asset_id = insert(self.assets, {"title": title})
        row = {"asset_id": asset_id, "version_id": new_id(), "status": "ACTIVE"}
        for name in formats:
            insert(self.formats, row | {"name": name})
        return asset_id

    def add_file_set(
        self,
        asset_id: str,
        storage_id: str,
        files: Sequence[Row],
        format_name: str = "ORIGINAL",
        **changes: object,
    ) -> str:
        """Add a format's files on a storage and return the file set's id.

        Each asset and format has a folder of its own, so that files of one name do not meet. Files
        have at least an `original_name`, and they and changes what is not as usual.
        """
        title, now = self.assets[asset_id]["title"], self.now()
        format = self.formats_of(asset_id, format_name)[0]
        common = {
            "asset_id": asset_id,
            "format_id": format["id"],
            "version_id": format["version_id"],
            "storage_id": storage_id,
        }
        file_set = common | {
            "name": title,
            "base_dir": f"/{title}/{format_name}",
            "component_ids": [],
            "type": "REGULAR",
            "is_archive": False,
            "date_created": now,
            "date_modified": now,
            "status": "ACTIVE",
            **changes,
        }
        file_set_id = insert(self.file_sets, file_set)
        usual = common | {
            "file_set_id": file_set_id,
            "directory_path": file_set["base_dir"].strip("/"),
            "type": "FILE",
            "size": 1000,
            "checksum": None,
            "status": "CLOSED",
            "format_status": "ACTIVE",
        }
        for file in files:
            insert(self.files, usual | {"name": file["original_name"]} | file)
        return file_set_id

    def add_collection(self, *contents: str) -> str:
        """Add a collection of assets and collections and return its id."""
        collection_id = new_id()
        self.collections[collection_id] = [self._item(id) for id in contents]
        return collection_id

    def put_into(self, collection_id: str, object_id: str) -> None:
        """Put an asset or a collection into a collection."""
        self.collections[collection_id].append(self._item(object_id))

    def add_saved_search(self, *results: str) -> str:
        """Add a saved search that finds assets or collections, and return its id."""
        search_id = new_id()
        self.saved_searches[search_id] = [self._item(id) for id in results]
        return search_id

    def files_in(self, file_set_id: str) -> list[Row]:
        """Return the files of a file set, folders included."""
        files = self.files.of_asset[self.file_sets[file_set_id]["asset_id"]].values()
        return [row for row in files if row["file_set_id"] == file_set_id]

    def count_files(self, file_set_id: str) -> int:
        """Return the number of files of a file set, without its folders."""
        return sum(row["type"] != "DIRECTORY" for row in self.files_in(file_set_id))

    def file_sets_of(self, asset_id: str, storage_id: str, status: str = "ACTIVE") -> list[Row]:
        """Return an asset's file sets on a storage."""
        rows, wanted = self.file_sets.of_asset[asset_id].values(), (storage_id, status)
        return [row for row in rows if (row["storage_id"], row["status"]) == wanted]

    def names_on(self, storage_id: str) -> list[str]:
        """Return the names of the files that stand on a storage, sorted."""
        rows = [row for row in self.files.values() if row["storage_id"] == storage_id]
        active = [row for row in rows if self.file_sets[row["file_set_id"]]["status"] == "ACTIVE"]
        return sorted(row["original_name"] for row in active)

    def copy(self, storage_id: str, request: Row) -> str:
        """Copy one format of the requested objects to a storage, as a gateway does; return the job.

        What stands there already is not copied again, nor what has no source.
        """
        job = self.add_job({"type": "TRANSFER", "status": "STARTED", "title": "Bulk copy"})
        preferred = request.get("preferred_original_storage_id", "")
        for asset_id in self._assets_of(request["object_type"], request["object_ids"]):
            for format in self.formats_of(asset_id, request.get("format_name", "ORIGINAL")):
                sources = self._active(asset_id, format["id"])
                if not sources or storage_id in sources:
                    continue
                source = sources.get(preferred) or next(iter(sources.values()))
                folder = request.get("file_path") or source["base_dir"]
                transfer = {
                    "asset_id": asset_id,
                    "format_id": format["id"],
                    "job_id": job["id"],
                    "original_storage_id": source["storage_id"],
                    "original_file_set_id": source["id"],
                    "destination_storage_id": storage_id,
                    "destination_directory_path": folder,
                }
                insert(self.transfers, transfer)
        if not self.quirks.copies_take_time:
            self.finish_copies()
        return str(job["id"])

    def finish_copies(self) -> None:
        """Bring all transfers to their end, unless another one was faster."""
        for transfer in self.transfers.values():
            asset_id, storage_id = transfer["asset_id"], transfer["destination_storage_id"]
            format = self.formats[transfer["format_id"]]
            folder = transfer["destination_directory_path"]
            if storage_id in self._active(asset_id, format["id"]):
                continue
            source = self.file_sets.get(transfer["original_file_set_id"])
            fields = ["original_name", "size", "checksum", "type"]
            if source and source["base_dir"] == folder:
                fields.append("directory_path")
            rows = self.files_in(source["id"]) if source else []
            files = [{field: row[field] for field in fields} for row in rows]
            self.add_file_set(asset_id, storage_id, files, format["name"], base_dir=folder)
        self.transfers.clear()
        for job in self.jobs.values():
            if job["type"] == "TRANSFER":
                job["status"] = "FINISHED"

    def _active(self, asset_id: str, format_id: str) -> dict[str, Row]:
        """Return the active file sets of a format by their storages."""
        return {
            row["storage_id"]: row
            for row in self.file_sets.of_asset[asset_id].values()
            if (row["format_id"], row["status"]) == (format_id, "ACTIVE")
        }

    def _assets_of(self, object_type: str, object_ids: Sequence[str]) -> list[str]:
        """Return the assets among the objects and below them, each once."""
        objects = [(object_type, id) for id in object_ids]
        for kind, id in objects:  # It grows meanwhile.
            contents = [] if kind == "assets" else getattr(self, kind).get(id, [])
            below = [(row["object_type"], row["id"]) for row in contents]
            objects += [each for each in below if each not in objects]
        return [id for kind, id in dict.fromkeys(objects) if kind == "assets"]

    def add_job(self, job: Row) -> Row:
        """Add a job and return it."""
        now = self.now()
        usual = {"title": "Job", "metadata": {}, "date_created": now, "date_modified": now}
        return self.jobs[insert(self.jobs, usual | job)]

    def add_custom_action(self, action: Row) -> Row:
        """Add a custom action, as healthy as a new one is, and return it."""
        return self.custom_actions[insert(self.custom_actions, {"status": "HEALTHY"} | action)]

    @staticmethod
    def now() -> str:
        """Return the time as iconik writes it: in UTC, without saying so."""
        return datetime.now(timezone.utc).replace(tzinfo=None).isoformat()

    def delete(self, file_set_id: str) -> None:
        """Put a file set into the recycle bin."""
        self.file_sets[file_set_id].update(status="DELETED", date_modified=self.now())

    def purge(self, file_set_id: str) -> None:
        """Delete a file set and its files for good."""
        for file in self.files_in(file_set_id):
            del self.files[file["id"]]
        del self.file_sets[file_set_id]

    def formats_of(self, asset_id: str, name: str | None = None) -> list[Row]:
        """Return the formats of an asset."""
        rows = self.formats.of_asset[asset_id].values()
        return [row for row in rows if name in (None, row["name"])]

    def _item(self, object_id: str) -> Row:
        kind = "assets" if object_id in self.assets else "collections"
        title = self.assets[object_id]["title"] if kind == "assets" else "Collection"
        return {"id": object_id, "object_type": kind, "title": title}


def insert(table: dict[str, Row], row: Row) -> str:
    """Put a row into a table and return its id, which is a new one."""
    id = new_id()
    table[id] = {"id": id, **row}
    return id
