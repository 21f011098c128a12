"""The content of a task: everything that the click meant, whatever has been deployed since.

Use `read_task` only for requests that the plugin's own queue has delivered.
"""

import json
import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from storage_plugin.errors import AdministratorError
from storage_plugin.plan import Plan
from storage_plugin.report import NO_ASSETS, Tally
from storage_plugin.settings import Settings
from storage_plugin.webhook import Action, Selection, is_uuid, read_object

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

ATTEMPTS = 20
"""How often the queue delivers a task. `make deploy` sets up the queue with this number."""

MALFORMED = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""The errors of reading JSON whose content is not as expected."""

PINNED = (
    "storage_name",
    "master_storage_name",
    "format_names",
    "storage_path",
    "archive_before_remove",
    "use_recycle_bin",
)
"""The settings that decide what happens to files: fields of `Settings`."""


class Pins(NamedTuple):
    """The meaning of a click: the settings at that time, and the storages that they named.

    Attributes:
        settings: the settings in `PINNED`, by name.
        storage_id: the id of the storage to copy to and delete from.
        master_ids: the ids of the storages whose copies count as masters.
        clicked: the time of the click, in seconds since 1970.
    """

    settings: Mapping[str, Any]
    storage_id: str
    master_ids: tuple[str, ...]
    clicked: float

    @classmethod
    def of(cls, settings: Settings, plan: Plan) -> "Pins":
        """Return the pins of a click that happens now."""
        pinned = {name: getattr(settings, name) for name in PINNED}
        masters = tuple(master.id for master in plan.masters)
        return cls(pinned, plan.storage.id, masters, time.time())

    def applied_to(self, settings: Settings) -> Settings:
        """Return the current settings, with the pinned ones in their place."""
        names = tuple(self.settings["format_names"])
        return settings._replace(**{**self.settings, "format_names": names})

    def check(self, plan: Plan) -> Plan:
        """Return the current plan, limited to the pinned storages.

        Raises:
            AdministratorError: a pinned name now belongs to another storage.
        """
        masters = tuple(each for each in plan.masters if each.id in self.master_ids)
        if plan.storage.id != self.storage_id or (plan.master and not masters):
            raise AdministratorError(
                f"The storages have changed since the click: {plan.storage.name} or its masters' "
                "storage is now a different storage with the same name. Repeat the action."
            )
        return plan._replace(masters=masters)


@dataclass(frozen=True)
class Wait:
    """The memory of a removal that waits for copies on the masters' storage.

    Attributes:
        times: the number of looks that found copies missing.
        awaited: the awaited copies: the id of each format to the id of its asset.
        jobs: the ids of iconik's copy jobs, if iconik sent them.
        before: the finished assets.
    """

    times: int = 0
    awaited: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    before: Tally = NO_ASSETS

    def of(self, selection: Selection) -> "Wait":
        """Return the part of the memory that concerns a selection."""
        assets = set(selection.assets)
        awaited = {format: asset for format, asset in self.awaited.items() if asset in assets}
        return replace(self, awaited=awaited)


FIRST = Wait()
"""The memory of a removal that begins."""


class Task(NamedTuple):
    """An action to be done later.

    Attributes:
        action: the action.
        pins: the meaning of the click; None: another version of the plugin made the task.
        job_id: the id of the job in iconik that shows the action; None: there is no job.
        wait: the memory of a removal that waits for copies.
        part: the part of a large selection, and the part of that part, and so on: `2.`, `2.0.`.
        name: the name of the task, which the queue accepts only once; empty: none.
        pause: seconds until the queue sends the task.
        retries: the number of earlier deliveries by the queue.
    """

    action: Action
    pins: Pins | None = None
    job_id: str | None = None
    wait: Wait = FIRST
    part: str = ""
    name: str = ""
    pause: float = 0
    retries: int = 0

    @property
    def clicked(self) -> float:
        """The time of the click, in seconds since 1970; now, if it is unknown."""
        return self.pins.clicked if self.pins else time.time()

    @property
    def is_last(self) -> bool:
        """Whether the queue gives the task up if this delivery fails."""
        return self.retries >= ATTEMPTS - 1

    def body(self) -> bytes:
        """Return the payload of the task, in JSON. The token that iconik sent is not in it."""
        selection = self.action.selection
        payload = {
            "asset_ids": selection.assets,
            "collection_ids": selection.collections,
            "saved_search_ids": selection.saved_searches,
            "user_id": self.action.user_id,
            "job_id": self.job_id,
            "pins": self.pins._asdict() if self.pins else None,
            "wait": asdict(self.wait),
            "part": self.part,
        }
        return json.dumps(payload, separators=(",", ":")).encode()


def read_task(headers: "Headers", body: bytes, action: Action) -> Task:
    """Read a delivered task. Call this only for a request that was verified to come from the queue.

    https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler

    Args:
        headers: the headers of the request.
        body: the body of the request.
        action: the action in the request.

    Raises:
        CallerError: the body is not a JSON object.
    """
    payload = read_object(body)
    job_id, part = payload.get("job_id"), payload.get("part")
    pins, wait = None, FIRST
    with suppress(*MALFORMED):
        pins = _pins(payload["pins"])
    with suppress(*MALFORMED):
        wait = _wait(payload["wait"])
    retries = headers.get("X-CloudTasks-TaskRetryCount", "0")
    return Task(
        action,
        pins,
        str(job_id) if is_uuid(job_id) else None,
        wait,
        part if isinstance(part, str) and re.fullmatch(r"[0-9.]{1,40}", part) else "",
        headers.get("X-CloudTasks-TaskName", ""),
        retries=int(retries) if re.fullmatch(r"[0-9]{1,9}", retries, re.ASCII) else 0,
    )


def _pins(value: Any) -> Pins:
    settings = {name: value["settings"][name] for name in PINNED}
    masters, clicked = tuple(value["master_ids"]), float(value["clicked"])
    texts = (settings["storage_name"], settings["storage_path"], *settings["format_names"])
    if not all(isinstance(text, str) for text in texts) or not math.isfinite(clicked):
        raise ValueError
    if not all(is_uuid(id) for id in (value["storage_id"], *masters)):
        raise ValueError
    return Pins(settings, value["storage_id"], masters, clicked)


def _wait(value: Any) -> Wait:
    awaited = {id: asset for id, asset in value["awaited"].items() if is_uuid(id)}
    jobs = tuple(filter(is_uuid, value["jobs"]))
    before = Tally(**{name: int(number) for name, number in value["before"].items()})
    return Wait(int(value["times"]), awaited, jobs, before)
