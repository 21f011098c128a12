"""The job and the notification in iconik by which an editor learns the result of an action.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from storage_plugin.errors import PluginError
from storage_plugin.iconik import rows
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.logs import Log
from storage_plugin.removal.report import Report, count
from storage_plugin.rounds import LONGEST_PAUSE, Round
from storage_plugin.webhook import ACTIONS

CUSTOM_TYPES = {"add": "ADD_TO_STORAGE", "remove": "REMOVE_FROM_STORAGE"}  # Those of our jobs.
NOUNS = {"assets": "asset", "collections": "collection", "saved_searches": "saved search"}
# An editor's halt, by the job's status. It ends the removal, and begins the job's last message.
ABORTED, PAUSED = "Aborted: ", "Paused: "
HALTS = {"ABORT_PENDING": ABORTED, "ABORTED": ABORTED, "DISCARDED": ABORTED, "PAUSED": PAUSED}
INTERRUPTED = "The removal was interrupted. If files are still on the storage, repeat the action."
PROGRESS = 2.0  # Seconds between two updates, which are a small part of iconik's rate limit.
ABANDONED = 2 * LONGEST_PAUSE  # Seconds without a change, after which a job was interrupted.


class Job:
    """An action as iconik's Jobs page shows it. The threads of a removal share it.

    If iconik cannot show the job, the action goes on, and the editor is notified at the end. The
    client's time ends after that of the work.
    """

    def __init__(self, iconik: Iconik, round: Round, *, storage_name: str, log: Log) -> None:
        self.id, self.log = round.job_id, log  # The id is empty if it is not known.
        self.storage_name = round.report.storage_name or storage_name  # iconik's, once it is known.
        self.halt = ""  # `ABORTED` or `PAUSED` if an editor did that.
        self._iconik, self._round, self._has_warned = iconik, round, False
        self._due = iconik.now() + PROGRESS

    def open(self) -> None:
        """Find or create the job of a removal, and close those that were interrupted."""
        if self.id:
            return
        running: list[rows.Job] = []
        with suppress(PluginError):
            running = self._iconik.running_jobs(CUSTOM_TYPES["remove"])
        # iconik may have created this job although the answer was lost.
        own = (job.id for job in running if job.click_id == self._round.click_id)
        self.id = next(own, "") or self._create(status="STARTED")
        end = {"status": "FAILED", "message": INTERRUPTED, "error_message": INTERRUPTED}
        for job in running:
            if job.id != self.id and (job.modified or math.inf) < time.time() - ABANDONED:
                with suppress(PluginError):  # The next removal tries again.
                    self._iconik.update_job(job.id, end)

    def has_ended(self) -> bool:
        """Learn of a halt; return whether the job has ended, after a halt with its last message."""
        if self.id:
            with self._attempt():
                job = self._iconik.job(self.id)
                self.halt = HALTS.get(str(job.status), "")
                is_final = str(job.message).startswith((ABORTED, PAUSED))
                return job.status in rows.ENDED and (is_final or not self.halt)
        return False

    def show(self, done: int, total: int) -> None:
        """Show the progress if that is due; see `update`. If two threads do so, it is harmless."""
        if self._iconik.now() >= self._due:
            self._due = self._iconik.now() + PROGRESS
            self.update(done, total)

    def update(self, done: int, total: int, **changes: str) -> bool:
        """Show the progress, learn of a halt, and return whether iconik has changed the job."""
        if self.id:
            with self._attempt():
                progress = {"progress_processed": done, "progress_total": total}
                state = {"title": self._title(total), **progress, **changes}
                # A halt ends the removal, even if an answer from before it arrives late.
                self.halt = HALTS.get(str(self._iconik.update_job(self.id, state)), self.halt)
                return True
        return False

    def close(self, report: Report) -> bool:
        """Show the result, or notify the editor, and return whether the editor can see it."""
        # The queue may deliver a round twice at the same time.
        if not self._round.is_click and self.has_ended():
            return True
        halt, total, left = self.halt, report.total, report.numbers["left"]
        status = "ABORTED" if halt else report.status()
        sentence = halt + report.sentence()
        is_shown = self.update(total - left, total, status=status, message=sentence)
        # The numbers are shown first, because the titles of assets take more calls.
        titled = replace(report, notes=side_by_side(self._with_title, report.notes))
        message = halt + titled.message()
        if is_shown and message != sentence:
            error = {"error_message": message} if status == "FAILED" else {}
            self.update(total - left, total, message=message, **error)
        if is_shown and status == "FINISHED":
            return True  # Nobody is notified of a success that the job shows.
        return self._notify(sentence, message, is_shown=is_shown) or is_shown

    def fail(self, error: PluginError) -> None:
        """Show that an Add failed, and notify the editor."""
        message = f"{error.for_editor(self.log.reference)}."
        self.id = self._create(status="FAILED", message=message, error_message=message)
        self._notify(f"{self._title()}: {message}", message, is_shown=bool(self.id))

    def _create(self, **state: str) -> str:
        """Create the job, and return its id, which is empty if that has failed."""
        object_type, object_id = self._round.selected
        job = {
            "title": self._title(),
            "type": "CUSTOM",
            "custom_type": CUSTOM_TYPES[self._round.action.name],
            "object_type": object_type,
            "object_id": object_id,
            "metadata": {"click_id": self._round.click_id},
            **state,
        }
        with self._attempt():
            return self._iconik.create_job(job)
        return ""

    def _title(self, total: int = 0) -> str:
        """Return the title, with the number of all assets if it is known."""
        action = self._round.action
        kinds = {"assets": total} if total else action.selection.counts()
        what = " and ".join(count(n, NOUNS[kind]) for kind, n in kinds.items())
        return ACTIONS[action.name].format(what, self.storage_name)

    def _with_title(self, note: tuple[str, str]) -> tuple[str, str]:
        """Return a note of a report with the title of the asset, if iconik sends it."""
        asset_id, reason = note
        with suppress(PluginError):
            return self._iconik.asset_title(asset_id) or asset_id, reason
        return note

    def _notify(self, short: str, message: str, *, is_shown: bool) -> bool:
        """Notify the editor, if iconik has named one, and return whether that worked."""
        if not self._round.action.user_id:
            return True
        object_type, object_id = ("jobs", self.id) if is_shown else self._round.selected
        with self._attempt():
            notification = {
                "event_type": "finished",
                "message_short": short,
                "message_long": message,
                "recipient_id": self._round.action.user_id,
                "sender_id": self._iconik.current_user().get("id"),
                "object_type": object_type,
                "object_id": object_id,
            }
            self._iconik.notify(notification)
            return True
        return False

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        """Try to show something; log only the first error."""
        try:
            yield
        except PluginError as error:
            if not self._has_warned:
                self._has_warned = True
                self.log.write("WARNING", f"The editor may not see the result in iconik: {error}")
