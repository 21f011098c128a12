"""The Cloud Function that iconik's custom actions call: let in, read, act, answer."""

import functools
import os
import time
from collections.abc import Iterable
from typing import Any

import flask
import functions_framework

from storage_plugin import background, task_queue, transfers, webhook
from storage_plugin.background.queue import TaskQueue
from storage_plugin.background.run import Run
from storage_plugin.background.task import Task, read_task
from storage_plugin.errors import CallerError, Fault, PluginError
from storage_plugin.logs import Log, greeting
from storage_plugin.pace import Deadline, Pace
from storage_plugin.plan import make_plan
from storage_plugin.rest import Rest
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET, Secret, SecretManager
from storage_plugin.settings import Settings, read_query
from storage_plugin.webhook import Action
from storage_plugin.wire import new_session

# An instance's requests run in parallel, and share these objects.
secret_manager = SecretManager()
warn = functools.partial(Log().write, "WARNING")
shared_secret = Secret(*SHARED_SECRET, access=secret_manager.access, warn=warn)
iconik_token = Secret(*ICONIK_TOKEN, access=secret_manager.access, warn=warn)
session = new_session()
pace = Pace()
queue = TaskQueue()

Log().write("INFO", greeting(os.environ))


@functions_framework.http
def iconik_handler(request: flask.Request) -> flask.Response:
    """Serve one custom action.

    Returns:
        200 and `OK` if everything is done, or `OK: ` and a sentence if something stayed; otherwise,
        another status and one line that says what went wrong and what to do.
    """
    started = time.monotonic()
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    log = Log(request.headers.get("X-Cloud-Trace-Context", ""), project)
    error: PluginError | None = None
    status, is_delivery, body = 200, False, None
    try:
        is_delivery = let_in(request)
        body = read_body(request)
        action = webhook.read_action(request.path, request.args.to_dict(flat=False), body)
        task = read_task(request.headers, body, action) if is_delivery else None
        answer = act(action, task, log)
    except PluginError as raised:
        error, answer, status = raised, str(raised), raised.status
        if is_delivery and not isinstance(raised, background.Concluded):
            status = 503  # The queue repeats a task unless the answer is 200.
    except Exception as raised:  # noqa: BLE001 - The framework would log it as many entries.
        error = Fault(raised)
        answer, status = str(error), error.status

    # One line that can be encoded, whatever characters iconik's names contain.
    answer = " ".join(answer.encode(errors="replace").decode().split())
    log.figures["duration_ms"] = round((time.monotonic() - started) * 1000)
    log.write_answer(answer, status, error=error)
    headers = error.headers if error else None
    # A streamed answer, because the framework reads the whole body of a request before any other.
    kind = LastResponse if body is None else flask.Response
    response = kind(iter([answer]), status, headers, mimetype="text/plain")
    response.content_length = len(answer.encode())
    return response


class LastResponse(flask.Response):
    """The last response on a connection, because the rest of the request's body is not read."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve the response. gunicorn replaces the header Connection, but has a method for it."""
        server: Any = getattr(start_response, "__self__", None)
        if hasattr(server, "force_close"):
            server.force_close()
        return super().__call__(environ, start_response)


def let_in(request: flask.Request) -> bool:
    """Verify the shared secret or the queue's token, before reading anything else.

    Returns:
        Whether the plugin's own queue sent the request.

    Raises:
        CallerError: the request has neither.
        SecretUnavailable, QueueUnavailable: the request cannot be verified.
    """
    given = request.headers.get(webhook.SECRET_HEADER)
    if given and webhook.is_authentic(given, shared_secret.read()):
        return False
    # The secret may have been rotated.
    if given and webhook.is_authentic(given, shared_secret.read(max_age=0)):
        return False
    if task_queue.is_delivery(request.headers.get("Authorization", ""), os.environ):
        return True
    header = webhook.SECRET_HEADER
    raise CallerError(
        f"The header {header} must hold the shared secret.",
        status=401,
        headers={"WWW-Authenticate": header},
    )


def read_body(request: flask.Request) -> bytes:
    """Return the body of a POST."""
    if request.method != "POST":
        raise CallerError(
            "A custom action is sent with POST.", status=405, headers={"Allow": "POST"}
        )
    try:
        body = request.stream.read(webhook.MAX_BODY + 1)
    except Exception:  # noqa: BLE001 - Each server raises its own error, which may quote the body.
        raise CallerError("The body cannot be read completely.") from None
    if len(body) > webhook.MAX_BODY:
        raise CallerError("The body is over 1 MiB: select fewer objects.", status=413)
    return body


def act(action: Action, task: Task | None, log: Log) -> str:
    """Carry out an action, now or through the queue, and return the answer."""
    query = read_query(action.overrides)
    settings = Settings.from_environment(os.environ).override(query)
    log.figures.update(
        action=action.name, storage=settings.storage_name, selected=action.selection.counts()
    )
    deadline = Deadline.of_work(settings.timeout)
    rest = Rest(session, settings, read_token=iconik_token.read, pace=pace, deadline=deadline)
    run = Run(action, settings, rest, queue, log)
    try:
        if task:
            return background.resume(run, task)
        if settings.task_queue:
            return background.defer(run)
        if action.name == "remove":
            return background.remove(run)
        return add(run)
    finally:
        log.figures["iconik_calls"] = rest.calls


def add(run: Run) -> str:
    """Have the selection copied, and return the answer; notify the editor if that fails."""
    try:
        plan = make_plan(run.iconik(), run.settings)
        run.log.figures["jobs"] = transfers.add(run.iconik(), run.action.selection, plan)
    except PluginError as error:
        background.report_failure(run, error)
        raise
    return "OK"
