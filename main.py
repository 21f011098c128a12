"""The Cloud Function that iconik's custom actions call: let in, read, act, answer."""

import functools
import os
import time
from typing import NoReturn

import flask
import functions_framework
from werkzeug.exceptions import InternalServerError

from storage_plugin import progress, transfers, webhook
from storage_plugin.errors import (
    BodyTooLarge,
    CallerError,
    MethodNotAllowed,
    PluginError,
    Unauthorized,
)
from storage_plugin.iconik import Iconik
from storage_plugin.logs import Log
from storage_plugin.pace import Deadline, Pace
from storage_plugin.rest import Rest, new_session
from storage_plugin.secret_manager import Secret, SecretManager
from storage_plugin.settings import Settings, read_query

# Shared by an instance's requests, which run side by side.
secret_manager = SecretManager()
shared_secret = Secret("bz-shared-secret", "BZ_SHARED_SECRET", secret_manager.access)
iconik_token = Secret("iconik-token", "ICONIK_TOKEN", secret_manager.access)
session = new_session()
pace = Pace()


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
    error = None
    try:
        let_in(request)
        answer = act(request, log)
    except PluginError as raised:
        error, answer = raised, str(raised)

    # One line that can be encoded, whatever iconik's names hold.
    answer = " ".join(answer.encode(errors="replace").decode().split())
    status = error.status if error else 200
    detail = f" {error.detail}" if error and error.detail else ""
    log.write(
        "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR",
        f"{log.figures.get('action', 'request')} {status}: {answer}{detail}",
        **log.figures,
        status=status,
        duration_ms=round((time.monotonic() - started) * 1000),
    )
    if error:
        refuse(error, answer)
    return answer


def let_in(request: flask.Request) -> None:
    """Verify the shared secret, before anything else of the request is looked at.

    Raises:
        Unauthorized: the request does not hold it.
        SecretUnavailable: it cannot be read.
    """
    given = request.headers.get("x-bz-secret")
    if given and webhook.is_authentic(given, shared_secret.read()):
        return
    # It may have been rotated; but a flood of wrong secrets must cost nothing.
    if given and webhook.is_authentic(given, shared_secret.read(max_age=10, pause=10)):
        return
    raise Unauthorized("The header x-bz-secret must hold the shared secret.")


def act(request: flask.Request, log: Log) -> str:
    """Read a custom action, do what it asks and return the answer."""
    if request.method != "POST":
        raise MethodNotAllowed("A custom action is sent with POST.")
    try:
        body = request.stream.read(webhook.MAX_BODY + 1)
    except Exception:  # noqa: BLE001 - Each server has its own, with the body's words in it.
        raise CallerError("The body cannot be read to its end.") from None
    if len(body) > webhook.MAX_BODY:
        raise BodyTooLarge("The body is over 1 MiB: select fewer objects.")
    selection = webhook.read_selection(body)
    query = read_query(request.args.to_dict(flat=False))
    action = webhook.read_action(request.path)
    settings = Settings.from_environment(os.environ).override(query)
    log.figures.update(action=action, storage=settings.storage_name, selected=selection.counts())
    connect = functools.partial(
        Rest, session, settings.iconik_url, settings.iconik_id, iconik_token.read, pace
    )
    deadline = Deadline(settings.timeout)
    rest = connect(deadline)
    # What the editor is told of a removal has a time of its own, lest it take the removal's.
    news = connect(Deadline(settings.timeout), attempts=2, read=3.0)
    try:
        if action == "add":
            log.figures["jobs"] = transfers.add(Iconik(rest), selection, settings)
            return "OK"
        with progress.Job(Iconik(news), selection, settings.storage_name, log) as job:
            removals = transfers.remove(Iconik(rest), selection, settings, deadline, job.progress)
            progress.write_log(removals, log)
            job.end = progress.outcome(removals, settings.storage_name, job.progress.is_aborted)
        return progress.answer(job.end)
    finally:
        log.figures["iconik_calls"] = rest.calls + news.calls


def refuse(error: PluginError, answer: str) -> NoReturn:
    """Raise the HTTP exception that answers with an error's status and one plain line."""
    response = flask.Response(answer, error.status, error.headers, mimetype="text/plain")
    if error.status == 500:
        raise PlainServerError(answer, response)
    flask.abort(error.status, description=answer, response=response)


class PlainServerError(InternalServerError):
    """A 500 with its own text: by the class's code the framework would put a crash page there."""

    code = None  # type: ignore[assignment]

    def __init__(self, description: str, response: flask.Response) -> None:
        super().__init__(description, response)
        self.code = 500
