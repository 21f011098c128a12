"""What became of a removal: numbers and reasons, for the answer, the log and the editor."""

from collections import Counter
from collections.abc import Mapping, Sequence
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
        end: ABSENT: there was nothing to remove. WAITING: it stays only until its copy on the
            masters' storage is complete. LEFT: it was not begun or not finished.
        removed: the number of deleted file sets.
        reasons: why file sets stay, or why there was nothing to remove, for editors.
        error: the error, if it failed or is left.
        title: its name in iconik; None: unknown.
        to_copy: the formats of which it needs a copy on the masters' storage.
        is_touched: whether it has lost files, or may have, although it is not finished.
    """

    asset_id: str
    end: End
    removed: int = 0
    reasons: tuple[str, ...] = ()
    error: PluginError | None = None
    title: str | None = None
    to_copy: tuple[Format, ...] = ()
    is_touched: bool = False

    @property
    def is_done(self) -> bool:
        """Whether another round would change nothing."""
        return self.end not in STEPS and not (self.error and self.error.can_retry)

    def write_log(self, log: Log) -> None:
        """Log an asset that stayed or failed."""
        if self.end in (End.STAYED, End.WAITING):
            severity = "WARNING" if self.end is End.STAYED else "INFO"
            text = f"Kept {self.asset_id}: {'; '.join(self.reasons)}."
            log.write(severity, text, kept=self.asset_id)
        if self.end is End.FAILED and self.error:
            text = f"Failed {self.asset_id}: {self.error} {self.error.detail}".rstrip()
            log.write("ERROR", text, failed=self.asset_id)


@dataclass(frozen=True)
class Report:
    """The result of a removal, or of one of its rounds. The reports of rounds can be added.

    Attributes:
        storage_name: the storage that files are removed from.
        numbers: of assets, by the values of `End`; of deleted `file_sets`; of selected collections
            and searches that are `unknown` to iconik; of selected objects that are `missing`,
            because iconik counts and does not list them; of `notable` assets; and of rounds that
            were `prevented`, so nobody knows all assets.
        notes: the id, the title, if it is known, and the reason of the first notable assets: they
            failed or stayed, or had nothing to remove for a reason.
        next_steps: what the editor can do about failures, as sentences.
        cause: the error that most needs action, in this round; None: there was none.
    """

    storage_name: str = ""
    numbers: Counter[str] = field(default_factory=Counter)
    notes: Sequence[tuple[str, str | None, str]] = ()
    next_steps: Sequence[str] = ()
    cause: PluginError | None = None

    @classmethod
    def of_error(cls, cause: PluginError, storage_name: str, *, reference: str) -> "Report":
        """Return the report on a round that an error prevented; see `of`."""
        steps = [f"{cause.for_editor(reference)}."]
        return cls(storage_name, Counter(prevented=1), next_steps=steps, cause=cause)

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
            unknown: see `Report.numbers`.
            missing: see `Report.numbers`.
            reference: the log's reference, by which the administrator finds an error.
        """
        notable = [each for each in outcomes if each.end is End.FAILED or each.reasons]
        notable.sort(key=lambda each: each.end is not End.FAILED)
        numbers = Counter(each.end.value for each in outcomes)
        numbers.update(unknown=unknown, missing=missing, notable=len(notable))
        numbers.update(file_sets=sum(each.removed for each in outcomes))
        failures = [each.error for each in notable if each.error]
        return cls(
            storage_name,
            numbers,
            notes=[
                (each.asset_id, each.title, "; ".join(each.reasons) or "it failed")
                for each in notable[:NAMED]
            ],
            next_steps=[*dict.fromkeys(f"{each.for_editor(reference)}." for each in failures)],
            cause=max(filter(None, (each.error for each in outcomes)), key=_urgency, default=None),
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
        """Return the result as a status of iconik's jobs.

        Args:
            halted: whether an editor halted the removal.
        """
        if halted and self.finished < self.total:
            return "ABORTED"
        if any(self.numbers[name] for name in ("failed", "left", "prevented")):
            return "FAILED"
        is_idle = self.numbers["notable"] and not self.numbers["removed"]
        is_partial = any(self.numbers[name] for name in ("stayed", "waiting", "unknown", "missing"))
        return "FINISHED_WITH_WARNING" if is_idle or is_partial else "FINISHED"

    def sentence(self) -> str:
        """Return the numbers, for editors."""
        unknown, missing = self.numbers["unknown"], self.numbers["missing"]
        sentences = [self._ends()] if self.total or not unknown else []
        if self.total and self.numbers["prevented"]:
            sentences.append("The rest was not removed.")
        if unknown:
            containers = "selected collections and saved searches"
            sentences.append(f"iconik does not know {unknown:,} of the {containers}.")
        if missing:
            objects = count(missing, "selected object")
            sentences.append(f"iconik does not list {objects} that it counts.")
        return " ".join(sentences)

    def message(self, titles: Mapping[str, str]) -> str:
        """Return the numbers, the reasons and the next step, for editors.

        Args:
            titles: the titles of assets by id, as far as the notes lack them.
        """
        notes = [
            f"{visible(title or titles.get(id, id))}: {reason}" for id, title, reason in self.notes
        ]
        steps = [step for end, step in STEPS.items() if self.numbers[end.value]]
        return self._text(notes, [*self.next_steps, *steps])

    def answer(self) -> str:
        """Return the result for the administrator: ids instead of titles, and the cause."""
        notes = [f"{id}: {reason}" for id, _, reason in self.notes[:NAMED_IN_ANSWER]]
        if self.cause:
            return self._text(notes, [str(self.cause)])
        is_ok = self.status() == "FINISHED" and not notes
        return "OK" if is_ok else f"OK: {self._text(notes)}"

    def _ends(self) -> str:
        name, numbers = visible(self.storage_name), self.numbers
        if not self.total:
            nothing = f"Nothing was removed from {name}."
            return nothing if numbers["prevented"] else "The selection contains no assets."
        if numbers["absent"] == self.total:
            return f"{'Nothing to remove' if numbers['notable'] else 'Nothing'} was on {name}."
        words = {
            "removed": f"removed from {name}",
            "stayed": "stayed" if numbers["removed"] else f"stayed on {name}",
            "waiting": "waits for its copy" if numbers["waiting"] == 1 else "wait for their copies",
            "failed": "failed",
            "left": "not done yet",
            "absent": "had nothing to remove",
        }
        parts = [f"{numbers[end]:,} {words[end]}" for end in words if numbers[end]]
        first, _, rest = ", ".join(parts).partition(" ")
        return f"{first} of {count(self.total, 'asset')} {rest}."

    def _text(self, notes: Sequence[str], more: Sequence[str] = ()) -> str:
        """Return the numbers, the notes that are shown, how many are not, and more sentences."""
        others = self.numbers["notable"] - len(notes)
        listed = [*notes, f"and {others:,} more"] if notes and others else notes
        reasons = [f"{'; '.join(listed)}."] if listed else []
        return " ".join([self.sentence(), *reasons, *more])


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the singular or plural."""
    ending = "" if number == 1 else "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}{ending}"


def _urgency(error: PluginError) -> tuple[bool, ...]:
    """Return how much an error needs action: the greater, the more."""
    return isinstance(error, AdministratorError), isinstance(error, OutOfTime), error.can_retry
