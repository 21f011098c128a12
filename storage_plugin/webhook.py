"""The custom action as iconik posts it: the secret, the route and the payload. No I/O.

https://help.iconik.backlight.co/hc/en-us/articles/25027351036311
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storage_plugin.errors import CallerError

SECRET_HEADER = "x-bz-secret"  # noqa: S105 - Custom actions send the shared secret in it.
MAX_BODY = 800_000  # The most bytes of a body that are read. Cloud Tasks accepts tasks of 1 MB.
MAX_IDS = 19_000  # The most ids in a body, in which they take 741 kB.
ID_FIELDS = ("asset_ids", "collection_ids", "saved_search_ids")  # In the order of `Selection`.
# The actions and their titles in iconik, with places for the objects and the storage.
ACTIONS = {"add": "Add {} to {}", "remove": "Remove {} from {}"}
ROUTE = rf"/({'|'.join(ACTIONS)})/?"  # A regular expression for the end of a URL's path.
_PATH = re.compile(rf"(?:/iconik_handler)?{ROUTE}")  # Some URLs name the function in the path.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class Selection(NamedTuple):
    """The selected ids without duplicates, by the `object_type` of iconik's bulk calls."""

    assets: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    saved_searches: tuple[str, ...] = ()

    def objects(self) -> list[tuple[str, str]]:
        """Return the type and the id of each object."""
        return [(object_type, id) for object_type, ids in self._asdict().items() for id in ids]

    def counts(self) -> dict[str, int]:
        """Return the number of selected objects of each type that is selected."""
        return {object_type: len(ids) for object_type, ids in self._asdict().items() if ids}


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
    """Read the custom action in a request, or raise CallerError. iconik may add keys."""
    payload = read_object(body)
    if not (route := _PATH.fullmatch(path)):
        raise CallerError("Unknown action: the URL's path must end in /add or /remove.", status=404)
    selected = []
    for field in ID_FIELDS:
        ids = [] if payload.get(field) is None else payload[field]
        if not isinstance(ids, list) or not all(map(is_uuid, ids)):
            raise CallerError(f"{field} must be a list of UUIDs.")
        selected.append(tuple(dict.fromkeys(id.lower() for id in ids)))
    selection = Selection(*selected)
    if not selection.objects():
        raise CallerError(f"Nothing is selected: no ids in {', '.join(ID_FIELDS)}.")
    if len(selection.objects()) > MAX_IDS:
        raise CallerError(f"Select fewer objects, at most {MAX_IDS:,}.", status=413)
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
