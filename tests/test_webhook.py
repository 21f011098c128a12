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
        ("s3cret ", "s3cret", False),
        ("S3CRET", "s3cret", False),
        ("", "", False),
        ("x", "", False),
        # What the wire carries as UTF-8 is handed over as Latin-1.
        ("schlüssel".encode().decode("latin-1"), "schlüssel", True),
        ("schlüssel", "schlüssel", False),
        ("\N{SNOWMAN}", "s3cret", False),
        # The environment hands bytes that are no UTF-8 over as surrogates.
        ("\xff", b"\xff".decode(errors="surrogateescape"), True),
    ],
)
def test_secret_is_compared_as_bytes(given: str, secret: str, expected: bool) -> None:
    """Only the exact bytes of the secret match, and an empty secret matches nothing."""
    assert webhook.is_authentic(given, secret) is expected


def read(body: bytes, path: str = "/add") -> Action:
    """Read a custom action with no query."""
    return webhook.read_action(path, {}, body)


def read_payload(**payload: object) -> Action:
    """Read what iconik posts."""
    return read(json.dumps(payload).encode())


BODY = json.dumps({"asset_ids": [ID]}).encode()


@pytest.mark.parametrize("path", ["/add", "/add/", "/iconik_handler/add", "/iconik_handler/add/"])
def test_path_names_the_action(path: str) -> None:
    """The path may begin with the function's name, and end with a slash."""
    assert read(BODY, path).name == "add"
    assert read(BODY, path.replace("add", "remove")).name == "remove"


TWICE = "/iconik_handler/iconik_handler/add"


@pytest.mark.parametrize("body", [BODY, b"{}", b'{"asset_ids": [1]}'])
@pytest.mark.parametrize(
    "path", ["/", "", "/add/remove", "/ADD", "/addx", "/x/add", "/add//", "/add\n", TWICE]
)
def test_other_paths_name_none(path: str, body: bytes) -> None:
    """Anything else is no action, whatever is selected."""
    with pytest.raises(CallerError, match="must end in /add or /remove") as raised:
        read(body, path)
    assert raised.value.status == 404


def test_a_payload_is_read() -> None:
    """A payload may contain keys and contexts that the plugin does not need."""
    unneeded = {"context": "ANYTHING_NEW", "metadata_values": {"x": []}, "auth_token": "a.b.c"}
    selected = {"asset_ids": [ID], "collection_ids": [], "saved_search_ids": [OTHER]}
    body = json.dumps(unneeded | selected | {"user_id": OTHER}).encode()
    query, selection = {"format": ["A"]}, Selection((ID,), saved_searches=(OTHER,))
    expected = Action("remove", selection, query, user_id=OTHER)
    assert webhook.read_action("/remove", query, body) == expected


@pytest.mark.parametrize("odd", [None, "", "x", 1, [ID]])
def test_an_odd_user_is_none(odd: object) -> None:
    """The action needs no user."""
    expected = Action("add", Selection((ID,)), {}, user_id=None)
    assert read_payload(asset_ids=[ID], user_id=odd) == expected


def test_ids_count_once_and_in_order() -> None:
    """Duplicates are dropped, in whatever case they are written."""
    action = read_payload(asset_ids=[OTHER, ID, OTHER.upper(), ID], collection_ids=None)
    assert action.selection == Selection((OTHER, ID))


HOSTILE = [b"[" * 100_000, b'{"asset_ids": 1' + b"0" * 5000]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff\xfe\x00", *HOSTILE])
def test_body_must_be_a_json_object(body: bytes) -> None:
    """Anything else is refused, even if it is hostile, and before the path is read."""
    with pytest.raises(CallerError, match="must be the JSON object"):
        read(body, "/nowhere")


NO_LISTS = ["x", 1, {}]
NO_IDS = [None, 1, [ID], "../../users", ID + "\n", ID[:-1], ID.replace("-", "")]


@pytest.mark.parametrize("field", ["asset_ids", "collection_ids", "saved_search_ids"])
@pytest.mark.parametrize("ids", [*NO_LISTS, *([id] for id in NO_IDS)])
def test_wrong_ids_are_refused_by_field(field: str, ids: object) -> None:
    """The error names the field of an id that is not a UUID and so unsafe in a URL."""
    with pytest.raises(CallerError, match=field):
        read_payload(**{"asset_ids": [ID], field: ids})


@pytest.mark.parametrize("payload", [{}, {"asset_ids": []}, {"collection_ids": None}])
def test_nothing_may_be_selected(payload: dict[str, object]) -> None:
    """The last round of a removal has nothing left to remove."""
    assert read_payload(**payload).selection == Selection()


def test_a_body_holds_so_many_ids() -> None:
    """A task with so many ids, and what is known of them, must fit into the queue, too."""
    ids = [str(UUID(int=number)) for number in range(MAX_IDS)]
    assert read_payload(asset_ids=ids).selection.counts() == {"assets": MAX_IDS}
    with pytest.raises(CallerError, match="Select fewer objects") as raised:
        read_payload(asset_ids=ids, collection_ids=[ID])
    assert raised.value.status == 413
