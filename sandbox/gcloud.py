"""A stand-in for gcloud: a Google Cloud project in a file, changed by the commands of the real one.

It knows the commands and options of `admin`, and refuses all others. It prints the parts of the
real output that the plugin reads.

https://cloud.google.com/sdk/gcloud/reference
"""

from __future__ import annotations

import json
import os
import signal
import sys

TYPE_CHECKING = False  # It starts for each command, so that it imports little.
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    Json = dict[str, Any]
    Handler = Callable[["Project", str, Mapping[str, str]], object]

NUMBER = "123456789012"
BUILDER = f"{NUMBER}-compute@developer.gserviceaccount.com"

HANDLERS: dict[str, tuple[Handler, str, frozenset[str]]] = {}
"""By the words of a command: what serves it, the API that it needs, and the options it knows."""


class Refusal(Exception):
    """gcloud fails with this text."""


class Project:
    """A project and whoever is logged in.

    Attributes:
        state: what there is, as JSON.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = file
        self.state = new_state()
        if os.path.exists(file):  # noqa: PTH110
            with open(file) as lines:  # noqa: PTH123
                self.state = json.load(lines)

    def save(self) -> None:
        """Write it back."""
        with open(self.file, "w") as lines:  # noqa: PTH123
            json.dump(self.state, lines)

    def fault(self, command: str, kind: str) -> str | None:
        """Return the next text with which a command is to fail, before or after it has worked."""
        for fault in self.state["faults"]:
            if fault["kind"] == kind and command.startswith(fault["command"]) and fault["times"]:
                fault["times"] -= 1
                return str(fault["text"])
        return None

    def policy(self, resource: str) -> Json:
        """Return the IAM policy of a resource."""
        policy: Json = self.state["policies"].setdefault(resource, {"bindings": []})
        return policy

    def is_unheard(self, name: str) -> bool:
        """Return whether not all have heard of a new service or account, and count it down."""
        left = self.state["unheard"].get(name, 0)
        if left:
            self.state["unheard"][name] = left - 1
        return bool(left)

    def know(self, email: str) -> None:
        """Refuse a service account that does not exist, or of which not all have heard yet."""
        does_exist = email in self.state["accounts"] or email == BUILDER
        if self.is_unheard(email) or not does_exist:
            raise Refusal(f"INVALID_ARGUMENT: Service account {email} does not exist.")


def new_state() -> Json:
    """Return a new project with billing, in which nothing has been made."""
    return {
        "account": "ann@example.com",
        "project": "project",
        "region": "us-central1",
        "billing": True,
        "services": ["cloudapis.googleapis.com"],
        "secrets": {},
        "accounts": [],
        "policies": {},
        "queues": {},
        "functions": {},
        "annotations": {},
        "lag": 0,
        "unheard": {},
        "url": None,
        "faults": [],
        "calls": [],
    }


def command(words: str, *options: str, api: str = "") -> Callable[[Handler], Handler]:
    """Have a function serve a command.

    Args:
        words: of the command.
        options: that it knows, besides those that all know.
        api: the service that must be enabled.
    """

    def decorate(handler: Handler) -> Handler:
        HANDLERS[words] = (handler, api, frozenset(options))
        return handler

    return decorate


@command("auth list", "filter")
def _auth_list(project: Project, *_: object) -> str:
    return str(project.state["account"])


@command("config get-value")
def _config(project: Project, name: str, *_: object) -> str:
    return str(project.state[{"project": "project", "functions/region": "region"}[name]])


@command("services list", "enabled")
def _services(project: Project, *_: object) -> list[str]:
    return list(project.state["services"])


@command("services enable")
def _enable(project: Project, names: str, *_: object) -> None:
    if not project.state["billing"]:
        raise Refusal(
            f"FAILED_PRECONDITION: Billing account for project '{NUMBER}' is not found. Billing "
            f"must be enabled for activation of service(s) '{names.replace(' ', ',')}' to proceed."
        )
    for service in names.split():
        project.state["services"].append(service)
        project.state["unheard"][service] = project.state["lag"]


@command("billing projects describe", api="cloudbilling")
def _billing(project: Project, *_: object) -> str:
    return "True" if project.state["billing"] else ""


@command("functions regions list", "gen2", api="cloudfunctions")
def _regions(*_: object) -> list[str]:
    return ["us-central1", "europe-west1"]


@command("secrets list", api="secretmanager")
def _secrets(project: Project, *_: object) -> list[str]:
    return [f"projects/{NUMBER}/secrets/{name}" for name in project.state["secrets"]]


@command("secrets create", "data-file", api="secretmanager")
def _create_secret(project: Project, name: str, *_: object) -> None:
    if name in project.state["secrets"]:
        raise Refusal(
            f"Resource in projects [{NUMBER}] is the subject of a conflict: ALREADY_EXISTS"
        )
    project.state["secrets"][name] = [{"value": sys.stdin.read(), "state": "ENABLED"}]


@command("secrets versions add", "data-file", api="secretmanager")
def _add_version(project: Project, name: str, *_: object) -> None:
    _versions(project, name).insert(0, {"value": sys.stdin.read(), "state": "ENABLED"})


@command("secrets versions list", "limit", api="secretmanager")
def _list_versions(project: Project, name: str, *_: object) -> list[str]:
    return [str(version["state"]) for version in _versions(project, name)[:1]]


@command("secrets versions access", "secret", api="secretmanager")
def _access(project: Project, _: str, options: Mapping[str, str]) -> None:
    sys.stdout.write(_versions(project, options["secret"])[0]["value"])


def _versions(project: Project, name: str) -> list[Json]:
    versions: list[Json] | None = project.state["secrets"].get(name)
    if versions is None:
        raise Refusal(f"NOT_FOUND: Secret [projects/{NUMBER}/secrets/{name}] not found.")
    return versions


@command("iam service-accounts list")
def _accounts(project: Project, *_: object) -> list[str]:
    return list(project.state["accounts"])


@command("iam service-accounts create")
def _create_account(project: Project, name: str, *_: object) -> None:
    email = f"{name}@{project.state['project']}.iam.gserviceaccount.com"
    if email in project.state["accounts"]:
        raise Refusal(f"Resource in projects [project] is the subject of a conflict: {email}")
    project.state["accounts"].append(email)
    project.state["unheard"][email] = project.state["lag"]


@command("builds get-default-service-account", "region", api="cloudbuild")
def _builder(*_: object) -> str:
    return BUILDER


@command("tasks queues list", "location", api="cloudtasks")
def _queues(project: Project, *_: object) -> list[Json]:
    return list(project.state["queues"].values())


@command("tasks queues describe", "location", api="cloudtasks")
def _queue(project: Project, name: str, *_: object) -> Json:
    if name not in project.state["queues"]:
        raise Refusal("NOT_FOUND: Requested entity was not found.")
    queue: Json = project.state["queues"][name]
    return queue


QUEUE = ("location", "max-concurrent-dispatches", "max-attempts", "min-backoff", "max-backoff")


@command("tasks queues create", *QUEUE, api="cloudtasks")
def _create_queue(project: Project, name: str, options: Mapping[str, str]) -> None:
    if name in project.state["queues"]:
        raise Refusal("ALREADY_EXISTS: Queue already exists")
    _update_queue(project, name, options)


@command("tasks queues update", *QUEUE, api="cloudtasks")
def _update_queue(project: Project, name: str, options: Mapping[str, str]) -> None:
    place = f"projects/{project.state['project']}/locations/{options['location']}"
    project.state["queues"][name] = {
        "name": f"{place}/queues/{name}",
        "state": "RUNNING",
        "rateLimits": {"maxConcurrentDispatches": int(options["max-concurrent-dispatches"])},
        "retryConfig": {
            "maxAttempts": int(options["max-attempts"]),
            "minBackoff": options["min-backoff"],
            "maxBackoff": options["max-backoff"],
        },
    }


@command("functions list", "regions", api="cloudfunctions")
def _functions(project: Project, _: str, options: Mapping[str, str]) -> list[Json]:
    place = f"/locations/{options['regions']}/"
    return [row for row in project.state["functions"].values() if place in row["name"]]


DEPLOY = (
    *("gen2", "runtime", "trigger-http", "memory", "cpu", "concurrency", "timeout"),
    *("max-instances", "set-build-env-vars", "service-account", "region", "source"),
    "env-vars-file",
)


@command("functions deploy", *DEPLOY, api="cloudfunctions")
def _deploy(project: Project, name: str, options: Mapping[str, str]) -> None:
    sys.path += filter(None, [os.environ.get("SANDBOX_LIBRARIES")])
    import yaml  # noqa: PLC0415

    project.know(options["service-account"])
    if not {"main.py", "requirements.txt"} <= set(os.listdir(options["source"])):  # noqa: PTH208
        raise Refusal("Provided source directory does not have file [main.py].")
    with open(options["env-vars-file"]) as lines:  # noqa: PTH123
        variables = yaml.safe_load(lines)
    if not all(isinstance(value, str) for value in variables.values()):
        raise Refusal("Invalid value for [--env-vars-file]: values must be strings.")
    build = {"role": "roles/cloudbuild.builds.builder", "members": [f"serviceAccount:{BUILDER}"]}
    if build not in project.policy("projects project")["bindings"]:
        raise Refusal("OperationError: code=3, message=Build failed with status: FAILURE.")
    region, id = options["region"], project.state["project"]
    count = project.state["functions"].get(name, {}).get("count", 0) + 1
    project.state["functions"][name] = {
        "name": f"projects/{id}/locations/{region}/functions/{name}",
        "environment": "GEN_2",
        "state": "ACTIVE",
        "url": project.state["url"] or f"https://{region}-{id}.cloudfunctions.net/{name}",
        "updateTime": f"2026-11-24T10:00:{count:02}Z",
        "count": count,
        "options": {key: value for key, value in options.items() if key != "env-vars-file"},
        "variables": variables,
    }


@command("run services describe", "region", api="run")
def _service(project: Project, name: str, *_: object) -> Json:
    if "iconik_handler" not in project.state["functions"]:
        raise Refusal(f"Cannot find service [{name}]")
    return {"metadata": {"annotations": project.state["annotations"]}}


def _get_policy(group: str) -> Handler:
    def serve(project: Project, name: str, *_: object) -> Json:
        if group == "iam service-accounts" and project.is_unheard(name):
            raise Refusal(f"NOT_FOUND: Unknown service account: {name}")
        return project.policy(f"{group} {name}")

    return serve


def _add_binding(group: str) -> Handler:
    def serve(project: Project, name: str, options: Mapping[str, str]) -> None:
        member, role = options["member"], options["role"]
        if member != "allUsers":
            project.know(member.removeprefix("serviceAccount:"))
        bindings = project.policy(f"{group} {name}").setdefault("bindings", [])
        bindings.append({"role": role, "members": [member]})

    return serve


for _group, _place, _api in (
    ("secrets", "condition", "secretmanager"),
    ("projects", "condition", ""),
    ("iam service-accounts", "condition", ""),
    ("tasks queues", "location", "cloudtasks"),
    ("run services", "region", "run"),
):
    command(f"{_group} get-iam-policy", _place, api=_api)(_get_policy(_group))
    command(f"{_group} add-iam-policy-binding", _place, "member", "role", api=_api)(
        _add_binding(_group)
    )


def main(arguments: list[str], project: Project) -> int:
    """Run a command on a project and return the exit status."""
    words = [word for word in arguments if not word.startswith("--")]
    options = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    line = " ".join(words)
    name = next((name for name in HANDLERS if f"{line} ".startswith(f"{name} ")), "")
    project.state["calls"].append(arguments)
    try:
        output = _serve(project, name, line[len(name) + 1 :], options)
    except Refusal as refusal:
        print(f"ERROR: (gcloud.{name.replace(' ', '.')}) {refusal}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"ERROR: (gcloud) Invalid choice or missing argument: {error}", file=sys.stderr)
        return 2
    finally:
        project.save()
    if isinstance(output, str):
        print(output)
    elif isinstance(output, list) and options.get("format") != "json":
        print("\n".join(output))
    elif output is not None:
        print(json.dumps(output))
    return 0


def _serve(project: Project, command: str, name: str, options: Mapping[str, str]) -> object:
    handler, api, known = HANDLERS[command]
    if unknown := options.keys() - known - {"format", "project"}:
        raise KeyError(f"unrecognized arguments: {', '.join(sorted(unknown))}")
    line = f"{command} {name}"
    if text := project.fault(line, "before"):
        raise Refusal(text)
    if api:
        service = f"{api}.googleapis.com"
        if service not in project.state["services"]:
            raise Refusal(f"API [{service}] not enabled on project [{NUMBER}].")
        if project.is_unheard(service):
            raise Refusal(
                f"PERMISSION_DENIED: The {api} API has not been used in project {NUMBER} before or "
                "it is disabled. If you enabled this API recently, wait a few minutes."
            )
    output = handler(project, name, options)
    if project.fault(line, "ctrl-c") is not None:
        os.kill(os.getppid(), signal.SIGINT)  # A terminal sends it to both.
        raise Refusal("Interrupted")
    if text := project.fault(line, "after"):
        raise Refusal(text)
    return output


def install(folder: Path, state: Path) -> None:
    """Put an executable gcloud into a folder, for the project in a file."""
    import shlex  # noqa: PLC0415
    import sysconfig  # noqa: PLC0415

    root = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    code = (
        f"import sys; sys.path.insert(0, {root!r}); from sandbox.gcloud import Project, main; "
        f"sys.exit(main(sys.argv[1:], Project({str(state)!r})))"
    )
    libraries = shlex.quote(sysconfig.get_path("purelib"))
    command = shlex.join([sys.executable, "-I", "-S", "-c", code])
    gcloud = folder / "gcloud"
    gcloud.write_text(f'#!/bin/sh\nSANDBOX_LIBRARIES={libraries} exec {command} "$@"\n')
    gcloud.chmod(0o755)
