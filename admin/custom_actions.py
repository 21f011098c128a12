"""The custom actions in iconik's menus: what they are to be, and making them so.

https://help.iconik.backlight.co/hc/en-us/articles/25027351036311
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from admin.iconik import AdminIconik, CustomAction, require_storage
from storage_plugin.errors import AdministratorError, IconikError
from storage_plugin.rest import Row
from storage_plugin.webhook import ROUTE, SECRET_HEADER

CONTEXTS = ("ASSET", "COLLECTION", "BULK", "SAVED_SEARCH")
"""Where iconik can offer an action whose selection the plugin understands."""

TITLES = {"add": "Add to", "remove": "Remove from"}
"""How the title of an action begins."""

VISIBILITY = (
    "iconik may show new actions only to administrators. Give the editors access to each action in "
    "iconik, under Access Control, unless you created it with --everyone."
)

_URL = re.compile(rf"(https?://[^?#]*){ROUTE}(?:\?(.*))?")


class Target(NamedTuple):
    """The function and the verb that an action calls, and the values of each query parameter.

    All are empty if the action does not call a plugin.
    """

    function: str
    verb: str
    query: Mapping[str, Sequence[str]]


def target(url: str) -> Target:
    """Return what an action of this URL calls."""
    if not (match := _URL.fullmatch(url)):
        return Target("", "", {})
    return Target(match[1], match[2], parse_qs(match[3] or "", keep_blank_values=True))


def secret_of(action: CustomAction) -> str | None:
    """Return the secret that an action sends."""
    return {name.lower(): value for name, value in action.headers.items()}.get(SECRET_HEADER)


def check(iconik: AdminIconik, query: Mapping[str, str]) -> Iterator[str]:
    """Compare the overrides of new actions with iconik; yield a warning for each doubtful one.

    Raises:
        AdministratorError: there is no such storage.
    """
    if "storage" in query:
        require_storage(iconik.storages(), "--storage", query["storage"])
    if "format" in query:
        seen = iconik.format_names()
        for name in {name.strip() for name in query["format"].split(",")} - seen:
            known = f"has {', '.join(sorted(seen))}" if seen else "names no formats"
            yield f"Warning: look at the format {name}. iconik {known} in its latest assets."


def wanted(
    url: str, contexts: Sequence[str], *, label: str | None, query: Mapping[str, str], secret: str
) -> list[Row]:
    """Return the custom actions that a function needs, as iconik's API takes them.

    Args:
        url: of the function.
        label: what the titles call the storage; None: LucidLink and what is overridden.
        query: the settings that the actions override, by their query parameters.
    """
    options = f"?{urlencode(query, quote_via=quote, safe='/,')}" if query else ""
    others = ", ".join(filter(None, query.values()))
    storage = label or f"LucidLink ({others})".removesuffix(" ()")
    return [
        {
            "context": context,
            "title": f"{verb} {storage}",
            "url": f"{url}/{action}{options}",
            "type": "POST",
            "headers": {SECRET_HEADER: secret},
        }
        for context in contexts
        for action, verb in TITLES.items()
    ]


def matching(
    actions: Sequence[CustomAction], url: str, contexts: Sequence[str], query: Mapping[str, str]
) -> list[CustomAction]:
    """Return the actions that call a function in some contexts, with at least this query."""
    return [
        action
        for action in actions
        if target(action.url).function == url
        and action.context in contexts
        and {name: [value] for name, value in query.items()}.items()
        <= target(action.url).query.items()
    ]


def create(iconik: AdminIconik, actions: Sequence[Row], extras: Row) -> Iterator[str]:
    """Create custom actions, or change the existing ones; yield a sentence for each.

    An existing action is recognized by its context, function, verb and query.

    Args:
        extras: what is set only where an action is created; `app_id` is the App.

    Raises:
        AdministratorError: several exist for one, or another has its title. Nothing is changed.
    """
    existing = iconik.custom_actions()
    found = [_find(existing, action) for action in actions]
    for action, other in zip(actions, found, strict=True):
        done = _update(iconik, action, other) if other else _create(iconik, action, extras)
        yield f"{action['title']} ({action['context']}): {done}."
    if None in found and "read_access_for_everyone" not in extras:
        yield VISIBILITY


def _update(iconik: AdminIconik, action: Row, other: CustomAction) -> str:
    """Change what differs of an action, but not its other headers; return what is done."""
    others = {key: value for key, value in other.headers.items() if key.lower() != SECRET_HEADER}
    whole = {**action, "headers": others | action["headers"]}
    if differing := [field for field in whole if getattr(other, field) != whole[field]]:
        iconik.update_custom_action(other.id, whole)
        return f"updated, {', '.join(differing)}"
    return "right already"


def _create(iconik: AdminIconik, action: Row, extras: Row) -> str:
    """Create a custom action with the App named, or if iconik fails at that, without; return which.

    Public sources contradict each other on whether a custom action can be created with an App. The
    plugin does not use the token that iconik sends for it.
    """
    whole = {**action, **extras}
    try:
        iconik.create_custom_action(whole)
    except IconikError:
        if not _find(iconik.custom_actions(), action):  # It may exist all the same.
            del whole["app_id"]
            iconik.create_custom_action(whole)
            return "created, without an App"
    return "created"


def _find(existing: Sequence[CustomAction], action: Row) -> CustomAction | None:
    """Return the action that calls the same in the same context, None where there is none."""
    name, called = f"{action['title']} ({action['context']})", target(action["url"])
    siblings = [other for other in existing if other.context == action["context"]]
    found = [other for other in siblings if target(other.url) == called]
    if len(found) > 1:
        raise AdministratorError(
            f"iconik has {len(found)} custom actions that call what {name} calls: delete all but "
            "one in its settings, and run this again."
        )
    for other in siblings:
        if other.title == action["title"] and other not in found:
            raise AdministratorError(
                f"iconik has another {name}, which calls {other.url}: delete that one, or choose "
                "another title with --label."
            )
    return found[0] if found else None
