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

from admin.deploy import APIS, QUEUE_OPTIONS, deploy
from admin.gcloud import PAUSES, Gcloud
from sandbox.function import ROOT, reserved_port, run_function
from sandbox.gcloud import BUILDER
from sandbox.world import World
from storage_plugin.errors import AdministratorError
from tests.admin.conftest import URL, Cloud, Run, change_settings
from tests.conftest import Time
from tests.real_gcloud import needs_gcloud, refused

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

READS = (
    "auth list",
    "config get-value project",
    "config get-value functions/region",
    "services list",
    "functions regions list",
    "secrets list",
    "iam service-accounts list",
    "tasks queues list",
    "secrets get-iam-policy",
    "tasks queues get-iam-policy",
    "iam service-accounts get-iam-policy",
    "builds get-default-service-account",
    "projects get-iam-policy",
    "functions list",
    "run services describe",
    "run services get-iam-policy",
)
"""The other commands without which there is no deployment."""

DENIED = "PERMISSION_DENIED: The caller does not have permission"


@pytest.fixture
def deploys(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return what deploys with the token on standard input."""

    def deploys(*options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TOKEN}\n"))
        status, output = run("deploy", *options)
        assert TOKEN not in output
        return status, output

    return deploys


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
    cloud: Cloud, world: World, iconik_url: str, deploys: Callable[..., tuple[int, str]]
) -> None:
    """One command creates everything that the function needs, and names the next commands."""
    status, output = deploys()
    state = cloud.state
    assert status == 0
    assert output.splitlines()[-2].startswith(f"The function is at {URL} (")
    assert "make actions" in output.splitlines()[-1]
    assert json.loads(Path(".deployment.json").read_text())["url"] == URL
    assert re.fullmatch("[0-9a-f]{64}", state["secrets"]["bz-shared-secret"][0]["value"])
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


def test_every_command_is_printed(cloud: Cloud, deploys: Callable[..., tuple[int, str]]) -> None:
    """The printed commands are those that run, and hold no secret."""
    output = deploys()[1]
    printed = [shlex.split(line[2:]) for line in output.splitlines() if line.startswith("$ ")]
    calls = cloud.state["calls"]
    assert printed == [["gcloud", *call] for call in calls]
    shared_secret = cloud.state["secrets"]["bz-shared-secret"][0]["value"]
    assert not any(secret in str(calls) + output for secret in (TOKEN, shared_secret))


def test_with_a_queue(cloud: Cloud, deploys: Callable[..., tuple[int, str]]) -> None:
    """TASK_QUEUE: auto creates the queue with its account, and configures the function."""
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


@pytest.mark.usefixtures("quick")
def test_with_a_queue_of_ones_own(cloud: Cloud, deploys: Callable[..., tuple[int, str]]) -> None:
    """A queue that the settings name is left alone."""
    queue = "projects/other/locations/us-central1/queues/own"
    change_settings(TASK_QUEUE=queue, TASK_SERVICE_ACCOUNT=QUEUE_ACCOUNT, FUNCTION_URL=URL)
    assert deploys()[0] == 0
    function = cloud.state["functions"]["iconik_handler"]
    assert (function["variables"]["TASK_QUEUE"], function["options"]["timeout"]) == (queue, "1800s")
    assert (cloud.state["queues"], cloud.state["accounts"]) == ({}, [PLUGIN])


def test_second_run(cloud: Cloud, deploys: Callable[..., tuple[int, str]]) -> None:
    """Nothing is made twice, nothing is asked, and nothing is deployed that is there."""
    change_settings(TASK_QUEUE="auto")
    deploys()
    before = cloud.state | {"calls": []}
    cloud.change(calls=[])
    status, output = deploys()
    assert (status, changes(cloud.state["calls"])) == (0, [])
    assert cloud.state | {"calls": []} == before
    assert "The function is up to date." in output


def forget(cloud: Cloud, table: str, key: str, value: object) -> None:
    """Put another value into a table of what there is."""
    cloud.change(**{table: cloud.state[table] | {key: value}})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (lambda _: change_settings(STORAGE_PATH="/in"), "functions deploy"),
        (lambda _: Path(".deployment.json").unlink(), "functions deploy"),
        (lambda cloud: cloud.change(functions={}), "functions deploy"),
        (
            lambda cloud: forget(cloud, "policies", "run services iconik-handler", {}),
            "run services add-iam-policy-binding",
        ),
        (
            lambda cloud: forget(cloud, "policies", "secrets iconik-token", {}),
            "secrets add-iam-policy-binding iconik-token",
        ),
        (
            lambda cloud: cloud.change(services=cloud.state["services"][:-1]),
            "services enable cloudtasks.googleapis.com",
        ),
        (
            lambda cloud: forget(cloud, "secrets", "iconik-token", []),
            "secrets versions add iconik-token",
        ),
        (
            lambda cloud: forget(
                cloud, "secrets", "bz-shared-secret", [{"value": "old", "state": "DISABLED"}]
            ),
            "secrets versions add bz-shared-secret",
        ),
        (
            lambda cloud: forget(
                cloud,
                "queues",
                "iconik",
                cloud.state["queues"]["iconik"] | {"retryConfig": {"maxAttempts": 100}},
            ),
            "tasks queues update iconik",
        ),
    ],
)
def test_later_run_changes_what_differs(
    cloud: Cloud,
    deploys: Callable[..., tuple[int, str]],
    difference: Callable[[Cloud], object],
    expected: str,
) -> None:
    """A run repairs each difference, and changes nothing else."""
    change_settings(TASK_QUEUE="auto")
    deploys()
    cloud.change(calls=[])
    difference(cloud)
    assert deploys()[0] == 0
    assert changes(cloud.state["calls"]) == [expected]


@pytest.mark.usefixtures("quick")
def test_a_deployment_of_somebody_else_is_replaced(
    cloud: Cloud, deploys: Callable[..., tuple[int, str]]
) -> None:
    """A function that Google has changed since the last deployment from here is deployed again."""
    deploys()
    functions = cloud.state["functions"]
    functions["iconik_handler"]["updateTime"] = "2026-11-25T00:00:00Z"
    cloud.change(functions=functions, calls=[])
    deploys()
    assert changes(cloud.state["calls"]) == ["functions deploy"]


@pytest.mark.usefixtures("quick")
def test_a_function_without_a_check_needs_no_binding(
    cloud: Cloud, deploys: Callable[..., tuple[int, str]]
) -> None:
    """Where an organization forbids allUsers, the function may be open by its own setting."""
    cloud.change(annotations={"run.googleapis.com/invoker-iam-disabled": "True"})
    cloud.fail("run services add-iam-policy-binding", "must not be asked for")
    assert deploys()[0] == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """Return a project for what a run without interruption results in."""
    return Cloud(tmp_path_factory.mktemp("whole") / "cloud")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("change", CHANGES)
def test_interrupted(
    whole: Cloud,
    cloud: Cloud,
    deploys: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """A run that ends right after any change is completed by the next one."""
    change_settings(TASK_QUEUE="auto", ICONIK_URL="https://app.iconik.io")
    if not whole.state["functions"]:
        with monkeypatch.context() as context:
            context.setenv("PATH", whole.path)
            assert deploys()[0] == 0
        Path(".deployment.json").unlink()
    cloud.fail(change, "the network is gone", "after")
    assert deploys()[0] == 1
    assert changes(cloud.state["calls"])[-1] == change
    assert deploys()[0] == 0
    assert result(cloud) == result(whole)


def test_ctrl_c(cloud: Cloud, run: Run) -> None:
    """Ctrl-C while gcloud works ends with one sentence, and the next run goes on."""
    cloud.fail("iam service-accounts create", "", "ctrl-c")
    command = [sys.executable, "-m", "admin", "deploy"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}

    def deploys() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, input=TOKEN, env=environ, capture_output=True, text=True, check=False
        )

    ended = deploys()
    assert (ended.returncode, ended.stderr) == (
        130,
        "\nInterrupted. Run the same command again to continue.\n",
    )
    assert deploys().returncode == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("command", [*READS, *CHANGES])
def test_denied(cloud: Cloud, deploys: Callable[..., tuple[int, str]], command: str) -> None:
    """If gcloud refuses a command, its own words and a remedy are shown, and nothing follows."""
    change_settings(TASK_QUEUE="auto")
    cloud.fail(command, DENIED)
    status, output = deploys()
    assert status == 1
    assert f"ERROR: (gcloud.{'.'.join(command.split()[:2])}" in output
    assert DENIED in output
    assert "an owner of the project" in output
    assert " ".join(cloud.state["calls"][-1]).startswith(command)


@pytest.mark.usefixtures("quick")
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
    cloud: Cloud,
    deploys: Callable[..., tuple[int, str]],
    changes: dict[str, object],
    text: str,
) -> None:
    """Without a login, a project, a region or billing nothing is made, and the remedy is named."""
    cloud.change(**changes)
    status, output = deploys()
    assert (status, text in output) == (1, True)
    assert (cloud.state["secrets"], cloud.state["accounts"]) == ({}, [])


@pytest.mark.usefixtures("quick")
def test_billing_was_closed(cloud: Cloud, deploys: Callable[..., tuple[int, str]]) -> None:
    """A project that has lost its billing account is an error before anything is deployed."""
    deploys()
    cloud.change(billing=False)
    status, output = deploys()
    assert (status, "has no billing account" in output) == (1, True)


@pytest.mark.usefixtures("quick")
def test_billing_need_not_be_seen(cloud: Cloud, deploys: Callable[..., tuple[int, str]]) -> None:
    """Who may not look at the billing can deploy all the same."""
    cloud.fail("billing projects describe", DENIED)
    assert deploys()[0] == 0


@pytest.mark.usefixtures("quick")
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
def test_remedies(
    cloud: Cloud,
    deploys: Callable[..., tuple[int, str]],
    command: str,
    words: str,
    remedy: str,
) -> None:
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


@pytest.mark.usefixtures("quick")
def test_news_take_a_while(
    cloud: Cloud, folder: Path, monkeypatch: pytest.MonkeyPatch, time: Time
) -> None:
    """A command that meets an unknown new account or service is repeated, after longer pauses."""
    monkeypatch.setenv("PATH", cloud.path)
    change_settings(TASK_QUEUE="auto")
    cloud.change(lag=3)
    began, lines = time.now, list[str]()
    deploy(Gcloud(lines.append, pauses=PAUSES, sleep=time.sleep), lambda: TOKEN)
    waits = [line for line in lines if "Next attempt in" in line]
    assert len(waits) > 10
    assert time.now - began >= sum(PAUSES[:3])
    assert set(CHANGES) == set(changes(cloud.state["calls"]))


@pytest.mark.usefixtures("quick")
def test_news_that_never_come(
    cloud: Cloud, folder: Path, monkeypatch: pytest.MonkeyPatch, time: Time
) -> None:
    """After a while it is given up, with gcloud's own words."""
    monkeypatch.setenv("PATH", cloud.path)
    cloud.change(services=[f"{name}.googleapis.com" for name in APIS], lag=99)
    began = time.now
    with pytest.raises(AdministratorError, match=f"Service account {PLUGIN} does not exist"):
        deploy(Gcloud(lambda _: None, pauses=PAUSES, sleep=time.sleep), lambda: TOKEN)
    assert time.now - began == sum(PAUSES)


@pytest.mark.usefixtures("quick")
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
    cloud: Cloud, deploys: Callable[..., tuple[int, str]], text: str | None, expected: str
) -> None:
    """Wrong settings are an error before anything is created."""
    Path(".env.yaml").unlink()
    if text is not None:
        Path(".env.yaml").write_text(text)
    status, output = deploys()
    assert (status, expected in output) == (1, True)
    assert changes(cloud.state["calls"]) == []


@pytest.mark.usefixtures("quick")
def test_unknown_variables_are_named(deploys: Callable[..., tuple[int, str]]) -> None:
    """A variable that nothing reads is deployed, with a warning."""
    change_settings(FORMAT_NAMES="ORIGINAL")
    status, output = deploys()
    warning = "Warning: Nothing reads FORMAT_NAMES. Did you mean FORMAT_NAME?"
    assert (status, warning in output) == (0, True)


@pytest.mark.usefixtures("quick")
def test_the_environment_is_not_deployed(
    cloud: Cloud, deploys: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables of the environment do not go to Google."""
    monkeypatch.setenv("STORAGE_NAME", "Elsewhere")
    deploys()
    assert cloud.state["functions"]["iconik_handler"]["variables"]["STORAGE_NAME"] == "LucidLink"


def test_no_token(cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token no secret is made of nothing; what was made before stays."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    status, output = run("deploy")
    assert (status, "No token was entered" in output) == (1, True)
    assert list(cloud.state["secrets"]) == ["bz-shared-secret"]


def test_the_token_is_not_shown(cloud: Cloud, run: Run) -> None:
    """At a terminal the token is asked for, and what is typed does not appear."""
    command = [sys.executable, "-m", "admin", "deploy"]
    process, terminal = pty.fork()
    if not process:
        os.execve(  # noqa: S606
            sys.executable, command, {**os.environ, "PYTHONPATH": str(ROOT)}
        )
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


@needs_gcloud
def test_gcloud_knows_the_commands(run: Run, tmp_path: Path) -> None:
    """The real gcloud takes each command."""
    change_settings(TASK_QUEUE="auto")
    output = run("deploy", "--dry-run")[1]
    lines = [line[2:] for line in output.splitlines() if line.startswith("$ gcloud ")]
    assert len(lines) > 30
    lines += [
        "gcloud secrets versions list s --limit=1 '--format=value(state)' --project=p",
        "gcloud secrets versions add s --data-file=- --project=p",
        "gcloud secrets versions access latest --secret=s --project=p",
        f"gcloud tasks queues update q --location=l {QUEUE_OPTIONS} --project=p",
        "gcloud tasks queues describe q --location=l --format=json --project=p",
        "gcloud run services update s --region=r --no-invoker-iam-check --project=p",
    ]
    # Names in capitals stand for what is not known before the first run.
    lines = [line.replace("REGION", "us-central1").replace("PROJECT", "project") for line in lines]
    unknown = "gcloud secrets list --unknown"
    assert [line.partition(":")[0] for line in refused([*lines, unknown], tmp_path)] == [unknown]


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
    deploys: Callable[..., tuple[int, str]],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After deploy and actions the doctor finds no fault, and reads the secrets as gcloud does."""
    world.token = TOKEN
    cloud.change(url=f"http://127.0.0.1:{reserved}")
    assert deploys()[0] == 0
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
    assert not any(str(secret[0]["value"]) in output for secret in secrets.values())
