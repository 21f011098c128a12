"""A running function whose secrets are in Secret Manager."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from sandbox.faults import DRIP, HANG
from sandbox.secrets import ACCOUNTS, PROJECT_PATH, Secrets, found, hang
from sandbox.server import create_app, serve
from sandbox.site import Site
from sandbox.world import World, new_id
from tests.system.stage import post

NAME = "bz-shared-secret"


class System:
    """A function whose secrets are in Secret Manager, on a world with a storage."""

    def __init__(self, stack: ExitStack, **changes: str) -> None:
        self.world, self.secrets = World(token="token-1"), Secrets()
        iconik_url = stack.enter_context(serve(create_app(self.world)))
        settings = Site(self.world).settings(iconik_url)
        self.function = stack.enter_context(self.secrets.run_function(settings | changes))
        self.store("secret-1", "token-1")

    def store(self, secret: str, token: str) -> None:
        """Add a version of each secret."""
        self.secrets.answers[NAME] = found(secret.encode())
        self.secrets.answers["iconik-token"] = found(token.encode())
        self.secret = secret  # Only now anybody may send it.

    def post(self, secret: str = "secret-1") -> int:
        """Post a custom action, and return the status of the answer."""
        return post(self.function, "/add", secret, asset_ids=[new_id()]).status_code


@pytest.fixture
def system() -> Iterator[System]:
    """Run a function with its secrets in Secret Manager."""
    with ExitStack() as stack:
        yield System(stack)


@pytest.mark.parametrize("project", ["project", ""])
def test_credentials_are_made_once(project: str) -> None:
    """All accesses share one token; only without a setting is Google asked for the project.

    Each has its own connection, so one that the network has forgotten costs no click.
    """
    with ExitStack() as stack:
        system = System(stack, GOOGLE_CLOUD_PROJECT=project)
        assert [system.post(), system.post("wrong"), system.post()] == [200, 401, 200]
    assert system.secrets.accesses == [NAME, "iconik-token", NAME]
    assert len(system.secrets.network.opened) == 3
    assert system.secrets.asked.count(f"{ACCOUNTS}/default/token") == 1
    assert (PROJECT_PATH in system.secrets.asked) == (not project)


@pytest.mark.parametrize("trouble", [HANG, DRIP, "the server hangs"])
def test_no_request_waits_long_for_google(system: System, trouble: str) -> None:
    """Requests are refused before iconik's patience is over, all at once, until Google is back."""
    secrets, answers = system.secrets, system.secrets.answers
    if trouble == "the server hangs":
        secrets.answers = dict.fromkeys(answers, hang)
    else:
        secrets.faults.probabilities = {trouble: 1}  # No token comes.
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: system.post(), range(4))) == [503] * 4
    assert "Secret Manager is unavailable (DeadlineExceeded)" in system.function.output
    assert len(secrets.accesses) <= 1
    secrets.faults.probabilities, secrets.answers = {}, answers
    assert any(system.post() == 200 for _ in range(10_000))


def test_rotation_under_load(system: System) -> None:
    """While both secrets are rotated no action fails, and none with a valid secret is refused.

    Requests that start together share an access.
    """
    rotations = {100: ("secret-2", "token-1"), 200: ("secret-2", "token-2")}

    def act(number: int) -> int:
        if number in rotations:
            system.store(*rotations[number])
            _, system.world.token = rotations[number]
        secret = system.secret
        status = system.post(secret)
        return 200 if status == 401 and secret != system.secret else status

    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(act, range(300))} == {200}
    assert system.post("secret-1") == 401
    assert system.secrets.accesses.count(NAME) <= 5
