"""The two secrets, from a variable or Google Secret Manager, and calls to Google's services.

https://cloud.google.com/secret-manager/docs/access-secret-version
"""

import functools
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from storage_plugin.errors import SecretUnavailable
from storage_plugin.logs import Log

SHARED_SECRET = ("bz-shared-secret", "BZ_SHARED_SECRET")
ICONIK_TOKEN = ("iconik-token", "ICONIK_TOKEN")
"""The two secrets: the name in Secret Manager, and the environment variable."""

MAX_AGE, GRACE = 300.0, 3600.0
"""Seconds for which a secret is used, and further seconds while it cannot be read again."""

PAUSE, FAILURE_PAUSE = 10.0, 60.0
"""Seconds for which a known secret is not read after an early access, and after a failed one."""

SECONDS, MOMENT = 4.0, 1.0
"""Seconds for a call to Google, and after a failed one until the next access to any secret."""

REMEDIES = {
    "NOT_FOUND": "Create it in the function's project (GOOGLE_CLOUD_PROJECT), with one version.",
    "PERMISSION_DENIED": "Grant roles/secretmanager.secretAccessor to the account that reads it.",
    "FAILED_PRECONDITION": "Its latest version is disabled or destroyed: enable it, or add one.",
    "UnicodeDecodeError": "It is not UTF-8 text: add a version that is.",
}
"""Remedies for lasting failures, by the text of GoogleError."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

T = TypeVar("T")


class GoogleError(Exception):
    """A call to Google failed. The text is the name of gRPC's status, or of the error.

    https://grpc.io/docs/guides/status-codes/
    """


class Secret:
    """One secret, shared by the threads of an instance.

    Args:
        name: the secret's name in Secret Manager.
        variable: an environment variable that takes precedence if it is set.
        access: returns the latest version of a secret by its name, or raises GoogleError.
    """

    def __init__(self, name: str, variable: str, *, access: Callable[[str], str]) -> None:
        self._name, self._variable, self._access = name, variable, access
        self._lock = threading.Lock()
        self._value, self._read, self._paused_until = "", -math.inf, -math.inf

    def read(self, max_age: float = MAX_AGE) -> str:
        """Return the secret, without white space or a byte order mark around it.

        Args:
            max_age: seconds after which a known secret is read again; 0 if somebody refused it, or
                sent another one. Such an early access is made at most every ten seconds.

        Raises:
            SecretUnavailable: the secret cannot be read, or is empty.
        """
        value = os.environ.get(self._variable)
        if value is None:
            if time.monotonic() - self._read > max_age:
                with self._lock:
                    self._renew(max_age)
            value = self._value
        if stripped := value.removeprefix("\ufeff").strip():
            return stripped
        self._read = -math.inf
        raise self._error(f"It is empty: set it, here or in {self._variable}.")

    def _renew(self, max_age: float) -> None:
        """Read the secret again if it is still too old; this thread holds the lock."""
        now = time.monotonic()
        age, is_early = now - self._read, max_age < MAX_AGE
        is_known = age <= MAX_AGE + GRACE
        if age <= max_age or (is_known and now < self._paused_until):
            return
        if is_early:
            self._paused_until = now + PAUSE
        try:
            self._value, self._read = self._access(self._name), now
        except GoogleError as failure:
            if remedy := REMEDIES.get(str(failure)):
                self._read = -math.inf
                raise self._error(remedy) from None
            error = self._error(
                f"Secret Manager is unavailable ({failure}): try again. Outside Google Cloud, log "
                "in with gcloud auth application-default login."
            )
            if is_early or not is_known:
                raise error from None
            self._paused_until = now + FAILURE_PAUSE
            text = f"{error} The last known one is used for up to an hour. {error.detail}"
            Log().write("WARNING", text)

    def _error(self, why: str) -> SecretUnavailable:
        message = f"The secret {self._name} cannot be read: see the function's log."
        return SecretUnavailable(message, why)


class SecretManager:
    """Google Secret Manager. After a temporary failure, it is not asked again for a moment.

    A request needs both secrets, and may have to wait for another request's access, but no request
    waits twice while Google is away.
    """

    def __init__(self) -> None:
        self._away_until = -math.inf

    def access(self, name: str) -> str:
        """Return the latest version of a secret, or raise GoogleError."""

        def ask(seconds: float) -> str:
            import google_crc32c
            from google.api_core.exceptions import DataLoss
            from google.cloud.secretmanager import SecretManagerServiceClient

            credentials, project = google_credentials()
            path = f"projects/{project}/secrets/{name}/versions/latest"
            with SecretManagerServiceClient(credentials=credentials) as client:
                answer = client.access_secret_version(name=path, timeout=seconds, retry=None)
            if google_crc32c.value(answer.payload.data) != answer.payload.data_crc32c:
                raise DataLoss("The checksum differs.")
            return answer.payload.data.decode()

        if time.monotonic() < self._away_until:
            raise GoogleError("a moment ago")
        try:
            return call_google(ask)
        except GoogleError as error:
            if str(error) not in REMEDIES:
                self._away_until = time.monotonic() + MOMENT
            raise


def call_google(call: Callable[[float], T]) -> T:
    """Call a service, and once more if it is unavailable or its answer is damaged.

    Args:
        call: makes the call within some seconds. It uses a new client, because the network silently
            drops connections; gRPC's time limit includes the time for a token.

    Raises:
        GoogleError: the call failed.
    """
    from google.api_core.exceptions import DataLoss, GoogleAPICallError, ServiceUnavailable
    from google.auth.exceptions import GoogleAuthError

    ends = time.monotonic() + SECONDS
    try:
        with suppress(DataLoss, ServiceUnavailable):
            return call(SECONDS)
        return call(ends - time.monotonic())
    except (GoogleAPICallError, GoogleAuthError, UnicodeDecodeError) as error:
        status = getattr(error, "grpc_status_code", None)
        raise GoogleError(status.name if status else type(error).__name__) from None


@functools.cache
def google_credentials() -> tuple[Any, str]:
    """Return this machine's credentials, and the id of the Google Cloud project, both once."""
    import google.auth
    from google.auth import compute_engine

    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    if project and "K_SERVICE" in os.environ:  # On Google: without asking the metadata server.
        return compute_engine.Credentials(scopes=SCOPES), project
    credentials, project = google.auth.default(scopes=SCOPES)
    if not project:  # The metadata server failed meanwhile.
        raise GoogleError("no project")
    return credentials, project
