"""The Cloud Function that iconik's custom actions call: let in, read, act, answer."""

import os
import time

import flask
import functions_framework

from storage_plugin import errors, transfers, webhook
from storage_plugin.iconik import Iconik, new_session
from storage_plugin.logs import Log
from storage_plugin.secret_manager import Secret, SecretManager
from storage_plugin.settings import Settings, read_query

# Shared by an instance's requests, which run side by side.
secret_manager = SecretManager()
shared_secret = Secret("bz-shared-secret", "BZ_SHARED_SECRET", secret_manager.access)
iconik_token = Secret("iconik-token", "ICONIK_TOKEN", secret_manager.access)
session = new_session()


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
    except errors.PluginError as raised:
        error, answer = raised, " ".join(str(raised).split())

    status = error.status if error else 200
    log.write(
        "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR",
        f"{answer} {error.detail}".rstrip() if error else answer,
        **log.figures,
        status=status,
        duration_ms=round((time.monotonic() - started) * 1000),
    )
    if error:
        response = flask.Response(answer, status, error.headers, mimetype="text/plain")
        flask.abort(status, description=answer, response=response)
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
    raise errors.Unauthorized("The header x-bz-secret must hold the shared secret.")


def act(request: flask.Request, log: Log) -> str:
    """Read a custom action, do what it asks and return the answer."""
    if request.method != "POST":
        raise errors.MethodNotAllowed("A custom action is sent with POST.")
    body = request.stream.read(webhook.MAX_BODY + 1)
    if len(body) > webhook.MAX_BODY:
        raise errors.BodyTooLarge("The body is over 1 MiB: select fewer objects.")
    selection = webhook.selection(body)
    query = read_query(request.args.to_dict(flat=False))
    action = webhook.action(request.path)
    settings = Settings.from_environment(os.environ).override(query)

    log.figures.update(action=action, storage=settings.storage_name, selected=selection.counts())
    iconik = Iconik(session, settings.iconik_url, settings.iconik_id, iconik_token.read)
    try:
        if action == "add":
            log.figures["jobs"] = transfers.add(iconik, selection, settings)
            return "OK"
        removals = transfers.remove(iconik, selection, settings)
    finally:
        log.figures["iconik_calls"] = iconik.calls
    return report(removals, settings, log)


def report(removals: list[transfers.Removal], settings: Settings, log: Log) -> str:
    """Log each asset that was kept or failed, and return the answer to a removal.

    Raises:
        IconikError: some failed.
    """
    kept = {removal.object_id: "; ".join(removal.kept) for removal in removals if removal.kept}
    failed = {removal.object_id: removal.failure for removal in removals if removal.failure}
    for object_id, reason in kept.items():
        log.write("WARNING", f"Kept {object_id}: {reason}.", kept=object_id)
    for object_id, reason in failed.items():
        log.write("ERROR", f"Failed {object_id}: {reason}", failed=object_id)
    removed = sum(removal.removed for removal in removals)
    log.figures.update(
        assets=len(removals), file_sets_removed=removed, kept=len(kept), failed=len(failed)
    )
    if failed:
        raise errors.IconikError(
            f"{len(failed)} of {len(removals)} assets failed, the rest is done; the same action "
            f"can be repeated. {excerpt(failed)}"
        )
    if kept:
        where = f"{len(kept)} of {len(removals)} assets stayed on {settings.storage_name}"
        return f"OK: {where}. {excerpt(kept)}"
    return "OK"


def excerpt(reasons: dict[str, str], most: int = 3) -> str:
    """Return the first few objects and their reasons in a sentence."""
    shown = [f"{object_id}: {reason.rstrip('.')}" for object_id, reason in reasons.items()][:most]
    if len(reasons) > most:
        shown.append(f"{len(reasons) - most} more are in the log")
    return f"{'; '.join(shown)}."
