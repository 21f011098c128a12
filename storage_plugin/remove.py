"""REMOVE: a click, or a delivery of the queue, removes assets and hands over what is left."""

import itertools
import random
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Event
from urllib.parse import urlencode

from storage_plugin import errors
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.pace import PLACES, Deadline
from storage_plugin.job import Job
from storage_plugin.logs import Log
from storage_plugin.removal.archive import request_copies
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import Removal
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.removal.selection import find_assets
from storage_plugin.rounds import MAX_RETRIES, Round, rest_of, write_task
from storage_plugin.settings import Settings
from storage_plugin.task_queue import hand_over

LONGEST_WAIT = 24 * 3600.0  # Seconds from the click to the beginning of the last round.
BEGINNING = 0.8  # The part of the time in which assets begin. They need the rest to end.
TURN = 60.0  # The most seconds in which assets begin in a delivery, so that removals take turns.
SMALL = 20  # The most assets of a removal that is not large.
# The part of iconik's limit and of the threads that a large removal uses, so that others find room.
SHARE = 0.8


def remove(
    iconik: Iconik, editors: Iconik, round: Round, *, settings: Settings, log: Log
) -> tuple[str, errors.PluginError | None]:
    """Carry out one round; return the answer, and the error with which a click has failed.

    The client `editors` has more time, to show the removal. If this function raises an error, the
    queue must deliver the round again.
    """
    job = Job(editors, round, storage_name=settings.storage_name, log=log)
    if job.has_ended():
        return "OK: The removal had already ended.", None
    report, rest = Report(job.storage_name), None
    try:
        if not round.is_over:
            report, rest = _remove_assets(iconik, round, settings=settings, job=job)
    except errors.PluginError as error:
        report = Report.of_error(error, job.storage_name, reference=log.reference)
        rest = round if error.can_retry else None
    job.open()  # Again, if that has failed.
    log.figures.update({"assets": report.total, **report.numbers})
    report = round.report + report
    if rest and not job.halt and _hand_over(round, rest, report.cause, settings=settings, job=job):
        sentence = f"{report.sentence()} The removal continues in the background."
        job.update(rest.report.total, report.total, message=sentence)
        return f"OK: {sentence}", None
    if not job.close(report):  # Another round tries that again.
        ended = round._replace(report=report, is_over=True)
        _hand_over(round, ended, None, settings=settings, job=job)
    # After an error, the queue would deliver the round again.
    return report.answer(), report.cause if round.is_click else None


def _remove_assets(
    iconik: Iconik, round: Round, *, settings: Settings, job: Job
) -> tuple[Report, Round | None]:
    """Return the report on this round, and what is left if another round can do more."""
    with ThreadPoolExecutor(1) as beside:
        beside.submit(job.open)
        found, missing = find_assets(iconik, round.action.selection)
        if settings.task_queue and len(found) > SMALL:
            iconik = Iconik(replace(iconik.rest, share=SHARE))
        clicked = None if round.is_click else round.clicked
        removal = Removal(iconik, settings, clicked, round.awaited)
        storage = removal.storages.storage
        job.storage_name = storage.name
        outcomes = _remove_each(removal, round, found=found, job=job)
    for outcome in outcomes:
        outcome.write_log(job.log)
    if round.after:  # An earlier round has counted what is missing.
        missing = 0
    report_on = partial(Report.of, name=storage.name, reference=job.log.reference, missing=missing)
    report, done = report_on(outcomes), [each for each in outcomes if each.is_done]
    if len(done) == len(outcomes) or isinstance(report.cause, errors.AdministratorError):
        return report, None
    finished = round.report + report_on(done)
    return report, rest_of(round, outcomes)._replace(storage_id=storage.id, report=finished)


def _remove_each(
    removal: Removal, round: Round, *, found: Collection[str], job: Job
) -> list[Outcome]:
    """Remove, side by side, the assets that were found."""
    iconik, named = removal.iconik, round.action.selection.assets
    order = [*named, *sorted(id for id in {*found} - {*named} if id > round.after)]
    if not removal.settings.task_queue:
        random.shuffle(order)  # A repeat must not spend all its time on the assets that are gone.
    seconds = BEGINNING * iconik.deadline.remaining()
    begins = Deadline(seconds if round.is_click else min(TURN, seconds), iconik.now)
    would_all_fail = Event()
    total, finished = round.report.total + len(order), itertools.count(round.report.total + 1)

    def remove_one(asset_id: str) -> Outcome:
        if job.halt or would_all_fail.is_set():
            return Outcome(asset_id, End.LEFT)
        outcome = remove_asset(removal, asset_id, begins)
        if isinstance(outcome.error, errors.AdministratorError):
            would_all_fail.set()  # Every other asset would fail in the same way.
        if outcome.end is not End.LEFT:
            job.show(next(finished), total)
        if outcome.end is End.ABSENT and round.retries:
            return outcome._replace(end=End.REMOVED, reasons=())  # By an earlier delivery.
        return outcome

    outcomes = side_by_side(remove_one, order, int(PLACES * iconik.rest.share))
    return request_copies(removal, outcomes)


def _hand_over(
    round: Round, rest: Round, cause: errors.PluginError | None, *, settings: Settings, job: Job
) -> bool:
    """Hand over what is left to the queue, if there is one, and return whether that worked."""
    seconds = round.clicked + LONGEST_WAIT - time.time()
    if not settings.task_queue or seconds <= 0:
        return False
    following = round.following(rest, at_once=isinstance(cause, errors.OutOfTime))
    # The next rounds keep to the storage and the formats of the click, whatever is deployed then.
    storage = rest.storage_id or settings.storage_name
    query = urlencode({"storage": storage, "format": ",".join(settings.format_names)})
    try:
        hand_over(
            settings,
            path=f"/{round.action.name}?{query}",
            name=f"{round.click_id}-{following.number}",  # Once, even if this round comes twice.
            body=write_task(following._replace(job_id=job.id)),
            delay=min(following.pause, seconds),
        )
    except errors.QueueUnavailable as error:
        if not round.is_click and round.retries < MAX_RETRIES:
            raise
        job.log.write("WARNING", str(error))
        return False
    return True
