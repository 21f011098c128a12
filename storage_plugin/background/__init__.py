"""Work that outlasts the click: jobs that editors see, a queue, and waiting for copies.

The entry point uses four functions. `remove` shows a removal as a job, `report_failure` shows a
failed Add as a job, `defer` hands an action to the queue, and `resume` does a delivered task.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from storage_plugin import transfers
from storage_plugin.background import overtaken
from storage_plugin.background.archive import MAX_WAIT, Archive
from storage_plugin.background.iconik import ENDED
from storage_plugin.background.job import EndNotShown, Job
from storage_plugin.background.run import Run
from storage_plugin.background.task import Pins, Task
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.plan import Plan, check_removal, make_plan
from storage_plugin.progress import Progress
from storage_plugin.report import NO_ASSETS, Report, count
from storage_plugin.webhook import Selection

PART = 3_000
"""Objects in one task. With three awaited formats each, they take 840 kB of the 1 MB allowed."""

PAUSE = 300
"""Seconds between two looks at a job that an editor paused."""


class Concluded(PluginError):
    """A task failed for good, and the queue must not deliver it again."""

    status = 200  # The queue repeats a task after any other status.


def remove(run: Run) -> str:
    """Remove the selection now, show a job meanwhile, and return the answer."""
    job = Job(run)
    with job.updated():
        report, _ = _remove(run, job.progress)
    job.close(report)
    return report.answer()


def report_failure(run: Run, error: PluginError) -> None:
    """Show a failed Add as a job, and notify the editor."""
    job = Job(run)
    job.open()
    job.close(Report(failure=error))


def defer(run: Run) -> str:
    """Hand an action to the queue, and return the answer. A removal's job appears at once."""
    run.log.figures["queue"] = "handed over"
    job, selections = Job(run), list(_split(run.action.selection.objects()))
    try:
        plan = make_plan(run.iconik(), run.settings)
        if run.action.name == "remove":
            check_removal(plan)
            job.open(parts=len(selections))
        _hand_over(run, Task(run.action, Pins.of(run.settings, plan), job.id), selections)
        job.wait_for_queue()
    except PluginError as error:
        if not job.id:
            job.open()
        job.close(Report(failure=error))
        raise
    return "OK"


def resume(run: Run, task: Task) -> str:
    """Do the task that the queue delivers, and return the answer.

    Raises:
        Concluded: the task failed for good.
        PluginError: the queue must deliver the task again.
    """
    if task.pins:
        run = run._replace(settings=task.pins.applied_to(run.settings))
    try:
        if run.action.name == "remove":
            return _resume_removal(run, task)
        plan = _checked(make_plan(run.iconik(), run.settings), task.pins)
        transfers.add(run.iconik(), run.action.selection, plan)
        return "OK"
    except PluginError as error:
        if error.can_retry and not task.is_last:
            raise
        if run.action.name == "add":
            report_failure(run, error)
        raise Concluded(str(error), error.detail) from None


def _resume_removal(run: Run, task: Task) -> str:
    job = Job(run, task)
    if answer := _answer_at_once(run, task, job):
        return answer
    with job.updated():
        report, archive = _remove(run, job.progress, task)
    if report.can_retry and not task.is_last:
        job.say("Not finished yet. The removal continues automatically.")
        return report.answer()
    following = _come_back(run, task, archive, report)
    if following:
        waiting, total = report.tally.waiting, report.tally.total
        job.progress.done = total - waiting
        verb = "waits for its copy" if waiting == 1 else "wait for their copies"
        sentence = f"{waiting} of {count(total, 'asset')} {verb}."
        job.say(sentence)
        if following == 1:
            return f"OK: {sentence}"
        report = report.finished
    if not job.close(report, split=following):
        raise EndNotShown
    return report.answer()


def _answer_at_once(run: Run, task: Task, job: Job) -> str | None:
    """Return the answer to a removal that must not go on according to its job; None: it may."""
    state = job.state()
    if state.status == "ABORT_PENDING":
        job.abort()
        return "OK: It was aborted."
    if state.status in ENDED:
        return "OK: It had already ended."
    if job.shows_part:
        if not job.close_parts():  # An earlier delivery may have been unable to end the job.
            raise EndNotShown
        return "OK: It had already ended."
    if state.status == "PAUSED" and task.pins:
        if time.time() > task.pins.clicked + MAX_WAIT:
            job.abort("Paused for too long")
            return "OK: It was paused for too long."
        _hand_over(run, task._replace(pause=PAUSE), [run.action.selection])
        return "OK: It is paused."
    return None


def _remove(
    run: Run, progress: Progress, task: Task | None = None
) -> tuple[Report, Archive | None]:
    """Remove the selection, request the copies that must come first, and log the results."""
    iconik, archive = run.iconik(), None
    try:
        plan = make_plan(iconik, run.settings)
        if task:
            plan = _checked(plan, task.pins)
        if run.settings.archive_before_remove and plan.master:
            archive = Archive(iconik, plan, task or Task(run.action))
        report = transfers.remove(
            iconik,
            run.action.selection,
            plan,
            progress=progress,
            archive=archive.explain if archive else None,
            guard=overtaken.guard(iconik, plan, task) if task else None,
        )
        if archive:
            archive.request(report.removals, lambda: not progress.halt)
    except PluginError as error:
        return Report(failure=error), None
    report.write_log(run.log)
    return report, archive


def _checked(plan: Plan, pins: Pins | None) -> Plan:
    if pins is None:
        raise AdministratorError(
            "The action was clicked before the plugin was upgraded: repeat the action."
        )
    return pins.check(plan)


def _come_back(run: Run, task: Task, archive: Archive | None, report: Report) -> int:
    """If something waits for its copy, hand the unfinished assets to the queue again.

    Returns:
        The number of new tasks.

    Raises:
        QueueUnavailable: the queue may accept them later.
    """
    if not archive or not report.tally.waiting:
        return 0
    left = [(each.object_type, each.object_id) for each in report.removals if not each.is_done]
    selections = list(_split(left))
    before = report.finished.tally if len(selections) == 1 else NO_ASSETS
    wait, pause = archive.next_wait(before)
    try:
        _hand_over(run, task._replace(wait=wait, pause=pause), selections)
    except PluginError as error:
        if error.can_retry and not task.is_last:
            raise
        run.log.write("WARNING", f"The queue will not repeat the unfinished assets: {error}")
        return 0
    return len(selections)


def _split(objects: Sequence[tuple[str, str]]) -> Iterator[Selection]:
    """Yield selections that fit into one task each.

    Args:
        objects: the type and the id of each object.
    """
    for start in range(0, len(objects), PART):
        ids = defaultdict(list)
        for kind, id in objects[start : start + PART]:
            ids[kind].append(id)
        yield Selection(**{kind: tuple(some) for kind, some in ids.items()})


def _hand_over(run: Run, task: Task, selections: Sequence[Selection]) -> None:
    """Hand the tasks that follow from one task to the queue, one for each selection."""
    for number, selection in enumerate(selections):
        part = f"{task.part}{number}." if len(selections) > 1 else task.part
        # With a name, a task that is delivered twice causes only one new task.
        name = hashlib.sha256(f"{task.name}/{number}".encode()).hexdigest() if task.name else ""
        action = task.action._replace(selection=selection)
        following = task._replace(action=action, part=part, name=name)
        run.queue.hand_over(following._replace(wait=task.wait.of(selection)), run.settings)
