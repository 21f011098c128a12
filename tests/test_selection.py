"""The assets of a selection, including those in collections and saved searches."""

import pytest

from sandbox.site import Site
from storage_plugin.errors import IconikError
from storage_plugin.iconik.client import Iconik
from storage_plugin.removal.selection import find_assets
from storage_plugin.webhook import Selection

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_collections_are_read_to_the_bottom(site: Site, iconik: Iconik) -> None:
    """All pages, all branches, loops and assets in several collections are coped with."""
    world = site.world
    site.quirk(rows_per_page=10, counts_rows=True)
    assets = [world.add_asset(str(number)) for number in range(24)]
    leaves = [world.add_collection(*assets[20:23]), world.add_collection(assets[23])]
    branches = [world.add_collection(leaf) for leaf in leaves]
    root = world.add_collection(*assets[:21], *branches)
    world.put_into(leaves[0], branches[0])
    world.put_into(root, root)
    selection = Selection(assets=(assets[0],), collections=(root, leaves[0]))
    found, missing = find_assets(iconik, selection)
    assert (sorted(found), missing) == (sorted(assets), 0)


def test_saved_searches_may_find_collections(site: Site, iconik: Iconik) -> None:
    """What those contain is selected, too; what iconik does not know, or withholds, is counted."""
    found, collected = site.master(), site.master()
    search_id = site.world.add_saved_search(found, site.world.add_collection(collected))
    site.quirk(counts_rows=True, withheld=3)
    selection = Selection((UNKNOWN,), (UNKNOWN,), (search_id, UNKNOWN))
    assert find_assets(iconik, selection) == ([UNKNOWN, found, collected], 8)


@pytest.mark.parametrize("kind", ["collections", "saved_searches"])
def test_nonsense_in_a_container_is_an_error(site: Site, iconik: Iconik, kind: str) -> None:
    """What is to be removed is known to the end before the first file goes."""
    add = {"collections": site.world.add_collection, "saved_searches": site.world.add_saved_search}
    broken, fine = add[kind](site.master()), add[kind](site.master())
    getattr(site.world, kind)[broken].append({"id": None, "object_type": "assets", "title": "x"})
    with pytest.raises(IconikError):
        find_assets(iconik, Selection(**{kind: (broken, fine)}))
