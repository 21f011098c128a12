"""Errors, as a tree by who must act: the caller, the administrator, or iconik.

Each message is one line that says what happened and what to do, without a secret, token, header or
body. `main` logs it, and sends it with the error's HTTP status.
"""

from collections.abc import Mapping


class PluginError(Exception):
    """The base of all errors: a message for the caller, and a detail for the log only."""

    status = 500  # Of the HTTP answer.
    can_retry = False  # Whether the same request may succeed later.
    severity = "ERROR"

    def __init__(
        self, message: str, detail: str = "", *, status: int = 0, headers: Mapping[str, str] = {}
    ) -> None:
        super().__init__(message)
        self.detail, self.headers = detail, headers
        self.status = status or self.status

    def for_editor(self, reference: str) -> str:
        """Return the next step for an editor, with the log's reference for the administrator."""
        if self.can_retry:
            return "Repeat the action in a few minutes"
        return f"Ask your administrator: reference {reference}"


class Fault(PluginError):
    """The plugin itself is at fault. The text of its cause may quote anything, so it is hidden."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("The plugin has failed: see the function's log.", type(cause).__name__)
        self.cause = cause


class CallerError(PluginError):
    """The request cannot be served as it is. The message says what an editor can do."""

    status, severity = 400, "WARNING"

    def for_editor(self, reference: str) -> str:  # noqa: ARG002, D102
        return str(self).removesuffix(".")


class AdministratorError(PluginError):
    """The settings, the storages or the token are wrong, so nothing can be done."""


class SecretUnavailable(AdministratorError):
    """A secret cannot be read. The answer names the secret, and only the log says why."""

    status, can_retry = 503, True


class QueueUnavailable(PluginError):
    """Cloud Tasks, or the server with Google's certificates, cannot be reached."""

    status, can_retry = 503, True


class AccessDenied(PluginError):
    """The token's user may not do this with this object. Other objects may be fine."""


class IconikError(PluginError):
    """iconik refused a request or contradicted itself. A repeat would have the same result."""

    status = 502


class BadRequest(IconikError):
    """iconik calls a request invalid. At some endpoints, that means an unknown object."""


class NotFound(IconikError):
    """iconik does not know the object."""


class IconikUnavailable(IconikError):
    """iconik failed, was too slow, or its answer arrived incomplete. A repeat may work."""

    can_retry = True


class Stale(IconikUnavailable):
    """The evidence became too old while a request waited for its turn, so it was not sent."""

    status = 504


class IconikBusy(IconikError):
    """iconik refused a request because of its rate limit, and did nothing."""

    status, can_retry = 503, True


class OutOfTime(PluginError):
    """The time for one request is up. Finished work stays finished."""

    status, can_retry = 504, True
