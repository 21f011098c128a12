"""The custom action as iconik posts it: the secret, the route and the payload. No I/O.

https://help.iconik.backlight.co/hc/en-us/articles/25027351036311
"""

import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from storage_plugin.errors import CallerError

SECRET_HEADER = "x-bz-secret"  # noqa: S105 - It is a name.
"""The header of a custom action that holds the shared secret."""

MAX_BODY = 1 << 20
"""Bytes of the largest body that is read: some 25,000 ids."""

ACTIONS = {"add": "Add {} to {}", "remove": "Remove {} from {}"}
"""The actions, and how they are called in iconik: what is added or removed, and the storage."""

ROUTE = rf"/({'|'.join(ACTIONS)})/?"
"""A regular expression: how the path of an action's URL ends."""

# Some of a function's URLs keep its name in the path.
_PATH = re.compile(rf"(?:/iconik_handler)?{ROUTE}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Selection:
    """What an editor selected: ids, each once, by the `object_type` of iconik's bulk calls."""

    assets: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    saved_searches: tuple[str, ...] = ()

    def by_type(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the `object_type` and the ids of each kind of which something is selected."""
        for object_type in ("assets", "collections", "saved_searches"):
            if ids := getattr(self, object_type):
                yield object_type, ids

    def objects(self) -> list[tuple[str, str]]:
        """Return the types and ids of all objects."""
        return [(object_type, id) for object_type, ids in self.by_type() for id in ids]

    def counts(self) -> dict[str, int]:
        """Return how many objects of each kind are selected."""
        return {object_type: len(ids) for object_type, ids in self.by_type()}


class Action(NamedTuple):
    """One click in iconik.

    Attributes:
        name: `add` or `remove`.
        selection: what to add or remove.
        overrides: the query of the action's URL, the values of each parameter.
        user_id: the editor, where iconik says so.
    """

    name: str
    selection: Selection
    overrides: Mapping[str, Sequence[str]]
    user_id: str | None


def is_authentic(given: str, secret: str) -> bool:
    """Whether a request holds the shared secret, compared in constant time.

    Args:
        given: the header as WSGI hands it over, that is, decoded as Latin-1.
        secret: the configured secret; an empty one matches nothing.
    """
    wanted = secret.encode(errors="surrogateescape")  # As the environment decodes odd bytes.
    return bool(secret) and hmac.compare_digest(given.encode("latin-1", "replace"), wanted)


def read_action(path: str, query: Mapping[str, Sequence[str]], body: bytes) -> Action:
    """Read the custom action that a request holds.

    Keys of the payload that are not needed are accepted, because iconik may add some.

    Raises:
        CallerError: the body is no JSON object, the path names no action, an id is no UUID, or
            nothing is selected.
    """
    payload = read_object(body)
    if not (route := _PATH.fullmatch(path)):
        raise CallerError(
            "No such action: the path of the URL must end in /add or /remove.", status=404
        )
    selection = Selection(
        assets=_ids(payload, "asset_ids"),
        collections=_ids(payload, "collection_ids"),
        saved_searches=_ids(payload, "saved_search_ids"),
    )
    if not selection.counts():
        raise CallerError(
            "Nothing is selected: asset_ids, collection_ids and saved_search_ids are all empty."
        )
    user_id = payload.get("user_id")
    return Action(route[1], selection, query, str(user_id) if is_uuid(user_id) else None)


def read_object(body: bytes) -> dict[str, object]:
    """Return the JSON object that a body holds.

    Raises:
        CallerError: it holds something else.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise CallerError("The body must be a JSON object as iconik's custom actions post it.")
    return payload


def is_uuid(value: object) -> bool:
    """Whether a value may enter a URL as an id."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _ids(payload: Mapping[str, object], field: str) -> tuple[str, ...]:
    ids = payload.get(field)
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(map(is_uuid, ids)):
        raise CallerError(f"{field} must be a list of UUIDs.")
    return tuple(dict.fromkeys(id.lower() for id in ids))
