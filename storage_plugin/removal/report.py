"""What became of a removal: numbers and reasons, for the answer, the log and the editor."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from storage_plugin.errors import (
    AdministratorError,
    OutOfTime,
    PluginError,
)
from storage_plugin.logs import Log
from storage_plugin.names import visible

NAMED, NAMED_IN_ANSWER = 10, 3
"""The number of assets that a report names, and those that an answer names; the log names all."""

REPEAT, REPEAT_LATER = "Repeat the action.", "Repeat the action when the copies are complete."


class End(str, Enum):
    """What became of an asset; the values are the names of the fields of `Report`."""

    REMOVED = "removed"
    ABSENT = "absent"
    STAYED = "stayed"
    WAITING = "waiting"
    FAILED = "failed"
    LEFT = "left"


class Outcome(NamedTuple):
    """What became of one asset.

    Attributes:
        asset_id: its id.
        end: ABSENT: there was nothing to remove. WAITING: it stays only until its copy on the
            masters' storage is complete. LEFT: it was not begun or not finished.
        removed: the number of deleted file sets.
        reasons: why file sets stay, or why there was nothing to remove, for editors.
        error: the error, if it failed or is left.
        title: its name in iconik; None: unknown.
        to_copy: the formats of which it needs a copy on the masters' storage.
        is_touched: whether it has lost files, or may have.
    """

    asset_id: str
    end: End
    removed: int = 0
    reasons: tuple[str, ...] = ()
    error: PluginError | None = None
    title: str | None = None
    to_copy: tuple[str, ...] = ()
    is_touched: bool = False

    @property
    def is_done(self) -> bool:
        """Whether another round would change nothing."""
        if self.end is End.FAILED:
            return not (self.error and self.error.can_retry)
        return self.end not in (End.LEFT, End.WAITING)

    def write_log(self, log: Log) -> None:
        """Log an asset that stayed or failed."""
        text = f"{self.asset_id}: {'; '.join(self.reasons)}"
        if self.end in (End.STAYED, End.WAITING):
            severity = "WARNING" if self.end is End.STAYED else "INFO"
            log.write(severity, f"Kept {text}.", kept=self.asset_id)
        if self.end is End.FAILED and self.error:
            text = f"Failed {self.asset_id}: {self.error} {self.error.detail}".rstrip()
            log.write("ERROR", text, failed=self.asset_id)


class Note(NamedTuple):
    """Why an asset stayed or failed, for editors."""

    asset_id: str
    title: str | None
    reason: str


NUMBERS = (*(end.value for end in End), "file_sets", "unknown", "missing", "notable")
"""The names of the fields of `Report` that are numbers."""


@dataclass(frozen=True)
class Report:
    """The result of a removal, or of one of its rounds. The reports of rounds can be added.

    Attributes:
        storage_name: the storage that files are removed from.
        removed: the number of assets whose files are all deleted.
        absent: those with nothing to remove.
        stayed: those with file sets that stay.
        waiting: those with file sets that stay until their copies are complete.
        failed: those for which an error occurred.
        left: those that were not begun or not finished.
        file_sets: the number of deleted file sets.
        unknown: the number of selected collections and saved searches that iconik does not know.
        missing: the number of selected objects that iconik counts and does not list.
        notes: the first assets that failed or stayed, or had nothing to remove for a reason.
        notable: the number of all of those.
        next_steps: what the editor can do, as sentences.
        cause: the error that most needs action, in this round; None: there was none.
        is_incomplete: whether the cause prevented the whole round, so nobody knows all assets.
    """

    storage_name: str
    removed: int = 0
    absent: int = 0
    stayed: int = 0
    waiting: int = 0
    failed: int = 0
    left: int = 0
    file_sets: int = 0
    unknown: int = 0
    missing: int = 0
    notes: tuple[Note, ...] = ()
    notable: int = 0
    next_steps: tuple[str, ...] = ()
    cause: PluginError | None = None
    is_incomplete: bool = False

    @classmethod
    def of_error(cls, cause: PluginError, storage_name: str, *, reference: str) -> "Report":
        """Return the report on a round that an error prevented."""
        step = f"{cause.for_editor(reference)}."
        return cls(storage_name, next_steps=(step,), cause=cause, is_incomplete=True)

    @classmethod
    def of(
        cls,
        outcomes: Sequence[Outcome],
        storage_name: str,
        *,
        unknown: int = 0,
        missing: int = 0,
        reference: str = "",
    ) -> "Report":
        """Return the report on some assets.

        Args:
            outcomes: what became of the assets.
            storage_name: the storage that files are removed from.
            unknown: see `Report`.
            missing: see `Report`.
            reference: the log's reference, by which the administrator finds an error.
        """
        ends = Counter(each.end.value for each in outcomes)
        failed = [each for each in outcomes if each.end is End.FAILED]
        notable = failed + [each for each in outcomes if each.reasons]
        errors = [each.error for each in failed if each.error]
        steps = [f"{error.for_editor(reference)}." for error in errors]
        steps += [REPEAT] if ends["left"] else []
        steps += [REPEAT_LATER] if ends["waiting"] else []
        left = [each.error for each in outcomes if each.end is End.LEFT and each.error]
        return cls(
            storage_name,
            **ends,
            file_sets=sum(each.removed for each in outcomes),
            unknown=unknown,
            missing=missing,
            notes=tuple(_note(each) for each in notable[:NAMED]),
            notable=len(notable),
            next_steps=tuple(dict.fromkeys(steps)),
            cause=min([*errors, *left], key=_gravity, default=None),
        )

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Report":
        """Return the report that `to_json` has returned as a JSON object.

        Raises:
            ValueError: it is something else.
        """
        try:
            report = cls(**{**row, "notes": tuple(Note(*note) for note in row["notes"])})
            report = replace(report, next_steps=tuple(row["next_steps"]))
        except (KeyError, TypeError) as error:
            raise ValueError("It is no report.") from error
        numbers = [getattr(report, name) for name in NUMBERS]
        texts = [report.storage_name, *report.next_steps]
        texts += [text for note in report.notes for text in note if text is not None]
        if any(type(each) is not int or each < 0 for each in numbers):
            raise ValueError("A number of a report is none.")
        if report.cause or not all(isinstance(each, str) for each in texts):
            raise ValueError("A text of a report is none.")
        return report

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object, without the cause, which is of this round."""
        names = ("storage_name", *NUMBERS, "notes", "next_steps")
        return {name: getattr(self, name) for name in names}

    def __add__(self, other: "Report") -> "Report":
        """Return the report on the assets of this round and of a later one."""
        return replace(
            other,
            **{name: getattr(self, name) + getattr(other, name) for name in NUMBERS},
            notes=(self.notes + other.notes)[:NAMED],
            next_steps=tuple(dict.fromkeys(self.next_steps + other.next_steps)),
        )

    @property
    def total(self) -> int:
        """The number of all assets."""
        return sum(int(getattr(self, end.value)) for end in End)

    @property
    def finished(self) -> int:
        """The number of assets that are neither left nor waiting."""
        return self.total - self.left - self.waiting

    def status(self, *, halted: bool = False) -> str:
        """Return the result as a status of iconik's jobs.

        Args:
            halted: whether an editor halted the removal.
        """
        if halted and (self.left or self.waiting):
            return "ABORTED"
        if self.failed or self.left or self.is_incomplete:
            return "FAILED"
        is_idle = self.notable and not self.removed
        is_partial = self.stayed or self.waiting or self.unknown or self.missing
        return "FINISHED_WITH_WARNING" if is_idle or is_partial else "FINISHED"

    def sentence(self) -> str:
        """Return the numbers, for editors."""
        sentences = [self._numbers()] if self.total or not self.unknown else []
        if self.total and self.is_incomplete:
            sentences.append("The rest was not removed.")
        if self.unknown:
            containers = "selected collections and saved searches"
            sentences.append(f"iconik does not know {self.unknown:,} of the {containers}.")
        if self.missing:
            objects = count(self.missing, "selected object")
            sentences.append(f"iconik does not list {objects} that it counts.")
        return " ".join(sentences)

    def message(self, titles: Mapping[str, str] | None = None) -> str:
        """Return the numbers, the reasons and the next step, for editors.

        Args:
            titles: the titles of assets by id, as far as the notes lack them.
        """
        known = titles or {}
        notes = [
            f"{visible(title or known.get(asset_id, asset_id))}: {reason}"
            for asset_id, title, reason in self.notes
        ]
        return " ".join([self.sentence(), *self._listing(notes), *self.next_steps])

    def text(self) -> str:
        """Return the result for the administrator: ids instead of titles, and the cause."""
        notes = [f"{note.asset_id}: {note.reason}" for note in self.notes[:NAMED_IN_ANSWER]]
        causes = [str(self.cause)] if self.cause else []
        return " ".join([self.sentence(), *self._listing(notes), *causes])

    def error(self) -> PluginError | None:
        """Return the error to answer with; None: all went well in this round."""
        if self.cause is None:
            return None
        error = copy.copy(self.cause)
        error.args = (self.text(),)
        return error

    def answer(self) -> str:
        """Return the answer to a removal without an error."""
        is_ok = self.status() == "FINISHED" and not self.notes
        return "OK" if is_ok else f"OK: {self.text()}"

    def figures(self) -> dict[str, int]:
        """Return the numbers for the log."""
        return {"assets": self.total, **{name: getattr(self, name) for name in NUMBERS}}

    def _numbers(self) -> str:
        name = visible(self.storage_name)
        if not self.total and self.is_incomplete:
            return f"Nothing was removed from {name}."
        if not self.total:
            return "The selection contains no assets."
        if self.absent == self.total:
            what = "Nothing to remove" if self.notable else "Nothing"
            return f"{what} was on {name}."
        ends = {
            f"removed from {name}": self.removed,
            "stayed" if self.removed else f"stayed on {name}": self.stayed,
            "waits for its copy" if self.waiting == 1 else "wait for their copies": self.waiting,
            "failed": self.failed,
            "not done yet": self.left,
            "had nothing to remove": self.absent,
        }
        parts = [f"{number:,} {end}" for end, number in ends.items() if number]
        first, _, rest = ", ".join(parts).partition(" ")
        return f"{first} of {count(self.total, 'asset')} {rest}."

    def _listing(self, shown: Sequence[str]) -> list[str]:
        """Return a sentence of the notes that are shown, and how many are not."""
        more = [f"and {self.notable - len(shown):,} more"] if self.notable > len(shown) else []
        return [f"{'; '.join([*shown, *more])}."] if shown else []


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the singular or plural."""
    ending = "" if number == 1 else "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}{ending}"


def _note(outcome: Outcome) -> Note:
    reasons = [*outcome.reasons, *(["it failed"] if outcome.end is End.FAILED else [])]
    return Note(outcome.asset_id, outcome.title, "; ".join(reasons))


def _gravity(error: PluginError) -> int:
    """Return how much an error needs action; 0: most."""
    if isinstance(error, AdministratorError):
        return 0
    if isinstance(error, OutOfTime):
        return 1
    return 2 if error.can_retry else 3
