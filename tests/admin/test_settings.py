"""What .env.yaml must be like, and the environment that a deployment makes of it."""

from pathlib import Path

import pytest
import yaml

from tests.admin.conftest import Run, change_settings


def test_the_environment(run: Run) -> None:
    """The settings are completed with what only a deployment knows, but what is set stays."""
    change_settings(TASK_QUEUE="auto", STORAGE_PATH="", STORAGE_NAME="It''s é: #1")
    completed = {
        "GOOGLE_CLOUD_PROJECT": "p",
        "THREADS": "16",
        "TASK_QUEUE": "projects/p/locations/r/queues/iconik",
        "TASK_SERVICE_ACCOUNT": "iconik-queue@p.iam.gserviceaccount.com",
        "FUNCTION_URL": "https://r-p.cloudfunctions.net/iconik_handler",
    }
    own = dict.fromkeys(completed, "https://function.example.com") | {
        "TASK_QUEUE": "projects/other/locations/l/queues/own",
        "TASK_SERVICE_ACCOUNT": "queue@other.iam.gserviceaccount.com",
    }
    for values, expected in (({}, completed), (own, own)):
        change_settings(**values)
        written = yaml.safe_load(Path(".env.yaml").read_text())
        status, output = run("settings", "p", "r")
        assert (status, yaml.safe_load(output)) == (0, written | expected)
        assert written["STORAGE_NAME"] == "It's é: #1"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("STORAGE_NAME: 'Other'", ".env.yaml is wrong: line 5 has STORAGE_NAME a second time."),
        ("THREADS: 8", "line 5 must have a name and a value in quotes"),
        ("ICONIK_TOKEN: 'x'", "line 5 has ICONIK_TOKEN, which belongs in Secret Manager"),
        ("FORMAT_NAME = 'x'", "line 6 could not find expected ':'"),
        ("\0", ".env.yaml is wrong: it is no text."),
        ("USE_RECYCLE_BIN: ''", "USE_RECYCLE_BIN must be true or false, and is ''"),
        ("FORMAT_NAME: 'PROXY '", "several with commas, without spaces around it"),
        ("TASK_QUEUE: 'Auto'", "TASK_QUEUE must be like projects/P/locations/L/queues/Q, or auto"),
        ("FORMAT_NAMES: 'x'", "Warning: Nothing reads FORMAT_NAMES."),
    ],
)
def test_what_is_wrong(run: Run, line: str, text: str) -> None:
    """What Google would refuse, or the function could not use, is named."""
    with Path(".env.yaml").open("a") as file:
        file.write(f"{line}\n")
    status, output = run("settings", "p", "r")
    assert (status, text in output) == (int("Warning" not in text), True)
