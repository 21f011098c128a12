"""The doctor, against an iconik in memory and the running function."""

import json
import os
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sandbox.function import run_function
from sandbox.tasks import ACCOUNT, QUEUE
from sandbox.world import World
from storage_plugin.errors import AccessDenied
from storage_plugin.rest import Rest
from tests.admin.conftest import SECRET, URL, Cloud, Run, change_settings

OTHER = {"context": "BULK", "title": "Order a taxi", "url": "https://taxi.example/add-ride"}

NOBODY = "127.0.0.1:1"
NO_GOOGLE = {"GCE_METADATA_HOST": NOBODY, "GCE_METADATA_IP": NOBODY, "HOME": "/nonexistent"}
"""No Google Cloud around, and no credentials of the developer's own."""


def examine(run: Run, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run the doctor; return its exit status, and state and text of each check."""
    status, output = run("doctor", "--json", *options)
    findings = json.loads(output)
    return status, {row["check"]: (row["state"], row["text"]) for row in findings}


def rows(run: Run) -> list[dict[str, str]]:
    """Return each finding of the doctor."""
    found: list[dict[str, str]] = json.loads(run("doctor", "--json")[1])
    return found


def storage(world: World, name: str) -> dict[str, object]:
    """Return a storage by its name."""
    return next(row for row in world.storages.values() if row["name"] == name)


def test_doctor_is_content(world: World, run: Run, function: str) -> None:
    """After the README's steps every check is ok, except for the visibility."""
    world.add_custom_action(OTHER)
    run("actions", "create", "--url", function)
    status, findings = examine(run, "--url", function)
    wrong = {check: found for check, found in findings.items() if found[0] != "ok"}
    assert (status, list(wrong)) == (0, ["visibility"])
    assert "--everyone" in wrong["visibility"][1]
    assert findings["iconik"][1] == "The token is valid. It acts as plugin@example.com."
    assert findings["bz-shared-secret"][1] == "Read from the variable BZ_SHARED_SECRET."
    assert findings["storage"][1] == "LucidLink is ACTIVE, of type FILE."
    assert findings["deletion"][1] == "iconik may delete there."


def test_doctor_prints_a_table(
    world: World, run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentences begin in one column, whatever the titles; failures come again at the end."""
    monkeypatch.setenv("COLUMNS", "90")
    run("actions", "create", "--url", function)
    next(iter(world.custom_actions.values())).update(title="Add to " + "very " * 12, type="OPEN")
    status, output = run("doctor", "--url", function)
    table, _, end = output.partition("\nTo fix:\n")
    for line in (table + end).splitlines():
        assert len(line) <= 90
        is_first = line.startswith(("ok ", "warning ", "failure "))
        is_last = line.startswith("1 failed, 1 with a warning, ")
        assert is_first or is_last or not line[:46].strip()
    assert status == 1
    assert table.count("and must be POST") == end.count("and must be POST") == 1
    assert end.splitlines()[0].startswith("failure  Add to very very")
    assert end.splitlines()[-1].endswith(" ok.")


@pytest.mark.parametrize(
    ("terminal", "variables", "is_coloured"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (False, {}, False)],
)
def test_doctor_has_colours_on_a_terminal(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    variables: dict[str, str],
    is_coloured: bool,
) -> None:
    """Only a terminal gets colours, and none if NO_COLOR is set."""
    os.environ.update(variables)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert ("\033[32mok" in run("doctor")[1]) == is_coloured


def test_doctor_says_at_once_what_it_finds(
    run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings appear one by one; Ctrl-C ends it with one sentence."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("admin.doctor.new_session", interrupt)
    status, output = run("doctor", "--url", function)
    assert status == 130
    assert "ok       iconik " in output
    assert output.endswith("\nInterrupted. Run the same command again to continue.\n")


@pytest.mark.parametrize(
    ("check", "state", "text", "harm"),
    [
        ("iconik", "failure", "iconik-token", lambda world: setattr(world, "token", "new")),
        (
            "roles: Remove",
            "failure",
            "can_delete_files",
            lambda world: world.roles.remove("can_delete_files"),
        ),
        (
            "roles: Remove, for the editor to see it",
            "warning",
            "can_write_jobs",
            lambda world: world.roles.remove("can_write_jobs"),
        ),
        (
            "roles: Add",
            "failure",
            "can_write_transfers",
            lambda world: world.roles.remove("can_write_transfers"),
        ),
        (
            "administrator",
            "warning",
            "custom actions",
            lambda world: setattr(world, "is_admin", False),
        ),
        (
            "master storage",
            "warning",
            "MASTER_STORAGE_NAME",
            lambda _: change_settings(MASTER_STORAGE_NAME=None),
        ),
        (
            "roles: Remove, with ARCHIVE_BEFORE_REMOVE",
            "failure",
            "can_read_transfers",
            lambda world: [
                world.roles.remove("can_read_transfers"),
                os.environ.update(ARCHIVE_BEFORE_REMOVE="true"),
            ],
        ),
        ("storage", "failure", "2 storages", lambda world: world.add_storage("LucidLink")),
        (
            "storage",
            "failure",
            "FAILING",
            lambda world: storage(world, "LucidLink").update(status="FAILING"),
        ),
        (
            "storage",
            "failure",
            "only from storages of type FILE",
            lambda world: storage(world, "LucidLink").update(method="B2"),
        ),
        (
            "master storage",
            "failure",
            "MASTER_STORAGE_NAME",
            lambda world: storage(world, "B2").update(name="b2"),
        ),
        (
            "deletion",
            "failure",
            "Enable Delete",
            lambda world: world.permissions.update(
                {storage(world, "LucidLink")["id"]: {"delete_access": False}}
            ),
        ),
    ],
)
def test_doctor_finds_what_iconik_lacks(
    world: World,
    run: Run,
    check: str,
    state: str,
    text: str,
    harm: Callable[[World], object],
) -> None:
    """A wrong token, role or storage is a finding with its remedy; failures are in the status."""
    world.roles = list(world.roles)
    harm(world)
    for action in ("add", "remove"):
        world.add_custom_action(
            {"context": "BULK", "title": action, "url": f"{URL}/{action}", "type": "POST"}
            | {"headers": {"x-bz-secret": SECRET}}
        )
    status, findings = examine(run)
    assert findings[check][0] == state
    assert text in findings[check][1]
    assert status == (state == "failure")


def test_doctor_cannot_tell_deletion(world: World, run: Run) -> None:
    """Where iconik does not say whether it may delete, that is a warning."""
    world.permissions.clear()
    assert examine(run)[1]["deletion"][0] == "warning"


def test_doctor_may_not_ask_for_deletion(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that lacks the role to ask is a warning too, and the other checks go on."""
    real = Rest.get

    def get(rest: Rest, path: str, *query: Any) -> dict[str, Any]:
        if "verifications" in path:
            raise AccessDenied("iconik refuses it")
        return real(rest, path, *query)

    monkeypatch.setattr(Rest, "get", get)
    findings = examine(run)[1]
    assert findings["deletion"][0] == "warning"
    assert findings["storage"][0] == "ok"


@pytest.mark.parametrize(
    ("settings", "check", "name"),
    [
        ({"STORAGE_NAME": "lucidlink"}, "storage", "lucidlink"),
        ({"MASTER_STORAGE_NAME": "b2"}, "master storage", "b2"),
    ],
)
def test_doctor_lists_the_storages(
    run: Run, settings: dict[str, str], check: str, name: str
) -> None:
    """A name that no storage has is a failure that lists the names of all storages."""
    change_settings(**settings)
    state, text = examine(run)[1][check]
    assert state == "failure"
    assert f"no storages named {name}" in text
    assert text.endswith("That user sees B2, LucidLink.")


def test_doctor_finds_a_shared_mount_point(world: World, run: Run) -> None:
    """Two storages with one mount point are a warning."""
    world.add_storage("Dailies", settings={"mount_point": "/mnt/LucidLink"})
    warnings = [row["text"] for row in rows(run) if row["state"] == "warning"]
    assert any("Dailies has the same mount point, /mnt/LucidLink" in text for text in warnings)


def test_doctor_wonders_about_masters_that_are_not_on_b2(world: World, run: Run) -> None:
    """Masters on another type of storage are possible, but rarely meant."""
    world.add_storage("Nearline")
    change_settings(MASTER_STORAGE_NAME="Nearline")
    found = [(row["state"], row["text"]) for row in rows(run) if row["check"] == "master storage"]
    assert found == [
        ("ok", "Nearline is ACTIVE, of type FILE."),
        ("warning", "Nearline is not of type B2: are the masters there?"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MASTER_STORAGE", "Nothing reads MASTER_STORAGE. Did you mean MASTER_STORAGE_NAME?"),
        ("FORMAT_NAMES", "Nothing reads FORMAT_NAMES. Did you mean FORMAT_NAME?"),
        ("storage_name", "Nothing reads storage_name. Did you mean STORAGE_NAME?"),
        ("COLOUR", "Nothing reads COLOUR."),
    ],
)
def test_doctor_knows_the_variables(run: Run, name: str, text: str) -> None:
    """A variable that nothing reads is a warning with the nearest known name."""
    change_settings(**{name: "x"})
    found = [(row["state"], row["text"]) for row in rows(run) if row["check"] == "settings"]
    assert found[:-1] == [("warning", text)]


def test_doctor_knows_the_variables_of_others(run: Run) -> None:
    """Variables for the log, the server and the commands are known."""
    change_settings(GOOGLE_CLOUD_PROJECT="project", THREADS="16", TASK_QUEUE="auto")
    assert [row["state"] for row in rows(run) if row["check"] == "settings"] == ["ok"]


@pytest.mark.parametrize(
    ("changes", "state", "text"),
    [
        ({"headers": {"X-Bz-Secret": "old"}}, "failure", "another secret"),
        ({"type": "OPEN"}, "failure", "must be POST"),
        ({"url": f"{URL}/add?storage=Dailies"}, "failure", "no storages named Dailies"),
        ({"url": f"{URL}/add?storage="}, "failure", "storage"),
        ({"disabled": True}, "warning", "disabled"),
        ({"status": "FAILING", "last_error": "timed out"}, "warning", "timed out"),
        ({"url": "https://old.example/add"}, "warning", "calls https://old.example"),
    ],
)
def test_doctor_finds_wrong_actions(
    world: World, run: Run, changes: dict[str, object], state: str, text: str
) -> None:
    """An action that will not work is named, with the reason."""
    run("actions", "create", "--url", URL)
    next(iter(world.custom_actions.values())).update(changes)
    _, findings = examine(run, "--url", URL)
    assert findings["Add to LucidLink (ASSET)"][0] == state
    assert text in findings["Add to LucidLink (ASSET)"][1]
    assert findings["Remove from LucidLink (ASSET)"][0] == "ok"


def test_doctor_finds_missing_actions(world: World, run: Run) -> None:
    """Actions of other functions do not count."""
    run("actions", "create", "--url", URL + "2")
    _, findings = examine(run, "--url", URL)
    assert findings["custom actions"][0] == "failure"
    assert "actions create" in findings["custom actions"][1]


def test_doctor_knows_the_deployed_secret(
    run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that was deployed with another secret is a failure; strangers are kept out."""
    monkeypatch.setitem(os.environ, "BZ_SHARED_SECRET", "another")
    status, findings = examine(run, "--url", function)
    assert findings["function"] == ("ok", f"{function} refuses requests without the secret.")
    assert findings["deployed secret"][0] == "failure"
    assert status == 1


def test_doctor_without_the_secret(
    run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a shared secret here the function is still asked as a stranger asks."""
    monkeypatch.setitem(os.environ, "BZ_SHARED_SECRET", "")
    status, findings = examine(run, "--url", function)
    assert findings["bz-shared-secret"][0] == "failure"
    assert findings["function"][0] == "ok"
    assert (status, "deployed secret" in findings) == (1, False)


def test_secrets_come_from_secret_manager(
    world: World, run: Run, cloud: Cloud, function: str
) -> None:
    """Without the variables gcloud reads the secrets; if it cannot, that is a failure."""
    del os.environ["BZ_SHARED_SECRET"], os.environ["ICONIK_TOKEN"]
    secrets = {"bz-shared-secret": SECRET, "iconik-token": world.token}
    cloud.change(
        services=["secretmanager.googleapis.com"],
        secrets={name: [{"value": value, "state": "ENABLED"}] for name, value in secrets.items()},
    )
    assert run("actions", "create", "--url", function)[0] == 0
    status, findings = examine(run, "--url", function)
    assert (status, findings["deployed secret"]) == (
        0,
        ("ok", "The function uses the same secret."),
    )
    for name in secrets:
        assert findings[name] == ("ok", "Read from Secret Manager.")

    cloud.fail("secrets versions access", "PERMISSION_DENIED: Permission denied")
    cloud.fail("secrets versions access", "PERMISSION_DENIED: Permission denied")
    status, findings = examine(run, "--url", function)
    assert (status, findings["iconik-token"][0]) == (1, "failure")
    assert "cannot be read on this machine: ERROR:" in findings["iconik-token"][1]
    assert "Permission denied Or set ICONIK_TOKEN." in findings["iconik-token"][1]
    assert "log" not in findings["iconik-token"][1]


def test_secrets_of_the_deployment_s_project(run: Run, cloud: Cloud) -> None:
    """The secrets are those of the project that was deployed to, whatever gcloud is set to."""
    del os.environ["ICONIK_TOKEN"]
    deployment = {"project": "other", "region": "r", "url": URL, "digest": "", "updated": ""}
    Path(".deployment.json").write_text(json.dumps(deployment))
    status, output = run("actions", "list")
    assert (status, "iconik-token cannot be read on this machine" in output) == (1, True)
    assert cloud.state["calls"][-1][-1] == "--project=other"


def test_doctor_without_roles(world: World, run: Run) -> None:
    """A user without any role can do nothing, and each purpose says what it needs."""
    world.roles = []
    _, findings = examine(run)
    assert "roles" not in findings
    assert "can_read_storages" in findings["roles: Both"][1]


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (401, {}, "Check the URL, and see"),
        (200, {"WWW-Authenticate": "x-bz-secret"}, "Check the URL, and see"),
        (307, {"Location": "/", "WWW-Authenticate": "x-bz-secret"}, "answers 307"),
        (403, {}, "deploy again"),
        (404, {}, "gcloud functions list"),
    ],
)
def test_doctor_knows_who_answers(
    run: Run, status: int, headers: dict[str, str], text: str
) -> None:
    """Something else than the function gets no secret, and is a failure with a remedy."""
    asked = []

    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.headers.get("x-bz-secret")))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        _, findings = examine(run, "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert findings["function"][0] == "failure"
    assert text in findings["function"][1]
    assert asked == [("/remove", None)]
    assert "deployed secret" not in findings


def test_doctor_knows_a_function_without_its_secret(run: Run) -> None:
    """A function that cannot read its secret is not taken for one with another secret."""
    with run_function(NO_GOOGLE) as function:
        _, findings = examine(run, "--url", function.url)
    assert findings["function"][0] == "ok"
    assert findings["deployed secret"][0] == "failure"
    assert "cannot read it" in findings["deployed secret"][1]


def test_doctor_compares_function_url(run: Run, function: str) -> None:
    """The queue's tasks would go elsewhere; what the command names is looked at."""
    os.environ.update(TASK_QUEUE=QUEUE, TASK_SERVICE_ACCOUNT=ACCOUNT, FUNCTION_URL=URL)
    found = json.loads(run("doctor", "--json", "--url", function)[1])
    texts = [row["text"] for row in found]
    assert f"FUNCTION_URL differs from {function}." in texts
    assert f"{function} refuses requests without the secret." in texts


def test_doctor_without_settings(run: Run) -> None:
    """Every setting that is missing is named at once; what can be checked still is."""
    Path(".env.yaml").unlink()
    status, findings = examine(run)
    assert status == 1
    assert "ICONIK_ID" in findings["settings"][1]
    assert "STORAGE_NAME" in findings["settings"][1]
    assert findings["iconik-token"][0] == "ok"
    assert f"{Path.cwd()} has no .env.yaml." in findings["settings"][1]
    assert findings["function"] == ("warning", "Not checked: deploy the function, or add --url.")


@pytest.mark.parametrize(
    "text", ["ICONIK_URL: 1", "- x", "a: b: c", "1: x", "\0", "'A=B': x", "A: !!python/name:os.sep"]
)
def test_doctor_reads_yaml_as_gcloud_does(run: Run, text: str) -> None:
    """A file that gcloud would refuse is a failure, and a command says so too."""
    os.environ.pop("ICONIK_URL", None)
    Path(".env.yaml").write_text(text)
    assert ".env.yaml" in examine(run)[1]["settings"][1]
    status, output = run("actions", "list")
    assert (status, output.startswith(".env.yaml")) == (1, True)


def test_the_environment_wins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is taken before the file's."""
    monkeypatch.setitem(os.environ, "STORAGE_NAME", "Elsewhere")
    assert "Elsewhere" in examine(run)[1]["storage"][1]


@pytest.mark.parametrize(
    ("changes", "state", "text"),
    [
        (None, "failure", "NOT_FOUND"),
        ({}, "ok", "It is running."),
        ({"retryConfig": {"maxAttempts": 100}}, "warning", "to 20"),
        ({"state": "PAUSED"}, "failure", "gcloud tasks queues resume iconik"),
    ],
)
def test_doctor_looks_at_the_queue(
    run: Run,
    cloud: Cloud,
    function: str,
    changes: dict[str, object] | None,
    state: str,
    text: str,
) -> None:
    """A queue that is missing, paused or has another limit of attempts is found."""
    os.environ.update(TASK_QUEUE=QUEUE, TASK_SERVICE_ACCOUNT=ACCOUNT, FUNCTION_URL=function)
    queue = {"name": QUEUE, "state": "RUNNING", "retryConfig": {"maxAttempts": 20}}
    queues = {} if changes is None else {"iconik": queue | changes}
    cloud.change(services=["cloudtasks.googleapis.com"], queues=queues)
    _, findings = examine(run)
    assert findings["queue"][0] == state
    assert text in findings["queue"][1]
    assert findings["function"][0] == "ok"
    assert cloud.state["calls"][-1][-1] == "--project=project"


def test_doctor_may_not_look_at_the_queue(
    run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without gcloud there is only a warning: the function has its own access."""
    os.environ.update(TASK_QUEUE=QUEUE, TASK_SERVICE_ACCOUNT=ACCOUNT, FUNCTION_URL=function)
    os.environ["PATH"] = "/nonexistent"
    state, text = examine(run)[1]["queue"]
    assert (state, "gcloud is not installed" in text) == ("warning", True)


def test_doctor_knows_the_queue_that_was_deployed(run: Run, cloud: Cloud, function: str) -> None:
    """With TASK_QUEUE: auto the queue is the one of the deployment."""
    change_settings(TASK_QUEUE="auto", FUNCTION_URL=function)
    assert "queue" not in examine(run)[1]
    deployment = {"project": "p", "region": "r", "url": function, "digest": "", "updated": ""}
    Path(".deployment.json").write_text(json.dumps(deployment))
    cloud.change(services=["cloudtasks.googleapis.com"])
    assert "projects/p/locations/r/queues/iconik" in examine(run)[1]["queue"][1]
