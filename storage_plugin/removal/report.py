"""The result of a removal: the answer, the log lines, and the sentence for the editor."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace

from storage_plugin.errors import (
    AdministratorError,
    IconikError,
    IconikUnavailable,
    OutOfTime,
    PluginError,
)
from storage_plugin.logs import Log

NAMED = 3
"""The number of assets that an answer names; the log names all."""


@dataclass
class Removal:
    """The result for one asset, or for a collection or saved search that iconik does not know.

    Attributes:
        object_id: its id.
        title: its name in iconik; None: unknown.
        object_type: its `object_type` in iconik's bulk calls.
        removed: the number of deleted file sets.
        kept: the reason for each file set that stays.
        waiting: the reason for each file set that stays only until its copy is complete.
        error: the error, if one occurred; OutOfTime: the asset is not done.
    """

    object_id: str
    title: str | None = None
    object_type: str = "assets"
    removed: int = 0
    kept: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    error: PluginError | None = None

    @property
    def end(self) -> str:
        """The result: the name of the field of `Tally` that counts it."""
        if self.error:
            return "left" if isinstance(self.error, OutOfTime) else "failed"
        if self.kept or self.waiting:
            return "stayed"
        return "removed" if self.removed else "absent"

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.end in ("removed", "absent")

    @property
    def reasons(self) -> list[str]:
        """The reasons why file sets stay, for now or for good."""
        return self.kept + self.waiting

    @property
    def reason(self) -> str:
        """The reasons and the error, for administrators."""
        reasons = [*self.reasons, str(self.error)] if self.error else self.reasons
        return "; ".join(reasons).rstrip(".")

    def write_log(self, log: Log) -> None:
        """Log an asset that stayed or failed."""
        text = f"{self.object_id}: {self.reason}"
        if self.reasons:
            severity = "WARNING" if self.kept else "INFO"
            log.write(severity, f"Kept {text}.", kept=self.object_id)
        if self.error and self.end == "failed":
            log.write("ERROR", f"Failed {text}. {self.error.detail}", failed=self.object_id)


@dataclass(frozen=True)
class Tally:
    """Numbers of assets. Each asset counts once, except that `stayed` includes `waiting`.

    Attributes:
        removed: assets whose files were all deleted.
        absent: assets with nothing on the storage.
        stayed: assets with file sets that stay.
        waiting: assets with file sets that stay only until their copies are complete.
        failed: assets for which an error occurred.
        left: assets that were not begun or not finished.
    """

    removed: int = 0
    absent: int = 0
    stayed: int = 0
    waiting: int = 0
    failed: int = 0
    left: int = 0

    @classmethod
    def of(cls, removals: Sequence[Removal]) -> "Tally":
        """Count the results of removals."""
        ends = [removal.end for removal in removals]
        waiting = sum(bool(removal.waiting) for removal in removals)
        kinds = ("removed", "absent", "stayed", "failed", "left")
        return cls(waiting=waiting, **{kind: ends.count(kind) for kind in kinds})

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    @property
    def done(self) -> int:
        """The number of assets with nothing left to do."""
        return self.removed + self.absent

    @property
    def total(self) -> int:
        """The number of all assets."""
        return self.done + self.stayed + self.failed + self.left

    def status(self, halt: str) -> str:
        """Return the result of a removal as a status of iconik's jobs.

        Args:
            halt: `Aborted` or `Paused` if an editor did that; empty: neither.
        """
        if halt == "Aborted" and (self.left or self.waiting):
            return "ABORTED"
        if self.failed or self.left:
            return "FAILED"
        return "FINISHED_WITH_WARNING" if self.stayed else "FINISHED"

    def sentence(self, storage_name: str, halt: str) -> str:
        """Return the numbers as a sentence for editors.

        Args:
            storage_name: the storage that files are removed from.
            halt: `Aborted` or `Paused` if an editor did that; empty: neither.
        """
        ends = {
            f"removed from {storage_name}": self.removed,
            "stayed" if self.removed else f"stayed on {storage_name}": self.stayed,
            "failed": self.failed,
            "not done yet": self.left,
            "had nothing there": self.absent,
        }
        if self.absent == self.total:
            return f"Nothing was on {storage_name}."
        parts = [f"{number:,} {end}" for end, number in ends.items() if number]
        first, _, rest = ", ".join(parts).partition(" ")
        sentence = f"{first} of {count(self.total, 'asset')} {rest}."
        return f"{halt}: {sentence}" if halt and self.left else sentence


NO_ASSETS = Tally()


@dataclass(frozen=True)
class Report:
    """The result of a whole removal.

    Attributes:
        removals: one for each asset.
        storage_name: the storage that files are removed from.
        before: the assets that an earlier part of the removal finished.
        halt: `Aborted` or `Paused` if an editor did that; empty: neither.
        failure: the error that prevented the whole removal; None: there was none.
    """

    removals: Sequence[Removal] = ()
    storage_name: str = ""
    before: Tally = NO_ASSETS
    halt: str = ""
    failure: PluginError | None = None

    @property
    def tally(self) -> Tally:
        """The results of all assets, including those that were finished before."""
        return self.before + Tally.of(self.removals)

    @property
    def finished(self) -> "Report":
        """The report on only the assets with nothing left to do."""
        return replace(self, removals=[removal for removal in self.removals if removal.is_done])

    @property
    def notable(self) -> list[Removal]:
        """The assets to name: first those that failed, then those that stayed."""
        failed = [removal for removal in self.removals if removal.end == "failed"]
        return failed + [each for each in self.removals if each.reasons and each not in failed]

    @property
    def error(self) -> PluginError | None:
        """The error to answer with, the one that most needs action; None: all went well."""
        if self.failure or self.tally.status(self.halt) != "FAILED":
            return self.failure
        kind = _gravest([removal.error for removal in self.removals if removal.error])
        return kind(self.text() + (" Repeat the action." if kind.can_retry else ""))

    @property
    def can_retry(self) -> bool:
        """Whether the same removal may succeed later."""
        return self.error is not None and self.error.can_retry

    def text(self) -> str:
        """Return the result as text, with the ids of the first notable assets."""
        sentence, notable = self.tally.sentence(self.storage_name, self.halt), self.notable
        shown = [f"{removal.object_id}: {removal.reason}" for removal in notable[:NAMED]]
        return f"{sentence} {listing(shown, len(notable))}".rstrip()

    def answer(self) -> str:
        """Return the answer to the removal.

        Raises:
            PluginError: some assets failed or are left.
        """
        if self.error:
            raise self.error
        return "OK" if self.tally.status(self.halt) == "FINISHED" else f"OK: {self.text()}"

    def write_log(self, log: Log) -> None:
        """Log each asset that stayed or failed, and add the numbers to the log's figures."""
        for removal in self.removals:
            removal.write_log(log)
        tally = Tally.of(self.removals)
        log.figures.update(
            assets=len(self.removals),
            file_sets_removed=sum(removal.removed for removal in self.removals),
            kept=sum(bool(removal.reasons) for removal in self.removals),
            failed=tally.failed,
            left=tally.left,
            waiting=tally.waiting,
        )


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the singular or plural."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listing(shown: Sequence[str], total: int) -> str:
    """Return a sentence of the items that are shown, and how many are not; empty: no items."""
    more = [f"and {total - len(shown)} more"] if total > len(shown) else []
    return f"{'; '.join([*shown, *more])}." if shown else ""


def _gravest(errors: Sequence[PluginError]) -> type[PluginError]:
    """Return the kind of error that most needs action."""
    for error in errors:
        if isinstance(error, AdministratorError):
            return type(error)
    if any(isinstance(error, OutOfTime) for error in errors):
        return OutOfTime
    return IconikUnavailable if any(error.can_retry for error in errors) else IconikError
