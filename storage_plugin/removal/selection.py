"""The assets of a selection, including those in collections and saved searches."""

import functools
import itertools

from storage_plugin.errors import NotFound
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.webhook import Selection

# The calls that list the contents of containers, by the `object_type` of iconik's bulk calls.
READ = {"collections": Iconik.collection_contents, "saved_searches": Iconik.saved_search_results}
Object = tuple[str, str]  # The `object_type` and the id.


def find_assets(iconik: Iconik, selection: Selection) -> tuple[list[str], int]:
    """Find the assets level by level. A collection that contains itself is read once.

    Return the ids of the assets, and the number of selected objects that iconik does not list.
    """
    found, level, missing = dict.fromkeys(selection.objects()), selection.objects(), 0
    while containers := [each for each in level if each[0] in READ]:
        contents = side_by_side(functools.partial(_contents, iconik), containers)
        missing += sum(number for _, number in contents)
        items = dict.fromkeys(itertools.chain.from_iterable(some for some, _ in contents))
        level = [each for each in items if each not in found]
        found |= items
    return [id for object_type, id in found if object_type == "assets"], missing


def _contents(iconik: Iconik, container: Object) -> tuple[list[Object], int]:
    """Return the objects in a container, and how many more there are, or that it is unknown."""
    object_type, id = container
    try:
        items, missing = READ[object_type](iconik, id)
    except NotFound:
        return [], 1
    return [(each.object_type, each.id) for each in items], missing
