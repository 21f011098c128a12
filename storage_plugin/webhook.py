"""The custom action as iconik posts it: the secret, the route and the payload. No I/O.

https://help.iconik.backlight.co/hc/en-us/articles/25027351036311
"""

import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from storage_plugin.errors import CallerError, UnknownPath

MAX_BODY = 1 << 20
"""Bytes of the largest body that is read: some 25,000 ids."""

_ROUTE = re.compile(r"(?:/iconik_handler)?/(add|remove)/?")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Wait:
    """What the plugin's own queue says of a removal that waits for copies of masters.

    Attributes:
        since: when the copies were asked for, in seconds since 1970.
        times: how often it has been looked since.
        awaited: the ids of the formats whose copies are awaited, of all assets.
        done: the number of assets that are done with.
        jobs: the ids of iconik's jobs that copy, as far as it tells them.
    """

    since: float
    times: int
    awaited: tuple[str, ...]
    done: int
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """What an editor selected: ids, each once, by the `object_type` of iconik's bulk calls.

    Attributes:
        user_id: the editor, where iconik says so.
        job_id: the job in iconik that shows this, where the plugin's own queue says so.
        wait: what this has waited for, where the plugin's own queue says so.
    """

    assets: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    saved_searches: tuple[str, ...] = ()
    user_id: str | None = None
    job_id: str | None = None
    wait: Wait | None = None

    def by_type(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the `object_type` and the ids of each kind of which something is selected."""
        for object_type in ("assets", "collections", "saved_searches"):
            if ids := getattr(self, object_type):
                yield object_type, ids

    def body(self) -> bytes:
        """Return the payload that selects the same; iconik's token is not in it."""
        payload = {
            "asset_ids": self.assets,
            "collection_ids": self.collections,
            "saved_search_ids": self.saved_searches,
            "user_id": self.user_id,
            "job_id": self.job_id,
            "wait": asdict(self.wait) if self.wait else None,
        }
        return json.dumps(payload, separators=(",", ":")).encode()

    def counts(self) -> dict[str, int]:
        """Return how many objects of each kind are selected."""
        return {object_type: len(ids) for object_type, ids in self.by_type()}


def is_authentic(given: str, secret: str) -> bool:
    """Whether a request holds the shared secret, compared in constant time.

    Args:
        given: the header `x-bz-secret` as WSGI hands it over, that is, decoded as Latin-1.
        secret: the configured secret; an empty one matches nothing.
    """
    wanted = secret.encode(errors="surrogateescape")  # As the environment decodes odd bytes.
    return bool(secret) and hmac.compare_digest(given.encode("latin-1", "replace"), wanted)


def read_action(path: str) -> str:
    """Return the action that a URL path names, `add` or `remove`.

    Some of a function's URLs keep its name in the path.

    Raises:
        UnknownPath: the path names no action.
    """
    if route := _ROUTE.fullmatch(path):
        return route[1]
    raise UnknownPath("No such action: the path of the URL must end in /add or /remove.")


def read_selection(body: bytes) -> Selection:
    """Read the selected objects from a custom action's JSON payload.

    Keys that are not needed are accepted, for iconik may add some.

    Raises:
        CallerError: the body is no JSON object, an id is no UUID, or nothing is selected.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise CallerError("The body must be a JSON object as iconik's custom actions post it.")
    user_id, job_id = payload.get("user_id"), payload.get("job_id")
    selected = Selection(
        assets=_ids(payload, "asset_ids"),
        collections=_ids(payload, "collection_ids"),
        saved_searches=_ids(payload, "saved_search_ids"),
        user_id=user_id if is_uuid(user_id) else None,
        job_id=job_id if is_uuid(job_id) else None,
        wait=_wait(payload.get("wait")),
    )
    if not selected.counts():
        raise CallerError(
            "Nothing is selected: asset_ids, collection_ids and saved_search_ids are all empty."
        )
    return selected


def is_uuid(value: object) -> bool:
    """Whether a value may enter a URL as an id."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _ids(payload: dict[str, object], field: str) -> tuple[str, ...]:
    ids = payload.get(field)
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(map(is_uuid, ids)):
        raise CallerError(f"{field} must be a list of UUIDs.")
    return tuple(dict.fromkeys(id.lower() for id in ids))


def _wait(value: object) -> Wait | None:
    try:
        wait = Wait(**value)  # type: ignore[arg-type]
        awaited, jobs = (tuple(filter(is_uuid, ids)) for ids in (wait.awaited, wait.jobs))
        return replace(wait, awaited=awaited, jobs=jobs)
    except TypeError:
        return None
