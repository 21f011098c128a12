"""The function's settings, from its environment and from a custom action's URL."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any, NamedTuple

from storage_plugin.errors import AdministratorError, CallerError
from storage_plugin.names import visible

ICONIK_URL = "https://app.iconik.io"  # Unless a variable names another one.
TIMEOUT = 60.0  # Seconds after which the platform ends a request, unless a variable says otherwise.
REQUIRED = ("ICONIK_ID", "STORAGE_NAME")
WITH_QUEUE = ("TASK_SERVICE_ACCOUNT", "FUNCTION_URL")
ARCHIVE, MASTER = "ARCHIVE_BEFORE_REMOVE", "MASTER_STORAGE_NAME"
# The settings that a custom action's URL may override: query parameter to variable.
OVERRIDES = {"storage": "STORAGE_NAME", "format": "FORMAT_NAME", "path": "STORAGE_PATH"}
MAX_OVERRIDE = 255  # The most characters of an override: jobs, tasks and log lines repeat it.


class Settings(NamedTuple):
    """The function's settings. README describes the variables of these names."""

    iconik_id: str
    storage_name: str
    format_names: tuple[str, ...] = ("ORIGINAL",)
    storage_path: str = "/"  # If empty, the folders of the source are kept.
    master_storage_name: str | None = None  # If None, all storages of type B2 have masters.
    archive_before_remove: bool = False
    use_recycle_bin: bool = False
    iconik_url: str = ICONIK_URL  # Without a slash at the end, like `function_url`.
    timeout: float = TIMEOUT
    task_queue: str | None = None  # The full name.
    task_service_account: str = ""  # The e-mail address.
    function_url: str = ""

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], overrides: Mapping[str, str] = {}
    ) -> "Settings":
        """Return the settings, with the overrides that `read_query` returns.

        Raises AdministratorError, which names each variable that is missing or invalid.
        """
        if problems := list(_problems(environ)):
            raise AdministratorError(f"Invalid settings: {'; '.join(problems)}.")
        values = {**environ, **{OVERRIDES[name]: overrides[name] for name in overrides}}
        fields = {
            field: variable.parse(values[name])
            for field, (name, variable) in zip(cls._fields, _VARIABLES.items(), strict=True)
            if name in values
        }
        return cls(**fields)


def read_query(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the overrides in the query of a custom action's URL.

    Raises CallerError, which names a parameter that is unknown, repeated or invalid.
    """
    if unknown := ", ".join(sorted(query.keys() - OVERRIDES.keys())):
        raise CallerError(f"Unknown query parameter {unknown}: use only storage, format and path.")
    for name, (value, *others) in query.items():
        if others or len(value) > MAX_OVERRIDE or not is_valid(OVERRIDES[name], value):
            rule = f"{_VARIABLES[OVERRIDES[name]].rule}, of at most {MAX_OVERRIDE} characters"
            raise CallerError(f"The query parameter {name} must be {rule}.")
    return {name: values[0] for name, values in query.items()}


def is_valid(name: str, value: str) -> bool:
    """Whether a variable may have a value."""
    is_clean = value == visible(value.strip(" "))  # Names may contain all but control characters.
    return is_clean and re.fullmatch(_VARIABLES[name].pattern, value) is not None


def _problems(environ: Mapping[str, str]) -> Iterator[str]:
    needed = REQUIRED + (WITH_QUEUE if "TASK_QUEUE" in environ else ())
    for name, variable in _VARIABLES.items():
        value = environ.get(name)
        if value is None and name in needed:
            yield f"{name} is missing and must be {variable.rule}"
        elif value is not None and not is_valid(name, value):
            flaw = "" if value == value.strip(" ") else ", without spaces around it"
            yield f"{name} must be {variable.rule}{flaw}"
    if environ.get(ARCHIVE) == "true" and MASTER not in environ:
        yield f"{ARCHIVE} needs {MASTER}, which is missing"


def _names(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip(" ") for name in value.split(",")))


class _Variable(NamedTuple):
    pattern: str
    rule: str  # The pattern in words.
    parse: Callable[[str], Any] = str  # Returns the setting.


_FORMATS = r" *[^, ][^,]*(?:, *[^, ][^,]*)*"
_FOLDER = r"(?:/(?!(?:.*/)?\.\.(?:/|$)).*)?"
_QUEUE = r"projects/[^/\s]+/locations/[^/\s]+/queues/[^/\s]+"
# A host. On this machine it may be without TLS.
_HOST = r"(?:https://[\w.-]+|http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::\d+)?"
_URL = rf"{_HOST}(?:/[^?#\s]*)?"
_WITHOUT_SLASH = methodcaller("rstrip", "/")
_STORAGE = _Variable(r".+", "the name or id of a storage")
_SWITCH = _Variable(r"true|false", "true or false", "true".__eq__)
# In the order of the fields of `Settings`.
_VARIABLES = {
    "ICONIK_ID": _Variable(r"[!-~]+", "the App ID of an iconik application token"),
    "STORAGE_NAME": _STORAGE,
    "FORMAT_NAME": _Variable(_FORMATS, "the name of a format, or several with commas", _names),
    "STORAGE_PATH": _Variable(_FOLDER, "empty, or a folder without .. that begins with /"),
    MASTER: _STORAGE,
    ARCHIVE: _SWITCH,
    "USE_RECYCLE_BIN": _SWITCH,
    "ICONIK_URL": _Variable(rf"{_HOST}/?", f"like {ICONIK_URL}", _WITHOUT_SLASH),
    "CLOUD_RUN_TIMEOUT_SECONDS": _Variable(r"0*[1-9][0-9]*", "a number of seconds", float),
    "TASK_QUEUE": _Variable(_QUEUE, "projects/P/locations/L/queues/Q, or auto for make deploy"),
    "TASK_SERVICE_ACCOUNT": _Variable(r"[^@\s]+@[^@\s]+", "the e-mail of a service account"),
    "FUNCTION_URL": _Variable(_URL, "the function's URL, with https", _WITHOUT_SLASH),
}
NAMES = frozenset(_VARIABLES)  # The variables that hold the settings.
