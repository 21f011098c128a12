"""The result that a job shows, and how the parts of a large removal add up in its metadata."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from storage_plugin.background.task import MALFORMED
from storage_plugin.report import NO_ASSETS, Tally

NAMED = 10
"""The number of assets that a job names; the log names all."""

PREFIX = "part "
"""The prefix of the keys of parts in a job's metadata."""


@dataclass(frozen=True)
class Summary:
    """The result that a job shows. Summaries of the parts of a large removal can be added.

    Attributes:
        tally: the results of the assets, in numbers.
        notes: the first assets that failed or stayed, each with the reason.
        notable: the number of all assets that failed or stayed.
        halt: `Aborted` or `Paused` if an editor did that; empty: neither.
        advice: the next step for the editor.
        failure: why the whole removal failed; empty: it did not.
        split: the number of parts into which the rest of this part was split.
    """

    tally: Tally = NO_ASSETS
    notes: tuple[str, ...] = ()
    notable: int = 0
    halt: str = ""
    advice: str = ""
    failure: str = ""
    split: int = 0

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> "Summary":
        """Return the summary in a job's metadata.

        Raises:
            The errors in MALFORMED: the metadata is malformed.
        """
        return cls(
            tally=Tally(**{name: int(number) for name, number in value["tally"].items()}),
            notes=tuple(map(str, value["notes"])),
            notable=int(value["notable"]),
            halt=str(value["halt"]),
            advice=str(value["advice"]),
            failure=str(value["failure"]),
            split=int(value["split"]),
        )

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.tally + other.tally,
            (self.notes + other.notes)[:NAMED],
            self.notable + other.notable,
            self.halt or other.halt,
            self.advice or other.advice,
            self.failure or other.failure,
        )

    def noted(self, part: str) -> dict[str, Any]:
        """Return the entry of a part for a job's metadata.

        Args:
            part: the part; see `Task.part`.
        """
        return {f"{PREFIX}{part}": asdict(self)}

    @property
    def status(self) -> str:
        """The final status of the job."""
        return "FAILED" if self.failure else self.tally.status(self.halt)

    def sentence(self, storage_name: str) -> str:
        """Return the result in numbers of assets, as one sentence."""
        return self.failure or self.tally.sentence(storage_name, self.halt)


def parts_of(metadata: Mapping[str, Any]) -> dict[str, Summary]:
    """Return the parts of a removal that are noted in its job, without malformed ones."""
    parts = {}
    for key, note in metadata.items():
        if key.startswith(PREFIX):
            with suppress(*MALFORMED):
                parts[key.removeprefix(PREFIX)] = Summary.read(note)
    return parts


def finished_parts(metadata: Mapping[str, Any]) -> list[Summary]:
    """Return all parts of a removal; empty: at least one is not finished."""
    parts, waiting = parts_of(metadata), [""]
    while waiting:
        part = waiting.pop()
        if part not in parts:
            return []
        waiting += [f"{part}{number}." for number in range(parts[part].split)]
    return list(parts.values())
