"""REMOVE: one round of a removal, that is, the click or one delivery of the queue.

A round removes assets until its time is up. It ends with the rest handed over to the queue for
another round, or with the end of the job.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from storage_plugin.errors import AdministratorError, OutOfTime, PluginError
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.pace import Deadline
from storage_plugin.job import Job
from storage_plugin.logs import Log
from storage_plugin.removal.archive import request_copies
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.removal.selection import Found, find_assets
from storage_plugin.settings import Settings
from storage_plugin.storages import Storages, check_removal, find_storages
from storage_plugin.task_queue import MAX_IDS, QueueUnavailable, Round
from storage_plugin.webhook import Action, Selection

LONGEST_WAIT = 24 * 3600.0
"""Seconds after the click when the last round begins."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds before another round if this one could finish nothing. Each pause doubles."""

PATIENCE = 5
"""The deliveries of one task after which the plugin ends the job if the queue takes no other."""

HandOver = Callable[[Action, Round, float], None]
"""Hands a round over to the queue: what is left, the round, and the seconds to wait before it."""


class Removal(NamedTuple):
    """What one round needs.

    Attributes:
        action: the click, with what is left of its selection.
        round: the round.
        settings: the function's settings, with those of the action's URL.
        iconik: a client for the work.
        editor: a client for the job, whose time ends after that of the work.
        log: the log of this request.
        seconds: the seconds in which assets may begin, from the moment when they are known.
        hand_over: hands the next round over to the queue, or None if there is no queue.
    """

    action: Action
    round: Round
    settings: Settings
    iconik: Iconik
    editor: Iconik
    log: Log
    seconds: float
    hand_over: HandOver | None


def remove(removal: Removal) -> str:
    """Carry out one round of a removal, and return the answer.

    Raises:
        PluginError: the removal has failed, and the editor can see why.
        QueueUnavailable: the queue does not take the rest. It must deliver this round again.
    """
    storages, failure = _find_storages(removal)
    job = Job()
    job.read()
    if job.has_ended:
        return "OK: It had already ended."
    with ThreadPoolExecutor(1) as beside:
        if not job.id:
            beside.submit(job.open)
        found, outcomes, failure = _work(removal, job)


def _remove_assets(removal: Removal, job: Job, storages: Storages, order: Sequence[str]) -> list[Outcome]:
    """Remove assets side by side until the time is up, or until an editor halts the removal.

    Returns:
        The outcome of each asset, in the same order. Those that did not begin are left.
    """
    iconik, before = removal.iconik, removal.round.report.total
    end = Deadline(removal.seconds, iconik.now)
    finished = itertools.count(before + 1)
    stop = threading.Event()

    def work(asset_id: str) -> Outcome:
        if stop.is_set() or job.halt or end.is_over:
            return Outcome(asset_id, End.LEFT)
        try:
            with iconik.pace.asset(iconik.deadline):
                outcome = remove_asset()
        except AdministratorError as error:
            stop.set()  # Every other asset would fail in the same way.
            return Outcome(asset_id, End.FAILED, error=error)
        except OutOfTime:
            return Outcome(LEFT)
        job.show(next(finished), before + len(order))
        return outcome

    return side_by_side(work, order)
