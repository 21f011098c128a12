"""What one run of an action takes."""

from typing import NamedTuple

from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.background.queue import TaskQueue
from storage_plugin.logs import Log
from storage_plugin.rest import Rest
from storage_plugin.settings import Settings
from storage_plugin.webhook import Action


class Run(NamedTuple):
    """One action to be done, and what it is done with.

    Attributes:
        action: what was clicked.
        settings: those of the function, with the overrides of the action's URL.
        rest: sends requests to iconik.
        queue: takes what is to be done later.
        log: of this request.
    """

    action: Action
    settings: Settings
    rest: Rest
    queue: TaskQueue
    log: Log

    def iconik(self) -> BackgroundIconik:
        """Return a client for the work."""
        return BackgroundIconik(self.rest)

    def hurried_iconik(self) -> BackgroundIconik:
        """Return a client for telling the editor."""
        return BackgroundIconik(self.rest.hurried())
