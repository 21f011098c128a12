"""Assets, and the function that adds or removes them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from sandbox.faults import Faults
from sandbox.function import Function, run_function
from sandbox.server import create_app, serve
from sandbox.site import Site, payload

SECRET = {"x-bz-secret": "let-me-in"}


class Scene(Site):
    """Assets with masters on B2, and the function's settings for them.

    Args:
        assets: their number.
        copied: whether they are on LucidLink, too.
        timeout: seconds after which the platform ends a request.
    """

    def __init__(self, assets: int, *, copied: bool, timeout: int = 540) -> None:
        super().__init__()
        add = self.asset if copied else self.master
        for number in range(assets):
            add(title=f"Clip {number}")
        self.timeout = timeout
        self.secrets = {"BZ_SHARED_SECRET": SECRET["x-bz-secret"], "ICONIK_TOKEN": self.world.token}

    @property
    def ids(self) -> list[str]:
        """The ids of all assets."""
        return [*self.world.assets]

    def settings(self, iconik_url: str) -> dict[str, str]:
        """Return the settings without the secrets."""
        limit = {"CLOUD_RUN_TIMEOUT_SECONDS": str(self.timeout)}
        return super().settings(iconik_url) | limit

    @contextmanager
    def run(self, faults: Faults) -> Iterator[Function]:
        """Run the function on this world."""
        with (
            serve(create_app(self.world), faults) as url,
            run_function(self.settings(url) | self.secrets) as function,
        ):
            yield function


def post(function: Function, action: str, ids: list[str], *, answer: str = "OK") -> float:
    """Post a custom action, and return the seconds until its answer.

    Args:
        answer: how the answer must begin.
    """
    started = time.perf_counter()
    response = requests.post(
        f"{function.url}/{action}", json=payload(asset_ids=ids), headers=SECRET, timeout=600
    )
    assert response.text.startswith(answer), response.text
    return time.perf_counter() - started
