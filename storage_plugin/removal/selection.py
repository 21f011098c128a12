"""The assets of a selection, including those in collections and saved searches."""

import functools

from storage_plugin.errors import NotFound
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import Item
from storage_plugin.removal.report import Removal
from storage_plugin.webhook import Selection

CONTAINERS = ("collections", "saved_searches")
"""The objects that contain assets, by the `object_type` of iconik's bulk calls."""


def find_assets(
    iconik: Iconik, selection: Selection
) -> tuple[dict[str, str | None], list[Removal]]:
    """Return the selected assets with their titles, and the objects that iconik does not know.

    Collections are walked level by level. A collection that contains itself is walked once.
    """
    assets: dict[str, str | None] = dict.fromkeys(selection.assets)
    unknown: list[Removal] = []
    walked: set[tuple[str, str]] = set()
    level = selection.objects()
    while level := [each for each in level if each[0] in CONTAINERS and each not in walked]:
        walked.update(level)
        items: list[Item] = []
        for contents, missing in side_by_side(functools.partial(_contents, iconik), level):
            items += contents
            unknown += missing
        assets.update((item.id, item.title) for item in items if item.type == "assets")
        level = list(dict.fromkeys((item.type, item.id) for item in items))
    return assets, unknown


def _contents(iconik: Iconik, container: tuple[str, str]) -> tuple[list[Item], list[Removal]]:
    """Return the contents of a collection or saved search, and a result if iconik lacks it."""
    object_type, id = container
    try:
        if object_type == "saved_searches":
            return iconik.saved_search_results(id), []
        return iconik.collection_contents(id), []
    except NotFound:
        return [], [Removal(id, object_type=object_type, kept=["iconik does not know it"])]
