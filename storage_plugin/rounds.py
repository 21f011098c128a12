"""A removal in rounds: the click is the first, and each one leaves the rest to the next. No I/O."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from storage_plugin.errors import CallerError, OutOfTime
from storage_plugin.iconik.pace import TIME_IS_UP
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.webhook import MAX_IDS, Action, Selection, is_uuid, read_object

NOT_BEGUN = OutOfTime(TIME_IS_UP)
"""The error of an asset that did not begin."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds before a round if the one before could finish nothing. Each pause is twice as long."""

AWAITED, TOUCHED = 1, 2
"""Marks of an asset that is left: its copy was requested; it has lost files, or may have."""


class Round(NamedTuple):
    """One round of a removal.

    Attributes:
        action: the click, with what is left of its selection. What waits for a copy comes last.
        click_id: names the click.
        clicked: the time of the click, in seconds since 1970.
        selected: the type and the id of the first object that was selected.
        number: 0 for the click, 1 for the first delivery by the queue, and so on.
        pauses: the number of pauses so far.
        overrides: the settings of the click that do not follow a new deployment, by the name of
            their query parameter.
        job_id: the id of the job in iconik, or None if it is not known.
        after: in collections and saved searches, the assets with ids up to this are done.
        marks: a digit for each selected asset, the sum of its marks in earlier rounds.
        report: what became of the assets that are done.
        retries: the number of earlier deliveries of this round.
    """

    action: Action
    click_id: str
    clicked: float
    selected: Sequence[str]
    number: int = 0
    pauses: int = 0
    overrides: Mapping[str, str] = {}
    job_id: str | None = None
    after: str = ""
    marks: str = ""
    report: Report = Report("")
    retries: int = 0

    @property
    def is_click(self) -> bool:
        """Whether this is the click itself."""
        return self.number == 0

    @property
    def pause(self) -> float:
        """The seconds of the latest pause."""
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.pauses - 1, 10))

    def marked(self, mark: int) -> frozenset[str]:
        """Return the selected assets with a mark."""
        pairs = zip(self.action.selection.assets, self.marks)  # noqa: B905 - A click has no marks.
        return frozenset(id for id, marks in pairs if int(marks) & mark)

    def following(self, *, must_pause: bool, **changes: Any) -> "Round":
        """Return the next round, after a pause or at once."""
        pauses = self.pauses + must_pause
        return self._replace(number=self.number + 1, pauses=pauses, **changes)


def rest_of(round: Round, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], Round]:
    """Return what became of the assets that are done, and the round with those that are left."""
    containers, after, seen = _named(round, outcomes)
    most, awaited = MAX_IDS - sum(containers.counts().values()), round.marked(AWAITED)
    marks = {}
    for each in [each for each in seen if not each.is_done][:most]:
        is_awaited = each.end is End.WAITING or each.asset_id in awaited
        marks[each.asset_id] = AWAITED * is_awaited + TOUCHED * each.is_touched
    ids = sorted(marks, key=lambda each: marks[each] & AWAITED)
    selection = containers._replace(assets=tuple(ids))
    rest = round._replace(
        action=round.action._replace(selection=selection),
        after=after,
        marks="".join(str(marks[id]) for id in ids),
    )
    return [each for each in seen if each.asset_id not in marks], rest


def _named(round: Round, outcomes: Sequence[Outcome]) -> tuple[Selection, str, Sequence[Outcome]]:
    """Return the assets that the next round knows by their ids, as far as they are left.

    If too many are left for one task, the next round finds those again that did not begin: in the
    returned collections and saved searches, after the returned id.
    """
    if sum(not each.is_done for each in outcomes) <= MAX_IDS:
        return Selection(), "", outcomes
    named = {*round.action.selection.assets}
    begun = {each.asset_id for each in outcomes if each.error is not NOT_BEGUN}
    after = max(begun - named, default=round.after)
    seen = [each for each in outcomes if each.asset_id in named or each.asset_id <= after]
    return round.action.selection._replace(assets=()), after, seen


def write_task(round: Round) -> bytes:
    """Return the body of a task: a custom action's payload, and the round."""
    selection = round.action.selection
    payload = {
        "asset_ids": selection.assets,
        "collection_ids": selection.collections,
        "saved_search_ids": selection.saved_searches,
        "user_id": round.action.user_id,
        "round": {**round._asdict(), "action": None, "report": round.report.to_json()},
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def read_task(action: Action, body: bytes, *, retries: str) -> Round:
    """Read the round in a task. Call this only for a delivery that was verified.

    Args:
        action: the action in the task.
        body: the body of the task.
        retries: the number of earlier deliveries, as Cloud Tasks states it in a header.

    Raises:
        CallerError: another version of the plugin wrote the task.
    """
    try:
        value: Any = read_object(body)["round"]
        report = Report.from_json(value["report"])
        found = Round(**{**value, "action": action, "report": report, "retries": int(retries)})
        if found.job_id is not None and not is_uuid(found.job_id):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise CallerError("Another version of the plugin wrote the task.") from None
    return found
