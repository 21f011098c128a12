"""The two files that the commands share: .env.yaml, and .deployment.json with the last deployment.

https://cloud.google.com/functions/docs/configuring/env-var
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import yaml

from storage_plugin.errors import AdministratorError
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import NAMES, Settings

SETTINGS, DEPLOYMENT = Path(".env.yaml"), Path(".deployment.json")

AUTO = "auto"
"""The value of TASK_QUEUE that makes `make deploy` create the queue."""

OTHERS = {"GOOGLE_CLOUD_PROJECT", "THREADS"}
"""Variables that the plugin's log or its server reads, in addition to its settings."""

MISSING = f"There are no settings here: copy {SETTINGS}.example to {SETTINGS}, and fill it in."

_STRING = "tag:yaml.org,2002:str"


class Deployment(NamedTuple):
    """Where the function is: the id of the project, the region, and the URL without a slash."""

    project: str = ""
    region: str = ""
    url: str = ""


def last_deployment() -> Deployment:
    """Return the last deployment from this folder, as deploy.sh has written it down; else ''s."""
    return Deployment(**json.loads(DEPLOYMENT.read_text() if DEPLOYMENT.exists() else "{}"))


def read_settings() -> Settings:
    """Return the settings from .env.yaml, and from the environment, which takes precedence.

    Raises:
        AdministratorError: variables are missing or invalid; the message names them.
    """
    variables, deployment = _read_variables(), last_deployment()
    if variables.get("TASK_QUEUE") == AUTO and not deployment.project:
        del variables["TASK_QUEUE"]  # Deploying the function creates the queue.
    whole = complete(variables, deployment.project, deployment.region)
    if not (variables or os.environ.keys() & NAMES):
        raise AdministratorError(MISSING)
    return Settings.from_environment(whole | os.environ)


def environment(project: str, region: str) -> str:
    """Return the environment of a function in a project and a region, as YAML for gcloud.

    Raises:
        AdministratorError: .env.yaml is missing or wrong, or there is no project; the message says
            what to do.
    """
    if not (variables := _read_variables()):
        raise AdministratorError(MISSING)
    if not project:
        raise AdministratorError("No project is selected: run gcloud config set project PROJECT.")
    whole = complete(variables, project, region)
    Settings.from_environment(whole)
    return yaml.safe_dump(whole, default_style="'", width=sys.maxsize)


def complete(variables: Mapping[str, str], project: str, region: str) -> dict[str, str]:
    """Return the function's whole environment: the variables, and those that deployment adds."""
    whole = {"GOOGLE_CLOUD_PROJECT": project, "THREADS": "16", **variables}
    if variables.get("TASK_QUEUE") == AUTO:
        whole["TASK_QUEUE"] = f"projects/{project}/locations/{region}/queues/iconik"
        whole["TASK_SERVICE_ACCOUNT"] = f"iconik-queue@{project}.iam.gserviceaccount.com"
        url = f"https://{region}-{project}.cloudfunctions.net/iconik_handler"
        whole.setdefault("FUNCTION_URL", url)
    return whole


def unknown_variables() -> Iterator[str]:
    """Yield a sentence for each variable of .env.yaml that nothing reads."""
    known = NAMES | OTHERS
    for name in _read_variables().keys() - known:
        near = get_close_matches(name.upper(), known, 1)
        yield f"Nothing reads {name}." + (f" Did you mean {near[0]}?" if near else "")


def _read_variables() -> dict[str, str]:
    """Return the variables of .env.yaml, in which gcloud must find nothing wrong; none: no file."""
    try:
        root = yaml.compose(SETTINGS.read_text() if SETTINGS.exists() else "", yaml.SafeLoader)
    except (ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        text = f"{SETTINGS} cannot be read{place}: see {SETTINGS}.example."
        raise AdministratorError(text) from None
    if not root:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise AdministratorError(f"{SETTINGS} must have names and values: see {SETTINGS}.example.")
    if problems := list(_problems(root)):
        raise AdministratorError(f"{SETTINGS} is wrong: {'; '.join(problems)}.")
    return {key.value: value.value for key, value in root.value}


def _problems(root: yaml.MappingNode) -> Iterator[str]:
    lines = dict[str, int]()
    for key, value in root.value:
        name, line = key.value, key.start_mark.line + 1
        if key.tag != _STRING or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            yield f"line {line} does not begin with the name of a variable"
        elif (first := lines.setdefault(name, line)) != line:
            yield f"line {line}: {name} is already in line {first}"
        elif value.tag != _STRING:
            yield f"line {line}: the value of {name} must be in quotes"
        elif name in (SHARED_SECRET[1], ICONIK_TOKEN[1]):
            yield f"line {line}: {name} is a secret and belongs in Secret Manager"
