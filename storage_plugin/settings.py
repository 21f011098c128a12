"""What the function works with, from its environment and from a custom action's URL."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from storage_plugin.errors import AdministratorError, CallerError

ICONIK_URL = "https://app.iconik.io"
OVERRIDES = {"storage": "STORAGE_NAME", "format": "FORMAT_NAME", "path": "STORAGE_PATH"}
"""What a custom action's URL may override: query parameter to setting."""


@dataclass(frozen=True)
class Settings:
    """The function's settings, each named as its environment variable.

    Attributes:
        iconik_id: the App ID of the application token.
        storage_name: the storage that is copied to and deleted from.
        format_name: the formats that are copied and deleted.
        storage_path: the folder on the storage that files are copied into.
        master_storage_name: the one storage whose copies count as masters; None: any other.
        iconik_url: scheme and host of iconik, without a trailing slash.
    """

    iconik_id: str
    storage_name: str
    format_name: tuple[str, ...] = ("ORIGINAL",)
    storage_path: str = "/"
    master_storage_name: str | None = None
    iconik_url: str = ICONIK_URL

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            AdministratorError: names every variable that is missing or wrong.
        """
        if problems := list(_problems(environ)):
            raise AdministratorError(f"Wrong settings: {'; '.join(problems)}.")
        return cls(
            iconik_id=environ["ICONIK_ID"],
            storage_name=environ["STORAGE_NAME"],
            format_name=_names(environ.get("FORMAT_NAME", "ORIGINAL")),
            storage_path=environ.get("STORAGE_PATH", "/"),
            master_storage_name=environ.get("MASTER_STORAGE_NAME"),
            iconik_url=environ.get("ICONIK_URL", ICONIK_URL).rstrip("/"),
        )

    def override(self, query: Mapping[str, str]) -> "Settings":
        """Return these settings with those that a custom action's URL names.

        Args:
            query: as `read_query` returns it.
        """
        return replace(
            self,
            storage_name=query.get("storage", self.storage_name),
            format_name=_names(query["format"]) if "format" in query else self.format_name,
            storage_path=query.get("path", self.storage_path),
        )


def read_query(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Check the query parameters of a custom action's URL.

    Args:
        query: the values of each parameter.

    Raises:
        CallerError: a parameter is unknown, given twice or wrong.
    """
    if unknown := sorted(query.keys() - OVERRIDES.keys()):
        raise CallerError(
            f"Unknown query parameter {', '.join(unknown)}: the URL may have storage, format, path."
        )
    for name, values in query.items():
        if len(values) != 1 or not _is_valid(OVERRIDES[name], values[0]):
            raise CallerError(f"The query parameter {name} {_RULES[OVERRIDES[name]]}, once.")
    return {name: values[0] for name, values in query.items()}


_RULES = {
    "ICONIK_ID": "must be the App ID of an iconik application token",
    "STORAGE_NAME": "must be the name of a storage",
    "FORMAT_NAME": "must be the name of a format, or several with commas between them",
    "STORAGE_PATH": "must be a folder that begins with / and has no .. in it",
    "MASTER_STORAGE_NAME": "must be the name of a storage",
    "ICONIK_URL": f"must be like {ICONIK_URL}, with https",
}


def _problems(environ: Mapping[str, str]) -> Iterator[str]:
    for variable, rule in _RULES.items():
        if variable in environ:
            if not _is_valid(variable, environ[variable]):
                yield f"{variable} {rule}"
        elif variable in ("ICONIK_ID", "STORAGE_NAME"):
            yield f"{variable} is missing, it {rule}"


def _is_valid(variable: str, value: str) -> bool:
    if not value or value != value.strip() or not value.isprintable():
        return False
    if variable == "ICONIK_ID":  # It becomes a header.
        return value.isascii() and " " not in value
    if variable == "FORMAT_NAME":
        return all(_names(value))
    if variable == "STORAGE_PATH":
        return value.startswith("/") and ".." not in value.split("/")
    if variable == "ICONIK_URL":
        return _is_origin(value)
    return True


def _is_origin(url: str) -> bool:
    """Whether a URL is scheme and host alone, and keeps the token secret on its way."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # Raises where it is no number.
    except ValueError:
        return False
    on_this_machine = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return (
        (parts.scheme == "https" or (parts.scheme == "http" and on_this_machine))
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and url.rstrip("/") == f"{parts.scheme}://{parts.netloc}"
    )


def _names(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in value.split(",")))
