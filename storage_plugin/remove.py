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
from urllib.parse import urlencode

from storage_plugin.errors import AdministratorError, OutOfTime, PluginError, QueueUnavailable
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.pace import PLACES, TIME_IS_UP, Deadline
from storage_plugin.job import Job
from storage_plugin.logs import Log
from storage_plugin.removal.archive import request_copies
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import Removal
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.removal.selection import find_assets
from storage_plugin.rounds import Round, rest_of, write_task
from storage_plugin.settings import Settings
from storage_plugin.task_queue import hand_over
from storage_plugin.webhook import Selection

LONGEST_WAIT = 24 * 3600.0
"""Seconds after the click when the last round begins."""

SHARE_OF_TIME = 0.8
"""The part of the time in which assets may begin. The rest is for those that have begun."""

TURN = 60.0
"""The most seconds in which assets begin in a delivery, because several removals take turns."""

SHARE_OF_QUEUE = 0.8
"""The part of iconik's limit, and of the places for assets, that a large removal may use.

Where there is a queue, the rest is for the small clicks of other editors, who never wait.
"""

MAX_RETRIES = 4
"""The repeated deliveries of a round after which it ends the job if the queue takes no other."""

SMALL = 20
"""The most assets of a click that is not large."""


def remove(
    iconik: Iconik, editors: Iconik, round: Round, *, settings: Settings, log: Log
) -> tuple[str, PluginError | None]:
    """Carry out one round of a removal.

    Args:
        iconik: a client.
        editors: a client whose time ends later, to show the removal.

    Returns:
        The answer, and the error with which a click has failed.

    Raises:
        QueueUnavailable: the queue takes no other round, so it must deliver this one again.
    """
    job = Job(editors, round, storage_name=settings.storage_name, log=log)
    if job.has_ended():
        return "OK: The removal had already ended.", None
    try:
        report, rest = _remove_assets(iconik, round, settings=settings, job=job)
    except PluginError as error:
        report = Report.of_error(error, job.storage_name, reference=log.reference)
        rest = round if error.can_retry else None
    job.open()  # Again, if that has failed.
    log.figures.update({"assets": report.total, **report.numbers})
    report = round.report + report
    if rest and not job.halt:
        following = round.following(rest, at_once=isinstance(report.cause, OutOfTime))
        if _hand_over(following, settings=settings, job=job):
            sentence = f"{report.sentence()} The removal continues in the background."
            job.update(report.finished, report.total, message=sentence)
            return f"OK: {sentence}", None
    if not job.close(report):  # A round without a selection tries that again.
        action = round.action._replace(selection=Selection())
        following = round.following(round._replace(action=action, report=report), at_once=False)
        _hand_over(following, settings=settings, job=job)
    # After an error, the queue would deliver the round again.
    return report.answer(), report.cause if round.is_click else None


def _remove_assets(
    iconik: Iconik, round: Round, *, settings: Settings, job: Job
) -> tuple[Report, Round | None]:
    """Remove assets until the time is up or an editor halts the removal.

    Returns:
        The report on this round, and what is left of it, unless another round is of no use.
    """
    if not round.action.selection.counts():
        return Report(job.storage_name), None
    clicked = None
    if not round.is_click:
        clicked, iconik.rest.share = round.clicked, SHARE_OF_QUEUE
    removal = Removal(iconik, settings, clicked, round.awaited)
    job.storage_name = name = removal.storages.storage.name
    with ThreadPoolExecutor(1) as beside:
        beside.submit(job.open)
        found = find_assets(iconik, round.action.selection)
        outcomes = _remove_each(removal, round, titles=found.assets, job=job)
    for outcome in outcomes:
        outcome.write_log(job.log)
    numbers = {"unknown": len(found.unknown), "missing": found.missing}
    report = Report.of(outcomes, name, reference=job.log.reference, **numbers)
    done = [each for each in outcomes if each.is_done]
    is_hopeless = not settings.task_queue or isinstance(report.cause, AdministratorError)
    if is_hopeless or len(done) == len(outcomes):
        return report, None
    rest = rest_of(round, outcomes)
    if rest.after:  # The next round reads the collections and saved searches again.
        numbers = {}
    finished = Report.of(done, name, reference=job.log.reference, **numbers)
    storage_id = removal.storages.storage.id
    return report, rest._replace(storage_id=storage_id, report=round.report + finished)


def _remove_each(
    removal: Removal, round: Round, *, titles: Mapping[str, str | None], job: Job
) -> list[Outcome]:
    """Remove assets side by side, whose titles are given by their ids."""
    iconik, settings, named = removal.iconik, removal.settings, round.action.selection.assets
    others = titles.keys() - {*named}
    if settings.task_queue:
        order = [*named, *sorted(id for id in others if id > round.after)]
        begin = {*order[: round.places(len(order))]}
    else:  # A repeat must not spend all its time on the assets that are gone.
        order = random.sample([*named, *others], len(titles))
        begin = {*order}
    if settings.task_queue and len(order) > SMALL:
        iconik.rest.share = SHARE_OF_QUEUE
    seconds = SHARE_OF_TIME * iconik.deadline.remaining()
    end = Deadline(seconds if round.is_click else min(TURN, seconds), iconik.now)
    is_in_vain = Event()
    total, finished = round.report.total + len(order), itertools.count(round.report.total + 1)

    def remove_one(asset_id: str) -> Outcome:
        if job.halt or is_in_vain.is_set():
            return Outcome(asset_id, End.LEFT)
        if end.is_over or asset_id not in begin:
            return Outcome(asset_id, End.LEFT, error=OutOfTime(TIME_IS_UP))
        try:
            outcome = remove_asset(removal, asset_id, titles[asset_id])
        except AdministratorError as error:
            is_in_vain.set()  # Every other asset would fail in the same way.
            outcome = Outcome(asset_id, End.FAILED, error=error)
        if outcome.end is not End.LEFT:
            job.show(next(finished), total)
        if outcome.end is End.ABSENT and (asset_id in round.touched or round.retries):
            return outcome._replace(end=End.REMOVED, reasons=())  # By an earlier delivery.
        return outcome

    outcomes = side_by_side(remove_one, order, int(PLACES * iconik.rest.share))
    if settings.archive_before_remove:
        outcomes = request_copies(iconik, outcomes, removal.storages)
    return outcomes


def _hand_over(following: Round, *, settings: Settings, job: Job) -> bool:
    """Hand the next round over to the queue, if there is one, and return whether that worked.

    The queue accepts a name once. So if a round is delivered twice, the next one is not.
    """
    seconds = following.clicked + LONGEST_WAIT - time.time()
    if not settings.task_queue or seconds <= 0:
        return False
    # The next rounds keep to the storage and the formats of the click, whatever is deployed then.
    formats = ",".join(settings.format_names)
    storage = following.storage_id or settings.storage_name
    query = urlencode({"storage": storage, "format": formats})
    try:
        hand_over(
            settings,
            path=f"/{following.action.name}?{query}",
            name=f"{following.click_id}-{following.number}",
            body=write_task(following._replace(job_id=job.id)),
            delay=min(following.pause, seconds),
        )
    except QueueUnavailable as error:
        if following.number > 1 and following.retries < MAX_RETRIES:
            raise
        job.log.write("WARNING", str(error))
        return False
    return True
