"""A running function whose secrets are in Secret Manager or in files."""

import json
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import requests

from sandbox.function import Function, run_function
from sandbox.network import RESET, SWALLOW
from sandbox.secrets import ACCOUNTS, Secrets, found, refused
from sandbox.server import create_app, serve
from sandbox.world import World, new_id

NAME = "bz-shared-secret"


class System:
    """A function whose secrets are in Secret Manager, on a world with a storage."""

    def __init__(self, stack: ExitStack) -> None:
        self.world, self.secrets = World(token="token-1"), Secrets()
        self.world.add_storage("LucidLink")
        settings = {
            "ICONIK_URL": stack.enter_context(serve(create_app(self.world))),
            "ICONIK_ID": self.world.app_id,
            "STORAGE_NAME": "LucidLink",
        }
        self.function: Function = stack.enter_context(self.secrets.run_function(settings))
        self.store("secret-1", "token-1")

    def store(self, secret: str, token: str) -> None:
        """Add a version of each secret."""
        self.secrets.answers[NAME] = found(secret.encode())
        self.secrets.answers["iconik-token"] = found(token.encode())
        self.secret = secret  # Only now anybody may send it.

    def post(self, secret: str = "secret-1", timeout: float = 60) -> int:
        """Post a custom action, and return the status of the answer."""
        return requests.post(
            f"{self.function.url}/add",
            json={"asset_ids": [new_id()]},
            headers={"x-bz-secret": secret},
            timeout=timeout,
        ).status_code


@pytest.fixture
def system() -> Iterator[System]:
    """Run a function with its secrets in Secret Manager."""
    with ExitStack() as stack:
        yield System(stack)


@pytest.mark.parametrize("name", [NAME, "iconik-token"])
def test_what_is_wrong_with_a_secret_is_503_until_it_is_mended(system: System, name: str) -> None:
    """Each trouble with either secret is told in the log, and over at once when it is."""
    good = system.secrets.answers[name]
    troubles = {
        "Create it in the project project": refused(grpc.StatusCode.NOT_FOUND),
        "Grant roles/secretmanager.secretAccessor": refused(grpc.StatusCode.PERMISSION_DENIED),
        "Its latest version is disabled": refused(grpc.StatusCode.FAILED_PRECONDITION),
        "(UNAVAILABLE)": refused(grpc.StatusCode.UNAVAILABLE),
    }
    for answer in troubles.values():
        system.secrets.answers[name] = answer
        assert system.post() == 503
    lines = [json.loads(line)["message"] for line in system.function.output.splitlines()]
    assert len(lines) == len(troubles)
    assert all(remedy in line for remedy, line in zip(troubles, lines, strict=True))
    system.secrets.answers[name] = good
    assert system.post() == 200


@pytest.mark.parametrize(
    ("trouble", "path"), [("silent", "/"), ("dripping", f"{ACCOUNTS}/default/token")]
)
def test_a_metadata_server_that_hangs_hinders_one_request(
    system: System, trouble: str, path: str
) -> None:
    """A request is refused before iconik's patience is over; the next one does not wait for it."""
    setattr(system.secrets, trouble, path)
    assert system.post(timeout=6) == 503
    assert "Secret Manager is unavailable" in system.function.output
    setattr(system.secrets, trouble, "")
    assert system.post(timeout=6) == 200
    assert not system.secrets.speaks.is_set()  # What hung still does.


@pytest.mark.parametrize("fate", [RESET, SWALLOW])
def test_a_connection_that_the_network_forgets_costs_no_click(system: System, fate: str) -> None:
    """The first click after a quiet time is served over another connection."""
    assert system.post() == 200
    opened = len(system.secrets.network.opened)
    system.secrets.network.forget(fate)
    system.store("secret-2", "token-1")  # Which is read when it is first used.
    assert system.post("secret-2", timeout=6) == 200
    assert len(system.secrets.network.opened) == opened + 1


def test_secrets_in_files(tmp_path: Path) -> None:
    """Mounted secrets are read from their files, and both can be rotated."""
    world = World(token="token-1")
    world.add_storage("LucidLink")
    secret, token = tmp_path / "bz-shared-secret", tmp_path / "iconik-token"
    secret.write_text("secret-1\n")
    token.write_text("token-1\n")

    def post(given: str) -> str:
        return requests.post(
            f"{function.url}/add",
            json={"asset_ids": [new_id()]},
            headers={"x-bz-secret": given},
            timeout=60,
        ).text

    with serve(create_app(world)) as url:
        settings = {"ICONIK_URL": url, "ICONIK_ID": world.app_id, "STORAGE_NAME": "LucidLink"}
        files = {"BZ_SHARED_SECRET_FILE": str(secret), "ICONIK_TOKEN_FILE": str(token)}
        with run_function(settings | files) as function:
            assert post("secret-1") == "OK"
            secret.write_text("secret-2\n")
            token.write_text("token-2\n")
            world.token = "token-2"
            assert post("secret-2") == "OK"
            assert post("secret-1") == "The header x-bz-secret must hold the shared secret."


def test_rotation_under_load(system: System) -> None:
    """While both secrets are rotated no action fails, and none with a valid secret is refused."""
    rotations = {100: ("secret-2", "token-1"), 200: ("secret-2", "token-2")}

    def act(number: int) -> tuple[int, bool]:
        if number in rotations:
            system.store(*rotations[number])
            _, system.world.token = rotations[number]
        secret = system.secret
        status = system.post(secret)
        return status, secret == system.secret

    with futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(act, range(300)))
    assert {status for status, is_valid in answers if is_valid} == {200}
    assert {status for status, is_valid in answers if not is_valid} <= {200, 401}
    assert system.post("secret-1") == 401
    assert system.secrets.accesses.count(NAME) <= 5
