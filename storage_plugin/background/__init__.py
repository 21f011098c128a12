"""What outlasts the click: jobs that editors see, work handed to a queue, copies waited for.

The entry point knows three functions of it: a removal is shown as a job, an action is deferred to
the queue, and it is resumed when the queue delivers it.
"""

import hashlib
from collections import defaultdict
from dataclasses import replace

from storage_plugin import transfers
from storage_plugin.background.archive import Archive, Wait
from storage_plugin.background.job import EndNotShown, Job
from storage_plugin.background.queue import Delivery, Task
from storage_plugin.background.run import Run
from storage_plugin.errors import PluginError
from storage_plugin.plan import make_plan
from storage_plugin.report import Report
from storage_plugin.transfers import Progress
from storage_plugin.webhook import Selection


class Concluded(PluginError):
    """A task has failed for good, and the queue must not deliver it again."""

    status = 200  # The queue repeats what is answered with anything else.


def remove(run: Run) -> str:
    """Remove now what is selected, show it as a job meanwhile, and return the answer."""
    job, progress = Job(run), Progress(run.rest.deadline)
    with job.updated(progress, opens=True):
        report, _ = _remove(run, progress, Wait.begin())
    job.close(report)
    return report.answer()


def defer(run: Run) -> str:
    """Hand an action to the queue, and return the answer; the job of a removal shows at once."""
    run.log.figures["queue"] = "handed over"
    job = Job(run) if run.action.name == "remove" else None
    if job:
        job.open()
    try:
        run.queue.hand_over(Task(run.action, job.id if job else None), run.settings)
    except PluginError as error:
        if job:
            job.close(Report(failure=error))
        raise
    return "OK"


def resume(run: Run, delivery: Delivery) -> str:
    """Do what the queue delivers, and return the answer.

    Raises:
        Concluded: it has failed for good.
        PluginError: the queue is to deliver it again.
    """
    try:
        if run.action.name == "remove":
            return _resume_removal(run, delivery)
        plan = make_plan(run.iconik().storages(), run.settings)
        transfers.add(run.iconik(), run.action.selection, plan)
        return "OK"
    except PluginError as error:
        if error.can_retry:
            raise
        raise Concluded(str(error), error.detail) from None


def _resume_removal(run: Run, delivery: Delivery) -> str:
    job = Job(run, delivery.job_id)
    if job.has_ended():
        return "OK"
    wait = delivery.wait or Wait.begin()
    progress = Progress(run.rest.deadline, done_before=wait.done)
    with job.updated(progress, opens=False):
        report, archive = _remove(run, progress, wait)
    if report.can_retry and not delivery.is_last:
        job.say(f"{report.sentence} The queue repeats it.")
        return report.answer()
    if archive and report.waiting and _comes_back(run, delivery, job, archive, report):
        progress.done = report.total - report.waiting
        sentence = f"{report.waiting} of {report.total} assets wait for their copies."
        job.say(sentence)
        return f"OK: {sentence}"
    if not job.close(report):
        raise EndNotShown("The job in iconik does not show the end yet: the queue repeats it.")
    try:
        return report.answer()
    except PluginError as error:  # Even one that a repeat might mend: the job has shown the end.
        raise Concluded(str(error), error.detail) from None


def _remove(run: Run, progress: Progress, wait: Wait) -> tuple[Report, Archive | None]:
    """Remove what is selected, ask for the copies that must come first, and log it all."""
    iconik, archive = run.iconik(), None
    try:
        plan = make_plan(iconik.storages(), run.settings)
        if run.settings.archive_before_remove and plan.master:
            archive = Archive(iconik, storage=plan.storage, master=plan.master, wait=wait)
            report = archive.remove(run.action.selection, plan, progress)
        else:
            report = transfers.remove(iconik, run.action.selection, plan, progress=progress)
    except PluginError as error:
        return Report(failure=error), None
    report.write_log(run.log)
    return report, archive


def _comes_back(run: Run, delivery: Delivery, job: Job, archive: Archive, report: Report) -> bool:
    """Let the queue come back for everything that is left; return whether it will.

    Raises:
        QueueUnavailable: it may take it later.
    """
    left: defaultdict[str, list[str]] = defaultdict(list)
    for removal in report.removals:
        if removal.has_stayed or removal.error:
            left[removal.object_type].append(removal.object_id)
    selection = Selection(**{object_type: tuple(ids) for object_type, ids in left.items()})
    wait, pause = archive.next_wait(report.total - len(left["assets"]))
    # By its name a task that is delivered twice has the queue come back once.
    name = hashlib.sha256(delivery.task.encode()).hexdigest() if delivery.task else ""
    action = replace(run.action, selection=selection)
    try:
        run.queue.hand_over(Task(action, job.id, wait, name, pause), run.settings)
    except PluginError as error:
        if error.can_retry and not delivery.is_last:
            raise
        run.log.write("WARNING", f"The queue will not come back for what is left: {error}")
        return False
    return True
