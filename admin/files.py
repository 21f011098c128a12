"""The two files that the commands share: .env.yaml, and .deployment.json with the last deployment.

https://cloud.google.com/functions/docs/configuring/env-var
"""

import json
import os
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml

from storage_plugin.errors import AdministratorError
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import NAMES, Settings

SETTINGS, DEPLOYMENT = Path(".env.yaml"), Path(".deployment.json")

AUTO = "auto"
"""The value of TASK_QUEUE that makes `make deploy` create the queue."""

QUEUE, QUEUE_ACCOUNT = "iconik", "iconik-queue"

OTHERS = {"GOOGLE_CLOUD_PROJECT", "THREADS"}
"""Variables that the plugin's log or its server reads, in addition to its settings."""

NO_SETTINGS = f"There is no {SETTINGS} here: run cp {SETTINGS}.example {SETTINGS}, and fill it in."

_STRING = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Deployment:
    """The last deployment from this folder.

    Attributes:
        project: the id of the Google Cloud project.
        region: the function's region.
        url: the function's URL, without a trailing slash.
        digest: a digest of the code, the options and the environment.
        updated: when Google last changed the function, in Google's format.
    """

    project: str
    region: str
    url: str
    digest: str
    updated: str

    @classmethod
    def read(cls) -> "Deployment":
        """Return the last deployment; if there is none, all its fields are empty.

        Raises:
            AdministratorError: the file is damaged.
        """
        try:
            return cls(**json.loads(DEPLOYMENT.read_text()))
        except FileNotFoundError:
            return cls("", "", "", "", "")
        except (OSError, TypeError, ValueError):
            raise AdministratorError(
                f"{DEPLOYMENT} is damaged: delete it, and deploy again."
            ) from None

    def write(self) -> None:
        """Save this deployment for other commands."""
        DEPLOYMENT.write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_variables() -> dict[str, str]:
    """Return the variables of .env.yaml; empty: the file does not exist.

    Raises:
        AdministratorError: the file cannot be read, has lines that gcloud would refuse, or has
            secrets; the message names each line.
    """
    try:
        root = yaml.compose(SETTINGS.read_text(), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise AdministratorError(
            f"{SETTINGS} cannot be read{place}: see {SETTINGS}.example."
        ) from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise AdministratorError(f"{SETTINGS} must have names and values: see {SETTINGS}.example.")
    if problems := list(_problems(root)):
        raise AdministratorError(f"{SETTINGS} is wrong: {'; '.join(problems)}.")
    return {key.value: value.value for key, value in root.value}


def _problems(root: yaml.MappingNode) -> Iterator[str]:
    for key, value in root.value:
        line = f"line {key.start_mark.line + 1}"
        if key.tag != _STRING or not re.fullmatch(r"[A-Za-z_]\w*", key.value, re.ASCII):
            yield f"{line} does not begin with the name of a variable"
        elif value.tag != _STRING:
            yield f"{line}: the value of {key.value} must be in quotes"
        elif key.value in (SHARED_SECRET[1], ICONIK_TOKEN[1]):
            yield f"{line}: {key.value} is a secret and belongs in Secret Manager"


def unknown_variables() -> Iterator[str]:
    """Yield a sentence for each variable of .env.yaml that nothing reads."""
    known = NAMES | OTHERS
    for name in read_variables().keys() - known:
        near = get_close_matches(name.upper(), known, 1)
        yield f"Nothing reads {name}." + (f" Did you mean {near[0]}?" if near else "")


def complete(variables: Mapping[str, str], project: str, region: str) -> dict[str, str]:
    """Return the function's whole environment: the variables, and those that deployment adds."""
    whole = {"GOOGLE_CLOUD_PROJECT": project, "THREADS": "16", **variables}
    if variables.get("TASK_QUEUE") == AUTO:
        whole["TASK_QUEUE"] = f"projects/{project}/locations/{region}/queues/{QUEUE}"
        whole["TASK_SERVICE_ACCOUNT"] = email(QUEUE_ACCOUNT, project)
        whole["FUNCTION_URL"] = variables.get("FUNCTION_URL") or function_url(project, region)
    return whole


def email(account: str, project: str) -> str:
    """Return the e-mail address of a service account."""
    return f"{account}@{project}.iam.gserviceaccount.com"


def function_url(project: str, region: str) -> str:
    """Return the URL that the function will have."""
    return f"https://{region}-{project}.cloudfunctions.net/iconik_handler"


def read_settings() -> Settings:
    """Return the settings from .env.yaml, and from the environment, which takes precedence.

    Raises:
        AdministratorError: variables are missing or invalid; the message names them.
    """
    variables, deployment = read_variables(), Deployment.read()
    if deployment.project:
        variables = complete(variables, deployment.project, deployment.region)
    elif variables.get("TASK_QUEUE") == AUTO:
        del variables["TASK_QUEUE"]  # Deploying the function creates the queue.
    try:
        return Settings.from_environment(ChainMap(dict(os.environ), variables))
    except AdministratorError:
        if SETTINGS.exists():
            raise
        raise AdministratorError(NO_SETTINGS) from None
