"""Whether the suite is held against iconik's description, and finds what is not as described."""

import flask
import pytest

from tests import contract

STORAGES = "/API/files/v1/storages/"
STORAGE = {"name": "B2", "method": "B2", "purpose": "FILES", "settings": {}}


@pytest.mark.skipif(
    not contract.DESCRIPTION.is_file(),
    reason="iconik's OpenAPI file is not part of the project; ICONIK_OPENAPI may name it",
)
@pytest.mark.parametrize(
    ("url", "answer", "status", "mistake"),
    [
        ("/API/files/v1/storage/", {"errors": []}, 404, "PathNotFound"),
        (f"{STORAGES}?per_page=101", {}, 200, "the maximum of 100"),
        (STORAGES, {"objects": [STORAGE | {"id": "x"}]}, 200, "$.objects[0].id"),
        (STORAGES, {"rows": []}, 200, "'rows' was unexpected"),
        (STORAGES, {"objects": [], "next_url": None}, 200, ""),
    ],
)
def test_what_is_not_described_is_a_mistake(
    url: str, answer: object, status: int, mistake: str
) -> None:
    """A wrong path, parameter, status, field, value or type is reported, each time."""
    app = flask.Flask("wrong")
    app.add_url_rule(STORAGES, view_func=lambda: (answer, status))
    found = contract.enforce(app)
    for _ in range(2):
        app.test_client().get(url, headers={"App-ID": "app", "Auth-Token": "token"})
    assert sum(mistake in text for text in found) >= 2 if mistake else not found
