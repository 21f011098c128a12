"""The custom actions in iconik's menus: how they should be, and how they get there.

https://help.iconik.backlight.co/hc/en-us/articles/25027351036311
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from storage_plugin.errors import AdministratorError, IconikError
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.rows import Row
from storage_plugin.webhook import ACTIONS, ROUTE, SECRET_HEADER

# The contexts of iconik whose selections the plugin understands.
CONTEXTS = ("ASSET", "COLLECTION", "BULK", "SAVED_SEARCH")
VISIBILITY = (
    "Actions keep their access. iconik may show new ones only to administrators: give editors "
    "access in iconik, or run make actions OPTIONS=--delete, then make actions OPTIONS=--everyone."
)


class Target(NamedTuple):
    """What an action calls: a function, a verb and a query; empty: it is not the plugin's."""

    function: str = ""
    verb: str = ""
    query: Mapping[str, Sequence[str]] = {}


def target(url: str) -> Target:
    """Return what a URL calls."""
    if not (match := re.fullmatch(rf"(https?://[^?#]*){ROUTE}(?:\?(.*))?", url)):
        return Target()
    return Target(match[1], match[2], parse_qs(match[3] or "", keep_blank_values=True))


def name_of(action: Row) -> str:
    """Return the title and the context of an action."""
    return f"{action['title']} ({action['context']})"


def headers_of(action: Row) -> dict[str, object]:
    """Return the headers that an action sends."""
    headers = action.get("headers")
    return headers if isinstance(headers, dict) else {}


def wanted(url: str, query: Mapping[str, str], *, secret: str, label: str | None) -> list[Row]:
    """Return the two actions that a function needs in each context, as iconik's API takes them.

    `query` has the overrides by query parameter, and `label` is the storage's name in the titles;
    without one, they name LucidLink and the overrides.
    """
    options = f"?{urlencode(query, quote_via=quote, safe='/,')}" if query else ""
    others = ", ".join(filter(None, query.values()))
    storage = label or (f"LucidLink ({others})" if others else "LucidLink")
    return [
        {
            "title": title.replace(" {}", "", 1).format(storage),  # Without the objects.
            "url": f"{url}/{verb}{options}",
            "type": "POST",
            "headers": {SECRET_HEADER: secret},
        }
        for verb, title in ACTIONS.items()
    ]


def create(iconik: Iconik, actions: Sequence[Row]) -> Iterator[str]:
    """Create custom actions, or update the existing ones; yield a sentence for each.

    Raises AdministratorError, and changes nothing, if it is not clear which action is which.
    """
    existing = iconik.custom_actions()
    found = [_find(existing, action) for action in actions]
    for action, other in zip(actions, found, strict=True):
        done = _update(iconik, action, other) if other else _create(iconik, action)
        yield f"{name_of(action)}: {done}."
    if any((other is None) != ("read_access_for_everyone" in actions[0]) for other in found):
        yield VISIBILITY


def _find(existing: Sequence[Row], action: Row) -> Row | None:
    """Return the existing action with the same context and target, or None."""
    called, title = target(action["url"]), action["title"]
    same = [each for each in existing if each["context"] == action["context"]]
    found = [each for each in same if target(each["url"]) == called or each["title"] == title]
    if len(found) > 1 or (found and target(found[0]["url"]) != called):
        rows = "; ".join(f"{name_of(each)} calls {each['url']}" for each in found)
        remedy = "Delete those that you do not need in iconik, or choose another title with --label"
        raise AdministratorError(f"iconik has {rows}. {remedy}.")
    return next(iter(found), None)


def _update(iconik: Iconik, action: Row, other: Row) -> str:
    """Update the fields of an action that differ, except other headers; return the result."""
    headers = headers_of(other).items()
    others = {key: value for key, value in headers if key.lower() != SECRET_HEADER}
    whole = {field: action[field] for field in ("context", "title", "url", "type")}
    whole["headers"] = others | action["headers"]
    if differing := [field for field in whole if other.get(field) != whole[field]]:
        iconik.update_custom_action(other["id"], whole)
        return f"updated, {', '.join(differing)}"
    return "already up to date"


def _create(iconik: Iconik, action: Row) -> str:
    """Create a custom action with its App, or without it if iconik fails; return the result.

    Public sources contradict each other about whether a new custom action may name an App. The
    plugin does not use the token that iconik sends for the App.
    """
    try:
        iconik.create_custom_action(action)
    except IconikError:
        if not _find(iconik.custom_actions(), action):  # It may have been created nevertheless.
            others = {field: action[field] for field in action if field != "app_id"}
            iconik.create_custom_action(others)
    return "created"
