"""A Google Cloud project in memory, for the real gcloud.

It is a proxy that answers for *.googleapis.com itself. So gcloud stays as it is: its environment
names the proxy, the proxy's certificate, and a login. The project knows the requests of a
deployment, and refuses what Google refuses.

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
LOGIN = "login-of-an-owner"
BUILDER = "roles/cloudbuild.builds.builder"
ALWAYS_ENABLED = {"cloudresourcemanager", "serviceusage", "storage"}
STATUSES = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED"}
TYPE = "type.googleapis.com/google.cloud.functions.v2"


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

    Args:
        clock: returns the seconds that have passed.

    Attributes:
        apis: those that are enabled.
        resources: what there is, by its full name.
        policies: who may do what, by the full name of a resource.
        sources: the archives that were uploaded.
        requests: those that were made, like "POST secretmanager/v1/projects/project/secrets".
        before: is called with each request before it has its effect, and may refuse it.
        after: is called with each request after it has had its effect, and may refuse it.
        lag: the seconds after which all of Google knows what is new.
        regions_only: whether the organization forbids what is not in a region.
        members_only: whether the organization forbids everyone as a member.
    """

    def __init__(self, clock: Callable[[], float] = float) -> None:
        self.apis: list[str] = []
        self.resources: dict[str, Json] = {
            f"projects/{PROJECT}": {"projectId": PROJECT, "projectNumber": NUMBER}
        }
        self.policies: dict[str, Json] = {}
        self.sources: list[bytes] = []
        self.requests: list[str] = []
        self.before: Callable[[str], object] = bool
        self.after: Callable[[str], object] = bool
        self.lag = 0.0
        self.regions_only = self.members_only = False
        self._clock = clock
        self._since: dict[str, float] = {}
        self._operations: dict[str, Json] = {}

    def copy(self) -> "Project":
        """Return an equal project, to which other things happen."""
        project = Project(self._clock)
        for name in ("apis", "resources", "policies", "sources"):
            setattr(project, name, copy.deepcopy(getattr(self, name)))
        return project

    def source(self) -> zipfile.ZipFile:
        """Return the source that was uploaded last."""
        return zipfile.ZipFile(io.BytesIO(self.sources[-1]))

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

    def answer(self, method: str, host: str, url: str, body: Any) -> Json:
        """Answer a request.

        Args:
            method: of HTTP.
            host: its name without the domain.
            url: path and query.
            body: its JSON, or the uploaded archive.

        Raises:
            Refusal: Google refuses it.
        """
        path, query = unquote(urlsplit(url).path), dict(parse_qsl(urlsplit(url).query))
        request, api = f"{method} {host}{path}", host.removeprefix(f"{REGION}-")
        self.requests.append(request)
        self.before(request)
        if api not in ALWAYS_ENABLED and (api not in self.apis or self._is_new(api)):
            text = f"{api} API has not been used in project {NUMBER} before or it is disabled."
            raise Refusal(403, text)
        if api == "serviceusage":
            answer = self._answer_for_apis(path, body)
        elif api == "storage":
            self.sources.append(body)
            answer = {}
        else:
            name, _, verb = re.sub(r"^.*/v\d/", "", path).partition(":")
            name = name.replace("projects/-/", f"projects/{PROJECT}/")
            # Cloud Run calls a service by two names.
            name = name.replace("namespaces/", "projects/")
            name = name.replace(f"/locations/{REGION}/services/", "/services/")
            answer = self._answer_for_resource(f"{method} {verb}", name, body=body, query=query)
        self.after(request)
        return answer

    def _answer_for_apis(self, path: str, body: Json | None) -> Json:
        name = re.sub(r".*/services/?|:.*|\.googleapis\.com", "", path)
        if path.endswith("nable"):
            names = body["serviceIds"] if body else [name]
            for api in (name.removesuffix(".googleapis.com") for name in names):
                self.apis.append(api)
                self._since[api] = self._clock()
            return {"name": "operations/1", "done": True, "response": {}}
        if name:
            return {"name": path, "state": "ENABLED" if name in self.apis else "DISABLED"}
        return {"services": [{"config": {"name": f"{api}.googleapis.com"}} for api in self.apis]}

    def _answer_for_resource(self, action: str, name: str, *, body: Json, query: Json) -> Json:
        collection, _, id = name.rpartition("/")
        if action == "GET " and id == "runtimes":
            return {"runtimes": [{"name": "python313", "environment": "GEN_2"}]}
        if action == "POST generateUploadUrl":
            place = {"bucket": "sources", "object": "source"}
            return {"uploadUrl": "https://storage.googleapis.com/source", "storageSource": place}
        if action == "POST addVersion":
            collection, query = f"{self._item(name)['name']}/versions", {}
            return self._create(collection, str(len(self._children(collection)) + 1), body)
        if action == "GET access":
            return {"payload": (self._children(collection) or [self._item(name)])[-1]["payload"]}
        if action.endswith("getIamPolicy"):
            return self._policy(name)
        if action == "POST setIamPolicy":
            return self._set_policy(name, body["policy"])
        if action == "POST ":
            ids = {"secrets": query.get("secretId"), "functions": query.get("functionId")}
            return self._create(name, ids.get(id) or body.get("name", "").rpartition("/")[2], body)
        if action in ("PATCH ", "PUT "):
            self._item(name).update(body)
            return self._build(name) if "/functions/" in name else self._item(name)
        if action == "GET " and len(name.split("/")) % 2:
            rows = self._children(name)[::-1]
            return {"accounts" if id == "serviceAccounts" else id: rows}
        if action == "GET ":
            return self._item(name)
        raise Refusal(501, f"{action} is not known here.")

    def _children(self, collection: str) -> list[Json]:
        return [
            row for name, row in self.resources.items() if name.rpartition("/")[0] == collection
        ]

    def _item(self, name: str) -> Json:
        row = self.resources.get(name) or self._operations.get(name)
        if row is None:
            raise Refusal(404, f"{name} was not found.")
        return row

    def _is_new(self, name: str) -> bool:
        """Whether not all of Google knows something that was enabled, created or granted."""
        return name in self._since and self._clock() < self._since[name] + self.lag

    def _create(self, collection: str, id: str, body: Json) -> Json:
        kind = collection.rpartition("/")[2]
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
        if policy["etag"] != self._policy(name)["etag"]:
            raise Refusal(409, "There were concurrent policy changes. Please retry.")
        members = {
            (member, binding["role"])
            for binding in policy["bindings"]
            for member in binding["members"]
        }
        for member, role in members:
            if member != "allUsers":
                self._check_account(member.removeprefix("serviceAccount:"))
            elif self.members_only:
                text = (
                    "One or more users named in the policy do not belong to a permitted customer."
                )
                raise Refusal(400, text)
            self._since.setdefault(f"{member} {role}", self._clock())
        etag = base64.b64encode(str(len(self.requests)).encode()).decode()
        self.policies[name] = policy | {"etag": etag}
        return self.policies[name]

    def _check_account(self, email: str) -> None:
        name = f"projects/{PROJECT}/serviceAccounts/{email}"
        if name not in self.resources or self._is_new(name):
            raise Refusal(400, f"Service account {email} does not exist.")

    def _build(self, name: str) -> Json:
        """Build a function from the last source; return the operation, which has ended."""
        function, (place, _, id) = self.resources[name], name.partition("/functions/")
        service = id.replace("_", "-")
        function["url"] = f"https://{REGION}-{PROJECT}.cloudfunctions.net/{id}"
        function["serviceConfig"]["service"] = f"{place}/services/{service}"
        operation: Json = {
            "name": f"{place}/operations/{len(self.requests)}",
            "done": True,
            "metadata": {
                "@type": f"{TYPE}.OperationMetadata",
                "stages": [{"name": "BUILD", "state": "COMPLETE"}],
            },
        }
        self._operations[operation["name"]] = operation
        if fault := self._fault_of_build(function["buildConfig"].get("serviceAccount", "")):
            text = f"Build failed with status: FAILURE. {fault}."
            operation["error"] = {"code": 3, "message": text}
        else:
            operation["response"] = {"@type": f"{TYPE}.Function"}
            self.resources.setdefault(f"projects/{PROJECT}/services/{service}", _service(service))
        return operation

    def _fault_of_build(self, account: str) -> str:
        member = f"serviceAccount:{account.rpartition('/')[2]}"
        if not account:
            return f"Account {NUMBER}-compute@developer.gserviceaccount.com does not exist"
        if (PROJECT, BUILDER, member) not in self.grants() or self._is_new(f"{member} {BUILDER}"):
            return "There is a missing permission on the build service account"
        if not {"main.py", "requirements.txt"} <= set(self.source().namelist()):
            return "The source has no main.py"
        return ""


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
    disable_nagle_algorithm = True  # Otherwise, each answer waits for 40 ms.
    server: "Proxy"
    host = ""

    def do_CONNECT(self) -> None:
        """Become the host that gcloud asks for."""
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
    """Leads gcloud to a project.

    Attributes:
        project: whose requests are answered.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls, self.lock, self.project = tls, threading.Lock(), Project()


@contextmanager
def serve(folder: Path) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """Serve a project; yield the proxy, and the environment in which gcloud uses it.

    Args:
        folder: for the certificate, the login, and the configuration of gcloud.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certify(key, "*.googleapis.com")
    (folder / "roots").write_bytes(certificate)
    (folder / "server").write_bytes(private_pem(key) + certificate)
    (folder / "login").write_text(LOGIN)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server")
    with Proxy(tls) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        yield (
            proxy,
            {
                "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_port}",
                "REQUESTS_CA_BUNDLE": str(folder / "roots"),
                "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(folder / "roots"),
                "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "login"),
                "CLOUDSDK_CONFIG": str(folder / "config"),
                "CLOUDSDK_CORE_PROJECT": PROJECT,
                "CLOUDSDK_FUNCTIONS_REGION": REGION,
                "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            },
        )
        proxy.shutdown()
