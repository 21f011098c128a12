"""The administrator's commands, against an iconik in memory and the running function."""

import functools
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import patch

import google.auth
import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager, tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.oauth2.credentials import Credentials
from requests_mock import Mocker

from admin import __main__ as commands
from admin.iconik import AdminIconik
from sandbox.function import run_function
from sandbox.secrets import TOKEN, Secrets, connect, found, refused
from sandbox.tasks import ACCOUNT, QUEUE
from sandbox.world import World, new_id
from storage_plugin.errors import IconikError
from storage_plugin.rest import Rest

URL = "https://us-central1-project.cloudfunctions.net/iconik_handler"
SECRET = "shared-secret-for-tests"
NOBODY = "127.0.0.1:1"
NO_GOOGLE = {
    "GCE_METADATA_HOST": NOBODY,
    "GCE_METADATA_IP": NOBODY,
    "HOME": "/nonexistent",
    "CLOUDSDK_CONFIG": "/nonexistent",
}
"""No Google Cloud around, and no credentials of the developer's own."""

OTHER = {"context": "BULK", "title": "Order a taxi", "url": "https://taxi.example/add-ride"}

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def function() -> Iterator[str]:
    """Run the function, whose settings nobody asks for here; return its URL."""
    with run_function({"BZ_SHARED_SECRET": SECRET}) as function:
        yield function.url


@pytest.fixture
def run(
    world: World,
    iconik_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """Return what runs a command, as after the README's steps, and returns status and output."""
    world.add_storage("LucidLink")
    world.add_storage("B2", "B2")
    settings = {
        "ICONIK_ID": world.app_id,
        "ICONIK_URL": iconik_url,
        "STORAGE_NAME": "LucidLink",
        "MASTER_STORAGE_NAME": "B2",
    }
    secrets = {"BZ_SHARED_SECRET": SECRET, "ICONIK_TOKEN": world.token}
    monkeypatch.chdir(tmp_path)
    Path(".env.yaml").write_text("".join(f"{key}: '{value}'\n" for key, value in settings.items()))

    def run(*arguments: str) -> tuple[int, str]:
        status = commands.main(arguments)
        output = "".join(capsys.readouterr())
        for secret in secrets.values():
            assert secret not in output
        return status, output

    with patch.dict(os.environ, {"PATH": os.environ["PATH"], **secrets}, clear=True):
        yield run


# actions


def test_create(world: World, run: Run) -> None:
    """Both actions stand in three contexts, with URL, type, secret and App."""
    status, output = run("actions", "create", "--url", URL + "/")
    assert status == 0
    assert output.splitlines()[0] == "Created Add to LucidLink (ASSET)."
    actions = [
        (action["context"], action["title"], action["url"])
        for action in world.custom_actions.values()
    ]
    assert actions == [
        (context, title, URL + path)
        for context in ("ASSET", "COLLECTION", "BULK")
        for title, path in (("Add to LucidLink", "/add"), ("Remove from LucidLink", "/remove"))
    ]
    for action in world.custom_actions.values():
        assert action["type"] == "POST"
        assert action["headers"] == {"x-bz-secret": SECRET}
        assert action["app_id"] == world.app_id


def test_create_with_overrides(world: World, run: Run) -> None:
    """Overrides are in the URL, encoded, and in the title, so that several can stand."""
    options = ["--storage", "Dailies & more", "--format", "PPRO_PROXY,ORIGINAL", "--path", "/in"]
    run("actions", "create", "--url", URL)
    run("actions", "create", "--url", URL, "--contexts", "SAVED_SEARCH,BULK", *options)
    assert len(world.custom_actions) == 6 + 4
    action = list(world.custom_actions.values())[-1]
    assert action["context"] == "BULK"
    assert action["title"] == ("Remove from LucidLink (Dailies & more, PPRO_PROXY,ORIGINAL, /in)")
    query = "storage=Dailies%20%26%20more&format=PPRO_PROXY,ORIGINAL&path=/in"
    assert action["url"] == f"{URL}/remove?{query}"


def test_create_again_changes_nothing(world: World, run: Run) -> None:
    """What is right stays untouched, to the letter."""
    run("actions", "create", "--url", URL)
    for action in world.custom_actions.values():
        action["headers"]["X-Team"] = "post"
    before = json.dumps(world.custom_actions)
    status, output = run("actions", "create", "--url", URL)
    assert (status, output.count("is right already.")) == (0, 6)
    assert json.dumps(world.custom_actions) == before


@pytest.mark.parametrize(
    ("differing", "changes"),
    [
        ("url", {"url": "https://old.example/add"}),
        ("title", {"title": "Fetch"}),
        ("headers", {"headers": {"X-BZ-Secret": "old", "X-Team": "post"}}),
        ("headers", {"headers": None}),
        ("type", {"type": "OPEN"}),
    ],
)
def test_create_again_updates_what_differs(
    world: World, run: Run, differing: str, changes: dict[str, object]
) -> None:
    """A new URL, secret or label goes into the action that stands; its other headers stay."""
    run("actions", "create", "--url", URL, "--contexts", "BULK")
    action = next(iter(world.custom_actions.values()))
    right = dict(action)
    action.update(changes)
    status, output = run("actions", "create", "--url", URL, "--contexts", "BULK")
    assert status == 0
    assert output.splitlines()[0] == f"Updated Add to LucidLink (BULK): {differing}."
    if changes.get("headers"):
        right["headers"] = {"X-Team": "post", "x-bz-secret": SECRET}
    assert action == right
    assert len(world.custom_actions) == 2


def test_create_refuses_to_choose(world: World, run: Run) -> None:
    """Where two stand for one, nothing is changed and nothing made."""
    for _ in range(2):
        world.add_custom_action(OTHER | {"title": "Add to LucidLink"})
    before = json.dumps(world.custom_actions)
    status, output = run("actions", "create", "--url", URL, "--contexts", "BULK")
    assert status == 1
    assert "delete all but one" in output
    assert json.dumps(world.custom_actions) == before


def test_create_where_iconik_takes_no_app(world: World, run: Run) -> None:
    """An iconik that fails with the App named gets the actions without."""
    world.apps_work = False
    assert run("actions", "create", "--url", URL)[1].count(", without an App.\n") == 6
    assert len(world.custom_actions) == 6
    assert run("actions", "create", "--url", URL)[1].count("is right already.") == 6


def test_create_whose_answer_is_lost(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An action that stands though iconik answered with an error is not made twice."""
    add = world.add_custom_action

    def add_and_fail(action: dict[str, object]) -> None:
        add(action)
        raise RuntimeError

    monkeypatch.setattr(world, "add_custom_action", add_and_fail)
    assert run("actions", "create", "--url", URL)[0] == 0
    assert len(world.custom_actions) == 6


@pytest.mark.parametrize(
    "options",
    [
        ["--url", "http://example.com"],
        ["--url", URL + "/add"],
        ["--url", URL, "--contexts", "ASSET,SHARED_ASSET"],
    ],
)
def test_create_refuses_wrong_options(
    world: World, run: Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A URL without TLS, an action's URL, or a context that has no selection is refused."""
    with pytest.raises(SystemExit) as raised:
        run("actions", "create", *options)
    assert raised.value.code == 2
    assert options[-2] in capsys.readouterr().err
    assert world.custom_actions == {}


def test_create_takes_each_context_once(world: World, run: Run) -> None:
    """A context that is named twice gets one pair of actions."""
    run("actions", "create", "--url", URL, "--contexts", "BULK,BULK")
    assert len(world.custom_actions) == 2


def test_create_refuses_wrong_overrides(world: World, run: Run) -> None:
    """What the function would refuse at each click is refused here."""
    status, output = run("actions", "create", "--url", URL, "--path", "in")
    assert (status, "path" in output) == (1, True)
    assert world.custom_actions == {}


def test_list(world: World, run: Run) -> None:
    """Health and the last error are shown of the plugin's actions, and nothing of others."""
    run("actions", "create", "--url", URL, "--contexts", "BULK")
    world.add_custom_action(OTHER)
    failing, disabled = list(world.custom_actions.values())[:2]
    failing.update(status="FAILING", last_error=f"timed\x1bout, sent {SECRET}")
    disabled.update(disabled=True)
    assert run("actions", "list") == (
        0,
        f"Add to LucidLink (BULK) calls {URL}/add: FAILING, last error: timed?out, sent ***\n"
        f"Remove from LucidLink (BULK) calls {URL}/remove: disabled\n",
    )


@pytest.mark.parametrize(("answer", "left"), [("y\n", 2), ("\n", 8), ("", 8)])
def test_delete_asks(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    """What calls the function is shown, and deleted if that is wanted; the rest stays."""
    world.add_custom_action(OTHER)
    world.add_custom_action(OTHER | {"url": URL + "2/add"})
    run("actions", "create", "--url", URL)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    status, output = run("actions", "delete", "--url", URL)
    assert status == 0
    assert "Delete these 6? [y/N] " in output
    assert output.count(f"calls {URL}/") == 6
    assert len(world.custom_actions) == left


def test_delete_without_asking(world: World, run: Run) -> None:
    """With --yes nobody is asked, and what is gone is gone."""
    run("actions", "create", "--url", URL)
    assert run("actions", "delete", "--url", URL, "--yes")[1].count("Deleted ") == 6
    assert world.custom_actions == {}
    assert run("actions", "list") == (0, "iconik has no custom actions of the plugin.\n")
    expected = f"No custom action calls {URL}.\n"
    assert run("actions", "delete", "--url", URL, "--yes") == (0, expected)


# doctor


def examine(run: Run, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run the doctor; return its exit status, and state and text of each check."""
    status, output = run("doctor", "--json", *options)
    findings = json.loads(output)
    return status, {row["check"]: (row["state"], row["text"]) for row in findings}


def test_doctor_is_content(world: World, run: Run, function: str) -> None:
    """After the README's steps every check is ok, and shown in a line of a table."""
    world.add_custom_action(OTHER)
    run("actions", "create", "--url", function)
    status, findings = examine(run, "--url", function)
    assert {state for state, _ in findings.values()} == {"ok"}
    assert status == 0
    assert findings["iconik"][1] == "The token is valid. It acts as plugin@example.com."
    assert findings["bz-shared-secret"][1] == "Read from the variable BZ_SHARED_SECRET."
    assert findings["storage"][1] == "LucidLink is ACTIVE, of type FILE."
    _, table = run("doctor", "--url", function)
    assert len(table.splitlines()) == len(findings)


def unset(name: str) -> None:
    """Take a setting out of .env.yaml."""
    lines = Path(".env.yaml").read_text().splitlines()
    Path(".env.yaml").write_text("\n".join(line for line in lines if not line.startswith(name)))


def storage(world: World, name: str) -> dict[str, object]:
    """Return a storage by its name."""
    return next(row for row in world.storages.values() if row["name"] == name)


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
            lambda _: unset("MASTER_STORAGE_NAME"),
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
            "of type B2",
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


def test_doctor_tells_that_deletion_is_allowed(world: World, run: Run) -> None:
    """Where iconik says that it may delete, the doctor does."""
    world.permissions[str(storage(world, "LucidLink")["id"])] = {"delete_access": True}
    assert examine(run)[1]["deletion"] == ("ok", "iconik may delete there.")


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
    assert f"actions create --url {URL}" in findings["custom actions"][1]


def test_doctor_knows_the_deployed_secret(
    run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that was deployed with another secret is a failure; strangers are kept out."""
    monkeypatch.setitem(os.environ, "BZ_SHARED_SECRET", "another")
    status, findings = examine(run, "--url", function)
    assert findings["function"] == ("ok", f"{function} lets no stranger in.")
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
    world: World, run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the variables the commands read the secrets as the function does, and say so."""
    secrets, credentials = Secrets(), Credentials(token=TOKEN)  # type: ignore[no-untyped-call]
    secrets.answers["bz-shared-secret"] = found(SECRET.encode())
    secrets.answers["iconik-token"] = found(world.token.encode())
    del os.environ["BZ_SHARED_SECRET"], os.environ["ICONIK_TOKEN"]
    with secrets.serve() as google_environ:
        client = functools.partial(connect, google_environ["SANDBOX_SECRETS"])
        monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", client)
        monkeypatch.setattr(google.auth, "default", lambda: (credentials, "project"))
        assert run("actions", "create", "--url", function)[0] == 0
        status, findings = examine(run, "--url", function)
        assert (status, findings["deployed secret"]) == (0, ("ok", "It is this one."))
        for name in ("bz-shared-secret", "iconik-token"):
            assert findings[name] == ("ok", "Read from Secret Manager.")
        secrets.answers["iconik-token"] = refused(grpc.StatusCode.PERMISSION_DENIED)
        status, findings = examine(run, "--url", function)
    assert (status, findings["iconik-token"][0]) == (1, "failure")
    assert "roles/secretmanager.secretAccessor" in findings["iconik-token"][1]


def test_doctor_without_roles(world: World, run: Run) -> None:
    """A user without any role can do nothing, and each purpose says what it needs."""
    world.roles = []
    _, findings = examine(run)
    assert "roles" not in findings
    assert "can_read_storages" in findings["roles: Both"][1]


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (401, {}, "is it this function?"),
        (200, {"WWW-Authenticate": "x-bz-secret"}, "is it this function?"),
        (307, {"Location": "/", "WWW-Authenticate": "x-bz-secret"}, "answers 307"),
        (403, {}, "--allow-unauthenticated"),
        (404, {}, "gcloud functions describe"),
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
    """A function that cannot read its secret is told apart from one that has another."""
    with run_function(NO_GOOGLE) as function:
        _, findings = examine(run, "--url", function.url)
    assert findings["function"][0] == "ok"
    assert findings["deployed secret"][0] == "failure"
    assert "cannot read it" in findings["deployed secret"][1]


def test_doctor_compares_function_url(world: World, run: Run, function: str) -> None:
    """The queue's tasks would go elsewhere; what the command names is looked at."""
    queue = {"TASK_QUEUE": QUEUE, "TASK_SERVICE_ACCOUNT": ACCOUNT, "FUNCTION_URL": URL}
    os.environ.update(queue | NO_GOOGLE)
    _, output = run("doctor", "--url", function)
    assert f"FUNCTION_URL is another than {function}." in output
    assert f"{function} lets no stranger in." in output


def test_doctor_without_settings(run: Run) -> None:
    """Every setting that is missing is named at once; what can be checked still is."""
    Path(".env.yaml").unlink()
    status, findings = examine(run)
    assert status == 1
    assert "ICONIK_ID" in findings["settings"][1]
    assert "STORAGE_NAME" in findings["settings"][1]
    assert findings["iconik-token"][0] == "ok"
    assert findings["function"] == ("warning", "Not looked at: give its --url.")


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


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tasks_v2.Queue]]:
    """Let the real library find these queues on loopback, by their names."""
    queues: dict[str, tasks_v2.Queue] = {}

    def get_queue(
        request: tasks_v2.GetQueueRequest, context: grpc.ServicerContext
    ) -> tasks_v2.Queue:
        if request.name not in queues:
            context.abort(grpc.StatusCode.NOT_FOUND, "of no interest")
        return queues[request.name]

    handler = grpc.unary_unary_rpc_method_handler(
        get_queue,
        request_deserializer=tasks_v2.GetQueueRequest.deserialize,
        response_serializer=tasks_v2.Queue.serialize,
    )
    server = grpc.server(ThreadPoolExecutor(2))
    service = "google.cloud.tasks.v2.CloudTasks"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"GetQueue": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        transport = CloudTasksGrpcTransport(channel=channel, credentials=AnonymousCredentials())
        client = tasks_v2.CloudTasksClient(transport=transport)
        monkeypatch.setattr(tasks_v2, "CloudTasksClient", lambda: client)
        yield queues
    server.stop(None)


@pytest.mark.parametrize(
    ("queue", "state", "text"),
    [
        (None, "failure", "create it"),
        ({"state": "RUNNING", "retry_config": {"max_attempts": 20}}, "ok", "It is running."),
        ({"state": "RUNNING", "retry_config": {"max_attempts": 100}}, "warning", "to 20"),
        ({"state": "PAUSED", "retry_config": {"max_attempts": 20}}, "failure", "resume"),
    ],
)
def test_doctor_looks_at_the_queue(
    run: Run,
    function: str,
    queues: dict[str, tasks_v2.Queue],
    queue: dict[str, object] | None,
    state: str,
    text: str,
) -> None:
    """A queue that is missing, paused or gives up at another time is told."""
    settings = {"TASK_QUEUE": QUEUE, "TASK_SERVICE_ACCOUNT": ACCOUNT, "FUNCTION_URL": function}
    os.environ.update(settings)
    if queue:
        queues[QUEUE] = tasks_v2.Queue(name=QUEUE, **queue)
    _, findings = examine(run)
    assert findings["queue"][0] == state
    assert text in findings["queue"][1]
    assert findings["function"][0] == "ok"


def test_doctor_may_not_look_at_the_queue(
    run: Run, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials of Google's there is only a warning: the function has its own."""
    settings = {"TASK_QUEUE": QUEUE, "TASK_SERVICE_ACCOUNT": ACCOUNT, "FUNCTION_URL": function}
    os.environ.update(settings | NO_GOOGLE)
    state, text = examine(run)[1]["queue"]
    assert (state, "DefaultCredentialsError" in text) == ("warning", True)


def test_a_context_that_is_none_enters_no_url(rest: Rest, requests_mock: Mocker) -> None:
    """A custom action's context is part of URLs, so what is no context is refused."""
    action = {"id": new_id(), "context": "../../users", "title": "x", "url": "https://x"}
    requests_mock.get("/API/assets/v1/custom_actions/", json={"objects": [action]})
    with pytest.raises(IconikError, match="context"):
        AdminIconik(rest).custom_actions()
