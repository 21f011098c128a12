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
        return self.function.click("add", secret, asset_ids=[new_id()]).status_code


@pytest.fixture
def system() -> Iterator[System]:
    """Run a function with its secrets in Secret Manager."""
    with ExitStack() as stack:
        yield System(stack)


def test_the_project_can_be_unknown() -> None:
    """Without a setting Google is asked for the project. All accesses share one token.

    Each has its own connection, so one that the network has forgotten costs no click.
    """
    with ExitStack() as stack:
        system = System(stack, GOOGLE_CLOUD_PROJECT="")
        assert [system.post(), system.post("wrong"), system.post()] == [200, 401, 200]
    assert system.secrets.accesses == [NAME, "iconik-token", NAME]
    assert len(system.secrets.network.opened) == 3
    assert system.secrets.asked.count(f"{ACCOUNTS}/default/token") == 1
    assert PROJECT_PATH in system.secrets.asked


@pytest.mark.parametrize("trouble", [HANG, DRIP, "the server hangs"])
def test_no_request_waits_long_for_google(system: System, trouble: str) -> None:
    """Requests are refused before iconik's patience is over, and all at once."""
    if trouble in (HANG, DRIP):
        system.secrets.faults.probabilities = {trouble: 1}  # No token comes.
    else:
        system.secrets.answers = dict.fromkeys(system.secrets.answers, hang)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: system.post(), range(4))) == [503] * 4
    assert system.function.output.count("Secret Manager is unavailable (DeadlineExceeded)") == 1


def test_rotation_under_load(system: System) -> None:
    """While both secrets are rotated no action fails, and none with a valid secret is refused.

    Requests that start together share an access, and nobody is asked for a project that is set.
    """
    rotations = {30: ("secret-2", "token-1"), 60: ("secret-2", "token-2")}

    def act(number: int) -> int:
        if number in rotations:
            system.store(*rotations[number])
            _, system.world.token = rotations[number]
        secret = system.secret
        status = system.post(secret)
        return 200 if status == 401 and secret != system.secret else status

    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(act, range(90))} == {200}
    assert system.post("secret-1") == 401
    assert system.secrets.accesses.count(NAME) <= 5
    assert PROJECT_PATH not in system.secrets.asked
