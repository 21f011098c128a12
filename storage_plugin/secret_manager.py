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
from typing import Any

from storage_plugin.errors import SecretUnavailable
from storage_plugin.logs import Log

# The name in Secret Manager, and the environment variable that takes precedence.
SHARED_SECRET = ("bz-shared-secret", "BZ_SHARED_SECRET")
ICONIK_TOKEN = ("iconik-token", "ICONIK_TOKEN")
MAX_AGE = 300.0  # Seconds for which a secret is used.
GRACE = 3600.0  # Further seconds for which a secret is used while it cannot be read again.
PAUSE = 10.0  # Seconds after an early or failed access in which a known secret is not read again.
LONGEST_CALL = 4.0  # Seconds for a call to Google.
MOMENT = 1.0  # Seconds after a failed access in which no secret is read.
REMEDIES = {  # Of failures that last, by the text of GoogleError.
    "NotFound": "Create it in the function's project (GOOGLE_CLOUD_PROJECT), with one version.",
    "PermissionDenied": "Grant roles/secretmanager.secretAccessor to the account that reads it.",
    "FailedPrecondition": "Its latest version is disabled or destroyed: enable it, or add one.",
    "UnicodeDecodeError": "It is not UTF-8 text: add a version that is.",
}
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class GoogleError(Exception):
    """A call to Google failed. The text is the name of Google's error."""


class Secret:
    """One secret, shared by the threads of an instance."""

    _away_until = -math.inf  # For all secrets: a request needs both, and must not wait twice.

    def __init__(self, name: str, variable: str) -> None:
        self._name, self._variable = name, variable
        self._message = f"The secret {name} cannot be read: see the function's log."
        self._lock = threading.Lock()
        self._value, self._read, self._paused_until = "", -math.inf, -math.inf

    def read(self, max_age: float = MAX_AGE) -> str:
        """Return the secret, without white space or a byte order mark around it.

        A secret that is older than `max_age` seconds is read again; 0 means that somebody refused
        it, or sent another one, and has it read again at most every ten seconds. Raises
        SecretUnavailable if it cannot be read, or is empty.
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
        raise SecretUnavailable(self._message, f"It is empty: store it, or set {self._variable}.")

    def _renew(self, max_age: float) -> None:
        """Read the secret again if it is still too old; this thread holds the lock."""
        now, is_early = time.monotonic(), max_age < MAX_AGE
        is_known = now <= self._read + MAX_AGE + GRACE
        if is_known and now < max(self._read + max_age, self._paused_until, Secret._away_until):
            return
        if now < Secret._away_until:
            raise SecretUnavailable(self._message, "Secret Manager has just failed: try again.")
        if is_early:
            self._paused_until = now + PAUSE
        try:
            self._value, self._read = access(self._name), now
        except GoogleError as failure:
            if remedy := REMEDIES.get(str(failure)):
                self._read = -math.inf
                raise SecretUnavailable(self._message, remedy) from None
            Secret._away_until, self._paused_until = time.monotonic() + MOMENT, now + PAUSE
            why = f"Secret Manager is unavailable ({failure}): try again."
            if is_early or not is_known:
                raise SecretUnavailable(self._message, why) from None
            Log().write("WARNING", f"{self._message} The last one is used for up to an hour. {why}")


def access(name: str) -> str:
    """Return the latest version of a secret in Secret Manager, or raise GoogleError."""

    def ask(seconds: float) -> str:
        import google_crc32c
        from google.api_core.exceptions import DataLoss
        from google.cloud.secretmanager import SecretManagerServiceClient

        credentials, project = google_credentials()
        path = f"projects/{project}/secrets/{name}/versions/latest"
        with SecretManagerServiceClient(credentials=credentials) as client:
            payload = client.access_secret_version(name=path, timeout=seconds, retry=None).payload
        if google_crc32c.value(payload.data) != payload.data_crc32c:
            raise DataLoss("The checksum differs.")
        return payload.data.decode()

    return call_google(ask)


def call_google(call: Callable[[float], str]) -> str:
    """Call a service within some seconds, and once more if it is away or its answer is damaged.

    Each call needs a new client, because the network silently drops connections. gRPC's time limit
    includes the time for a token. Raises GoogleError if the call fails.
    """
    from google.api_core.exceptions import DataLoss, GoogleAPICallError, ServiceUnavailable
    from google.auth.exceptions import GoogleAuthError

    ends = time.monotonic() + LONGEST_CALL
    try:
        with suppress(DataLoss, ServiceUnavailable):
            return call(LONGEST_CALL)
        return call(ends - time.monotonic())
    except (GoogleAPICallError, GoogleAuthError, UnicodeDecodeError) as error:
        raise GoogleError(type(error).__name__) from None


@functools.cache
def google_credentials() -> tuple[Any, str]:
    """Return this machine's credentials, and the id of the Google Cloud project, both once."""
    import google.auth.compute_engine

    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    if project and "K_SERVICE" in os.environ:  # On Google: without asking the metadata server.
        return google.auth.compute_engine.Credentials(scopes=SCOPES), project
    credentials, project = google.auth.default(scopes=SCOPES)
    if not project:  # The metadata server failed meanwhile.
        raise GoogleError("no GOOGLE_CLOUD_PROJECT")
    return credentials, project
