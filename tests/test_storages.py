"""The storages that the settings name, and whether files may be removed from one of them."""

import pytest

from sandbox.site import Site
from sandbox.world import Row
from storage_plugin.errors import AdministratorError
from storage_plugin.iconik.client import Iconik
from storage_plugin.removal.evidence import Removal
from storage_plugin.settings import Settings
from storage_plugin.storages import find_storages

SETTINGS = Settings("app-id", "LucidLink", master_storage_name="B2")


def test_a_storage_is_found_by_its_exact_name_or_id_on_any_page(site: Site, iconik: Iconik) -> None:
    """Look-alikes and a long list of storages do not lead astray."""
    for name in (*map("LucidLink {}".format, range(120)), "lucidlink", "LucidLin", site.b2[:-1]):
        site.world.add_storage(name)
    last, listed = site.world.add_storage("Filespace\u3000\u00a0\u200d"), iconik.storages()
    for name, id in (("LucidLink", site.lucidlink), ("Filespace\u3000\u00a0\u200d", last)):
        for wanted in (name, id, id.upper()):
            found = find_storages(listed, SETTINGS._replace(storage_name=wanted))
            assert found.storage.id == id
    found = find_storages(listed, SETTINGS._replace(master_storage_name=site.b2))
    assert [each.name for each in found.masters] == ["B2"] == [found.master.name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storage_name": "No"}, r"^STORAGE_NAME.* no storages named No; .*, Twin\\t.$"),
        ({"storage_name": "Twin"}, "^STORAGE_NAME.* 2 storages named Twin"),
        ({"master_storage_name": "No"}, "^MASTER_STORAGE_NAME.* no storages named No"),
    ],
)
def test_doubtful_names_stop_everything(
    site: Site, iconik: Iconik, changes: Row, message: str
) -> None:
    """A name that belongs to no storage or to two is the administrator's to mend."""
    for name in ("Twin", "Twin", "Twin\t"):
        site.world.add_storage(name)
    with pytest.raises(AdministratorError, match=message):
        find_storages(iconik.storages(), SETTINGS._replace(**changes))


def mounted(mount_point: str | None) -> Row:
    """Return what makes B2 a storage on a disk."""
    return {"method": "FILE", "settings": {"mount_point": mount_point}}


WITHIN = ("/mnt/LucidLink", "/MNT//lucidlink/.", "\\mnt\\LucidLink\\b", "/mnt", "/", "//x/../mnt")


@pytest.mark.parametrize(
    ("b2", "target", "master", "message"),
    [
        # Files are removed only from gateways' storages, and from none with the masters.
        ({}, "B2", None, "type B2"),
        ({}, "B2", "Other", "type B2"),
        ({}, "Other", "Other", "masters of Other"),
        ({}, "Bucket", "B2", "type S3"),
        *((mounted(path), "LucidLink", "B2", "masters of B2") for path in WITHIN),
        # Masters that iconik does not reach do not count, and a copy on a disk is none.
        *(
            ({"status": status}, "LucidLink", master, f"B2 is {status}")
            for status in ("FAILING", "INACTIVE", None)
            for master in ("B2", None)
        ),
        (mounted("/mnt/b2"), "LucidLink", None, "none is of type B2"),
    ],
)
def test_storages_that_do_not_allow_a_removal(
    site: Site, iconik: Iconik, b2: Row, target: str, master: str | None, message: str
) -> None:
    """The answer says why nothing is removed."""
    site.world.add_storage("Bucket", "S3")
    site.world.storages[site.b2].update(b2)
    settings = SETTINGS._replace(storage_name=target, master_storage_name=master)
    with pytest.raises(AdministratorError, match=message):
        Removal(iconik, settings)


@pytest.mark.parametrize(
    "b2",
    [{}, {"settings": {"mount_point": "/mnt/LucidLink"}}, mounted("/mnt/Lucid"), mounted(None)],
)
def test_storages_that_allow_a_removal(site: Site, iconik: Iconik, b2: Row) -> None:
    """Masters may be on a disk of their own, and only a storage on a disk has a mount point."""
    site.world.storages[site.b2].update(b2)
    assert [*Removal(iconik, SETTINGS).masters()[1]] == [site.b2]
