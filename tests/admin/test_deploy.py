"""Deploying with the real gcloud, to a Google Cloud project in memory."""

import base64
import itertools
import json
import os
import pty
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests
import yaml

from admin.installation import MISSING, complete
from sandbox.function import ROOT, run_function
from sandbox.google_cloud import DOMAIN, PROJECT, REGION, Project, Refusal
from sandbox.site import CLIP, Site
from storage_plugin.webhook import SECRET_HEADER
from tests.admin.conftest import Finds, Run, set_deployment
from tests.real_gcloud import Cloud

PLACE = f"projects/{PROJECT}/locations/{REGION}"
FUNCTION, QUEUE = f"{PLACE}/functions/iconik_handler", f"{PLACE}/queues/iconik"
PLUGIN, BUILD = (f"serviceAccount:iconik-{name}@{DOMAIN}" for name in ("plugin", "build"))
URL = f"https://{REGION}-{PROJECT}.cloudfunctions.net/iconik_handler"
SETTINGS = {"ICONIK_ID": "app-id", "STORAGE_NAME": "LucidLink"}
TOKEN = "an-application-token"

STEPS = 17
"""The number of steps of a first run with a queue."""

AGAIN = "Run the same command again: it continues where it stopped."
QUICK_PYTHON = f"""#!/bin/sh
case $2 in admin) cat environment ;; *) exec '{sys.executable}' "$@" ;; esac
"""
"""A Python that need not import anything to print the environment."""

ADMINISTRATOR = "An administrator of your organization must allow this, or run it."
REMEDIES = {
    "Permission 'x.y.z' denied on it": (
        "Ask an owner of the project to run this, or to give you the role."
    ),
    "Billing must be enabled.": f"Link a billing account to the project {PROJECT}.",
    "Constraint constraints/gcp.resourceLocations violated": (
        "Choose a region with gcloud config set functions/region REGION."
    ),
    "Operation denied by org policy: constraints/x.y": ADMINISTRATOR,
}
"""What the script says after Google's words."""

CONCURRENT = "There were concurrent policy changes. Please retry the whole read-modify-write."
UNREADY = (
    f"Unable to retrieve the repository metadata for {PLACE}/repositories/gcf-artifacts. Ensure "
    "that the Cloud Functions service account has 'artifactregistry.repositories.list'."
)


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

    @property
    def project(self) -> Project:
        """The project that is deployed to."""
        return self.cloud.project

    def set(self, **settings: str) -> None:
        """Write the settings."""
        lines = [f"{name}: '{value}'\n" for name, value in settings.items()]
        (self.folder / ".env.yaml").write_text("".join(lines))

    def deploy(self, *options: str, answer: str = f"{TOKEN}\n") -> tuple[int, list[str]]:
        """Deploy; return the status and the lines on the screen.

        Args:
            options: of the script.
            answer: what is typed when the token is asked for.
        """
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


Deployed = tuple[Checkout, list[str]]


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
def first_run(
    session_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Checkout, list[str], Project]:
    """Deploy for the first time, with a setting that nothing reads."""
    session_cloud.reset()
    checkout = Checkout(tmp_path_factory.mktemp("checkout"), session_cloud)
    checkout.set(**SETTINGS, TASK_QUEUE="auto", FORMAT_NAMES="x")
    status, output = checkout.deploy()
    assert status == 0, output
    return checkout, output, session_cloud.project


@pytest.fixture
def deployed(cloud: Cloud, first_run: tuple[Checkout, list[str], Project]) -> Deployed:
    """Return a checkout that has been deployed, and the output."""
    checkout, output, project = first_run
    cloud.google.project = project.copy()
    return checkout, output


def verbs(output: list[str]) -> list[str]:
    """Return the first words of the lines that report a step, unless it is done already."""
    words = [line.split()[0] for line in output if re.match(r"  \S", line)]
    return [word for word in words if word != "ok"]


def is_change(request: str) -> bool:
    """Whether a request may change something."""
    return not re.match(r"GET |PUT storage|.*:(getIamPolicy|generateUploadUrl)$", request)


def refuse_once(message: Callable[[str], str]) -> Callable[[str], None]:
    """Return what refuses each request once that may change something."""
    refused = set[str]()

    def hook(request: str) -> None:
        if is_change(request) and request not in refused:
            refused.add(request)
            raise Refusal(403, message(request))

    return hook


def test_first_run(deployed: Deployed) -> None:
    """One command creates what the function needs, and nothing else, and deploys it."""
    checkout, output = deployed
    project = checkout.project
    assert output[:2] == [
        "Warning: Nothing reads FORMAT_NAMES.",
        f"This deploys to the project {PROJECT}, in the region {REGION}.",
    ]
    assert len(verbs(output)) == STEPS + 1  # A step asks for the token.
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
    assert project.resources[QUEUE]["rateLimits"] == {"maxConcurrentDispatches": 1}
    limits = {"maxAttempts": 20, "minBackoff": "30s", "maxBackoff": "300s"}
    assert project.resources[QUEUE]["retryConfig"] == limits
    deployment = {"project": PROJECT, "region": REGION, "url": URL}
    assert json.loads((checkout.folder / ".deployment.json").read_text()) == deployment
    function = project.resources[FUNCTION]
    assert function["serviceConfig"] == {
        "environmentVariables": {
            **SETTINGS,
            "FORMAT_NAMES": "x",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "THREADS": "16",
            "TASK_QUEUE": QUEUE,
            "TASK_SERVICE_ACCOUNT": f"iconik-queue@{DOMAIN}",
            "FUNCTION_URL": URL,
        },
        "availableCpu": "1",
        "availableMemory": "512Mi",
        "maxInstanceCount": 4,
        "maxInstanceRequestConcurrency": 4,
        "service": f"{PLACE}/services/iconik-handler",
        "serviceAccountEmail": PLUGIN.partition(":")[2],
        "timeoutSeconds": 1800,
    }
    build, account = function["buildConfig"], BUILD.partition(":")[2]
    assert build["serviceAccount"] == f"projects/{PROJECT}/serviceAccounts/{account}"
    assert build["environmentVariables"] == {"SOURCE_DATE_EPOCH": "1"}
    assert build["runtime"] == "python313"


def test_what_is_there_already(deployed: Deployed) -> None:
    """A later run only deploys, without the token; a dry run says so, and changes nothing."""
    checkout, _ = deployed
    deployment = ["PATCH cloudtasks", "PATCH cloudfunctions", "POST run"]
    for options, expected in (["--dry-run"], []), ([], deployment):
        checkout.project.requests.clear()
        status, output = checkout.deploy(*options)
        assert (status, verbs(output)) == (0, ["set", "deploy", "open"])
        made = [each.split("/")[0] for each in checkout.project.requests if is_change(each)]
        assert made == expected


def test_dry_run(checkout: Checkout) -> None:
    """A dry run names all that is missing, asks for nothing, and changes nothing."""
    status, output = checkout.deploy("--dry-run")
    assert (status, len(verbs(output))) == (0, STEPS)
    assert "  ok " not in "".join(output)
    assert [request for request in checkout.project.requests if is_change(request)] == []
    assert not (checkout.folder / ".deployment.json").exists()
    assert checkout.deploy("--dry")[0] == 1


def test_from_clone_to_right_click(
    cloud: Cloud, site: Site, iconik_url: str, run: Run, tmp_path: Path
) -> None:
    """What was uploaded serves both actions, even in an organization that forbids much."""
    project = cloud.project
    project.regions_only = project.members_only = True
    checkout = Checkout(tmp_path / "checkout", cloud)
    checkout.set(**site.settings(iconik_url))
    status, output = checkout.deploy()
    assert (status, verbs(output)[-2:]) == (0, ["open", "open"])
    service = project.resources[f"projects/{PROJECT}/services/iconik-handler"]
    assert service["metadata"]["annotations"]["run.googleapis.com/invoker-iam-disabled"] == "True"
    assert [name for name in project.resources if "queue" in name] == []

    project.source().extractall(tmp_path / "source")
    config = project.resources[FUNCTION]["serviceConfig"]
    assert config["timeoutSeconds"] == 60
    secret, site.world.token = project.secret("bz-shared-secret"), TOKEN
    secrets = {"BZ_SHARED_SECRET": secret, "ICONIK_TOKEN": TOKEN}
    asset_id = site.world.add_asset("Clip")
    site.world.add_file_set(asset_id, site.b2, [CLIP])
    with run_function(config["environmentVariables"] | secrets, tmp_path / "source") as function:
        for verb, copies in (("add", 1), ("remove", 0)):
            answer = requests.post(
                f"{function.url}/{verb}",
                headers={SECRET_HEADER: secret},
                json={"asset_ids": [asset_id]},
                timeout=60,
            )
            assert (answer.status_code, answer.text, site.copies()) == (200, "OK", copies)

        set_deployment(function.url, PROJECT)
        del os.environ["BZ_SHARED_SECRET"], os.environ["ICONIK_TOKEN"]  # gcloud reads them.
        for command in ("actions", "doctor"):
            status, text = run(command)
            assert (status, secret in text, TOKEN in text) == (0, False, False), text


def test_each_answer_is_lost(deployed: Deployed, checkout: Checkout) -> None:
    """Runs that end after one change after the other add up to what a single run makes.

    What Google says is shown with a remedy.
    """
    whole, said = deployed[0].project, list[tuple[str, str]]()
    remedies = itertools.cycle(REMEDIES.items())

    def refuse(_: str) -> str:
        said.append(next(remedies))
        return said[-1][0]

    checkout.cloud.reset()
    checkout.project.after = refuse_once(refuse)
    while (result := checkout.deploy())[0]:
        message, remedy = said[-1]
        assert message in "".join(result[1])
        assert result[1][-2:] == [remedy, AGAIN]
    assert len(said) > 12
    assert checkout.cloud.pauses() == []
    assert checkout.project.resources.keys() == whole.resources.keys()
    assert checkout.project.grants() == whole.grants()


def test_each_change_comes_too_early(checkout: Checkout) -> None:
    """What Google refuses for now, or does not know yet, is repeated after longer pauses."""
    checkout.project.lag = 50
    checkout.project.before = refuse_once(
        lambda request: UNREADY if "/functions" in request else CONCURRENT
    )
    status, output = checkout.deploy()
    assert status == 0, output
    sentence = "           Google needs a moment to know what is new. The next attempt is in 40 s."
    assert sentence in output
    assert {*checkout.cloud.pauses()} == {10, 20, 40}


def test_news_that_never_come(checkout: Checkout) -> None:
    """After a while the script gives up, with gcloud's own words."""
    checkout.project.lag = 1000
    status, output = checkout.deploy()
    assert (status, checkout.cloud.pauses()) == (1, [10, 20, 40, 60])
    assert any("iam API has not been used in project" in line for line in output)


def test_only_a_person_can_decide(deployed: Deployed) -> None:
    """If everyone is forbidden, with and without a member, the command to run is shown."""
    checkout, _ = deployed
    checkout.project.members_only = True

    def forbid(request: str) -> None:
        if re.match("PUT .*-run/", request):
            raise Refusal(400, "constraints/run.managed.requireInvokerIam")

    checkout.project.before = forbid
    status, output = checkout.deploy()
    command = f"update iconik-handler --region={REGION} --project={PROJECT} --no-invoker-iam-check"
    assert (status, output[-4:]) == (
        1,
        [f"The command was: gcloud run services {command}", "", ADMINISTRATOR, AGAIN],
    )


def test_repairs(deployed: Deployed) -> None:
    """What others have changed is repaired."""
    checkout, _ = deployed
    project = checkout.project
    for name in ("bz-shared-secret", "iconik-token"):
        project.resources[f"projects/{PROJECT}/secrets/{name}/versions/1"]["state"] = "DISABLED"
    project.resources[QUEUE]["rateLimits"] = {}
    (binding,) = project.policies[f"projects/{PROJECT}"]["bindings"]
    binding["condition"] = {"title": "never", "expression": "false"}
    status, output = checkout.deploy()
    assert (status, " ".join(verbs(output))) == (0, "grant store Paste store set deploy open")
    assert project.resources[QUEUE]["rateLimits"] == {"maxConcurrentDispatches": 1}
    assert project.secret("iconik-token") == TOKEN
    bindings = project.policies[f"projects/{PROJECT}"]["bindings"]
    assert [other for other in bindings if "condition" not in other] == [
        {"role": "roles/cloudbuild.builds.builder", "members": [BUILD]}
    ]


@pytest.mark.parametrize(
    ("pattern", "answer", "end"),
    [
        ("addVersion", f"{TOKEN}\n", "Interrupted."),
        ("nothing", "\x03", "Interrupted."),
        ("nothing", "\n", "No token was entered."),
    ],
    ids=["Ctrl-C while gcloud works", "Ctrl-C instead of a token", "no token"],
)
def test_a_person_stops(deployed: Deployed, pattern: str, answer: str, end: str) -> None:
    """The script ends with two sentences. No secret gets a value of nothing."""
    checkout, _ = deployed
    version = checkout.project.resources[f"projects/{PROJECT}/secrets/iconik-token/versions/1"]
    version["state"] = "DESTROYED"

    def press(request: str) -> None:
        if re.search(pattern, request):
            os.write(checkout.terminal, b"\x03")
            while any((checkout.folder / "work").iterdir()):  # gcloud is not at this terminal.
                time.sleep(0.01)

    checkout.project.before = press
    status, output = checkout.deploy(answer=answer)
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
    assert (status, text in "".join(output), output[-1]) == (1, True, AGAIN)
    assert ("enable" in verbs(output), checkout.project.requests) == (False, [])


def test_doctor_reads_secrets_with_gcloud(site: Site, finds: Finds, cloud: Cloud) -> None:
    """What is missing, or is missing on this machine, is named with the command that helps."""
    del os.environ["ICONIK_TOKEN"]
    cloud.project.apis.append("secretmanager")
    assert finds("FAILURE|iconik|run make deploy. Or set ICONIK_TOKEN.")
    version = cloud.project.resources[f"projects/{PROJECT}/secrets/iconik-token/versions/1"] = {}
    store = "is not one line of text: run printf %s 'SECRET' | gcloud secrets versions"
    for token, finding in (
        ("", f"FAILURE|iconik|{store}"),
        (site.world.token, "ok|iconik|It accepts the token"),
    ):
        version["payload"] = {"data": base64.b64encode(token.encode()).decode()}
        assert finds(finding)
    os.environ["CLOUDSDK_CONFIG"] = str(Path.cwd())
    del os.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]
    assert finds("FAILURE|iconik|run gcloud auth login. Or set ICONIK_TOKEN.")
    del os.environ["CLOUDSDK_CORE_PROJECT"]
    assert finds("FAILURE|iconik|run gcloud config set project PROJECT. Or set")


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        (None, "FAILURE|queue|run make deploy."),
        ({}, "ok|queue|It is running."),
        ({"state": "PAUSED"}, "FAILURE|queue|run gcloud tasks queues resume projects/"),
        ({"rateLimits": {}}, "WARNING|queue|run gcloud tasks queues update projects/"),
    ],
)
def test_doctor_looks_at_the_queue(
    finds: Finds, cloud: Cloud, changes: dict[str, object] | None, finding: str
) -> None:
    """A queue that is missing, paused, or delivers several tasks at once is found."""
    os.environ.update(TASK_QUEUE=QUEUE, TASK_SERVICE_ACCOUNT=f"iconik-queue@{DOMAIN}")
    os.environ["FUNCTION_URL"] = "http://127.0.0.1:9"
    cloud.project.apis.append("cloudtasks")
    if changes is not None:
        usual = {"state": "RUNNING", "rateLimits": {"maxConcurrentDispatches": 1}}
        cloud.project.resources[QUEUE] = {"name": QUEUE} | usual | changes
    assert finds(finding)
