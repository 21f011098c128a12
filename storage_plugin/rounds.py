"""A removal in rounds: the click is the first, and what it leaves goes through the queue. No I/O.

One round hands what is left to the next, so a removal is one task at a time.
"""

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
"""Seconds before a round that could not begin at once. Each pause is twice as long."""


class Round(NamedTuple):
    """One round of a removal.

    Attributes:
        click_id: names the click.
        clicked: the time of the click, in seconds since 1970.
        selected: the type and the id of the first object that was selected.
        number: 0 for the click, 1 for the first delivery, and so on.
        pauses: the number of rounds so far after which the removal paused.
        overrides: the settings of the click that do not follow a new deployment, by the name of
            their query parameter.
        job_id: the id of the job in iconik, or None if it is not known.
        after: in collections and saved searches, the assets with ids up to this are done.
        touched: the assets that have lost files in an earlier round, or may have.
        awaited: the number of assets, at the end of the selection, whose copies to the masters'
            storage were requested in an earlier round.
        report: what became of the assets that are done.
        retries: the number of earlier deliveries of this round.
    """

    click_id: str
    clicked: float
    selected: Sequence[str]
    number: int = 0
    pauses: int = 0
    overrides: Mapping[str, str] = {}
    job_id: str | None = None
    after: str = ""
    touched: Sequence[str] = ()
    awaited: int = 0
    report: Report = Report("")
    retries: int = 0

    @property
    def is_click(self) -> bool:
        """Whether this is the click itself."""
        return self.number == 0

    @property
    def task_name(self) -> str:
        """The name of the round's task.

        The queue accepts a name once. So if a round is delivered twice, the next one is not.
        """
        return f"{self.click_id}-{self.number}"

    @property
    def pause(self) -> float:
        """The seconds of the latest pause."""
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.pauses - 1, 10))

    def following(self, *, must_pause: bool, **changes: Any) -> "Round":
        """Return the next round, after a pause or at once."""
        pauses = self.pauses + must_pause
        return self._replace(number=self.number + 1, pauses=pauses, **changes)


class Rest(NamedTuple):
    """What a round leaves.

    Attributes:
        selection: what is left of the selection. What waits for a copy comes last.
        after: see `Round`.
        done: what became of the assets that are done.
        left: what became of those that are left, as far as the selection names them.
    """

    selection: Selection
    after: str
    done: Sequence[Outcome]
    left: Sequence[Outcome]


def rest_of(selection: Selection, after: str, outcomes: Sequence[Outcome]) -> Rest:
    """Return what a round leaves.

    Args:
        selection: the selection of the round.
        after: see `Round`.
        outcomes: what became of the assets.
    """
    containers, cut, seen = Selection(), "", outcomes
    if sum(not each.is_done for each in outcomes) > MAX_IDS:
        containers = selection._replace(assets=())
        cut, seen = _begun(selection, after, outcomes)
    most = MAX_IDS - sum(containers.counts().values())
    left = [each for each in seen if not each.is_done][:most]
    left.sort(key=lambda each: each.end is End.WAITING)
    left_ids = {each.asset_id for each in left}
    return Rest(
        selection=containers._replace(assets=tuple(each.asset_id for each in left)),
        after=cut,
        done=[each for each in seen if each.asset_id not in left_ids],
        left=left,
    )


def _begun(
    selection: Selection, after: str, outcomes: Sequence[Outcome]
) -> tuple[str, list[Outcome]]:
    """Return the last id of the assets in containers that have begun, and the outcomes up to it.

    Too many are left for one task, so the next round finds the others again.
    """
    named = {*selection.assets}
    begun = {each.asset_id for each in outcomes if each.error is not NOT_BEGUN}
    last = max(begun - named, default=after)
    return last, [each for each in outcomes if each.asset_id in named or each.asset_id <= last]


def write_task(action: Action, round: Round) -> bytes:
    """Return the body of a task: a custom action's payload, and the round."""
    payload = {
        "asset_ids": action.selection.assets,
        "collection_ids": action.selection.collections,
        "saved_search_ids": action.selection.saved_searches,
        "user_id": action.user_id,
        "round": {**round._asdict(), "report": round.report.to_json()},
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def read_round(body: bytes, *, retries: str) -> Round:
    """Read the round in a task. Call this only for a delivery that was verified.

    Args:
        body: the body of the task.
        retries: the number of earlier deliveries, as Cloud Tasks states it in a header.

    Raises:
        CallerError: another version of the plugin wrote the task.
    """
    try:
        value: Any = read_object(body)["round"]
        report = Report.from_json(value["report"])
        round = Round(**{**value, "report": report, "retries": int(retries)})
    except (KeyError, TypeError, ValueError):
        round = None
    if round is None or not (round.job_id is None or is_uuid(round.job_id)):
        raise CallerError("Another version of the plugin wrote the task.")
    return round
