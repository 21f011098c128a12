"""A removal in rounds: the click is the first, and each one leaves the rest to the next. No I/O."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from storage_plugin.errors import CallerError
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.webhook import MAX_IDS, Action, Selection, read_object

VERSION = 3
"""The form of a task. Change it with the fields of `Round` and `Report`."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds before a round if the one before has achieved nothing. Each pause is twice as long."""

AWAITED, TOUCHED = 1, 2
"""Marks of an asset that is left: its copy was requested; it has lost files, or may have."""

T = TypeVar("T")


class Round(NamedTuple):
    """One round of a removal.

    Attributes:
        action: the click, with what is left of its selection. What waits for a copy comes last.
        click_id: names the click.
        clicked: the time of the click, in seconds since 1970.
        selected: the type and the id of the first object that was selected.
        number: 0 for the click, 1 for the first delivery by the queue, and so on.
        pause: the seconds between the round before and this one.
        overrides: the settings of the click that do not follow a new deployment, by the name of
            their query parameter.
        job_id: the id of the job in iconik, or None if it is not known.
        after: in collections and saved searches, the assets with ids up to this are done or named.
        marks: a digit for each selected asset, the sum of its marks in earlier rounds.
        report: what became of the assets that are done.
        retries: the number of earlier deliveries of this round.
    """

    action: Action
    click_id: str
    clicked: float
    selected: Sequence[str]
    number: int = 0
    pause: float = 0.0
    overrides: Mapping[str, str] = {}
    job_id: str | None = None
    after: str = ""
    marks: str = ""
    report: Report = Report()
    retries: int = 0

    @property
    def is_click(self) -> bool:
        """Whether this is the click itself."""
        return self.number == 0

    def marked(self, mark: int) -> frozenset[str]:
        """Return the selected assets with a mark."""
        pairs = zip(self.action.selection.assets, self.marks)  # noqa: B905 - A click has no marks.
        return frozenset(id for id, marks in pairs if int(marks) & mark)

    def first_of(self, assets: Sequence[T]) -> Sequence[T]:
        """Return the assets of this round: all, or so many that the next task can name them."""
        counts = self.action.selection._replace(assets=()).counts()
        return assets if len(assets) <= MAX_IDS else assets[: MAX_IDS - sum(counts.values())]

    def following(self, *, must_pause: bool, **changes: Any) -> "Round":
        """Return the next round, after a pause or at once."""
        pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self.pause)) if must_pause else 0.0
        return self._replace(number=self.number + 1, pause=pause, **changes)


def rest_of(round: Round, outcomes: Sequence[Outcome]) -> Round:
    """Return the round with what is left of it.

    Args:
        round: the round.
        outcomes: what became of the assets, in the order in which they begin: the selected ones,
            and those in collections and saved searches by their ids.
    """
    first, named = round.first_of(outcomes), {*round.action.selection.assets}
    awaited, marks = round.marked(AWAITED), dict[str, int]()
    for each in first:
        if not each.is_done:
            is_awaited = each.end is End.WAITING or each.asset_id in awaited
            marks[each.asset_id] = AWAITED * is_awaited + TOUCHED * each.is_touched
    ids = sorted(marks, key=lambda each: marks[each] & AWAITED)
    containers, after = Selection(), ""
    if len(first) < len(outcomes):  # The next round finds the others again.
        containers = round.action.selection
        after = max({each.asset_id for each in first} - named, default=round.after)
    return round._replace(
        action=round.action._replace(selection=containers._replace(assets=tuple(ids))),
        after=after,
        marks="".join(str(marks[id]) for id in ids),
    )


def write_task(round: Round) -> bytes:
    """Return the body of a task: a custom action's payload, and the round."""
    selection = round.action.selection
    payload = {
        "asset_ids": selection.assets,
        "collection_ids": selection.collections,
        "saved_search_ids": selection.saved_searches,
        "user_id": round.action.user_id,
        "version": VERSION,
        "round": {
            **round._asdict(),
            "action": None,
            "report": vars(round.report) | {"cause": None},
        },
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def read_task(action: Action, body: bytes, *, retries: str) -> Round:
    """Read the round in a task. Call this only for a delivery that was verified.

    Args:
        action: the action in the task.
        body: the body of the task.
        retries: the number of earlier deliveries, as Cloud Tasks states it in a header.

    Raises:
        CallerError: another version of the plugin wrote the task. The queue must not repeat it.
    """
    task: Any = read_object(body)
    if task.get("version") != VERSION:
        raise CallerError("Another version of the plugin wrote the task.", status=200)
    round, report = task["round"], task["round"]["report"]
    report = Report(**{**report, "numbers": Counter(report["numbers"])})
    return Round(**{**round, "action": action, "report": report, "retries": int(retries)})
