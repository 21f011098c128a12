"""Cloud Tasks: the rest of a removal that one request cannot finish.

https://cloud.google.com/tasks/docs
"""

import json
from typing import Any, NamedTuple

from storage_plugin.errors import CallerError
from storage_plugin.removal.report import Report
from storage_plugin.webhook import Selection, is_uuid, read_object

MAX_IDS = 19_000
"""The most ids in a task. They take 741 kB, and Cloud Tasks and the function accept 800 kB."""


class Round(NamedTuple):
    """One round of a removal: the click, or one delivery of the queue.

    Attributes:
        click_id: names the click.
        clicked: the time of the click, in seconds since 1970.
        number: 0 for the click itself.
        pauses: the number of pauses between rounds so far; each one is twice as long.
        job_id: the id of the job in iconik, or None if it is not known.
        after: of the assets in collections and saved searches, those with ids up to this are done.
        requested: assets whose deletion was requested, perhaps in vain.
        awaited: assets whose copies to the masters' storage were requested.
        report: what became of the assets that are done.
    """

    click_id: str
    clicked: float
    number: int = 0
    pauses: int = 0
    job_id: str | None = None
    after: str = ""
    requested: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()
    report: Report = Report()

    @property
    def task_name(self) -> str:
        """The name of the round's task. The queue accepts it once, however often it is sent."""
        return f"{self.click_id}-{self.number}"


def write_task(selection: Selection, user_id: str | None, round: Round) -> bytes:
    """Return the body of a task: a custom action's payload, and the round."""
    payload = {
        "asset_ids": selection.assets,
        "collection_ids": selection.collections,
        "saved_search_ids": selection.saved_searches,
        "user_id": user_id,
        "round": {
            **round._asdict(),
            "requested": sorted(round.requested),
            "awaited": sorted(round.awaited),
            "report": round.report.to_json(),
        },
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def read_round(body: bytes) -> Round:
    """Read the round in a task. Call this only for a delivery that was verified.

    Raises:
        CallerError: another version of the plugin wrote the task.
    """
    try:
        value: Any = read_object(body)["round"]
        sets = {name: frozenset(value[name]) for name in ("requested", "awaited")}
        round = Round(**{**value, **sets, "report": Report.from_json(value["report"])})
        if not (round.job_id is None or is_uuid(round.job_id)):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise CallerError("Another version of the plugin wrote the task.") from None
    return round
