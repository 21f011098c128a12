"""Stories: a removal of three assets in which one thing goes wrong, or an editor does something.

The function runs in process, against an iconik and a queue in memory, on a clock of its own. One
thread does the work of all, so the calls of a story have numbers.
"""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import functions_framework
import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from sandbox.server import create_app
from sandbox.site import Site, payload
from sandbox.world import World
from storage_plugin import remove, task_queue
from storage_plugin.iconik import client
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import new_session
from storage_plugin.settings import Settings

FUNCTION = functions_framework.create_app(
    "iconik_handler", str(Path(__file__).parent.parent / "main.py")
)
main = sys.modules["main"]

FAULTS = ("429", "500", "500, but done", "404", "403", "401", "HTML", "no answer", "kill")
ACTS = ("abort", "pause", "delete the job", "add again", "the same click", "redeploy")
DELIVERIES = ("twice", "at the same time", "25 hours late")
HOUR = 3600.0
MOST_DELIVERIES = 60
EDITOR = "11f0aaaa-0000-4000-8000-00000000000e"


class Story(NamedTuple):
    """A removal, and what happens in it.

    Attributes:
        has_queue: whether the function has a queue.
        archives: whether files without a master are copied first.
        event: a fault, an act of an editor, or something about a delivery; empty: nothing happens.
        number: the number of the call, or of the delivery, that it happens at.
    """

    has_queue: bool
    archives: bool
    event: str = ""
    number: int = -1


class Killed(BaseException):
    """The instance is killed."""


class Serial:
    """Stands in for a pool of threads: it does everything at once, in order."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> "Serial":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[[], Any]) -> "Future[Any]":
        """Do some work."""
        future: Future[Any] = Future()
        future.set_result(work())
        return future

    map = map


class Task(NamedTuple):
    """A task in the queue."""

    due: float
    name: str
    body: bytes
    retries: int = 0


class Stage(BaseAdapter):
    """Plays a story.

    Attributes:
        calls: the number of calls to iconik.
        deliveries: the number of deliveries of the queue.
        removed: the assets that have lost a file set on LucidLink.
        click_was_killed: whether an instance was killed before it could answer iconik.
    """

    def __init__(self, story: Story) -> None:
        super().__init__()
        self.story, self.now = story, 1_800_000_000.0
        self.calls = self.deliveries = 0
        self.click_was_killed = False
        self.removed: list[str] = []
        self.world = World()
        self.site = Site(self.world)
        self.world.quirks.copies_take_time = True
        self.sound, _ = self.site.asset(title="Sound")
        self.render = self.site.only_copy(title="Render")
        self.arriving = self.site.master(title="Arriving")
        for row in self.world.file_sets.values():
            row["date_created"] = self._write(self.now - HOUR)
        self.add(self.arriving)
        self.assets = [self.sound, self.render, self.arriving]
        self.tasks: list[Task] = []
        self.names: set[str] = set()
        self.environ = self.site.settings("https://iconik.test") | {
            "ICONIK_TOKEN": self.world.token,
            "BZ_SHARED_SECRET": "secret",
            "ARCHIVE_BEFORE_REMOVE": "true" if story.archives else "false",
        }
        if story.has_queue:
            self.environ |= {
                "TASK_QUEUE": "projects/p/locations/l/queues/q",
                "TASK_SERVICE_ACCOUNT": "queue@p.iam.gserviceaccount.com",
                "FUNCTION_URL": "https://function.test",
                "CLOUD_RUN_TIMEOUT_SECONDS": "1800",
            }
        self._iconik = create_app(self.world).test_client(use_cookies=False)
        self._session = new_session()
        self._session.mount("https://iconik.test", self)

    # The editor

    def click(self) -> None:
        """Post the removal as iconik does, which hears nothing of a killed instance."""
        self._post(json.dumps(payload(asset_ids=self.assets, user_id=EDITOR)).encode())

    def add(self, asset_id: str) -> None:
        """Have a master copied to LucidLink, which takes a while."""
        body = {"object_type": "assets", "object_ids": [asset_id], "format_name": "ORIGINAL"}
        self.world.copy(self.site.lucidlink, body | {"preferred_original_storage_id": self.site.b2})

    def act(self, act: str) -> None:
        """Do what an editor or an administrator may do."""
        jobs = [job for job in self.jobs if job["status"] == "STARTED"]
        if act in ("abort", "pause"):
            for job in jobs:
                job["status"] = {"abort": "ABORT_PENDING", "pause": "PAUSED"}[act]
        elif act == "delete the job":
            for job in jobs:
                del self.world.jobs[job["id"]]
        elif act == "add again":
            self.add(self.sound)
            self.finish_copies()
        elif act == "the same click":
            self.click()
        else:
            self.environ |= {"USE_RECYCLE_BIN": "true", "STORAGE_NAME": "Other"}

    # iconik

    def finish_copies(self) -> None:
        """Bring iconik's copies to their end."""
        before = {*self.world.file_sets}
        self.world.finish_copies()
        for id in self.world.file_sets.keys() - before:
            self.world.file_sets[id]["date_created"] = self._write(self.now)

    def heal(self) -> None:
        """Let nothing happen any more, and deploy the first settings again."""
        self.story = Story(self.story.has_queue, self.story.archives)
        self.environ |= {"USE_RECYCLE_BIN": "false", "STORAGE_NAME": "LucidLink"}

    def copies(self) -> set[str]:
        """Return the file sets on LucidLink."""
        rows = self.world.file_sets.values()
        on_it = [row for row in rows if row["storage_id"] == self.site.lucidlink]
        return {row["id"] for row in on_it if row["status"] == "ACTIVE"}

    def render_is_lost(self) -> bool:
        """Whether no complete copy of the render exists."""
        sets = [row["id"] for row in self.world.file_sets.of_asset[self.render].values()]
        return not any(row["status"] == "CLOSED" for id in sets for row in self.world.files_in(id))

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The jobs of the plugin."""
        return [job for job in self.world.jobs.values() if job["type"] == "CUSTOM"]

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer a call to iconik, unless something happens to it."""
        number, event = self.calls, self.story.event
        self.calls += 1
        self.now += 1.5 if self.story.has_queue else 0.1  # Too slow for a click with a queue.
        if number != self.story.number or event in DELIVERIES:
            return self._serve(request)
        if event in ACTS:
            self.act(event)
            return self._serve(request)
        if event in ("500, but done", "no answer"):
            self._serve(request)
        if event == "kill":
            raise Killed
        if event == "no answer":
            raise requests.ConnectionError
        body = b"<html></html>" if event == "HTML" else b'{"errors": ["fault"]}'
        return _answer(200 if event == "HTML" else int(event[:3]), body)

    def _serve(self, request: requests.PreparedRequest) -> requests.Response:
        asset_id, before = request.path_url.split("/")[5], self.copies()
        answer = self._iconik.open(
            request.path_url,
            method=request.method,
            headers=request.headers.items(),
            data=request.body,
        )
        if request.method == "DELETE" and before != self.copies():
            self.removed.append(asset_id)
        return _answer(answer.status_code, answer.data)

    # The queue

    def hand_over(
        self, _: Settings, *, path: str, name: str, body: bytes, delay: float = 0.0
    ) -> None:
        """Take a task, once by its name."""
        assert path == "/remove"
        if name not in self.names:
            self.names.add(name)
            self.tasks.append(Task(self.now + delay, name, body))

    def deliver(self) -> None:
        """Deliver all tasks until the queue is empty. iconik's copies are finished meanwhile."""
        while self.tasks:
            self.tasks.sort()
            task = self.tasks.pop(0)
            happens = self.deliveries == self.story.number
            is_late = happens and self.story.event == "25 hours late"
            self.now = max(self.now, task.due) + (25 * HOUR if is_late else 0.0)
            if self.deliveries == 2:
                self.finish_copies()
            self._deliver(task)
            if happens and self.story.event == "twice":
                self._deliver(task._replace(retries=1))

    def _deliver(self, task: Task) -> None:
        self.deliveries += 1
        assert self.deliveries <= MOST_DELIVERIES, "The queue delivers for ever."
        if not 200 <= self._post(task.body, task.retries) < 300 and task.retries < 20:
            again = min(300.0, 30.0 * 2**task.retries)
            self.tasks.append(task._replace(due=self.now + again, retries=task.retries + 1))

    def _post(self, body: bytes, retries: int | None = None) -> int:
        """Post to a new instance; return the status of the answer, or 0 if it was killed."""
        headers = {"x-bz-secret": "secret"}
        if retries is not None:
            headers = {"Authorization": "queue", "X-CloudTasks-TaskRetryCount": str(retries)}
        with self._instance() as function:
            try:
                return int(function.post("/remove", data=body, headers=headers).status_code)
            except Killed:
                self.click_was_killed |= retries is None
                return 0

    @contextmanager
    def _instance(self) -> Iterator[Any]:
        """Start an instance of the function on this stage's clock."""

        def clock() -> float:
            return self.now

        def sleep(seconds: float) -> None:
            self.now += seconds

        def deadline(seconds: float, clock: Callable[[], float] = clock) -> Deadline:
            return Deadline(seconds, clock)

        with ExitStack() as stack:
            for target, name, value in [
                (main, "session", self._session),
                (main, "pace", Pace(clock, sleep)),
                (main, "Deadline", deadline),
                (main.time, "time", clock),
                (main.os, "environ", self.environ),
                (client, "ThreadPoolExecutor", Serial),
                (remove, "ThreadPoolExecutor", Serial),
                (remove, "hand_over", self.hand_over),
                (task_queue, "is_delivery", lambda header, _: header == "queue"),
                (World, "now", staticmethod(lambda: self._write(self.now))),
            ]:
                stack.enter_context(patch.object(target, name, value))
            yield FUNCTION.test_client()

    @staticmethod
    def _write(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat()


def _answer(status: int, data: bytes) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.raw = HTTPResponse(BytesIO(data), preload_content=False)
    return response
