"""Looks whether all that the plugin needs is there, and says what to do where it is not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import requests

from admin.custom_actions import TITLES, secret_of, target
from admin.iconik import AdminIconik, CustomAction
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.background.queue import CALL_TIMEOUT
from storage_plugin.background.task import ATTEMPTS
from storage_plugin.errors import PluginError
from storage_plugin.iconik import Iconik, Storage, roles_of
from storage_plugin.plan import check_removal, find_storage, make_plan
from storage_plugin.secret_manager import Secret
from storage_plugin.settings import ARCHIVE, MASTER, Settings, read_query
from storage_plugin.webhook import SECRET_HEADER
from storage_plugin.wire import new_session

OK, WARNING, FAILURE = "ok", "warning", "failure"


def _roles(*endpoints: Callable[..., object]) -> tuple[str, ...]:
    """Return the roles that some endpoints need, each once."""
    return tuple(dict.fromkeys(role for each in endpoints for role in roles_of(each)))


ROLES = {
    "Both": _roles(Iconik.storages),
    "Add": _roles(Iconik.copy),
    "Remove": _roles(Iconik.file_sets, Iconik.formats, Iconik.files, Iconik.delete_file_set),
    "Remove, with collections": _roles(Iconik.collection_contents),
    "Remove, with saved searches": _roles(Iconik.saved_search_results),
    "Remove, for the editor to see it": _roles(
        BackgroundIconik.create_job, BackgroundIconik.job, BackgroundIconik.asset_title
    ),
    f"Remove, with {ARCHIVE}": _roles(
        BackgroundIconik.transfers, BackgroundIconik.copy, BackgroundIconik.job
    ),
    "Custom actions by command": _roles(
        AdminIconik.custom_actions,
        AdminIconik.create_custom_action,
        AdminIconik.delete_custom_action,
    ),
}
"""The roles that the token's user needs, by what for."""

VITAL = ("Both", "Add", "Remove", f"Remove, with {ARCHIVE}")

PATIENCE = 60.0
"""Seconds to wait for the function, which may have to start first."""


@dataclass(frozen=True)
class Finding:
    """What a check found; `state`: ok, warning or failure."""

    check: str
    state: str
    text: str


class Doctor:
    """Checks everything. What cannot be checked because something else failed is left out.

    Args:
        url: of the function, without a trailing slash; None: as the settings say.
        shared_secret: of the function.
        iconik_token: of the function.
        connect: returns a client of iconik that works with these settings.

    Attributes:
        findings: so far.
    """

    def __init__(
        self,
        url: str | None,
        shared_secret: Secret,
        iconik_token: Secret,
        connect: Callable[[Settings], AdminIconik],
    ) -> None:
        self.findings: list[Finding] = []
        self._url = url
        self._shared_secret = shared_secret
        self._iconik_token = iconik_token
        self._connect = connect

    def examine(self, read: Callable[[], Mapping[str, str]]) -> None:
        """Do all checks.

        Args:
            read: returns the settings' variables.
        """
        settings = None
        with self._check("settings"):
            settings = Settings.from_environment(read())
            self._url = self._url or settings.function_url
            self._tell("settings", OK, f"Complete. iconik is {settings.iconik_url}.")
            if settings.task_queue and settings.function_url != self._url:
                self._tell("settings", WARNING, f"FUNCTION_URL is another than {self._url}.")
        secret, token = self._read(self._shared_secret), self._read(self._iconik_token)
        if settings and token:
            with self._check("iconik"):
                self._iconik(self._connect(settings), settings, secret)
        if self._url:
            self._function(self._url, secret)
        else:
            self._tell("function", WARNING, "Not looked at: give its --url.")
        if settings and settings.task_queue:
            self._tell("queue", *_judge_queue(settings.task_queue))

    def _tell(self, check: str, state: str, text: str) -> None:
        self.findings.append(Finding(check, state, text))

    @contextmanager
    def _check(self, check: str) -> Iterator[None]:
        """Let what is raised be the check's failure."""
        try:
            yield
        except PluginError as error:
            self._tell(check, FAILURE, error.detail or str(error))

    def _read(self, secret: Secret) -> str:
        """Return a secret, an empty one where it cannot be read."""
        value = ""
        with self._check(secret.name):
            value = secret.read()
            self._tell(secret.name, OK, f"Read from {secret.source}.")
        return value

    def _iconik(self, iconik: AdminIconik, settings: Settings, secret: str) -> None:
        user = iconik.current_user()
        self._tell("iconik", OK, f"The token is valid. It acts as {user.name}.")
        if user.is_admin is False:
            self._tell("administrator", WARNING, "That user cannot make custom actions.")
        with self._check("roles"):
            self._roles(iconik.current_roles(), settings)
        with self._check("storages"):
            storages = iconik.storages()
            self._storages(iconik, storages, settings)
            with self._check("custom actions"):
                self._custom_actions(iconik.custom_actions(), storages, secret)

    def _roles(self, roles: Sequence[str], settings: Settings) -> None:
        enough = []
        for purpose, needed in ROLES.items():
            missing = ", ".join(role for role in needed if role not in roles)
            if not missing:
                enough.append(purpose)
            elif ARCHIVE not in purpose or settings.archive_before_remove:
                state = FAILURE if purpose in VITAL else WARNING
                self._tell(f"roles: {purpose}", state, f"The token's user needs {missing}.")
        if enough:
            self._tell("roles", OK, f"Enough for: {'; '.join(enough)}.")

    def _storages(
        self, iconik: AdminIconik, storages: Sequence[Storage], settings: Settings
    ) -> None:
        with self._check("master storage"):
            if settings.master_storage_name:
                master = find_storage(storages, MASTER, settings.master_storage_name)
                self._tell("master storage", *_judge_storage(master))
            else:
                names = ", ".join(str(each.name) for each in storages if each.method == "B2")
                text = f"Set {MASTER}, or all storages of type B2 count: {names or 'none'}."
                self._tell("master storage", WARNING, text)
        with self._check("storage"):
            plan = make_plan(iconik, settings)
            check_removal(plan)
            self._tell("storage", *_judge_storage(plan.storage))
            can_delete = iconik.can_delete_on(plan.storage.id)
            text = {
                True: "iconik may delete there.",
                False: f"Enable Delete in iconik's settings of {plan.storage.name}.",
                None: "iconik does not tell: see that its settings have Delete.",
            }[can_delete]
            self._tell("deletion", FAILURE if can_delete is False else OK, text)

    def _custom_actions(
        self, actions: Sequence[CustomAction], storages: Sequence[Storage], secret: str
    ) -> None:
        missing = set(TITLES)
        for action in actions:
            url, verb = target(action)
            check = f"{action.title} ({action.context})"
            if url == self._url if self._url else url and secret_of(action):
                missing.discard(verb)
                with self._check(check):
                    self._tell(check, *_judge_action(action, storages, secret))
            elif url and secret_of(action) == secret:
                self._tell(check, WARNING, f"It calls {url}, not this function.")
        if missing:
            remedy = f"python -m admin actions create --url {self._url or 'URL'}"
            text = f"None is there to {' or to '.join(sorted(missing))}: {remedy}"
            self._tell("custom actions", FAILURE, text)

    def _function(self, url: str, secret: str) -> None:
        """Ask the function as a stranger, and as one who knows the secret if that is the plugin."""
        session = new_session()
        # Nothing of the answers' bodies is read: they may be of anybody's.
        options: Any = {"timeout": PATIENCE, "allow_redirects": False, "stream": True}
        try:
            answer = session.post(f"{url}/remove", **options)
            is_plugin = (answer.status_code, answer.headers.get("WWW-Authenticate")) == (
                401,
                SECRET_HEADER,
            )
            self._tell("function", *_judge_function(url, answer.status_code, is_plugin))
            if is_plugin and secret:
                answer = session.get(url, headers={SECRET_HEADER: secret.encode()}, **options)
                self._tell("deployed secret", *_judge_secret(answer.status_code))
        except (requests.RequestException, ValueError) as error:
            text = f"{url} cannot be asked ({type(error).__name__}): is it right?"
            self._tell("function", FAILURE, text)


def _judge_storage(storage: Storage) -> tuple[str, str]:
    text = f"{storage.name} is {storage.status}, of type {storage.method}."
    if storage.status == "ACTIVE":
        return OK, text
    return FAILURE, f"{text} See iconik's settings of it, and whether its gateway runs."


def _judge_action(
    action: CustomAction, storages: Sequence[Storage], secret: str
) -> tuple[str, str]:
    query = read_query(parse_qs(action.url.partition("?")[2], keep_blank_values=True))
    if "storage" in query:
        find_storage(storages, "Its URL", query["storage"])
    if action.type != "POST":
        return FAILURE, f"Its type is {action.type}, it must be POST: run `actions create` again."
    if secret and secret_of(action) != secret:
        return (
            FAILURE,
            f"Its header {SECRET_HEADER} holds another secret: run `actions create` again.",
        )
    if action.is_disabled:
        return WARNING, "It is disabled in iconik: enable it there if it is wanted."
    if action.status == "FAILING":
        return WARNING, f"It failed last time, see the function's log: {action.last_error}"
    return OK, f"It calls {action.url}."


def _judge_function(url: str, status: int, is_plugin: bool) -> tuple[str, str]:
    """Return what it means that the function answers a stranger so."""
    if is_plugin:
        return OK, f"{url} lets no stranger in."
    if status == requests.codes.forbidden:
        return FAILURE, f"Google lets nobody to {url}: deploy with --allow-unauthenticated."
    if status == requests.codes.not_found:
        return FAILURE, f"There is nothing at {url}: `gcloud functions describe` shows its URL."
    return FAILURE, f"{url} answers {status}: is it this function? Its log tells more."


def _judge_secret(status: int) -> tuple[str, str]:
    """Return what it means that the function answers a GET with the secret so."""
    if status == requests.codes.method_not_allowed:
        return OK, "It is this one."
    if status == requests.codes.unavailable:
        return FAILURE, "The function cannot read it: its log says why."
    return FAILURE, "It is another: was the function deployed with a fixed version?"


def _judge_queue(name: str) -> tuple[str, str]:
    from google.api_core.exceptions import GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import tasks_v2

    try:
        client = tasks_v2.CloudTasksClient()
        queue = client.get_queue(name=name, timeout=CALL_TIMEOUT, retry=None)
    except NotFound:
        return FAILURE, f"There is no {name}: create it as the README says."
    except (GoogleAPIError, GoogleAuthError) as error:
        return WARNING, f"You may not look at it from here ({type(error).__name__})."
    if queue.state != tasks_v2.Queue.State.RUNNING:
        return FAILURE, f"It is {queue.state.name}: `gcloud tasks queues resume` it."
    if queue.retry_config.max_attempts != ATTEMPTS:
        return WARNING, f"Set its --max-attempts to {ATTEMPTS}, as the README says."
    return OK, "It is running."
