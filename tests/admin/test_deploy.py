"""Deploying with the real gcloud, to a Google Cloud project in memory."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests
import yaml

from admin.files import complete
from sandbox.function import ROOT, run_function
from sandbox.google_cloud import DOMAIN, PROJECT, REGION, Project, Refusal
from sandbox.site import CLIP, Site
from storage_plugin.webhook import SECRET_HEADER
from tests.admin.conftest import Run, set_deployment
from tests.real_gcloud import Cloud

PLACE = f"projects/{PROJECT}/locations/{REGION}"
FUNCTION, QUEUE = f"{PLACE}/functions/iconik_handler", f"{PLACE}/queues/iconik"
SERVICE = f"projects/{PROJECT}/services/iconik-handler"
PLUGIN, BUILD = (f"serviceAccount:iconik-{name}@{DOMAIN}" for name in ("plugin", "build"))
URL = f"https://{REGION}-{PROJECT}.cloudfunctions.net/iconik_handler"
SETTINGS = {"ICONIK_ID": "app-id", "STORAGE_NAME": "LucidLink"}
TOKEN = "an-application-token"

STEPS = 16
"""The number of steps of a first run with a queue."""

AGAIN = "Run the same command again: it continues where it stopped."
QUICK_PYTHON = f"""#!/bin/sh
case $2 in admin) cat environment ;; *) exec {sys.executable} "$@" ;; esac
"""
"""A Python that need not import anything to print the environment."""

ASK_OWNER = "Ask an owner of the project to run this, or to give you the role."
DENIED = "Permission 'x.y.z' denied on resource 'it'"
CONCURRENT = "There were concurrent policy changes. Please retry the whole read-modify-write."
UNREADY = (
    f"Unable to retrieve the repository metadata for {PLACE}/repositories/gcf-artifacts. Ensure "
    "that the Cloud Functions service account has 'artifactregistry.repositories.list'."
)


@dataclass(frozen=True)
class Checkout:
    """A copy of the project, and whose Google Cloud it is deployed to.

    Attributes:
        folder: the copy.
        cloud: Google Cloud.
        shell: what runs the script.
        python: what reads the settings.
    """

    folder: Path
    cloud: Cloud
    shell: str = "sh"
    python: str = sys.executable

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command."""
        (self.folder / "tmp").mkdir(exist_ok=True)
        return self.cloud.environ | {
            "PYTHON": self.python,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.folder / "tmp"),
        }

    def set(self, **settings: str) -> None:
        """Write the settings."""
        lines = [f"{name}: '{value}'\n" for name, value in settings.items()]
        (self.folder / ".env.yaml").write_text("".join(lines))

    def deploy(self, *options: str, token: str = TOKEN) -> tuple[int, list[str]]:
        """Deploy; return the status and the lines of the output."""
        result = subprocess.run(
            [self.shell, "admin/deploy.sh", *options],
            cwd=self.folder,
            env=self.environ,
            input=token,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Without a terminal, the token is read from standard input.
        )
        output = result.stdout + result.stderr
        assert TOKEN not in output + self.cloud.calls()
        assert list((self.folder / "tmp").iterdir()) == []
        return result.returncode, output.splitlines()


Deployed = tuple[Checkout, Project, list[str]]


def new_checkout(folder: Path, cloud: Cloud) -> Checkout:
    """Return a copy of what a deployment needs, with settings for a queue."""
    for name in ("admin", "storage_plugin"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("main.py", "requirements.txt", ".gcloudignore"):
        shutil.copy(ROOT / name, folder)
    checkout = Checkout(folder, cloud)
    checkout.set(**SETTINGS, TASK_QUEUE="auto")
    return checkout


@pytest.fixture
def checkout(cloud: Cloud, tmp_path: Path) -> Checkout:
    """Return a checkout that has not been deployed, and whose settings are read quickly."""
    checkout = new_checkout(tmp_path, cloud)
    environment = complete(SETTINGS | {"TASK_QUEUE": "auto"}, PROJECT, REGION)
    (tmp_path / "environment").write_text(yaml.safe_dump(environment, default_style="'"))
    (tmp_path / "python").write_text(QUICK_PYTHON)
    (tmp_path / "python").chmod(0o755)
    return replace(checkout, shell="bash", python="./python")  # noqa: S604


@pytest.fixture(scope="module")
def first_run(session_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Deploy for the first time."""
    session_cloud.reset()
    checkout = new_checkout(tmp_path_factory.mktemp("checkout"), session_cloud)
    status, output = checkout.deploy()
    assert status == 0, output
    return checkout, session_cloud.project, output


@pytest.fixture
def deployed(cloud: Cloud, first_run: Deployed) -> Deployed:
    """Return a checkout that has been deployed, its project, and the output."""
    checkout, project, output = first_run
    cloud.proxy.project = project.copy()
    return checkout, cloud.project, output


def verbs(output: list[str]) -> list[str]:
    """Return the first words of the lines that report a step."""
    return [line.split()[0] for line in output if re.match(r"  \S", line)]


def is_change(request: str) -> bool:
    """Whether a request may change something."""
    return not re.match(r"GET |PUT storage|.*:(getIamPolicy|generateUploadUrl)$", request)


def refuse(pattern: str, code: int, message: str) -> Callable[[str], None]:
    """Return what refuses the first request that matches a pattern."""
    refused = list[str]()

    def hook(request: str) -> None:
        if re.search(pattern, request) and not refused:
            refused.append(request)
            raise Refusal(code, message)

    return hook


def test_first_run(deployed: Deployed) -> None:
    """One command creates what the function needs, and nothing else."""
    checkout, project, output = deployed
    assert output[0] == f"This deploys to the project {PROJECT}, in the region {REGION}."
    assert len([verb for verb in verbs(output) if verb != "ok"]) == STEPS
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


def test_the_function(deployed: Deployed) -> None:
    """The function has the settings, two accounts, limits, and room for a task of half an hour."""
    function = deployed[1].resources[FUNCTION]
    service = function["serviceConfig"]
    assert service.pop("environmentVariables") == {
        **SETTINGS,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "THREADS": "16",
        "TASK_QUEUE": QUEUE,
        "TASK_SERVICE_ACCOUNT": f"iconik-queue@{DOMAIN}",
        "FUNCTION_URL": URL,
    }
    assert service == {
        "availableCpu": "1",
        "availableMemory": "512Mi",
        "maxInstanceCount": 4,
        "maxInstanceRequestConcurrency": 4,
        "service": f"{PLACE}/services/iconik-handler",
        "serviceAccountEmail": PLUGIN.partition(":")[2],
        "timeoutSeconds": 1800,
    }
    build = function["buildConfig"]
    assert (
        build["serviceAccount"] == f"projects/{PROJECT}/serviceAccounts/{BUILD.partition(':')[2]}"
    )
    assert build["environmentVariables"] == {"SOURCE_DATE_EPOCH": "1"}
    assert build["runtime"] == "python313"


def test_what_is_there_already(deployed: Deployed) -> None:
    """A later run only deploys, without the token; a dry run says so, and changes nothing."""
    checkout, project, _ = deployed
    for options, expected in (["--dry-run"], []), ([], ["PATCH cloudfunctions", "POST run"]):
        project.requests.clear()
        status, output = checkout.deploy(*options, token="")
        assert (status, [verb for verb in verbs(output) if verb != "ok"]) == (0, ["deploy", "open"])
        made = [request.split("/")[0] for request in project.requests if is_change(request)]
        assert made == expected


def test_dry_run(checkout: Checkout) -> None:
    """A dry run names all that is missing, asks for nothing, and changes nothing."""
    status, output = checkout.deploy("--dry-run", token="")
    assert (status, len(verbs(output)), "ok" in verbs(output)) == (0, STEPS, False)
    assert [request for request in checkout.cloud.project.requests if is_change(request)] == []
    assert not (checkout.folder / ".deployment.json").exists()


def test_from_clone_to_right_click(
    cloud: Cloud, site: Site, iconik_url: str, run: Run, tmp_path: Path
) -> None:
    """What was uploaded serves both actions, even in an organization that forbids much."""
    project = cloud.project
    project.regions_only = project.members_only = True
    checkout = new_checkout(tmp_path / "checkout", cloud)
    checkout.set(**site.settings(iconik_url))
    status, output = checkout.deploy()
    assert (status, verbs(output)[-2:]) == (0, ["open", "open"])
    annotations = project.resources[SERVICE]["metadata"]["annotations"]
    assert annotations["run.googleapis.com/invoker-iam-disabled"] == "True"
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
        for command in (["actions", "create"], ["doctor"]):
            status, text = run(*command)
            assert (status, secret in text, TOKEN in text) == (0, False, False), text


def test_each_answer_is_lost(checkout: Checkout, deployed: Deployed) -> None:
    """Runs that end after one change after the other add up to what a single run makes."""
    checkout.cloud.reset()
    project, seen = checkout.cloud.project, set[object]()

    def lose(request: str) -> None:
        state = (request, len(project.resources), len(project.grants()))
        if is_change(request) and state not in seen:
            seen.add(state)
            raise Refusal(403, DENIED)

    project.after = lose
    while (result := checkout.deploy())[0]:
        assert result[1][-2:] == [ASK_OWNER, AGAIN]
    assert len(seen) >= STEPS
    assert project.resources.keys() == deployed[1].resources.keys()
    assert project.grants() == deployed[1].grants()


def test_each_change_comes_too_early(checkout: Checkout) -> None:
    """A change that Google refuses for now is repeated after ten seconds, and the run goes on."""
    project, seen = checkout.cloud.project, set[object]()

    def refuse_once(request: str) -> None:
        state = (request, len(project.resources), len(project.grants()))
        if is_change(request) and state not in seen:
            seen.add(state)
            raise Refusal(403, UNREADY if "/functions" in request else CONCURRENT)

    project.before = refuse_once
    status, output = checkout.deploy()
    assert (status, checkout.cloud.pauses()) == (0, [10] * STEPS), output


def test_ctrl_c(checkout: Checkout) -> None:
    """Ctrl-C while gcloud works ends with two sentences."""
    process = subprocess.Popen(
        [checkout.shell, "admin/deploy.sh"],
        cwd=checkout.folder,
        env=checkout.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def press(request: str) -> None:
        if is_change(request):
            os.killpg(process.pid, signal.SIGINT)

    checkout.cloud.project.before = press
    _, errors = process.communicate()
    assert list((checkout.folder / "tmp").iterdir()) == []
    assert (process.returncode, errors) == (1, f"\nInterrupted.\n\n{AGAIN}\n")


def test_news_take_a_while(checkout: Checkout) -> None:
    """What not all of Google knows yet is repeated, after longer and longer pauses."""
    checkout.cloud.project.lag = 50
    status, output = checkout.deploy()
    assert status == 0, output
    sentence = "           Google needs a moment to know what is new. The next attempt is in 40 s."
    assert output.count(sentence) == 3  # For an API, an account, and a role.
    assert checkout.cloud.pauses() == [10, 20, 40] * 3


def test_news_that_never_come(checkout: Checkout) -> None:
    """After a while the script gives up, with gcloud's own words."""
    checkout.cloud.project.lag = 1000
    status, output = checkout.deploy()
    assert (status, checkout.cloud.pauses()) == (1, [10, 20, 40, 60])
    assert any("iam API has not been used in project" in line for line in output)


@pytest.mark.parametrize(
    ("method", "message", "remedy"),
    [
        (
            "POST",
            "Billing account for project '1' is not found. Billing must be enabled.",
            f"Link a billing account to the project {PROJECT}.",
        ),
        (
            "GET",
            "Constraint constraints/gcp.resourceLocations violated",
            "Choose a region with gcloud config set functions/region REGION.",
        ),
        (
            "GET",
            "Operation denied by org policy: constraints/x.y",
            "An administrator of your organization must allow this, or run it.",
        ),
        ("POST", "Build failed with status: FAILURE.", "See the log of the build."),
        ("GET", DENIED, ASK_OWNER),
        ("POST", DENIED, ASK_OWNER),
    ],
)
def test_remedies(checkout: Checkout, method: str, message: str, remedy: str) -> None:
    """If Google refuses something, its words and a remedy are shown, and nothing follows."""
    project = checkout.cloud.project
    project.before = refuse(f"{method} serviceusage", 403, message)
    status, output = checkout.deploy()
    assert (status, checkout.cloud.pauses(), project.apis) == (1, [], [])
    assert any(message in line for line in output)
    assert output[-2:] == [remedy, AGAIN]


def test_only_a_person_can_decide(deployed: Deployed) -> None:
    """If everyone is forbidden, with and without a member, the command to run is shown."""
    checkout, project, _ = deployed
    project.members_only = True
    project.before = refuse("PUT .*-run/", 400, "constraints/run.managed.requireInvokerIam")
    status, output = checkout.deploy()
    assert (status, output[-4:]) == (
        1,
        [
            "The command was: gcloud run services update iconik-handler "
            f"--region={REGION} --project={PROJECT} --no-invoker-iam-check",
            "",
            "An administrator of your organization must allow this, or run it.",
            AGAIN,
        ],
    )


def test_repairs(deployed: Deployed) -> None:
    """What others have changed is repaired. At a terminal, what is typed does not appear."""
    checkout, project, _ = deployed
    for name in ("bz-shared-secret", "iconik-token"):
        project.resources[f"projects/{PROJECT}/secrets/{name}/versions/1"]["state"] = "DISABLED"
    (binding,) = project.policies[f"projects/{PROJECT}"]["bindings"]
    binding["condition"] = {"title": "never", "expression": "false"}
    status, screen = deploy_at_terminal(checkout, f"{TOKEN}\n")
    assert status == 0, screen
    assert TOKEN not in screen + checkout.cloud.calls()
    steps = [verb for verb in verbs(screen.splitlines()) if verb != "ok"]
    assert steps == ["grant", "store", "Paste", "store", "deploy", "open"]
    assert project.secret("iconik-token") == TOKEN
    bindings = project.policies[f"projects/{PROJECT}"]["bindings"]
    assert [other for other in bindings if "condition" not in other] == [
        {"role": "roles/cloudbuild.builds.builder", "members": [BUILD]}
    ]


def test_ctrl_c_instead_of_a_token(deployed: Deployed) -> None:
    """Ctrl-C at the question ends the script, without a traceback."""
    checkout, project, _ = deployed
    project.resources[f"projects/{PROJECT}/secrets/iconik-token/versions/1"]["state"] = "DESTROYED"
    status, screen = deploy_at_terminal(checkout, "\x03")
    end = "\n".join(screen.replace("^C", "").splitlines()[-3:])
    assert (status, end, "Traceback" in screen) == (1, f"Interrupted.\n\n{AGAIN}", False)


def deploy_at_terminal(checkout: Checkout, answer: str) -> tuple[int, str]:
    """Deploy at a terminal; return the status and what the screen shows.

    Args:
        answer: what is typed when the token is asked for.
    """
    process, terminal = pty.fork()
    if not process:
        os.chdir(checkout.folder)
        os.execvpe(checkout.shell, [checkout.shell, "admin/deploy.sh"], checkout.environ)  # noqa: S606
    screen = b""
    with suppress(OSError):  # The other end is gone.
        while chunk := os.read(terminal, 1024):
            screen += chunk
            if screen.endswith(b"not shown): "):
                os.write(terminal, answer.encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), screen.decode()


def test_no_token(checkout: Checkout) -> None:
    """Without a token no secret gets a value of nothing; what was made before stays."""
    status, output = checkout.deploy(token="\n")
    assert (status, output[-3:]) == (1, ["No token was entered.", "", AGAIN])
    versions = [name for name in checkout.cloud.project.resources if "/versions/" in name]
    assert versions == [f"projects/{PROJECT}/secrets/bz-shared-secret/versions/1"]


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("PATH", "tools", "https://cloud.google.com/sdk/docs/install"),
        ("CLOUDSDK_CORE_PROJECT", None, "gcloud config set project PROJECT"),
        ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", None, "Run gcloud auth login."),
    ],
)
def test_what_must_be_there_first(
    checkout: Checkout, variable: str, value: str | None, text: str
) -> None:
    """Without gcloud, a project or a login the remedy is named."""
    (checkout.folder / "tools").mkdir()
    for tool in ("cat", "dirname", "mktemp", "rm"):
        (checkout.folder / "tools" / tool).symlink_to(str(shutil.which(tool)))
    environ = checkout.cloud.environ | {variable: value}
    environ = {name: value for name, value in environ.items() if value is not None}
    cloud = replace(checkout.cloud, environ=environ)
    shell = str(shutil.which("bash"))
    checkout = replace(checkout, cloud=cloud, shell=shell, python=sys.executable)
    status, output = checkout.deploy()
    assert (status, text in "".join(output), output[-1]) == (1, True, AGAIN)


def test_settings_come_first(checkout: Checkout) -> None:
    """Wrong settings are an error before Google is asked; those that nothing reads are named."""
    checkout = replace(checkout, python=sys.executable)
    checkout.set(ICONIK_ID="x")
    status, output = checkout.deploy()
    assert (status, "STORAGE_NAME is missing" in "".join(output)) == (1, True)
    assert checkout.cloud.project.requests == []
    checkout.set(**SETTINGS, FORMAT_NAMES="ORIGINAL")
    status, output = checkout.deploy("--dry-run")
    assert (status, "Warning: Nothing reads FORMAT_NAMES. Did you mean FORMAT_NAME?" in output) == (
        0,
        True,
    )
    assert checkout.deploy("--dry")[0] == 1
