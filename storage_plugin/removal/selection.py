"""The assets of a selection, including those in collections and saved searches."""

import functools
from typing import NamedTuple

from storage_plugin.errors import NotFound
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import Contents
from storage_plugin.webhook import Selection

CONTAINERS = ("collections", "saved_searches")
"""The objects that contain assets, by the `object_type` of iconik's bulk calls."""


class Found(NamedTuple):
    """What a selection contains.

    Attributes:
        assets: the titles of the assets, by id; None: iconik did not send the title.
        unknown: the type and id of each collection and saved search that iconik does not know.
        missing: the number of objects that iconik counts in them and does not send.
    """

    assets: dict[str, str | None]
    unknown: list[tuple[str, str]]
    missing: int


def find_assets(iconik: Iconik, selection: Selection) -> Found:
    """Find the assets level by level. A collection that contains itself is read once."""
    assets: dict[str, str | None] = dict.fromkeys(selection.assets)
    unknown: list[tuple[str, str]] = []
    read, missing = set(), 0
    level = selection.objects()
    while level := [each for each in level if each[0] in CONTAINERS and each not in read]:
        read.update(level)
        items = []
        for contents, lacking in side_by_side(functools.partial(_contents, iconik), level):
            items += contents.items
            missing += contents.missing
            unknown += lacking
        assets.update((item.id, item.title) for item in items if item.type == "assets")
        level = list(dict.fromkeys((item.type, item.id) for item in items))
    return Found(assets, unknown, missing)


def _contents(iconik: Iconik, container: tuple[str, str]) -> tuple[Contents, list[tuple[str, str]]]:
    """Return what is in a collection or saved search, and the latter if iconik lacks it."""
    object_type, id = container
    try:
        if object_type == "saved_searches":
            return iconik.saved_search_results(id), []
        return iconik.collection_contents(id), []
    except NotFound:
        return Contents([], 0), [container]
