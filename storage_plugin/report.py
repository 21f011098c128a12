"""What became of a removal: the answer, the log lines, and the sentence for the editor."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from storage_plugin.errors import (
    AdministratorError,
    IconikError,
    IconikUnavailable,
    OutOfTime,
    PluginError,
)
from storage_plugin.logs import Log

NAMED = 3
"""Assets that an answer names; the log names all."""


@dataclass
class Removal:
    """What became of one asset, or of a collection or saved search that iconik does not know.

    Attributes:
        object_id: its id.
        title: its name in iconik, if that is known.
        object_type: as in bulk calls.
        removed: the number of file sets deleted.
        kept: for each file set that stays, the reason.
        waiting: the same for those that stay only until their copies are there.
        error: what went wrong, if something did; OutOfTime: it is not done.
    """

    object_id: str
    title: str | None = None
    object_type: str = "assets"
    removed: int = 0
    kept: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    error: PluginError | None = None

    @property
    def is_left(self) -> bool:
        """Whether it was not begun or not finished."""
        return isinstance(self.error, OutOfTime)

    @property
    def has_failed(self) -> bool:
        """Whether something went wrong with it."""
        return self.error is not None and not self.is_left

    @property
    def has_stayed(self) -> bool:
        """Whether something of it stays, for now or for good."""
        return bool(self.kept or self.waiting)

    @property
    def reason(self) -> str:
        """Why something was kept, or failed."""
        errors = [str(self.error)] if self.error else []
        return "; ".join([*self.kept, *self.waiting, *errors]).rstrip(".")

    def write_log(self, log: Log) -> None:
        """Log that it stayed or failed."""
        text = f"{self.object_id}: {self.reason}"
        if self.has_stayed:
            severity = "WARNING" if self.kept else "INFO"
            log.write(severity, f"Kept {text}.", kept=self.object_id)
        if self.error and self.has_failed:
            log.write("ERROR", f"Failed {text}. {self.error.detail}", failed=self.object_id)


@dataclass(frozen=True)
class Report:
    """What became of everything that a removal was asked for.

    Attributes:
        removals: one for each asset.
        storage_name: what it is removed from.
        done_before: the number of assets that an earlier part of the removal has done.
        halt: what an editor has done to it: `Aborted`, `Paused`, or nothing.
        failure: why it could not be done at all; None: it could.
    """

    removals: Sequence[Removal] = ()
    storage_name: str = ""
    done_before: int = 0
    halt: str = ""
    failure: PluginError | None = None

    @property
    def total(self) -> int:
        """The number of assets, those that were done before included."""
        return self.done_before + len(self.removals)

    @property
    def stayed(self) -> list[Removal]:
        """The assets of which something stays."""
        return [removal for removal in self.removals if removal.has_stayed]

    @property
    def failed(self) -> list[Removal]:
        """The assets with which something went wrong."""
        return [removal for removal in self.removals if removal.has_failed]

    @property
    def left(self) -> int:
        """The number of assets that were not begun or not finished."""
        return sum(removal.is_left for removal in self.removals)

    @property
    def waiting(self) -> int:
        """The number of assets for which it is worth to come back later."""
        return sum(bool(removal.waiting) for removal in self.removals)

    @property
    def status(self) -> str:
        """How it ended, as iconik's jobs have it."""
        if self.halt == "Aborted" and (self.left or self.waiting):
            return "ABORTED"
        if self.failure or self.failed or self.left:
            return "FAILED"
        return "FINISHED_WITH_WARNING" if self.stayed else "FINISHED"

    @property
    def sentence(self) -> str:
        """What became of how many assets."""
        if self.failure:
            return str(self.failure)
        stayed, failed, total = len(self.stayed), len(self.failed), self.total
        done = total - failed - self.left
        counts = f"{done} of {total} assets are done, {failed} failed and {self.left} are left."
        if self.left and self.halt:
            counts = f"{self.halt}: {counts}"
        return {
            "ABORTED": counts,
            "FAILED": f"{counts} The action can be repeated.",
            "FINISHED_WITH_WARNING": f"{stayed} of {total} assets stayed on {self.storage_name}.",
            "FINISHED": f"{total} of {total} assets are done.",
        }[self.status]

    @property
    def error(self) -> type[PluginError] | None:
        """The error to answer with: what most needs somebody to act; None where all went well."""
        if self.status != "FAILED":
            return None
        if self.failure:
            return type(self.failure)
        errors = [removal.error for removal in self.failed]
        for error in errors:
            if isinstance(error, AdministratorError):
                return type(error)
        if self.left:
            return OutOfTime
        can_retry = any(error.can_retry for error in errors if error)
        return IconikUnavailable if can_retry else IconikError

    @property
    def can_retry(self) -> bool:
        """Whether the same removal may end better later."""
        return self.error is not None and self.error.can_retry

    @property
    def notable(self) -> list[Removal]:
        """The assets to be named: those that failed, then those that stayed."""
        return self.failed + self.stayed

    def text(self, names: Sequence[str]) -> str:
        """Return the sentence, and what became of the first notable assets under these names."""
        notable = self.notable
        shown = [f"{name}: {each.reason}" for name, each in zip(names, notable, strict=False)]
        if len(notable) > len(names):
            shown.append(f"{len(notable) - len(names)} more are in the log")
        return f"{self.sentence} {'; '.join(shown)}." if shown else self.sentence

    def answer(self) -> str:
        """Return the answer to the removal.

        Raises:
            PluginError: some assets failed, or are left.
        """
        if self.failure:
            raise self.failure
        text = self.text([removal.object_id for removal in self.notable[:NAMED]])
        if self.error:
            raise self.error(text)
        return "OK" if self.status == "FINISHED" else f"OK: {text}"

    def write_log(self, log: Log) -> None:
        """Log each asset that stayed or failed, and note how many there were."""
        for removal in self.removals:
            removal.write_log(log)
        log.figures.update(
            assets=len(self.removals),
            file_sets_removed=sum(removal.removed for removal in self.removals),
            kept=len(self.stayed),
            failed=len(self.failed),
            left=self.left,
            waiting=self.waiting,
        )
