"""Errors, a tree by who must act: the caller, the administrator, or iconik.

Each message is one line that says what happened and what to do. `main` answers with it and with
the error's HTTP status, and logs it: it never holds a secret, a token, a header or a body.
"""

from collections.abc import Mapping
from typing import ClassVar


class PluginError(Exception):
    """The base of all errors.

    Args:
        message: what happened and what to do; the caller reads it.
        detail: what only the administrator may read, in the log.
    """

    status = 500
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class CallerError(PluginError):
    """The request cannot be served as it is."""

    status = 400


class Unauthorized(CallerError):
    """The request does not hold the shared secret."""

    status = 401
    headers: ClassVar = {"WWW-Authenticate": "x-bz-secret"}


class MethodNotAllowed(CallerError):
    """The request is not a POST."""

    status = 405
    headers: ClassVar = {"Allow": "POST"}


class BodyTooLarge(CallerError):
    """The request's body is larger than any selection."""

    status = 413


class UnknownPath(CallerError):
    """The request's path names no action."""

    status = 404


class AdministratorError(PluginError):
    """Settings, storages or roles are not what the plugin needs."""


class AccessDenied(AdministratorError):
    """The token's user may not do this to that object."""


class SecretUnavailable(AdministratorError):
    """A secret cannot be read: nobody is let in."""

    status = 503


class IconikError(PluginError):
    """iconik failed, refused or answered nonsense."""

    status = 502


class NotFound(IconikError):
    """iconik knows no such object."""


class IconikBusy(IconikError):
    """iconik limits the number of requests."""

    status = 503


class IconikTimeout(IconikError):
    """iconik did not answer in time."""

    status = 504
