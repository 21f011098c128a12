"""Settings from the environment and from a custom action's URL."""

import pytest

from storage_plugin.errors import AdministratorError, CallerError
from storage_plugin.settings import Settings, read_query

REQUIRED = {"ICONIK_ID": "app-id", "STORAGE_NAME": "LucidLink"}


@pytest.mark.parametrize(
    "off", [{}, {"ARCHIVE_BEFORE_REMOVE": "false", "USE_RECYCLE_BIN": "false"}]
)
def test_two_variables_are_enough(off: dict[str, str]) -> None:
    """All others have defaults."""
    assert Settings.from_environment(REQUIRED | off) == Settings(
        iconik_id="app-id",
        storage_name="LucidLink",
        format_names=("ORIGINAL",),
        storage_path="/",
        master_storage_name=None,
        archive_before_remove=False,
        use_recycle_bin=False,
        iconik_url="https://app.iconik.io",
        timeout=60,
        task_queue=None,
    )


def test_everything_can_be_set() -> None:
    """Formats become a list, and the last slash of a URL does not count."""
    environ = REQUIRED | {
        "FORMAT_NAME": "ORIGINAL, PPRO_PROXY,ORIGINAL",
        "STORAGE_PATH": "/from iconik",
        "MASTER_STORAGE_NAME": "B2",
        "ARCHIVE_BEFORE_REMOVE": "true",
        "USE_RECYCLE_BIN": "true",
        "ICONIK_URL": "https://eu.iconik.io/",
        "CLOUD_RUN_TIMEOUT_SECONDS": "540",
        "TASK_QUEUE": "projects/p/locations/l/queues/q",
        "TASK_SERVICE_ACCOUNT": "q@p.iam.gserviceaccount.com",
        "FUNCTION_URL": "https://l-p.cloudfunctions.net/iconik_handler/",
    }
    assert Settings.from_environment(environ) == Settings(
        iconik_id="app-id",
        storage_name="LucidLink",
        format_names=("ORIGINAL", "PPRO_PROXY"),
        storage_path="/from iconik",
        master_storage_name="B2",
        archive_before_remove=True,
        use_recycle_bin=True,
        iconik_url="https://eu.iconik.io",
        timeout=540,
        task_queue="projects/p/locations/l/queues/q",
        task_service_account="q@p.iam.gserviceaccount.com",
        function_url="https://l-p.cloudfunctions.net/iconik_handler",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ICONIK_ID", "two words"),
        ("ICONIK_ID", "line\nbreak"),
        ("ICONIK_ID", "ümlaut"),
        ("STORAGE_NAME", "Lucid\tLink"),
        ("STORAGE_NAME", "Lucid\u2028Link"),
        ("FORMAT_NAME", "ORIGINAL,,"),
        ("STORAGE_PATH", "relative"),
        ("STORAGE_PATH", "/a/../b"),
        ("MASTER_STORAGE_NAME", ""),
        ("ARCHIVE_BEFORE_REMOVE", "yes"),
        ("ICONIK_URL", "app.iconik.io"),
        ("ICONIK_URL", "http://app.iconik.io"),
        ("ICONIK_URL", "https://"),
        ("ICONIK_URL", "https://app.iconik.io/API"),
        ("ICONIK_URL", "https://app.iconik.io?x"),
        ("ICONIK_URL", "https://user@app.iconik.io"),
        ("ICONIK_URL", "https://app.iconik.io:port"),
        ("ICONIK_URL", "https://[app"),
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
    "name",
    ["編集室\u3000東京", "LucidLink\u00a0: montage", "\U0001f469\u200d\U0001f4bb", "x\u00a0"],
)
def test_names_may_contain_all_but_control_characters(name: str) -> None:
    """Wide spaces, no-break spaces and joiners are parts of names, at their ends too."""
    names = {"STORAGE_NAME": name, "MASTER_STORAGE_NAME": name, "STORAGE_PATH": f"/{name}"}
    settings = Settings.from_environment(
        REQUIRED | names | {"FORMAT_NAME": f"A, {name.strip(' ')}"}
    )
    assert (settings.storage_name, settings.master_storage_name) == (name, name)
    assert (settings.storage_path, settings.format_names[1]) == (f"/{name}", name.strip(" "))
    assert read_query({"storage": [name]}) == {"storage": name}


ARCHIVING = REQUIRED | {"ARCHIVE_BEFORE_REMOVE": "true"}
WITH_QUEUE = REQUIRED | {"TASK_QUEUE": "projects/p/locations/l/queues/q"}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "ICONIK_ID is missing.*STORAGE_NAME is missing"),
        (ARCHIVING, "ARCHIVE_BEFORE_REMOVE needs MASTER_STORAGE_NAME"),
        (WITH_QUEUE, "TASK_SERVICE_ACCOUNT is missing.*FUNCTION_URL is missing"),
    ],
)
def test_missing_values_are_named(environ: dict[str, str], message: str) -> None:
    """Archiving needs the masters' storage; a queue needs its account and the function's URL."""
    with pytest.raises(AdministratorError, match=message):
        Settings.from_environment(environ)


def test_archiving_needs_nothing_else() -> None:
    """The masters' storage is enough."""
    environ = ARCHIVING | {"MASTER_STORAGE_NAME": "B2"}
    assert Settings.from_environment(environ).archive_before_remove


# Overrides


def test_query_overrides() -> None:
    """A custom action's URL may name another storage, other formats and another folder."""
    settings = Settings("app-id", "LucidLink")
    query = read_query({"storage": ["Other"], "format": ["A,B"], "path": ["/x"]})
    assert settings.override(query) == Settings("app-id", "Other", ("A", "B"), "/x")
    assert settings.override(read_query({})) == settings


def test_an_empty_path_keeps_the_folders() -> None:
    """Without a folder, files keep the one that they have at the source."""
    settings = Settings.from_environment(REQUIRED | {"STORAGE_PATH": ""})
    assert settings.storage_path == ""
    assert settings.override({"path": "/x"}).override(read_query({"path": [""]})) == settings


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
    ],
)
def test_wrong_queries_are_refused(query: dict[str, list[str]], named: str) -> None:
    """The error names a parameter that is unknown, repeated or invalid."""
    with pytest.raises(CallerError, match=named):
        read_query(query)
