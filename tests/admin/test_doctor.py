"""The doctor, against an iconik in memory and the running function."""

import os
from pathlib import Path
from typing import Any

import flask
import pytest

from admin.installation import MISSING
from sandbox.server import serve
from sandbox.site import CLIP, Site
from tests.admin.conftest import OTHER, SECRET, URL, Finds, Run, change_settings, set_deployment


@pytest.fixture
def sound(run: Run, function: str) -> None:
    """Install everything as the README says."""
    os.environ["FUNCTION_URL"] = function
    change_settings(STORAGE_PATH="")
    run("actions")


@pytest.mark.usefixtures("sound")
def test_doctor_is_content(site: Site, run: Run, finds: Finds) -> None:
    """After the README's steps, all is ok; the actions of others do not matter."""
    site.world.add_custom_action(OTHER)
    assert run("doctor")[1].endswith("\n0 warnings, 0 failures.\n")
    assert finds("ok|iconik|It accepts the token, which acts as plugin@example.com.")
    assert finds("ok|actions|6 actions will work.")


ARCHIVE = {"ARCHIVE_BEFORE_REMOVE": "true"}
MOUNTED = {"settings": {"mount_point": "/mnt/LucidLink"}}
ODD = pytest.mark.undocumented
QUOTED = {"headers": {"x-bz-secret": SECRET, "Authorization": "Own"}}
FAILING = {"status": "FAILING", "last_error": f"{SECRET} and Own are wrong", **QUOTED}


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("where", "changes", "finding"),
    [
        ("settings", {"STORAGE_PATH": "/"}, "WARNING|settings|STORAGE_PATH is '/'"),
        ("settings", {"FORMAT_NAME": "ORIGNAL"}, "WARNING|settings|does iconik have ORIGNAL?"),
        ("settings", {"COLOUR": "x"}, "WARNING|settings|Nothing reads COLOUR."),
        ("settings", {"MASTER_STORAGE_NAME": None}, "WARNING|storages|of type B2 count: B2."),
        ("settings", {"MASTER_STORAGE_NAME": "Other"}, "WARNING|storages|Other is not of type B2"),
        ("settings", ARCHIVE, "FAILURE|roles|with ARCHIVE_BEFORE_REMOVE: give the token's user"),
        ("environ", {"STORAGE_NAME": "X"}, "FAILURE|storages|sees no storages named X"),
        ("environ", {"BZ_SHARED_SECRET": "x"}, "FAILURE|function|has another secret"),
        ("world", {"token": "x"}, "FAILURE|iconik|gcloud secrets versions add iconik-token"),
        ("world", {"is_admin": False}, "WARNING|iconik|is not an administrator"),
        ("permission", {"delete_access": False}, "FAILURE|storages|enable Delete"),
        ("world", {"permissions": {}}, "WARNING|storages|does not say whether"),
        ("world", {"custom_actions": {}}, "FAILURE|actions|or to remove: run make actions."),
        ("world", {"roles": []}, "FAILURE|roles|Add and Remove: give the token's user can_read_st"),
        ("world", {"roles": []}, "WARNING|roles|to see it: give the token's user can_write_jobs"),
        ("LucidLink", {"status": "FAILING"}, "FAILURE|storages|LucidLink is FAILING, of type FILE"),
        ("LucidLink", {"method": "S3"}, "FAILURE|storages|not FILE"),
        ("Other", MOUNTED, "WARNING|storages|LucidLink and Other are one place, /mnt/LucidLink"),
        ("action", {"headers": {"X-Bz-Secret": "x"}}, "FAILURE|actions|or sends another secret"),
        ("action", {"type": "OPEN"}, "FAILURE|actions|not of type POST, or sends another secret"),
        ("action", {"url": "{}?storage=X"}, "FAILURE|actions|no storages named X"),
        ("action", {"url": "https://x.example/add"}, "WARNING|actions|calls https://x.example/add"),
        ("action", {"url": "{}/ad"}, "WARNING|actions|/ad, not "),
        ("action", {"disabled": True}, "WARNING|actions|Add to LucidLink (ASSET) is disabled"),
        pytest.param("action", {"headers": ["x"]}, "FAILURE|actions|sends another", marks=ODD),
        ("action", FAILING, "WARNING|actions|last time: *** and *** "),
    ],
)
def test_doctor_finds(
    site: Site, finds: Finds, where: str, changes: dict[str, Any], finding: str
) -> None:
    """What is missing or wrong is found by its check, with the remedy."""
    action = next(iter(site.world.custom_actions.values()))
    places = {row["name"]: row for row in site.world.storages.values()}
    places |= {"environ": os.environ, "world": vars(site.world), "action": action}
    places |= {"permission": site.world.permissions[site.lucidlink]}
    if where == "settings":
        site.world.roles.remove("can_read_transfers")  # Only an archive needs it.
        change_settings(**changes)
    else:
        url = {"url": changes["url"].format(action["url"])} if "url" in changes else {}
        places[where].update(changes | url)
    assert finds(finding)


@pytest.mark.parametrize(
    "command", ["doctor", "doctor --asset x", "actions", "actions --delete", "settings p r"]
)
@pytest.mark.parametrize("text", ["", "# Nothing.\n", "nothing"])
def test_without_settings(run: Run, command: str, text: str) -> None:
    """Where there is nothing in .env.yaml, every command says the same, and nothing else."""
    Path(".env.yaml").write_text(text)
    status, output = run(*command.split())
    assert (status, output.count(MISSING), output.count(": run ")) == (1, 1, 0)


ASKS = {"WWW-Authenticate": "x-bz-secret"}


@pytest.mark.parametrize(
    ("status", "headers"), [(401, {}), (200, ASKS), (307, ASKS | {"Location": "/"})]
)
def test_doctor_knows_who_answers(finds: Finds, status: int, headers: dict[str, str]) -> None:
    """Something else than the function gets no secret, and is a failure with a remedy."""
    asked, stranger = set(), flask.Flask("stranger")

    @stranger.before_request
    def answer() -> tuple[str, int, dict[str, str]]:
        asked.add((flask.request.path, flask.request.headers.get("x-bz-secret")))
        return "", status, headers

    with serve(stranger) as os.environ["FUNCTION_URL"]:
        assert finds(f"FAILURE|function|answers {status}: check it with gcloud functions list, or")
    assert asked == {("/remove", None)}


def test_doctor_names_host_and_cause(run: Run, finds: Finds) -> None:
    """Where nothing answers, host, proxy without its password, and cause are named once.

    FUNCTION_URL counts before the last deployment; without either, the remedy is named.
    """
    assert finds("FAILURE|function|run make deploy, or add OPTIONS='--url URL'")
    set_deployment(URL)
    os.environ["https_proxy"] = "http://user:password@127.0.0.1:9"
    os.environ["ICONIK_URL"] = "http://127.0.0.1:9"
    host, why = "us-central1-project.cloudfunctions.net", "[Errno 111] Connection refused."
    lines = [line for line in run("doctor")[1].splitlines() if line.startswith("FAILURE")]
    assert lines == [
        f"FAILURE  function: {host} cannot be reached through the proxy 127.0.0.1:9: {why}",
        f"FAILURE  iconik: 127.0.0.1:9 cannot be reached: {why}",
    ]
    os.environ["FUNCTION_URL"] = "http://127.0.0.1:9"
    assert finds("FAILURE|function|127.0.0.1:9 cannot be reached")


def test_a_removal_is_explained(site: Site, run: Run) -> None:
    """Each file set is named with what would become of it, and nothing is deleted."""
    asset, _ = site.asset([CLIP], title="Interview")
    growing, _ = site.asset([CLIP], master=[CLIP | {"status": "GROWING"}])
    for text in (asset, f"https://app.iconik.io/asset/{asset.upper()}"):
        assert run("doctor", "--asset", text) == (
            0,
            "Remove from LucidLink would now do this with Interview:\n"
            "  ORIGINAL, 1 file: is deleted: B2 has all of it.\n"
            "Nothing has been deleted.\n",
        )
    output = run("doctor", "--asset", growing)[1]
    assert "  ORIGINAL, 1 file: stays: clip.mov is still being written on B2 (GROWING).\n" in output
    output = run("doctor", "--asset", site.master())[1]
    assert "  Nothing: it has no files of ORIGINAL there.\n" in output
    assert site.copies() == 2
    unknown = "11f0aaaa-0000-4000-8000-00000000000a"
    for nothing, words in {"interview": "is neither the id", unknown: "Is the id right?"}.items():
        status, output = run("doctor", "--asset", nothing)
        assert (status, nothing in output, words in output) == (1, True, True)
