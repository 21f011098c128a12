"""Secrets: how long they are kept, and how they are read from each source."""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
UNREADABLE = f"The secret {NAME} cannot be read: see the function's log."
AWAY = SecretOutOfReach("away", "Secret Manager is away.")
GONE = SecretUnavailable("gone")


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore secrets in the developer's own environment."""
    for variable in (VARIABLE, FILE):
        monkeypatch.delenv(variable, raising=False)


class Source:
    """A secret, and the Secret Manager and the clock that a test turns.

    Attributes:
        value: of the secret, or why it cannot be read.
        meanwhile: what happens while it is read.
    """

    def __init__(self) -> None:
        self.now, self.accesses = 1000.0, 0
        self.value: str | SecretUnavailable = "first"
        self.meanwhile: Callable[[], object] = lambda: None
        self.warnings: list[str] = []
        self.secret = Secret(
            NAME,
            VARIABLE,
            access=self.access,
            warn=self.warnings.append,
            clock=lambda: self.now,
        )

    def access(self, name: str) -> str:
        """Return the secret, or fail."""
        assert name == NAME
        self.accesses += 1
        value = self.value
        self.meanwhile()
        if isinstance(value, SecretUnavailable):
            raise value
        return value

    def read(self, max_age: float | None = None, pause: float = 0) -> str:
        """Read the secret; return it, or the message of the error instead."""
        try:
            return self.secret.read(max_age, pause)
        except SecretUnavailable as error:
            return str(error)

    def check(self) -> str:
        """Read the secret as after a mismatch."""
        return self.read(max_age=0, pause=10)


@pytest.fixture
def source() -> Source:
    """Return a source that works."""
    return Source()


@pytest.fixture
def away(source: Source) -> Source:
    """Return a source that is away when the kept secret becomes too old."""
    source.read()
    source.value = AWAY
    source.now += 301
    return source


def test_a_secret_is_kept_for_five_minutes(source: Source) -> None:
    """One access serves all requests of five minutes; the next access sees a new secret."""
    assert source.read() == "first"
    source.value = "second"
    source.now += 300
    assert source.read() == "first"
    source.now += 1
    assert (source.read(), source.accesses) == ("second", 2)


def test_a_mismatch_reads_again_at_once(source: Source) -> None:
    """A rotated secret is valid at its first use, however often it is rotated."""
    assert source.read() == "first"
    for value in ("second", "third"):
        source.value = value
        source.now += 0.1
        assert source.check() == value
    assert source.accesses == 3


@pytest.mark.parametrize("value", ["first", AWAY], ids=["works", "away"])
def test_a_flood_of_wrong_secrets_costs_nothing(
    source: Source, value: str | SecretUnavailable
) -> None:
    """Wrong secrets cause one access in ten seconds, and valid ones cause none."""
    source.read()
    source.value = value
    for _ in range(100):
        source.now += 0.1
        assert source.check() == str(value)
        assert source.read() == "first"
    assert source.accesses == 2
    source.value = "second"
    source.now += 0.2
    assert source.check() == "second"


def test_age_counts_from_the_begin_of_the_access(source: Source) -> None:
    """A secret that is rotated during an access is read again if its age matters."""

    def rotate() -> None:
        source.value = "second"
        source.now += 1

    source.meanwhile = rotate
    assert source.read() == "first"
    assert source.read(max_age=0.5) == "second"


def test_the_last_known_secret_serves_for_an_hour_more(away: Source) -> None:
    """While Secret Manager is away, the known secret is valid, with one warning a minute."""
    for _ in range(55 * 6):
        assert away.read() == "first"
        away.now += 10.5
    assert away.accesses == 1 + 55
    warning = "away The last known one is used for up to an hour. Secret Manager is away."
    assert away.warnings == [warning] * 55
    away.now = 1000 + 300 + 3600 + 1
    assert away.read() == "away"
    away.now += 1
    away.value = "back"
    assert away.read() == "back"


def test_a_flood_does_not_warn_more_often(away: Source) -> None:
    """While Secret Manager is away, wrong secrets cause no more accesses and warnings."""
    for _ in range(600):
        assert (away.read(), away.check()) == ("first", "away")
        away.now += 0.1
    assert (away.accesses, len(away.warnings)) == (1 + 6, 1)


def test_what_is_new_is_seen_though_the_last_known_secret_serves(away: Source) -> None:
    """A secret that is rotated after Secret Manager is back is valid at its first use."""
    assert away.read() == "first"
    away.value = "second"
    away.now += 11
    assert (away.read(), away.check(), away.read()) == ("first", "second", "second")


@pytest.mark.parametrize(("seconds", "is_check"), [(301, False), (10, True)])
def test_a_secret_that_is_gone_serves_no_longer(
    source: Source, seconds: float, is_check: bool
) -> None:
    """A missing, denied or disabled secret is refused at once, and while Secret Manager is away."""
    source.read()
    source.value = GONE
    source.now += seconds
    assert (source.check() if is_check else source.read()) == "gone"
    source.value = AWAY
    source.now += 1
    assert source.read() == "away"
    assert source.warnings == []
    source.now += 1
    source.value = "back"
    assert source.read() == "back"


@pytest.mark.parametrize("empty", ["", "\n"])
def test_an_empty_secret_is_an_error(
    source: Source, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    """An empty secret lets nobody in, wherever it comes from."""
    source.value = empty
    assert source.read() == UNREADABLE
    monkeypatch.setenv(VARIABLE, empty)
    assert source.read() == UNREADABLE


@pytest.mark.parametrize(
    ("stored", "value", "flaw"),
    [
        ("a b", "a b", ""),
        ("a\n", "a", ""),
        ("a\r\n", "a", ""),
        ("a\n\n", "a\n", "has white space around it"),
        (" a ", " a ", "has white space around it"),
        ("a\t", "a\t", "has white space around it"),
        ("\ufeffa", "\ufeffa", "begins with a byte order mark"),
    ],
)
def test_a_secret_is_taken_as_it_is(source: Source, stored: str, value: str, flaw: str) -> None:
    """One newline is stripped; other oddities at the ends are only logged, once."""
    source.value = stored
    assert [source.read() for _ in range(3)] == [value] * 3
    expected = [f"The secret {NAME} {flaw}, which counts as part of the secret."] if flaw else []
    assert source.warnings == expected
    assert find_flaw(value) == flaw


@pytest.mark.parametrize("value", ["first", AWAY])
def test_threads_share_one_access(source: Source, value: str | SecretUnavailable) -> None:
    """Requests that start together wait for one access, and share its failure."""
    others_ask = threading.Event()
    source.value, source.meanwhile = value, others_ask.wait
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(source.read) for _ in range(8)]
        others_ask.set()
    assert [read.result() for read in reads] == [str(value)] * 8
    assert source.accesses == 1


# Secrets in the environment and in mounted files


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the shared secret is in."""
    path = tmp_path / NAME
    monkeypatch.setenv(FILE, str(path))
    return path


def test_a_file_is_read_like_secret_manager(source: Source, mounted: Path) -> None:
    """A mounted secret is kept, and read again on a mismatch."""
    mounted.write_bytes(b"mounted\r\n")
    assert source.secret.source == f"the file {mounted}"
    assert source.read() == "mounted"
    mounted.write_text("rotated")
    source.now += 1
    assert (source.read(), source.check()) == ("mounted", "rotated")
    source.now += 301
    mounted.write_text("rotated again")
    assert source.read() == "rotated again"
    assert source.accesses == 0


def test_the_variable_wins(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the secret itself in the environment, neither Secret Manager nor a file is read."""
    monkeypatch.setenv(VARIABLE, "local\n")
    assert (source.read(), source.accesses) == ("local", 0)
    monkeypatch.setenv(FILE, "/nowhere")
    assert (source.read(), source.secret.source) == ("local", f"the variable {VARIABLE}")


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (None, "FileNotFoundError"),
        (b"", "It is empty"),
        (b"\xff", "UTF-8"),
        (b"x" * (MAX_BYTES + 1), "too large"),
    ],
    ids=["missing", "empty", "not UTF-8", "too large"],
)
def test_a_file_that_holds_no_secret_lets_nobody_in(
    source: Source, mounted: Path, content: bytes | None, remedy: str
) -> None:
    """Secret Manager does not replace a file that the administrator has named."""
    if content is not None:
        mounted.write_bytes(content)
    with pytest.raises(SecretUnavailable) as raised:
        source.secret.read()
    assert remedy in raised.value.detail
    assert not isinstance(raised.value, SecretOutOfReach)
    assert source.accesses == 0


def test_a_file_that_cannot_be_read_for_now(source: Source, mounted: Path) -> None:
    """An error of the volume may pass; until then, the last known secret is valid."""
    mounted.write_text("mounted")
    assert source.read() == "mounted"
    mounted.unlink()
    mounted.mkdir()
    source.now += 301
    assert source.read() == "mounted"
    assert "IsADirectoryError" in source.warnings[0]
    mounted.rmdir()
    source.now += 61
    assert source.read() == UNREADABLE


def test_a_file_that_never_arrives_hinders_nobody(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that hangs fails, and the next read sees the new file."""
    monkeypatch.setattr(secret_manager, "SECONDS", 0.1)
    source = Source()
    os.mkfifo(mounted)
    with pytest.raises(SecretOutOfReach) as raised:
        source.secret.read()
    assert "takes too long (Stuck)" in raised.value.detail
    pipe = mounted.rename(mounted.with_name("pipe"))
    mounted.write_text("mounted")
    source.now += 1
    assert source.read() == "mounted"
    pipe.write_text("late")


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
    ("answer", "passes", "remedy"),
    [
        (refused(grpc.StatusCode.NOT_FOUND), False, "Create it in the project project"),
        (refused(grpc.StatusCode.PERMISSION_DENIED), False, "roles/secretmanager.secretAccessor"),
        (refused(grpc.StatusCode.FAILED_PRECONDITION), False, "disabled or destroyed"),
        (refused(grpc.StatusCode.UNAUTHENTICATED), False, "(UNAUTHENTICATED)"),
        (refused(grpc.StatusCode.INTERNAL), False, "(INTERNAL)"),
        (refused(grpc.StatusCode.UNAVAILABLE), True, "(UNAVAILABLE)"),
        (refused(grpc.StatusCode.DEADLINE_EXCEEDED), True, "(DEADLINE_EXCEEDED)"),
        (refused(grpc.StatusCode.RESOURCE_EXHAUSTED), True, "(RESOURCE_EXHAUSTED)"),
        (found(b"\xff"), False, "UTF-8"),
    ],
)
def test_failures_are_told_to_the_administrator_alone(
    manager: SecretManager, secrets: Secrets, answer: Answer, passes: bool, remedy: str
) -> None:
    """The log names the remedy; the caller, who may be a stranger, gets no details.

    Only where nothing is said of the secret itself does a failure pass, and the last known secret
    serve meanwhile.
    """
    secrets.answers[NAME] = answer
    with pytest.raises(SecretUnavailable) as raised:
        manager.access(NAME)
    assert remedy in raised.value.detail
    assert str(raised.value) == UNREADABLE
    assert isinstance(raised.value, SecretOutOfReach) == passes
