"""Settings from the environment and from a custom action's URL."""

import pytest

from storage_plugin.errors import AdministratorError, CallerError
from storage_plugin.settings import Settings, read_query

REQUIRED = {"ICONIK_ID": "app-id", "STORAGE_NAME": "LucidLink"}


def test_defaults() -> None:
    """Two variables are enough."""
    settings = Settings.from_environment(REQUIRED)
    assert settings == Settings("app-id", "LucidLink")
    assert settings.format_names == ("ORIGINAL",)
    assert settings.storage_path == "/"
    assert settings.master_storage_name is None
    assert settings.iconik_url == "https://app.iconik.io"


def test_everything_can_be_set() -> None:
    """Each variable finds its place; formats are a list, a URL's last slash does not count."""
    environ = REQUIRED | {
        "FORMAT_NAME": "ORIGINAL, PPRO_PROXY,ORIGINAL",
        "STORAGE_PATH": "/from iconik",
        "MASTER_STORAGE_NAME": "B2",
        "ICONIK_URL": "https://eu.iconik.io/",
    }
    assert Settings.from_environment(environ) == Settings(
        iconik_id="app-id",
        storage_name="LucidLink",
        format_names=("ORIGINAL", "PPRO_PROXY"),
        storage_path="/from iconik",
        master_storage_name="B2",
        iconik_url="https://eu.iconik.io",
    )


def test_all_problems_are_told_at_once() -> None:
    """An administrator who forgot everything deploys once more, not six times."""
    wrong = {
        "FORMAT_NAME": "ORIGINAL,,",
        "STORAGE_PATH": "relative",
        "MASTER_STORAGE_NAME": "",
        "ICONIK_URL": "http://app.iconik.io",
    }
    with pytest.raises(AdministratorError) as error:
        Settings.from_environment(wrong)
    for variable in ["ICONIK_ID", "STORAGE_NAME", *wrong]:
        assert f"{variable} " in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ICONIK_ID", "two words"),
        ("ICONIK_ID", "line\nbreak"),
        ("ICONIK_ID", "ümlaut"),
        ("STORAGE_NAME", " LucidLink"),
        ("STORAGE_PATH", "/a/../b"),
        ("ICONIK_URL", "app.iconik.io"),
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
    with pytest.raises(AdministratorError, match=variable):
        Settings.from_environment(REQUIRED | {variable: value})


def test_a_queue_needs_all_its_settings() -> None:
    """A queue without its account, or without the function's URL, is told as a whole."""
    queue = {"TASK_QUEUE": "projects/p/locations/l/queues/q"}
    with pytest.raises(AdministratorError, match=r"TASK_SERVICE_ACCOUNT is missing.*FUNCTION_URL"):
        Settings.from_environment(REQUIRED | queue)
    queue |= {"TASK_SERVICE_ACCOUNT": "q@p.iam.gserviceaccount.com"}
    queue |= {"FUNCTION_URL": "https://l-p.cloudfunctions.net/iconik_handler/"}
    settings = Settings.from_environment(REQUIRED | queue)
    assert settings.task_queue == "projects/p/locations/l/queues/q"
    assert settings.task_service_account == "q@p.iam.gserviceaccount.com"
    assert settings.function_url == "https://l-p.cloudfunctions.net/iconik_handler"


def test_query_overrides() -> None:
    """A custom action's URL may name another storage, other formats and another folder."""
    query = read_query({"storage": ["Other"], "format": ["A,B"], "path": ["/x"]})
    settings = Settings.from_environment(REQUIRED).override(query)
    assert settings == Settings("app-id", "Other", ("A", "B"), "/x")


def test_an_empty_path_keeps_the_folders() -> None:
    """Where no folder is named, files keep the one that they have at the source."""
    settings = Settings.from_environment(REQUIRED | {"STORAGE_PATH": ""})
    assert settings.storage_path == ""
    assert settings.override(read_query({"path": ["/x"]})).storage_path == "/x"
    assert settings.override({"path": "/x"}).override(read_query({"path": [""]})) == settings


def test_query_may_be_empty() -> None:
    """Without a query everything stays as it is."""
    settings = Settings.from_environment(REQUIRED)
    assert settings.override(read_query({})) == settings


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
    """A parameter that is unknown, double or wrong is refused by its name."""
    with pytest.raises(CallerError, match=named):
        read_query(query)


def test_archiving_needs_the_masters_storage() -> None:
    """Where to archive to must be said, and true and false are the only words."""
    archive = REQUIRED | {"ARCHIVE_BEFORE_REMOVE": "true"}
    with pytest.raises(AdministratorError, match="ARCHIVE_BEFORE_REMOVE needs MASTER_STORAGE_NAME"):
        Settings.from_environment(archive)
    assert Settings.from_environment(archive | {"MASTER_STORAGE_NAME": "B2"}).archive_before_remove
    off = REQUIRED | {"ARCHIVE_BEFORE_REMOVE": "false"}
    assert not Settings.from_environment(off).archive_before_remove
    with pytest.raises(AdministratorError, match="must be true or false"):
        Settings.from_environment(REQUIRED | {"ARCHIVE_BEFORE_REMOVE": "yes"})
