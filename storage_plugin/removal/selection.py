"""The assets of a selection, including those in collections and saved searches."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from storage_plugin.errors import NotFound
from storage_plugin.iconik.client import Iconik, side_by_side
from storage_plugin.iconik.rows import Contents
from storage_plugin.webhook import Selection

READ = {"collections": Iconik.collection_contents, "saved_searches": Iconik.saved_search_results}
"""The calls that list what contains assets, by the `object_type` of iconik's bulk calls."""

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
    """Find the assets, also those in selected collections and saved searches, and further below."""
    containers = _read_containers(iconik, selection.objects())
    known = [each for each in containers.values() if each]
    assets: dict[str, str | None] = dict.fromkeys(selection.assets)
    for contents in known:
        assets.update((each.id, each.title) for each in contents.items if each.type == "assets")
    unknown = [container for container, each in containers.items() if not each]
    return Found(assets, unknown, sum(each.missing for each in known))


def _read_containers(
    iconik: Iconik, level: Sequence[Container]
) -> dict[Container, Contents | None]:
    """Return the contents level by level. A collection that contains itself is read once."""
    read: dict[Container, Contents | None] = {}
    while level := [each for each in dict.fromkeys(level) if each[0] in READ and each not in read]:
        found = side_by_side(functools.partial(_contents, iconik), level)
        read.update(zip(level, found, strict=True))
        level = [(item.type, item.id) for each in found if each for item in each.items]
    return read


def _contents(iconik: Iconik, container: Container) -> Contents | None:
    """Return what is in a collection or saved search; None: iconik does not know it."""
    object_type, id = container
    try:
        return READ[object_type](iconik, id)
    except NotFound:
        return None
