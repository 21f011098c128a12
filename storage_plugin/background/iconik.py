"""The endpoints of iconik that only the background needs: jobs, transfers and notifications.

https://app.iconik.io/docs/reference.html
"""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from storage_plugin import pages
from storage_plugin.iconik import (
    FILES,
    Iconik,
    id_of,
    id_or_none,
    needs,
    number_or_none,
    text_or_none,
)
from storage_plugin.rest import Row

ENDED = frozenset(
    {"FINISHED", "FINISHED_WITH_WARNING", "FAILED", "ABORTED", "SKIPPED", "DISCARDED"}
)
"""The states of a job that has ended."""

BROKEN = frozenset({"FAILED", "ABORTED", "DISCARDED"})
"""The states of a job that has ended without doing its work."""

JOBS = "/API/jobs/v1/jobs/"
USER = "/API/users/v1/users/current/"


class Transfer(NamedTuple):
    """A copy that is under way; None: iconik did not send the field."""

    asset_id: str | None
    format_id: str | None
    job_id: str | None


class JobState(NamedTuple):
    """The progress of a job, in assets.

    Attributes:
        status: the status of the job; None: iconik did not send it.
        modified: the time of the last change, in seconds since 1970; None: iconik did not send it.
        metadata: the plugin's notes in the job.
    """

    id: str
    status: str | None
    processed: int
    total: int
    modified: float | None
    metadata: Mapping[str, Any]


class TransferJob(NamedTuple):
    """The job of a transfer of one asset; None: iconik did not send the field.

    Attributes:
        storage_id: the storage to which the asset is copied.
        created: the time of its creation, in seconds since 1970.
    """

    id: str
    parent_id: str | None
    storage_id: str | None
    created: float | None


class BackgroundIconik(Iconik):
    """The part of iconik that the background needs."""

    @needs("can_read_files")
    def has_file_set(self, asset_id: str, format_id: str, storage_id: str) -> bool:
        """Whether a format has a file set on a storage, in any state, even without files."""
        path = f"formats/{format_id}/storages/{storage_id}/file_sets/"
        return any(True for _ in self._of_asset(asset_id, path))

    @needs("can_read_transfers")
    def transfers(self, source_id: str, destination_id: str) -> list[Transfer]:
        """List the transfers from one storage to another, and perhaps more.

        iconik lists transfers to and from a so-called local storage. iconik does not document which
        of the two storages that is, so the plugin reads both lists.
        """
        lists = (f"{destination_id}/transfers_to/", f"{source_id}/transfers_from/")
        return [
            Transfer(
                asset_id=id_or_none(row, "asset_id"),
                format_id=id_or_none(row, "format_id"),
                job_id=text_or_none(row, "parent_job_id") or text_or_none(row, "job_id"),
            )
            for path in lists
            for row in pages.changing(self._rest, f"{FILES}/storages/{path}")
            if str(row.get("destination_storage_id") or destination_id).lower() == destination_id
        ]

    @needs("can_read_assets")
    def asset_title(self, asset_id: str) -> str | None:
        """Return an asset's title; None: iconik did not send it."""
        return text_or_none(self._rest.get(f"/API/assets/v1/assets/{asset_id}/"), "title")

    @needs("can_write_jobs")
    def create_job(self, job: Row) -> str:
        """Create a job and return its id."""
        return id_of(self._rest.send("POST", JOBS, json=job))

    @needs("can_write_jobs")
    def update_job(self, job_id: str, changes: Row) -> str | None:
        """Change some fields of a job, and return its status; None: iconik did not send it.

        Change the status only at the end, because an editor may have aborted the job meanwhile.
        """
        query = {"merge_metadata": "true"} if "metadata" in changes else {}
        job = self._rest.send("PATCH", f"{JOBS}{job_id}/", query=query, json=changes)
        return text_or_none(job, "status")

    @needs("can_read_jobs")
    def job(self, job_id: str) -> JobState:
        """Return the progress of a job."""
        return _job_state(self._rest.get(f"{JOBS}{job_id}/"))

    @needs("can_read_jobs")
    def running_jobs(self, custom_type: str) -> list[JobState]:
        """List the running jobs of a custom type."""
        query = {"type": "CUSTOM", "status": "STARTED"}
        rows = pages.numbered(self._rest, JOBS, query)
        return [_job_state(row) for row in rows if row.get("custom_type") == custom_type]

    @needs("can_read_jobs")
    def transfers_of(self, asset_id: str) -> list[TransferJob]:
        """List the jobs of transfers of an asset."""
        query = {"type": "TRANSFER", "object_id": asset_id}
        return [
            TransferJob(
                id=id_of(row),
                parent_id=id_or_none(row, "parent_id"),
                storage_id=id_or_none(_object(row, "metadata"), "storage_id"),
                created=_time(row, "date_created"),
            )
            for row in pages.numbered(self._rest, JOBS, query)
        ]

    @needs("can_read_jobs")
    def failed_below(self, job_id: str) -> dict[str, str]:
        """Return the errors of the child jobs of a bulk copy's job, by asset id."""
        rows = pages.numbered(self._rest, JOBS, {"parent_id": job_id})
        return {
            str(row.get("object_id")).lower(): text_or_none(row, "error_message")
            or "iconik gives no reason"
            for row in rows
            if text_or_none(row, "status") in BROKEN
        }

    @needs()
    def current_user_id(self) -> str:
        """Return the id of the token's user."""
        return id_of(self._rest.get(USER))

    @needs()
    def notify(self, notification: Row) -> None:
        """Send a notification to a user."""
        path = "/API/users-notifications/v1/notifications/"
        self._rest.send("POST", path, json=notification)


def _job_state(row: Row) -> JobState:
    return JobState(
        id_of(row),
        text_or_none(row, "status"),
        number_or_none(row, "progress_processed") or 0,
        number_or_none(row, "progress_total") or 0,
        _time(row, "date_modified"),
        _object(row, "metadata"),
    )


def _object(row: Row, field: str) -> Row:
    value = row.get(field)
    return value if isinstance(value, dict) else {}


def _time(row: Row, field: str) -> float | None:
    """Return a time in seconds since 1970. iconik sends UTC, usually without a time zone."""
    try:
        moment = datetime.fromisoformat(str(row.get(field)).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
