"""Deliveries of the queue."""

import json

import pytest
from werkzeug.datastructures import Headers

from storage_plugin.background.task import PINNED, Task, read_task
from storage_plugin.webhook import Action, Selection
from tests.clicks import EDITOR


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
