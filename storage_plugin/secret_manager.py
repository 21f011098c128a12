"""Secrets: from the environment, else from Google Secret Manager, and then kept for a while.

https://cloud.google.com/secret-manager/docs/access-secret-version
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING

from storage_plugin.errors import SecretUnavailable

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

TIMEOUT = 3.0
"""Seconds for one call: iconik waits some 10 s, the library by itself 60 s and then tries again."""

PATIENCE = 4.0
"""Seconds for all, for the library also imports much, and looks for credentials without limit."""

KEEP = 300.0
"""Seconds for which a secret is kept."""

SHARED_SECRET = ("bz-shared-secret", "BZ_SHARED_SECRET")
ICONIK_TOKEN = ("iconik-token", "ICONIK_TOKEN")
"""The two secrets: name in Secret Manager, and environment variable."""

UNUSABLE = (
    "Secret Manager cannot be used now ({}): try again, and outside Google Cloud log in with "
    "gcloud auth application-default login."
)
"""What the administrator is told where nothing better is known than an error's name."""


class SecretManager:
    """Google Secret Manager. Its library is slow to import, so that waits for the first use."""

    def __init__(self) -> None:
        self._client: SecretManagerServiceClient | None = None
        self._project = ""
        self._pool = futures.ThreadPoolExecutor(1)

    def access(self, name: str) -> str:
        """Return the latest version of a secret.

        Raises:
            SecretUnavailable: the detail says why it cannot be read and what to do.
        """
        access = self._pool.submit(self._access, name)
        try:
            return access.result(PATIENCE)
        except futures.TimeoutError:
            access.cancel()
            raise unavailable(name, UNUSABLE.format("TimeoutError")) from None

    def _access(self, name: str) -> str:
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        try:
            client = self._connect()
            version = client.secret_version_path(self._project, name, "latest")
            payload = client.access_secret_version(
                name=version, timeout=TIMEOUT, retry=None
            ).payload
            if payload.data_crc32c == crc32c(payload.data):
                return payload.data.decode()
            why = "It arrived damaged: try again."
        except exceptions.NotFound:
            why = f"Create it in the project {self._project}, with one version."
        except exceptions.PermissionDenied:
            why = "Grant roles/secretmanager.secretAccessor on it to the account that reads it."
        except exceptions.FailedPrecondition:
            why = "Its latest version is disabled or destroyed: enable it or add another."
        except UnicodeDecodeError:
            why = "It is no text in UTF-8: add a version that is."
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            why = UNUSABLE.format(type(error).__name__)
        raise unavailable(name, why)

    def _connect(self) -> "SecretManagerServiceClient":
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.secretmanager import SecretManagerServiceClient

        if self._client is None:
            credentials, project = google.auth.default()
            if not project:  # The metadata server failed meanwhile.
                raise GoogleAuthError("no project")  # type: ignore[no-untyped-call]
            self._project = project
            self._client = SecretManagerServiceClient(credentials=credentials)
        return self._client


class Secret:
    """One secret, shared by the threads of an instance.

    Args:
        name: of the secret in Secret Manager.
        variable: of the environment; where it is set, it wins.
        access: returns a secret by its name, or raises SecretUnavailable.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        variable: str,
        access: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._variable = variable
        self._access = access
        self._clock = clock
        self._lock = threading.Lock()
        self._kept = ("", float("-inf"))
        self._vain: tuple[SecretUnavailable | None, float] = (None, float("-inf"))

    @property
    def source(self) -> str:
        """Where the secret is read from."""
        return (
            f"the variable {self._variable}" if self._variable in os.environ else "Secret Manager"
        )

    def read(self, max_age: float = KEEP, pause: float = 0) -> str:
        """Return the secret, without one trailing newline.

        Args:
            max_age: seconds after which a kept secret is accessed again.
            pause: seconds in which none is tried after one that failed or, made with a pause
                too, brought nothing new.

        Raises:
            SecretUnavailable: it cannot be read, or is empty.
        """
        value = os.environ.get(self._variable)
        if value is None:
            value = self._read(max_age, pause)
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise unavailable(self.name, f"It is empty: set it, here or in {self._variable}.")
        return value

    def _read(self, max_age: float, pause: float) -> str:
        asked = self._clock()
        value, accessed = self._kept
        if accessed >= asked - max_age:
            return value
        with self._lock:  # What another thread did while this one waited is taken over.
            value, accessed = self._kept
            failure, tried = self._vain
            if accessed >= asked - max_age:
                return value
            if tried >= asked - pause:
                if failure:
                    raise SecretUnavailable(str(failure), failure.detail)
                return value
            begun = self._clock()  # A version that is added from now on may not be seen.
            try:
                self._kept = (self._access(self.name), begun)
            except SecretUnavailable as error:
                self._vain = (error, self._clock())
                raise
            if pause and self._kept[0] == value:
                self._vain = (None, begun)
            return self._kept[0]


def unavailable(name: str, why: str) -> SecretUnavailable:
    """Return the error that tells a stranger nothing, and the administrator all."""
    return SecretUnavailable(f"The secret {name} cannot be read: see the function's log.", why)


def crc32c(data: bytes) -> int:
    """Return the checksum that Secret Manager sends along, RFC 3720's CRC-32C.

    A secret is short: the 0.4 ms for 512 bytes are less than one more library would take.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
