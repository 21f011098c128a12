"""The assets of a selection, including those in collections and saved searches."""

import functools

from storage_plugin.errors import NotFound
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import Item
from storage_plugin.webhook import Selection

# The calls that list the contents of containers, by the `object_type` of iconik's bulk calls.
READ = {"collections": Iconik.collection_contents, "saved_searches": Iconik.saved_search_results}


def find_assets(iconik: Iconik, selection: Selection) -> tuple[list[str], int]:
    """Find the assets level by level. A collection that contains itself is read once.

    Returns:
        The ids of the assets, and the number of selected objects that iconik does not list.
    """
    found, level, missing = dict.fromkeys(selection.objects()), selection.objects(), 0
    while containers := [each for each in level if each[0] in READ]:
        contents = side_by_side(functools.partial(_contents, iconik), containers)
        missing += sum(number for _, number in contents)
        items = dict.fromkeys((each.object_type, each.id) for some, _ in contents for each in some)
        level = [each for each in items if each not in found]
        found |= items
    return [id for object_type, id in found if object_type == "assets"], missing


def _contents(iconik: Iconik, container: tuple[str, str]) -> tuple[list[Item], int]:
    """Return the objects in a container, and how many more there are, or that it is unknown."""
    object_type, id = container
    try:
        return READ[object_type](iconik, id)
    except NotFound:
        return [], 1
