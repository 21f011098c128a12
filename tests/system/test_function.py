"""The function as gunicorn runs it: threads, broken requests, and its lines."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.function import ROOT, Function, run_function
from storage_plugin.logs import greeting
from tests.system.stage import SECRET, Stage, send

TRACE = "0123456789abcdef0123456789abcdef"


def connect(function: Function, head: str) -> socket.socket:
    """Send the beginning of a request for an Add."""
    url = urlsplit(function.url)
    connection = socket.create_connection((url.hostname, url.port), timeout=60)
    connection.sendall(f"POST /add HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
    return connection


def test_requests_run_side_by_side(stage: Stage) -> None:
    """Thirty actions at once, half of them with a wrong secret, do what each one does alone."""

    def remove(asset: str, secret: str) -> int:
        return stage.post("/remove", secret, asset_ids=[asset]).status_code

    with ThreadPoolExecutor(30) as pool:
        answers = pool.map(remove, stage.assets(30), [SECRET, "wrong"] * 15)
        assert [*answers] == [200, 401] * 15
    assert stage.site.copies() == 15


@pytest.mark.parametrize("body", [b'{"auth_token": "payload-token"}', b"zz\r\n", b"ff\r\ncut"])
def test_broken_bodies_are_400(stage: Stage, body: bytes) -> None:
    """A body that breaks off or is no chunk is refused, and does not come into the log."""
    head = f"x-bz-secret: {SECRET}\r\nTransfer-Encoding: chunked"
    with connect(stage.function, head) as connection:
        connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    (event,) = stage.events
    assert (event["status"], "payload-token" in event["message"]) == (400, False)


def test_strangers_who_never_send_a_body(stage: Stage) -> None:
    """As many strangers as there are threads do not keep out a good caller."""
    with stage.run(THREADS="2") as function, ExitStack() as stack:
        for _ in range(2):
            stranger = stack.enter_context(connect(function, "Content-Length: 10"))
            assert stranger.recv(100).startswith(b"HTTP/1.1 401 ")  # Now it waits for the body.
        assert send(function, "GET", "/").status_code == 405


@pytest.mark.parametrize(
    ("method", "secret", "size", "status"),
    [
        ("POST", "wrong", 100_000, 401),
        ("PUT", SECRET, 100_000, 405),
        ("POST", SECRET, 1 << 21, 413),
    ],
)
def test_after_an_unread_body_no_request_is_lost(
    stage: Stage, method: str, secret: str, size: int, status: int
) -> None:
    """A client that keeps its connection learns that this one ends, and opens another one."""
    client = HTTPConnection(urlsplit(stage.function.url).netloc, timeout=60)

    def post(method: str, secret: str, body: bytes) -> int:
        client.request(method, "/add", body, {"x-bz-secret": secret.encode()})
        with client.getresponse() as answer:
            answer.read()
            return answer.status

    assert post(method, secret, bytes(size)) == status
    assert post("POST", SECRET, b"{}") == 400
    client.close()


# The function, with something in an Add that nobody has thought of.
FAULTY = """
import pathlib, sys

sys.path.insert(0, {root!r})
exec(pathlib.Path({root!r}, "main.py").read_text())

def add(*_, **__):
    raise RuntimeError("words of".title())
"""


def test_lines_belong_to_their_request(stage: Stage, tmp_path: Path) -> None:
    """Although the framework passes on each write, a line is one entry with the request's trace."""
    (tmp_path / "main.py").write_text(FAULTY.format(root=str(ROOT)))
    changes = {"GOOGLE_CLOUD_PROJECT": "project"}
    headers = {"x-bz-secret": SECRET.encode(), "X-Cloud-Trace-Context": f"{TRACE}/1;o=1"}
    body = {"asset_ids": [stage.site.only_copy()]}
    with run_function(stage.settings | changes, tmp_path) as function:
        _, failed = [
            requests.post(f"{function.url}/{verb}", json=body, headers=headers, timeout=60)
            for verb in ("remove", "add")
        ]
        start, output = function.start, function.output
    assert json.loads(start)["message"] == greeting()
    kept, request, fault = events = [json.loads(line) for line in output.splitlines()]
    traces = {event["logging.googleapis.com/trace"] for event in events}
    assert traces == {f"projects/project/traces/{TRACE}"}
    assert kept["reference"] == request["reference"] != fault["reference"]
    answer = (failed.status_code, failed.text)
    assert answer == (500, "The plugin has failed: see the function's log.")
    assert (fault["severity"], fault["@type"].endswith(".ReportedErrorEvent")) == ("ERROR", True)
    assert fault["stack_trace"].endswith("RuntimeError")
    assert "in add" in fault["stack_trace"]
    assert "Words Of" not in output
