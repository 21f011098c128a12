"""The function's settings, from its environment and from a custom action's URL."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from storage_plugin.errors import AdministratorError, CallerError
from storage_plugin.names import visible

ICONIK_URL = "https://app.iconik.io"
"""iconik, unless a variable names another one."""

TIMEOUT = 60.0
"""Seconds after which the platform ends a request, unless a variable says otherwise."""

REQUIRED = ("ICONIK_ID", "STORAGE_NAME")
WITH_QUEUE = ("TASK_SERVICE_ACCOUNT", "FUNCTION_URL")
ARCHIVE, MASTER = "ARCHIVE_BEFORE_REMOVE", "MASTER_STORAGE_NAME"
OVERRIDES = {"storage": "STORAGE_NAME", "format": "FORMAT_NAME", "path": "STORAGE_PATH"}
"""The settings that a custom action's URL may override: query parameter to variable."""

MAX_OVERRIDE = 255
"""The most characters of an override, because jobs, tasks and log lines repeat it."""


class Settings(NamedTuple):
    """The function's settings, named after their environment variables.

    Attributes:
        iconik_id: the App ID of the application token.
        storage_name: the name or id of the storage to copy to and delete from.
        format_names: the formats to copy and delete.
        storage_path: the folder on the storage to copy into; empty: the folders of the source.
        master_storage_name: the name or id of the only storage whose copies count as masters;
            None: all storages of type B2.
        archive_before_remove: whether files without a master are first copied to the masters'
            storage.
        use_recycle_bin: whether removed files can be restored in iconik for some time.
        iconik_url: scheme and host of iconik, without a trailing slash.
        timeout: seconds after which the platform ends a request.
        task_queue: full name of the Cloud Tasks queue that takes the work; None: there is no queue.
        task_service_account: e-mail of the account that the queue's requests come from.
        function_url: the function's own URL, without a trailing slash.
    """

    iconik_id: str
    storage_name: str
    format_names: tuple[str, ...] = ("ORIGINAL",)
    storage_path: str = "/"
    master_storage_name: str | None = None
    archive_before_remove: bool = False
    use_recycle_bin: bool = False
    iconik_url: str = ICONIK_URL
    timeout: float = TIMEOUT
    task_queue: str | None = None
    task_service_account: str = ""
    function_url: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            AdministratorError: variables are missing or invalid; the message names each one.
        """
        if problems := list(_problems(environ)):
            raise AdministratorError(f"Invalid settings: {'; '.join(problems)}.")
        return cls(**_fields({name: environ[name] for name in _VARIABLES if name in environ}))

    def override(self, query: Mapping[str, str]) -> "Settings":
        """Return these settings with the overrides of a custom action's URL.

        Args:
            query: the overrides that `read_query` returns.
        """
        return self._replace(**_fields({OVERRIDES[name]: query[name] for name in query}))


def read_query(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Check the query parameters of a custom action's URL.

    Args:
        query: the values of each parameter.

    Raises:
        CallerError: a parameter is unknown, repeated or invalid.
    """
    if unknown := sorted(query.keys() - OVERRIDES.keys()):
        raise CallerError(
            f"Unknown query parameter {', '.join(unknown)}: use only storage, format and path."
        )
    for name, values in query.items():
        variable, is_short = OVERRIDES[name], all(len(each) <= MAX_OVERRIDE for each in values)
        if len(values) != 1 or not is_short or not _is_valid(variable, values[0]):
            rule = f"{_VARIABLES[variable].rule}, of at most {MAX_OVERRIDE} characters"
            raise CallerError(f"The query parameter {name} must be {rule}.")
    return {name: values[0] for name, values in query.items()}


def is_function_url(value: str) -> bool:
    """Whether a URL may be the function's: it must be encrypted, or on this machine."""
    return _is_valid("FUNCTION_URL", value)


def _problems(environ: Mapping[str, str]) -> Iterator[str]:
    for name, variable in _VARIABLES.items():
        if name in environ:
            if not _is_valid(name, environ[name]):
                yield f"{name} must be {variable.rule}{_flaw(environ[name])}"
        elif name in REQUIRED or ("TASK_QUEUE" in environ and name in WITH_QUEUE):
            yield f"{name} is missing and must be {variable.rule}"
        elif name == MASTER and environ.get(ARCHIVE) == "true":
            yield f"{ARCHIVE} needs {MASTER}, which is missing"


def _flaw(value: str) -> str:
    """Name what is easily overlooked in a value."""
    if not value:
        return ", and is ''"
    return ", without spaces around it" if value != value.strip(" ") else ""


def _is_valid(name: str, value: str) -> bool:
    is_clean = value == visible(value.strip(" "))  # Names may contain all but control characters.
    return is_clean and re.fullmatch(_VARIABLES[name].pattern, value) is not None


def _fields(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of `Settings` that variables set."""
    return {_VARIABLES[name].field: _VARIABLES[name].parse(values[name]) for name in values}


def _names(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip(" ") for name in value.split(",")))


def _without_slash(value: str) -> str:
    return value.rstrip("/")


class _Variable(NamedTuple):
    """A variable: the field that it sets, the pattern of its value, and the same rule in words."""

    field: str
    pattern: str
    rule: str
    parse: Callable[[str], object] = str


_STORAGE = (r".+", "the name or id of a storage")
_FORMATS = (r" *[^, ][^,]*(?:, *[^, ][^,]*)*", "the name of a format, or several with commas")
_FOLDER = (
    r"(?:/(?!(?:.*/)?\.\.(?:/|$)).*)?",
    "empty, or a folder that begins with / and has no ..",
)
_SWITCH = (r"true|false", "true or false", "true".__eq__)
_QUEUE = (
    r"projects/[^/\s]+/locations/[^/\s]+/queues/[^/\s]+",
    "like projects/P/locations/L/queues/Q, or auto for make deploy",
)
_HOST = r"(?:https://[\w.-]+|http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::\d+)?"
"""A host. On this machine it may be without TLS."""

_VARIABLES = {
    "ICONIK_ID": _Variable("iconik_id", r"[!-~]+", "the App ID of an iconik application token"),
    "STORAGE_NAME": _Variable("storage_name", *_STORAGE),
    "FORMAT_NAME": _Variable("format_names", *_FORMATS, _names),
    "STORAGE_PATH": _Variable("storage_path", *_FOLDER),
    MASTER: _Variable("master_storage_name", *_STORAGE),
    ARCHIVE: _Variable("archive_before_remove", *_SWITCH),
    "USE_RECYCLE_BIN": _Variable("use_recycle_bin", *_SWITCH),
    "ICONIK_URL": _Variable("iconik_url", f"{_HOST}/?", f"like {ICONIK_URL}", _without_slash),
    "CLOUD_RUN_TIMEOUT_SECONDS": _Variable(
        "timeout", r"0*[1-9][0-9]*", "a number of seconds", float
    ),
    "TASK_QUEUE": _Variable("task_queue", *_QUEUE),
    "TASK_SERVICE_ACCOUNT": _Variable(
        "task_service_account", r"[^@\s]+@[^@\s]+", "the e-mail of a service account"
    ),
    "FUNCTION_URL": _Variable(
        "function_url", rf"{_HOST}(?:/[^?#\s]*)?", "the function's URL, with https", _without_slash
    ),
}

NAMES = frozenset(_VARIABLES)
"""The variables that hold the settings."""
