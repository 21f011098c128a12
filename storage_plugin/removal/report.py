"""What became of a removal: numbers and reasons, for the answer, the log and the editor."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

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


@dataclass(frozen=True)
class Report:
    """The result of a removal, or of one of its rounds. The reports of rounds can be added.

    Attributes:
        storage_name: the storage that files are removed from.
        numbers: of assets, by the values of `End`; of deleted `file_sets`; of selected collections
            and searches that are `unknown` to iconik; of selected objects that are `missing`,
            because iconik counts and does not list them; and of `notable` assets.
        notes: the first notable assets: they failed or stayed, or had nothing to remove for a
            reason.
        next_steps: what the editor can do, as sentences.
        cause: the error that most needs action, in this round; None: there was none.
        is_incomplete: whether the cause prevented the whole round, so nobody knows all assets.
    """

    storage_name: str
    numbers: Counter[str] = field(default_factory=Counter)
    notes: tuple[Note, ...] = ()
    next_steps: tuple[str, ...] = ()
    cause: PluginError | None = None
    is_incomplete: bool = False

    @classmethod
    def of_error(cls, cause: PluginError, storage_name: str, *, reference: str) -> "Report":
        """Return the report on a round that an error prevented."""
        steps = (f"{cause.for_editor(reference)}.",)
        return cls(storage_name, next_steps=steps, cause=cause, is_incomplete=True)

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
        return cls(
            storage_name,
            numbers,
            notes=tuple(map(_note, notable[:NAMED])),
            next_steps=tuple(dict.fromkeys(_next_steps(outcomes, reference))),
            cause=min(filter(None, (each.error for each in outcomes)), key=_gravity, default=None),
        )

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Report":
        """Return the report that `to_json` has returned as a JSON object.

        Raises:
            ValueError: it is something else.
        """
        try:
            return cls(
                _text(row["storage_name"]),
                Counter({_text(name): _number(row["numbers"][name]) for name in row["numbers"]}),
                notes=tuple(
                    Note(_text(asset_id), title and _text(title), _text(reason))
                    for asset_id, title, reason in row["notes"]
                ),
                next_steps=tuple(map(_text, row["next_steps"])),
                is_incomplete=row["is_incomplete"] is True,
            )
        except (KeyError, TypeError, ValueError):
            raise ValueError("It is no report.") from None

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object, without the cause, which is of this round."""
        names = ("storage_name", "numbers", "notes", "next_steps", "is_incomplete")
        return {name: getattr(self, name) for name in names}

    def __add__(self, other: "Report") -> "Report":
        """Return the report on the assets of this round and of a later one."""
        return replace(
            other,
            numbers=self.numbers + other.numbers,
            notes=(self.notes + other.notes)[:NAMED],
            next_steps=tuple(dict.fromkeys(self.next_steps + other.next_steps)),
            is_incomplete=self.is_incomplete or other.is_incomplete,
        )

    @property
    def total(self) -> int:
        """The number of all assets."""
        return sum(self.numbers[end.value] for end in End)

    @property
    def finished(self) -> int:
        """The number of assets that are neither left nor waiting."""
        return self.total - self.numbers["left"] - self.numbers["waiting"]

    def status(self, *, halted: bool = False) -> str:
        """Return the result as a status of iconik's jobs.

        Args:
            halted: whether an editor halted the removal.
        """
        if halted and self.finished < self.total:
            return "ABORTED"
        if self.numbers["failed"] or self.numbers["left"] or self.is_incomplete:
            return "FAILED"
        is_idle = self.numbers["notable"] and not self.numbers["removed"]
        is_partial = any(self.numbers[name] for name in ("stayed", "waiting", "unknown", "missing"))
        return "FINISHED_WITH_WARNING" if is_idle or is_partial else "FINISHED"

    def sentence(self) -> str:
        """Return the numbers, for editors."""
        unknown, missing = self.numbers["unknown"], self.numbers["missing"]
        sentences = [self._ends()] if self.total or not unknown else []
        if self.total and self.is_incomplete:
            sentences.append("The rest was not removed.")
        if unknown:
            containers = "selected collections and saved searches"
            sentences.append(f"iconik does not know {unknown:,} of the {containers}.")
        if missing:
            objects = count(missing, "selected object")
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
        error = copy.copy(self.cause)
        if error:
            error.args = (self.text(),)
        return error

    def answer(self) -> str:
        """Return the answer to a removal without an error."""
        is_ok = self.status() == "FINISHED" and not self.notes
        return "OK" if is_ok else f"OK: {self.text()}"

    def figures(self) -> dict[str, int]:
        """Return the numbers for the log."""
        return {"assets": self.total, **self.numbers}

    def _ends(self) -> str:
        name, numbers = visible(self.storage_name), self.numbers
        if not self.total:
            nothing = f"Nothing was removed from {name}."
            return nothing if self.is_incomplete else "The selection contains no assets."
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

    def _listing(self, shown: Sequence[str]) -> list[str]:
        """Return a sentence of the notes that are shown, and how many are not."""
        others = self.numbers["notable"] - len(shown)
        more = [f"and {others:,} more"] if others else []
        return [f"{'; '.join([*shown, *more])}."] if shown else []


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the singular or plural."""
    ending = "" if number == 1 else "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}{ending}"


def _note(outcome: Outcome) -> Note:
    reasons = [*outcome.reasons, *(["it failed"] if outcome.end is End.FAILED else [])]
    return Note(outcome.asset_id, outcome.title, "; ".join(reasons))


def _next_steps(outcomes: Sequence[Outcome], reference: str) -> Iterator[str]:
    """Yield what an editor can do about assets that failed, are left or wait."""
    for outcome in outcomes:
        if outcome.end is End.FAILED and outcome.error:
            yield f"{outcome.error.for_editor(reference)}."
    ends = {outcome.end for outcome in outcomes}
    yield from (step for end, step in STEPS.items() if end in ends)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError
    return value


def _gravity(error: PluginError) -> int:
    """Return how much an error needs action; 0: most."""
    if isinstance(error, AdministratorError):
        return 0
    if isinstance(error, OutOfTime):
        return 1
    return 2 if error.can_retry else 3
