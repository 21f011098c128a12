"""Secrets from the environment, a mounted file or Google Secret Manager.

https://cloud.google.com/secret-manager/docs/access-secret-version
https://cloud.google.com/run/docs/configuring/services/secrets
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from storage_plugin.errors import SecretUnavailable
from storage_plugin.google_client import SECONDS, GoogleClient, GoogleError, TimeLimit
from storage_plugin.kept import Kept

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.secretmanager import SecretManagerServiceClient

SECONDS_KEPT = 300.0
"""Seconds for which a secret is kept."""

GRACE = 3600.0
"""Further seconds for which a kept secret is used while it cannot be read again."""

RETRY = 60.0
"""Seconds between attempts, and between warnings, while a secret cannot be read."""

MAX_BYTES = 65536
"""The largest secret, in bytes. https://cloud.google.com/secret-manager/quotas#content_limits"""

SHARED_SECRET = ("bz-shared-secret", "BZ_SHARED_SECRET")
ICONIK_TOKEN = ("iconik-token", "ICONIK_TOKEN")
"""The two secrets: the name in Secret Manager, and the environment variable."""

REMEDIES = {
    "NOT_FOUND": "Create it in the project {project}, with one version.",
    "PERMISSION_DENIED": (
        "Grant roles/secretmanager.secretAccessor on it to the account that reads it."
    ),
    "FAILED_PRECONDITION": (
        "Its latest version is disabled or destroyed: enable it or add another."
    ),
    "TooManyStuck": (
        "The plugin does not call Secret Manager, because earlier calls still wait for an answer: "
        "try again later, or deploy again."
    ),
}
"""Remedies for the administrator, by the code of the error."""

UNUSABLE = (
    "Secret Manager is unavailable ({code}): try again. Outside Google Cloud, log in with "
    "gcloud auth application-default login."
)
"""The remedy for all other codes."""


class SecretOutOfReach(SecretUnavailable):
    """A secret temporarily cannot be read; nothing suggests that it has changed."""


class SecretManager:
    """Google Secret Manager."""

    def __init__(self) -> None:
        self._client = GoogleClient(_connect)

    def access(self, name: str) -> str:
        """Return the latest version of a secret.

        Raises:
            SecretUnavailable: the secret cannot be read; the detail says why and what to do.
        """

        def access(client: "SecretManagerServiceClient", seconds: float) -> bytes:
            version = client.secret_version_path(self._client.project, name, "latest")
            # TLS protects the data in transit, so the checksum is not verified.
            return client.access_secret_version(
                name=version, timeout=seconds, retry=None
            ).payload.data

        try:
            return self._client.call(access).decode()
        except UnicodeDecodeError:
            raise unavailable(name, "It is not UTF-8 text: add a version that is.") from None
        except GoogleError as error:
            why = REMEDIES.get(error.code, UNUSABLE)
            why = why.format(code=error.code, project=self._client.project)
            raise unavailable(name, why, error) from None


def _connect(credentials: "Credentials") -> "SecretManagerServiceClient":
    from google.cloud.secretmanager import SecretManagerServiceClient

    return SecretManagerServiceClient(credentials=credentials)


class Secret:
    """One secret, shared by the threads of an instance.

    Args:
        name: the secret's name in Secret Manager.
        variable: an environment variable that takes precedence if it is set. Next comes the file
            that the variable with `_FILE` appended names.
        access: returns a secret by its name, or raises SecretUnavailable.
        warn: logs a sentence for the administrator.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        variable: str,
        *,
        access: Callable[[str], str],
        warn: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._variable = variable
        self._access = access
        self._warn = warn
        self._clock = clock
        self._kept = Kept(self._fetch, SECONDS_KEPT, clock)
        self._limit = TimeLimit(SECONDS)
        self._warned = float("-inf")
        self._flaw = ""

    @property
    def source(self) -> str:
        """Where the secret is read from."""
        if self._variable in os.environ:
            return f"the variable {self._variable}"
        path = self._path
        return "Secret Manager" if path is None else f"the file {path}"

    def read(self, max_age: float | None = None, pause: float = 0) -> str:
        """Return the secret, without one trailing newline.

        Args:
            max_age: seconds after which a kept secret is read again.
            pause: see `Kept.read`.

        Raises:
            SecretUnavailable: the secret cannot be read, or is empty.
        """
        value = os.environ.get(self._variable)
        if value is None:
            value = self._read_kept() if max_age is None else self._kept.read(max_age, pause)
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise unavailable(self.name, f"It is empty: set it, here or in {self._variable}.")
        flaw, known_flaw = find_flaw(value), self._flaw
        self._flaw = flaw
        if flaw not in ("", known_flaw):
            self._warn(f"The secret {self.name} {flaw}, which counts as part of the secret.")
        return value

    @property
    def _path(self) -> str | None:
        return os.environ.get(f"{self._variable}_FILE")

    def _read_kept(self) -> str:
        """Return the secret, or the last known one while it cannot be read again."""
        try:
            return self._kept.read(pause=0 if self._last is None else RETRY)
        except SecretOutOfReach:
            last = self._last
            if last is None:
                raise
            return last

    @property
    def _last(self) -> str | None:
        return self._kept.last(SECONDS_KEPT + GRACE)

    def _fetch(self) -> str:
        """Read the secret; `Kept` calls this from one thread at a time."""
        path = self._path
        try:
            return self._access(self.name) if path is None else self._read_file(path)
        except SecretOutOfReach as error:
            now = self._clock()
            if now - self._warned >= RETRY and self._last is not None:
                self._warned = now
                self._warn(f"{error} The last known one is used for up to an hour. {error.detail}")
            raise
        except SecretUnavailable:
            self._kept.forget()
            raise

    def _read_file(self, path: str) -> str:
        """Return the secret in a mounted file. Google fetches it each time the file is read."""

        def read() -> bytes:
            with Path(path).open("rb") as file:
                return file.read(MAX_BYTES + 1)

        cause = None
        try:
            data = self._limit.run(read)
            if len(data) <= MAX_BYTES:
                return data.decode()
            why = f"The file {path} is too large for a secret: name another."
        except UnicodeDecodeError:
            why = f"The file {path} is not UTF-8 text: add a version that is."
        except (FileNotFoundError, PermissionError) as error:
            why = (
                f"The file {path} cannot be read ({type(error).__name__}): mount the secret there."
            )
        except OSError as error:
            cause = GoogleError(type(error).__name__, passes=True)
            why = f"The file {path} cannot be read now ({cause.code}): try again."
        except GoogleError as error:
            cause = error
            why = f"Reading the file {path} takes too long ({cause.code}): try again."
        raise unavailable(self.name, why, cause)


def find_flaw(value: str) -> str:
    """Return a predicate that describes an accident at the ends of a secret; empty: none."""
    if value.startswith("\ufeff"):
        return "begins with a byte order mark"
    return "has white space around it" if value != value.strip() else ""


def unavailable(name: str, why: str, cause: GoogleError | None = None) -> SecretUnavailable:
    """Return an error that reveals nothing to strangers.

    Args:
        name: the secret's name.
        why: why it cannot be read and what to do, for the administrator.
        cause: the error of Google's service; None: the secret itself is unusable.
    """
    kind = SecretOutOfReach if cause and cause.passes else SecretUnavailable
    error = kind(f"The secret {name} cannot be read: see the function's log.", why)
    if cause:
        error.severity = cause.severity
    return error
