"""REMOVE: one round of a removal, that is, the click or one delivery of the queue.

A round removes assets until its time is up. Then it hands the rest over to the queue for another
round, or ends the job.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlencode

from storage_plugin.errors import AdministratorError, OutOfTime, PluginError, QueueUnavailable
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.pace import TIME_IS_UP, Deadline
from storage_plugin.job import Job
from storage_plugin.logs import Log
from storage_plugin.removal.archive import request_copies
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import Removal
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.removal.selection import Found, find_assets
from storage_plugin.settings import Settings
from storage_plugin.storages import Storages, check_removal, find_storages
from storage_plugin.task_queue import MAX_IDS, Round, hand_over, write_task
from storage_plugin.webhook import Action, Selection

LONGEST_WAIT = 24 * 3600.0
"""Seconds after the click when the last round begins."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds before another round if this one has finished nothing. Each pause is twice as long."""

MAX_DELIVERIES = 5
"""The deliveries of a round after which it ends the job if the queue takes no other round."""

CONTINUES = "The removal continues in the background."


class Work(NamedTuple):
    """What one round needs.

    Attributes:
        action: the click, with what is left of its selection.
        round: the round.
        settings: the function's settings, with those of the action's URL.
        iconik: a client for the work.
        editor: a client for the job, whose time ends after that of the work.
        log: the log of this request.
        seconds: the seconds in which assets may begin, from the moment when they are known.
    """

    action: Action
    round: Round
    settings: Settings
    iconik: Iconik
    editor: Iconik
    log: Log
    seconds: float


class Results(NamedTuple):
    """What a round has done.

    Attributes:
        report: the report on this round.
        outcomes: what became of each asset, in the order in which they began.
        after: of the assets in collections and searches, those with ids up to this have begun.
        is_final: whether another round would fail in the same way.
    """

    report: Report
    outcomes: Sequence[Outcome] = ()
    after: str = ""
    is_final: bool = False


def remove(work: Work) -> str:
    """Carry out one round of a removal, and return the answer.

    Raises:
        PluginError: the removal has failed, and the editor can see it.
        QueueUnavailable: the queue takes no other round, so it must deliver this one again.
    """
    name, storages, failure = work.settings.storage_name, None, None
    try:
        storages = _find_storages(work)
        name = storages.storage.name or name
    except PluginError as error:
        failure = error
    job = Job(
        work.editor,
        work.action,
        storage_name=name,
        log=work.log,
        click_id=work.round.click_id,
        id=work.round.job_id,
    )
    job.read()
    if job.has_ended:
        return "OK: It had already ended."
    if storages:
        results = _carry_out(work, storages, job)
    else:
        results = _failed(work, failure)
    results.report.write_log(work.log)
    return _conclude(work, results, job)


def _find_storages(work: Work) -> Storages:
    """Return the storages, if files may be removed."""
    listed = work.iconik.storages()
    storages = find_storages(listed, work.settings)
    check_removal(storages, listed)
    return storages


def _carry_out(work: Work, storages: Storages, job: Job) -> Results:
    """Find the assets and remove them, until the time is up or an editor halts the removal."""
    with ThreadPoolExecutor(1) as beside:
        if work.round.number == 0:
            beside.submit(job.open)
        try:
            found = find_assets(work.iconik, work.action.selection)
            order = _order(work, found)
            outcomes = _remove_assets(work, order, Removal, job)
            outcomes = request_copies(work.iconik, outcomes, storages)
        except PluginError as error:
            return _failed(work, error)
    ...


def _order(work: Work, found: Found) -> list[str]:
    """Return the ids of the assets, in the order in which they begin."""
    named = work.action.selection.assets
    others = found.assets.keys() - set(named)
    if work.settings.task_queue:
        # The next round begins after the last one's assets.
        return [*named, *sorted(id for id in others if id > work.round.after)]
    # A repeat must not spend all its time on the assets that are gone.
    return random.sample([*named, *others], len(found.assets))


def _remove_assets(work: Work, order: Sequence[str], removal: Removal, job: Job) -> list[Outcome]:
    """Remove assets side by side; those that do not begin are left."""
    iconik, before = work.iconik, work.round.report.total
    end, finished, is_over = Deadline(work.seconds, iconik.now), itertools.count(1), threading.Event()

    def remove(asset_id: str) -> Outcome:
        if job.halt:
            return Outcome(asset_id, End.LEFT)
        if end.is_over or is_over.is_set():
            return Outcome(asset_id, End.LEFT, error=OutOfTime(TIME_IS_UP))
        try:
            outcome = remove_asset(removal, asset_id, title)
        except AdministratorError as error:
            is_over.set()  # Every other asset would fail in the same way.
            outcome = Outcome(asset_id, End.FAILED, error=error)
        job.show(before + next(finished), before + len(order))
        return outcome

    return side_by_side(remove, order)
