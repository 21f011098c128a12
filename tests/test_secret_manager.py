"""Secrets: how long they are kept, and what Secret Manager answers over a real wire."""

import functools
import json
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack

import google.auth
import grpc
import pytest
import requests
from google.auth.compute_engine import _metadata
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest as Request
from google.cloud.secretmanager_v1.types import AccessSecretVersionResponse as Response

from sandbox.function import Function
from sandbox.secrets import ACCOUNTS, METADATA, Answer, Secrets, connect, found, refused
from sandbox.server import create_app, serve
from sandbox.world import World, new_id
from storage_plugin import secret_manager
from storage_plugin.errors import SecretUnavailable
from storage_plugin.secret_manager import Secret, SecretManager, crc32c

NAME, VARIABLE = "bz-shared-secret", "BZ_SHARED_SECRET"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no secret of the developer's own environment in."""
    monkeypatch.delenv(VARIABLE, raising=False)


class Source:
    """A Secret Manager and a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.value: str | None = "first"
        self.accesses = 0
        self.secret = Secret(NAME, VARIABLE, access=self.access, clock=lambda: self.now)

    def access(self, name: str) -> str:
        """Return the secret, or fail where there is none."""
        assert name == NAME
        self.accesses += 1
        if self.value is None:
            raise SecretUnavailable("down")
        return self.value


@pytest.fixture
def source() -> Source:
    """Return a source that works."""
    return Source()


def test_a_secret_is_kept_for_five_minutes(source: Source) -> None:
    """One access serves all requests of five minutes, the next one sees what is new."""
    assert source.secret.read() == "first"
    source.value = "second"
    source.now += 300
    assert source.secret.read() == "first"
    source.now += 1
    assert source.secret.read() == "second"
    assert source.accesses == 2


def test_a_mismatch_reads_again_at_once(source: Source) -> None:
    """A rotated secret is seen when it is first used, however often it is rotated."""
    assert source.secret.read() == "first"
    for value in ("second", "third"):
        source.value = value
        source.now += 0.1
        assert source.secret.read(max_age=0, pause=10) == value
    assert source.accesses == 3


def test_a_flood_of_wrong_secrets_costs_nothing(source: Source) -> None:
    """Mismatches that bring nothing new cause one access in ten seconds."""
    source.secret.read()
    for _ in range(100):
        source.now += 0.1
        assert source.secret.read(max_age=0, pause=10) == "first"
    source.value = "second"
    assert source.accesses == 2
    source.now += 0.2
    assert source.secret.read(max_age=0, pause=10) == "second"


def test_a_flood_does_not_reach_a_broken_secret_manager(source: Source) -> None:
    """With a kept secret, wrong ones cost one access in ten seconds and good ones none."""
    source.secret.read()
    source.value = None
    for _ in range(100):
        source.now += 0.05
        with pytest.raises(SecretUnavailable):
            source.secret.read(max_age=0, pause=10)
        assert source.secret.read() == "first"
    assert source.accesses == 2


def test_age_counts_from_the_begin_of_the_access(source: Source) -> None:
    """A secret that is rotated while it is read is read again when that matters."""

    def rotate_meanwhile(name: str) -> str:
        value, source.value = source.access(name), "second"
        source.now += 1
        return value

    secret = Secret(NAME, VARIABLE, access=rotate_meanwhile, clock=lambda: source.now)
    assert secret.read() == "first"
    assert secret.read(max_age=0.5) == "second"


def test_an_old_secret_is_not_used_when_it_cannot_be_read(source: Source) -> None:
    """After five minutes without Secret Manager nobody is let in, until it is back."""
    source.secret.read()
    source.now += 301
    source.value = None
    with pytest.raises(SecretUnavailable):
        source.secret.read()
    source.now += 1
    source.value = "back"
    assert source.secret.read() == "back"


@pytest.mark.parametrize(
    ("stored", "read"), [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")]
)
def test_one_newline_is_stripped(source: Source, stored: str, read: str) -> None:
    """What `echo` stored works like what `printf` stored; nothing else is touched."""
    source.value = stored
    assert source.secret.read() == read


@pytest.mark.parametrize("empty", ["", "\n"])
def test_an_empty_secret_is_an_error(
    source: Source, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    """An empty secret lets nobody in, wherever it comes from."""
    source.value = empty
    with pytest.raises(SecretUnavailable):
        source.secret.read()
    monkeypatch.setenv(VARIABLE, empty)
    with pytest.raises(SecretUnavailable):
        source.secret.read()


def test_the_environment_wins(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable set, Secret Manager is not asked."""
    monkeypatch.setenv(VARIABLE, "local\n")
    assert source.secret.read() == "local"
    assert source.accesses == 0


@pytest.mark.parametrize("value", ["first", None])
def test_threads_share_one_access(value: str | None) -> None:
    """Requests that start together wait for one access, and share its failure."""
    others_ask = threading.Event()
    accesses = []

    def access(name: str) -> str:
        accesses.append(name)
        others_ask.wait()
        if value is None:
            raise SecretUnavailable("down")
        return value

    secret = Secret(NAME, VARIABLE, access=access, clock=lambda: 0.0)

    def read() -> str | None:
        try:
            return secret.read()
        except SecretUnavailable:
            return None

    with futures.ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(read) for _ in range(8)]
        others_ask.set()
        assert [future.result() for future in reads] == [value] * 8
    assert len(accesses) == 1


# The real library against a server that speaks its protocol


@pytest.fixture
def secrets() -> Secrets:
    """Return a project without secrets."""
    return Secrets()


@pytest.fixture
def manager(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    """Return a SecretManager that finds the project as it does on Google Cloud."""
    for variable in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    with secrets.serve() as google:
        for variable, value in google.items():
            monkeypatch.setenv(variable, value)
        # Read from the environment when it was imported.
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", google["GCE_METADATA_HOST"])
        client = functools.partial(connect, google["SANDBOX_SECRETS"])
        monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", client)
        yield SecretManager()


def test_the_latest_version_is_read(manager: SecretManager, secrets: Secrets) -> None:
    """The secret arrives as it was stored, in UTF-8."""
    secrets.answers[NAME] = found("schlüssel\n".encode())
    assert manager.access(NAME) == "schlüssel\n"


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (refused(grpc.StatusCode.NOT_FOUND), "Create it in the project project"),
        (refused(grpc.StatusCode.PERMISSION_DENIED), "roles/secretmanager.secretAccessor"),
        (refused(grpc.StatusCode.FAILED_PRECONDITION), "disabled or destroyed"),
        (refused(grpc.StatusCode.UNAVAILABLE), "ServiceUnavailable"),
        (refused(grpc.StatusCode.INTERNAL), "InternalServerError"),
        (found(b"s3cret", checksum=1), "damaged"),
        (found(b"\xff"), "UTF-8"),
    ],
)
def test_failures_are_told_to_the_administrator_alone(
    manager: SecretManager, secrets: Secrets, answer: Answer, remedy: str
) -> None:
    """The log says what to do; the caller, who may be anybody, learns next to nothing."""
    secrets.answers[NAME] = answer
    with pytest.raises(SecretUnavailable) as raised:
        manager.access(NAME)
    assert remedy in raised.value.detail
    assert str(raised.value) == f"The secret {NAME} cannot be read: see the function's log."


def test_a_silent_secret_manager_costs_its_time_limit(
    manager: SecretManager, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Secret Manager that does not answer is given up, and not tried again."""
    is_over = threading.Event()

    def hang(request: Request, context: grpc.ServicerContext) -> Response:
        is_over.wait()
        return Response()

    secrets.answers[NAME] = hang
    monkeypatch.setattr(secret_manager, "CALL_TIMEOUT", 0.2)
    with pytest.raises(SecretUnavailable) as raised:
        manager.access(NAME)
    is_over.set()
    assert "DeadlineExceeded" in raised.value.detail
    assert secrets.accesses == [NAME]


def test_without_credentials_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is not Google's is told so."""

    def default() -> None:
        raise google.auth.exceptions.DefaultCredentialsError("none")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(SecretUnavailable) as raised:
        SecretManager().access(NAME)
    assert "DefaultCredentialsError" in raised.value.detail


def test_without_a_project_nothing_is_kept(
    manager: SecretManager, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metadata server that fails for a while does no harm for longer."""
    secrets.answers[NAME] = found(b"first")
    with monkeypatch.context() as patch:
        patch.delitem(METADATA, "/computeMetadata/v1/project/project-id")
        with pytest.raises(SecretUnavailable):
            manager.access(NAME)
    assert manager.access(NAME) == "first"


@pytest.mark.parametrize(
    ("data", "checksum"), [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)]
)
def test_crc32c(data: bytes, checksum: int) -> None:
    """The checksum is the one of RFC 3720."""
    assert crc32c(data) == checksum


# The running function


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
        "It arrived damaged": found(b"secret-1", checksum=1),
        "(ServiceUnavailable)": refused(grpc.StatusCode.UNAVAILABLE),
    }
    for answer in troubles.values():
        system.secrets.answers[name] = answer
        assert system.post() == 503
    lines = [json.loads(line)["message"] for line in system.function.output.splitlines()]
    assert len(lines) == len(troubles)
    assert all(remedy in line for remedy, line in zip(troubles, lines, strict=True))
    system.secrets.answers[name] = good
    assert system.post() == 200


@pytest.mark.parametrize("silent", ["/", f"{ACCOUNTS}/default/token"])
def test_a_silent_metadata_server_is_503_in_time(system: System, silent: str) -> None:
    """Before iconik's patience is over nobody is let in, and when it speaks again all are."""
    system.secrets.silent = silent
    assert system.post(timeout=5) == 503
    assert "Secret Manager cannot be used now" in system.function.output
    system.secrets.speaks.set()
    assert system.post() == 200


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
