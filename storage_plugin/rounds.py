"""A removal in rounds: the click is the first, and each one leaves the rest to the next."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from storage_plugin.errors import CallerError
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.webhook import MAX_IDS, Action, Selection, read_object

VERSION = 4
"""The form of a task. Change it with the fields of `Round` and `Report`."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds before a round if the one before has achieved nothing. Each pause is twice as long."""

MAX_TOUCHED = 500
"""The most assets that a task names as touched, because its size is limited."""


class Round(NamedTuple):
    """One round of a removal.

    Attributes:
        action: the click, with what is left of its selection.
        click_id: names the click.
        clicked: the time of the click, in seconds since 1970.
        selected: the type and the id of the first object that was selected.
        number: 0 for the click, 1 for the first delivery by the queue, and so on.
        pause: the seconds between the round before and this one.
        job_id: the id of the job in iconik; empty: it is not known.
        storage_id: the id of the storage to remove from; empty: it is not known.
        after: in collections and saved searches, the assets with ids up to this are done or named.
        waiting: the number of selected assets, the last ones, whose copies were requested.
        touched: the selected assets that have lost files, or may have.
        report: what became of the assets that are done.
        retries: the number of earlier deliveries of this round.
    """

    action: Action
    click_id: str
    clicked: float
    selected: Sequence[str]
    number: int = 0
    pause: float = 0.0
    job_id: str = ""
    storage_id: str = ""
    after: str = ""
    waiting: int = 0
    touched: Sequence[str] = ()
    report: Report = Report()
    retries: int = 0

    @property
    def is_click(self) -> bool:
        """Whether this is the click itself."""
        return self.number == 0

    @property
    def awaited(self) -> frozenset[str]:
        """The assets whose copies were requested in earlier rounds."""
        assets = self.action.selection.assets
        return frozenset(assets[len(assets) - self.waiting :])

    def places(self, number: int) -> int:
        """Return how many of some assets may begin: all, or as many as the next task can name.

        Raises:
            CallerError: it can name none, because the collections fill it.
        """
        if number <= MAX_IDS:
            return number
        containers = self.action.selection._replace(assets=()).objects()
        if len(containers) == MAX_IDS:
            message = "The collections contain too many assets: select fewer of them."
            raise CallerError(message, status=413)
        return MAX_IDS - len(containers)

    def following(self, rest: "Round", *, at_once: bool) -> "Round":
        """Return the next round, with what is left of this one.

        Without a reason to wait, it begins at once if this one has achieved something.
        """
        has_finished = rest.report.total > self.report.total
        has_achieved = self.is_click or has_finished or rest.waiting > self.waiting
        pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self.pause))
        pause = 0.0 if at_once and has_achieved else pause
        return rest._replace(number=self.number + 1, pause=pause)


def first_round(action: Action) -> Round:
    """Return the round that is the click itself."""
    return Round(action, uuid.uuid4().hex, time.time(), action.selection.objects()[0])


def rest_of(round: Round, outcomes: Sequence[Outcome]) -> Round:
    """Return a round with what is left of it.

    Args:
        outcomes: what became of the assets, in the order in which they begin: the selected ones,
            and those in collections and saved searches by their ids.
    """
    first, selection, after = outcomes[: round.places(len(outcomes))], Selection(), ""
    if len(first) < len(outcomes):  # The next round finds the others again.
        selection = round.action.selection
        found = first[len(selection.assets) :]
        after = found[-1].asset_id if found else round.after
    left = [each for each in first if not each.is_done]
    awaited = round.awaited | {each.asset_id for each in left if each.end is End.WAITING}
    touched = {*round.touched} | {each.asset_id for each in left if each.is_touched}
    ids = sorted([each.asset_id for each in left], key=awaited.__contains__)
    return round._replace(
        action=round.action._replace(selection=selection._replace(assets=tuple(ids))),
        after=after,
        waiting=len(awaited.intersection(ids)),
        touched=sorted(touched.intersection(ids))[:MAX_TOUCHED],
    )


def write_task(round: Round) -> bytes:
    """Return the body of a task: a custom action's payload, and the round."""
    selection, report = round.action.selection, vars(round.report) | {"cause": None}
    payload = {
        "asset_ids": selection.assets,
        "collection_ids": selection.collections,
        "saved_search_ids": selection.saved_searches,
        "user_id": round.action.user_id,
        "version": VERSION,
        "round": round._asdict() | {"action": None, "report": report},
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def read_task(action: Action, body: bytes, *, retries: str) -> Round:
    """Read the round in a task. Call this only for a delivery that was verified.

    Args:
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
