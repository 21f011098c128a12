"""Settings from the environment and from a custom action's URL."""

import pytest

from storage_plugin.errors import AdministratorError, CallerError
from storage_plugin.settings import Settings, read_query

REQUIRED = {"ICONIK_ID": "app-id", "STORAGE_NAME": "LucidLink"}
DEFAULTS = Settings("app-id", "LucidLink", iconik_url="https://app.iconik.io", timeout=60)
QUEUE, URL = "projects/p/locations/l/queues/q", "https://l-p.cloudfunctions.net/iconik_handler"

OTHERS = [
    ("FORMAT_NAME", "ORIGINAL, PPRO_PROXY,ORIGINAL", "format_names", ("ORIGINAL", "PPRO_PROXY")),
    ("STORAGE_PATH", "/from iconik", "storage_path", "/from iconik"),
    ("MASTER_STORAGE_NAME", "B2", "master_storage_name", "B2"),
    ("ARCHIVE_BEFORE_REMOVE", "true", "archive_before_remove", True),
    ("USE_RECYCLE_BIN", "true", "use_recycle_bin", True),
    ("ICONIK_URL", "https://eu.iconik.io/", "iconik_url", "https://eu.iconik.io"),
    ("CLOUD_RUN_TIMEOUT_SECONDS", "540", "timeout", 540),
    ("TASK_QUEUE", QUEUE, "task_queue", QUEUE),
    ("TASK_SERVICE_ACCOUNT", "q@p.example", "task_service_account", "q@p.example"),
    ("FUNCTION_URL", f"{URL}/", "function_url", URL),
]
"""The optional variables: a value, the setting, and what it becomes."""


def test_two_variables_are_enough() -> None:
    """All others have defaults. Formats become a list, and a URL's last slash does not count."""
    assert Settings.from_environment(REQUIRED) == DEFAULTS
    usual = {"ARCHIVE_BEFORE_REMOVE": "false", "USE_RECYCLE_BIN": "false"}
    assert Settings.from_environment(REQUIRED | usual) == DEFAULTS
    environ = REQUIRED | {variable: value for variable, value, _, _ in OTHERS}
    expected = DEFAULTS._replace(**{field: value for _, _, field, value in OTHERS})
    assert Settings.from_environment(environ) == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("ICONIK_ID", value) for value in ("two words", "line\nbreak", "ümlaut")),
        *(("STORAGE_NAME", value) for value in ("Lucid\tLink", "Lucid\u2028Link")),
        ("FORMAT_NAME", "ORIGINAL,,"),
        *(("STORAGE_PATH", value) for value in ("relative", "/a/../b")),
        ("MASTER_STORAGE_NAME", ""),
        ("ARCHIVE_BEFORE_REMOVE", "yes"),
        ("ICONIK_URL", "app.iconik.io"),
        ("ICONIK_URL", "http://app.iconik.io"),
        *(("ICONIK_URL", f"https://{value}") for value in ("", "user@app.iconik.io", "[app")),
        *(("ICONIK_URL", f"https://app.iconik.io{value}") for value in ("/API", "?x", ":port")),
        ("TASK_QUEUE", "iconik"),
        ("TASK_SERVICE_ACCOUNT", "iconik"),
        ("FUNCTION_URL", "http://function.example/"),
        ("CLOUD_RUN_TIMEOUT_SECONDS", "0"),
    ],
)
def test_wrong_values_are_named(variable: str, value: str) -> None:
    """A value that cannot work is found before iconik is called."""
    with pytest.raises(AdministratorError, match=f"{variable} must be"):
        Settings.from_environment(REQUIRED | {variable: value})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "ICONIK_ID is missing.*STORAGE_NAME is missing"),
        ({"ARCHIVE_BEFORE_REMOVE": "true"}, "ARCHIVE_BEFORE_REMOVE needs MASTER_STORAGE_NAME"),
        ({"TASK_QUEUE": QUEUE}, "TASK_SERVICE_ACCOUNT is missing.*FUNCTION_URL is missing"),
    ],
)
def test_missing_values_are_named(environ: dict[str, str], message: str) -> None:
    """Archiving needs the masters' storage; a queue needs its account and the function's URL."""
    with pytest.raises(AdministratorError, match=message):
        Settings.from_environment(environ)


@pytest.mark.parametrize(
    "name",
    ["編集室\u3000東京", "LucidLink\u00a0: montage", "\U0001f469\u200d\U0001f4bb", "x\u00a0"],
)
def test_names_may_contain_all_but_control_characters(name: str) -> None:
    """Wide spaces, no-break spaces and joiners are parts of names, at their ends too."""
    names = {"STORAGE_NAME": name, "MASTER_STORAGE_NAME": name, "STORAGE_PATH": f"/{name}"}
    settings = Settings.from_environment(REQUIRED | names | {"FORMAT_NAME": f"A, {name}"})
    assert (settings.storage_name, settings.master_storage_name) == (name, name)
    assert (settings.storage_path, settings.format_names) == (f"/{name}", ("A", name))
    assert read_query({"storage": [name]}) == {"storage": name}


# Overrides


def test_query_overrides() -> None:
    """A custom action's URL may name another storage, other formats and another folder."""
    query = read_query({"storage": ["Other"], "format": ["A,B"], "path": ["/x"]})
    expected = Settings("app-id", "Other", ("A", "B"), "/x")
    assert Settings.from_environment(REQUIRED, query) == expected
    assert read_query({"storage": ["x" * 255]})
    query = read_query({"path": [""]})
    assert Settings.from_environment(REQUIRED, query).storage_path == ""


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"storages": ["x"]}, "storages"),
        ({"storage": ["x"], "delete_original": ["true"]}, "delete_original"),
        ({"storage": ["x", "y"]}, "storage"),
        ({"storage": [""]}, "storage"),
        ({"format": ["A,"]}, "format"),
        ({"path": ["x"]}, "path"),
        ({"path": ["/x\0"]}, "path"),
        ({"format": ["x" * 256]}, "format"),
    ],
)
def test_wrong_queries_are_refused(query: dict[str, list[str]], named: str) -> None:
    """The error names a parameter that is unknown, repeated or invalid."""
    with pytest.raises(CallerError, match=named):
        read_query(query)
