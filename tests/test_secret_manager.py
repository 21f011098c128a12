"""Secrets: how long they are kept, and what Secret Manager answers over a real wire."""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import google.auth
import grpc
import pytest
from google.cloud import secretmanager
from google.oauth2.credentials import Credentials

from sandbox.secrets import TOKEN, Answer, Secrets, connect, found, refused
from storage_plugin import secret_manager
from storage_plugin.errors import SecretUnavailable
from storage_plugin.secret_manager import (
    MAX_BYTES,
    Secret,
    SecretManager,
    SecretOutOfReach,
    find_flaw,
)

NAME, VARIABLE = "bz-shared-secret", "BZ_SHARED_SECRET"
FILE = f"{VARIABLE}_FILE"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no secret of the developer's own environment in."""
    for variable in (VARIABLE, FILE):
        monkeypatch.delenv(variable, raising=False)


AWAY = SecretOutOfReach("down", "Secret Manager is away.")


class Source:
    """A Secret Manager and a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.value: str | SecretUnavailable = "first"
        self.accesses = 0
        self.warnings: list[str] = []
        self.secret = self.new_secret(self.access)

    def new_secret(self, access: Callable[[str], str]) -> Secret:
        """Return a secret that is read in some way."""
        return Secret(
            NAME,
            VARIABLE,
            access=access,
            warn=self.warnings.append,
            clock=lambda: self.now,
        )

    def access(self, name: str) -> str:
        """Return the secret, or fail."""
        assert name == NAME
        self.accesses += 1
        if isinstance(self.value, SecretUnavailable):
            raise self.value
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
    source.value = AWAY
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

    secret = source.new_secret(rotate_meanwhile)
    assert secret.read() == "first"
    assert secret.read(max_age=0.5) == "second"


def test_the_last_known_secret_serves_for_an_hour_more(source: Source) -> None:
    """While Secret Manager is away a known secret lets in, with a warning a minute."""
    source.secret.read()
    source.value = AWAY
    source.now += 301
    for _ in range(55):
        for _ in range(6):
            assert source.secret.read() == "first"
            source.now += 10.5
    assert source.accesses == 1 + 55
    assert (
        source.warnings
        == ["down The last known one is used for up to an hour. Secret Manager is away."] * 55
    )
    source.now = 1000 + 300 + 3600 + 1
    with pytest.raises(SecretOutOfReach):
        source.secret.read()
    source.now += 1
    source.value = "back"
    assert source.secret.read() == "back"


def test_a_flood_does_not_warn_more_often(source: Source) -> None:
    """While Secret Manager is away wrong secrets cause neither more accesses nor more warnings."""
    source.secret.read()
    source.value = AWAY
    source.now += 301
    for _ in range(600):
        assert source.secret.read() == "first"
        with pytest.raises(SecretOutOfReach):
            source.secret.read(max_age=0, pause=10)
        source.now += 0.1
    assert (source.accesses, len(source.warnings)) == (1 + 6, 1)


def test_what_is_new_is_seen_though_the_last_known_secret_serves(source: Source) -> None:
    """A secret that is rotated when Secret Manager is back is seen when it is first used."""
    source.secret.read()
    source.value = AWAY
    source.now += 301
    assert source.secret.read() == "first"
    source.value = "second"
    source.now += 11
    assert source.secret.read() == "first"
    assert source.secret.read(max_age=0, pause=10) == "second"
    assert source.secret.read() == "second"


@pytest.mark.parametrize("first_error", ["access", "check"])
def test_a_secret_that_is_gone_serves_no_longer(source: Source, first_error: str) -> None:
    """What is missing, denied or disabled is refused at once, also if Secret Manager goes away."""
    source.secret.read()
    source.value = SecretUnavailable("gone")
    source.now += 301 if first_error == "access" else 10
    with pytest.raises(SecretUnavailable, match="gone"):
        source.secret.read(max_age=None if first_error == "access" else 0, pause=10)
    source.value = AWAY
    source.now += 1
    with pytest.raises(SecretOutOfReach):
        source.secret.read()
    assert source.warnings == []
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


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        ("\ufeffa", "begins with a byte order mark"),
        (" a", "has white space around it"),
        ("a\t", "has white space around it"),
        ("a\n\n", "has white space around it"),
        ("a b", ""),
        ("a\r\n", ""),
    ],
)
def test_what_may_be_an_accident_is_said_once(source: Source, value: str, flaw: str) -> None:
    """A secret is taken as it is; what looks wrong at its ends is logged once."""
    source.value = value
    for _ in range(3):
        assert source.secret.read() == value.removesuffix("\n").removesuffix("\r")
    expected = [f"The secret {NAME} {flaw}, which counts as part of the secret."] if flaw else []
    assert source.warnings == expected
    assert find_flaw(source.secret.read()) == flaw


# Secrets in mounted files


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the shared secret is in."""
    path = tmp_path / NAME
    monkeypatch.setenv(FILE, str(path))
    return path


def test_a_file_is_read_like_secret_manager(source: Source, mounted: Path) -> None:
    """Google fetches a mounted secret when it is read: it is kept, and read again on a mismatch."""
    mounted.write_bytes(b"mounted\r\n")
    assert source.secret.source == f"the file {mounted}"
    assert source.secret.read() == "mounted"
    mounted.write_text("rotated")
    source.now += 1
    assert source.secret.read() == "mounted"
    assert source.secret.read(max_age=0, pause=10) == "rotated"
    source.now += 301
    mounted.write_text("rotated again")
    assert source.secret.read() == "rotated again"
    assert source.accesses == 0


def test_the_variable_wins_over_the_file(
    source: Source, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the secret itself in the environment no file is read."""
    monkeypatch.setenv(VARIABLE, "local")
    assert (source.secret.read(), source.secret.source) == ("local", f"the variable {VARIABLE}")


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (None, "FileNotFoundError"),
        (b"", "It is empty"),
        (b"\xff", "UTF-8"),
        (b"x" * (MAX_BYTES + 1), "too large"),
    ],
)
def test_a_file_that_holds_no_secret_lets_nobody_in(
    source: Source, mounted: Path, content: bytes | None, remedy: str
) -> None:
    """Secret Manager is not asked instead: who names a file wants the secret from there."""
    if content is not None:
        mounted.write_bytes(content)
    with pytest.raises(SecretUnavailable) as raised:
        source.secret.read()
    assert remedy in raised.value.detail
    assert not isinstance(raised.value, SecretOutOfReach)
    assert source.accesses == 0


def test_a_file_that_cannot_be_read_for_now(source: Source, mounted: Path) -> None:
    """An error of the volume passes, and the last known secret serves meanwhile."""
    mounted.write_text("mounted")
    assert source.secret.read() == "mounted"
    mounted.unlink()
    mounted.mkdir()
    source.now += 301
    assert source.secret.read() == "mounted"
    assert "IsADirectoryError" in source.warnings[0]
    mounted.rmdir()
    source.now += 61
    with pytest.raises(SecretUnavailable):
        source.secret.read()


def test_a_file_that_never_arrives_hinders_nobody(
    source: Source, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that hangs is given up, and does not keep the next one from what is new."""
    monkeypatch.setattr(secret_manager, "SECONDS", 0.1)
    secret = source.new_secret(source.access)
    os.mkfifo(mounted)
    with pytest.raises(SecretOutOfReach) as raised:
        secret.read()
    assert "takes too long (Stuck)" in raised.value.detail
    pipe = mounted.rename(mounted.with_name("pipe"))
    mounted.write_text("mounted")
    source.now += 1
    assert secret.read() == "mounted"
    pipe.write_text("late")


@pytest.mark.parametrize("value", ["first", None])
def test_threads_share_one_access(source: Source, value: str | None) -> None:
    """Requests that start together wait for one access, and share its failure."""
    others_ask = threading.Event()
    accesses = []

    def access(name: str) -> str:
        accesses.append(name)
        others_ask.wait()
        if value is None:
            raise SecretUnavailable("down")
        return value

    secret = source.new_secret(access)

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
    """Return a SecretManager that has credentials, as on Google Cloud."""
    credentials = Credentials(TOKEN)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    with secrets.serve() as served:
        client = functools.partial(connect, served["SANDBOX_SECRETS"])
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
        (refused(grpc.StatusCode.UNAVAILABLE), "(UNAVAILABLE)"),
        (refused(grpc.StatusCode.INTERNAL), "(INTERNAL)"),
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


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (grpc.StatusCode.UNAVAILABLE, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        (grpc.StatusCode.NOT_FOUND, False),
        (grpc.StatusCode.PERMISSION_DENIED, False),
        (grpc.StatusCode.FAILED_PRECONDITION, False),
        (grpc.StatusCode.UNAUTHENTICATED, False),
    ],
)
def test_some_failures_pass(
    manager: SecretManager, secrets: Secrets, code: grpc.StatusCode, passes: bool
) -> None:
    """Only where nothing is said of the secret itself may the last known one serve."""
    secrets.answers[NAME] = refused(code)
    with pytest.raises(SecretUnavailable) as raised:
        manager.access(NAME)
    assert isinstance(raised.value, SecretOutOfReach) == passes


def test_without_credentials_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is not Google's is told so."""

    def default(**_: object) -> None:
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
    credentials, _ = google.auth.default()
    with monkeypatch.context() as patch:
        patch.setattr(google.auth, "default", lambda **_: (credentials, None))
        with pytest.raises(SecretUnavailable):
            manager.access(NAME)
    assert manager.access(NAME) == "first"
