"""The job and the notification in iconik that tell an editor what becomes of a removal.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage_plugin.background.iconik import ENDED, JobState
from storage_plugin.background.run import Run
from storage_plugin.errors import NotFound, PluginError
from storage_plugin.report import Removal, Report, listing
from storage_plugin.transfers import Progress

CUSTOM_TYPE = "REMOVE_FROM_STORAGE"
"""What the jobs are told apart from other plugins' by."""

NAMED = 10
"""Assets that a job names; the log names all."""


class Job:
    """A removal as iconik's Jobs page shows it.

    What goes wrong with the job is logged, once, and hinders nothing.

    Args:
        run: the removal.
        job_id: of a job that exists already.

    Attributes:
        id: of the job in iconik, None where there is none.
    """

    def __init__(self, run: Run, job_id: str | None = None) -> None:
        self.id = job_id
        self._iconik = run.hurried_iconik()
        self._log = run.log
        self._user_id = run.action.user_id
        self._storage_name = run.settings.storage_name
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
    def opened(self, progress: Progress) -> Iterator[None]:
        """Create the job and keep it up to date, in a thread, while the removal goes on.

        The thread's calls are not waited for until the end.
        """

        def open_and_update(is_over: threading.Event) -> None:
            self.open()
            self._update(is_over)

        with self._beside(open_and_update, progress):
            yield

    @contextmanager
    def updated(self, progress: Progress) -> Iterator[None]:
        """Keep the job up to date, if there is one, while the removal goes on."""
        with self._beside(self._update, progress):
            yield

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
            message = f"Aborted: {done} were done before."
            self._iconik.update_job(str(self.id), {"status": "ABORTED", "message": message})
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
            notable = report.notable
            shown = [f"{self._name(each)}: {each.reason}" for each in notable[:NAMED]]
            message = f"{report.sentence} {listing(shown, len(notable))}".rstrip()
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

    @contextmanager
    def _beside(
        self, work: Callable[[threading.Event], None], progress: Progress
    ) -> Iterator[None]:
        """Do some work in a thread, which is told when something else is over."""
        self._progress = progress
        is_over = threading.Event()
        thread = threading.Thread(target=work, args=(is_over,))
        thread.start()
        try:
            yield
        except BaseException:
            is_over.set()
            thread.join()
            self.close(Report(failure=PluginError("It broke off: see the log.")))
            raise
        is_over.set()
        thread.join()

    def _update(self, is_over: threading.Event) -> None:
        """Update the job until the removal is over."""
        started = time.monotonic()
        # Long removals are told of less often: the news must not take up iconik's limit.
        while self.id and not is_over.wait(min(10.0, max(1.0, (time.monotonic() - started) / 10))):
            with self._tried():
                status = self._iconik.update_job(self.id, self._state())
                status = status or self._iconik.job(self.id).status
                if self._progress and status in ("ABORT_PENDING", "ABORTED"):
                    self._progress.is_aborted = True
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
            self._log.write("WARNING", text)

    def _state(self) -> dict[str, object]:
        progress = self._progress
        total = (progress and progress.total) or self._shown.total or None
        what = "assets" if total is None else f"{total} asset{'' if total == 1 else 's'}"
        return {
            "title": f"Remove {what} from {self._storage_name}",
            "progress_total": total or 0,
            "progress_processed": max(progress.done if progress else 0, self._shown.processed),
        }

    def _notify(self, sentence: str, message: str) -> None:
        if not self._user_id:
            return
        related = {"object_type": "jobs", "object_id": self.id} if self.id else self._object
        self._iconik.notify(
            {
                "event_type": "finished",
                "message_short": f"{self._state()['title']}: {sentence}",
                "message_long": message,
                "recipient_id": self._user_id,
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
