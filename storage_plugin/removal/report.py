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

NAMED, NAMED_IN_ANSWER = 10, 3
"""The number of assets that a report names, and those that an answer names; the log names all."""


class End(str, Enum):
    """What became of an asset."""

    REMOVED = "removed"
    ABSENT = "absent"
    STAYED = "stayed"
    WAITING = "waiting"
    FAILED = "failed"
    LEFT = "left"


STEPS = {
    End.LEFT: "Repeat the action.",
    End.WAITING: "Repeat the action when the copies are complete.",
}
"""What an editor can do about assets that are not done."""


class Outcome(NamedTuple):
    """What became of one asset.

    Attributes:
        asset_id: its id.
        end: ABSENT: there is nothing to remove. WAITING: it stays only until its copy on the
            masters' storage is complete. LEFT: it was not begun or not finished.
        removed: the number of deleted file sets.
        reasons: why file sets stay, or why there is nothing to remove, for editors.
        error: the error, if it failed or is left.
        title: its name in iconik; None: unknown.
        to_copy: the formats of which it needs a copy on the masters' storage.
    """

    asset_id: str
    end: End
    removed: int = 0
    reasons: tuple[str, ...] = ()
    error: PluginError | None = None
    title: str | None = None
    to_copy: tuple[Format, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether another round would change nothing."""
        return self.end not in STEPS and not (self.error and self.error.can_retry)

    @property
    def reason(self) -> str:
        """All reasons, for editors."""
        return "; ".join(self.reasons) or "it failed"

    def write_log(self, log: Log) -> None:
        """Log an asset that stayed or failed."""
        if self.end in (End.STAYED, End.WAITING):
            severity = "WARNING" if self.end is End.STAYED else "INFO"
            log.write(severity, f"Kept {self.asset_id}: {self.reason}.", kept=self.asset_id)
        if self.end is End.FAILED and self.error:
            text = f"Failed {self.asset_id}: {self.error} {self.error.detail}".rstrip()
            log.write("ERROR", text, failed=self.asset_id)


Note = tuple[str, str | None, str]
"""The id of an asset, its title, if it is known, and why it failed or stayed, for editors."""


@dataclass(frozen=True)
class Report:
    """The result of a removal, or of one of its rounds. The reports of rounds can be added.

    Attributes:
        storage_name: the storage that files are removed from.
        numbers: of assets, by the values of `End`; of `notable` assets, that is, those that failed
            or for which there is a reason; of deleted `file_sets`; of selected collections and
            searches that are `unknown` to iconik; of selected objects that are `missing`, because
            iconik counts and does not list them; of rounds that an error has `prevented`.
        notes: on the first notable assets.
        next_steps: what the editor can do about errors, as sentences.
        cause: the error that most needs action, in this round; None: there was none.
    """

    storage_name: str = ""
    numbers: Counter[str] = field(default_factory=Counter)
    notes: Sequence[Note] = ()
    next_steps: Sequence[str] = ()
    cause: PluginError | None = None

    @classmethod
    def of_error(cls, cause: PluginError, storage_name: str, *, reference: str) -> "Report":
        """Return the report on a round that an error has prevented; see `of`."""
        steps = [f"{cause.for_editor(reference)}."]
        return cls(storage_name, Counter(prevented=1), next_steps=steps, cause=cause)

    @classmethod
    def of(
        cls, outcomes: Sequence[Outcome], storage_name: str, *, reference: str = "", **numbers: int
    ) -> "Report":
        """Return the report on some assets.

        Args:
            reference: the log's reference, by which the administrator finds an error.
            numbers: `unknown` and `missing`, as above.
        """
        notable = [each for each in outcomes if each.end is End.FAILED or each.reasons]
        notable.sort(key=lambda each: each.end is not End.FAILED)
        steps = [f"{each.error.for_editor(reference)}." for each in notable if each.error]
        errors = filter(None, (each.error for each in outcomes))
        numbers |= {"notable": len(notable), "file_sets": sum(each.removed for each in outcomes)}
        return cls(
            storage_name,
            Counter(numbers) + Counter(each.end.value for each in outcomes),
            notes=[(each.asset_id, each.title, each.reason) for each in notable[:NAMED]],
            next_steps=[*dict.fromkeys(steps)],
            cause=max(errors, key=_urgency, default=None),
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

    @property
    def finished(self) -> int:
        """The number of assets that are neither left nor waiting."""
        return self.total - sum(self.numbers[end.value] for end in STEPS)

    def status(self, *, halted: bool = False) -> str:
        """Return the result as a status of iconik's jobs; an editor may have halted the removal."""
        if halted and self.finished < self.total:
            return "ABORTED"
        if any(self.numbers[name] for name in ("failed", "left", "prevented")):
            return "FAILED"
        is_idle = self.numbers["notable"] and not self.numbers["removed"]
        is_partial = any(self.numbers[name] for name in ("stayed", "waiting", "unknown", "missing"))
        return "FINISHED_WITH_WARNING" if is_idle or is_partial else "FINISHED"

    def sentence(self) -> str:
        """Return the numbers, for editors."""
        name, total, numbers = visible(self.storage_name), self.total, self.numbers
        unknown, missing, prevented = (numbers[key] for key in ("unknown", "missing", "prevented"))
        containers = "selected collections and saved searches"
        objects = count(missing, "selected object")
        sentences = {
            self._ends(name): total,
            f"Nothing was removed from {name}.": prevented and not total,
            "The rest was not removed.": prevented and total,
            "The selection contains no assets.": not (total or unknown or prevented),
            f"iconik does not know {unknown:,} of the {containers}.": unknown,
            f"iconik does not list {objects} that it counts.": missing,
        }
        return " ".join(sentence for sentence, is_so in sentences.items() if is_so)

    def message(self) -> str:
        """Return the numbers, the reasons and the next step, for editors."""
        notes = [f"{visible(title or id)}: {reason}" for id, title, reason in self.notes]
        steps = [step for end, step in STEPS.items() if self.numbers[end.value]]
        return self._text(notes, [*self.next_steps, *steps])

    def answer(self) -> str:
        """Return the result for the administrator: ids instead of titles, and the cause."""
        notes = [f"{id}: {reason}" for id, _, reason in self.notes[:NAMED_IN_ANSWER]]
        if self.cause:
            return self._text(notes, [str(self.cause)])
        is_ok = self.status() == "FINISHED" and not notes
        return "OK" if is_ok else f"OK: {self._text(notes, [])}"

    def _ends(self, name: str) -> str:
        """Return what became of the assets, in a sentence."""
        numbers, total = self.numbers, self.total
        if numbers["absent"] == total:
            return f"{'Nothing to remove' if numbers['notable'] else 'Nothing'} is on {name}."
        words = {
            "removed": f"removed from {name}",
            "stayed": "stayed" if numbers["removed"] else f"stayed on {name}",
            "waiting": "waits for its copy" if numbers["waiting"] == 1 else "wait for their copies",
            "failed": "failed",
            "left": "not done yet",
            "absent": "had nothing left to remove",
        }
        parts = [f"{numbers[end]:,} {words[end]}" for end in words if numbers[end]]
        first, _, rest = ", ".join(parts).partition(" ")
        return f"{first} of {count(total, 'asset')} {rest}."

    def _text(self, notes: Sequence[str], more: Sequence[str]) -> str:
        """Return the numbers, the notes that are shown, how many are not, and more sentences."""
        others = self.numbers["notable"] - len(notes)
        listed = "; ".join([*notes, f"and {others:,} more"] if others else notes)
        return " ".join([self.sentence(), *([f"{listed}."] if notes else []), *more])


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the singular or plural."""
    ending = "" if number == 1 else "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}{ending}"


def _urgency(error: PluginError) -> tuple[bool, ...]:
    """Return the sort key of an error: the greater, the more it needs action."""
    return isinstance(error, AdministratorError), isinstance(error, OutOfTime), error.can_retry
