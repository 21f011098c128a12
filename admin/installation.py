"""The plugin as it is installed: its settings, secret and URL, and iconik as its token sees it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy

from admin import files
from admin.custom_actions import target
from storage_plugin.errors import AdministratorError
from storage_plugin.iconik.client import USER, Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest, new_session
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import Settings, is_function_url

PATIENCE = (10.0, 60.0)
"""Seconds to wait for a connection, and for an answer, because the function may have to start."""

STORE = "run printf %s 'SECRET' | gcloud secrets versions add {} --data-file=-"
"""How to store a new version of a secret."""

REMEDIES = {
    "gcloud auth login": "Nobody is logged in to gcloud: run gcloud auth login.",
    "attribute [project]": "gcloud has no project: run gcloud config set project PROJECT.",
    "NOT_FOUND": "Google does not know it: run make deploy.",
}
"""What to say instead of gcloud's message, by words in it."""


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
        url = self._url or self.settings.function_url or files.last_deployment().url
        if not url:
            remedy = "run make deploy, or add OPTIONS='--url URL'"
            raise AdministratorError(f"The function's URL is unknown: {remedy}.")
        if not is_function_url(url) or target(url).verb:
            raise AdministratorError(
                f"{url} is not the URL of a function: use https, and leave out /add."
            )
        return url.rstrip("/")

    @cached_property
    def secret(self) -> str:
        """The secret that custom actions send."""
        return read_secret(*SHARED_SECRET)

    @cached_property
    def iconik(self) -> Iconik:
        """A client of iconik, which has accepted the token."""
        settings, token = self.settings, read_secret(*ICONIK_TOKEN)
        headers = {"App-ID": settings.iconik_id, "Auth-Token": token}
        if ask("GET", settings.iconik_url + USER, headers).status_code == 401:
            remedy = f"check ICONIK_ID, or {STORE.format(ICONIK_TOKEN[0])}"
            raise AdministratorError(f"iconik refuses the application token: {remedy}")
        session, pace, deadline = new_admin_session(settings.iconik_url), Pace(), Deadline(3600)
        rest = Rest(session, settings, read_token=lambda **_: token, pace=pace, deadline=deadline)
        return Iconik(rest)


def ask(method: str, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    """Send a request without a body, and return the answer without its body.

    Raises:
        AdministratorError: nothing answers; the message names the host and the cause.
    """
    encoded = {name: value.encode() for name, value in (headers or {}).items()}
    with new_admin_session(url) as session:
        try:
            with session.request(
                method, url, headers=encoded, timeout=PATIENCE, allow_redirects=False, stream=True
            ) as answer:
                return answer
        except requests.RequestException as error:
            proxy = select_proxy(url, get_environ_proxies(url)) if session.trust_env else None
            way = f" through the proxy {proxy.rpartition('@')[2]}" if proxy else ""
            cause: BaseException = error
            while cause.__context__:
                cause = cause.__context__
            host, why = urlsplit(url).netloc, str(cause).rstrip(".")
            raise AdministratorError(f"{host} cannot be reached{way}: {why}.") from None


def new_admin_session(url: str) -> requests.Session:
    """Return a session for a host, with the proxy and the certificates of the environment."""
    session = new_session()
    session.trust_env = not url.startswith("http:")  # This machine itself needs no proxy.
    session.auth = lambda request: request  # Otherwise, requests sends what .netrc has.
    return session


def read_secret(name: str, variable: str) -> str:
    """Return a secret from a variable of the environment, or else from Secret Manager."""
    project = files.last_deployment().project
    options = f"--secret={name}" + (f" --project={project}" if project else "")
    try:
        value = os.environ.get(variable) or ask_gcloud(f"secrets versions access latest {options}")
    except AdministratorError as error:
        raise AdministratorError(f"{name} is not readable: {error} Or set {variable}.") from None
    if not (secret := value.strip()) or not secret.isprintable():
        raise AdministratorError(f"{name} is not one line of text: {STORE.format(name)}")
    return secret


def ask_gcloud(command: str) -> str:
    """Return what a command of gcloud prints.

    Args:
        command: the words after `gcloud`, separated by spaces.

    Raises:
        AdministratorError: gcloud is not installed, or failed; the message names the remedy, or is
            gcloud's own.
    """
    if not (program := shutil.which("gcloud")):
        raise AdministratorError(
            "gcloud is not installed: see https://cloud.google.com/sdk/docs/install, or work in "
            "Cloud Shell, https://shell.cloud.google.com."
        )
    words = [program, "--quiet", *command.split()]
    result = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        message = " ".join(result.stderr.split()) or f"gcloud {command} failed."
        raise AdministratorError(
            next((REMEDIES[words] for words in REMEDIES if words in message), message)
        )
    return result.stdout
