"""Secrets: how long they are kept, and what Secret Manager answers over a real wire."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import google.auth
import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest as Request
from google.cloud.secretmanager_v1.types import AccessSecretVersionResponse as Response

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
        self.secret = Secret(NAME, VARIABLE, self.access, lambda: self.now)

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


def test_a_mismatch_reads_again_once_in_ten_seconds(source: Source) -> None:
    """A rotated secret is seen at once, and a flood of wrong ones costs nothing."""
    source.secret.read()
    source.now += 11
    source.value = "second"
    for _ in range(100):
        assert source.secret.read(max_age=10, pause=10) == "second"
    assert source.accesses == 2


def test_a_flood_does_not_reach_a_broken_secret_manager(source: Source) -> None:
    """With a kept secret, wrong ones cost one access in ten seconds and good ones none."""
    source.secret.read()
    source.now += 11
    source.value = None
    for _ in range(100):
        with pytest.raises(SecretUnavailable):
            source.secret.read(max_age=10, pause=10)
        assert source.secret.read() == "first"
    assert source.accesses == 2


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

    secret = Secret(NAME, VARIABLE, access, clock=lambda: 0.0)

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


Answer = Callable[[Request, grpc.ServicerContext], Response]


@pytest.fixture
def answers() -> dict[str, Answer]:
    """Return what the server answers, by the secret's name."""
    return {}


@pytest.fixture
def manager(answers: dict[str, Answer], monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    """Return a SecretManager whose library speaks to a server on loopback."""

    def access(request: Request, context: grpc.ServicerContext) -> Response:
        return answers[request.name](request, context)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(
        access, request_deserializer=Request.deserialize, response_serializer=Response.serialize
    )
    service = "google.cloud.secretmanager.v1.SecretManagerService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"AccessSecretVersion": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        transport = SecretManagerServiceGrpcTransport(channel=channel)
        client = secretmanager.SecretManagerServiceClient

        def connect(credentials: object) -> secretmanager.SecretManagerServiceClient:
            return client(transport=transport)

        monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", connect)
        monkeypatch.setattr(google.auth, "default", lambda: (AnonymousCredentials(), "project"))
        yield SecretManager()
    server.stop(None)


VERSION = f"projects/project/secrets/{NAME}/versions/latest"


def found(data: bytes, checksum: int | None = None) -> Answer:
    """Return an answer with a secret."""
    payload: dict[str, Any] = {"data": data, "data_crc32c": checksum}
    if checksum is None:
        payload["data_crc32c"] = crc32c(data)
    return lambda *_: Response(payload=payload)


def refused(code: grpc.StatusCode) -> Answer:
    """Return an answer that is an error."""

    def refuse(request: Request, context: grpc.ServicerContext) -> Response:
        context.abort(code, "of no interest")
        return Response()

    return refuse


def test_the_latest_version_is_read(manager: SecretManager, answers: dict[str, Answer]) -> None:
    """The secret arrives as it was stored, in UTF-8."""
    answers[VERSION] = found("schlüssel\n".encode())
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
    manager: SecretManager, answers: dict[str, Answer], answer: Answer, remedy: str
) -> None:
    """The log says what to do; the caller, who may be anybody, learns next to nothing."""
    answers[VERSION] = answer
    with pytest.raises(SecretUnavailable) as raised:
        manager.access(NAME)
    assert remedy in raised.value.detail
    assert str(raised.value) == f"The secret {NAME} cannot be read: see the function's log."


def test_a_silent_secret_manager_costs_its_time_limit(
    manager: SecretManager, answers: dict[str, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Secret Manager that does not answer is given up, and not tried again."""
    asked = []
    is_over = threading.Event()

    def hang(request: Request, context: grpc.ServicerContext) -> Response:
        asked.append(request.name)
        is_over.wait()
        return Response()

    answers[VERSION] = hang
    monkeypatch.setattr(secret_manager, "TIMEOUT", 0.2)
    with pytest.raises(SecretUnavailable) as raised:
        manager.access(NAME)
    is_over.set()
    assert "DeadlineExceeded" in raised.value.detail
    assert asked == [VERSION]


def test_without_credentials_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is not Google's is told so."""

    def default() -> None:
        raise google.auth.exceptions.DefaultCredentialsError("none")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(SecretUnavailable) as raised:
        SecretManager().access(NAME)
    assert "DefaultCredentialsError" in raised.value.detail


@pytest.mark.parametrize(
    ("data", "checksum"), [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)]
)
def test_crc32c(data: bytes, checksum: int) -> None:
    """The checksum is the one of RFC 3720."""
    assert crc32c(data) == checksum
