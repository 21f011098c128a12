"""Settings from the environment and from a custom action's URL."""

import pytest

from storage_plugin.errors import AdministratorError, CallerError
from storage_plugin.settings import Settings, read_query

REQUIRED = {"ICONIK_ID": "app-id", "STORAGE_NAME": "LucidLink"}
HOST = "https://app.iconik.io"
DEFAULTS = Settings("app-id", "LucidLink", iconik_url=HOST, timeout=60)
QUEUE, URL = "projects/p/locations/l/queues/q", "https://l-p.cloudfunctions.net/iconik_handler"
# The optional variables: a value, the setting, and what it becomes.
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


def test_two_variables_are_enough() -> None:
    """All others have defaults. Formats become a list, and a URL's last slash does not count."""
    assert Settings.from_environment(REQUIRED) == DEFAULTS
    usual = {"ARCHIVE_BEFORE_REMOVE": "false", "USE_RECYCLE_BIN": "false"}
    assert Settings.from_environment(REQUIRED | usual) == DEFAULTS
    environ = REQUIRED | {variable: value for variable, value, _, _ in OTHERS}
    expected = DEFAULTS._replace(**{field: value for _, _, field, value in OTHERS})
    assert Settings.from_environment(environ) == expected


WRONG = {
    "ICONIK_ID": ["two words", "line\nbreak", "ümlaut"],
    "STORAGE_NAME": ["Lucid\tLink", "Lucid\u2028Link"],
    "FORMAT_NAME": ["ORIGINAL,,"],
    "STORAGE_PATH": ["relative", "/a/../b"],
    "MASTER_STORAGE_NAME": [""],
    "ARCHIVE_BEFORE_REMOVE": ["yes"],
    "ICONIK_URL": [
        *("app.iconik.io", "http://app.iconik.io", "https://", "https://user@app.iconik.io"),
        *("https://[app", f"{HOST}/API", f"{HOST}?x", f"{HOST}:port"),
    ],
    "TASK_QUEUE": ["iconik"],
    "TASK_SERVICE_ACCOUNT": ["iconik"],
    "FUNCTION_URL": ["http://function.example/"],
    "CLOUD_RUN_TIMEOUT_SECONDS": ["0"],
}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        *((REQUIRED | {key: one}, f"{key} must be") for key, all in WRONG.items() for one in all),
        ({}, "ICONIK_ID is missing.*STORAGE_NAME is missing"),
        # Archiving needs the masters' storage; a queue needs its account and the function's URL.
        ({"ARCHIVE_BEFORE_REMOVE": "true"}, "ARCHIVE_BEFORE_REMOVE needs MASTER_STORAGE_NAME"),
        ({"TASK_QUEUE": QUEUE}, "TASK_SERVICE_ACCOUNT is missing.*FUNCTION_URL is missing"),
    ],
)
def test_wrong_and_missing_values_are_named(environ: dict[str, str], message: str) -> None:
    """What cannot work is found before iconik is called."""
    with pytest.raises(AdministratorError, match=message):
        Settings.from_environment(environ)


@pytest.mark.parametrize(
    "name", ["編集室\u3000東京", "Lucid\u00a0: montage", "\U0001f469\u200d\U0001f4bb", "x\u00a0"]
)
def test_names_may_contain_all_but_control_characters(name: str) -> None:
    """Wide spaces, no-break spaces and joiners are parts of names, at their ends too."""
    query = {"storage": name, "format": f"A, {name}", "path": f"/{name}"}
    assert read_query({key: [value] for key, value in query.items()}) == query
    settings = Settings.from_environment(REQUIRED | {"MASTER_STORAGE_NAME": name}, query)
    assert settings == Settings("app-id", name, ("A", name), f"/{name}", name)


# Overrides


def test_query_overrides() -> None:
    """A custom action's URL may name another storage, other formats and another folder."""
    query = read_query({"storage": ["x" * 255], "format": ["A,B"], "path": [""]})
    expected = Settings("app-id", "x" * 255, ("A", "B"), "")
    assert Settings.from_environment(REQUIRED, query) == expected


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"storages": ["x"]}, "storages"),
        ({"storage": ["x"], "delete_original": ["true"]}, "delete_original"),
        *(({"storage": values}, "storage") for values in (["x", "y"], [""])),
        *(({"format": [value]}, "format") for value in ("A,", "x" * 256)),
        *(({"path": [value]}, "path") for value in ("x", "/x\0")),
    ],
)
def test_wrong_queries_are_refused(query: dict[str, list[str]], named: str) -> None:
    """The error names a parameter that is unknown, repeated or invalid."""
    with pytest.raises(CallerError, match=named):
        read_query(query)
