"""The plugin as it is installed: settings, secrets, the function, and iconik as its token sees it.

If something is missing or wrong, AdministratorError says so, and what to do.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import requests
import yaml
from requests.utils import get_environ_proxies, select_proxy

from admin.custom_actions import target
from storage_plugin.errors import AdministratorError
from storage_plugin.iconik.client import USER, Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest, new_session
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import NAMES, Settings, is_valid

# The files with the settings, and with the last deployment, which deploy.sh writes.
SETTINGS, DEPLOYMENT = Path(".env.yaml"), Path(".deployment.json")
AUTO = "auto"  # The value of TASK_QUEUE that makes `make deploy` create the queue.
# Variables that the plugin's log or its server reads, in addition to its settings.
OTHERS = {"GOOGLE_CLOUD_PROJECT", "THREADS"}
MISSING = f"There are no settings here: copy {SETTINGS}.example to {SETTINGS}, and fill it in."
# How to store a new version of a secret.
STORE = "run printf %s 'SECRET' | gcloud secrets versions add {} --data-file=-"
# What to say instead of gcloud's message, by words in it.
GCLOUD = {
    "gcloud auth login": "Nobody is logged in to gcloud: run gcloud auth login.",
    "attribute [project]": "gcloud has no project: run gcloud config set project PROJECT.",
    "NOT_FOUND": "Google does not know it in this project: check its name, or run make deploy.",
}


class Installation:
    """Everything that the commands look at. Each part is read when it is first needed.

    `url` is the function's URL, or None for FUNCTION_URL, or else the last deployment.
    """

    def __init__(self, url: str | None = None) -> None:
        # The project, region and url of the last deployment from here; empty: there is none.
        self.deployment = json.loads(DEPLOYMENT.read_text()) if DEPLOYMENT.exists() else {}
        self._url = url

    @cached_property
    def settings(self) -> Settings:
        """The settings from .env.yaml, and from the environment, which takes precedence."""
        variables = read_variables()
        if self.deployment:
            project, region = self.deployment["project"], self.deployment["region"]
            variables = complete(variables, project, region)
        elif variables.get("TASK_QUEUE") == AUTO:
            del variables["TASK_QUEUE"]  # Deploying the function creates the queue.
        return Settings.from_environment(variables | os.environ)

    @cached_property
    def url(self) -> str:
        """The function's URL, without a trailing slash."""
        url = self._url or self.settings.function_url or self.deployment.get("url")
        if not url or not is_valid("FUNCTION_URL", url) or target(url).verb:
            what = f"{url} is not the URL of a function" if url else "The function's URL is unknown"
            remedy = "run make deploy, or add OPTIONS='--url URL' with https and without /add"
            raise AdministratorError(f"{what}: {remedy}.")
        return str(url).rstrip("/")

    @cached_property
    def secret(self) -> str:
        """The secret that custom actions send."""
        return self._read_secret(*SHARED_SECRET)

    @cached_property
    def iconik(self) -> Iconik:
        """A client of iconik, which has accepted the token."""
        settings, token = self.settings, self._read_secret(*ICONIK_TOKEN)
        headers = {"App-ID": settings.iconik_id, "Auth-Token": token}
        if ask("GET", settings.iconik_url + USER, headers).status_code == 401:
            remedy = f"check ICONIK_ID and ICONIK_URL, or {STORE.format(ICONIK_TOKEN[0])}"
            raise AdministratorError(f"iconik refuses the application token: {remedy}")
        session, pace, deadline = new_admin_session(settings.iconik_url), Pace(), Deadline(3600)
        rest = Rest(session, settings, read_token=lambda **_: token, pace=pace, deadline=deadline)
        return Iconik(rest)

    def _read_secret(self, name: str, variable: str) -> str:
        """Return a secret from a variable of the environment, or else from Secret Manager."""
        command = f"secrets versions access latest --secret={name}"
        if self.deployment:
            command += f" --project={self.deployment['project']}"
        try:
            value = os.environ.get(variable) or ask_gcloud(command)
        except AdministratorError as error:
            text = f"{name} is not readable: {error} Or set {variable}."
            raise AdministratorError(text) from None
        if not (secret := value.strip()) or not secret.isprintable():
            raise AdministratorError(f"{name} is not one line of text: {STORE.format(name)}")
        return secret


def read_variables() -> dict[str, str]:
    """Return the variables of .env.yaml, if gcloud would accept the file.

    Without that file, the environment must have settings.
    """
    variables: dict[str, str] = {}
    try:
        root = yaml.compose(SETTINGS.read_text(), yaml.SafeLoader) if SETTINGS.exists() else None
        for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
            if problem := _problem(key, value, variables):
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            variables[key.value] = value.value
    except (ValueError, yaml.YAMLError) as error:
        mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))
        what = f"line {mark.line + 1} {problem}" if mark else "it is no text"
        raise AdministratorError(f"{SETTINGS} is wrong: {what}.") from None
    if not (variables or os.environ.keys() & NAMES):
        raise AdministratorError(MISSING)
    return variables


def _problem(key: yaml.Node, value: yaml.Node, others: Mapping[str, str]) -> str | None:
    """Return what is wrong with a line of .env.yaml, or None if nothing is."""
    if not key.tag == value.tag == "tag:yaml.org,2002:str":
        return "must have a name and a value in quotes, like THREADS: '8'"
    if key.value in others:
        return f"has {key.value} a second time"
    if key.value in (SHARED_SECRET[1], ICONIK_TOKEN[1]):
        return f"has {key.value}, which belongs in Secret Manager"
    return None


def unknown_variables() -> list[str]:
    """Return a sentence for each variable of .env.yaml that nothing reads."""
    return [f"Nothing reads {name}." for name in read_variables() if name not in NAMES | OTHERS]


def complete(variables: Mapping[str, str], project: str, region: str) -> dict[str, str]:
    """Return the function's whole environment: the variables, and those that deployment adds."""
    whole = {"GOOGLE_CLOUD_PROJECT": project, "THREADS": "16", **variables}
    if variables.get("TASK_QUEUE") == AUTO:
        whole["TASK_QUEUE"] = f"projects/{project}/locations/{region}/queues/iconik"
        whole["TASK_SERVICE_ACCOUNT"] = f"iconik-queue@{project}.iam.gserviceaccount.com"
        url = f"https://{region}-{project}.cloudfunctions.net/iconik_handler"
        whole.setdefault("FUNCTION_URL", url)
    return whole


def new_admin_session(url: str) -> requests.Session:
    """Return a session for a host, with the proxy and the certificates of the environment."""
    session = new_session()
    session.trust_env = not url.startswith("http:")  # This machine itself needs no proxy.
    session.auth = lambda request: request  # Otherwise, requests sends what .netrc has.
    return session


def ask(method: str, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    """Send a request without a body, and return the answer without its body."""
    encoded = {name: value.encode() for name, value in (headers or {}).items()}
    with new_admin_session(url) as session:
        try:
            with session.request(
                method, url, headers=encoded, timeout=(10, 60), allow_redirects=False, stream=True
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


def ask_gcloud(command: str) -> str:
    """Return what gcloud prints after some words, which spaces separate."""
    if not (program := shutil.which("gcloud")):
        places = "https://cloud.google.com/sdk/docs/install, or use https://shell.cloud.google.com"
        raise AdministratorError(f"gcloud is not installed: see {places}.")
    words = [program, "--quiet", *command.split()]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode:
        message = " ".join(result.stderr.split())
        remedies = (GCLOUD[sign] for sign in GCLOUD if sign in message)
        raise AdministratorError(next(remedies, message))
    return result.stdout
