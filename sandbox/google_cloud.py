"""A Google Cloud project in memory, for the real gcloud.

gcloud stays as it is: its environment leads it to an application that answers for all of Google's
hosts. The project knows the requests of a deployment, and refuses what Google refuses.

https://cloud.google.com/apis/docs/overview
"""

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from posixpath import basename, dirname
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue

from sandbox.network import Network

Json = dict[str, Any]

PROJECT, NUMBER, REGION = "project", "123456789012", "europe-west1"
HOME = f"projects/{PROJECT}"
DOMAIN = f"{PROJECT}.iam.gserviceaccount.com"
BUILDER = "roles/cloudbuild.builds.builder"
ALWAYS_ENABLED = {"cloudresourcemanager", "serviceusage", "storage"}
STATUSES = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED"}
TYPE = "type.googleapis.com/google.cloud.functions.v2"


class Refusal(Exception):
    """Google answers with an HTTP status and these words."""


class Project:
    """A project and its organization; `clock` returns the seconds that have passed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.apis: list[str] = []  # Those that are enabled.
        # What there is, and who may do what with it, by the full names of resources.
        self.resources: dict[str, Json] = {HOME: {"projectId": PROJECT, "projectNumber": NUMBER}}
        self.policies: dict[str, Json] = {}
        self.upload = b""  # The last archive.
        self.requests: list[str] = []  # Like "POST secretmanager/v1/projects/project/secrets".
        # These get each request before and after it has its effect, and may refuse it.
        self.before: Callable[[str], object] = bool
        self.after: Callable[[str], object] = bool
        self.lag = 0.0  # The seconds after which all of Google knows what is new.
        self.regions_only = False  # The organization forbids what is not in a region.
        self.members_only = False  # The organization forbids everyone as a member.
        self._clock = clock
        self._since: dict[str, float] = {}

    def secret(self, name: str) -> str:
        """Return the latest value of a secret."""
        version = self._children(f"{HOME}/secrets/{name}/versions")[-1]
        return base64.b64decode(version["payload"]["data"]).decode()

    def grants(self) -> set[tuple[str, str, str]]:
        """Return who has a role: the last part of a resource's name, the role, and the member."""
        policies = self.policies.items()
        return {
            (basename(name), role, who) for name, each in policies for who, role in _members(each)
        }

    def answer(self) -> ResponseReturnValue:
        """Answer the request that Flask serves."""
        try:
            return self._answer()
        except Refusal as refusal:
            code, message = refusal.args
            return {"error": {"code": code, "message": message, "status": STATUSES.get(code)}}, code

    def _answer(self) -> Json:
        host = request.host.partition(".")[0]
        line, api = f"{request.method} {host}{request.path}", host.removeprefix(f"{REGION}-")
        self.requests.append(line)
        self.before(line)
        if api not in ALWAYS_ENABLED and (api not in self.apis or self._is_new(api)):
            text = f"{api} API has not been used in project {NUMBER} before or it is disabled."
            raise Refusal(403, text)
        name, _, verb = re.sub(r"^.*/v\d/", "", request.path).partition(":")
        # All projects are this one, and Cloud Run calls a service by two names.
        name = re.sub(r"^(projects/-|namespaces/[^/]+)", HOME, name)
        name = name.replace(f"/locations/{REGION}/services/", "/services/")
        action, body = f"{request.method} {verb}".strip(), request.get_json(silent=True) or {}
        if api == "storage":
            self.upload, answer = request.get_data(), Json()
        elif api == "serviceusage":
            answer = self._answer_for_apis(action, body.get("serviceIds", [basename(name)]))
        else:
            answer = self._answer_for_resource(action, name, body)
        self.after(line)
        return answer

    def _answer_for_apis(self, action: str, services: list[str]) -> Json:
        if action == "GET":
            rows = [{"config": {"name": f"{api}.googleapis.com"}} for api in self.apis]
            return {"services": rows}
        for api in (service.partition(".")[0] for service in services):
            self.apis.append(api)
            self._since[api] = self._clock()
        return {"name": "operations/1", "done": True, "response": {}}

    def _answer_for_resource(self, action: str, name: str, body: Json) -> Json:
        kind = basename(name)
        match action:
            case "GET" if kind == "runtimes":
                return {"runtimes": [{"name": "python313", "environment": "GEN_2"}]}
            case "GET" if len(name.split("/")) % 2:
                rows = self._children(name)[::-1]
                return {"accounts" if kind == "serviceAccounts" else kind: rows}
            case "GET":
                return self._item(name)
            case "GET access":
                versions = self._children(dirname(name)) or [self._item(name)]
                return {"payload": versions[-1]["payload"]}
            case "GET getIamPolicy" | "POST getIamPolicy":
                return self._policy(name)
            case "POST setIamPolicy":
                return self._set_policy(name, body["policy"])
            case "POST generateUploadUrl":
                return {"uploadUrl": "https://storage.googleapis.com/x", "storageSource": {}}
            case "POST addVersion":
                versions = self._children(f"{self._item(name)['name']}/versions")
                return self._create(f"{name}/versions", str(len(versions) + 1), body)
            case "POST":
                id = request.args.get(f"{kind[:-1]}Id") or basename(body.get("name", ""))
                return self._create(name, id, body)
            case "PATCH" | "PUT":
                self._item(name).update(body)
                return self._build(name) if "/functions/" in name else self._item(name)
        raise Refusal(501, f"{action} is not known here.")

    def _children(self, collection: str) -> list[Json]:
        return [row for name, row in self.resources.items() if dirname(name) == collection]

    def _item(self, name: str) -> Json:
        if name not in self.resources:
            raise Refusal(404, f"{name} was not found.")
        return self.resources[name]

    def _is_new(self, name: str) -> bool:
        """Whether not all of Google knows something that was enabled, created or granted."""
        return name in self._since and self._clock() < self._since[name] + self.lag

    def _create(self, collection: str, id: str, body: Json) -> Json:
        kind = basename(collection)
        if kind == "secrets" and self.regions_only and "userManaged" not in body["replication"]:
            raise Refusal(400, "Constraint constraints/gcp.resourceLocations violated.")
        if kind == "serviceAccounts":
            id = f"{body['accountId']}@{DOMAIN}"
            body = {"email": id, "projectId": PROJECT, "uniqueId": "1"}
        if kind == "versions":
            body |= {"state": "ENABLED", "clientSpecifiedPayloadChecksum": True}
        if kind == "functions":
            self._check_account(body["serviceConfig"]["serviceAccountEmail"])
        name = f"{collection}/{id}"
        if name in self.resources:
            raise Refusal(409, f"{name} already exists.")
        self.resources[name] = {"state": "RUNNING"} | body | {"name": name}
        self._since[name] = self._clock()
        return self._build(name) if kind == "functions" else self.resources[name]

    def _policy(self, name: str) -> Json:
        if self._item(name) and "/serviceAccounts/" in name and self._is_new(name):
            raise Refusal(404, f"Unknown service account: {name}")
        return self.policies.get(name, {"etag": "ACAB", "version": 1, "bindings": []})

    def _set_policy(self, name: str, policy: Json) -> Json:
        for member, role in _members(policy):
            if member != "allUsers":
                self._check_account(member.removeprefix("serviceAccount:"))
            elif self.members_only:
                raise Refusal(400, "One or more users do not belong to a permitted customer.")
            self._since.setdefault(f"{member} {role}", self._clock())
        self.policies[name] = policy
        return policy

    def _check_account(self, email: str) -> None:
        name = f"{HOME}/serviceAccounts/{email}"
        if name not in self.resources or self._is_new(name):
            raise Refusal(400, f"Service account {email} does not exist.")

    def _build(self, name: str) -> Json:
        """Build a function; return the operation, which has ended."""
        function, place, id = self.resources[name], dirname(dirname(name)), basename(name)
        service = id.replace("_", "-")
        function["url"] = f"https://{REGION}-{PROJECT}.cloudfunctions.net/{id}"
        function["serviceConfig"]["service"] = f"{place}/services/{service}"
        builder = f"serviceAccount:{basename(function['buildConfig'].get('serviceAccount', ''))}"
        is_built = (PROJECT, BUILDER, builder) in self.grants()
        text = "Build failed: there is a missing permission on the build service account."
        end: Json = {"error": {"code": 3, "message": text}}
        if is_built and not self._is_new(f"{builder} {BUILDER}"):
            end = {"response": {"@type": f"{TYPE}.Function"}}
            self.resources.setdefault(f"{HOME}/services/{service}", _service(service))
        stage = {"name": "BUILD", "state": "COMPLETE"}
        metadata = {"@type": f"{TYPE}.OperationMetadata", "stages": [stage]}
        name = f"{place}/operations/build"
        self.resources[name] = {"name": name, "done": True, "metadata": metadata} | end
        return self.resources[name]


def _members(policy: Json) -> set[tuple[str, str]]:
    """Return the members of a policy with their roles."""
    bindings = policy["bindings"]
    return {(member, each["role"]) for each in bindings for member in each["members"]}


def _service(name: str) -> Json:
    """Return a service of Cloud Run that is ready."""
    template = {"metadata": {}, "spec": {"containers": [{"image": "image"}]}}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NUMBER, "generation": 1, "annotations": {}},
        "spec": {"template": template, "traffic": [{"latestRevision": True, "percent": 100}]},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]},
    }


@contextmanager
def serve(folder: Path, project: Callable[[], Project]) -> Iterator[dict[str, str]]:
    """Serve the project that a function returns; yield the environment that leads gcloud there.

    The folder is for the login, and the configuration of gcloud.
    """
    app, network = Flask(__name__, static_folder=None), Network()
    app.before_request(lambda: project().answer())
    (folder / "login").write_text("login-of-an-owner")
    with network.site(app), network.serve() as proxy:
        yield proxy | {
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "login"),
            "CLOUDSDK_CONFIG": str(folder / "config"),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_FUNCTIONS_REGION": REGION,
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        }
