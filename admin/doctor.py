"""Checks everything that the plugin needs, and names a remedy for each fault."""

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import requests

from admin import files, gcloud
from admin.custom_actions import TITLES, VISIBILITY, secret_of, target
from admin.iconik import AdminIconik, CustomAction, connect
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.background.task import ATTEMPTS
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.iconik import Iconik, Storage, roles_of
from storage_plugin.plan import check_removal, find_storage, make_plan
from storage_plugin.secret_manager import Secret
from storage_plugin.settings import ARCHIVE, MASTER, Settings, read_query
from storage_plugin.webhook import SECRET_HEADER
from storage_plugin.wire import new_session

OK, WARNING, FAILURE = "ok", "warning", "failure"

T = TypeVar("T")


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
    403: "Google lets nobody in: deploy again, and read the output of the last step.",
    404: "There is no function at this URL: gcloud functions list shows the right one.",
}
"""Remedies, by the status of an answer that is not from the plugin."""

SECRETS = {
    405: (OK, "The function uses the same secret."),
    503: (FAILURE, "The function cannot read it: see the function's log."),
}
"""Verdicts, by the status of the answer to a GET with the secret."""

PATIENCE = 60.0
"""Seconds to wait for the function, which may have to start first."""


class Finding(NamedTuple):
    """The result of a check; `state`: ok, warning or failure."""

    check: str
    state: str
    text: str


Examination = Generator[Finding, None, T]
"""Yields findings, and returns what later checks need."""


def examine(url: str, shared_secret: Secret, token: Secret) -> Iterator[Finding]:
    """Check everything, and yield each finding at once.

    A check that depends on a failed one is skipped.

    Args:
        url: the function's URL, without a trailing slash; empty: the URL in the settings.
        shared_secret: the secret that iconik sends to the function.
        token: the application token.
    """
    settings = yield from _guarded("settings", _examine_settings())
    secret = yield from _guarded(shared_secret.name, _examine_secret(shared_secret))
    has_token = yield from _guarded(token.name, _examine_secret(token))
    url = url or (settings.function_url if settings else "")
    if settings and has_token:
        yield from _guarded("iconik", _examine_iconik(settings, token, url=url, secret=secret))
    yield from _examine_function(url, secret)
    if settings and settings.task_queue:
        yield from _examine_queue(settings.task_queue, settings.function_url, url)


def _guarded(check: str, examination: Examination[T]) -> Examination[T | None]:
    """Yield findings, and turn an error into a failure of the check; return its result, if any."""
    try:
        return (yield from examination)
    except PluginError as error:
        yield Finding(check, FAILURE, error.detail or str(error))
        return None


def _examine_settings() -> Examination[Settings]:
    for text in files.unknown_variables():
        yield Finding("settings", WARNING, text)
    settings = files.read_settings()
    yield Finding("settings", OK, f"Complete. iconik is {settings.iconik_url}.")
    return settings


def _examine_secret(secret: Secret) -> Examination[str]:
    value = secret.read()
    yield Finding(secret.name, OK, f"Read from {secret.source}.")
    return value


def _examine_iconik(
    settings: Settings, token: Secret, *, url: str, secret: str | None
) -> Examination[None]:
    iconik = connect(settings, token)
    user = iconik.current_user()
    yield Finding("iconik", OK, f"The token is valid. It acts as {user.name}.")
    if user.is_admin is False:
        yield Finding("administrator", WARNING, "That user cannot create custom actions.")
    yield from _guarded("roles", _examine_roles(iconik, settings))
    storages = iconik.storages()
    yield from _guarded("master storage", _examine_master(storages, settings))
    yield from _guarded("storage", _examine_storage(iconik, storages, settings))
    yield from _guarded(
        "custom actions", _examine_actions(iconik, storages, url=url, secret=secret)
    )


def _examine_roles(iconik: AdminIconik, settings: Settings) -> Examination[None]:
    roles, enough = iconik.current_roles(), []
    for purpose, needed in ROLES.items():
        missing = ", ".join(role for role in needed if role not in roles)
        if not missing:
            enough.append(purpose)
        elif ARCHIVE not in purpose or settings.archive_before_remove:
            state = FAILURE if purpose in VITAL else WARNING
            yield Finding(f"roles: {purpose}", state, f"The token's user needs {missing}.")
    if enough:
        yield Finding("roles", OK, f"Enough for: {'; '.join(enough)}.")


def _examine_master(storages: Sequence[Storage], settings: Settings) -> Examination[None]:
    check = "master storage"
    if not settings.master_storage_name:
        names = ", ".join(str(each.name) for each in storages if each.method == "B2") or "none"
        yield Finding(check, WARNING, f"Set {MASTER}, or all storages of type B2 count: {names}.")
        return
    master = find_storage(storages, MASTER, settings.master_storage_name)
    yield Finding(check, *_judge_storage(master))
    if master.method != "B2":
        yield Finding(check, WARNING, f"{master.name} is not of type B2: are the masters there?")


def _examine_storage(
    iconik: AdminIconik, storages: Sequence[Storage], settings: Settings
) -> Examination[None]:
    storage = find_storage(storages, "STORAGE_NAME", settings.storage_name)
    if settings.master_storage_name in (None, *(each.name for each in storages)):
        check_removal(make_plan(iconik, settings))
    yield Finding("storage", *_judge_storage(storage))
    for other in storages:
        if other.id != storage.id and other.mount_point == storage.mount_point is not None:
            text = (
                f"{other.name} has the same mount point, {storage.mount_point}: deleting a file "
                "from one deletes it from both."
            )
            yield Finding("storage", WARNING, text)
    name = storage.name
    state, text = {
        True: (OK, "iconik may delete there."),
        False: (FAILURE, f"Enable Delete in iconik's settings of {name}."),
        None: (WARNING, f"Unknown. Check that Delete is enabled in iconik's settings of {name}."),
    }[iconik.can_delete_on(storage.id)]
    yield Finding("deletion", state, text)


def _examine_actions(
    iconik: AdminIconik, storages: Sequence[Storage], *, url: str, secret: str | None
) -> Examination[None]:
    missing = set(TITLES)
    for action in iconik.custom_actions():
        called, own_secret = target(action.url), secret_of(action)
        if called.function == url if url else called.verb and own_secret:
            missing.discard(called.verb)
            yield from _guarded(str(action), _judge_action(action, storages, secret))
        elif called.verb and secret and own_secret == secret:
            yield Finding(str(action), WARNING, f"It calls {called.function}, not this function.")
    if missing:
        text = f"There is no action to {' or to '.join(sorted(missing))}: run actions create."
        yield Finding("custom actions", FAILURE, text)
    else:
        yield Finding("visibility", WARNING, VISIBILITY)


def _examine_function(url: str, secret: str | None) -> Examination[None]:
    """Call the function without the secret and, if the plugin answers, also with the secret."""
    if not url:
        yield Finding("function", WARNING, "Not checked: deploy the function, or add --url.")
        return
    session = new_session()
    # Do not read the bodies of the answers: any server may have sent them.
    options: Any = {"timeout": PATIENCE, "allow_redirects": False, "stream": True}
    try:
        answer = session.post(f"{url}/remove", **options)
        given = (answer.status_code, answer.headers.get("WWW-Authenticate"))
        if given != (401, SECRET_HEADER):
            remedy = STRANGERS.get(answer.status_code, "Check the URL, and see the function's log.")
            yield Finding("function", FAILURE, f"{url} answers {answer.status_code}. {remedy}")
            return
        yield Finding("function", OK, f"{url} refuses requests without the secret.")
        if secret:
            answer = session.get(url, headers={SECRET_HEADER: secret.encode()}, **options)
            other = (FAILURE, "The function uses another: was it deployed with a fixed version?")
            yield Finding("deployed secret", *SECRETS.get(answer.status_code, other))
    except (requests.RequestException, ValueError) as error:
        text = f"{url} cannot be reached ({type(error).__name__}): check the URL."
        yield Finding("function", FAILURE, text)


def _examine_queue(name: str, function_url: str, url: str) -> Examination[None]:
    """Check the queue's state with gcloud, and the URL to which it sends tasks."""
    if function_url != url:
        yield Finding("queue", WARNING, f"FUNCTION_URL differs from {url}.")
    _, project, _, location, _, queue = name.split("/")
    command = f"tasks queues describe {queue} --location={location} --format=json"
    try:
        row = json.loads(gcloud.ask(command, project))
    except AdministratorError as error:
        state = FAILURE if "NOT_FOUND" in str(error) else WARNING
        yield Finding("queue", state, f"gcloud cannot describe {name}: {error}")
        return
    if row["state"] != "RUNNING":
        text = f"It is {row['state']}: run gcloud tasks queues resume {queue}."
        yield Finding("queue", FAILURE, text)
    elif row.get("retryConfig", {}).get("maxAttempts") != ATTEMPTS:
        yield Finding("queue", WARNING, f"Set its --max-attempts to {ATTEMPTS}.")
    else:
        yield Finding("queue", OK, "It is running.")


def _judge_storage(storage: Storage) -> tuple[str, str]:
    text = f"{storage.name} is {storage.status}, of type {storage.method}."
    if storage.status == "ACTIVE":
        return OK, text
    return FAILURE, f"{text} Check its settings in iconik, and whether its gateway runs."


def _judge_action(
    action: CustomAction, storages: Sequence[Storage], secret: str | None
) -> Examination[None]:
    query = read_query(target(action.url).query)
    if "storage" in query:
        find_storage(storages, "Its URL", query["storage"])
    again = "run actions create again, with the same options as before."
    state, text = OK, f"It calls {action.url}."
    if action.type != "POST":
        state, text = FAILURE, f"Its type is {action.type} and must be POST: {again}"
    elif secret and secret_of(action) != secret:
        state, text = FAILURE, f"Its header {SECRET_HEADER} has another secret: {again}"
    elif action.is_disabled:
        state, text = WARNING, "It is disabled in iconik: enable it there if you need it."
    elif action.status == "FAILING":
        state, text = WARNING, f"It failed last time: {action.last_error} See the function's log."
    yield Finding(str(action), state, text)
