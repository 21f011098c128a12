"""The Cloud Function that iconik's custom actions call: let in, read, act, answer."""

import functools
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn
from urllib.parse import urlencode

import flask
import functions_framework
from werkzeug.exceptions import InternalServerError

from storage_plugin import progress, transfers, webhook
from storage_plugin.archive import Archive
from storage_plugin.errors import (
    BodyTooLarge,
    CallerError,
    MethodNotAllowed,
    PluginError,
    QueueUnavailable,
    Unauthorized,
)
from storage_plugin.iconik import Iconik
from storage_plugin.logs import Log
from storage_plugin.pace import Deadline, Pace
from storage_plugin.progress import Job
from storage_plugin.rest import Rest, new_session
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET, Secret, SecretManager
from storage_plugin.settings import Settings, read_query
from storage_plugin.task_queue import Delivery, TaskQueue, read_delivery
from storage_plugin.transfers import Removal
from storage_plugin.webhook import Selection

# Shared by an instance's requests, which run side by side.
secret_manager = SecretManager()
shared_secret = Secret(*SHARED_SECRET, secret_manager.access)
iconik_token = Secret(*ICONIK_TOKEN, secret_manager.access)
session = new_session()
pace = Pace()
task_queue = TaskQueue()


@functions_framework.http
def iconik_handler(request: flask.Request) -> str:
    """Serve one custom action.

    Returns:
        `OK` where all that was asked is done, `OK: ` and a sentence where something was left alone.

    Raises:
        werkzeug.exceptions.HTTPException: what went wrong and what to do, in one line.
    """
    started = time.monotonic()
    log = Log(request.headers.get("X-Cloud-Trace-Context", ""), os.getenv("GOOGLE_CLOUD_PROJECT"))
    error, delivery, status = None, None, 200
    try:
        delivery = let_in(request)
        answer = act(request, log, delivery)
    except PluginError as raised:
        error, answer, status = raised, str(raised), raised.status
        if delivery:  # The queue repeats what is not answered with 200.
            status = 200 if raised.is_final else 503

    # One line that can be encoded, whatever iconik's names hold.
    answer = " ".join(answer.encode(errors="replace").decode().split())
    detail = f" {error.detail}" if error and error.detail else ""
    log.write(
        "INFO" if not error else "WARNING" if error.status < 500 else "ERROR",
        f"{log.figures.get('action', 'request')} {status}: {answer}{detail}",
        **log.figures,
        status=status,
        duration_ms=round((time.monotonic() - started) * 1000),
    )
    if error and status != 200:
        refuse(error, status, answer)
    return answer


def let_in(request: flask.Request) -> Delivery | None:
    """Verify the shared secret, or the queue's token, before anything else is looked at.

    Returns:
        What the queue says of its delivery, if it is the queue.

    Raises:
        Unauthorized: the request holds neither.
        SecretUnavailable, QueueUnavailable: it cannot be verified.
    """
    given = request.headers.get("x-bz-secret")
    if given and webhook.is_authentic(given, shared_secret.read()):
        return None
    # It may have been rotated; but a flood of wrong secrets must cost nothing.
    if given and webhook.is_authentic(given, shared_secret.read(max_age=0, pause=10)):
        return None
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    account, url = os.getenv("TASK_SERVICE_ACCOUNT"), os.getenv("FUNCTION_URL")
    is_possible = scheme == "Bearer" and os.getenv("TASK_QUEUE")
    if is_possible and account and url and task_queue.is_sender(token, account, url.rstrip("/")):
        header = request.headers.get
        return read_delivery(
            header("X-CloudTasks-TaskName", ""), header("X-CloudTasks-TaskRetryCount", "0")
        )
    raise Unauthorized("The header x-bz-secret must hold the shared secret.")


def act(request: flask.Request, log: Log, delivery: Delivery | None) -> str:
    """Read a custom action, do what it asks or hand it to the queue, and return the answer."""
    selection = read_payload(request)
    if not delivery:
        selection = replace(selection, job_id=None, wait=None)
    query = read_query(request.args.to_dict(flat=False))
    action = webhook.read_action(request.path)
    settings = Settings.from_environment(os.environ).override(query)
    log.figures.update(action=action, storage=settings.storage_name, selected=selection.counts())
    connect = functools.partial(
        Rest, session, settings.iconik_url, settings.iconik_id, iconik_token.read
    )
    # The last seconds are for telling the editor, who must not wait for the work's pauses either:
    # the news are few. But they must not hold the work up, so they are given little patience.
    deadline = Deadline(settings.timeout - min(6.0, 0.1 * settings.timeout))
    rest = connect(pace, deadline)
    news = connect(Pace(), Deadline(settings.timeout), attempts=2, read=3.0, is_vital=False)
    job = Job(Iconik(news), selection, settings.storage_name, log, delivery)
    send = functools.partial(
        task_queue.hand_over,
        str(settings.task_queue),
        settings.task_service_account,
        settings.function_url,
        f"/{action}?{urlencode(query)}",
    )
    try:
        if settings.task_queue and not delivery:
            log.figures["queue"] = "handed over"
            return hand_over(send, selection, job if action == "remove" else None)
        if action == "add":
            log.figures["jobs"] = transfers.add(Iconik(rest), selection, settings)
            return "OK"
        if job.is_over():
            return "OK"
        with job:
            removals = transfers.remove(Iconik(rest), selection, settings, deadline, job.progress)
            progress.write_log(removals, log)
            end = progress.outcome(removals, settings.storage_name, job.progress)
            archive = job.progress.archive
            if delivery and archive and end.waiting and not job.will_repeat(end):
                end = come_back(send, delivery, selection, archive, job, removals, end, log)
            job.end = end
        answer = progress.answer(job.end)
        if delivery and not job.is_told:
            raise QueueUnavailable(
                "The job in iconik does not tell the end yet: the queue repeats."
            )
        return answer
    except PluginError as error:
        error.is_final = job.is_told or (action == "add" and not error.can_retry)
        raise
    finally:
        log.figures["iconik_calls"] = rest.calls + news.calls


def read_payload(request: flask.Request) -> Selection:
    """Read what a POST selects."""
    if request.method != "POST":
        raise MethodNotAllowed("A custom action is sent with POST.")
    try:
        body = request.stream.read(webhook.MAX_BODY + 1)
    except Exception:  # noqa: BLE001 - Each server has its own, with the body's words in it.
        raise CallerError("The body cannot be read to its end.") from None
    if len(body) > webhook.MAX_BODY:
        raise BodyTooLarge("The body is over 1 MiB: select fewer objects.")
    return webhook.read_selection(body)


def hand_over(send: Callable[..., None], selection: Selection, job: Job | None) -> str:
    """Hand an action to the queue and return the answer; its job, if any, shows at once."""
    if job:
        job.open()
        selection = replace(selection, job_id=job.id)
    try:
        send(selection.body())
    except PluginError as error:
        if job:
            job.close(progress.Outcome("FAILED", str(error)))
        raise
    return "OK"


def come_back(
    send: Callable[..., None],
    delivery: Delivery,
    selection: Selection,
    archive: Archive,
    job: Job,
    removals: Sequence[Removal],
    end: progress.Outcome,
    log: Log,
) -> progress.Outcome:
    """Let the queue come back for all that is left, and return what the job tells meanwhile.

    If it never will, the end is what it would be without a queue.
    """
    left: defaultdict[str, list[str]] = defaultdict(list)
    for removal in removals:
        if removal.stays or removal.error:
            left[removal.object_type].append(removal.object_id)
    total = job.progress.total or 0
    wait, pause = archive.next_wait(total - len(left["assets"]))
    following = replace(
        selection,
        assets=tuple(left["assets"]),
        collections=tuple(left["collections"]),
        saved_searches=tuple(left["saved_searches"]),
        job_id=job.id,
        wait=wait,
    )
    # By its name a task that is delivered twice has the queue come back once.
    name = hashlib.sha256(delivery.task.encode()).hexdigest() if delivery.task else ""
    try:
        send(following.body(), name=name, pause=pause)
    except PluginError as error:
        if error.can_retry and not delivery.is_last:
            raise
        log.write("WARNING", f"The queue will not come back for what is left: {error}")
        return end
    job.progress.processed = total - end.waiting
    return progress.Outcome(None, f"{end.waiting} of {total} assets wait for their copies.")


def refuse(error: PluginError, status: int, answer: str) -> NoReturn:
    """Raise the HTTP exception that answers an error with one plain line."""
    response = flask.Response(answer, status, error.headers, mimetype="text/plain")
    if status == 500:
        raise PlainServerError(answer, response)
    flask.abort(status, description=answer, response=response)


class PlainServerError(InternalServerError):
    """A 500 with its own text: by the class's code the framework would put a crash page there."""

    code = None  # type: ignore[assignment]

    def __init__(self, description: str, response: flask.Response) -> None:
        super().__init__(description, response)
        self.code = 500
