"""The job and the notification in iconik by which an editor learns the result of an action.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from storage_plugin.errors import PluginError
from storage_plugin.iconik import rows
from storage_plugin.iconik.client import Iconik, side_by_side
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
        log: as above.
        halt: `Aborted` or `Paused` if an editor did that, else empty.
        has_ended: whether the job had ended before this round.
    """

    def __init__(self, iconik: Iconik, round: Round, *, storage_name: str, log: Log) -> None:
        self.id, self.storage_name, self.log = round.job_id, storage_name, log
        self.halt, self.has_ended = "", False
        self._iconik, self._round = iconik, round
        self._has_warned = False
        self._opened = iconik.now()
        self._due = self._opened + 1.0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Find or create the job of a removal, and close those that were interrupted."""
        if self.id:
            return
        running: list[rows.Job] = []
        with suppress(PluginError):
            running = self._iconik.running_jobs(CUSTOM_TYPES["remove"])
        # iconik may have created it although its answer was lost.
        self.id = next((job.id for job in running if job.click_id == self._round.click_id), None)
        if not self.id:
            self._attempt(lambda: self._create({"status": "STARTED"}))
        for job in running:
            if job.modified and job.modified < time.time() - ABANDONED:
                end = {"message": INTERRUPTED, "error_message": INTERRUPTED}
                with suppress(PluginError):  # The next removal tries again.
                    self._iconik.update_job(job.id, {"status": "FAILED", **end})

    def read(self) -> None:
        """Learn what has happened to the job since the last round of its removal."""

        def read() -> None:
            job = self._iconik.job(str(self.id))
            self.halt = HALTS.get(str(job.status), "")
            is_told = str(job.message).startswith(tuple(HALTS.values()))
            self.has_ended = job.status in rows.ENDED and (is_told or not self.halt)

        if self.id:
            self._attempt(read)

    def show(self, done: int, total: int) -> None:
        """Show the progress if that is due, and learn whether an editor has halted the removal.

        Args:
            done: the number of finished assets.
            total: the number of all assets.
        """
        if not self._lock.acquire(blocking=False):
            return  # Another thread shows it.
        try:
            if self._iconik.now() >= self._due:
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
            self.halt = HALTS.get(status or str(self._iconik.job(str(self.id)).status), "")

        if self.id:
            self._attempt(update)

    def close(self, report: Report) -> bool:
        """Show the result. Notify the editor if it is no success, or if it cannot be shown.

        Returns:
            Whether the editor can see the result.
        """
        if not self._round.is_click:  # The queue may deliver a round twice at the same time.
            self.read()
        if self.has_ended:
            return True
        status, halt = report.status(halted=bool(self.halt)), f"{self.halt}: " if self.halt else ""
        progress, sentence = self._progress(report.total, report.total), halt + report.sentence()
        is_shown = self._end({**progress, "status": status, "message": sentence})
        # The numbers are shown. The titles of assets take more calls.
        message = halt + report.message(self._titles(report))
        if is_shown and message != sentence:
            error = {"error_message": message} if status == "FAILED" else {}
            self._end({"message": message, **error})
        if is_shown and status == "FINISHED":
            return True
        return self._notify(progress, sentence, message=message, is_shown=is_shown) or is_shown

    def fail(self, error: PluginError) -> None:
        """Show that an Add failed, and notify the editor."""
        message = f"{error.for_editor(self.log.reference)}."
        end = {"status": "FAILED", "message": message, "error_message": message}
        is_shown = self._attempt(lambda: self._create(end))
        self._notify(self._progress(0, 0), message, message=message, is_shown=is_shown)

    def _create(self, state: rows.Row) -> None:
        action, (object_type, object_id) = self._round.action, self._round.selected
        job = {
            "type": "CUSTOM",
            "custom_type": CUSTOM_TYPES[action.name],
            "object_type": object_type,
            "object_id": object_id,
            "metadata": {"click_id": self._round.click_id},
            **self._progress(0, 0),
        }
        self.id = self._iconik.create_job(job | dict(state))

    def _progress(self, done: int, total: int) -> dict[str, object]:
        """Return the title with the number of assets, and the progress."""
        action = self._round.action
        kinds = {"assets": total} if total else action.selection.counts()
        what = " and ".join(count(n, NOUNS[kind]) for kind, n in kinds.items())
        title = ACTIONS[action.name].format(what, self.storage_name)
        return {"title": title, "progress_processed": done, "progress_total": total}

    def _titles(self, report: Report) -> dict[str, str]:
        """Return the titles that the report lacks, as far as iconik sends them."""

        def title(asset_id: str) -> str | None:
            with suppress(PluginError):
                return self._iconik.asset_title(asset_id)
            return None

        ids = [asset_id for asset_id, title, _ in report.notes if not title]
        return {id: text for id, text in zip(ids, side_by_side(title, ids), strict=True) if text}

    def _end(self, changes: rows.Row) -> bool:
        """Change the job for the last time, and return whether that worked."""
        return self.id is not None and self._attempt(
            lambda: self._iconik.update_job(str(self.id), changes)
        )

    def _notify(self, progress: rows.Row, sentence: str, *, message: str, is_shown: bool) -> bool:
        """Notify the editor, if iconik has named one, and return whether that worked."""
        user_id, title = self._round.action.user_id, progress["title"]
        object_type, object_id = ("jobs", self.id) if is_shown else self._round.selected

        def notify() -> None:
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

        return not user_id or self._attempt(notify)

    def _attempt(self, show: Callable[[], object]) -> bool:
        """Show something, and return whether that worked; log only the first error."""
        try:
            show()
        except PluginError as error:
            if not self._has_warned:
                self._has_warned = True
                text = f"The editor may not see the result in iconik: {error}"
                self.log.write("WARNING", text)
            return False
        return True
