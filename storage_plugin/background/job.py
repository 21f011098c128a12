"""The job and the notification in iconik that tell an editor what becomes of a removal.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from storage_plugin.background.iconik import ENDED, JobState
from storage_plugin.background.run import Run
from storage_plugin.errors import NotFound, PluginError
from storage_plugin.report import Removal, Report
from storage_plugin.transfers import Progress

CUSTOM_TYPE = "REMOVE_FROM_STORAGE"
"""What the jobs are told apart from other plugins' by."""

HALTS = {
    "ABORT_PENDING": "Aborted",
    "ABORTED": "Aborted",
    "DISCARDED": "Aborted",
    "PAUSED": "Paused",
}
"""What an editor has done to a removal, by the status of its job."""

NAMED = 10
"""Assets that a job names; the log names all."""


class EndNotShown(PluginError):
    """A task is done, but its job in iconik does not show the end: the queue is to repeat it."""

    status = 503
    can_retry = True


class Job:
    """A removal as iconik's Jobs page shows it.

    What goes wrong with the job is logged, once, and hinders nothing.

    Args:
        run: the removal.
        id: of the job that exists already, None where there is none.
    """

    def __init__(self, run: Run, id: str | None = None) -> None:  # noqa: A002
        self.id = id
        self._iconik = run.hurried_iconik()
        self._run = run
        (object_type, ids), *_ = run.action.selection.by_type()
        self._object = {"object_type": object_type, "object_id": ids[0]}
        self._progress: Progress | None = None
        self._shown = JobState(None, 0, 0)
        self._asks_for_titles = True
        self._error: PluginError | None = None

    def open(self) -> None:
        """Create the job."""
        job = {"type": "CUSTOM", "custom_type": CUSTOM_TYPE, "status": "STARTED"}
        with self._tried():
            self.id = self._iconik.create_job(job | self._object | self._state())

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

    def has_ended(self) -> bool:
        """Whether the job has come to its end before: the queue may deliver twice.

        Raises:
            PluginError: that is not known now, but may be later.
        """
        if not self.id:
            return False
        try:
            self._shown = self._iconik.job(self.id)
        except NotFound as error:  # Deleted, which is no abort: the rest is told anyway.
            self._error, self.id = error, None
        except PluginError as error:
            if error.can_retry:
                raise
            self._error = error
        if self._shown.status == "ABORT_PENDING":
            done = f"{self._shown.processed} of {self._shown.total} assets"
            changes = {"status": "ABORTED", "message": f"Aborted: {done} were done before."}
            try:
                self._iconik.update_job(str(self.id), changes)
            except PluginError as error:
                raise EndNotShown(str(error)) from None
            return True
        return self._shown.status in ENDED

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
        is_shown = False
        with self._tried():
            message = report.text([self._name(each) for each in report.notable[:NAMED]])
            if self.id:
                changes = self._state() | {"status": report.status, "message": message}
                if report.status == "FAILED":
                    changes["error_message"] = message
                self._iconik.update_job(self.id, changes)
            is_shown = True
            if report.status in ("FAILED", "FINISHED_WITH_WARNING"):
                self._notify(report.sentence, message)
        self._write_log()
        return is_shown

    def _update(self, is_over: threading.Event, opens: bool) -> None:
        """Update the job until the removal is over, or ended by an editor."""
        started = time.monotonic()
        if opens:
            self.open()
        # The longer a removal takes the fewer its updates: they must not take up iconik's limit.
        while self.id and not is_over.wait(min(10.0, max(1.0, (time.monotonic() - started) / 10))):
            with self._tried():
                status = self._iconik.update_job(self.id, self._state())
                status = status or self._iconik.job(self.id).status
                if self._progress:
                    self._progress.halt_as(HALTS.get(str(status), ""))
                if status in ENDED:
                    break

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

    def _state(self) -> dict[str, object]:
        progress, shown = self._progress, self._shown
        total = (progress and progress.total) or shown.total
        what = f"{total} asset{'' if total == 1 else 's'}" if total else "assets"
        return {
            "title": f"Remove {what} from {self._run.settings.storage_name}",
            "progress_total": total,
            "progress_processed": max(progress.done if progress else 0, shown.processed),
        }

    def _notify(self, sentence: str, message: str) -> None:
        if user_id := self._run.action.user_id:
            related = {"object_type": "jobs", "object_id": self.id} if self.id else self._object
            self._iconik.notify(
                {
                    "event_type": "finished",
                    "message_short": f"{self._state()['title']}: {sentence}",
                    "message_long": message,
                    "recipient_id": user_id,
                    "sender_id": self._iconik.current_user_id(),
                    **related,
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
