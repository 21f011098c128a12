"""The secret, the route and the payload."""

import json
from uuid import UUID

import pytest

from storage_plugin import webhook
from storage_plugin.errors import CallerError
from storage_plugin.webhook import MAX_IDS, Action, Selection

ID = "11f0aaaa-0000-4000-8000-00000000000a"
OTHER = "11f0aaaa-0000-4000-8000-00000000000b"


@pytest.mark.parametrize(
    ("given", "secret", "expected"),
    [
        ("s3cret", "s3cret", True),
        *((given, "s3cret", False) for given in ("s3cret ", "S3CRET", "\N{SNOWMAN}")),
        *((given, "", False) for given in ("", "x")),
        # What the wire carries as UTF-8 is handed over as Latin-1.
        ("schlüssel".encode().decode("latin-1"), "schlüssel", True),
        ("schlüssel", "schlüssel", False),
        # The environment hands bytes that are no UTF-8 over as surrogates.
        ("\xff", b"\xff".decode(errors="surrogateescape"), True),
    ],
)
def test_secret_is_compared_as_bytes(given: str, secret: str, expected: bool) -> None:
    """Only the exact bytes of the secret match, and an empty secret matches nothing."""
    assert webhook.is_authentic(given, secret) is expected


def read(path: str = "/add", **payload: object) -> Action:
    """Read what iconik posts."""
    return webhook.read_action(path, {"format": ["A"]}, json.dumps(payload).encode())


@pytest.mark.parametrize(
    ("path", "name"),
    [("/add", "add"), ("/remove/", "remove"), ("/iconik_handler/remove", "remove")],
)
def test_a_click_is_read(path: str, name: str) -> None:
    """A URL may name the function, and end with a slash; a payload may have any other keys.

    Duplicates are dropped, in whatever case they are written. The action needs no user.
    """
    unneeded = {"context": "ANYTHING_NEW", "metadata_values": {"x": []}, "auth_token": "a.b.c"}
    selected = {"asset_ids": [OTHER, ID, OTHER.upper(), ID], "collection_ids": None}
    payload = unneeded | selected | {"saved_search_ids": [ID]}
    expected = Action(name, Selection((OTHER, ID), (), (ID,)), {"format": ["A"]}, OTHER)
    assert read(path, **payload, user_id=OTHER) == expected
    for odd in (None, "", "x", 1, [ID]):
        assert read(path, **payload, user_id=odd) == expected._replace(user_id=None)


TWICE = "/iconik_handler/iconik_handler/add"


@pytest.mark.parametrize(
    "path", ["/", "", "/add/remove", "/ADD", "/addx", "/x/add", "/add//", "/add\n", TWICE]
)
def test_other_paths_name_none(path: str) -> None:
    """Anything else is no action, whatever is selected."""
    for ids in (None, [ID], [1]):
        with pytest.raises(CallerError, match="must end in /add or /remove") as raised:
            read(path, asset_ids=ids)
        assert raised.value.status == 404


HOSTILE = [b"[" * 100_000, b'{"asset_ids": 1' + b"0" * 5000]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff\xfe\x00", *HOSTILE])
def test_body_must_be_a_json_object(body: bytes) -> None:
    """Anything else is refused, even if it is hostile, and before the path is read."""
    with pytest.raises(CallerError, match="must be the JSON object"):
        webhook.read_action("/nowhere", {}, body)


NO_IDS = [None, 1, [ID], "../../users", ID + "\n", ID[:-1], ID.replace("-", "")]


@pytest.mark.parametrize("field", ["asset_ids", "collection_ids", "saved_search_ids"])
@pytest.mark.parametrize("ids", ["", "x", 0, 1, {}, *([id] for id in NO_IDS)])
def test_wrong_ids_are_refused_by_field(field: str, ids: object) -> None:
    """The error names the field of an id that is not a UUID and so unsafe in a URL."""
    with pytest.raises(CallerError, match=field):
        read(**{"asset_ids": [ID], field: ids})


def test_a_body_holds_so_many_ids() -> None:
    """A task with so many ids must fit into the queue; without an id there is nothing to do."""
    ids = [str(UUID(int=number)) for number in range(MAX_IDS)]
    assert read(asset_ids=ids).selection.counts() == {"assets": MAX_IDS}
    with pytest.raises(CallerError, match="Nothing is selected: no ids in asset_ids, "):
        read(asset_ids=[], collection_ids=None)
    with pytest.raises(CallerError, match="Select fewer objects") as raised:
        read(asset_ids=ids, collection_ids=[ID])
    assert raised.value.status == 413
