"""Errors, a tree by who must act: the caller, the administrator, or iconik.

Each message is one line that says what happened and what to do. `main` answers with it and with
the error's HTTP status, and logs it: it never holds a secret, a token, a header or a body.
"""

from collections.abc import Mapping


class PluginError(Exception):
    """The base of all errors.

    Args:
        message: what happened and what to do; the caller reads it.
        detail: what only the administrator may read, in the log.

    Attributes:
        status: of the HTTP answer.
        can_retry: whether the same request may succeed later.
        headers: of the HTTP answer.
        severity: for the log.
    """

    status = 500
    can_retry = False
    headers: Mapping[str, str] = {}
    severity = "ERROR"

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail

    def for_editor(self, reference: str) -> str:
        """Return what an editor can do.

        Args:
            reference: by which the administrator finds the message in the log.
        """
        if self.can_retry:
            return "Repeat the action in some minutes"
        return f"Ask your administrator: reference {reference}"


class Fault(PluginError):
    """The plugin itself is at fault.

    Args:
        cause: what was raised; its words are not passed on, because they may quote anything.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__("The plugin has failed: see the function's log.", type(cause).__name__)
        self.cause = cause


class CallerError(PluginError):
    """The request cannot be served as it is.

    Args:
        status: of the HTTP answer, in the 400s.
        headers: of the HTTP answer.
    """

    severity = "WARNING"

    def __init__(
        self, message: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class AdministratorError(PluginError):
    """Settings, storages or the token are not what the plugin needs: nothing can be done."""


class TooManyFiles(AdministratorError):
    """The time of a request is too short for one asset."""

    status = 504


class AccessDenied(PluginError):
    """The token's user may not do this to that object: other objects may be fine."""


class SecretUnavailable(AdministratorError):
    """A secret cannot be read: nobody is let in."""

    status = 503
    can_retry = True


class IconikError(PluginError):
    """iconik refused a request or contradicted itself; the same again would end the same."""

    status = 502


class NotFound(IconikError):
    """iconik knows no such object."""


class IconikUnavailable(IconikError):
    """iconik failed, or what it sent did not arrive whole; the same again may work."""

    can_retry = True


class IconikTimeout(IconikUnavailable):
    """iconik did not answer in time."""

    status = 504


class Stale(IconikTimeout):
    """iconik has answered too slowly: what a deletion rests on is too old, so it was not sent."""


class IconikBusy(IconikError):
    """iconik refused a request as one too many, and did nothing.

    Args:
        retry_after: seconds that iconik asks to wait, if it does.
    """

    status = 503
    can_retry = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutOfTime(PluginError):
    """The time for one request is used up; what is done is done."""

    status = 504
    can_retry = True
