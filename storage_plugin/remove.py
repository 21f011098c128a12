"""REMOVE: one round of a removal, that is, the click or one delivery of the queue.

A round removes assets until its time is up. Then it hands the rest over to the queue for another
round, or ends the job.
"""

import itertools
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import NamedTuple

from storage_plugin.errors import AdministratorError, OutOfTime, PluginError, QueueUnavailable
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.pace import PLACES, Deadline
from storage_plugin.job import Job
from storage_plugin.logs import Log
from storage_plugin.removal.archive import request_copies
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.removal.selection import Found, find_assets
from storage_plugin.removal.shared import Removal
from storage_plugin.rounds import NOT_BEGUN, Round, rest_of, write_task
from storage_plugin.settings import Settings
from storage_plugin.storages import Storages, check_removal, find_storages
from storage_plugin.task_queue import hand_over
from storage_plugin.webhook import Action, Selection

LONGEST_WAIT = 24 * 3600.0
"""Seconds after the click when the last round begins."""

MAX_DELIVERIES = 5
"""The deliveries of a round after which it ends the job if the queue takes no other round."""

SHARE_OF_QUEUE = 0.8
"""The part of iconik's limit, and of the places for assets, that the queue's work may take up.

So an editor's click always finds room.
"""


class Limits(NamedTuple):
    """The seconds after the arrival of a request at which something must end.

    Attributes:
        work: all calls for the work.
        editor: all calls for the job and the notification.
        begin: the seconds in which assets may begin, from the moment when they are known.
    """

    work: float
    editor: float
    begin: float


def time_limits(settings: Settings, *, is_delivery: bool) -> Limits:
    """Return the time limits of a request.

    iconik waits about ten seconds for an answer, and the platform ends a request after a while.
    """
    seconds = settings.timeout
    work = seconds - min(9.0, 0.15 * seconds)
    editor = seconds - min(3.0, 0.05 * seconds)
    begin = work - min(12.0, 0.2 * seconds)
    if is_delivery:
        return Limits(work, editor, min(60.0, begin))
    if settings.task_queue:
        return Limits(min(7.5, work), min(9.5, editor), min(6.0, begin))
    return Limits(work, editor, begin)


class Work(NamedTuple):
    """What one round needs.

    Attributes:
        action: the click, with what is left of its selection.
        round: the round.
        settings: the function's settings, with the overrides of the click.
        iconik: a client for the work.
        editor: a client for the job, whose time ends after that of the work.
        seconds: the seconds in which assets may begin, from the moment when they are known.
        log: the log of this request.
    """

    action: Action
    round: Round
    settings: Settings
    iconik: Iconik
    editor: Iconik
    seconds: float
    log: Log


class Results(NamedTuple):
    """What a round has done.

    Attributes:
        report: the report on the round.
        selection: what is left.
        following: the next round, or None if nothing is left, or it would be in vain.
        delay: the seconds before the next round.
    """

    report: Report
    selection: Selection
    following: Round | None
    delay: float


def remove(work: Work) -> str:
    """Carry out one round of a removal, and return the answer.

    Raises:
        QueueUnavailable: the queue takes no other round, so it must deliver this one again.
        PluginError: the click has failed, and the editor can see it.
    """
    name = work.round.report.storage_name or work.settings.storage_name
    job = Job(work.editor, work.action, work.round, storage_name=name, log=work.log)
    job.read()
    if job.has_ended:
        return "OK: It had already ended."
    try:
        results = _carry_out(work, job)
    except PluginError as error:
        results = _prevented(work, error, job.storage_name)
    work.log.figures.update(results.report.figures())
    if results.following and not job.halt and _can_go_on(work):
        try:
            return _go_on_later(work, results, results.following, job)
        except QueueUnavailable as error:
            if not work.round.is_click and work.round.retries < MAX_DELIVERIES:
                raise
            work.log.write("WARNING", str(error))
    return _end(work, work.round.report + results.report, job)


def _carry_out(work: Work, job: Job) -> Results:
    """Find the assets, and remove them until the time is up or an editor halts the removal."""
    listed = work.iconik.storages()
    storages = find_storages(listed, work.settings)
    job.storage_name = storages.storage.name or job.storage_name
    check_removal(storages, listed)
    with ThreadPoolExecutor(1) as beside:
        if work.round.is_click:
            beside.submit(job.open)
        found = find_assets(work.iconik, work.action.selection)
        titles = {id: found.assets[id] for id in _order(work, found)}
        outcomes = _remove_assets(work, storages, titles, job)
    outcomes = request_copies(work.iconik, outcomes, storages)
    for outcome in outcomes:
        outcome.write_log(work.log)
    return _sum_up(work, storages, found, outcomes)


def _order(work: Work, found: Found) -> list[str]:
    """Return the ids of the assets in the order in which they begin."""
    named = work.action.selection.assets
    others = found.assets.keys() - {*named}
    if work.settings.task_queue:  # The next round goes on after the last id.
        return [*named, *sorted(id for id in others if id > work.round.after)]
    # A repeat must not spend all its time on the assets that are gone.
    return random.sample([*named, *others], len(found.assets))


def _remove_assets(
    work: Work, storages: Storages, titles: Mapping[str, str | None], job: Job
) -> list[Outcome]:
    """Remove assets side by side. Those that do not begin are left.

    Args:
        work: the round.
        storages: the storage to remove from, and those with the masters.
        titles: the titles of the assets by id, in the order in which the assets begin.
        job: shows the progress, and knows whether an editor has halted the removal.
    """
    iconik, round, settings = work.iconik, work.round, work.settings
    clicked = None if round.is_click else round.clicked
    awaited = work.action.selection.assets[-round.awaited :] if round.awaited else ()
    removal = Removal(iconik, storages, settings, clicked, frozenset(awaited))
    total, finished = round.report.total + len(titles), itertools.count(round.report.total + 1)
    end, is_in_vain = Deadline(work.seconds, iconik.now), Event()

    def remove_one(asset_id: str) -> Outcome:
        if job.halt:
            return Outcome(asset_id, End.LEFT)
        if end.is_over or is_in_vain.is_set():
            return Outcome(asset_id, End.LEFT, error=NOT_BEGUN)
        try:
            outcome = remove_asset(removal, asset_id, titles[asset_id])
        except AdministratorError as error:
            is_in_vain.set()  # Every other asset would fail in the same way.
            outcome = Outcome(asset_id, End.FAILED, error=error)
        job.show(next(finished), total)
        return _in_sum(outcome, round)

    places = PLACES if round.is_click else int(PLACES * SHARE_OF_QUEUE)
    return side_by_side(remove_one, titles, places)


def _in_sum(outcome: Outcome, round: Round) -> Outcome:
    """Return what became of an asset in this and earlier rounds."""
    was_touched = outcome.asset_id in round.touched
    if outcome.end is End.ABSENT and (was_touched or round.retries):
        outcome = outcome._replace(end=End.REMOVED, reasons=())
    return outcome._replace(is_touched=outcome.is_touched or was_touched)


def _sum_up(work: Work, storages: Storages, found: Found, outcomes: Sequence[Outcome]) -> Results:
    """Return what a round has done, and the next round."""
    round, name, reference = work.round, str(storages.storage.name), work.log.reference
    unread = {"unknown": len(found.unknown), "missing": found.missing}
    rest = rest_of(work.action.selection, round.after, outcomes)
    done = Report.of(rest.done, name, **({} if rest.after else unread), reference=reference)
    has_progress = round.is_click or bool(rest.done)
    following = round.following(
        must_pause=not (has_progress and any(each.end is End.LEFT for each in rest.left)),
        overrides={"storage": storages.storage.id, "format": ",".join(work.settings.format_names)},
        after=rest.after,
        touched=[each.asset_id for each in rest.left if each.is_touched],
        awaited=sum(each.end is End.WAITING for each in rest.left),
        report=round.report + done,
    )
    is_in_vain = any(isinstance(each.error, AdministratorError) for each in outcomes)
    return Results(
        report=Report.of(outcomes, name, **unread, reference=reference),
        selection=rest.selection,
        following=following if rest.selection.counts() and not is_in_vain else None,
        delay=following.pause if following.pauses > round.pauses else 0.0,
    )


def _prevented(work: Work, error: PluginError, storage_name: str) -> Results:
    """Return the results of a round that an error has prevented."""
    is_slow = isinstance(error, OutOfTime)
    following = work.round.following(must_pause=not is_slow)
    return Results(
        report=Report.of_error(error, storage_name, reference=work.log.reference),
        selection=work.action.selection,
        following=following if error.can_retry else None,
        delay=0.0 if is_slow else following.pause,
    )


def _can_go_on(work: Work) -> bool:
    """Whether another round is possible."""
    is_late = time.time() >= work.round.clicked + LONGEST_WAIT
    return work.settings.task_queue is not None and not is_late


def _hand_over(work: Work, selection: Selection, round: Round, delay: float) -> None:
    """Hand a round over to the queue."""
    action = work.action._replace(selection=selection)
    hand_over(
        work.settings,
        path=f"/{action.name}",
        name=round.task_name,
        body=write_task(action, round),
        delay=min(delay, round.clicked + LONGEST_WAIT - time.time()),
    )


def _go_on_later(work: Work, results: Results, following: Round, job: Job) -> str:
    """Hand the next round over to the queue, and return the answer."""
    _hand_over(work, results.selection, following._replace(job_id=job.id), results.delay)
    report = work.round.report + results.report
    sentence = f"{report.sentence()} The removal continues in the background."
    job.update(report.finished, report.total, message=sentence)
    return f"OK: {sentence}"


def _end(work: Work, report: Report, job: Job) -> str:
    """End the job, and return the answer.

    If the editor cannot see the result now, and there is a queue, another round tries again.
    """
    job.read()  # The queue may deliver a round twice at the same time.
    if job.has_ended:
        return "OK: It had already ended."
    if not job.close(report) and _can_go_on(work):
        following = work.round.following(must_pause=True, job_id=job.id, report=report)
        with suppress(QueueUnavailable):
            _hand_over(work, Selection(), following, following.pause)
    error = report.error()
    if error is None:
        return report.answer()
    if work.round.is_click:
        raise error
    return f"OK: {error}"  # After an error, the queue would deliver the round again.
