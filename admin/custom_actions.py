"""The custom actions in iconik's menus: what they are to be, and making them so.

https://help.iconik.backlight.co/hc/en-us/articles/25027351036311
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

from admin.iconik import AdminIconik, CustomAction
from storage_plugin.errors import AdministratorError, IconikError
from storage_plugin.rest import Row
from storage_plugin.webhook import ROUTE, SECRET_HEADER

CONTEXTS = ("ASSET", "COLLECTION", "BULK", "SAVED_SEARCH")
"""Where iconik can offer an action whose selection the plugin understands."""

TITLES = {"add": "Add to", "remove": "Remove from"}
"""How the title of an action begins."""

_URL = re.compile(rf"(https?://[^?#]*){ROUTE}(?:\?.*)?")


def wanted(
    url: str, contexts: Sequence[str], label: str, query: Mapping[str, str], secret: str
) -> list[Row]:
    """Return the custom actions that a function needs, as iconik's API takes them.

    Args:
        url: of the function.
        label: what the titles call the storage.
        query: the settings that the actions override, by their query parameters.
    """
    options = f"?{urlencode(query, quote_via=quote, safe='/,')}" if query else ""
    title = f"{label} ({', '.join(query.values())})" if query else label
    return [
        {
            "context": context,
            "title": f"{verb} {title}",
            "url": f"{url}/{action}{options}",
            "type": "POST",
            "headers": {SECRET_HEADER: secret},
        }
        for context in contexts
        for action, verb in TITLES.items()
    ]


def create(iconik: AdminIconik, actions: Sequence[Row], app_id: str) -> Iterator[str]:
    """Create custom actions, or change those that stand; yield what was done.

    An action that stands is known by its title or its URL, so neither comes twice in a context.

    Raises:
        AdministratorError: several stand for one.
    """
    standing = iconik.custom_actions()
    for action in actions:
        name = f"{action['title']} ({action['context']})"
        found = _find(standing, action)
        if len(found) > 1:
            raise AdministratorError(
                f"iconik has {len(found)} custom actions like {name}: delete all but one in its "
                "settings, and run this again."
            )
        if not found:
            yield f"Created {name}{_create(iconik, action, app_id)}."
            continue
        others = {
            key: value for key, value in found[0].headers.items() if key.lower() != SECRET_HEADER
        }
        whole = {**action, "headers": others | action["headers"]}
        if differing := [field for field in whole if getattr(found[0], field) != whole[field]]:
            iconik.update_custom_action(found[0].id, whole)
            yield f"Updated {name}: {', '.join(differing)}."
        else:
            yield f"{name} is right already."


def _create(iconik: AdminIconik, action: Row, app_id: str) -> str:
    """Create a custom action with the App named, and if iconik fails at that, without; tell which.

    Public sources contradict each other on whether a custom action can be created with an App. The
    plugin does not use the token that iconik sends for it.
    """
    try:
        iconik.create_custom_action({**action, "app_id": app_id})
    except IconikError:
        if not _find(iconik.custom_actions(), action):  # It may stand all the same.
            iconik.create_custom_action(action)
            return ", without an App"
    return ""


def _find(standing: Sequence[CustomAction], action: Row) -> list[CustomAction]:
    return [
        other
        for other in standing
        if other.context == action["context"]
        and (other.title == action["title"] or other.url == action["url"])
    ]


def target(action: CustomAction) -> tuple[str, str]:
    """Return the function's URL and the verb that an action calls; empty if not a plugin's."""
    url = _URL.fullmatch(action.url)
    return (url[1], url[2]) if url else ("", "")


def secret_of(action: CustomAction) -> str | None:
    """Return the secret that an action sends."""
    return {name.lower(): value for name, value in action.headers.items()}.get(SECRET_HEADER)
