"""What is told of a removal: to the editor in iconik, in the answer, and in the log.

https://app.iconik.io/docs/apidocs.html?url=/docs/jobs/spec/
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from storage_plugin.errors import (
    AdministratorError,
    IconikError,
    IconikUnavailable,
    NotFound,
    OutOfTime,
    PluginError,
)
from storage_plugin.iconik import ENDED, Iconik, JobState
from storage_plugin.logs import Log
from storage_plugin.task_queue import Delivery
from storage_plugin.transfers import Progress, Removal
from storage_plugin.webhook import Selection

CUSTOM_TYPE = "REMOVE_FROM_STORAGE"
"""What the jobs are told apart from other plugins' by."""

NAMED = 10
"""Assets that a job names; the log names all."""


@dataclass(frozen=True)
class Outcome:
    """How a removal ended.

    Attributes:
        status: of the job; None: it goes on later.
        sentence: how many assets came to which end.
        told: those to be told of: kept or failed.
        kind: the error to answer with, None where the action did what it could.
        waiting: the number of assets for which it is worth to come back later.
    """

    status: str | None
    sentence: str
    told: Sequence[Removal] = ()
    kind: type[PluginError] | None = None
    waiting: int = 0

    @property
    def can_retry(self) -> bool:
        """Whether the same removal may end better later."""
        return self.kind is not None and self.kind.can_retry


def outcome(removals: Sequence[Removal], storage_name: str, progress: Progress) -> Outcome:
    """Sum up what became of the assets."""
    total = progress.before + len(removals)
    kept = [removal for removal in removals if removal.stays]
    failed = [removal for removal in removals if removal.error and not removal.is_left]
    left = sum(removal.is_left for removal in removals)
    waiting = sum(bool(removal.waits) for removal in removals)
    counts = (
        f"{total - len(failed) - left} of {total} assets are done, "
        f"{len(failed)} failed and {left} are left."
    )
    if (left or waiting) and progress.is_aborted:
        return Outcome("ABORTED", f"Aborted: {counts}", failed + kept)
    if failed or left:
        errors = [removal.error for removal in failed if removal.error]
        common = [error for error in errors if isinstance(error, AdministratorError)]
        if common:
            kind: type[PluginError] = type(common[0])
        elif left:
            kind = OutOfTime
        else:
            kind = IconikUnavailable if any(error.can_retry for error in errors) else IconikError
        sentence = f"{counts} The action can be repeated."
        return Outcome("FAILED", sentence, failed + kept, kind, waiting)
    if kept:
        sentence = f"{len(kept)} of {total} assets stayed on {storage_name}."
        return Outcome("FINISHED_WITH_WARNING", sentence, kept, None, waiting)
    return Outcome("FINISHED", f"{total} of {total} assets are done.")


def answer(end: Outcome) -> str:
    """Return the answer to a removal.

    Raises:
        PluginError: some assets failed, or are left.
    """
    shown = [f"{removal.object_id}: {removal.reason}" for removal in end.told[:3]]
    told = _listing(shown, len(end.told))
    if end.kind:
        raise end.kind(f"{end.sentence} {told}")
    return "OK" if end.status == "FINISHED" else f"OK: {end.sentence} {told}".rstrip()


def write_log(removals: Sequence[Removal], log: Log) -> None:
    """Log each asset that was kept or failed, and note how many there were."""
    for removal in removals:
        text = f"{removal.object_id}: {removal.reason}"
        if removal.stays:
            severity = "WARNING" if removal.kept else "INFO"
            log.write(severity, f"Kept {text}.", kept=removal.object_id)
        if removal.error and not removal.is_left:
            log.write("ERROR", f"Failed {text}. {removal.error.detail}", failed=removal.object_id)
    log.figures.update(
        assets=len(removals),
        file_sets_removed=sum(removal.removed for removal in removals),
        kept=sum(bool(removal.stays) for removal in removals),
        failed=sum(bool(removal.error) and not removal.is_left for removal in removals),
        left=sum(removal.is_left for removal in removals),
        waiting=sum(bool(removal.waits) for removal in removals),
    )


def _listing(shown: Sequence[str], total: int) -> str:
    """Return a sentence of the items that are shown, if there are any."""
    more = [f"{total - len(shown)} more are in the log"] if total > len(shown) else []
    return f"{'; '.join([*shown, *more])}." if shown else ""


class Job:
    """A removal as iconik's Jobs page shows it, kept up to date by a thread of its own.

    Use it as a context, and set `end` in it. What goes wrong with the job is logged, once, and
    hinders nothing: its thread is not waited for until the end, and soon given up.

    Args:
        iconik: with little patience.
        selection: what is removed.
        storage_name: what it is removed from.
        log: takes the warning.
        delivery: of the queue; None: it comes from iconik itself.

    Attributes:
        id: in iconik, None where there is no job.
        progress: how far the removal has come.
        end: how it ended.
        is_told: whether the job in iconik, if there is one, tells the end.
    """

    def __init__(
        self,
        iconik: Iconik,
        selection: Selection,
        storage_name: str,
        log: Log,
        delivery: Delivery | None = None,
    ) -> None:
        self.id = selection.job_id
        self.progress = Progress()
        self.end: Outcome | None = None
        self.is_told = False
        self._iconik = iconik
        self._user_id = selection.user_id
        self._objects = [
            {"object_type": object_type, "object_id": id}
            for object_type, ids in selection.by_type()
            for id in ids
        ]
        self._storage_name = storage_name
        self._log = log
        self._delivery = delivery
        self._before = JobState(None, 0, 0)
        self._asks_for_titles = True
        self._error: PluginError | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._attend)

    def __enter__(self) -> "Job":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if isinstance(error, PluginError):
            self.end = self.end or Outcome("FAILED", str(error), kind=type(error))
        self.close(self.end or Outcome("FAILED", "It broke off: see the log."))

    def open(self) -> None:
        """Create the job, unless there is one."""
        job = {"type": "CUSTOM", "custom_type": CUSTOM_TYPE, "status": "STARTED"}
        try:
            self.id = self.id or self._iconik.create_job(job | self._objects[0] | self._state())
        except PluginError as error:
            self._error = error

    def is_over(self) -> bool:
        """Whether the job has come to its end before: the queue may deliver twice.

        Raises:
            PluginError: that is not known now, but may be later.
        """
        if not self.id:
            return False
        try:
            self._before = self._iconik.job(self.id)
        except PluginError as error:
            if error.can_retry:
                raise
            self._error = error
            if isinstance(error, NotFound):  # Deleted, which is no abort: the rest is told anyway.
                self.id = None
        if self._before.status == "ABORT_PENDING":
            done = f"{self._before.processed} of {self._before.total} assets"
            self.close(Outcome("ABORTED", f"Aborted: {done} were done before."))
            if self._error:
                raise self._error
            return True
        return self._before.status in ENDED

    def close(self, end: Outcome) -> None:
        """Tell the end, to iconik or else to the log."""
        try:
            self._tell(end)
        except PluginError as error:
            self._error = self._error or error
        if self._error:
            self._log.write("WARNING", f"The editor may not see the end in iconik: {self._error}")

    def will_repeat(self, end: Outcome) -> bool:
        """Whether the queue repeats a removal that ends like this."""
        return self._delivery is not None and not self._delivery.is_last and end.can_retry

    def _attend(self) -> None:
        """Create the job, and update it until the removal is over."""
        started = time.monotonic()
        if not self._delivery:  # Else it was created when the work was handed over.
            self.open()
        # Long removals are told of less often: the news must not take up iconik's limit.
        while self.id and not self._is_over.wait(
            min(10.0, max(1.0, (time.monotonic() - started) / 10))
        ):
            try:
                status = self._iconik.update_job(self.id, self._state())
            except PluginError as error:
                self._error = error
            else:
                self.progress.is_aborted |= status in ("ABORT_PENDING", "ABORTED")
                if status in ENDED:
                    break

    def _state(self) -> dict[str, object]:
        total = self.progress.total or self._before.total or None
        what = "assets" if total is None else f"{total} asset{'' if total == 1 else 's'}"
        return {
            "title": f"Remove {what} from {self._storage_name}",
            "progress_total": total or 0,
            "progress_processed": max(self.progress.processed, self._before.processed),
        }

    def _tell(self, end: Outcome) -> None:
        """Tell the job's end, and notify the editor if something was kept or failed."""
        self.is_told = not end.status
        repeats = " The queue repeats it." if self.will_repeat(end) else ""
        if repeats or not end.status:
            if self.id:
                news = {"message": end.sentence + repeats}
                self._iconik.update_job(self.id, self._state() | news)
            return
        shown = [f"{self._name(removal)}: {removal.reason}" for removal in end.told[:NAMED]]
        message = f"{end.sentence} {_listing(shown, len(end.told))}".rstrip()
        if self.id:
            changes = self._state() | {"status": end.status, "message": message}
            if end.status == "FAILED":
                changes["error_message"] = message
            self._iconik.update_job(self.id, changes)
        self.is_told = True
        if self._user_id and end.status in ("FAILED", "FINISHED_WITH_WARNING"):
            related = {"object_type": "jobs", "object_id": self.id} if self.id else self._objects[0]
            self._iconik.notify(
                {
                    "event_type": "finished",
                    "message_short": f"{self._state()['title']}: {end.sentence}",
                    "message_long": message,
                    "recipient_id": self._user_id,
                    "sender_id": self._iconik.current_user().id,
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
