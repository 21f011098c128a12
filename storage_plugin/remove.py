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
from storage_plugin.iconik.pace import PLACES, TIME_IS_UP, Deadline
from storage_plugin.job import Job
from storage_plugin.logs import Log
from storage_plugin.removal.archive import request_copies
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.removal.selection import Found, find_assets
from storage_plugin.removal.shared import Removal
from storage_plugin.settings import Settings
from storage_plugin.storages import Storages, check_removal, find_storages
from storage_plugin.task_queue import MAX_IDS, Round, hand_over
from storage_plugin.webhook import Action, Selection

LONGEST_WAIT = 24 * 3600.0
"""Seconds after the click when the last round begins."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds before another round if this one could not go on. Each pause is twice as long."""

MAX_DELIVERIES = 5
"""The deliveries of a round after which it ends the job if the queue takes no other round."""

SHARE_OF_QUEUE = 0.8
"""The part of iconik's limit, and of the places for assets, that the queue's work may take up.

So an editor's click always finds room.
"""

NOT_BEGUN = OutOfTime(TIME_IS_UP)
"""The error of assets that did not begin."""


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

    @property
    def is_delivery(self) -> bool:
        """Whether the queue has delivered the round."""
        return self.round.number > 0


class Results(NamedTuple):
    """What a round has done.

    Attributes:
        outcomes: what became of each asset.
        report: the report on the round.
        selection: what is left.
        following: the next round, or None if nothing is left, or it would be in vain.
        delay: the seconds before the next round.
    """

    outcomes: Sequence[Outcome]
    report: Report
    selection: Selection
    following: Round | None
    delay: float


class Rest(NamedTuple):
    """What a round leaves to the next one.

    Attributes:
        selection: the selection of the next round.
        after: see `Round`.
        left: the assets that the next round finishes.
        done: the assets that are finished.
    """

    selection: Selection
    after: str
    left: Sequence[Outcome]
    done: Sequence[Outcome]


def remove(work: Work) -> str:
    """Carry out one round of a removal, and return the answer.

    Raises:
        QueueUnavailable: the queue takes no other round, so it must deliver this one again.
        PluginError: the click has failed, and the editor can see it.
    """
    name = work.round.report.storage_name or work.settings.storage_name
    storages, failure = None, None
    try:
        storages = _find_storages(work)
        name = storages.storage.name or name
    except PluginError as error:
        failure = error
    job = Job(work.editor, work.action, storage_name=name, log=work.log, round=work.round)
    job.read()
    if job.has_ended:
        return "OK: It had already ended."
    results = _carry_out(work, storages, job) if storages else _prevented(work, failure, name)
    for outcome in results.outcomes:
        outcome.write_log(work.log)
    work.log.figures.update(results.report.figures())
    if results.following and not job.halt and _can_go_on(work):
        try:
            return _continue_later(work, results, job)
        except QueueUnavailable as error:
            if work.is_delivery and work.round.retries < MAX_DELIVERIES:
                raise
            work.log.write("WARNING", str(error))
    return _end(work, work.round.report + results.report, job)


def _find_storages(work: Work) -> Storages:
    """Return the storages if files may be removed."""
    listed = work.iconik.storages()
    storages = find_storages(listed, work.settings)
    check_removal(storages, listed)
    return storages


def _carry_out(work: Work, storages: Storages, job: Job) -> Results:
    """Find the assets, and remove them until the time is up or an editor halts the removal."""
    with ThreadPoolExecutor(1) as beside:
        if not work.is_delivery:
            beside.submit(job.open)
        try:
            found = find_assets(work.iconik, work.action.selection)
            order = _order(work, found)
            outcomes = _remove_assets(work, storages, job, {id: found.assets[id] for id in order})
        except PluginError as error:
            return _prevented(work, error, str(storages.storage.name))
    return _sum_up(work, storages, found, request_copies(work.iconik, outcomes, storages))


def _order(work: Work, found: Found) -> list[str]:
    """Return the ids of the assets in the order in which they begin."""
    named = work.action.selection.assets
    others = found.assets.keys() - {*named}
    if work.settings.task_queue:  # Another round goes on after the last id.
        return [*named, *sorted(id for id in others if id > work.round.after)]
    # A repeat must not spend all its time on the assets that are gone.
    return random.sample([*named, *others], len(found.assets))


def _remove_assets(
    work: Work, storages: Storages, job: Job, titles: Mapping[str, str | None]
) -> list[Outcome]:
    """Remove assets side by side. Those that do not begin are left.

    Args:
        work: the round.
        storages: the storages.
        job: shows the progress, and knows whether an editor has halted the removal.
        titles: the titles of the assets by id, in the order in which they begin.
    """
    iconik, round = work.iconik, work.round
    clicked = round.clicked if work.is_delivery else None
    removal = Removal(iconik, storages, work.settings, clicked, round.awaited)
    end, finished, is_in_vain = Deadline(work.seconds, iconik.now), itertools.count(1), Event()

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
        if outcome.end is End.ABSENT and (asset_id in round.touched or work.round.retries):
            # An earlier delivery has removed it.
            outcome = outcome._replace(end=End.REMOVED, reasons=())
        job.show(round.report.total + next(finished), round.report.total + len(titles))
        return outcome

    places = int(PLACES * SHARE_OF_QUEUE) if work.is_delivery else PLACES
    return side_by_side(remove_one, titles, places)


def _sum_up(
    work: Work, storages: Storages, found: Found, outcomes: Sequence[Outcome]
) -> Results:
    """Return what a round has done, and the next round for what is left."""
    round, name, reference = work.round, str(storages.storage.name), work.log.reference
    unread = {"unknown": len(found.unknown), "missing": found.missing}
    rest = _rest(work.action.selection, round.after, outcomes)
    left_ids = frozenset(each.asset_id for each in rest.left)
    waiting = {each.asset_id for each in rest.left if each.end is End.WAITING}
    touched = {each.asset_id for each in rest.left if each.is_touched}
    can_go_on = any(each.end is End.LEFT for each in rest.left)
    is_stuck = not can_go_on or (work.is_delivery and not rest.done)
    done = Report.of(
        rest.done, name, **({} if rest.after else unread), reference=reference
    )
    following = round._replace(
        number=round.number + 1,
        pauses=round.pauses + is_stuck,
        overrides={"storage": storages.storage.id, "format": ",".join(work.settings.format_names)},
        after=rest.after,
        touched=touched | (round.touched & left_ids),
        awaited=waiting | (round.awaited & left_ids),
        report=round.report + done,
    )
    errors = [each.error for each in outcomes if isinstance(each.error, AdministratorError)]
    is_last = not (rest.left or rest.selection.counts()) or errors
    return Results(
        outcomes=outcomes,
        report=Report.of(outcomes, name, **unread, reference=reference),
        selection=rest.selection,
        following=None if is_last else following,
        delay=_pause(following) if is_stuck else 0.0,
    )


def _rest(selection: Selection, after: str, outcomes: Sequence[Outcome]) -> Rest:
    """Split the assets of a round into those that are done and those that are left.

    If too many are left for one task, the next round finds them again in the collections and saved
    searches, and goes on after the last id.
    """
    named, seen, containers, cut = {*selection.assets}, outcomes, Selection(), ""
    if sum(not each.is_done for each in outcomes) > MAX_IDS:
        began = {each.asset_id for each in outcomes if each.error is not NOT_BEGUN}
        containers, cut = selection, max(began - named, default=after)
        seen = [each for each in outcomes if each.asset_id in named or each.asset_id <= cut]
    left = [each for each in seen if not each.is_done][:MAX_IDS]
    left_ids = {each.asset_id for each in left}
    # What waits for a copy comes last.
    ids = [each.asset_id for each in sorted(left, key=lambda each: each.end is End.WAITING)]
    return Rest(
        selection=containers._replace(assets=tuple(ids)),
        after=cut,
        left=left,
        done=[each for each in seen if each.asset_id not in left_ids],
    )


def _prevented(work: Work, error: PluginError, storage_name: str) -> Results:
    """Return the results of a round that an error has prevented."""
    is_cut = isinstance(error, OutOfTime)
    following = work.round._replace(
        number=work.round.number + 1, pauses=work.round.pauses + (not is_cut)
    )
    return Results(
        outcomes=(),
        report=Report.of_error(error, storage_name, reference=work.log.reference),
        selection=work.action.selection,
        following=following if error.can_retry else None,
        delay=0.0 if is_cut else _pause(following),
    )


def _continue_later(work: Work, results: Results, job: Job) -> str:
    """Hand the rest over to the queue, and return the answer."""
    round, action = results.following, work.action._replace(selection=results.selection)
    delay = min(results.delay, work.round.clicked + LONGEST_WAIT - time.time())
    hand_over(work.settings, action, round._replace(job_id=job.id), delay=delay)
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
        following = work.round._replace(
            number=work.round.number + 1,
            pauses=work.round.pauses + 1,
            job_id=job.id,
            report=report,
        )
        action = work.action._replace(selection=Selection())
        with suppress(QueueUnavailable):
            hand_over(work.settings, action, following, delay=_pause(following))
    error = report.error()
    if error and not work.is_delivery:  # After an error, the queue would deliver the round again.
        raise error
    return report.answer() if not error else f"OK: {error}"


def _can_go_on(work: Work) -> bool:
    """Whether another round is possible."""
    is_late = time.time() >= work.round.clicked + LONGEST_WAIT
    return work.settings.task_queue is not None and not is_late


def _pause(round: Round) -> float:
    """Return the seconds before a round."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(round.pauses - 1, 10))
