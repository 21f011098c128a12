"""Clicks in process: done at once, or put into a queue in memory, which delivers when told to."""

import json
from collections.abc import Callable, Sequence

from werkzeug.datastructures import Headers

import main
from sandbox.faults import Faults
from sandbox.site import Site
from sandbox.world import Row
from storage_plugin import background, webhook
from storage_plugin.background.run import Run
from storage_plugin.background.task import Task, read_task
from storage_plugin.errors import PluginError
from storage_plugin.logs import Log
from storage_plugin.iconik.rest import Rest
from storage_plugin.settings import Settings

EDITOR = "11f0aaaa-0000-4000-8000-00000000000e"


class Clicks:
    """What an editor does on a site, and what the plugin answers.

    Attributes:
        faults: what goes wrong with requests.
        log: of the last action.
        tasks: what was handed over to the queue: name, path and body.
    """

    def __init__(self, site: Site, rest: Rest, faults: Faults | None = None) -> None:
        self.site = site
        self.faults = faults or Faults()
        self.log = Log()
        self.tasks: list[tuple[str, str, bytes]] = []
        self._rest = rest

    def break_services(self, *services: str, fault: str = "500") -> None:
        """Let all requests to some services of iconik go wrong."""
        self.faults.services, self.faults.probabilities = services, {fault: 1}

    def now(self, name: str = "remove", **selection_or_settings: object) -> str:
        """Do an action without a queue, and return the answer."""
        run = self._clicked(name, **selection_or_settings)
        return _answer(lambda: (background.remove if name == "remove" else main.add)(run))

    def later(self, name: str = "remove", **selection_or_settings: object) -> str:
        """Hand an action over to the queue, and return the answer."""
        run = self._clicked(name, **selection_or_settings)
        return _answer(lambda: background.defer(run))

    def deliver(self, number: int = 0, retries: int = 0) -> str:
        """Deliver a task, and return the answer."""
        name, path, body = self.tasks[number]
        headers = {"X-CloudTasks-TaskName": name, "X-CloudTasks-TaskRetryCount": str(retries)}
        run = self._run(path, body)
        task = read_task(Headers(headers), body, run.action)
        return _answer(lambda: background.resume(run, task))

    def hand_over(self, task: Task, settings: Settings) -> None:
        """Take a task, once by its name, as the queue does."""
        name = task.name or f"task-{len(self.tasks)}"
        if name not in [known for known, _, _ in self.tasks]:
            self.tasks.append((name, f"/{task.action.name}", task.body()))

    @property
    def jobs(self) -> list[Row]:
        """The jobs that the plugin has made."""
        return [job for job in self.site.world.jobs.values() if job["type"] == "CUSTOM"]

    @property
    def job(self) -> Row:
        """The only one of them."""
        (job,) = self.jobs
        return job

    def _clicked(self, name: str, collections: Sequence[str] = (), **settings: object) -> Run:
        """Return the run of an action with collections, or else with all assets."""
        assets = [] if collections else list(self.site.world.assets)
        payload = {"asset_ids": assets, "collection_ids": [*collections], "user_id": EDITOR}
        return self._run(f"/{name}", json.dumps(payload).encode(), **settings)

    def _run(self, path: str, body: bytes, **changes: object) -> Run:
        action = webhook.read_action(path, {}, body)
        settings = Settings("app-id", "LucidLink", master_storage_name="B2")
        self.log = Log()
        return Run(action, settings._replace(**changes), self._rest, self, self.log)


def _answer(act: Callable[[], str]) -> str:
    try:
        return act()
    except PluginError as error:
        return f"{type(error).__name__}: {error}"
