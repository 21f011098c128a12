"""What became of a removal: numbers and reasons, for the answer, the log and the editor."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from storage_plugin.errors import AdministratorError, OutOfTime, PluginError
from storage_plugin.iconik.rows import Format
from storage_plugin.logs import Log
from storage_plugin.names import visible

NAMED = 10  # The most assets that a report names. The log names all.


class End(str, Enum):
    """What became of an asset."""

    REMOVED = "removed"
    ABSENT = "absent"  # There is nothing to remove.
    STAYED = "stayed"
    WAITING = "waiting"  # It stays only until its copy on the masters' storage is complete.
    FAILED = "failed"
    LEFT = "left"  # It was not begun or not finished.


# What an editor can do about assets that are not done.
STEPS = {
    End.LEFT: "To continue, repeat the action.",
    End.WAITING: "Repeat the action when the copies are complete.",
}
# The log names the assets that end in one of these ways.
SEVERITIES = {End.STAYED: "WARNING", End.WAITING: "INFO", End.FAILED: "ERROR"}


class Outcome(NamedTuple):
    """What became of one asset."""

    asset_id: str
    end: End
    removed: int = 0  # The number of deleted file sets.
    reasons: tuple[str, ...] = ()  # Why file sets stay, or why there is nothing to remove.
    error: PluginError | None = None  # Why it failed or is left.
    to_copy: tuple[Format, ...] = ()  # The formats that need a copy on the masters' storage.

    @property
    def is_done(self) -> bool:
        """Whether another round would change nothing."""
        return self.end not in STEPS and not (self.error and self.error.can_retry)

    def write_log(self, log: Log) -> None:
        """Log an asset that stayed or failed."""
        if severity := SEVERITIES.get(self.end):
            why = f"{self.error} {self.error.detail}" if self.error else "; ".join(self.reasons)
            text = f"{self.asset_id} {self.end.value}: {why}".rstrip()
            log.write(severity, text, asset=self.asset_id)


@dataclass(frozen=True)
class Report:
    """The result of a removal, or of one of its rounds. The reports of rounds can be added.

    The numbers are those of assets by the values of `End`; of `notable` assets, which failed or
    have a reason; of deleted `file_sets`; of selected objects that are `missing`, because iconik
    does not list them; of rounds that an error has `prevented`.
    """

    storage_name: str = ""
    numbers: Counter[str] = field(default_factory=Counter)  # None of them is zero.
    notes: Sequence[tuple[str, str]] = ()  # Ids or titles of the first notable assets, and why.
    next_steps: Sequence[str] = ()  # What the editor can do about errors, as sentences.
    cause: PluginError | None = None  # The error in this round that most needs action.

    @classmethod
    def of_error(cls, cause: PluginError, name: str, *, reference: str) -> "Report":
        """Return the report on a round that an error has prevented; see `of`."""
        steps = [f"{cause.for_editor(reference)}."]
        return cls(name, Counter(prevented=1), next_steps=steps, cause=cause)

    @classmethod
    def of(
        cls, outcomes: Sequence[Outcome], name: str, *, reference: str = "", missing: int = 0
    ) -> "Report":
        """Return the report on some assets; the reference leads from a next step to the log."""
        notable = [each for each in outcomes if each.end is End.FAILED or each.reasons]
        notes = [(each.asset_id, "; ".join(each.reasons)) for each in notable[:NAMED]]
        steps = [f"{each.error.for_editor(reference)}." for each in notable if each.error]
        file_sets = sum(each.removed for each in outcomes)
        numbers = Counter(notable=len(notable), file_sets=file_sets, missing=missing)
        return cls(
            name,
            numbers + Counter(each.end.value for each in outcomes),
            notes=notes,
            next_steps=[*dict.fromkeys(steps)],
            cause=max((each.error for each in outcomes), key=_urgency, default=None),
        )

    def __add__(self, other: "Report") -> "Report":
        """Return the report on the assets of this round and of a later one."""
        return replace(
            other,
            numbers=self.numbers + other.numbers,
            notes=[*self.notes, *other.notes][:NAMED],
            next_steps=[*dict.fromkeys([*self.next_steps, *other.next_steps])],
        )

    @property
    def total(self) -> int:
        """The number of all assets."""
        return sum(self.numbers[end.value] for end in End)

    def status(self) -> str:
        """Return the result as a status of iconik's jobs."""
        seen = self.numbers.keys()
        if seen & {"failed", "left", "prevented"}:
            return "FAILED"
        is_idle = "notable" in seen and "removed" not in seen
        is_partial = is_idle or seen & {"stayed", "waiting", "missing"}
        return "FINISHED_WITH_WARNING" if is_partial else "FINISHED"

    def sentence(self) -> str:
        """Return the numbers, for editors."""
        name, total, numbers = visible(self.storage_name), self.total, self.numbers
        words = {
            "stayed": "stayed",
            "waiting": "waits for its copy" if numbers["waiting"] == 1 else "wait for their copies",
            "failed": "failed",
            "left": "not done yet",
            "absent": "had nothing left to remove",
        }
        ends = [f"{numbers['removed']:,} of {count(total, 'asset')} removed from {name}"]
        ends += [f"{numbers[end]:,} {words[end]}" for end in words if numbers[end]]
        is_empty = total == numbers["absent"] and not numbers["notable"]
        rest = "The rest was not" if total else "Nothing was"
        objects = count(numbers["missing"], "selected object")
        sentences = {
            f"Nothing is on {name}." if is_empty else f"{', '.join(ends)}.": total,
            f"{rest} removed from {name}.": numbers["prevented"],
            f"iconik does not list {objects}, which may be deleted.": numbers["missing"],
        }
        said = [sentence for sentence, number in sentences.items() if number]
        return " ".join(said) or "The selection contains no assets."

    def message(self, *steps: str) -> str:
        """Return the numbers, the first reasons, and these steps, or else those of editors."""
        notes = [f"{visible(name)}: {reason or 'it failed'}" for name, reason in self.notes]
        if others := self.numbers["notable"] - len(notes):
            notes.append(f"and {others:,} more")
        reasons = [f"{'; '.join(notes)}."] if notes else []
        own = [step for end, step in STEPS.items() if self.numbers[end.value]]
        return " ".join([self.sentence(), *reasons, *(steps or [*self.next_steps, *own])])

    def answer(self) -> str:
        """Return the message for the administrator, with the cause."""
        if self.cause:
            return self.message(str(self.cause))
        return "OK" if self.status() == "FINISHED" else f"OK: {self.message()}"


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the singular or plural."""
    ending = "" if number == 1 else "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}{ending}"


def _urgency(error: PluginError | None) -> list[bool]:
    """Return the sort key of an error: the greater, the more it needs action."""
    return [isinstance(error, kind) for kind in (AdministratorError, OutOfTime, PluginError)]
