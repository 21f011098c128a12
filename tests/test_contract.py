"""Whether the suite was held against iconik's description."""

import pytest

from tests import contract


@pytest.mark.skipif(
    not contract.DESCRIPTION.is_file(),
    reason="iconik's OpenAPI file is not part of the project; ICONIK_OPENAPI may name it",
)
def test_description_is_used() -> None:
    """Requests are held against a description that knows the bulk copy."""
    assert "/API/files/v1/storages/{storage_id}/bulk/" in contract.api().spec["paths"]
