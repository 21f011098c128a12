"""Secrets: from the environment, else from Google Secret Manager, and then kept for a while.

https://cloud.google.com/secret-manager/docs/access-secret-version
"""

import functools
import os
import time
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING

from storage_plugin.errors import SecretUnavailable
from storage_plugin.kept import Kept

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

CALL_TIMEOUT = 3.0
"""Seconds for one call: iconik waits some 10 s, the library by itself 60 s and then tries again."""

ACCESS_TIMEOUT = 4.0
"""Seconds in all, because the library imports much and looks for credentials without a limit."""

SECONDS_KEPT = 300.0
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
            return access.result(ACCESS_TIMEOUT)
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
                name=version, timeout=CALL_TIMEOUT, retry=None
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
        *,
        access: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._variable = variable
        self._kept = Kept(functools.partial(access, name), SECONDS_KEPT, clock)

    @property
    def source(self) -> str:
        """Where the secret is read from."""
        return (
            f"the variable {self._variable}" if self._variable in os.environ else "Secret Manager"
        )

    def read(self, max_age: float | None = None, pause: float = 0) -> str:
        """Return the secret, without one trailing newline.

        Args:
            max_age: seconds after which a kept secret is accessed again.
            pause: see `Kept.read`.

        Raises:
            SecretUnavailable: it cannot be read, or is empty.
        """
        value = os.environ.get(self._variable)
        if value is None:
            value = self._kept.read(max_age, pause)
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise unavailable(self.name, f"It is empty: set it, here or in {self._variable}.")
        return value


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
