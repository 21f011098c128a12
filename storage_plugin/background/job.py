"""The job and the notification in iconik that show an editor the result of an action.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from storage_plugin.background.iconik import ENDED, BackgroundIconik, JobState
from storage_plugin.background.run import Run
from storage_plugin.background.summary import NAMED, Summary, finished_parts, parts_of
from storage_plugin.background.task import Task
from storage_plugin.errors import NotFound, PluginError
from storage_plugin.progress import Progress
from storage_plugin.report import NO_ASSETS, Removal, Report, count, listing
from storage_plugin.webhook import ACTIONS

CUSTOM_TYPE = "REMOVE_FROM_STORAGE"
"""The custom type that distinguishes the jobs from those of other plugins."""

HALTS = {
    "ABORT_PENDING": "Aborted",
    "ABORTED": "Aborted",
    "DISCARDED": "Aborted",
    "PAUSED": "Paused",
}
"""The effect of a job's status on its removal."""

GRACE = 60.0
"""Seconds after a request's time limit from which a job without updates counts as interrupted."""

QUEUE_GRACE = 26 * 3600.0
"""The same for a job in the queue, which may wait for a day, in seconds since its last update."""

PATIENCE = "interrupted_after"
"""The key in a job's metadata for the seconds that it may go without an update."""

INTERRUPTED = "It was interrupted: repeat the action."

PAUSE = 1.0
"""Seconds between the first updates; later ones are up to ten times as far apart."""


class EndNotShown(PluginError):
    """A task is done, but its job in iconik does not show the result: the queue must repeat it."""

    status = 503
    can_retry = True

    def __init__(self) -> None:
        super().__init__("The job in iconik does not show the result yet: the queue tries again.")


class Job:
    """An action as iconik's Jobs page shows it.

    If the job cannot be shown, the action goes on, and one warning is logged.

    Args:
        run: the action.
        task: the task that the queue has delivered; None: the action was clicked just now.

    Attributes:
        id: the id of the job in iconik; None: there is no job.
        progress: the progress of the removal.
    """

    def __init__(self, run: Run, task: Task | None = None) -> None:
        self._is_delivered = task is not None
        task = task or Task(run.action)
        self.id = task.job_id
        self.progress = Progress(run.rest.deadline, task.wait.before)
        self._part = task.part
        self._iconik = BackgroundIconik(run.rest.hurried())
        self._run = run
        self._shown = JobState("", None, 0, 0, None, {})
        self._asks_for_titles = True
        self._has_warned = False

    def open(self, parts: int = 1) -> None:
        """Create the job.

        Args:
            parts: the number of tasks of a removal that goes to the queue.
        """
        object_type, object_id = self._run.action.selection.objects()[0]
        metadata: dict[str, Any] = {PATIENCE: self._run.settings.timeout + GRACE}
        if parts > 1:
            metadata |= Summary(split=parts).noted("")
        job = {
            "type": "CUSTOM",
            "custom_type": CUSTOM_TYPE,
            "status": "STARTED",
            "object_type": object_type,
            "object_id": object_id,
            "metadata": metadata,
        }
        with self._tried():
            self.id = self._iconik.create_job(job | self._state())

    def wait_for_queue(self) -> None:
        """Note that the queue has the work, so the job does not count as interrupted."""
        self._show(metadata={PATIENCE: QUEUE_GRACE})

    @contextmanager
    def updated(self) -> Iterator[None]:
        """Keep the job up to date, in a thread, while the removal goes on.

        The thread also creates the job, unless the queue has delivered the removal.
        """
        is_over = threading.Event()
        thread = threading.Thread(target=self._update, args=(is_over,))
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def state(self) -> JobState:
        """Return the job's progress so far, because the queue may deliver a task twice.

        Raises:
            PluginError: the progress cannot be read now, but perhaps later.
        """
        if self.id:
            try:
                self._shown = self._iconik.job(self.id)
            except PluginError as error:
                if error.can_retry:
                    raise
                if isinstance(error, NotFound):  # Deleting the job does not abort the removal.
                    self.id = None
                self._warn(error)
        return self._shown

    @property
    def shows_part(self) -> bool:
        """Whether an earlier delivery noted the end of this part."""
        return self._part in parts_of(self._shown.metadata)

    def abort(self, why: str = "Aborted") -> None:
        """Show that the removal does not go on when its task is delivered.

        Raises:
            EndNotShown: the job cannot be changed now.
        """
        done, total = self._shown.processed, self._shown.total
        progress = f", with {done} of {count(total, 'asset')} done" if total else ""
        with self._tried():
            changes = {"status": "ABORTED", "message": f"{why}{progress}."}
            self._iconik.update_job(str(self.id), changes)
            return
        raise EndNotShown

    def say(self, message: str) -> None:
        """Show a message while the job goes on."""
        self._show(message=message)

    def close(self, report: Report, split: int = 0) -> bool:
        """Show the result, and notify the editor if something stayed or failed.

        If this is one of several parts, only note its result. The last part shows the whole result.

        Args:
            report: the result of this part.
            split: the number of tasks that will do the rest of this part.

        Returns:
            Whether the job, if there is one, shows or notes the result.
        """
        summary = replace(self._summary(report), split=split)
        if not self.id or not (self._part or split):
            return self._end(summary)
        return self._show(metadata=summary.noted(self._part)) and self.close_parts()

    def close_parts(self) -> bool:
        """If the results of all parts are noted, show them.

        Returns:
            Whether another delivery could not show more.
        """
        try:
            self._shown = self._iconik.job(str(self.id))
        except PluginError as error:
            self._warn(error)
            return not error.can_retry
        parts = finished_parts(self._shown.metadata)
        return not parts or self._end(sum(parts, Summary()))

    def _end(self, summary: Summary) -> bool:
        """Show a summary; return whether the job, if there is one, shows it."""
        sentence = summary.sentence(str(self._run.settings.storage_name))
        notes = listing(summary.notes, summary.notable)
        message = " ".join(filter(None, [sentence, notes, summary.advice]))
        changes = {"status": summary.status, "message": message}
        if summary.status == "FAILED":
            changes["error_message"] = message
        is_shown = self._show(**changes)
        if is_shown and summary.status in ("FAILED", "FINISHED_WITH_WARNING"):
            with self._tried():
                self._notify(sentence, message)
        return is_shown

    def _show(self, **changes: Any) -> bool:
        """Change the job, if there is one, and show the progress; return whether that worked."""
        with self._tried():
            if self.id:
                self._iconik.update_job(self.id, self._state() | changes)
            return True
        return False

    def _summary(self, report: Report) -> Summary:
        """Return a report as a summary for editors, with titles of assets and the next step."""
        if report.failure:
            return Summary(failure=f"{report.failure.for_editor(self._run.log.reference)}.")
        notes = [self._note(removal) for removal in report.notable[:NAMED]]
        advice = "Repeat the action." if report.can_retry else ""
        return Summary(report.tally, tuple(notes), len(report.notable), report.halt, advice)

    def _note(self, removal: Removal) -> str:
        reasons = [*removal.reasons]
        if removal.error and removal.end == "failed":
            reasons.append(f"it failed. {removal.error.for_editor(self._run.log.reference)}")
        return f"{self._name(removal)}: {'; '.join(reasons)}"

    def _update(self, is_over: threading.Event) -> None:
        """Update the job until the removal is over, or an editor ends it."""
        started = time.monotonic()
        if not self._is_delivered:
            self.open()
        self._close_interrupted()
        # The longer a removal takes, the rarer its updates, to spare iconik's rate limit.
        while self.id and not is_over.wait(_pause(time.monotonic() - started)):
            with self._tried():
                status = self._iconik.update_job(self.id, self._state())
                status = status or self._iconik.job(self.id).status
                self.progress.halt_as(HALTS.get(str(status), ""))
                if status in ENDED:
                    break

    def _close_interrupted(self) -> None:
        """Close the jobs of earlier actions whose instance was killed."""
        with suppress(PluginError):  # The next action tries again.
            for job in self._iconik.running_jobs(CUSTOM_TYPE):
                patience = job.metadata.get(PATIENCE)
                limit = patience if isinstance(patience, int | float) else QUEUE_GRACE
                if job.id != self.id and job.modified and job.modified + limit < time.time():
                    end = {"message": INTERRUPTED, "error_message": INTERRUPTED}
                    self._iconik.update_job(job.id, {"status": "FAILED", **end})

    @contextmanager
    def _tried(self) -> Iterator[None]:
        """Log an error, and go on."""
        try:
            yield
        except PluginError as error:
            self._warn(error)

    def _warn(self, error: PluginError) -> None:
        """Log the first error."""
        if not self._has_warned:
            self._has_warned = True
            text = f"The editor may not see the result in iconik: {error}"
            self._run.log.write("WARNING", text)

    def _state(self) -> dict[str, Any]:
        """Return the title and the progress of the removal, including its other parts."""
        parts = parts_of(self._shown.metadata)
        parts.pop(self._part, None)
        others = sum((each.tally for each in parts.values()), NO_ASSETS)
        action = self._run.action
        total = max((self.progress.total or 0) + others.total, self._shown.total)
        done = max(self.progress.done + others.total - others.left, self._shown.processed)
        kinds = {"assets": total} if total else action.selection.counts()
        what = " and ".join(count(n, kind.replace("_", " ")[:-1]) for kind, n in kinds.items())
        return {
            "title": ACTIONS[action.name].format(what, self._run.settings.storage_name),
            "progress_total": total,
            "progress_processed": done,
        }

    def _notify(self, sentence: str, message: str) -> None:
        if user_id := self._run.action.user_id:
            selected = self._run.action.selection.objects()[0]
            object_type, object_id = ("jobs", self.id) if self.id else selected
            self._iconik.notify(
                {
                    "event_type": "finished",
                    "message_short": f"{self._state()['title']}: {sentence}",
                    "message_long": message,
                    "recipient_id": user_id,
                    "sender_id": self._iconik.current_user_id(),
                    "object_type": object_type,
                    "object_id": object_id,
                }
            )

    def _name(self, removal: Removal) -> str:
        """Return the title of an asset; if it is unknown, the id."""
        title = removal.title
        try:
            if self._asks_for_titles:
                title = title or self._iconik.asset_title(removal.object_id)
        except PluginError as error:
            self._asks_for_titles = not error.can_retry  # Otherwise, each title would take time.
        return title or removal.object_id


def _pause(seconds: float) -> float:
    """Return the seconds until the next update of a removal that has taken some seconds."""
    return min(10 * PAUSE, max(PAUSE, seconds / 10))
