"""The background in process: a queue in memory that delivers its tasks when it is told to."""

import json
from collections.abc import Sequence
from dataclasses import replace

from werkzeug.datastructures import Headers

from sandbox.site import Site
from storage_plugin import background, webhook
from storage_plugin.background.run import Run
from storage_plugin.background.task import Task, read_delivery
from storage_plugin.errors import PluginError
from storage_plugin.logs import Log
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings

EDITOR = "11f0aaaa-0000-4000-8000-00000000000e"


class Later:
    """A function with a queue, on a site.

    Attributes:
        tasks: what was handed over: name, path and body.
    """

    def __init__(self, site: Site, rest: Rest) -> None:
        self.site = site
        self.tasks: list[tuple[str, str, bytes]] = []
        self._rest = rest

    def hand_over(self, task: Task, settings: Settings) -> None:
        """Take a task, once by its name."""
        name = task.name or f"task-{len(self.tasks)}"
        if name not in [known for known, _, _ in self.tasks]:
            self.tasks.append((name, f"/{task.action.name}", task.body()))

    def click(
        self, name: str = "remove", collections: Sequence[str] = (), **settings: object
    ) -> str:
        """Post an action that selects all assets, or collections, and return the answer."""
        assets = [] if collections else list(self.site.world.assets)
        payload = {"asset_ids": assets, "collection_ids": [*collections], "user_id": EDITOR}
        return background.defer(self._run(f"/{name}", json.dumps(payload).encode(), **settings))

    def deliver(self, number: int, retries: int = 0) -> str:
        """Deliver a task, and return the answer or the error."""
        name, path, body = self.tasks[number]
        headers = {"X-CloudTasks-TaskName": name, "X-CloudTasks-TaskRetryCount": str(retries)}
        run = self._run(path, body)
        delivery = read_delivery(Headers(headers), body, run.action)
        try:
            return background.resume(run, delivery)
        except PluginError as error:
            return f"{type(error).__name__}: {error}"

    def _run(self, path: str, body: bytes, **settings: object) -> Run:
        action = webhook.read_action(path, {}, body)
        configured = Settings("app-id", "LucidLink", master_storage_name="B2")
        log = Log("", None)
        return Run(action, replace(configured, **settings), self._rest, self, log)  # type: ignore[arg-type]
