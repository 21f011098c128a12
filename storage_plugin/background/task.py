"""What a task of the queue holds: everything that the click meant, whatever is deployed since.

Only what the plugin's own queue has delivered is read here.
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from storage_plugin.errors import AdministratorError
from storage_plugin.plan import Plan
from storage_plugin.report import NO_ASSETS, Tally
from storage_plugin.settings import Settings
from storage_plugin.webhook import Action, Selection, is_uuid, read_object

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

T = TypeVar("T")

ATTEMPTS = 20
"""How often the queue delivers a task, as the README sets it up."""


@dataclass(frozen=True)
class Pins:
    """What an action was meant for, at the click: settings, and the storages that they named.

    Attributes:
        settings: those that decide what happens to files, by the names of `Settings`' fields.
        storage_id: the storage that files are copied to and deleted from.
        master_ids: the storages whose copies count as masters.
        clicked: when, in seconds since 1970.
    """

    settings: Mapping[str, Any]
    storage_id: str
    master_ids: tuple[str, ...]
    clicked: float

    FIELDS = (
        "storage_name",
        "master_storage_name",
        "format_names",
        "storage_path",
        "archive_before_remove",
        "use_recycle_bin",
    )

    @classmethod
    def of(cls, settings: Settings, plan: Plan) -> "Pins":
        """Pin what is meant now."""
        pinned = {name: getattr(settings, name) for name in cls.FIELDS}
        masters = tuple(master.id for master in plan.masters)
        return cls(pinned, plan.storage.id, masters, time.time())

    def applied_to(self, settings: Settings) -> Settings:
        """Return settings of today, but for what was pinned."""
        names = tuple(self.settings["format_names"])
        return replace(settings, **{**self.settings, "format_names": names})

    def check(self, plan: Plan) -> Plan:
        """Return a plan of today, if it still fits what was meant.

        Raises:
            AdministratorError: another storage bears a name that was pinned.
        """
        masters = tuple(each for each in plan.masters if each.id in self.master_ids)
        if plan.storage.id != self.storage_id or (plan.master and not masters):
            raise AdministratorError(
                f"The storages are not those of the click any more: {plan.storage.name} or its "
                "masters' storage is another one by that name. Repeat the action."
            )
        return replace(plan, masters=masters)


@dataclass(frozen=True)
class Wait:
    """What a removal that waits for copies of masters has to remember.

    Attributes:
        times: how often it has been looked since the copies were asked for; -1: not yet.
        awaited: the ids of the formats whose copies are awaited, and of the assets they are of.
        jobs: the ids of iconik's jobs that copy, as far as iconik says so.
        before: the assets that are done with.
    """

    times: int = -1
    awaited: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    before: Tally = NO_ASSETS

    def of(self, selection: Selection) -> "Wait":
        """Return what matters of it for a selection."""
        assets = set(selection.assets)
        awaited = {format: asset for format, asset in self.awaited.items() if asset in assets}
        return replace(self, awaited=awaited)


FIRST = Wait()
"""The memory of a removal that is done for the first time."""


@dataclass(frozen=True)
class Task:
    """An action that is done later.

    Attributes:
        action: what is to be done.
        pins: what was meant; None: another version of the plugin has made the task.
        job_id: the job in iconik that shows it; None: there is none.
        wait: what it has waited for.
        part: which part of a large selection it is, and of these the part, and so on: `2.`, `2.0.`.
        name: by which the queue knows the task, so that it takes it once; empty: none.
        pause: seconds that pass before it is sent.
    """

    action: Action
    pins: Pins | None = None
    job_id: str | None = None
    wait: Wait = FIRST
    part: str = ""
    name: str = ""
    pause: float = 0

    @property
    def clicked(self) -> float:
        """When it was clicked, in seconds since 1970."""
        return self.pins.clicked if self.pins else time.time()

    @property
    def has_waited(self) -> bool:
        """Whether it comes back after it had to wait."""
        return self.wait.times >= 0

    def body(self) -> bytes:
        """Return the payload that selects the same; iconik's token is not in it."""
        selection = self.action.selection
        payload = {
            "asset_ids": selection.assets,
            "collection_ids": selection.collections,
            "saved_search_ids": selection.saved_searches,
            "user_id": self.action.user_id,
            "job_id": self.job_id,
            "pins": asdict(self.pins) if self.pins else None,
            "wait": asdict(self.wait),
            "part": self.part,
        }
        return json.dumps(payload, separators=(",", ":")).encode()


class Delivery(NamedTuple):
    """A task, as the queue sends it.

    Attributes:
        task: what is to be done.
        retries: how often it was delivered before.
    """

    task: Task
    retries: int

    @property
    def is_last(self) -> bool:
        """Whether the queue gives it up if it fails once more."""
        return self.retries >= ATTEMPTS - 1


def read_delivery(headers: "Headers", body: bytes, action: Action) -> Delivery:
    """Read what only the queue may say: call it for nothing but what the queue has sent.

    https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler

    Args:
        action: that the request holds.
    """
    payload = read_object(body)
    job_id, part = payload.get("job_id"), payload.get("part")
    task = Task(
        action,
        _tried(_pins, payload.get("pins")),
        str(job_id) if is_uuid(job_id) else None,
        _tried(_wait, payload.get("wait")) or FIRST,
        part if isinstance(part, str) and re.fullmatch(r"[0-9.]{1,40}", part) else "",
        headers.get("X-CloudTasks-TaskName", ""),
    )
    retries = headers.get("X-CloudTasks-TaskRetryCount", "0")
    return Delivery(task, int(retries) if re.fullmatch(r"[0-9]{1,9}", retries, re.ASCII) else 0)


def _tried(read: Callable[[Any], T], value: object) -> T | None:
    """Return what is read of a value, None where it is nonsense."""
    try:
        return read(value)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _pins(value: Any) -> Pins:
    settings = {name: value["settings"][name] for name in Pins.FIELDS}
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
