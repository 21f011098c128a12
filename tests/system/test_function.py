"""The function as gunicorn runs it: threads, broken requests, time, and its lines."""

import json
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.function import ROOT, Function, run_function
from tests.system.stage import ID, SECRET, Stage, post, send

TRACE = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    """Start the function once for all tests."""
    with ExitStack() as stack:
        yield Stage(stack)


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """Return the running function."""
    with running.test():
        yield running


def test_requests_run_side_by_side(stage: Stage) -> None:
    """Fifty actions at once, half of them with a wrong secret, do what each one does alone."""
    assets = stage.assets(50)
    secrets = [SECRET, "wrong"] * 25
    with ThreadPoolExecutor(50) as pool:
        answers = pool.map(
            lambda asset, secret: stage.post("/remove", secret, asset_ids=[asset]),
            assets,
            secrets,
        )
        assert [answer.status_code for answer in answers] == [200, 401] * 25
    assert stage.site.copies() == 25


@pytest.mark.parametrize("method", ["POST", "GET", "TRACE"])
@pytest.mark.parametrize("secret", [None, "wrong", "\xff" * 500])
@pytest.mark.parametrize("path", ["/add", "/nowhere?x=y", "//", "/%00"])
def test_strangers_learn_nothing(stage: Stage, method: str, secret: str | None, path: str) -> None:
    """Without the secret the answer is the same, whatever else a request holds."""
    response = send(stage.function, method, path, secret, data=b"{nonsense")
    assert (response.status_code, response.text) == (
        401,
        "The header x-bz-secret must hold the shared secret.",
    )


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_no_other_method_is_served(stage: Stage, method: str) -> None:
    """Only POST is served, whatever the path."""
    assert send(stage.function, method, "/nowhere").status_code == 405


@pytest.mark.parametrize("body", [b'{"auth_token": "payload-token"}', b"zz\r\n", b"ff\r\ncut"])
def test_broken_bodies_are_400(stage: Stage, body: bytes) -> None:
    """A body that breaks off or is no chunk is refused, and does not come into the log."""
    url = urlsplit(stage.function.url)
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        head = f"POST /add HTTP/1.1\r\nHost: x\r\nx-bz-secret: {SECRET}\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    (event,) = stage.events
    assert event["status"] == 400
    assert "payload-token" not in event["message"]


def promise_a_body(function: Function) -> socket.socket:
    """Send a request without the secret, and without the body that it promises."""
    url = urlsplit(function.url)
    stranger = socket.create_connection((url.hostname, url.port), timeout=60)
    stranger.sendall(b"POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    return stranger


@pytest.mark.parametrize(("threads", "is_served"), [("4", False), ("16", True)])
def test_strangers_who_never_send_a_body(stage: Stage, threads: str, is_served: bool) -> None:
    """A dozen of them keep out a good caller where the framework has four threads, not with 16."""
    with ExitStack() as stack:
        function = stack.enter_context(stage.run(THREADS=threads))
        strangers = [stack.enter_context(promise_a_body(function)) for _ in range(12)]
        for stranger in strangers[: int(threads)]:
            assert stranger.recv(100).startswith(b"HTTP/1.1 401 ")  # A thread waits for the body.
        url = urlsplit(function.url)
        caller = stack.enter_context(socket.create_connection((url.hostname, url.port)))
        caller.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nx-bz-secret: {SECRET}\r\n\r\n".encode())
        # The framework lets a thread wait for 5 s: what has no thread gets no answer in one.
        answered, _, _ = select.select([caller], [], [], 60 if is_served else 1)
        assert bool(answered) == is_served
        for stranger in strangers:
            stranger.close()
        assert caller.recv(100).startswith(b"HTTP/1.1 405 ")


# Time


def test_out_of_time_goes_on_when_repeated(stage: Stage) -> None:
    """A removal ends before the platform ends it, says what is left, and goes on from there."""
    collection = stage.world.add_collection(*stage.assets(150))
    stage.faults.latency = 0.2
    with stage.run(CLOUD_RUN_TIMEOUT_SECONDS="3") as function:
        response = post(function, "/remove", collection_ids=[collection])
        assert response.status_code == 504
        assert response.text.endswith(" not done yet. Repeat the action.")
        stage.faults.latency = 0
        for _ in range(50):
            if response.status_code == 504:
                response = post(function, "/remove", collection_ids=[collection])
    assert (response.text, stage.site.copies()) == ("OK", 0)


def test_out_of_time_is_shown(stage: Stage) -> None:
    """A removal that runs out of time has some left to show its end in the job."""
    stage.faults.services, stage.faults.probabilities = ("files",), {"429": 1}
    with stage.run(CLOUD_RUN_TIMEOUT_SECONDS="3") as function:
        assert post(function, "/remove", asset_ids=stage.assets(1)).status_code == 504
    assert stage.job["status"] == "FAILED"


# Lines


@pytest.mark.parametrize("execution_id", ["true", "false"])
def test_lines_of_a_request_have_its_trace(stage: Stage, execution_id: str) -> None:
    """However the framework passes them on, each line is one entry."""
    headers = {"x-bz-secret": SECRET.encode(), "X-Cloud-Trace-Context": f"{TRACE}/1;o=1"}
    body = {"asset_ids": [stage.site.only_copy()]}
    changes = {"LOG_EXECUTION_ID": execution_id, "GOOGLE_CLOUD_PROJECT": "project"}
    with stage.run(**changes) as function:
        requests.post(f"{function.url}/remove", json=body, headers=headers, timeout=60)
        asset, request = map(json.loads, function.output.splitlines())
    assert asset["reference"] == request["reference"]
    for event in (asset, request):
        assert event["logging.googleapis.com/trace"] == f"projects/project/traces/{TRACE}"


FAULTY = """
import importlib.util, sys

sys.path.insert(0, {root!r})
spec = importlib.util.spec_from_file_location("main", {root!r} + "/main.py")
deployed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deployed)

def act(*_):
    raise RuntimeError("words of".title())

deployed.act = act
iconik_handler = deployed.iconik_handler
"""
"""The function, with something that nobody has thought of."""


@pytest.mark.parametrize("execution_id", ["true", "false"])
def test_a_fault_is_one_line(stage: Stage, tmp_path: Path, execution_id: str) -> None:
    """What nobody has thought of is a 500 without details, and one line for Error Reporting."""
    (tmp_path / "main.py").write_text(FAULTY.format(root=str(ROOT)))
    settings = stage.settings | {"LOG_EXECUTION_ID": execution_id}
    with run_function(settings | {"GOOGLE_CLOUD_PROJECT": "p"}, tmp_path) as function:
        response = requests.post(
            f"{function.url}/add",
            json={"asset_ids": [ID]},
            headers={"x-bz-secret": SECRET.encode(), "X-Cloud-Trace-Context": TRACE},
            timeout=60,
        )
        output = function.output
    (event,) = map(json.loads, output.splitlines())
    assert response.status_code == 500
    assert response.text == "The plugin has failed: see the function's log."
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert event["severity"] == "ERROR"
    assert event["logging.googleapis.com/trace"] == f"projects/p/traces/{TRACE}"
    assert event["stack_trace"].endswith("RuntimeError")
    assert "in act" in event["stack_trace"]
    assert event["@type"].endswith(".ReportedErrorEvent")
    assert "Words Of" not in output
