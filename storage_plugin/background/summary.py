"""What the end of a job shows, and how the parts of a large removal add up in its metadata."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from storage_plugin.report import NO_ASSETS, Tally

NAMED = 10
"""Assets that a job names; the log names all."""

PART = "part "
"""How the keys of parts in a job's metadata begin."""


@dataclass(frozen=True)
class Summary:
    """What the end of a job shows; the parts of a large removal are added up.

    Attributes:
        tally: how the assets ended.
        notes: the first assets that failed or stayed, each with the reason.
        notable: the number of all those.
        halt: what an editor has done to the removal: `Aborted`, `Paused`, or nothing.
        advice: what the editor can do.
        failure: why it could not be done at all.
        split: into how many parts the rest of it was split.
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
        """Return the summary that a job's metadata holds."""
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
        """Return what a job's metadata holds of a part, which is named as in `Task.part`."""
        return {f"{PART}{part}": asdict(self)}

    @property
    def status(self) -> str:
        """The status that the job ends with."""
        return "FAILED" if self.failure else self.tally.status(self.halt)

    def sentence(self, storage_name: str) -> str:
        """Return what became of how many assets."""
        return self.failure or self.tally.sentence(storage_name, self.halt)


def parts_of(metadata: Mapping[str, Any]) -> dict[str, Summary]:
    """Return the parts of a removal that have been noted in its job; nonsense is none."""
    parts = {}
    for key, note in metadata.items():
        if key.startswith(PART):
            with suppress(AttributeError, KeyError, TypeError, ValueError):
                parts[key.removeprefix(PART)] = Summary.read(note)
    return parts


def finished_parts(metadata: Mapping[str, Any]) -> list[Summary]:
    """Return all parts of a removal, none while one is not finished."""
    parts, waiting = parts_of(metadata), [""]
    while waiting:
        part = waiting.pop()
        if part not in parts:
            return []
        waiting += [f"{part}{number}." for number in range(parts[part].split)]
    return list(parts.values())
