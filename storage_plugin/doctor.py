"""Looks whether all that the plugin needs is there, and says what to do where it is not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import requests

from storage_plugin.custom_actions import HEADER, VERBS, secret_of, target
from storage_plugin.errors import PluginError
from storage_plugin.iconik import CustomAction, Iconik, Storage
from storage_plugin.rest import new_session
from storage_plugin.secret_manager import Secret
from storage_plugin.settings import ARCHIVE, Settings, read_query
from storage_plugin.task_queue import ATTEMPTS, TIMEOUT
from storage_plugin.transfers import find_storage, may_hold_masters

OK, WARNING, FAILURE = "ok", "warning", "failure"

ROLES = {
    "Both": ("can_read_storages",),
    "Add": ("can_read_assets", "can_read_files", "can_read_formats", "can_write_transfers"),
    "Remove": ("can_read_files", "can_read_formats", "can_delete_files"),
    "Remove, with collections": ("can_read_collections",),
    "Remove, with saved searches": ("can_read_saved_searches", "can_search"),
    "Remove, for the editor to see it": ("can_write_jobs", "can_read_jobs", "can_read_assets"),
    f"Remove, with {ARCHIVE}": (
        "can_read_transfers",
        "can_write_transfers",
        "can_read_jobs",
    ),
    "Custom actions by command": (
        "can_read_custom_actions",
        "can_write_custom_actions",
        "can_delete_custom_actions",
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
        connect: Callable[[Settings], Iconik],
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
            self._ok("settings", f"Complete. iconik is {settings.iconik_url}.")
            self._url = self._url or settings.function_url
            if settings.task_queue and settings.function_url != self._url:
                self._warn("settings", f"FUNCTION_URL is another than {self._url}.")
        secret, token = self._read(self._shared_secret), self._read(self._iconik_token)
        if settings and token:
            with self._check("iconik"):
                self._iconik(self._connect(settings), settings, secret)
        if self._url:
            self._function(self._url, secret)
        else:
            self._warn("function", "Not looked at: give its --url.")
        if settings and settings.task_queue:
            self._queue(settings.task_queue)

    def _ok(self, check: str, text: str) -> None:
        self.findings.append(Finding(check, OK, text))

    def _warn(self, check: str, text: str) -> None:
        self.findings.append(Finding(check, WARNING, text))

    def _fail(self, check: str, text: str) -> None:
        self.findings.append(Finding(check, FAILURE, text))

    @contextmanager
    def _check(self, check: str) -> Iterator[None]:
        """Let what is raised be the check's failure."""
        try:
            yield
        except PluginError as error:
            self._fail(check, error.detail or str(error))

    def _read(self, secret: Secret) -> str:
        """Return a secret, an empty one where it cannot be read."""
        value = ""
        with self._check(secret.name):
            value = secret.read()
            self._ok(secret.name, f"Read from {secret.source}.")
        return value

    def _iconik(self, iconik: Iconik, settings: Settings, secret: str) -> None:
        user = iconik.current_user()
        self._ok("iconik", f"The token is valid. It acts as {user.name}.")
        if user.is_admin is False:
            self._warn("administrator", "That user is none: custom actions cannot be made.")
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
            if ARCHIVE in purpose and not settings.archive_before_remove:
                continue
            missing = ", ".join(role for role in needed if role not in roles)
            if not missing:
                enough.append(purpose)
            elif purpose in VITAL:
                self._fail(f"roles: {purpose}", f"Give the token's user {missing}.")
            else:
                self._warn(f"roles: {purpose}", f"For this the token's user needs {missing}.")
        if enough:
            self._ok("roles", f"Enough for: {'; '.join(enough)}.")

    def _storages(self, iconik: Iconik, storages: Sequence[Storage], settings: Settings) -> None:
        master = None
        with self._check("master storage"):
            if settings.master_storage_name:
                master = find_storage(storages, "MASTER_STORAGE_NAME", settings.master_storage_name)
                self._storage("master storage", master)
            else:
                self._warn("master storage", "Set MASTER_STORAGE_NAME, or a copy anywhere counts.")
        with self._check("storage"):
            storage = find_storage(storages, "STORAGE_NAME", settings.storage_name)
            if may_hold_masters(storage, master):
                self._fail("storage", f"{storage.name} may hold masters: set STORAGE_NAME.")
                return
            self._storage("storage", storage)
            can_delete = iconik.can_delete_on(storage.id)
            if can_delete is False:
                self._fail("deletion", f"Enable Delete in iconik's settings of {storage.name}.")
            elif can_delete:
                self._ok("deletion", "iconik may delete there.")
            else:
                self._ok("deletion", "iconik does not tell: see that its settings have Delete.")

    def _storage(self, check: str, storage: Storage) -> None:
        text = f"{storage.name} is {storage.status}, of type {storage.method}."
        if storage.status == "ACTIVE":
            self._ok(check, text)
        else:
            self._fail(check, f"{text} See iconik's settings of it, and whether its gateway runs.")

    def _custom_actions(
        self,
        actions: Sequence[CustomAction],
        storages: Sequence[Storage],
        secret: str,
    ) -> None:
        verbs = set()
        for action in actions:
            url, verb = target(action)
            check = f"{action.title} ({action.context})"
            is_ours = url == self._url if self._url else url and secret_of(action)
            if is_ours:
                verbs.add(verb)
                with self._check(check):
                    self._custom_action(check, action, storages, secret)
            elif url and secret_of(action) == secret:
                self._warn(check, f"It calls {url}, not this function.")
        if missing := [verb for verb in VERBS if verb not in verbs]:
            remedy = f"python -m storage_plugin actions create --url {self._url or 'URL'}"
            self._fail("custom actions", f"None is there to {' or to '.join(missing)}: {remedy}")

    def _custom_action(
        self,
        check: str,
        action: CustomAction,
        storages: Sequence[Storage],
        secret: str,
    ) -> None:
        query = read_query(parse_qs(action.url.partition("?")[2], keep_blank_values=True))
        if "storage" in query:
            find_storage(storages, "Its URL", query["storage"])
        again = "run `actions create` again"
        if action.type != "POST":
            self._fail(check, f"Its type is {action.type}, it must be POST: {again}.")
        elif secret and secret_of(action) != secret:
            self._fail(check, f"Its header {HEADER} holds another secret: {again}.")
        elif action.is_disabled:
            self._warn(check, "It is disabled in iconik: enable it there if it is wanted.")
        elif action.status == "FAILING":
            self._warn(check, f"It failed last time, see the function's log: {action.last_error}")
        else:
            self._ok(check, f"It calls {action.url}.")

    def _function(self, url: str, secret: str) -> None:
        """Ask the function as a stranger, and as one who knows the secret if that is the plugin."""
        session = new_session()
        # Nothing of the answers' bodies is read: they may be of anybody's.
        options: Any = {"timeout": PATIENCE, "allow_redirects": False, "stream": True}
        try:
            stranger = session.post(f"{url}/remove", **options)
            if (stranger.status_code, stranger.headers.get("WWW-Authenticate")) != (401, HEADER):
                self._fail("function", _remedy(url, stranger.status_code))
                return
            self._ok("function", f"{url} lets no stranger in.")
            if not secret:
                return
            known = session.get(url, headers={HEADER: secret.encode()}, **options)
        except (requests.RequestException, ValueError) as error:
            self._fail("function", f"{url} cannot be asked ({type(error).__name__}): is it right?")
            return
        if known.status_code == requests.codes.method_not_allowed:
            self._ok("deployed secret", "It is this one.")
        elif known.status_code == requests.codes.unavailable:
            self._fail("deployed secret", "The function cannot read it: its log says why.")
        else:
            self._fail("deployed secret", "It is another: was it deployed with a fixed version?")

    def _queue(self, name: str) -> None:
        from google.api_core.exceptions import GoogleAPIError, NotFound
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import tasks_v2

        try:
            client = tasks_v2.CloudTasksClient()
            queue = client.get_queue(name=name, timeout=TIMEOUT, retry=None)
        except NotFound:
            self._fail("queue", f"There is no {name}: create it as the README says.")
        except (GoogleAPIError, GoogleAuthError) as error:
            self._warn("queue", f"You may not look at it from here ({type(error).__name__}).")
        else:
            if queue.state != tasks_v2.Queue.State.RUNNING:
                self._fail("queue", f"It is {queue.state.name}: `gcloud tasks queues resume` it.")
            elif queue.retry_config.max_attempts != ATTEMPTS:
                self._warn("queue", f"Set its --max-attempts to {ATTEMPTS}, as the README says.")
            else:
                self._ok("queue", "It is running.")


def _remedy(url: str, status: int) -> str:
    """Return what to do where something else than the plugin answers a stranger."""
    return {
        403: f"Google lets nobody to {url}: deploy with --allow-unauthenticated.",
        404: f"There is nothing at {url}: `gcloud functions describe` shows the function's URL.",
    }.get(status, f"{url} answers {status}: is it this function? Its log tells more.")
