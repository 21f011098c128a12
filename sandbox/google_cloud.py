"""A Google Cloud project in memory, for the real gcloud.

It is an HTTPS proxy that itself answers for *.googleapis.com. So gcloud stays as it is: it gets the
proxy, the certificate that the proxy shows, and a login. The project knows what a deployment asks
for, and what Google demands of it. It refuses everything else.

https://cloud.google.com/apis/docs/overview
"""

import base64
import copy
import io
import json
import re
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.network import certify, private_pem

Json = dict[str, Any]

PROJECT, NUMBER, REGION = "project", "123456789012", "europe-west1"
DOMAIN = f"{PROJECT}.iam.gserviceaccount.com"
ALWAYS_ENABLED = {"cloudresourcemanager", "serviceusage", "storage"}
BUILDER = "roles/cloudbuild.builds.builder"
LOGIN = "login-of-the-owner"

IDS = {"secrets": "secretId", "functions": "functionId"}
"""The query parameters with the name of what is created, by its collection."""

TYPE = "type.googleapis.com/google.cloud.functions.v2"

STATUSES = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED"}


class Refusal(Exception):
    """Google answers with an error.

    Args:
        code: the HTTP status.
        message: Google's words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Project:
    """A project and its organization.

    Attributes:
        apis: those that are enabled.
        resources: what there is, by its full name.
        policies: who may do what, by the full name of a resource.
        archives: the files of each source that was uploaded.
        requests: those that were answered, like "POST secretmanager/v1/projects/project/secrets".
        before: is called with each request before it has an effect, and may refuse it.
        after: is called with each request after it has had its effect.
        clock: returns the seconds that have passed.
        lag: the seconds after which all of Google knows what is new.
        regions_only: whether the organization forbids what is not in a region.
        members_only: whether the organization forbids everyone as a member.
    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.apis: list[str] = []
        self.resources: dict[str, Json] = {
            f"projects/{PROJECT}": {"projectId": PROJECT, "projectNumber": NUMBER}
        }
        self.policies: dict[str, Json] = {}
        self.archives: list[bytes] = []
        self.requests: list[str] = []
        self.before: Callable[[str], object] = bool
        self.after: Callable[[str], object] = bool
        self.clock = clock
        self.lag = 0.0
        self.regions_only = self.members_only = False
        self._begun: dict[str, float] = {}
        self._operations: dict[str, Json] = {}

    def answer(self, method: str, host: str, url: str, body: Any) -> Json:
        """Answer a request.

        Args:
            method: of HTTP.
            host: its name without the domain.
            url: path and query.
            body: its JSON, or the uploaded source.
        """
        parts = urlsplit(url)
        path, query = unquote(parts.path)[1:], dict(parse_qsl(parts.query))
        request = f"{method} {host}/{path}"
        self.requests.append(request)
        self.before(request)
        api = host.rpartition("-")[2]  # europe-west1-run is run.
        if api not in ALWAYS_ENABLED and (api not in self.apis or self._is_new(api)):
            raise Refusal(
                403, f"{api} API has not been used in project {NUMBER} before or it is disabled."
            )
        if api == "serviceusage":
            answer = self._usage(path, body)
        elif api == "storage":
            self.archives.append(body)
            answer = {}
        else:
            name, _, verb = re.sub(r"^(apis/serving.knative.dev/)?v\d/", "", path).partition(":")
            name = name.replace("namespaces/", "projects/").replace(
                "projects/-", f"projects/{PROJECT}"
            )
            if api == "run":
                name = name.replace(f"/locations/{REGION}", "")
            answer = self._resource(method, name, verb, query=query, body=body)
        self.after(request)
        return answer

    def copy(self) -> "Project":
        """Return an equal project, to which other things happen."""
        project = Project(self.clock)
        for name in ("apis", "archives", "resources", "policies"):
            setattr(project, name, copy.deepcopy(getattr(self, name)))
        return project

    def source(self) -> zipfile.ZipFile:
        """Return the source that was uploaded last."""
        return zipfile.ZipFile(io.BytesIO(self.archives[-1]))

    def secret(self, name: str) -> str:
        """Return the latest value of a secret."""
        version = self._children(f"projects/{PROJECT}/secrets/{name}/versions")[-1]
        return base64.b64decode(version["payload"]["data"]).decode()

    def grants(self) -> set[tuple[str, str, str]]:
        """Return who has a role: the last part of a resource's name, the role, and the member."""
        return {
            (name.rpartition("/")[2], binding["role"], member)
            for name, policy in self.policies.items()
            for binding in policy["bindings"]
            for member in binding["members"]
        }

    def _usage(self, path: str, body: Json | None) -> Json:
        name = re.sub(r".*services/?|:.*|\.googleapis\.com", "", path)
        if path.endswith("nable"):
            ids = body["serviceIds"] if body else [name]
            for api in (id.removesuffix(".googleapis.com") for id in ids):
                self.apis.append(api)
                self._begin(api)
            return {"name": "operations/1", "done": True, "response": {}}
        if name:
            return {"name": path, "state": "ENABLED" if name in self.apis else "DISABLED"}
        rows = [{"config": {"name": f"{api}.googleapis.com"}} for api in self.apis]
        return {"services": rows}

    def _resource(self, method: str, name: str, verb: str, *, query: Json, body: Json) -> Json:
        parent, _, kind = name.rpartition("/")
        match method, verb or kind:
            case _, "runtimes":
                return {"runtimes": [{"name": "python313", "environment": "GEN_2"}]}
            case _, "generateUploadUrl":
                url = "https://storage.googleapis.com/source"
                return {"uploadUrl": url, "storageSource": {"bucket": "b", "object": "source"}}
            case _, "addVersion":
                return self._add_version(self._item(name), body)
            case _, "access":
                return {"payload": self._children(name.rpartition("/")[0])[-1]["payload"]}
            case _, "getIamPolicy":
                self._item(name)
                if "/serviceAccounts/" in name and self._is_new(name):
                    raise Refusal(404, f"Unknown service account: {kind}")
                return self.policies.get(name, {"etag": "ACAB", "version": 1})
            case _, "setIamPolicy":
                return self._set_policy(name, body["policy"])
            case "POST", _:
                return self._create(name, query, body)
            case "PATCH" | "PUT", _:
                self._item(name).update(body)
                return self._build(name) if parent.endswith("/functions") else self._item(name)
        if len(name.split("/")) % 2:
            key = "accounts" if kind == "serviceAccounts" else kind
            return {key: self._children(name)[::-1]}
        return self._item(name)

    def _children(self, collection: str) -> list[Json]:
        return [
            row for name, row in self.resources.items() if name.rpartition("/")[0] == collection
        ]

    def _item(self, name: str) -> Json:
        for rows in (self.resources, self._operations):
            if name in rows:
                return rows[name]
        raise Refusal(404, f"{name} was not found.")

    def _begin(self, name: str) -> None:
        self._begun[name] = self.clock()

    def _is_new(self, name: str) -> bool:
        """Whether not all of Google knows something that was created or granted."""
        return name in self._begun and self.clock() < self._begun[name] + self.lag

    def _create(self, collection: str, query: Json, body: Json) -> Json:
        kind = collection.rpartition("/")[2]
        if kind == "secrets" and self.regions_only and "userManaged" not in body["replication"]:
            raise Refusal(
                400,
                "Constraint constraints/gcp.resourceLocations violated for "
                f"[orgpolicy:projects/{NUMBER}] attempting to create a secret in [global].",
            )
        id = query.get(IDS.get(kind, "")) or body.get("name", "").rpartition("/")[2]
        if kind == "serviceAccounts":
            id = f"{body['accountId']}@{DOMAIN}"
            body = {"email": id, "projectId": PROJECT, "uniqueId": "1"}
        name = f"{collection}/{id}"
        if name in self.resources:
            raise Refusal(409, f"{name} already exists.")
        if kind == "functions":
            self._check_account(body["serviceConfig"]["serviceAccountEmail"])
        self.resources[name] = {"state": "RUNNING"} | body | {"name": name}
        self._begin(name)
        return self._build(name) if kind == "functions" else self.resources[name]

    def _add_version(self, secret: Json, body: Json) -> Json:
        number = len(self._children(f"{secret['name']}/versions")) + 1
        name = f"{secret['name']}/versions/{number}"
        self.resources[name] = {"name": name, "state": "ENABLED", "payload": body["payload"]}
        return {"name": name, "state": "ENABLED", "clientSpecifiedPayloadChecksum": True}

    def _set_policy(self, name: str, policy: Json) -> Json:
        self._item(name)
        if policy["etag"] != self.policies.get(name, {"etag": "ACAB"})["etag"]:
            raise Refusal(
                409,
                "There were concurrent policy changes. Please retry the whole read-modify-write "
                "with exponential backoff.",
            )
        for binding in policy["bindings"]:
            for member in binding["members"]:
                if member != "allUsers":
                    self._check_account(member.removeprefix("serviceAccount:"))
                elif self.members_only:
                    raise Refusal(
                        400,
                        "One or more users named in the policy do not belong to a permitted "
                        "customer, perhaps due to an organization policy.",
                    )
                self._begun.setdefault(f"{binding['role']} {member}", self.clock())
        etag = base64.b64encode(str(len(self.requests)).encode()).decode()
        self.policies[name] = policy | {"etag": etag}
        return self.policies[name]

    def _check_account(self, email: str) -> None:
        name = f"projects/{PROJECT}/serviceAccounts/{email}"
        if name not in self.resources or self._is_new(name):
            raise Refusal(400, f"Service account {email} does not exist.")

    def _build(self, function: str) -> Json:
        """Build what was uploaded, and return the operation, which has ended."""
        row = self.resources[function]
        account = row["buildConfig"].get("serviceAccount", "").rpartition("/")[2]
        member = f"serviceAccount:{account}"
        location, _, id = function.partition("/functions/")
        operation: Json = {"name": f"{location}/operations/{len(self.requests)}", "done": True}
        if not account:
            error = (
                f"the service account {NUMBER}-compute@developer.gserviceaccount.com does not exist"
            )
        elif (PROJECT, BUILDER, member) not in self.grants() or self._is_new(f"{BUILDER} {member}"):
            error = "Could not build the function due to a missing permission on the build service account"
        elif not {"main.py", "requirements.txt"} <= set(self.source().namelist()):
            error = "missing main.py and GOOGLE_FUNCTION_SOURCE not specified"
        else:
            error = ""
            service = id.replace("_", "-")
            self.resources.setdefault(f"projects/{PROJECT}/services/{service}", _service(service))
        row["url"] = f"https://{REGION}-{PROJECT}.cloudfunctions.net/{id}"
        row["serviceConfig"]["service"] = f"{location}/services/{id.replace('_', '-')}"
        stages = {"stages": [{"name": "BUILD", "state": "COMPLETE"}]}
        operation["metadata"] = {"@type": f"{TYPE}.OperationMetadata"} | stages
        if error:
            operation["error"] = {
                "code": 3,
                "message": f"Build failed with status: FAILURE. {error}.",
            }
        else:
            operation["response"] = {"@type": f"{TYPE}.Function"}
        self._operations[operation["name"]] = operation
        return operation


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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Proxy"
    host = ""

    def do_CONNECT(self) -> None:
        """Become the host that was asked for."""
        self.host = self.path.partition(".")[0]
        self.send_response_only(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self) -> None:
        """Answer a request with JSON."""
        body: Any = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "json" in self.headers.get("Content-Type", ""):
            body = json.loads(body or "null")
        code = 200
        try:
            if self.host != "storage" and self.headers["Authorization"] != f"Bearer {LOGIN}":
                raise Refusal(401, "Request had invalid authentication credentials.")
            with self.server.lock:
                answer = self.server.project.answer(self.command, self.host, self.path, body)
        except Refusal as refusal:
            code, status = refusal.code, STATUSES.get(refusal.code, "UNKNOWN")
            answer = {"error": {"code": code, "message": str(refusal), "status": status}}
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    do_POST = do_PUT = do_PATCH = do_GET

    def finish(self) -> None:
        """Close the connection inside TLS, which the server does not know."""
        super().finish()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = tls
        self.lock = threading.Lock()
        self.project = Project()


@contextmanager
def serve(folder: Path) -> Iterator[tuple["Proxy", dict[str, str]]]:
    """Serve a project; yield the server and the environment in which gcloud finds it.

    Args:
        folder: for the certificate, the login, and the configuration of gcloud.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certify(key, "*.googleapis.com")
    for name, data in (
        ("roots.pem", certificate),
        ("server.pem", private_pem(key) + certificate),
        ("login", LOGIN.encode()),
    ):
        (folder / name).write_bytes(data)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem")
    with Proxy(tls) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield (
                proxy,
                {
                    "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_port}",
                    "REQUESTS_CA_BUNDLE": str(folder / "roots.pem"),
                    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(folder / "roots.pem"),
                    "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "login"),
                    "CLOUDSDK_CONFIG": str(folder / "config"),
                    "CLOUDSDK_CORE_PROJECT": PROJECT,
                    "CLOUDSDK_FUNCTIONS_REGION": REGION,
                    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
                },
            )
        finally:
            proxy.shutdown()
