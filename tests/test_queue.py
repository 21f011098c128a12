"""Deliveries of the queue, and Google's certificates."""

import json
import threading

import flask
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.datastructures import Headers

from sandbox.network import certify
from sandbox.server import serve
from sandbox.tasks import ACCOUNT, CERTIFICATES, QUEUE, Key
from storage_plugin.background import queue
from storage_plugin.background.queue import QueueUnavailable, TaskQueue
from storage_plugin.background.task import PINNED, Task, read_task
from storage_plugin.webhook import Action, Selection
from tests.clicks import EDITOR
from tests.conftest import Time

ENVIRON = {
    "TASK_QUEUE": QUEUE,
    "TASK_SERVICE_ACCOUNT": ACCOUNT,
    "FUNCTION_URL": "https://function.example/",
}


OF_ANOTHER_KIND = certify(ec.generate_private_key(ec.SECP256R1()), "sandbox").decode()
"""A certificate, but not of an RSA key, as Google's are."""


@pytest.fixture(scope="module")
def key() -> Key:
    """Return a key, which takes a while to make."""
    return Key()


def is_sender(task_queue: TaskQueue, key: Key) -> bool:
    """Return whether a delivery to this function is let in."""
    token = key.token("https://function.example")
    return task_queue.is_sender(f"Bearer {token}", ENVIRON)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param("", 500, id="failure"),
        pytest.param("", 302, id="redirect"),
        pytest.param("{}", 200, id="no certificates"),
        pytest.param("[]", 200, id="list"),
        pytest.param("\xff", 200, id="not UTF-8"),
        pytest.param("[" * 50_000, 200, id="nested"),
        pytest.param(" " * 70_000 + "{}", 200, id="large"),
        pytest.param('{"keys": []}', 200, id="other keys"),
        pytest.param('{"key-1": "nonsense"}', 200, id="nonsense"),
        pytest.param('{"key-1": null}', 200, id="null"),
        pytest.param('{"key-1": "-----BEGIN CERTIFICATE-----"}', 200, id="cut"),
        pytest.param(json.dumps({"key-1": OF_ANOTHER_KIND}), 200, id="no RSA"),
    ],
)
def test_certificates_that_cannot_be_read(time: Time, key: Key, text: str, status: int) -> None:
    """Without Google's certificates, the queue must wait; they are requested again later."""
    app = flask.Flask("certificates")
    answers = [(text, status), (json.dumps({"key-1": key.certificate}), 200)]
    app.add_url_rule(CERTIFICATES, view_func=lambda: answers.pop(0))
    with serve(app) as url:
        task_queue = TaskQueue(url + CERTIFICATES, time)
        for _ in range(2):
            with pytest.raises(QueueUnavailable):
                is_sender(task_queue, key)
        time.sleep(11)
        assert [is_sender(task_queue, key) for _ in range(2)] == [True, True]


def test_certificates_that_never_arrive(monkeypatch: pytest.MonkeyPatch, key: Key) -> None:
    """If certificates arrive too slowly, the queue must wait."""
    may_end, app = threading.Event(), flask.Flask("certificates")
    monkeypatch.setattr(queue, "SECONDS", 0.1)

    @app.get(CERTIFICATES)
    def certificates() -> flask.Response:
        drips = iter(lambda: may_end.wait(0.01), True)
        return flask.Response(b" " for _ in drips)

    with serve(app) as url:
        with pytest.raises(QueueUnavailable):
            is_sender(TaskQueue(url + CERTIFICATES), key)
        may_end.set()


@pytest.mark.parametrize("retries", ["19", "9" * 9, "18", "", "x", "-1", "9" * 5000, "\u0661"])
def test_nonsense_of_a_delivery_is_none(retries: str) -> None:
    """Odd headers and payloads are read without an error."""
    action = Action("remove", Selection((EDITOR,)), {}, None)
    headers = Headers({"X-CloudTasks-TaskName": "task", "X-CloudTasks-TaskRetryCount": retries})
    settings = dict.fromkeys(PINNED, "") | {"format_names": ["ORIGINAL"]}
    pins = {"settings": settings, "storage_id": EDITOR, "master_ids": [EDITOR], "clicked": 1.0}
    oddities: list[dict[str, object]] = [
        {"settings": {}},
        {"settings": settings | {"format_names": [1]}},
        {"storage_id": "x"},
        {"clicked": "yesterday"},
    ]
    for odd in (None, "", "x", 1, [EDITOR], {"x": 1}, *(pins | oddity for oddity in oddities)):
        body = {"job_id": odd, "wait": odd, "pins": odd, "part": odd}
        task = read_task(headers, json.dumps(body).encode(), action)
        assert task == Task(action, name="task", retries=task.retries)
        assert task.is_last == (retries in ("19", "9" * 9))
