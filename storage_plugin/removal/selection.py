"""The assets of a selection, including those in collections and saved searches."""

import functools
from typing import NamedTuple

from storage_plugin.errors import NotFound
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import Item
from storage_plugin.webhook import Selection

READ = {"collections": Iconik.collection_contents, "saved_searches": Iconik.saved_search_results}
"""The calls that list the contents of containers, by the `object_type` of iconik's bulk calls."""

Container = tuple[str, str]


class Found(NamedTuple):
    """What a selection contains.

    Attributes:
        assets: the titles of the assets, by id; None: iconik did not send the title.
        unknown: the collections and saved searches that iconik does not know.
        missing: the number of objects that iconik counts in them and does not send.
    """

    assets: dict[str, str | None]
    unknown: list[Container]
    missing: int


def find_assets(iconik: Iconik, selection: Selection) -> Found:
    """Find the assets level by level. A collection that contains itself is read once."""
    found = Found(dict.fromkeys(selection.assets), [], 0)
    read, level = set[Container](), selection.objects()
    while level := [each for each in level if each[0] in READ and each not in read]:
        read.update(level)
        items = []
        for some, missing, unknown in side_by_side(functools.partial(_contents, iconik), level):
            items += some
            found.unknown.extend(unknown)
            found = found._replace(missing=found.missing + missing)
        found.assets.update((item.id, item.title) for item in items if item.object_type == "assets")
        level = list(dict.fromkeys((item.object_type, item.id) for item in items))
    return found


def _contents(iconik: Iconik, container: Container) -> tuple[list[Item], int, list[Container]]:
    """Return what a container has, and the container itself if iconik does not know it."""
    object_type, id = container
    try:
        return *READ[object_type](iconik, id), []
    except NotFound:
        return [], 0, [container]
