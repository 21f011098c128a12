"""The Cloud Function that iconik's custom actions call: let in, read, act, answer."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import flask
import functions_framework

from storage_plugin import task_queue, webhook
from storage_plugin.add import add
from storage_plugin.errors import CallerError, Fault, PluginError
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest, new_session
from storage_plugin.logs import Log, greeting
from storage_plugin.remove import remove
from storage_plugin.rounds import Round, first_round, read_task
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET, Secret
from storage_plugin.settings import Settings, read_query

CLICK = 10.0  # Seconds for which iconik waits for the answer to a click, approximately.

# An instance's requests run in parallel, and share these objects.
shared_secret, iconik_token = Secret(*SHARED_SECRET), Secret(*ICONIK_TOKEN)
session = new_session()
pace = Pace()
Log().write("INFO", greeting())


@functions_framework.http
def iconik_handler(request: flask.Request) -> flask.Response:
    """Serve one custom action: answer `OK` and what stayed, or what went wrong and what to do."""
    started, body = time.monotonic(), None
    log = Log(request.headers.get("X-Cloud-Trace-Context", ""))
    try:
        is_delivery = let_in(request)
        body = read_body(request)
        action = webhook.read_action(request.path, request.args.to_dict(flat=False), body)
        round = first_round(action)
        if is_delivery:
            round = read_task(action, body, request.headers.get("X-CloudTasks-TaskRetryCount"))
        answer, error = act(round, log, started=started)
    except Exception as raised:  # noqa: BLE001 - The framework would log it as many entries.
        error = raised if isinstance(raised, PluginError) else Fault(raised)
        answer = str(error)

    # One line that can be encoded, whatever characters iconik's names contain.
    answer = " ".join(answer.encode(errors="replace").decode().split())
    status, headers = (error.status, error.headers) if error else (200, {})
    log.figures["duration_ms"] = int((time.monotonic() - started) * 1000)
    log.write_answer(answer, status, error=error)
    # A streamed answer, because the framework reads the whole body of a request before any other.
    kind = LastResponse if body is None else flask.Response
    response = kind(iter([answer]), status, headers, mimetype="text/plain")
    response.content_length = len(answer.encode())
    return response


class LastResponse(flask.Response):
    """The last response on a connection, because the rest of the request's body is not read."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve the response. gunicorn replaces the header Connection, but has a method for it."""
        with suppress(AttributeError):  # Another server.
            start_response.__self__.force_close()
        return super().__call__(environ, start_response)


def let_in(request: flask.Request) -> bool:
    """Verify the sender before anything else, and return whether the plugin's own queue sent it.

    Raises CallerError if the request has neither the shared secret nor the queue's token, and
    SecretUnavailable or QueueUnavailable if it cannot be verified.
    """
    header = webhook.SECRET_HEADER
    if given := request.headers.get(header):
        if webhook.is_authentic(given, shared_secret.read()):
            return False
        if webhook.is_authentic(given, shared_secret.read(max_age=0)):  # It was rotated.
            return False
    if task_queue.is_delivery(request.headers.get("Authorization", ""), os.environ):
        return True
    message = f"The header {header} must hold the shared secret."
    raise CallerError(message, status=401, headers={"WWW-Authenticate": header})


def read_body(request: flask.Request) -> bytes:
    """Return the body of a POST."""
    if request.method != "POST":
        message = "A custom action is sent with POST."
        raise CallerError(message, status=405, headers={"Allow": "POST"})
    try:
        body = request.stream.read(webhook.MAX_BODY + 1)
    except Exception:  # noqa: BLE001 - Each server raises its own error, which may quote the body.
        raise CallerError("The body cannot be read completely.") from None
    if len(body) > webhook.MAX_BODY:
        size = f"{webhook.MAX_BODY // 1000} kB"
        raise CallerError(f"The body is over {size}: select fewer objects.", status=413)
    return body


def act(round: Round, log: Log, *, started: float) -> tuple[str, PluginError | None]:
    """Carry out a round of an action; return the answer, and the error behind it, if any."""
    action, selected = round.action, round.action.selection.counts()
    settings = Settings.from_environment(os.environ, read_query(action.overrides))
    log.figures.update(action=action.name, storage=settings.storage_name, selected=selected)
    seconds = settings.timeout
    if settings.task_queue and round.is_click:  # The queue delivers what a click leaves.
        seconds = min(seconds, CLICK)
    # The last seconds are for showing the result to the editor, and for the answer.
    margin, left = min(3.0, seconds / 12), started + seconds - time.monotonic()
    work, shown = Deadline(left - 3 * margin), Deadline(left - margin)
    rest = Rest(session, settings, read_token=iconik_token.read, pace=pace, deadline=work)
    iconik, editors = Iconik(rest), Iconik(rest.for_editor(shown))
    try:
        if action.name == "add" and round.is_click:
            log.figures["jobs"] = add(iconik, editors, action, settings=settings, log=log)
            return "OK", None
        if action.name == "remove":
            return remove(iconik, editors, round, settings=settings, log=log)
    finally:
        log.figures["iconik_calls"] = len(rest.sent)
    raise CallerError("Unknown action.", status=404)
