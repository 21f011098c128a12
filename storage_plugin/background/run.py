"""Everything that one run of an action needs."""

from typing import NamedTuple

from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.background.queue import TaskQueue
from storage_plugin.logs import Log
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.webhook import Action


class Run(NamedTuple):
    """An action, with the objects that it needs.

    Attributes:
        action: the click.
        settings: the function's settings, with the overrides of the action's URL.
        rest: sends requests to iconik.
        queue: accepts work for later.
        log: the log of this request.
    """

    action: Action
    settings: Settings
    rest: Rest
    queue: TaskQueue
    log: Log

    def iconik(self) -> BackgroundIconik:
        """Return a client for the work."""
        return BackgroundIconik(self.rest)
