"""Deploying with the real gcloud, to a Google Cloud project in memory."""

import base64
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from admin.installation import MISSING, complete
from sandbox.function import ROOT, run_function
from sandbox.google_cloud import DOMAIN, PROJECT, REGION, Project, Refusal
from sandbox.site import Site
from tests.admin.conftest import Finds, Run, set_deployment
from tests.real_gcloud import Cloud

PLACE = f"projects/{PROJECT}/locations/{REGION}"
FUNCTION, QUEUE = f"{PLACE}/functions/iconik_handler", f"{PLACE}/queues/iconik"
PLUGIN, BUILD = (f"serviceAccount:iconik-{name}@{DOMAIN}" for name in ("plugin", "build"))
URL = f"https://{REGION}-{PROJECT}.cloudfunctions.net/iconik_handler"
TOKENS = f"projects/{PROJECT}/secrets/iconik-token/versions"
SETTINGS = {"ICONIK_ID": "app-id", "STORAGE_NAME": "LucidLink"}
TOKEN = "an-application-token"
ENVIRON = dict(os.environ)

AGAIN = "Run the same command again: it continues where it stopped."
# A Python that need not import anything to print the environment.
QUICK_PYTHON = f'#!/bin/sh\n[ "$2" = admin ] && exec cat environment; exec "{sys.executable}" "$@"'
ADMINISTRATOR = "An administrator of your organization must allow this, or run it."
# Kinds of changes, what Google says of them, and what the script says after that.
TROUBLES = [
    ("batchEnable", "Billing must be enabled.", f"Link a billing account to the project {PROJECT}"),
    (":setIamPolicy", "Permission 'x.y.z' denied on it", "Ask an owner of the project to run this"),
    (":addVersion", "constraints/gcp.resourceLocations", "Choose a region with gcloud config set"),
    ("/functions", "Operation denied by org policy: constraints/x.y", ADMINISTRATOR),
]
# What Google says of changes that come too early.
EARLY = {
    ":setIamPolicy": "There were concurrent policy changes.",
    "/functions": "Unable to retrieve the repository metadata for "
    f"{PLACE}/repositories/gcf-artifacts.",
}


class Checkout:
    """A copy of what a deployment needs, and a terminal at which somebody deploys it."""

    terminal = -1

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        for name in ("admin", "storage_plugin"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("main.py", "requirements.txt", ".gcloudignore"):
            shutil.copy(ROOT / name, folder)
        (folder / "work").mkdir()
        self.folder, self.cloud, self.shell = folder, cloud, shutil.which("sh") or ""
        own = {"PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": f"{folder}/work"}
        self.environ = cloud.environ | own
        self.set(**SETTINGS, TASK_QUEUE="auto")

    def set(self, **settings: str) -> None:
        """Write the settings."""
        (self.folder / ".env.yaml").write_text(yaml.safe_dump(settings, default_style="'"))

    def deploy(self, *options: str, answer: str = f"{TOKEN}\n") -> tuple[int, list[str]]:
        """Deploy, and answer when the token is asked for; return the status and the screen."""
        process, self.terminal = pty.fork()
        if not process:
            os.chdir(self.folder)
            os.execve(self.shell, [self.shell, "admin/deploy.sh", *options], self.environ)  # noqa: S606
        screen = b""
        with suppress(OSError):  # The other end is gone.
            while chunk := os.read(self.terminal, 1024):
                screen += chunk
                if screen.endswith(b"not shown): "):
                    os.write(self.terminal, answer.encode())
        os.close(self.terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert TOKEN not in screen.decode() + self.cloud.calls()
        assert list((self.folder / "work").iterdir()) == []
        return status, screen.decode().replace("^C", "").splitlines()


FirstRun = tuple[Checkout, list[str], Project]


@pytest.fixture
def checkout(cloud: Cloud, tmp_path: Path) -> Checkout:
    """Return a checkout that has not been deployed, and whose settings are read quickly."""
    checkout = Checkout(tmp_path, cloud)
    environment = complete(SETTINGS | {"TASK_QUEUE": "auto"}, PROJECT, REGION)
    (tmp_path / "environment").write_text(yaml.safe_dump(environment, default_style="'"))
    (tmp_path / "python").write_text(QUICK_PYTHON)
    (tmp_path / "python").chmod(0o755)
    checkout.environ["PYTHON"], checkout.shell = "./python", shutil.which("bash") or ""
    return checkout


@pytest.fixture(scope="module")
def first_run(session_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    """Deploy for the first time, with a setting that nothing reads; return all that follows."""
    session_cloud.reset()
    checkout = Checkout(tmp_path_factory.mktemp("checkout"), session_cloud)
    checkout.set(**SETTINGS, TASK_QUEUE="auto", FORMAT_NAMES="x")
    status, output = checkout.deploy()
    assert status == 0, output
    return checkout, output, session_cloud.project


@pytest.fixture
def deployed(cloud: Cloud, first_run: FirstRun) -> Checkout:
    """Return a checkout that has been deployed."""
    cloud.project = deepcopy(first_run[2])
    return first_run[0]


def verbs(output: list[str]) -> list[str]:
    """Return the first words of the lines that report a step, unless it is done already."""
    words = [line.split()[0] for line in output if re.match(r"  \S", line)]
    return [word for word in words if word != "ok"]


def is_change(request: str) -> bool:
    """Whether a request may change something."""
    return not re.match(r"GET |PUT storage|.*:(getIamPolicy|generateUploadUrl)$", request)


def refuse_once(messages: dict[str, str]) -> Callable[[str], None]:
    """Return what refuses the first request of each kind, by its end, with a message."""
    left = dict(messages)

    def hook(request: str) -> None:
        for kind in left:
            if is_change(request) and request.endswith(kind):
                raise Refusal(403, left.pop(kind))

    return hook


def test_first_run(first_run: FirstRun) -> None:
    """One command creates what the function needs, and nothing else, and deploys it."""
    checkout, output, project = first_run
    place = f"This deploys to the project {PROJECT}, in the region {REGION}."
    assert output[:2] == ["Warning: Nothing reads FORMAT_NAMES.", place]
    assert len(verbs(output)) == 17 + 1  # A step asks for the token.
    assert output[-2:] == [f"The function is at {URL}", "Next: make actions, then make doctor."]
    reader = ("roles/secretmanager.secretAccessor", PLUGIN)
    assert project.grants() == {
        ("bz-shared-secret", *reader),
        ("iconik-token", *reader),
        (PROJECT, "roles/cloudbuild.builds.builder", BUILD),
        ("iconik", "roles/cloudtasks.enqueuer", PLUGIN),
        (f"iconik-queue@{DOMAIN}", "roles/iam.serviceAccountUser", PLUGIN),
        ("iconik-handler", "roles/run.invoker", "allUsers"),
    }
    assert project.secret("iconik-token") == TOKEN
    assert re.fullmatch("[0-9a-f]{64}", project.secret("bz-shared-secret"))
    queue, limits = project.resources[QUEUE], {"minBackoff": "30s", "maxBackoff": "300s"}
    assert queue["rateLimits"] == {"maxConcurrentDispatches": 1}
    assert queue["retryConfig"] == {"maxAttempts": 20, **limits}
    deployment = {"project": PROJECT, "region": REGION, "url": URL}
    assert json.loads((checkout.folder / ".deployment.json").read_text()) == deployment
    function = project.resources[FUNCTION]
    settings = SETTINGS | {"TASK_QUEUE": "auto", "FORMAT_NAMES": "x"}
    assert function["serviceConfig"] == {
        "environmentVariables": complete(settings, PROJECT, REGION),
        "availableCpu": "1",
        "availableMemory": "512Mi",
        "maxInstanceCount": 4,
        "maxInstanceRequestConcurrency": 4,
        "service": f"{PLACE}/services/iconik-handler",
        "serviceAccountEmail": PLUGIN.partition(":")[2],
        "timeoutSeconds": 1800,
    }
    build = function["buildConfig"]
    assert build["serviceAccount"].endswith(f"/serviceAccounts/iconik-build@{DOMAIN}")
    always = ({"SOURCE_DATE_EPOCH": "1"}, "python313")
    assert (build["environmentVariables"], build["runtime"]) == always


def test_dry_run(checkout: Checkout, first_run: FirstRun) -> None:
    """A dry run names all that is missing, and only that, and changes nothing."""
    for project, steps in (checkout.cloud.project, 17), (deepcopy(first_run[2]), 3):
        checkout.cloud.project = project
        project.requests.clear()
        status, output = checkout.deploy("--dry-run")
        assert (status, len(verbs(output))) == (0, steps)
        assert [request for request in project.requests if is_change(request)] == []
    assert not (checkout.folder / ".deployment.json").exists()
    assert checkout.deploy("--dry")[0] == 1


def test_from_clone_to_right_click(
    cloud: Cloud, site: Site, iconik_url: str, run: Run, tmp_path: Path
) -> None:
    """What was uploaded serves both actions, even in an organization that forbids much.

    It is the function alone, with its requirements alone. A key, a password or a cache that lies in
    a folder of the function stays at home.
    """
    project = cloud.project
    project.regions_only = project.members_only = True
    checkout = Checkout(tmp_path / "checkout", cloud)
    modules = [path.relative_to(ROOT) for path in (ROOT / "storage_plugin").rglob("*.py")]
    files = [Path("main.py"), Path("requirements.txt"), *modules]
    for folder in {path.parent for path in files} | {Path("admin"), Path(".venv/lib")}:
        for decoy in (".env", "key.pem", "key", "notes.py.txt", "__pycache__/x.py", "x/y.py"):
            (path := checkout.folder / folder / decoy).parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (checkout.folder / "storage_plugin" / "requirements.txt").touch()
    checkout.set(**site.settings(iconik_url))
    status, output = checkout.deploy()
    assert (status, verbs(output)[-2:]) == (0, ["open", "open"])
    service = project.resources[f"projects/{PROJECT}/services/iconik-handler"]
    assert service["metadata"]["annotations"]["run.googleapis.com/invoker-iam-disabled"] == "True"
    assert [name for name in project.resources if "queue" in name] == []

    source, venv = tmp_path / "source", tmp_path / "venv"
    (tmp_path / "source.zip").write_bytes(project.upload)
    shutil.unpack_archive(tmp_path / "source.zip", source)
    packed = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    assert sorted(packed) == sorted(files)
    for command in (
        ("venv", "--python", sys.executable, venv),
        ("pip", "install", "--require-hashes", "--requirement", source / "requirements.txt"),
        ("pip", "check"),
    ):
        # uv installs much faster than pip, and not from this Google.
        uv, environ = Path(sys.executable).with_name("uv"), ENVIRON | {"VIRTUAL_ENV": str(venv)}
        subprocess.run([uv, "--quiet", *command], env=environ, check=True)
    config = project.resources[FUNCTION]["serviceConfig"]
    assert config["timeoutSeconds"] == 60
    secret, site.world.token = project.secret("bz-shared-secret"), TOKEN
    secrets = {"BZ_SHARED_SECRET": secret, "ICONIK_TOKEN": TOKEN}
    environment, asset_ids = config["environmentVariables"] | secrets, [site.master()]
    with run_function(environment, source, python=str(venv / "bin" / "python")) as function:
        for verb, copies in (("add", 1), ("remove", 0)):
            answer = function.click(verb, secret, asset_ids=asset_ids)
            assert (answer.status_code, answer.text, site.copies()) == (200, "OK", copies)

        set_deployment(function.url, PROJECT)
        del os.environ["BZ_SHARED_SECRET"], os.environ["ICONIK_TOKEN"]  # gcloud reads them.
        for command in ("actions", "doctor"):
            status, text = run(command)
            assert (status, secret in text, TOKEN in text) == (0, False, False), text


def test_each_answer_is_lost(first_run: FirstRun, checkout: Checkout) -> None:
    """Runs that end after one change each add up to a single run; each fault has its remedy."""
    whole = first_run[2]
    checkout.cloud.project.after = refuse_once({kind: text for kind, text, _ in TROUBLES})
    for _, message, remedy in TROUBLES:
        status, output = checkout.deploy()
        assert (status, message in "".join(output), output[-1]) == (1, True, AGAIN)
        assert remedy in output[-2]
    assert (checkout.deploy()[0], checkout.cloud.pauses()) == (0, [])
    assert checkout.cloud.project.resources.keys() == whole.resources.keys()
    assert checkout.cloud.project.grants() == whole.grants()


def test_each_change_comes_too_early(checkout: Checkout) -> None:
    """What Google refuses for now, or does not know yet, is repeated, but not for ever."""
    checkout.cloud.project.lag = 1000
    status, output = checkout.deploy()
    assert (status, checkout.cloud.pauses()) == (1, [10, 20, 40, 60])
    assert "iam API has not been used in project" in "".join(output)
    checkout.cloud.reset()
    checkout.cloud.project.lag = 50
    checkout.cloud.project.before = refuse_once(EARLY)
    status, output = checkout.deploy()
    assert (status, {*checkout.cloud.pauses()}) == (0, {10, 20, 40}), output
    sentence = "Google needs a moment to know what is new. The next attempt is in 40 s."
    assert sentence.rjust(len(sentence) + 11) in output

    def hide(request: str) -> None:
        if re.match("GET (iam|secretmanager)/.*(Accounts|secrets)$", request):
            raise Refusal(403, "The API has not been used in project x before.")

    checkout.cloud.project.before = hide
    status, output = checkout.deploy()
    assert (status, verbs(output).count("create")) == (0, 3 + 2)  # They exist.


def test_repairs(deployed: Checkout) -> None:
    """What others have changed is repaired, but for what only a person can decide.

    If everyone is forbidden, with and without a member, the command to run is shown.
    """
    project = deployed.cloud.project
    project.members_only = True

    def forbid(request: str) -> None:
        if re.match("PUT .*-run/", request):
            raise Refusal(400, "constraints/run.managed.requireInvokerIam")

    project.before = forbid
    for name in ("bz-shared-secret", "iconik-token"):
        project.resources[f"projects/{PROJECT}/secrets/{name}/versions/1"]["state"] = "DISABLED"
    project.resources[QUEUE]["rateLimits"] = {}
    (binding,) = project.policies[f"projects/{PROJECT}"]["bindings"]
    binding["condition"] = {"title": "never", "expression": "false"}
    status, output = deployed.deploy()
    assert " ".join(verbs(output)) == "grant store Paste store set deploy open open"
    command = f"update iconik-handler --region={REGION} --project={PROJECT} --no-invoker-iam-check"
    said = [f"The command was: gcloud run services {command}", "", ADMINISTRATOR, AGAIN]
    assert (status, output[-4:]) == (1, said)
    assert project.resources[QUEUE]["rateLimits"] == {"maxConcurrentDispatches": 1}
    assert project.secret("iconik-token") == TOKEN
    builder = {"role": "roles/cloudbuild.builds.builder", "members": [BUILD]}
    assert builder in project.policies[f"projects/{PROJECT}"]["bindings"]


@pytest.mark.parametrize(
    ("pattern", "answer", "end"),
    [
        ("addVersion", f"{TOKEN}\n", "Interrupted."),
        ("nothing", "\x03", "Interrupted."),
        ("nothing", "\n", "No token was entered."),
    ],
)
def test_a_person_stops(deployed: Checkout, pattern: str, answer: str, end: str) -> None:
    """The script ends with two sentences. No secret gets a value of nothing."""
    project = deployed.cloud.project
    project.resources[f"{TOKENS}/1"]["state"] = "DESTROYED"

    def press(request: str) -> None:
        if re.search(pattern, request):
            os.write(deployed.terminal, b"\x03")
            while any((deployed.folder / "work").iterdir()):  # gcloud is not at this terminal.
                time.sleep(0.01)

    project.before = press
    status, output = deployed.deploy(answer=answer)
    assert (status, output[-3:]) == (1, [end, "", AGAIN])
    assert "Traceback" not in "".join(output)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PATH", "https://cloud.google.com/sdk/docs/install"),
        ("CLOUDSDK_CORE_PROJECT", "gcloud config set project PROJECT"),
        ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", "gcloud auth login"),
        ("ICONIK_ID", "Invalid settings: ICONIK_ID is missing"),
        ("ICONIK_ID STORAGE_NAME", MISSING),
    ],
)
def test_what_must_be_there_first(checkout: Checkout, variable: str, text: str) -> None:
    """Without gcloud, settings, a project or a login, the remedy is named before all else."""
    (checkout.folder / "tools").mkdir()
    for tool in ("cat", "dirname", "mktemp", "rm"):
        (checkout.folder / "tools" / tool).symlink_to(str(shutil.which(tool)))
    checkout.environ |= {"PYTHON": sys.executable}
    checkout.set(**{name: value for name, value in SETTINGS.items() if name not in variable})
    for name in variable.split():
        checkout.environ.pop(name, "")
    checkout.environ.setdefault("PATH", str(checkout.folder / "tools"))
    status, output = checkout.deploy()
    assert (status, text in "".join(output)) == (1, True)
    assert ("enable" in verbs(output), checkout.cloud.project.requests) == (False, [])


def test_doctor_reads_secrets_with_gcloud(site: Site, finds: Finds, cloud: Cloud) -> None:
    """What is missing, or is missing on this machine, is named with the command that helps."""
    del os.environ["ICONIK_TOKEN"]
    cloud.project.apis.append("secretmanager")
    assert finds("FAILURE|iconik|run make deploy. Or set ICONIK_TOKEN.")
    version = cloud.project.resources[f"{TOKENS}/1"] = {}
    store = "is not one line of text: run printf %s 'SECRET' | gcloud secrets versions"
    accepts = "ok|iconik|It accepts the token"
    for token, finding in {"": f"FAILURE|iconik|{store}", site.world.token: accepts}.items():
        version["payload"] = {"data": base64.b64encode(token.encode()).decode()}
        assert finds(finding)
    os.environ["CLOUDSDK_CONFIG"] = str(Path.cwd())
    del os.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]
    assert finds("FAILURE|iconik|run gcloud auth login. Or set ICONIK_TOKEN.")
    del os.environ["CLOUDSDK_CORE_PROJECT"]
    assert finds("FAILURE|iconik|run gcloud config set project PROJECT. Or set")


def test_doctor_looks_at_the_queue(finds: Finds, cloud: Cloud) -> None:
    """A queue that is missing, paused, or delivers several tasks at once is found."""
    os.environ.update(TASK_QUEUE=QUEUE, TASK_SERVICE_ACCOUNT=f"iconik-queue@{DOMAIN}")
    os.environ["FUNCTION_URL"] = "http://127.0.0.1:9"
    cloud.project.apis.append("cloudtasks")
    assert finds("FAILURE|queue|run make deploy.")
    for state, limit, finding in (
        ("RUNNING", 1, "ok|queue|It is running."),
        ("PAUSED", 1, "FAILURE|queue|run gcloud tasks queues resume projects/"),
        ("RUNNING", 5, "WARNING|queue|run gcloud tasks queues update projects/"),
    ):
        limits = {"maxConcurrentDispatches": limit}
        cloud.project.resources[QUEUE] = {"name": QUEUE, "state": state, "rateLimits": limits}
        assert finds(finding)
