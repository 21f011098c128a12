"""The doctor, against an iconik in memory and the running function."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import flask
import pytest

from admin.files import MISSING
from sandbox.function import run_function
from sandbox.server import serve
from sandbox.tasks import ACCOUNT, QUEUE
from sandbox.world import World
from tests.admin.conftest import OTHER, URL, Run, change_settings, set_deployment
from tests.real_gcloud import Cloud

Examine = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture
def examine(run: Run) -> Examine:
    """Return a function that runs the doctor, and returns the last state and text of each check."""

    def examine(*options: str) -> dict[str, tuple[str, str]]:
        status, output = run("doctor", "--json", *options)
        findings = json.loads(output)
        assert status == any(finding["state"] == "failure" for finding in findings)
        return {finding["check"]: (finding["state"], finding["text"]) for finding in findings}

    return examine


# How the doctor talks


def test_doctor_is_content(world: World, run: Run, examine: Examine, function: str) -> None:
    """After the README's steps every check is ok, except for the visibility."""
    world.add_custom_action(OTHER)
    run("actions", "create", "--url", function)
    findings = examine("--url", function)
    wrong = {check: found for check, found in findings.items() if found[0] != "ok"}
    assert list(wrong) == ["visibility"]
    assert "--everyone" in wrong["visibility"][1]
    assert findings["iconik"][1] == "The token is valid. It acts as plugin@example.com."
    assert findings["bz-shared-secret"][1] == "Read from the variable BZ_SHARED_SECRET."
    assert findings["storage"][1] == "LucidLink is ACTIVE, of type FILE."
    assert findings["master storage"][1] == "B2 is ACTIVE, of type B2."
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


# Settings


def test_doctor_without_settings(examine: Examine) -> None:
    """What to copy is named; what can be checked still is."""
    Path(".env.yaml").unlink()
    findings = examine()
    assert findings["settings"] == ("failure", MISSING)
    assert findings["iconik-token"][0] == "ok"
    assert findings["function"] == ("warning", "Not checked: deploy the function, or add --url.")


@pytest.mark.parametrize(
    "text", ["ICONIK_URL: 1", "- x", "a: b: c", "1: x", "\0", "'A=B': x", "A: !!python/name:os.sep"]
)
def test_doctor_reads_yaml_as_gcloud_does(run: Run, examine: Examine, text: str) -> None:
    """A file that gcloud would refuse is a failure, and a command says so too."""
    Path(".env.yaml").write_text(text)
    assert ".env.yaml" in examine()["settings"][1]
    status, output = run("actions", "list")
    assert (status, output.startswith(".env.yaml")) == (1, True)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("MASTER_STORAGE", " Did you mean MASTER_STORAGE_NAME?"),
        ("FORMAT_NAMES", " Did you mean FORMAT_NAME?"),
        ("storage_name", " Did you mean STORAGE_NAME?"),
        ("COLOUR", ""),
    ],
)
def test_doctor_knows_the_variables(run: Run, name: str, advice: str) -> None:
    """A variable that nothing reads is a warning with the nearest known name."""
    change_settings(GOOGLE_CLOUD_PROJECT="project", THREADS="16", TASK_QUEUE="auto")
    change_settings(**{name: "x"})
    _, output = run("doctor", "--json")
    texts = [row["text"] for row in json.loads(output) if row["state"] == "warning"]
    assert texts[0] == f"Nothing reads {name}.{advice}"
    assert "Nothing reads" not in "".join(texts[1:])


def test_the_environment_wins(examine: Examine) -> None:
    """A variable is taken before the file's."""
    os.environ["STORAGE_NAME"] = "Elsewhere"
    assert "Elsewhere" in examine()["storage"][1]


# Secrets


@pytest.mark.xdist_group("gcloud")
def test_secrets_that_gcloud_cannot_read(examine: Examine, cloud: Cloud) -> None:
    """The remedies are those of this machine; the project is the one that was deployed to."""
    del os.environ["ICONIK_TOKEN"]
    set_deployment(project="other")
    state, text = examine()["iconik-token"]
    assert state == "failure"
    assert "cannot be read on this machine: ERROR:" in text
    assert text.endswith(" Or set ICONIK_TOKEN.")
    assert "secretmanager/v1/projects/other/" in cloud.project.requests[-1]


# iconik


@pytest.mark.parametrize(
    ("check", "state", "text", "harm"),
    [
        ("iconik", "failure", "iconik-token", lambda world: setattr(world, "token", "new")),
        ("administrator", "warning", "actions", lambda world: setattr(world, "is_admin", False)),
        (
            "deletion",
            "failure",
            "Enable Delete",
            lambda world: next(iter(world.permissions.values())).update(delete_access=False),
        ),
        ("storage", "failure", "2 storages", lambda world: world.add_storage("LucidLink")),
    ],
)
def test_doctor_finds_what_iconik_lacks(
    world: World,
    examine: Examine,
    check: str,
    state: str,
    text: str,
    harm: Callable[[World], object],
) -> None:
    """A wrong token, user or permission is a finding with its remedy."""
    harm(world)
    found = examine()[check]
    assert (found[0], text in found[1]) == (state, True)


@pytest.mark.parametrize("status", [403, 404])
def test_doctor_cannot_tell_deletion(world: World, examine: Examine, status: int) -> None:
    """Where iconik does not say whether it may delete, that is a warning."""

    def refuse(_: str, path: str) -> None:
        if path.endswith("/verifications/permissions/"):
            flask.abort(status)

    world.quirks.on_call = refuse
    findings = examine()
    assert (findings["deletion"][0], findings["storage"][0]) == ("warning", "ok")


@pytest.mark.parametrize(
    ("role", "purpose", "state"),
    [
        ("can_delete_files", "Remove", "failure"),
        ("can_write_jobs", "Remove, for the editor to see it", "warning"),
        ("can_write_transfers", "Add", "failure"),
        ("can_read_transfers", "Remove, with ARCHIVE_BEFORE_REMOVE", "failure"),
    ],
)
def test_doctor_finds_missing_roles(
    world: World, examine: Examine, role: str, purpose: str, state: str
) -> None:
    """A role that is missing is named for each purpose."""
    os.environ["ARCHIVE_BEFORE_REMOVE"] = "true"
    world.roles = [each for each in world.roles if each != role]
    assert examine()[f"roles: {purpose}"] == (state, f"The token's user needs {role}.")


def test_doctor_without_roles(world: World, examine: Examine) -> None:
    """A user without any role can do nothing; what is switched off needs no roles."""
    world.roles = []
    findings = examine()
    assert "can_read_storages" in findings["roles: Both"][1]
    assert not {"roles", "roles: Remove, with ARCHIVE_BEFORE_REMOVE"} & findings.keys()


@pytest.mark.parametrize(
    ("name", "changes", "check", "text"),
    [
        ("LucidLink", {"status": "FAILING"}, "storage", "LucidLink is FAILING, of type FILE."),
        ("LucidLink", {"method": "B2"}, "storage", "only from storages of type FILE"),
        ("LucidLink", {"name": "Filespace"}, "storage", "STORAGE_NAME: the token's user sees no "),
        ("B2", {"name": "b2"}, "master storage", "MASTER_STORAGE_NAME: the token's user sees no "),
    ],
)
def test_doctor_finds_wrong_storages(
    world: World, examine: Examine, name: str, changes: dict[str, str], check: str, text: str
) -> None:
    """A storage of another type, state or name is a failure that says so."""
    next(row for row in world.storages.values() if row["name"] == name).update(changes)
    found = examine()[check]
    assert (found[0], text in found[1]) == ("failure", True)


@pytest.mark.parametrize(
    ("master", "warning"),
    [
        (None, "Set MASTER_STORAGE_NAME, or all storages of type B2 count: B2."),
        ("Nearline", "Nearline is not of type B2: are the masters there?"),
    ],
)
def test_doctor_wonders_about_the_masters(
    world: World, examine: Examine, master: str | None, warning: str
) -> None:
    """A masters' storage that is not set, or is not on B2, is possible but rarely meant."""
    world.add_storage("Nearline")
    change_settings(MASTER_STORAGE_NAME=master)
    assert examine()["master storage"] == ("warning", warning)


def test_doctor_finds_a_shared_mount_point(world: World, examine: Examine) -> None:
    """Two storages with one mount point are a warning."""
    world.add_storage("Dailies", settings={"mount_point": "/mnt/LucidLink"})
    state, text = examine()["storage"]
    assert state == "warning"
    assert text.startswith("Dailies has the same mount point, /mnt/LucidLink")


# Custom actions


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
    world: World, run: Run, examine: Examine, changes: dict[str, object], state: str, text: str
) -> None:
    """An action that will not work is named, with the reason."""
    run("actions", "create", "--url", URL)
    next(iter(world.custom_actions.values())).update(changes)
    findings = examine("--url", URL)
    assert findings["Add to LucidLink (ASSET)"][0] == state
    assert text in findings["Add to LucidLink (ASSET)"][1]
    assert findings["Remove from LucidLink (ASSET)"][0] == "ok"


def test_doctor_finds_missing_actions(run: Run, examine: Examine) -> None:
    """Actions of other functions do not count."""
    run("actions", "create", "--url", URL + "2")
    state, text = examine("--url", URL)["custom actions"]
    assert (state, "actions create" in text) == ("failure", True)


# The function


@pytest.mark.parametrize(
    ("secret", "read", "compared"), [("another", "ok", "failure"), ("", "failure", None)]
)
def test_doctor_knows_the_deployed_secret(
    examine: Examine, function: str, secret: str, read: str, compared: str | None
) -> None:
    """Whatever the secret is here, the doctor checks that the function keeps strangers out."""
    os.environ["BZ_SHARED_SECRET"] = secret
    findings = examine("--url", function)
    assert findings["bz-shared-secret"][0] == read
    assert findings["function"] == ("ok", f"{function} refuses requests without the secret.")
    assert findings.get("deployed secret", [None])[0] == compared


def test_doctor_knows_a_function_without_its_secret(examine: Examine) -> None:
    """A function that cannot read its secret is not taken for one with another secret."""
    with run_function({"BZ_SHARED_SECRET_FILE": "/nonexistent"}) as function:
        findings = examine("--url", function.url)
    assert findings["function"][0] == "ok"
    assert findings["deployed secret"][0] == "failure"
    assert "cannot read it" in findings["deployed secret"][1]


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
    examine: Examine, status: int, headers: dict[str, str], text: str
) -> None:
    """Something else than the function gets no secret, and is a failure with a remedy."""
    asked, stranger = [], flask.Flask("stranger")

    @stranger.before_request
    def answer() -> tuple[str, int, dict[str, str]]:
        asked.append((flask.request.path, flask.request.headers.get("x-bz-secret")))
        return "", status, headers

    with serve(stranger) as url:
        findings = examine("--url", url)
    assert asked == [("/remove", None)]
    assert findings["function"][0] == "failure"
    assert text in findings["function"][1]
    assert "deployed secret" not in findings


# The queue


def use_queue(function_url: str) -> None:
    """Have the settings name a queue."""
    os.environ.update(TASK_QUEUE=QUEUE, TASK_SERVICE_ACCOUNT=ACCOUNT, FUNCTION_URL=function_url)


@pytest.mark.xdist_group("gcloud")
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
    examine: Examine,
    cloud: Cloud,
    function: str,
    changes: dict[str, object] | None,
    state: str,
    text: str,
) -> None:
    """A queue that is missing, paused or has another limit of attempts is found."""
    use_queue(function)
    queue = {"name": QUEUE, "state": "RUNNING", "retryConfig": {"maxAttempts": 20}}
    cloud.project.apis.append("cloudtasks")
    if changes is not None:
        cloud.project.resources[QUEUE] = queue | changes
    findings = examine()
    assert findings["queue"][0] == state
    assert text in findings["queue"][1]
    assert findings["function"][0] == "ok"


def test_doctor_may_not_look_at_the_queue(examine: Examine) -> None:
    """Without gcloud there is only a warning: the function has its own access."""
    use_queue(URL)
    os.environ["PATH"] = "/nonexistent"
    state, text = examine()["queue"]
    assert (state, "gcloud is not installed" in text) == ("warning", True)


def test_doctor_compares_function_url(run: Run, function: str) -> None:
    """The queue's tasks would go elsewhere; what the command names is looked at."""
    use_queue(URL)
    output = run("doctor", "--json", "--url", function)[1]
    assert f'"FUNCTION_URL differs from {function}."' in output
    assert f'"{function} refuses requests without the secret."' in output


@pytest.mark.xdist_group("gcloud")
def test_doctor_knows_the_queue_that_was_deployed(
    examine: Examine, cloud: Cloud, function: str
) -> None:
    """With TASK_QUEUE: auto the queue is the one of the deployment."""
    change_settings(TASK_QUEUE="auto", FUNCTION_URL=function)
    assert "queue" not in examine()
    set_deployment(function)
    cloud.project.apis.append("cloudtasks")
    assert "projects/p/locations/r/queues/iconik" in examine()["queue"][1]
