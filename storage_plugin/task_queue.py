"""Cloud Tasks: handing over the rest of a removal, and recognizing its delivery.

https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

import functools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from storage_plugin.errors import CallerError, QueueUnavailable
from storage_plugin.removal.report import Report
from storage_plugin.secret_manager import GoogleError, call_google, google_credentials
from storage_plugin.settings import Settings
from storage_plugin.webhook import Action, is_uuid, read_object

MAX_IDS = 19_000
"""The most ids in a task. They take 741 kB, and neither Cloud Tasks nor the function takes 1 MB."""

DISPATCH_DEADLINE = 1800
"""Seconds that Cloud Tasks waits for an answer, the longest time that it allows."""

MAX_TOKEN = 4096
"""The longest token that is verified, in bytes."""

CERTIFICATES_TIMEOUT = 3.0
"""Seconds to connect to the server with Google's certificates, and to read from it."""

CLOCK_SKEW = 10
"""Seconds by which the clocks of this machine and Google may differ."""


class Round(NamedTuple):
    """One round of a removal: the click, or one delivery of the queue.

    Attributes:
        click_id: names the click.
        clicked: the time of the click, in seconds since 1970.
        selected: the type and the id of the first object that was selected.
        number: 0 for the click, 1 for the first delivery, and so on.
        pauses: the number of pauses before the round. Each pause is longer than the one before.
        overrides: the settings of the click that do not follow a new deployment, by the name of
            their query parameter.
        job_id: the id of the job in iconik, or None if it is not known.
        after: in collections and saved searches, only assets with ids after this are left.
        touched: assets that are left, but have lost files in an earlier round, or may have.
        awaited: assets whose copies to the masters' storage were requested in an earlier round.
        report: what became of the assets that are done.
        retries: the number of earlier deliveries of this round.
    """

    click_id: str
    clicked: float
    selected: Sequence[str]
    number: int = 0
    pauses: int = 0
    overrides: Mapping[str, str] = {}
    job_id: str | None = None
    after: str = ""
    touched: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()
    report: Report = Report("")
    retries: int = 0


def hand_over(settings: Settings, action: Action, round: Round, *, delay: float) -> None:
    """Have the queue deliver a round of a removal until the answer is a success.

    The round names the task, and the queue accepts a name once. So if two deliveries of one round
    hand over the next one, it is delivered once.

    Args:
        settings: the settings with the queue, its account and the function's URL.
        action: the click, with what is left of its selection.
        round: the round.
        delay: seconds until the first delivery.

    Raises:
        QueueUnavailable: the queue did not accept the round.
    """

    def create(seconds: float) -> None:
        from google.cloud import tasks_v2
        from google.protobuf.duration_pb2 import Duration
        from google.protobuf.timestamp_pb2 import Timestamp

        task = tasks_v2.Task(
            name=f"{settings.task_queue}/tasks/{round.click_id}-{round.number}",
            http_request=tasks_v2.HttpRequest(
                http_method=tasks_v2.HttpMethod.POST,
                url=f"{settings.function_url}/{action.name}",
                headers={"Content-Type": "application/json"},
                body=write_task(action, round),
                oidc_token=tasks_v2.OidcToken(
                    service_account_email=settings.task_service_account,
                    audience=settings.function_url,
                ),
            ),
            schedule_time=Timestamp(seconds=int(time.time() + delay)) if delay else None,
            dispatch_deadline=Duration(seconds=DISPATCH_DEADLINE),
        )
        credentials, _ = google_credentials()
        with tasks_v2.CloudTasksClient(credentials=credentials) as client:
            client.create_task(
                parent=str(settings.task_queue), task=task, timeout=seconds, retry=None
            )

    try:
        call_google(create)
    except GoogleError as error:
        if str(error) != "ALREADY_EXISTS":
            raise QueueUnavailable(
                f"The queue did not accept the action ({error}): try again, or check TASK_QUEUE "
                "and the roles of the function's account."
            ) from None


def write_task(action: Action, round: Round) -> bytes:
    """Return the body of a task: a custom action's payload, and the round."""
    payload = {
        "asset_ids": action.selection.assets,
        "collection_ids": action.selection.collections,
        "saved_search_ids": action.selection.saved_searches,
        "user_id": action.user_id,
        "round": {
            **round._asdict(),
            "touched": sorted(round.touched),
            "awaited": sorted(round.awaited),
            "report": round.report.to_json(),
        },
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def read_round(headers: Mapping[str, str], body: bytes) -> Round:
    """Read the round in a task. Call this only for a delivery that was verified.

    https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler

    Raises:
        CallerError: another version of the plugin wrote the task.
    """
    try:
        value: Any = read_object(body)["round"]
        value |= {name: frozenset(value[name]) for name in ("touched", "awaited")}
        value["report"] = Report.from_json(value["report"])
        value["retries"] = int(headers.get("X-CloudTasks-TaskRetryCount", "0"))
        round = Round(**value)
    except (KeyError, TypeError, ValueError):
        round = None
    if round is None or not (round.job_id is None or is_uuid(round.job_id)):
        raise CallerError("Another version of the plugin wrote the task.")
    return round

def is_delivery(authorization: str, environ: Mapping[str, str]) -> bool:
    """Whether the queue sent a request, with an OIDC token that Google signed for it.

    https://cloud.google.com/run/docs/authenticating/service-to-service

    Args:
        authorization: the request's `Authorization` header.
        environ: the environment with the queue, its account and the function's URL, which is the
            token's audience.

    Raises:
        QueueUnavailable: Google's certificates cannot be read.
    """
    scheme, _, token = authorization.partition(" ")
    account = environ.get("TASK_SERVICE_ACCOUNT")
    audience = environ.get("FUNCTION_URL", "").rstrip("/")
    is_configured = environ.get("TASK_QUEUE") and account and audience
    if scheme != "Bearer" or len(token) > MAX_TOKEN or not is_configured:
        return False
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request
    from google.oauth2.id_token import verify_oauth2_token

    def is_ours(claims: Any) -> bool:
        given = (claims["aud"], claims["email"], claims["email_verified"])
        return given == (audience, account, True)

    try:
        # Other tokens are refused before any certificates are fetched.
        if not is_ours(jwt.decode(token, verify=False)):
            return False
        request = functools.partial(Request(), timeout=CERTIFICATES_TIMEOUT)
        return is_ours(
            verify_oauth2_token(token, request, audience=audience, clock_skew_in_seconds=CLOCK_SKEW)
        )
    except TransportError:
        raise QueueUnavailable("Google's certificates cannot be read: try again.") from None
    except (GoogleAuthError, ValueError, KeyError, TypeError, RecursionError):
        return False
