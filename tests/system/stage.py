"""A running function, on an iconik that holds nothing at the start of each test."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import requests

from sandbox.faults import Faults
from sandbox.function import Function, run_function
from sandbox.server import create_app, serve
from sandbox.site import Site
from sandbox.tasks import Tasks
from sandbox.world import Row, World
from tests import contract

SECRET = "schlüssel-for-tests"
TOKEN = "token-for-tests"
EDITOR = "11f0aaaa-0000-4000-8000-00000000000e"
ID = "11f0aaaa-0000-4000-8000-00000000000a"
Start = Callable[[Mapping[str, str]], AbstractContextManager[Function]]


class Scene:
    """An iconik, `world`, with its storages, `site`, and what an editor sees there."""

    world: World
    site: Site

    def assets(self, number: int) -> list[str]:
        """Add assets on both storages, and return their ids."""
        return [self.site.asset()[0] for _ in range(number)]

    @property
    def jobs(self) -> list[Row]:
        """The jobs of the plugin."""
        return [job for job in self.world.jobs.values() if job["type"] == "CUSTOM"]

    @property
    def job(self) -> Row:
        """The only one of them."""
        (job,) = self.jobs
        return job


class Stage(Scene):
    """A function that many tests share, because its start takes half a second."""

    def __init__(self, stack: ExitStack, start: Start = run_function, **changes: str) -> None:
        self.faults = Faults()  # What goes wrong with requests to iconik.
        self._mistakes: list[str] = []
        self._logged = 0
        self._set_up()
        url = stack.enter_context(serve(self, self.faults))
        secrets = {"ICONIK_TOKEN": TOKEN, "BZ_SHARED_SECRET": SECRET}
        self.settings = self.site.settings(url) | secrets
        self.function = stack.enter_context(start(self.settings | changes))

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve the iconik of this test, as WSGI has it."""
        return self._app(environ, start_response)

    @contextmanager
    def test(self) -> Iterator[None]:
        """Begin a test. At its end, all requests and answers must have been as described."""
        self.faults.reset()
        self._set_up()
        self._logged = len(self.function.output)
        yield
        assert self._mistakes == []

    def _set_up(self) -> None:
        self.world = World(token=TOKEN)
        self.site = Site(self.world)
        self._app = create_app(self.world)
        if contract.DESCRIPTION.is_file():
            self._mistakes = contract.enforce(self._app)

    def run(self, **changes: str | None) -> AbstractContextManager[Function]:
        """Run another function on the same iconik, with other settings; None takes one away."""
        changed = {**self.settings, **changes}
        return run_function({name: value for name, value in changed.items() if value is not None})

    def post(
        self, path: str = "/remove", secret: str = SECRET, **selection: object
    ) -> requests.Response:
        """Post a custom action to the function, as iconik does."""
        return self.function.click(path[1:], secret, user_id=EDITOR, **selection)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines that the function has logged in this test."""
        return [json.loads(line) for line in self.function.output[self._logged :].splitlines()]


class QueuedStage(Stage):
    """A function that archives, with a queue, `tasks`, which delivers when it is told to."""

    def __init__(self, stack: ExitStack) -> None:
        self.tasks = Tasks()
        super().__init__(stack, self.tasks.run_function, ARCHIVE_BEFORE_REMOVE="true")

    def _set_up(self) -> None:
        self.tasks.reset()
        super()._set_up()


def send(
    function: Function, method: str, path: str, secret: str | None = SECRET, **kwargs: Any
) -> requests.Response:
    """Send any request to a function."""
    headers = {"x-bz-secret": secret.encode()} if secret is not None else {}
    return requests.request(method, function.url + path, headers=headers, timeout=60, **kwargs)
