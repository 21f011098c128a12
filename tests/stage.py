"""The function in process, on one thread, with a clock, and an iconik and a queue in memory."""

import json
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import functions_framework
import requests
from werkzeug.test import TestResponse

from sandbox.quirks import Quirks
from sandbox.server import create_app
from sandbox.site import SECRET, Site, payload
from sandbox.tasks import ACCOUNT, QUEUE, TIMEOUT
from sandbox.world import World
from storage_plugin import remove, task_queue
from storage_plugin.errors import QueueUnavailable
from storage_plugin.iconik import client, pace
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.settings import Settings
from tests.conftest import Time
from tests.in_process import URL, Answer, InProcess
from tests.system.stage import EDITOR, Scene

FUNCTION = functions_framework.create_app(
    "iconik_handler", str(Path(__file__).parent.parent / "main.py")
)
main = sys.modules["main"]

MINUTE, HOUR = 60.0, 3600.0
# What can go wrong with a call to iconik, after it is done or before, and with a hand-over.
DONE = ("500, but done", "no answer", "time-out", "half an answer", "kill, but done")
FAULTS = (*DONE, "429", "500", "404", "403", "401", "HTML", "kill")
AWAY, LOST = "the queue is away", "the queue's answer is lost"


class Killed(BaseException):
    """The instance is killed."""


class Serial(nullcontext["Serial"]):
    """Stands in for a pool of threads: it does everything at once, in order."""

    def __init__(self, _: int) -> None:
        super().__init__(self)

    def submit(self, work: Callable[[], Any]) -> None:
        """Do some work."""
        work()

    map = map


class Task(NamedTuple):
    """A task in the queue."""

    due: float
    name: str
    path: str
    body: bytes
    retries: int = 0


def nothing(*_: str) -> str:
    """Let nothing happen."""
    return ""


class Stage(Scene, Time):
    """The function, an iconik, and a queue that delivers when it is told to."""

    def __init__(self, *, has_queue: bool = False, **settings: str) -> None:
        self.now, self.clicked = 1_800_000_000.0, 0.0  # Seconds since 1970; the last click.
        self.latency = 0.1  # The seconds that each call to iconik takes.
        self.world = World(quirks=Quirks(copies_take_time=True))
        self.world.now = lambda: written(self.now)  # type: ignore[method-assign]
        self.site = Site(self.world)
        self.on_call: Callable[[str, str], str] = nothing  # Returns the fault of a call to iconik.
        self.on_task: Callable[[], str] = nothing  # Returns the fault of a hand-over.
        self.calls: list[str] = []
        self.tasks: list[Task] = []  # Those that the queue has not delivered.
        self.deliveries = 0
        self._names: set[str] = set()
        self.environ = self.site.settings(URL) | self.site.secrets() | settings
        if has_queue:
            self.environ |= {"TASK_QUEUE": QUEUE, "TASK_SERVICE_ACCOUNT": ACCOUNT}
            self.environ["FUNCTION_URL"] = "https://function.test"
            self.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = TIMEOUT
        self._iconik = InProcess(create_app(self.world))
        self._random = random.Random(0)  # noqa: S311 - Equal stages play equally.

    # The editor

    def click(self, path: str = "/remove", **selection: object) -> TestResponse:
        """Post a custom action as iconik does. What was there before the first one is old."""
        self.now += 0.0 if self.calls else HOUR
        self.clicked = self.now
        body = json.dumps(payload(**{"user_id": EDITOR, **selection})).encode()
        return self.post(path, body, {"x-bz-secret": SECRET})

    def remove(self, path: str = "/remove") -> TestResponse:
        """Click a removal of all assets."""
        return self.click(path, asset_ids=[*self.world.assets])

    @property
    def notes(self) -> list[str]:
        """The notifications."""
        return [note["message_long"] for note in self.world.notifications.values()]

    def add(self, asset_id: str) -> None:
        """Have a master copied to LucidLink."""
        body = {"object_type": "assets", "object_ids": [asset_id], "format_name": "ORIGINAL"}
        self.world.copy(self.site.lucidlink, body | {"preferred_original_storage_id": self.site.b2})

    # iconik, in the place of a session of requests

    def request(
        self, method: str, url: str, *, timeout: tuple[float, float], **call: Any
    ) -> requests.Response:
        """Answer a call to iconik."""
        path = url.removeprefix(URL)
        self.calls.append(f"{method} {path}")
        self.now += self.latency
        fault = self.on_call(method, path)
        if self.latency > timeout[1]:
            fault = fault or "time-out"
        if not fault or fault in DONE:
            answer = self._iconik.serve(method, url, call)
        if not fault:
            return answer.response()
        if fault.startswith("kill"):
            raise Killed
        if fault == "no answer":
            raise requests.ConnectionError
        if fault == "time-out":
            self.now += timeout[1]
            raise requests.ReadTimeout
        if fault == "half an answer":
            half, length = answer.data[: len(answer.data) // 2], str(len(answer.data))
            return Answer(answer.status, half, {"Content-Length": length}).response()
        if fault == "HTML":
            return Answer(200, b"<html></html>").response()
        return Answer(int(fault[:3]), b'{"errors": ["fault"]}').response()

    def close(self) -> None:
        """Close all connections to iconik, of which there are none."""

    # The queue

    def hand_over(self, _: Settings, *, path: str, name: str, body: bytes, delay: float) -> None:
        """Take a task, once by its name."""
        fault = self.on_task()
        if fault != AWAY and name not in self._names:
            self._names.add(name)
            self.tasks.append(Task(self.now + delay, name, path, body))
        if fault:
            raise QueueUnavailable(fault)

    def deliver(self, most: int = 1000) -> int:
        """Deliver tasks, also those that come meanwhile, and return how many there were."""
        before = self.deliveries
        while self.tasks and self.deliveries < before + most:
            self.tasks.sort()
            task = self.tasks.pop(0)
            self.now = max(self.now, task.due)
            self.deliver_one(task)
        return self.deliveries - before

    def deliver_one(self, task: Task) -> None:
        """Deliver a task, and put it into the queue again if the answer is no success."""
        self.deliveries += 1
        headers = {"Authorization": "queue", "X-CloudTasks-TaskRetryCount": str(task.retries)}
        with suppress(Killed):
            if self.post(task.path, task.body, headers).status_code == 200:
                return
        self.tasks.append(task._replace(due=self.now + 30.0, retries=task.retries + 1))

    # The function

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> TestResponse:
        """Post to a new instance of the function, on this stage's clock."""
        with ExitStack() as stack:
            for target, name, value in [
                (main, "session", self),
                (main, "pace", Pace(self, self.sleep)),
                (main, "Deadline", partial(Deadline, clock=self)),
                (main.time, "time", self),
                (main.os, "environ", self.environ),
                (client, "ThreadPoolExecutor", Serial),
                (remove, "ThreadPoolExecutor", Serial),
                (remove, "random", self._random),
                (pace, "random", self._random),
                (remove, "hand_over", self.hand_over),
                (task_queue, "is_delivery", lambda header, _: header == "queue"),
            ]:
                stack.enter_context(patch.object(target, name, value))
            return FUNCTION.test_client().post(path, data=body, headers=headers)


def failing(*parts: str, fault: str = "500") -> Callable[[str, str], str]:
    """Return what lets calls fail whose methods and paths contain all of these parts."""
    return lambda method, path: fault if all(each in f"{method} {path}" for each in parts) else ""


def written(seconds: float) -> str:
    """Return a time as iconik writes it."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat()
