"""What is read of a delivery, and of Google's certificates."""

import json
import threading
from collections.abc import Iterator

import flask
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.datastructures import Headers

from sandbox.network import certify
from sandbox.server import serve
from sandbox.tasks import ACCOUNT, CERTIFICATES, QUEUE, Tasks
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


def authorization(tasks: Tasks) -> str:
    """Return the header of a delivery to this function."""
    return f"Bearer {tasks.key.token('https://function.example')}"


OF_ANOTHER_KIND = certify(ec.generate_private_key(ec.SECP256R1()), "sandbox").decode()
"""A certificate, but not of an RSA key, as Google's are."""


@pytest.mark.parametrize(
    "odd",
    [
        ("", 500),
        ("", 302),
        ("{}", 200),
        ("[]", 200),
        ("\xff", 200),
        ("[" * 50_000, 200),
        (" " * 70_000 + "{}", 200),
        ('{"keys": []}', 200),
        ('{"key-1": "nonsense"}', 200),
        ('{"key-1": null}', 200),
        ('{"key-1": "-----BEGIN CERTIFICATE-----"}', 200),
        (json.dumps({"key-1": OF_ANOTHER_KIND}), 200),
    ],
)
def test_certificates_that_cannot_be_read(time: Time, odd: tuple[str, int]) -> None:
    """Without Google's certificates the queue is not refused for good; they are asked for later."""
    tasks, answers = Tasks(), [odd]
    app = flask.Flask("certificates")

    @app.get(CERTIFICATES)
    def certificates() -> tuple[str, int]:
        tasks.fetches += 1
        return answers[-1]

    with serve(app) as url:
        task_queue = TaskQueue(url + CERTIFICATES, time)
        for _ in range(2):
            with pytest.raises(QueueUnavailable):
                task_queue.is_sender(authorization(tasks), ENVIRON)
        answers.append((json.dumps({"key-1": tasks.key.certificate}), 200))
        time.sleep(11)
        for _ in range(2):
            assert task_queue.is_sender(authorization(tasks), ENVIRON)
        assert tasks.fetches == 2


def test_certificates_that_never_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates that drip are given up, and then the queue is not refused either."""
    tasks, may_end, app = Tasks(), threading.Event(), flask.Flask("certificates")
    monkeypatch.setattr(queue, "SECONDS", 0.1)

    @app.get(CERTIFICATES)
    def certificates() -> flask.Response:
        def drip() -> Iterator[bytes]:
            while not may_end.wait(0.01):
                yield b" "

        return flask.Response(drip())

    with serve(app) as url:
        with pytest.raises(QueueUnavailable):
            TaskQueue(url + CERTIFICATES).is_sender(authorization(tasks), ENVIRON)
        may_end.set()


@pytest.mark.parametrize("retries", ["19", "9" * 9, "18", "", "x", "-1", "9" * 5000, "\u0661"])
def test_nonsense_of_a_delivery_is_none(retries: str) -> None:
    """What headers and payload say is read, however odd."""
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
