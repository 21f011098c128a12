"""The queue that tasks are handed to."""

import uuid

from storage_plugin import task_queue
from storage_plugin.background.task import Task
from storage_plugin.settings import Settings


class TaskQueue:
    """Cloud Tasks."""

    def hand_over(self, task: Task, settings: Settings) -> None:
        """Have a task sent to the function until the answer is a success.

        Raises:
            QueueUnavailable: the queue did not accept the task.
        """
        task_queue.hand_over(
            settings,
            path=f"/{task.action.name}",
            name=task.name or uuid.uuid4().hex,
            body=task.body(),
            delay=task.pause,
        )
