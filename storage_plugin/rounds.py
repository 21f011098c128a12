"""A removal in rounds: the click is the first, and each one leaves the rest to the next."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from storage_plugin.errors import CallerError
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.webhook import ID_FIELDS, MAX_IDS, Action, Selection, read_object

VERSION = 5  # The form of a task. Change it with the fields of `Round` and `Report`.
MAX_RETRIES = 4  # The repeated deliveries of a round after which the plugin gives up.
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0  # Seconds. Each pause in a row is twice as long.


class Round(NamedTuple):
    """One round of a removal."""

    action: Action  # The click, with what is left of its selection.
    click_id: str
    clicked: float  # The time of the click, in seconds since 1970.
    selected: Sequence[str]  # The type and the id of the first object that was selected.
    number: int = 0  # 0 for the click, 1 for the first delivery by the queue, and so on.
    pause: float = 0.0  # Seconds between the previous round and this one.
    job_id: str = ""  # Empty if the job in iconik is not known.
    storage_id: str = ""  # Empty if the storage to remove from is not known.
    after: str = ""  # Assets in containers up to this id are done, or selected themselves.
    waiting: int = 0  # The number of selected assets, the last ones, whose copies were requested.
    report: Report = Report()  # What became of the assets that are done.
    is_over: bool = False  # Whether only the result is to be shown, which has failed before.
    retries: int = 0  # The number of earlier deliveries of this round.

    @property
    def is_click(self) -> bool:
        """Whether this is the click itself."""
        return self.number == 0

    @property
    def awaited(self) -> frozenset[str]:
        """The assets whose copies were requested in earlier rounds."""
        assets = self.action.selection.assets
        return frozenset(assets[len(assets) - self.waiting :])

    def following(self, rest: "Round", *, at_once: bool) -> "Round":
        """Return the next round. It begins at once only if this one has achieved something."""
        progress = (rest.report.total, rest.waiting) > (self.report.total, self.waiting)
        pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self.pause))
        pause = 0.0 if at_once and (self.is_click or progress) else pause
        return rest._replace(number=self.number + 1, pause=pause)


def first_round(action: Action) -> Round:
    """Return the round that is the click itself."""
    return Round(action, uuid.uuid4().hex, time.time(), action.selection.objects()[0])


def rest_of(round: Round, outcomes: Sequence[Outcome]) -> Round:
    """Return a round with what is left. The outcomes are in the order in which assets begin."""
    left, selection, after = [each for each in outcomes if not each.is_done], Selection(), ""
    if len(left) > MAX_IDS:  # The next round finds the others again.
        selection = round.action.selection._replace(assets=())
        left = left[: MAX_IDS - len(selection.objects())]
        found = {each.asset_id for each in left}.difference(round.action.selection.assets)
        after = max(found, default=round.after)
    awaited = round.awaited | {each.asset_id for each in left if each.end is End.WAITING}
    ids = sorted([each.asset_id for each in left], key=awaited.__contains__)
    action = round.action._replace(selection=selection._replace(assets=tuple(ids)))
    return round._replace(action=action, after=after, waiting=len(awaited.intersection(ids)))


def write_task(round: Round) -> bytes:
    """Return the body of a task: a custom action's payload, and the round."""
    report = vars(round.report) | {"cause": None}
    payload = dict(zip(ID_FIELDS, round.action.selection, strict=True)) | {
        "user_id": round.action.user_id,
        "version": VERSION,
        "round": round._asdict() | {"action": None, "report": report},
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def read_task(action: Action, body: bytes, retries: str | None) -> Round:
    """Read the round in a delivery that was verified, or raise CallerError."""
    task: Any = read_object(body)
    if task.get("version") != VERSION:  # The queue must not repeat it.
        text = "Another version of the plugin wrote the task, which ends here: repeat the action."
        raise CallerError(text, status=200)
    round, report = task["round"], task["round"]["report"]
    report = Report(**{**report, "numbers": Counter(report["numbers"])})
    return Round(**{**round, "action": action, "report": report, "retries": int(retries or 0)})
