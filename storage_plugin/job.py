"""The job and the notification in iconik by which an editor learns the result of an action.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from storage_plugin.errors import NotFound, PluginError
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import ENDED, Row
from storage_plugin.iconik.rows import Job as JobRow
from storage_plugin.logs import Log
from storage_plugin.removal.report import Report, count
from storage_plugin.rounds import Round
from storage_plugin.webhook import ACTIONS

CUSTOM_TYPES = {"add": "ADD_TO_STORAGE", "remove": "REMOVE_FROM_STORAGE"}
"""The custom types that distinguish the plugin's jobs from those of others, by action."""

NOUNS = {"assets": "asset", "collections": "collection", "saved_searches": "saved search"}
"""The words for one object of each type."""

HALTS = {
    "ABORT_PENDING": "Aborted",
    "ABORTED": "Aborted",
    "DISCARDED": "Aborted",
    "PAUSED": "Paused",
}
"""What an editor did to a job, by its status. Either ends the removal."""

INTERRUPTED = "The removal was interrupted. If files are still on the storage, repeat the action."

ABANDONED = 2 * 3600.0
"""Seconds without a change after which a running job counts as interrupted.

A removal in the queue pauses for an hour at most.
"""


class Job:
    """An action as iconik's Jobs page shows it. The threads of a removal share it.

    If iconik cannot show the job, the action goes on, and the editor is notified at the end.

    Args:
        iconik: a client whose time ends after that of the work.
        round: the round of the action.
        storage_name: the storage that the action copies to or deletes from.
        log: the log of this request.

    Attributes:
        id: the id of the job, or None if it is not known.
        storage_name: as above.
        halt: `Aborted` or `Paused` if an editor did that, else empty.
        has_ended: whether the job had ended before this round.
    """

    def __init__(
        self,
        iconik: Iconik,
        round: Round,
        *,
        storage_name: str,
        log: Log,
    ) -> None:
        self.id = round.job_id
        self.halt = ""
        self.has_ended = False
        self._iconik = iconik
        self._action = round.action
        self.storage_name = storage_name
        self._log = log
        self._click_id, self._selected = round.click_id, round.selected
        self._is_deleted = False
        self._has_warned = False
        self._opened = iconik.now()
        self._due = self._opened + 1.0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Create the job of a removal, and close those that were interrupted."""
        self._attempt(lambda: self._create({"status": "STARTED"}))
        with suppress(PluginError):  # The next removal tries again.
            for job in self._running():
                if job.modified and job.modified < time.time() - ABANDONED:
                    end = {"message": INTERRUPTED, "error_message": INTERRUPTED}
                    self._iconik.update_job(job.id, {"status": "FAILED", **end})

    def read(self) -> None:
        """Learn what has happened to the job since the last round of its removal."""
        if self.id:
            self._attempt(lambda: self._note_status(self._iconik.job(str(self.id)).status))

    def show(self, done: int, total: int) -> None:
        """Show the progress if that is due, and learn whether an editor has halted the removal.

        Args:
            done: the number of finished assets.
            total: the number of all assets.
        """
        if not self._lock.acquire(blocking=False):
            return  # Another thread shows it.
        try:
            if self.id and self._iconik.now() >= self._due:
                self.update(done, total)
                now = self._iconik.now()
                # The longer a removal takes, the rarer its updates, to spare iconik's rate limit.
                self._due = now + min(10.0, max(1.0, (now - self._opened) / 10))
        finally:
            self._lock.release()

    def update(self, done: int, total: int, **changes: str) -> None:
        """Show the progress and, for example, a message, and learn about a halt."""

        def update() -> None:
            state = {**self._progress(done, total), **changes}
            status = self._iconik.update_job(str(self.id), state)
            self._note_status(status or self._iconik.job(str(self.id)).status)

        if self.id:
            self._attempt(update)

    def close(self, report: Report) -> bool:
        """Show the result. Notify the editor if it is no success, or if it cannot be shown.

        Returns:
            Whether the editor can see the result.
        """
        status, halt = report.status(halted=bool(self.halt)), f"{self.halt}: " if self.halt else ""
        sentence = f"{halt}{report.sentence()}"
        end = {**self._progress(report.total, report.total), "status": status, "message": sentence}
        is_shown = self._attempt(lambda: self._end(end))
        # The numbers are shown. The titles of assets take more calls.
        message = f"{halt}{report.message(self._titles(report))}"
        if is_shown and message != sentence:
            error = {"error_message": message} if status == "FAILED" else {}
            changes = {"message": message, **error}
            self._attempt(lambda: self._iconik.update_job(str(self.id), changes))
        if is_shown and status == "FINISHED":
            return True
        return self._attempt(lambda: self._notify(end["title"], sentence, message)) or is_shown

    def fail(self, error: PluginError) -> None:
        """Show that an Add failed, and notify the editor."""
        message = f"{error.for_editor(self._log.reference)}."
        end = {"status": "FAILED", "message": message, "error_message": message}
        self._attempt(lambda: self._create(end))
        self._attempt(lambda: self._notify(self._progress(0, 0)["title"], message, message))

    def _create(self, state: Row) -> None:
        object_type, object_id = self._selected
        job = {
            "type": "CUSTOM",
            "custom_type": CUSTOM_TYPES[self._action.name],
            "object_type": object_type,
            "object_id": object_id,
            "metadata": {"click_id": self._click_id},
            **self._progress(0, 0),
        }
        self.id = self._iconik.create_job(job | dict(state))

    def _running(self) -> list[JobRow]:
        return self._iconik.running_jobs(CUSTOM_TYPES["remove"])

    def _end(self, end: Row) -> None:
        """Change the job for the last time, or create it if that has failed before."""
        if self._is_deleted:
            raise NotFound("An editor has deleted the job.")
        if not self.id:
            # iconik may have created it although its answer was lost.
            found = [job.id for job in self._running() if job.click_id == self._click_id]
            self.id = found[0] if found else None
        if self.id:
            self._iconik.update_job(self.id, end)
        else:
            self._create(end)

    def _note_status(self, status: str | None) -> None:
        self.halt = HALTS.get(str(status), "")
        self.has_ended = status in ENDED and not self.halt

    def _progress(self, done: int, total: int) -> dict[str, object]:
        """Return the title with the number of assets, and the progress."""
        kinds = {"assets": total} if total else self._action.selection.counts()
        what = " and ".join(count(n, NOUNS[kind]) for kind, n in kinds.items())
        title = ACTIONS[self._action.name].format(what, self.storage_name)
        return {"title": title, "progress_processed": done, "progress_total": total}

    def _titles(self, report: Report) -> dict[str, str]:
        """Return the titles that the report lacks, as far as iconik sends them."""

        def title(asset_id: str) -> str | None:
            with suppress(PluginError):
                return self._iconik.asset_title(asset_id)
            return None

        ids = [note.asset_id for note in report.notes if not note.title]
        return {id: text for id, text in zip(ids, side_by_side(title, ids), strict=True) if text}

    def _notify(self, title: object, sentence: str, message: str) -> None:
        if user_id := self._action.user_id:
            object_type, object_id = ("jobs", self.id) if self.id else self._selected
            self._iconik.notify(
                {
                    "event_type": "finished",
                    "message_short": f"{title}: {sentence}",
                    "message_long": message,
                    "recipient_id": user_id,
                    "sender_id": self._iconik.current_user_id(),
                    "object_type": object_type,
                    "object_id": object_id,
                }
            )

    def _attempt(self, show: Callable[[], object]) -> bool:
        """Show something, and return whether that worked; log only the first error."""
        try:
            show()
        except PluginError as error:
            if isinstance(error, NotFound):  # An editor has deleted the job. The removal goes on.
                self.id, self._is_deleted = None, True
            if not self._has_warned:
                self._has_warned = True
                text = f"The editor may not see the result in iconik: {error}"
                self._log.write("WARNING", text)
            return False
        return True
