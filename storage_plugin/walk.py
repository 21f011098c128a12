"""The assets of a selection, including those in collections and saved searches."""

import functools
from collections.abc import Iterator, Sequence

from storage_plugin.errors import NotFound
from storage_plugin.iconik import Iconik, Item, side_by_side
from storage_plugin.report import Removal
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
    items = [Item(id, kind, None) for kind, ids in selection.by_type() for id in ids]
    walked: set[tuple[str, str]] = set()
    while containers := _containers(items, walked):
        contents = side_by_side(functools.partial(_contents, iconik), containers)
        unknown += _unknown(containers, contents)
        items = [item for found in contents for item in found or ()]
        assets.update((item.id, item.title) for item in items if item.type == "assets")
    return assets, unknown


def _containers(items: Sequence[Item], walked: set[tuple[str, str]]) -> list[Item]:
    """Return the collections and saved searches among items, each once, and note them as walked."""
    containers = {(item.type, item.id): item for item in items if item.type in CONTAINERS}
    new = [item for key, item in containers.items() if key not in walked]
    walked.update(containers)
    return new


def _contents(iconik: Iconik, container: Item) -> list[Item] | None:
    """Return the contents of a collection or saved search; None: iconik does not know it."""
    try:
        if container.type == "saved_searches":
            return iconik.saved_search_results(container.id)
        return iconik.collection_contents(container.id)
    except NotFound:
        return None


def _unknown(
    containers: Sequence[Item], contents: Sequence[list[Item] | None]
) -> Iterator[Removal]:
    """Yield the results for the collections and saved searches that iconik does not know."""
    for container, found in zip(containers, contents, strict=True):
        if found is None:
            reason = "iconik does not know it"
            yield Removal(container.id, object_type=container.type, kept=[reason])
