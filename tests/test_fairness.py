"""A large removal leaves room for other clicks."""

import json
from typing import Any

import pytest

from sandbox.site import payload
from tests.stories import Stage, Story

SECRET = {"x-bz-secret": "secret"}


class FastStage(Stage):
    """An iconik that answers so fast that a large click would use up its whole limit."""

    def send(self, request: Any, *_: Any, **__: Any) -> Any:
        """Answer a call to iconik."""
        self.now += 0.002
        return self._serve(request)


@pytest.mark.parametrize("selected", ["assets", "collections"])
def test_a_large_click_leaves_room(selected: str) -> None:
    """While the rest of a large selection is in the queue, another editor's click is served."""
    stage = FastStage(Story(has_queue=True, archives=False))
    ids, master = [stage.site.asset()[0] for _ in range(400)], stage.site.master()
    if selected == "collections":
        ids = [stage.world.add_collection(*ids)]
    with stage._instance() as function:

        def click(path: str, **selection: object) -> str:
            body = json.dumps(payload(**selection))
            return str(function.post(path, data=body, headers=SECRET).text)

        assert "not done yet" in click("/remove", **{f"{selected[:-1]}_ids": ids})
        assert click("/add", asset_ids=[master]) == "OK"
    assert stage.tasks
