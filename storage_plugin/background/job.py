"""The job and the notification in iconik that tell an editor what becomes of an action.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from storage_plugin.background.iconik import ENDED, JobState
from storage_plugin.background.run import Run
from storage_plugin.background.summary import NAMED, Summary, finished_parts, parts_of
from storage_plugin.errors import NotFound, PluginError
from storage_plugin.progress import Progress
from storage_plugin.report import NO_ASSETS, Removal, Report, count, listing
from storage_plugin.webhook import ACTIONS

CUSTOM_TYPE = "REMOVE_FROM_STORAGE"
"""What the jobs are told apart from other plugins' by."""

HALTS = {
    "ABORT_PENDING": "Aborted",
    "ABORTED": "Aborted",
    "DISCARDED": "Aborted",
    "PAUSED": "Paused",
}
"""What an editor has done to a removal, by the status of its job."""

GRACE = 60.0
"""Seconds after a request's time limit from which a job that nobody updates was interrupted."""

QUEUE_GRACE = 26 * 3600.0
"""The same of a job that the queue works on: it comes back for a day."""

PATIENCE = "interrupted_after"
"""Where a job notes for how many seconds it may be without an update."""

INTERRUPTED = "It was interrupted: repeat the action."

PAUSE = 1.0
"""Seconds between the first updates; later ones are up to ten times as far apart."""


class EndNotShown(PluginError):
    """A task is done, but its job in iconik does not show the end: the queue is to repeat it."""

    status = 503
    can_retry = True


class Job:
    """An action as iconik's Jobs page shows it.

    What goes wrong with the job is logged, once, and hinders nothing.

    Args:
        run: the action.
        job_id: of the job that exists already, None where there is none.
        part: of a large removal, as in `Task.part`.

    Attributes:
        id: of the job in iconik, None where there is none.
    """

    def __init__(self, run: Run, job_id: str | None = None, part: str = "") -> None:
        self.id = job_id
        self._part = part
        self._iconik = run.hurried_iconik()
        self._run = run
        self._progress: Progress | None = None
        self._shown = JobState("", None, 0, 0, None, {})
        self._asks_for_titles = True
        self._error: PluginError | None = None

    def open(self, parts: int = 1) -> None:
        """Create the job.

        Args:
            parts: of a removal that is to be handed to the queue.
        """
        metadata: dict[str, Any] = {PATIENCE: self._run.settings.timeout + GRACE}
        if parts > 1:
            metadata |= Summary(split=parts).noted("")
        self._create({"status": "STARTED", "metadata": metadata})

    def wait_for_queue(self) -> None:
        """Note that the queue has the work, so that nobody takes the job for interrupted."""
        with self._tried():
            if self.id:
                changes = self._state() | {"metadata": {PATIENCE: QUEUE_GRACE}}
                self._iconik.update_job(self.id, changes)

    def report_failure(self, error: PluginError) -> None:
        """Create a job of an action that has failed before it had one, and notify the editor."""
        message = f"{error.for_editor(self._run.log.reference)}."
        self._create({"status": "FAILED", "message": message, "error_message": message})
        with self._tried():
            self._notify(message, message)
        self._write_log()

    @contextmanager
    def updated(self, progress: Progress, *, opens: bool) -> Iterator[None]:
        """Keep the job up to date, in a thread, while the removal goes on.

        Args:
            progress: of the removal.
            opens: whether the job is to be created first.
        """
        self._progress = progress
        is_over = threading.Event()
        thread = threading.Thread(target=self._update, args=(is_over, opens))
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def state(self) -> JobState:
        """Return how far the job has come before: the queue may deliver twice.

        Raises:
            PluginError: that is not known now, but may be later.
        """
        if self.id:
            try:
                self._shown = self._iconik.job(self.id)
            except NotFound as error:  # Deleted, which is no abort: the rest is told anyway.
                self._error, self.id = error, None
            except PluginError as error:
                if error.can_retry:
                    raise
                self._error = error
        return self._shown

    @property
    def shows_part(self) -> bool:
        """Whether an earlier delivery has noted the end of this part."""
        return self._part in parts_of(self._shown.metadata)

    def end_as_aborted(self) -> None:
        """Show that the removal was aborted before it came back.

        Raises:
            EndNotShown: it cannot be shown now.
        """
        done = f"{self._shown.processed} of {count(self._shown.total, 'asset')}"
        changes = {"status": "ABORTED", "message": f"Aborted: {done} were done before."}
        try:
            self._iconik.update_job(str(self.id), changes)
        except PluginError as error:
            raise EndNotShown(str(error)) from None

    def say(self, message: str) -> None:
        """Show a message; the job goes on."""
        with self._tried():
            if self.id:
                self._iconik.update_job(self.id, self._state() | {"message": message})
        self._write_log()

    def close(self, report: Report) -> bool:
        """Show the end, and notify the editor if something stayed or failed.

        Returns:
            Whether the job, if there is one, shows the end.
        """
        return self._end(self._summary(report))

    def close_part(self, report: Report, split: int = 0) -> bool:
        """Note the end of this part of the removal, and show the end of all if it is the last.

        Args:
            split: into how many parts the rest of it was split.

        Returns:
            Whether the job shows it.
        """
        summary = self._summary(report)
        if not self.id or not (self._part or split):
            return self._end(summary)
        with self._tried():
            note = replace(summary, split=split).noted(self._part)
            self._iconik.update_job(self.id, self._state() | {"metadata": note})
            self._shown = self._iconik.job(self.id)
            parts = finished_parts(self._shown.metadata)
            return self._end(sum(parts, Summary())) if parts else True
        self._write_log()
        return False

    def _create(self, fields: Mapping[str, Any]) -> None:
        (object_type, ids), *_ = self._run.action.selection.by_type()
        job = {"type": "CUSTOM", "custom_type": CUSTOM_TYPE, **self._state(), **fields}
        with self._tried():
            self.id = self._iconik.create_job(
                job | {"object_type": object_type, "object_id": ids[0]}
            )

    def _end(self, summary: Summary) -> bool:
        """Show the end that a summary means; return whether the job, if there is one, shows it."""
        is_shown = False
        with self._tried():
            sentence = summary.sentence(str(self._run.settings.storage_name))
            notes = listing(summary.notes, summary.notable)
            message = " ".join(filter(None, [sentence, notes, summary.advice]))
            if self.id:
                changes = self._state() | {"status": summary.status, "message": message}
                if summary.status == "FAILED":
                    changes["error_message"] = message
                self._iconik.update_job(self.id, changes)
            is_shown = True
            if summary.status in ("FAILED", "FINISHED_WITH_WARNING"):
                self._notify(sentence, message)
        self._write_log()
        return is_shown

    def _summary(self, report: Report) -> Summary:
        """Return what an editor reads of a report: assets by their titles, and what to do."""
        reference = self._run.log.reference
        if report.failure:
            return Summary(failure=f"{report.failure.for_editor(reference)}.")
        notes = [self._note(removal, reference) for removal in report.notable[:NAMED]]
        advice = "Repeat the action." if report.can_retry else ""
        return Summary(report.tally, tuple(notes), len(report.notable), report.halt, advice)

    def _note(self, removal: Removal, reference: str) -> str:
        reasons = [*removal.reasons]
        if removal.error and removal.end == "failed":
            reasons.append(f"it failed. {removal.error.for_editor(reference)}")
        return f"{self._name(removal)}: {'; '.join(reasons)}"

    def _update(self, is_over: threading.Event, opens: bool) -> None:
        """Update the job until the removal is over, or ended by an editor."""
        started = time.monotonic()
        if opens:
            self.open()
        self._close_interrupted()
        # The longer a removal takes the fewer its updates: they must not take up iconik's limit.
        while self.id and not is_over.wait(_pause(time.monotonic() - started)):
            with self._tried():
                status = self._iconik.update_job(self.id, self._state())
                status = status or self._iconik.job(self.id).status
                if self._progress:
                    self._progress.halt_as(HALTS.get(str(status), ""))
                if status in ENDED:
                    break

    def _close_interrupted(self) -> None:
        """Close the jobs of earlier actions whose instance was killed."""
        with suppress(PluginError):  # The next action tries it again.
            for job in self._iconik.running_jobs(CUSTOM_TYPE):
                patience = job.metadata.get(PATIENCE)
                limit = patience if isinstance(patience, int | float) else QUEUE_GRACE
                if job.id != self.id and job.modified and job.modified + limit < time.time():
                    end = {"message": INTERRUPTED, "error_message": INTERRUPTED}
                    self._iconik.update_job(job.id, {"status": "FAILED", **end})

    @contextmanager
    def _tried(self) -> Iterator[None]:
        """Note an error, and go on."""
        try:
            yield
        except PluginError as error:
            self._error = self._error or error

    def _write_log(self) -> None:
        if self._error:
            text = f"The editor may not see the end in iconik: {self._error}"
            self._run.log.write("WARNING", text)

    def _state(self) -> dict[str, Any]:
        """Return the title and how far the removal has come, other parts of it included."""
        parts = parts_of(self._shown.metadata)
        parts.pop(self._part, None)
        others = sum((each.tally for each in parts.values()), NO_ASSETS)
        progress, action = self._progress, self._run.action
        total = max((progress.total or 0) + others.total if progress else 0, self._shown.total)
        done = progress.done + others.total - others.left if progress else 0
        kinds = {"assets": total} if total else action.selection.counts()
        what = " and ".join(count(n, kind.replace("_", " ")[:-1]) for kind, n in kinds.items())
        return {
            "title": ACTIONS[action.name].format(what, self._run.settings.storage_name),
            "progress_total": total,
            "progress_processed": max(done, self._shown.processed),
        }

    def _notify(self, sentence: str, message: str) -> None:
        if user_id := self._run.action.user_id:
            (object_type, ids), *_ = self._run.action.selection.by_type()
            kind, related = ("jobs", self.id) if self.id else (object_type, ids[0])
            self._iconik.notify(
                {
                    "event_type": "finished",
                    "message_short": f"{self._state()['title']}: {sentence}",
                    "message_long": message,
                    "recipient_id": user_id,
                    "sender_id": self._iconik.current_user_id(),
                    "object_type": kind,
                    "object_id": related,
                }
            )

    def _name(self, removal: Removal) -> str:
        """Return what editors call an asset, else its id."""
        title = removal.title
        try:
            if self._asks_for_titles:
                title = title or self._iconik.asset_title(removal.object_id)
        except PluginError as error:
            self._asks_for_titles = not error.can_retry  # Else each one would take its time.
        return title or removal.object_id


def _pause(seconds: float) -> float:
    """Return the seconds until the next update of a removal that has taken some seconds so far."""
    return min(10 * PAUSE, max(PAUSE, seconds / 10))
