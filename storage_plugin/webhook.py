"""The custom action as iconik posts it: the secret, the route and the payload. No I/O.

https://help.iconik.backlight.co/hc/en-us/articles/25027351036311
"""

import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from storage_plugin.errors import CallerError

SECRET_HEADER = "x-bz-secret"  # noqa: S105 - It is a name.
"""The header in which a custom action sends the shared secret."""

MAX_BODY = 800_000
"""The largest body that is read, in bytes. Cloud Tasks accepts tasks of 1 MB."""

MAX_IDS = 19_000
"""The most ids in a body, in which they take 741 kB."""

ID_FIELDS = ("asset_ids", "collection_ids", "saved_search_ids")
"""The fields of a body with the ids of the selection, in the order of `Selection`."""

ACTIONS = {"add": "Add {} to {}", "remove": "Remove {} from {}"}
"""The actions and their titles in iconik, with places for the objects and the storage."""

ROUTE = rf"/({'|'.join(ACTIONS)})/?"
"""A regular expression for the end of the path of an action's URL."""

# Some URLs of a function keep its name in the path.
_PATH = re.compile(rf"(?:/iconik_handler)?{ROUTE}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class Selection(NamedTuple):
    """The selected ids without duplicates, by the `object_type` of iconik's bulk calls."""

    assets: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    saved_searches: tuple[str, ...] = ()

    def by_type(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return each `object_type` that is selected, with its ids."""
        return ((object_type, ids) for object_type, ids in self._asdict().items() if ids)

    def objects(self) -> list[tuple[str, str]]:
        """Return the type and the id of each object."""
        return [(object_type, id) for object_type, ids in self.by_type() for id in ids]

    def counts(self) -> dict[str, int]:
        """Return the number of selected objects of each type."""
        return {object_type: len(ids) for object_type, ids in self.by_type()}


class Action(NamedTuple):
    """One click in iconik."""

    name: str  # One of `ACTIONS`.
    selection: Selection
    overrides: Mapping[str, Sequence[str]]  # The query of the action's URL.
    user_id: str | None  # The editor's, if iconik has sent it.


def is_authentic(given: str, secret: str) -> bool:
    """Whether a header holds the secret, in constant time. An empty secret matches nothing."""
    sent = given.encode("latin-1", "replace")  # As WSGI decodes headers.
    wanted = secret.encode(errors="surrogateescape")  # As os.environ decodes odd bytes.
    return bool(secret) and hmac.compare_digest(sent, wanted)


def read_action(path: str, query: Mapping[str, Sequence[str]], body: bytes) -> Action:
    """Read the custom action in a request. iconik may add keys to the payload.

    Raises:
        CallerError: the body is not a JSON object, the path names no action, an id is not a UUID,
            or there are none or too many.
    """
    payload = read_object(body)
    if not (route := _PATH.fullmatch(path)):
        text = "Unknown action: the path of the URL must end in /add or /remove."
        raise CallerError(text, status=404)
    selection = Selection(*(_ids(payload, field) for field in ID_FIELDS))
    if not selection.objects():
        raise CallerError(
            "Nothing is selected: asset_ids, collection_ids and saved_search_ids are all empty."
        )
    if len(selection.objects()) > MAX_IDS:
        text = f"Select fewer objects: the plugin accepts up to {MAX_IDS:,} at once."
        raise CallerError(text, status=413)
    user_id = payload.get("user_id")
    return Action(route[1], selection, query, str(user_id) if is_uuid(user_id) else None)


def read_object(body: bytes) -> dict[str, object]:
    """Return the JSON object in a body, or raise CallerError."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise CallerError("The body must be the JSON object that iconik's custom actions post.")
    return payload


def is_uuid(value: object) -> bool:
    """Whether a value is safe to put into a URL as an id."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _ids(payload: Mapping[str, object], field: str) -> tuple[str, ...]:
    ids = payload.get(field)
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(map(is_uuid, ids)):
        raise CallerError(f"{field} must be a list of UUIDs.")
    return tuple(dict.fromkeys(id.lower() for id in ids))
