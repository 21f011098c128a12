"""Deploying, against a gcloud that changes a project in a file."""

import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from admin.deploy import APIS, deploy
from admin.gcloud import PAUSES, Gcloud
from sandbox.function import ROOT, reserved_port, run_function
from sandbox.gcloud import BUILDER, new_state
from sandbox.world import World
from storage_plugin.errors import AdministratorError
from tests.admin.conftest import URL, Cloud, Run, change_settings
from tests.conftest import Time

TOKEN = "an-application-token"
PLUGIN = "iconik-plugin@project.iam.gserviceaccount.com"
QUEUE_ACCOUNT = "iconik-queue@project.iam.gserviceaccount.com"

CHANGES = (
    "services enable artifactregistry.googleapis.com",
    "secrets create bz-shared-secret",
    "secrets create iconik-token",
    "iam service-accounts create iconik-plugin",
    "secrets add-iam-policy-binding bz-shared-secret",
    "secrets add-iam-policy-binding iconik-token",
    "projects add-iam-policy-binding",
    "services enable cloudtasks.googleapis.com",
    "iam service-accounts create iconik-queue",
    "tasks queues create",
    "tasks queues add-iam-policy-binding",
    "iam service-accounts add-iam-policy-binding",
    "functions deploy",
    "run services add-iam-policy-binding",
)
"""The commands of a first run with a queue that change something."""

REPAIRS = (
    "secrets versions add bz-shared-secret",
    "secrets versions add iconik-token",
    "tasks queues update iconik",
)
"""The commands of later runs alone."""

COMMAND = [sys.executable, "-m", "admin", "deploy"]
DENIED = "PERMISSION_DENIED: The caller does not have permission"

Deploys = Callable[[], tuple[int, str]]


@pytest.fixture
def deploys_by_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> Deploys:
    """Return a function that deploys, with the token on standard input."""

    def deploys() -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TOKEN}\n"))
        status, output = run("deploy")
        assert TOKEN not in output
        return status, output

    return deploys


@pytest.fixture
def deploys(deploys_by_process: Deploys, quick: None) -> Deploys:
    """Return a function that deploys, with gcloud in this process."""
    return deploys_by_process


def changes(calls: list[list[str]]) -> list[str]:
    """Return the commands among all that change something."""
    lines = [" ".join(call) for call in calls]
    known = CHANGES + REPAIRS
    return [change for line in lines for change in known if line.startswith(change)]


def result(cloud: Cloud) -> dict[str, Any]:
    """Return what there is, without how it came to be."""
    state = cloud.state
    for versions in state["secrets"].values():
        assert [version["state"] for version in versions] == ["ENABLED"]
    state["secrets"] = sorted(state["secrets"])
    for function in state["functions"].values():
        del function["count"], function["updateTime"]
    for name in ("calls", "faults", "unheard"):
        del state[name]
    return state


def test_first_run(
    cloud: Cloud, world: World, iconik_url: str, deploys_by_process: Deploys
) -> None:
    """One command creates everything that the function needs, and prints each step."""
    status, output = deploys_by_process()
    state = cloud.state
    assert status == 0
    assert output.splitlines()[-2].startswith(f"The function is at {URL} (")
    assert "make actions" in output.splitlines()[-1]
    printed = [shlex.split(line[2:]) for line in output.splitlines() if line.startswith("$ ")]
    assert printed == [["gcloud", *call] for call in state["calls"]]
    assert json.loads(Path(".deployment.json").read_text())["url"] == URL
    shared_secret = state["secrets"]["bz-shared-secret"][0]["value"]
    assert re.fullmatch("[0-9a-f]{64}", shared_secret)
    assert shared_secret not in output
    assert state["secrets"]["iconik-token"][0]["value"] == TOKEN
    assert state["accounts"] == [PLUGIN]
    granted = {
        (resource, binding["role"], *binding["members"])
        for resource, policy in state["policies"].items()
        for binding in policy["bindings"]
    }
    reader = ("roles/secretmanager.secretAccessor", f"serviceAccount:{PLUGIN}")
    assert granted == {
        ("secrets bz-shared-secret", *reader),
        ("secrets iconik-token", *reader),
        ("projects project", "roles/cloudbuild.builds.builder", f"serviceAccount:{BUILDER}"),
        ("run services iconik-handler", "roles/run.invoker", "allUsers"),
    }
    function = state["functions"]["iconik_handler"]
    assert function["variables"] == {
        "ICONIK_ID": world.app_id,
        "ICONIK_URL": iconik_url,
        "STORAGE_NAME": "LucidLink",
        "MASTER_STORAGE_NAME": "B2",
        "GOOGLE_CLOUD_PROJECT": "project",
        "THREADS": "16",
    }
    assert function["options"] == {
        "gen2": "",
        "runtime": "python313",
        "trigger-http": "",
        "memory": "512Mi",
        "cpu": "1",
        "concurrency": "4",
        "timeout": "60s",
        "max-instances": "4",
        "set-build-env-vars": "SOURCE_DATE_EPOCH=1",
        "service-account": PLUGIN,
        "region": "us-central1",
        "source": str(ROOT),
        "project": "project",
    }


def test_with_a_queue(cloud: Cloud, deploys: Deploys) -> None:
    """TASK_QUEUE: auto creates the queue with its account; a second run changes nothing."""
    change_settings(TASK_QUEUE="auto")
    assert deploys()[0] == 0
    state = cloud.state
    assert changes(state["calls"]) == list(CHANGES)
    name = "projects/project/locations/us-central1/queues/iconik"
    assert state["queues"]["iconik"] == {
        "name": name,
        "state": "RUNNING",
        "rateLimits": {"maxConcurrentDispatches": 1},
        "retryConfig": {"maxAttempts": 20, "minBackoff": "30s", "maxBackoff": "300s"},
    }
    for resource, role in (
        ("tasks queues iconik", "roles/cloudtasks.enqueuer"),
        (f"iam service-accounts {QUEUE_ACCOUNT}", "roles/iam.serviceAccountUser"),
    ):
        bindings = state["policies"][resource]["bindings"]
        assert bindings == [{"role": role, "members": [f"serviceAccount:{PLUGIN}"]}]
    function = state["functions"]["iconik_handler"]
    assert function["options"]["timeout"] == "1800s"
    assert function["variables"]["TASK_QUEUE"] == name
    assert function["variables"]["TASK_SERVICE_ACCOUNT"] == QUEUE_ACCOUNT
    assert function["variables"]["FUNCTION_URL"] == URL

    cloud.change(calls=[])
    status, output = deploys()
    assert (status, changes(cloud.state["calls"])) == (0, [])
    assert cloud.state | {"calls": []} == state | {"calls": []}
    assert "The function is up to date." in output


def test_with_a_queue_of_ones_own(cloud: Cloud, deploys: Deploys) -> None:
    """A queue that the settings name is left alone."""
    queue = "projects/other/locations/us-central1/queues/own"
    change_settings(TASK_QUEUE=queue, TASK_SERVICE_ACCOUNT=QUEUE_ACCOUNT, FUNCTION_URL=URL)
    assert deploys()[0] == 0
    function = cloud.state["functions"]["iconik_handler"]
    assert (function["variables"]["TASK_QUEUE"], function["options"]["timeout"]) == (queue, "1800s")
    assert (cloud.state["queues"], cloud.state["accounts"]) == ({}, [PLUGIN])


@pytest.mark.parametrize(
    ("differ", "expected"),
    [
        (lambda _: change_settings(STORAGE_PATH="/in"), "functions deploy"),
        (lambda _: Path(".deployment.json").unlink(), "functions deploy"),
        (lambda state: state["functions"].clear(), "functions deploy"),
        (
            lambda state: state["functions"]["iconik_handler"].update(updateTime="by others"),
            "functions deploy",
        ),
        (
            lambda state: state["policies"]["run services iconik-handler"].clear(),
            "run services add-iam-policy-binding",
        ),
        (
            lambda state: state["policies"]["secrets iconik-token"].clear(),
            "secrets add-iam-policy-binding iconik-token",
        ),
        (lambda state: state["services"].pop(), "services enable cloudtasks.googleapis.com"),
        (
            lambda state: state["secrets"]["iconik-token"].clear(),
            "secrets versions add iconik-token",
        ),
        (
            lambda state: state["secrets"]["bz-shared-secret"][0].update(state="DISABLED"),
            "secrets versions add bz-shared-secret",
        ),
        (
            lambda state: state["queues"]["iconik"]["retryConfig"].update(maxAttempts=100),
            "tasks queues update iconik",
        ),
    ],
)
def test_later_run_changes_what_differs(
    cloud: Cloud, deploys: Deploys, differ: Callable[[dict[str, Any]], object], expected: str
) -> None:
    """A run repairs each difference, and changes nothing else."""
    change_settings(TASK_QUEUE="auto")
    deploys()
    with cloud.edit() as state:
        state["calls"] = []
        differ(state)
    assert deploys()[0] == 0
    assert changes(cloud.state["calls"]) == [expected]


def test_a_function_without_a_check_needs_no_binding(cloud: Cloud, deploys: Deploys) -> None:
    """Where an organization forbids allUsers, the function may be open by its own setting."""
    cloud.change(annotations={"run.googleapis.com/invoker-iam-disabled": "True"})
    cloud.fail("run services add-iam-policy-binding", "must not be asked for")
    assert deploys()[0] == 0


def test_interrupted(cloud: Cloud, deploys: Deploys) -> None:
    """Runs that each end right after a change add up to what one run makes."""
    change_settings(TASK_QUEUE="auto")
    for change in CHANGES:
        cloud.fail(change, "the network is gone", "after")
        assert deploys()[0] == 1
        assert changes(cloud.state["calls"])[-1] == change
    assert deploys()[0] == 0
    resumed = result(cloud)

    cloud.change(**new_state())
    Path(".deployment.json").unlink()
    assert deploys()[0] == 0
    assert resumed == result(cloud)


def test_ctrl_c(cloud: Cloud, run: Run) -> None:
    """Ctrl-C while gcloud works ends with one sentence, and the next run goes on."""
    cloud.fail("iam service-accounts create", "", "ctrl-c")
    os.environ["PYTHONPATH"] = str(ROOT)
    ended = subprocess.run(COMMAND, input=TOKEN, capture_output=True, text=True, check=False)
    sentence = "\nInterrupted. Run the same command again to continue.\n"
    assert (ended.returncode, ended.stderr) == (130, sentence)
    subprocess.run(COMMAND, input=TOKEN, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("command", ["auth list", "services list", "functions list", *CHANGES])
def test_denied(cloud: Cloud, deploys: Deploys, command: str) -> None:
    """If gcloud refuses a command, its own words and a remedy are shown, and nothing follows."""
    change_settings(TASK_QUEUE="auto")
    cloud.fail(command, DENIED)
    status, output = deploys()
    assert status == 1
    assert f"ERROR: (gcloud.{'.'.join(command.split()[:2])}" in output
    assert DENIED in output
    assert "an owner of the project" in output
    assert " ".join(cloud.state["calls"][-1]).startswith(command)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"account": ""}, "gcloud auth login"),
        ({"project": ""}, "gcloud config set project PROJECT"),
        ({"region": "mars"}, "one of europe-west1, us-central1"),
        ({"billing": False}, "https://console.cloud.google.com/billing/linkedaccount?project="),
    ],
)
def test_what_must_be_there_first(
    cloud: Cloud, deploys: Deploys, changes: dict[str, object], text: str
) -> None:
    """Without a login, a project, a region or billing nothing is made, and the remedy is named."""
    cloud.change(**changes)
    status, output = deploys()
    assert (status, text in output) == (1, True)
    assert (cloud.state["secrets"], cloud.state["accounts"]) == ({}, [])


def test_billing_was_closed(cloud: Cloud, deploys: Deploys) -> None:
    """A project that has lost its billing account is an error before anything is deployed."""
    deploys()
    cloud.change(billing=False)
    status, output = deploys()
    assert (status, "has no billing account" in output) == (1, True)


def test_billing_need_not_be_seen(cloud: Cloud, deploys: Deploys) -> None:
    """Who may not look at the billing can deploy all the same."""
    cloud.fail("billing projects describe", DENIED)
    assert deploys()[0] == 0


@pytest.mark.parametrize(
    ("command", "words", "remedy"),
    [
        (
            "run services add-iam-policy-binding",
            "FAILED_PRECONDITION: One or more users named in the policy do not belong to a "
            "permitted customer.",
            "--no-invoker-iam-check",
        ),
        ("functions deploy", "OperationError: code=3, message=Build failed", "log of the build"),
        ("secrets create", "INTERNAL: something", "See the message of gcloud above."),
    ],
)
def test_remedies(cloud: Cloud, deploys: Deploys, command: str, words: str, remedy: str) -> None:
    """The remedy depends on the message of gcloud."""
    cloud.fail(command, words)
    status, output = deploys()
    assert status == 1
    assert output.index(words) < output.index(remedy)


def test_without_gcloud(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said where gcloud comes from."""
    monkeypatch.setenv("PATH", "/nonexistent")
    status, output = run("deploy")
    assert (status, "https://cloud.google.com/sdk/docs/install" in output) == (1, True)


def deploy_patiently(time: Time) -> list[str]:
    """Deploy, repeat what meets an account or service that is too new, and return the output."""
    lines = list[str]()
    deploy(Gcloud(lines.append, pauses=PAUSES, sleep=time.sleep), lambda: TOKEN)
    return lines


@pytest.mark.usefixtures("run", "quick")
def test_news_take_a_while(cloud: Cloud, time: Time) -> None:
    """A command that meets an unknown new account or service is repeated, after longer pauses."""
    change_settings(TASK_QUEUE="auto")
    cloud.change(lag=3)
    began = time.now
    assert len([line for line in deploy_patiently(time) if "Next attempt in" in line]) > 10
    assert time.now - began >= sum(PAUSES[:3])
    assert set(CHANGES) == set(changes(cloud.state["calls"]))


@pytest.mark.usefixtures("run", "quick")
def test_news_that_never_come(cloud: Cloud, time: Time) -> None:
    """After a while it is given up, with gcloud's own words."""
    cloud.change(services=[f"{name}.googleapis.com" for name in APIS], lag=99)
    began = time.now
    with pytest.raises(AdministratorError, match=f"Service account {PLUGIN} does not exist"):
        deploy_patiently(time)
    assert time.now - began == sum(PAUSES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "copy .env.yaml.example"),
        ("# nothing\n", "copy .env.yaml.example"),
        ("ICONIK_ID: 1\n", "line 1: the value of ICONIK_ID must be in quotes"),
        ("ICONIK_TOKEN: 'x'\n", "line 1: ICONIK_TOKEN is a secret"),
        ("ICONIK_ID: 'x'\n", "STORAGE_NAME is missing"),
    ],
)
def test_settings_come_first(
    cloud: Cloud, deploys: Deploys, text: str | None, expected: str
) -> None:
    """Wrong settings are an error before anything is created."""
    Path(".env.yaml").unlink()
    if text is not None:
        Path(".env.yaml").write_text(text)
    status, output = deploys()
    assert (status, expected in output) == (1, True)
    assert changes(cloud.state["calls"]) == []


def test_only_the_file_is_deployed(cloud: Cloud, deploys: Deploys) -> None:
    """Variables of the environment do not go to Google; those that nothing reads are named."""
    os.environ["STORAGE_NAME"] = "Elsewhere"
    change_settings(FORMAT_NAMES="ORIGINAL")
    status, output = deploys()
    warning = "Warning: Nothing reads FORMAT_NAMES. Did you mean FORMAT_NAME?"
    assert (status, warning in output) == (0, True)
    variables = cloud.state["functions"]["iconik_handler"]["variables"]
    assert (variables["STORAGE_NAME"], variables["FORMAT_NAMES"]) == ("LucidLink", "ORIGINAL")


def test_no_token(cloud: Cloud, run: Run, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token no secret is made of nothing; what was made before stays."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    status, output = run("deploy")
    assert (status, "No token was entered" in output) == (1, True)
    assert list(cloud.state["secrets"]) == ["bz-shared-secret"]


def test_the_token_is_not_shown(cloud: Cloud, run: Run) -> None:
    """At a terminal the token is asked for, and what is typed does not appear."""
    os.environ["PYTHONPATH"] = str(ROOT)
    process, terminal = pty.fork()
    if not process:
        os.execv(COMMAND[0], COMMAND)  # noqa: S606
    screen = b""
    while not screen.endswith(b"not shown): "):
        screen += os.read(terminal, 1024)
    os.write(terminal, f"{TOKEN}\n".encode())
    with suppress(OSError):  # The other end is gone.
        while chunk := os.read(terminal, 1024):
            screen += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert TOKEN.encode() not in screen
    assert cloud.state["secrets"]["iconik-token"][0]["value"] == TOKEN


def test_dry_run(cloud: Cloud, run: Run) -> None:
    """A dry run prints the commands of a first run and runs none, not even gcloud."""
    change_settings(TASK_QUEUE="auto")
    status, output = run("deploy", "--dry-run")
    printed = [line[9:].split() for line in output.splitlines() if line.startswith("$ gcloud ")]
    assert (status, changes(printed)) == (0, list(CHANGES))
    assert cloud.state["calls"] == []
    assert not Path(".deployment.json").exists()


@pytest.fixture
def reserved() -> Iterator[int]:
    """Return the port of a function that is not deployed yet."""
    with reserved_port() as port:
        yield port


def test_from_clone_to_right_click(
    cloud: Cloud,
    reserved: int,
    world: World,
    iconik_url: str,
    deploys_by_process: Deploys,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After deploy and actions the doctor finds no fault, and reads the secrets as gcloud does."""
    world.token = TOKEN
    cloud.change(url=f"http://127.0.0.1:{reserved}")
    assert deploys_by_process()[0] == 0
    for name in ("BZ_SHARED_SECRET", "ICONIK_TOKEN"):
        monkeypatch.delenv(name)
    secrets = cloud.state["secrets"]
    variables = {
        **cloud.state["functions"]["iconik_handler"]["variables"],
        "BZ_SHARED_SECRET": secrets["bz-shared-secret"][0]["value"],
        "ICONIK_TOKEN": secrets["iconik-token"][0]["value"],
    }
    with run_function(variables, port=reserved) as function:
        assert run("actions", "create")[0] == 0
        assert {action["url"] for action in world.custom_actions.values()} == {
            f"{function.url}/{verb}" for verb in ("add", "remove")
        }
        status, output = run("doctor")
    assert (status, "0 failed" in output) == (0, True), output
    assert output.count("Read from Secret Manager.") == 2
    assert not any(str(secret[0]["value"]) in output for secret in secrets.values())
