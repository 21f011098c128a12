"""Checks everything that the plugin needs, and names a remedy for each fault."""

import json
from collections.abc import Iterator

from admin.custom_actions import VISIBILITY, headers_of, name_of, target
from admin.installation import Installation, ask, ask_gcloud, unknown_variables
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.iconik import client
from storage_plugin.iconik.rows import Row
from storage_plugin.removal.evidence import Removal, look
from storage_plugin.removal.report import count
from storage_plugin.removal.rule import Kind, judge, why_nothing
from storage_plugin.settings import ARCHIVE, MASTER, read_query
from storage_plugin.storages import check_removal, find_storage, find_storages
from storage_plugin.webhook import ACTIONS, SECRET_HEADER, is_uuid

OK, WARNING, FAILURE = "ok", "WARNING", "FAILURE"
Findings = Iterator[tuple[str, str]]  # States, each with a sentence.
USES = {  # The methods of the client that each purpose needs.
    "Add and Remove": "storages",
    "Add": "copy",
    "Remove": "file_sets formats files delete_file_set transfers",
    "Remove, with collections": "collection_contents",
    "Remove, with saved searches": "saved_search_results",
    "Remove, for the editor to see it": "create_job job asset_title",
    f"Remove, with {ARCHIVE}": "transfers copy job",
    "Custom actions by command": "custom_actions create_custom_action delete_custom_action",
}
ROLES = {  # The roles that the token's user therefore needs for each purpose.
    purpose: tuple(dict.fromkeys(role for name in uses.split() for role in client.ROLES[name]))
    for purpose, uses in USES.items()
}


def examine(installation: Installation) -> Iterator[tuple[str, str, str]]:
    """Carry out all checks, and yield the state, check and sentence of each finding at once.

    An error that stops several checks, such as a missing setting, is a finding of the first check.
    """
    iconik = (check_iconik, check_roles, check_storages, check_actions)
    obstacles = set[str]()
    for check in (check_settings, check_function, check_queue, *iconik):
        name = check.__name__.removeprefix("check_")
        try:
            for state, text in check(installation):
                yield state, name, text
        except PluginError as error:
            if str(error) not in obstacles:
                yield FAILURE, name, str(error)
            obstacles.add(str(error))


def check_settings(installation: Installation) -> Findings:
    """Are all settings there, and does anything read each of them?"""
    for text in unknown_variables():
        yield WARNING, text
    yield OK, f"Complete. iconik is {installation.settings.iconik_url}."
    if "ORIGINAL" not in (names := installation.settings.format_names):
        yield WARNING, f"FORMAT_NAME has no ORIGINAL: does iconik have {', '.join(names)}?"
    if installation.settings.storage_path == "/":
        yield WARNING, "STORAGE_PATH is '/': files of one name may become one. '' keeps folders."


def check_function(installation: Installation) -> Findings:
    """Is the plugin at the URL, and has it the same secret?"""
    url = installation.url
    answer = ask("POST", f"{url}/remove")
    if (answer.status_code, answer.headers.get("WWW-Authenticate")) != (401, SECRET_HEADER):
        remedy = "check it with gcloud functions list, or run make deploy"
        raise AdministratorError(f"{url} answers {answer.status_code}: {remedy}.")
    yield OK, f"{url} refuses requests without the secret."
    status = ask("GET", url, {SECRET_HEADER: installation.secret}).status_code
    if status == 405:
        yield OK, "It has the same secret."
    else:
        yield FAILURE, "It has another secret, or cannot read its own: see its log."


def check_queue(installation: Installation) -> Findings:
    """Does the queue, if there is one, deliver tasks one by one?"""
    if not (name := installation.settings.task_queue):
        return
    row = json.loads(ask_gcloud(f"tasks queues describe {name} --format=json"))
    if row["state"] != "RUNNING":
        yield FAILURE, f"It is {row['state']}: run gcloud tasks queues resume {name}."
    elif row.get("rateLimits", {}).get("maxConcurrentDispatches") != 1:
        remedy = f"run gcloud tasks queues update {name} --max-concurrent-dispatches=1."
        yield WARNING, f"It delivers several tasks at once: {remedy}"
    else:
        yield OK, "It is running."


def check_iconik(installation: Installation) -> Findings:
    """Does iconik answer, and accept the token?"""
    user = installation.iconik.current_user()
    name = user.get("email") or user.get("id")
    yield OK, f"It accepts the token, which acts as {name}."
    if user.get("is_admin") is False:
        yield WARNING, f"{name} is not an administrator, and cannot create custom actions."


def check_roles(installation: Installation) -> Findings:
    """Does the token's user have the roles for each purpose?"""
    given, enough = installation.iconik.current_roles(), []
    for purpose, roles in ROLES.items():
        missing = ", ".join(role for role in roles if role not in given)
        if not missing:
            enough.append(purpose)
        elif ARCHIVE not in purpose or installation.settings.archive_before_remove:
            is_vital = purpose in ("Add and Remove", "Add", "Remove") or ARCHIVE in purpose
            yield FAILURE if is_vital else WARNING, f"{purpose}: give the token's user {missing}."
    if enough:
        yield OK, f"Enough for: {'; '.join(enough)}."


def check_storages(installation: Installation) -> Findings:
    """Are the storages there, and may files be deleted from the one to copy to?"""
    iconik, listed = installation.iconik, installation.iconik.storages()
    found = find_storages(listed, installation.settings)
    check_removal(found, listed)
    storage, names = found.storage, ", ".join(each.name for each in found.masters)
    if not found.master:
        yield WARNING, f"Set {MASTER}, or all storages of type B2 count: {names}."
    elif found.master.method != "B2":
        yield WARNING, f"{names} is not of type B2: are the masters there?"
    for each in (storage, *found.masters):
        text = f"{each.name} is {each.status}, of type {each.method}."
        if each.status == "ACTIVE":
            yield OK, text
        else:
            yield FAILURE, f"{text} Check its settings in iconik, and its gateway."
    same = [each.name for each in listed if each.mount_point == storage.mount_point is not None]
    if len(same) > 1:
        yield WARNING, f"{' and '.join(map(str, same))} are one place, {storage.mount_point}."
    state, may = {
        True: (OK, "may"),
        False: (FAILURE, "may not"),
        None: (WARNING, "does not say whether it may"),
    }[iconik.can_delete_on(storage.id)]
    remedy = "" if state == OK else " In its settings in iconik, enable Delete."
    yield state, f"iconik {may} delete files from {storage.name}.{remedy}"


def check_actions(installation: Installation) -> Findings:
    """Does iconik have custom actions that call the function in the right way?"""
    url, missing, sound = installation.url, set(ACTIONS), 0
    for action in installation.iconik.custom_actions():
        called = target(action["url"])
        if called.function == url:
            missing.discard(called.verb)
            if fault := find_fault(action, installation):
                yield fault
            else:
                sound += 1
        elif called.verb or action["url"].startswith(f"{url}/"):
            remedy = "if that is wrong, delete it in iconik, and run make actions"
            yield WARNING, f"{name_of(action)} calls {action['url']}, not {url}: {remedy}."
    if missing:
        yield FAILURE, f"There is no action to {' or to '.join(sorted(missing))}: run make actions."
    if sound:
        yield OK, f"{count(sound, 'action')} will work. {VISIBILITY}"


def find_fault(action: Row, installation: Installation) -> tuple[str, str] | None:
    """Return a finding about an action that calls the function, or None if it will work."""
    name = name_of(action)
    try:
        query = read_query(target(action["url"]).query)
        if "storage" in query:
            listed = installation.iconik.storages()
            find_storage(listed, "storage= in its URL", query["storage"])
    except PluginError as error:
        return FAILURE, f"{name}: {error}"
    headers = {header.lower(): value for header, value in headers_of(action).items()}
    if action.get("type") != "POST" or headers.get(SECRET_HEADER) != installation.secret:
        remedy = "run make actions again, with the same OPTIONS as before"
        return FAILURE, f"{name} is not of type POST, or sends another secret: {remedy}."
    if action.get("disabled"):
        return WARNING, f"{name} is disabled: enable it in iconik if you need it."
    if action.get("status") == "FAILING":
        reason = action["last_error"]
        for value in filter(None, map(str, headers.values())):  # iconik may quote them.
            reason = reason.replace(value, "***")
        return WARNING, f"{name} failed last time: {reason} See the function's log."
    return None


def explain_removal(installation: Installation, asset: str) -> Iterator[str]:
    """Yield what a removal of an asset, by its id or URL, would do now, and why; delete nothing."""
    settings = installation.settings
    asset_id = asset.lower().rpartition("/asset/")[2].partition("?")[0].strip("/")
    if not is_uuid(asset_id):
        raise AdministratorError(f"{asset} is neither the id of an asset nor its URL in iconik.")
    title = installation.iconik.asset_title(asset_id)
    evidence = look(Removal(installation.iconik, settings), asset_id)
    here = evidence.storage_name(evidence.storage.id)
    yield f"Remove from {here} would now do this with {title or asset_id}:"
    for file_set, verdict in judge(evidence):
        there = {evidence.storage_name(each.storage_id) for each in evidence.masters_of(file_set)}
        goes = f"is deleted: {' or '.join(sorted(there))} has all of it"
        what = goes if verdict.kind is Kind.GOES else f"stays: {verdict.reason}"
        size = count(len(evidence.files[file_set.id]), "file")
        yield f"  {evidence.format_of(file_set)}, {size}: {what}."
    if not evidence.doomed:
        nothing = f"it has no files of {', '.join(settings.format_names)} there"
        yield f"  Nothing: {'; '.join(why_nothing(evidence)) or nothing}."
    yield "Nothing has been deleted."
