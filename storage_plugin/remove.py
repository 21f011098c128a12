"""REMOVE: one round of a removal, that is, the click or one delivery of the queue.

A round removes assets until its time is up. Then it hands the rest over to the queue for another
round, or ends the job.
"""

import itertools
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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
from storage_plugin.rounds import AWAITED, NOT_BEGUN, TOUCHED, Round, rest_of, write_task
from storage_plugin.settings import Settings
from storage_plugin.task_queue import hand_over
from storage_plugin.webhook import Selection

LONGEST_WAIT = 24 * 3600.0
"""Seconds after the click when the last round begins."""

MAX_DELIVERIES = 5
"""The deliveries of a round after which it ends the job if the queue takes no other round."""

SHARE_OF_QUEUE = 0.8
"""The part of iconik's limit, and of the places for assets, that a large removal may use.

Where there is a queue, the rest is for the small clicks of other editors, who never wait.
"""

SMALL = 20
"""The most assets of a click that is not large."""


def time_limits(settings: Settings, *, is_click: bool) -> tuple[float, float, float]:
    """Return the time limits of a request.

    The platform ends a request after a while, and iconik waits about ten seconds for an answer to a
    click.

    Returns:
        The seconds from the request's arrival for the work, and for the job in iconik; and the
        seconds in which assets may begin, from the moment when they are known.
    """
    seconds = settings.timeout
    work, editor = seconds - min(9.0, 0.15 * seconds), seconds - min(3.0, 0.05 * seconds)
    begin = work - min(12.0, 0.2 * seconds)
    if not is_click:
        return work, editor, min(60.0, begin)
    if settings.task_queue:
        return min(7.5, work), min(9.5, editor), min(6.0, begin)
    return work, editor, begin


class Work(NamedTuple):
    """What one round needs.

    Attributes:
        round: the round.
        settings: the function's settings, with the overrides of the click.
        iconik: a client for the work.
        editor: a client for the job, whose time ends after that of the work.
        seconds: the seconds in which assets may begin, from the moment when they are known.
        log: the log of this request.
    """

    round: Round
    settings: Settings
    iconik: Iconik
    editor: Iconik
    seconds: float
    log: Log


def remove(work: Work) -> str:
    """Carry out one round of a removal, and return the answer.

    Raises:
        QueueUnavailable: the queue takes no other round, so it must deliver this one again.
        PluginError: the click has failed, and the editor can see it.
    """
    # The next rounds keep to the storage and the formats of the click, whatever is deployed then.
    name, formats = work.settings.storage_name, ",".join(work.settings.format_names)
    round = work.round._replace(overrides={"storage": name, "format": formats})
    work = work._replace(round=round)
    name = round.report.storage_name or name
    job = Job(work.editor, round, storage_name=name, log=work.log)
    if not round.action.selection.counts():  # Only the end of the job is left.
        return _end(work, round.report, job)
    job.read()
    if job.has_ended:
        return "OK: It had already ended."
    try:
        report, following = _carry_out(work, job)
    except PluginError as error:
        report = Report.of_error(error, job.storage_name, reference=work.log.reference)
        following = round.following(must_pause=not isinstance(error, OutOfTime))
        following = following if error.can_retry else None
    work.log.figures.update(report.figures())
    report = round.report + report
    if following and not job.halt and _goes_on(work, following._replace(job_id=job.id)):
        sentence = f"{report.sentence()} The removal continues in the background."
        job.update(report.finished, report.total, message=sentence)
        return f"OK: {sentence}"
    return _end(work, report, job)


def _goes_on(work: Work, following: Round) -> bool:
    """Hand the next round over to the queue, if there is one, and return whether that worked."""
    if not _can_go_on(work):
        return False
    try:
        _hand_over(work, following)
    except QueueUnavailable as error:
        if not work.round.is_click and work.round.retries < MAX_DELIVERIES:
            raise
        work.log.write("WARNING", str(error))
        return False
    return True


def _carry_out(work: Work, job: Job) -> tuple[Report, Round | None]:
    """Remove assets until the time is up or an editor halts the removal.

    Returns:
        The report on this round, and the next one, unless it has nothing to do.
    """
    round, settings = work.round, work.settings
    clicked = None if round.is_click else round.clicked
    removal = Removal(work.iconik, settings, clicked, round.marked(AWAITED))
    job.storage_name = name = removal.storages.storage.name or job.storage_name
    with ThreadPoolExecutor(1) as beside:
        if round.is_click:
            beside.submit(job.open)
        found = find_assets(work.iconik, round.action.selection)
        outcomes = _remove_assets(work, removal, _in_order(work, found), job)
    outcomes = request_copies(work.iconik, outcomes, removal.storages)
    for outcome in outcomes:
        outcome.write_log(work.log)
    unread = {"unknown": len(found.unknown), "missing": found.missing}
    report = Report.of(outcomes, name, **unread, reference=work.log.reference)
    done, rest = rest_of(round, outcomes)
    if isinstance(report.cause, AdministratorError) or not rest.action.selection.counts():
        return report, None
    if rest.after:  # The next round reads the collections and saved searches again.
        unread = {}
    finished = Report.of(done, name, **unread, reference=work.log.reference)
    return report, rest.following(
        must_pause=not (_has_progress(round, rest) or done) or report.numbers["left"] == 0,
        overrides={**round.overrides, "storage": removal.storages.storage.id},
        report=round.report + finished,
    )


def _has_progress(round: Round, rest: Round) -> bool:
    """Whether a round has begun anything, apart from finishing assets."""
    return round.is_click or len(rest.marked(AWAITED)) > len(round.marked(AWAITED))


def _in_order(work: Work, found: Found) -> dict[str, str | None]:
    """Return the titles of the assets by id, in the order in which the assets begin."""
    named = work.round.action.selection.assets
    others = found.assets.keys() - {*named}
    if work.settings.task_queue:  # The next round goes on after the last id.
        order = [*named, *sorted(id for id in others if id > work.round.after)]
    else:  # A repeat must not spend all its time on the assets that are gone.
        order = random.sample([*named, *others], len(found.assets))
    return {id: found.assets[id] for id in order}


def _remove_assets(
    work: Work, removal: Removal, titles: Mapping[str, str | None], job: Job
) -> list[Outcome]:
    """Remove assets side by side, and return what became of them. Those that do not begin are left.

    Args:
        work: the round.
        removal: what the assets have in common.
        titles: the titles of the assets by id, in the order in which the assets begin.
        job: shows the progress, and knows whether an editor has halted the removal.
    """
    iconik, round = work.iconik, work.round
    total, finished = round.report.total + len(titles), itertools.count(round.report.total + 1)
    end, is_in_vain = Deadline(work.seconds, iconik.now), Event()
    touched = round.marked(TOUCHED)

    def remove_one(asset_id: str) -> Outcome:
        if job.halt:
            return Outcome(asset_id, End.LEFT)
        if end.is_over or iconik.deadline.is_over or is_in_vain.is_set():
            return Outcome(asset_id, End.LEFT, error=NOT_BEGUN)
        try:
            outcome = remove_asset(removal, asset_id, titles[asset_id])
        except AdministratorError as error:
            is_in_vain.set()  # Every other asset would fail in the same way.
            outcome = Outcome(asset_id, End.FAILED, error=error)
        if outcome.end is not End.LEFT:
            job.show(next(finished), total)
        was_touched = asset_id in touched
        if outcome.end is End.ABSENT and (was_touched or round.retries):
            outcome = outcome._replace(end=End.REMOVED, reasons=())  # By an earlier delivery.
        return outcome._replace(is_touched=outcome.is_touched or was_touched)

    places = PLACES
    if not round.is_click or (work.settings.task_queue and len(titles) > SMALL):
        iconik.rest.share, places = SHARE_OF_QUEUE, int(PLACES * SHARE_OF_QUEUE)
    return side_by_side(remove_one, titles, places)


def _can_go_on(work: Work) -> bool:
    """Whether another round is possible."""
    is_late = time.time() >= work.round.clicked + LONGEST_WAIT
    return work.settings.task_queue is not None and not is_late


def _hand_over(work: Work, following: Round) -> None:
    """Hand the next round over to the queue.

    The queue accepts a name once. So if a round is delivered twice, the next one is not.
    """
    delay = following.pause if following.pauses > work.round.pauses else 0.0
    hand_over(
        work.settings,
        path=f"/{following.action.name}",
        name=f"{following.click_id}-{following.number}",
        body=write_task(following),
        delay=min(delay, following.clicked + LONGEST_WAIT - time.time()),
    )


def _end(work: Work, report: Report, job: Job) -> str:
    """End the job, and return the answer.

    If the editor cannot see the result now, and there is a queue, another round tries again.

    Raises:
        QueueUnavailable, PluginError: as for `remove`.
    """
    if not work.round.is_click:  # The queue may deliver a round twice at the same time.
        job.read()
    if job.has_ended:
        return "OK: It had already ended."
    if not job.close(report) and _can_go_on(work):
        action = work.round.action._replace(selection=Selection())
        following = work.round.following(must_pause=True, action=action, report=report)
        try:
            _hand_over(work, following._replace(job_id=job.id))
        except QueueUnavailable:
            if not work.round.is_click:
                raise
    error = report.error()
    if error and work.round.is_click:
        raise error
    # After an error, the queue would deliver the round again.
    return f"OK: {error}" if error else report.answer()
