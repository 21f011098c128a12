"""The secret, the route and the payload."""

import json

import pytest

from storage_plugin import webhook
from storage_plugin.errors import CallerError
from storage_plugin.webhook import Action, Selection

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
    """Only the very bytes of the secret let in, and an empty secret lets nobody in."""
    assert webhook.is_authentic(given, secret) is expected


def read(body: bytes, path: str = "/add") -> Action:
    """Read a custom action with no query."""
    return webhook.read_action(path, {}, body)


BODY = json.dumps({"asset_ids": [ID]}).encode()


@pytest.mark.parametrize("path", ["/add", "/add/", "/iconik_handler/add", "/iconik_handler/add/"])
def test_path_names_the_action(path: str) -> None:
    """The function's name before the action and a slash behind it are tolerated."""
    assert read(BODY, path).name == "add"
    assert read(BODY, path.replace("add", "remove")).name == "remove"


@pytest.mark.parametrize("body", [BODY, b"{}", b'{"asset_ids": [1]}'])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/add/remove",
        "/ADD",
        "/addx",
        "/x/add",
        "/add//",
        "/add\n",
        "/iconik_handler" * 2 + "/add",
    ],
)
def test_other_paths_name_none(path: str, body: bytes) -> None:
    """Anything else is no action, whatever is selected."""
    with pytest.raises(CallerError, match="must end in /add or /remove") as raised:
        read(body, path)
    assert raised.value.status == 404


def test_selection_of_a_real_payload() -> None:
    """A payload as iconik posts it is read, keys and contexts that are not needed aside."""
    payload = {
        "user_id": OTHER,
        "system_domain_id": OTHER,
        "context": "ANYTHING_NEW",
        "action_id": OTHER,
        "asset_ids": [ID],
        "collection_ids": [],
        "saved_search_ids": [OTHER],
        "metadata_view_id": None,
        "metadata_values": {"Field": {"field_values": [{"value": "x"}]}},
        "date_created": "2026-01-09T17:00:00.000000",
        "auth_token": "a.b.c",
    }
    query, selection = {"format": ["A"]}, Selection((ID,), saved_searches=(OTHER,))
    expected = Action("remove", selection, query, user_id=OTHER)
    assert webhook.read_action("/remove", query, json.dumps(payload).encode()) == expected


@pytest.mark.parametrize("odd", [None, "", "x", 1, [ID]])
def test_an_odd_user_is_none(odd: object) -> None:
    """Who clicked is good to know, but not needed."""
    body = json.dumps({"asset_ids": [ID], "user_id": odd})
    assert read(body.encode()) == Action("add", Selection((ID,)), {}, user_id=None)


def test_ids_count_once_and_in_order() -> None:
    """Duplicates are dropped, in whatever case they are written."""
    body = json.dumps({"asset_ids": [OTHER, ID, OTHER.upper(), ID], "collection_ids": None})
    assert read(body.encode()).selection.assets == (OTHER, ID)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"asset_ids": 1' + b"0" * 5000,
    ],
)
def test_body_must_be_a_json_object(body: bytes) -> None:
    """Whatever is no JSON object is refused, however hostile, and before the path."""
    with pytest.raises(CallerError, match="must be the JSON object"):
        read(body, "/nowhere")


@pytest.mark.parametrize("field", ["asset_ids", "collection_ids", "saved_search_ids"])
@pytest.mark.parametrize(
    "ids",
    [
        "x",
        1,
        {},
        [None],
        [1],
        [[ID]],
        ["../../users"],
        [ID + "\n"],
        [ID[:-1]],
        [ID.replace("-", "")],
    ],
)
def test_wrong_ids_are_refused_by_field(field: str, ids: object) -> None:
    """An id that is no UUID never comes near a URL, and the answer names the field."""
    with pytest.raises(CallerError, match=field):
        read(json.dumps({"asset_ids": [ID], field: ids}).encode())


@pytest.mark.parametrize("body", ["{}", '{"asset_ids": []}', '{"collection_ids": null}'])
def test_nothing_selected_is_refused(body: str) -> None:
    """A payload that selects nothing is a mistake."""
    with pytest.raises(CallerError, match="Nothing is selected"):
        read(body.encode())
