"""The plugin as it is installed: its settings, secrets and URL, and iconik as its token sees it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import requests
from requests.utils import get_environ_proxies, select_proxy

from admin import files
from admin.iconik import AdminIconik
from storage_plugin.errors import AdministratorError
from storage_plugin.iconik import Storage
from storage_plugin.pace import Deadline, Pace
from storage_plugin.rest import Rest
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import Settings
from storage_plugin.wire import new_session

PATIENCE = (10.0, 60.0)
"""Seconds to wait for a connection, and for an answer, because the function may have to start."""

STORE = "run printf %s 'SECRET' | gcloud secrets versions add {} --data-file=-"
"""How to store a new version of a secret."""

REMEDIES = {
    "gcloud auth login": "Nobody is logged in to gcloud: run gcloud auth login.",
    "attribute [project]": "gcloud has no project: run gcloud config set project PROJECT.",
    "NOT_FOUND": "Google does not know it: run make deploy.",
}
"""Remedies, by words in gcloud's message."""


class Secret(NamedTuple):
    """A secret, and where it was read from."""

    value: str
    source: str


class Installation:
    """Everything that the commands look at. Each part is read when it is first needed.

    A part that is missing or wrong raises AdministratorError with the remedy.

    Args:
        url: the function's URL; None: FUNCTION_URL counts, or else the last deployment.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url

    @cached_property
    def settings(self) -> Settings:
        """The settings from .env.yaml, and from the environment, which takes precedence."""
        return files.read_settings()

    @cached_property
    def url(self) -> str:
        """The function's URL, without a trailing slash."""
        if url := self._url or self.settings.function_url or files.Deployment.read().url:
            return url
        raise AdministratorError(
            "The function's URL is unknown: run make deploy, or add OPTIONS='--url URL'."
        )

    @cached_property
    def shared_secret(self) -> Secret:
        """The secret that custom actions send."""
        return _read_secret(*SHARED_SECRET)

    @cached_property
    def token(self) -> Secret:
        """The application token."""
        return _read_secret(*ICONIK_TOKEN)

    @cached_property
    def iconik(self) -> AdminIconik:
        """A client of iconik, which has accepted the token."""
        ask("GET", self.settings.iconik_url)
        rest = Rest(
            _session(self.settings.iconik_url),
            self.settings,
            read_token=lambda **_: self.token.value,
            pace=Pace(),
            deadline=Deadline(3600),
        )
        iconik = AdminIconik(rest)
        try:
            iconik.current_user()
        except AdministratorError as error:
            remedy = STORE.format(ICONIK_TOKEN[0])
            raise AdministratorError(f"{error} To store one, {remedy}") from None
        return iconik

    @cached_property
    def storages(self) -> list[Storage]:
        """The storages that the token's user sees."""
        return self.iconik.storages()


def ask(method: str, url: str, headers: Mapping[str, bytes] | None = None) -> requests.Response:
    """Send a request without a body, and return the answer without reading its body.

    Raises:
        AdministratorError: nothing answers; the message names the host and the cause.
    """
    session = _session(url)
    try:
        return session.request(
            method, url, headers=headers, timeout=PATIENCE, allow_redirects=False, stream=True
        )
    except (requests.RequestException, ValueError) as error:
        cause: BaseException = error
        while cause.__context__:
            cause = cause.__context__
        proxy = select_proxy(url, get_environ_proxies(url)) if session.trust_env else None
        way = f" through the proxy {proxy.rpartition('@')[2]}" if proxy else ""
        why = type(cause).__name__
        if isinstance(cause, OSError) and not isinstance(cause, requests.exceptions.InvalidHeader):
            why = cause.strerror or str(cause).rstrip(".")  # InvalidHeader quotes the secret.
        raise AdministratorError(f"{url} cannot be reached{way}: {why}.") from None


def _session(url: str) -> requests.Session:
    """Return a session for a host, with the proxy and the certificates of the environment."""
    session = new_session()
    session.trust_env = not url.startswith("http:")  # This machine itself needs no proxy.
    session.auth = lambda request: request  # Otherwise, requests sends what .netrc has.
    return session


def _read_secret(name: str, variable: str) -> Secret:
    """Return a secret from its variable, or else from Secret Manager."""
    if variable in os.environ:
        secret = Secret(os.environ[variable].strip(), f"the variable {variable}")
        remedy = f"unset {variable}, or set it to the secret"
    else:
        try:
            value = gcloud(f"secrets versions access latest --secret={name}")
        except AdministratorError as error:
            raise AdministratorError(f"Not readable here. {error} Or set {variable}.") from None
        secret, remedy = Secret(value.strip(), "Secret Manager"), STORE.format(name)
    if not secret.value:
        raise AdministratorError(f"The secret {name} from {secret.source} is empty: {remedy}")
    return secret


def gcloud(command: str, project: str = "") -> str:
    """Return what a command of gcloud prints.

    Args:
        command: the words after `gcloud`.
        project: the id of a project; empty: that of the last deployment, or else gcloud's own.

    Raises:
        AdministratorError: gcloud is missing or has failed.
    """
    if not (program := shutil.which("gcloud")):
        raise AdministratorError(
            "gcloud is not installed: see https://cloud.google.com/sdk/docs/install, or work in "
            "Cloud Shell, https://shell.cloud.google.com."
        )
    environ = {**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    if project := project or files.Deployment.read().project:
        environ["CLOUDSDK_CORE_PROJECT"] = project
    result = subprocess.run(
        [program, *command.split()], capture_output=True, text=True, check=False, env=environ
    )
    if result.returncode == 0:
        return result.stdout
    message = " ".join(result.stderr.split()) or f"gcloud has failed: {result.returncode}."
    raise AdministratorError(
        next((remedy for words, remedy in REMEDIES.items() if words in message), message)
    )
