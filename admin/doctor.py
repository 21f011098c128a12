"""Checks everything that the plugin needs, and names a remedy for each fault."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from admin import files
from admin.custom_actions import VISIBILITY, secret_of, target
from admin.iconik import AdminIconik, CustomAction
from admin.installation import Installation, ask, gcloud
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.errors import AdministratorError, NotFound, PluginError
from storage_plugin.evidence import look
from storage_plugin.iconik import Iconik, Storage, roles_of
from storage_plugin.plan import check_removal, find_storage, make_plan
from storage_plugin.report import count
from storage_plugin.rule import judge
from storage_plugin.settings import ARCHIVE, MASTER, read_query
from storage_plugin.webhook import ACTIONS, SECRET_HEADER

OK, WARNING, FAILURE = "ok", "warning", "failure"

Findings = Iterator[tuple[str, str]]
"""States, each with a sentence. A check that cannot go on raises PluginError instead."""


def _roles(*endpoints: Callable[..., object]) -> tuple[str, ...]:
    """Return the roles that some endpoints need, each once."""
    return tuple(dict.fromkeys(role for each in endpoints for role in roles_of(each)))


ROLES = {
    "Both": _roles(Iconik.storages),
    "Add": _roles(Iconik.copy),
    "Remove": _roles(Iconik.file_sets, Iconik.formats, Iconik.files, Iconik.delete_file_set),
    "Remove, with collections": _roles(Iconik.collection_contents),
    "Remove, with saved searches": _roles(Iconik.saved_search_results),
    "Remove, for the editor to see it": _roles(
        BackgroundIconik.create_job, BackgroundIconik.job, BackgroundIconik.asset_title
    ),
    f"Remove, with {ARCHIVE}": _roles(
        BackgroundIconik.transfers, BackgroundIconik.copy, BackgroundIconik.job
    ),
    "Custom actions by command": _roles(
        AdminIconik.custom_actions,
        AdminIconik.create_custom_action,
        AdminIconik.delete_custom_action,
    ),
}
"""The roles that the token's user needs, by purpose."""

VITAL = ("Both", "Add", "Remove", f"Remove, with {ARCHIVE}")

STRANGERS = {
    403: "Google lets nobody in: run make deploy, and read the output of its last step.",
    404: "No function is there: run gcloud functions list to see its URL.",
}
"""Remedies, by the status of an answer that is not the plugin's."""


class Finding(NamedTuple):
    """What a check has found; `state`: ok, warning or failure."""

    state: str
    check: str
    text: str


def examine(installation: Installation) -> Iterator[Finding]:
    """Carry out all checks, and yield each finding at once.

    A check that needs another one is skipped if that one was skipped or could not go on.
    """
    passed = set[str]()
    for name, needed, check in CHECKS:
        if passed.issuperset(needed):
            try:
                for state, text in check(installation):
                    yield Finding(state, name, text)
                passed.add(name)
            except PluginError as error:
                yield Finding(FAILURE, name, str(error))


def check_settings(installation: Installation) -> Findings:
    """Are all settings there, and does anything read each of them?"""
    for text in files.unknown_variables():
        yield WARNING, text
    settings = installation.settings
    yield OK, f"Complete. iconik is {settings.iconik_url}."
    if settings.storage_path == "/":
        yield (
            WARNING,
            "STORAGE_PATH is '/': all copies go into one folder, where files of one name collide. "
            "Set it to '' to keep the folders of the source.",
        )


def check_url(installation: Installation) -> Findings:
    """Which function is it about?"""
    yield OK, f"The function is at {installation.url}."
    deployed = files.Deployment.read().url
    if deployed not in ("", installation.url):
        yield WARNING, f"The last deployment from this folder was to {deployed}."


def check_shared_secret(installation: Installation) -> Findings:
    """Can this machine read the secret that custom actions send?"""
    yield OK, f"Read from {installation.shared_secret.source}."


def check_token(installation: Installation) -> Findings:
    """Can this machine read the application token?"""
    yield OK, f"Read from {installation.token.source}."


def check_iconik(installation: Installation) -> Findings:
    """Does iconik answer, and accept the token?"""
    user = installation.iconik.current_user()
    yield OK, f"It accepts the token, which acts as {user.name}."
    if user.is_admin is False:
        yield WARNING, f"{user.name} is no administrator, and cannot create custom actions."


def check_roles(installation: Installation) -> Findings:
    """Does the token's user have the roles for each purpose?"""
    given, enough = installation.iconik.current_roles(), []
    for purpose, needed in ROLES.items():
        missing = ", ".join(role for role in needed if role not in given)
        if not missing:
            enough.append(purpose)
        elif ARCHIVE not in purpose or installation.settings.archive_before_remove:
            state = FAILURE if purpose in VITAL else WARNING
            yield state, f"{purpose}: give the token's user {missing}."
    if enough:
        yield OK, f"Enough for: {'; '.join(enough)}."


def check_masters(installation: Installation) -> Findings:
    """Is the storage with the masters there?"""
    storages, name = installation.storages, installation.settings.master_storage_name
    if not name:
        names = ", ".join(str(each.name) for each in storages if each.method == "B2") or "none"
        yield WARNING, f"Set {MASTER}, or all storages of type B2 count: {names}."
        return
    master = find_storage(storages, MASTER, name)
    yield judge_storage(master)
    if master.method != "B2":
        yield WARNING, f"{name} is not of type B2: are the masters there?"


def check_storage(installation: Installation) -> Findings:
    """Is the storage to copy to there, and does it have files of its own?"""
    storages, name = installation.storages, installation.settings.storage_name
    storage = find_storage(storages, "STORAGE_NAME", name)
    yield judge_storage(storage)
    for other in storages:
        if other.id != storage.id and other.mount_point == storage.mount_point is not None:
            yield (
                WARNING,
                f"{other.name} has the same mount point, {storage.mount_point}: deleting a file "
                "from one deletes it from both.",
            )


def check_deletion(installation: Installation) -> Findings:
    """May files be deleted from the storage?"""
    plan = make_plan(installation.iconik, installation.settings)
    check_removal(plan)
    name, can_delete = plan.storage.name, installation.iconik.can_delete_on(plan.storage.id)
    remedy = f"in iconik's settings of {name}, enable Delete."
    yield {
        True: (OK, f"iconik may delete files from {name}."),
        False: (FAILURE, f"iconik may not delete files from {name}: {remedy}"),
        None: (WARNING, f"iconik does not say whether it may delete files from {name}: {remedy}"),
    }[can_delete]


def check_actions(installation: Installation) -> Findings:
    """Does iconik have custom actions that call the function in the right way?"""
    missing, sound = set(ACTIONS), 0
    for action in installation.iconik.custom_actions():
        called = target(action.url)
        if called.function == installation.url:
            missing.discard(called.verb)
            fault = find_fault(action, installation)
            sound += not fault
            yield from [fault] if fault else []
        elif called.verb and secret_of(action) == installation.shared_secret.value:
            yield WARNING, f"{action} calls {called.function}, not this function."
    if missing:
        yield FAILURE, f"There is no action to {' or to '.join(sorted(missing))}: run make actions."
    if sound:
        yield OK, f"{count(sound, 'action')} of iconik's menus will work. {VISIBILITY}"


def check_function(installation: Installation) -> Findings:
    """Is the plugin at the URL, and does it keep strangers out?"""
    url = installation.url
    answer = ask("POST", f"{url}/remove")
    given = (answer.status_code, answer.headers.get("WWW-Authenticate"))
    if given != (401, SECRET_HEADER):
        remedy = STRANGERS.get(answer.status_code, "Check the URL, and see the function's log.")
        raise AdministratorError(f"{url} answers {answer.status_code}. {remedy}")
    yield OK, "It refuses requests without the secret."


def check_deployed_secret(installation: Installation) -> Findings:
    """Does the function have the secret that this machine has?"""
    secret = installation.shared_secret.value.encode()
    answer = ask("GET", installation.url, {SECRET_HEADER: secret})
    other = (FAILURE, "The function has another secret: was it deployed with a fixed version?")
    yield {
        405: (OK, "The function has the same secret."),
        503: (FAILURE, "The function cannot read its secret: see its log."),
    }.get(answer.status_code, other)


def check_queue(installation: Installation) -> Findings:
    """Does the queue, if there is one, deliver tasks one by one?"""
    if not (name := installation.settings.task_queue):
        return
    _, project, _, location, _, queue = name.split("/")
    place = f"{queue} --location={location} --project={project}"
    row = json.loads(gcloud(f"tasks queues describe {place} --format=json"))
    if row["state"] != "RUNNING":
        yield FAILURE, f"It is {row['state']}: run gcloud tasks queues resume {place}."
    elif row.get("rateLimits", {}).get("maxConcurrentDispatches") != 1:
        yield (
            WARNING,
            "It delivers several tasks at once: run gcloud tasks queues update "
            f"{place} --max-concurrent-dispatches=1.",
        )
    else:
        yield OK, "It is running."


CHECKS: Sequence[tuple[str, Sequence[str], Callable[[Installation], Findings]]] = (
    ("settings", (), check_settings),
    ("url", ("settings",), check_url),
    ("bz-shared-secret", ("settings",), check_shared_secret),
    ("iconik-token", ("settings",), check_token),
    ("iconik", ("iconik-token",), check_iconik),
    ("roles", ("iconik",), check_roles),
    ("masters", ("iconik",), check_masters),
    ("storage", ("iconik",), check_storage),
    ("deletion", ("masters", "storage"), check_deletion),
    ("actions", ("iconik", "url", "bz-shared-secret"), check_actions),
    ("function", ("url",), check_function),
    ("deployed secret", ("function", "bz-shared-secret"), check_deployed_secret),
    ("queue", ("settings",), check_queue),
)
"""Each check, with the checks that it needs."""


def judge_storage(storage: Storage) -> tuple[str, str]:
    """Return a finding about the state of a storage."""
    text = f"{storage.name} is {storage.status}, of type {storage.method}."
    if storage.is_active:
        return OK, text
    return FAILURE, f"{text} Check its settings in iconik, and whether its gateway runs."


def find_fault(action: CustomAction, installation: Installation) -> tuple[str, str] | None:
    """Return a finding about a custom action that calls the function; None: it will work."""
    again = "run make actions again, with the same OPTIONS as before."
    try:
        query = read_query(target(action.url).query)
        if "storage" in query:
            find_storage(installation.storages, "storage= in its URL", query["storage"])
    except PluginError as error:
        return FAILURE, f"{action}: {error}"
    if action.type != "POST":
        return FAILURE, f"{action} is of type {action.type}, and must be POST: {again}"
    if secret_of(action) != installation.shared_secret.value:
        return FAILURE, f"{action} sends another secret: {again}"
    if action.is_disabled:
        return WARNING, f"{action} is disabled: enable it in iconik if you need it."
    if action.status == "FAILING":
        return WARNING, f"{action} failed last time: {action.last_error} See the function's log."
    return None


def explain_removal(installation: Installation, asset: str) -> Iterator[str]:
    """Yield what a removal of an asset would do now, and why. Nothing is deleted.

    Args:
        installation: the plugin.
        asset: the id of the asset, or its URL in iconik.

    Raises:
        AdministratorError: iconik has no such asset, or the storages do not allow a removal.
    """
    iconik, plan = installation.iconik, make_plan(installation.iconik, installation.settings)
    place = asset.lower().rpartition("/asset/")[2]
    ids = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", place)
    if not ids:
        raise AdministratorError(f"{asset} is neither the id of an asset nor its URL in iconik.")
    try:
        title = iconik.asset_title(ids[0])
    except NotFound:
        raise AdministratorError(f"iconik has no asset {ids[0]}.") from None
    evidence = look(iconik, ids[0], plan)
    yield f"Remove from {plan.storage.name} would now do this with {title or ids[0]}:"
    for file_set, why_keep in judge(evidence):
        masters = {each.storage_id for each in evidence.masters_of(file_set)}
        names = " or ".join(str(each.name) for each in plan.masters if each.id in masters)
        verdict = (
            f"stays: {why_keep}" if why_keep else f"is deleted: a complete master is on {names}"
        )
        of, files = evidence.formats[file_set.format_id].name, evidence.files_of(file_set)
        yield f"  {of}, {count(len(files), 'file')}: {verdict}."
    if not evidence.doomed:
        yield f"  Nothing: it has no files of {', '.join(plan.format_names)} there."
    yield "Nothing has been deleted."
