"""The administrator's commands: check the settings, create custom actions, and find faults.

They read the settings from .env.yaml, and from the environment, which takes precedence.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a command without a traceback.

import argparse
import sys
from collections.abc import Sequence
from typing import TextIO

import yaml

from admin import custom_actions
from admin.custom_actions import CONTEXTS, target
from admin.doctor import FAILURE, OK, WARNING, examine, explain_removal
from admin.installation import MISSING, Installation, complete, read_variables, unknown_variables
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.removal.report import count
from storage_plugin.settings import OVERRIDES, Settings, read_query
from storage_plugin.storages import find_storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except PluginError as error:
        _say(str(error), sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m admin", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    function = argparse.ArgumentParser(add_help=False)
    function.add_argument("--url", help="the function's URL; default: that of the last deployment")

    add = commands.add_parser("settings", help="check .env.yaml, and print what is deployed")
    add.add_argument("project", help="the id of the Google Cloud project")
    add.add_argument("region", help="the function's region")
    add.set_defaults(run=_settings)

    add = commands.add_parser("doctor", parents=[function], help="find faults and their remedies")
    add.add_argument("--asset", help="only show what a removal of this asset (id or URL) would do")
    add.set_defaults(run=_doctor)

    actions = commands.add_parser("actions", help="custom actions in iconik's menus")
    commands = actions.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("list", help="list the plugin's actions")
    add.set_defaults(run=_list)
    add = commands.add_parser("delete", parents=[function], help="delete the function's actions")
    add.set_defaults(run=_delete)
    add = commands.add_parser("create", parents=[function], help="create or update the actions")
    add.add_argument("--contexts", default="ASSET,COLLECTION,BULK", help=f"of {','.join(CONTEXTS)}")
    for name in OVERRIDES:
        add.add_argument(f"--{name}", help=f"the {name} in the actions' URLs")
    add.add_argument("--label", help="the storage's name in the titles; default: LucidLink")
    add.add_argument("--everyone", action="store_true", help="let all users see new actions")
    add.set_defaults(run=_create)
    return parser


def _settings(options: argparse.Namespace) -> None:
    """Print the whole environment of the function, as YAML for gcloud."""
    if not (variables := read_variables()):
        raise AdministratorError(MISSING)
    if not options.project:
        raise AdministratorError("No project is selected: run gcloud config set project PROJECT.")
    environment = complete(variables, options.project, options.region)
    Settings.from_environment(environment)
    for text in unknown_variables():
        _say(f"Warning: {text}", sys.stderr)
    yaml.safe_dump(environment, sys.stdout, default_style="'", width=sys.maxsize)


def _doctor(options: argparse.Namespace) -> bool:
    installation = Installation(options.url)
    if options.asset:
        for sentence in explain_removal(installation, options.asset):
            _say(sentence)
        return False
    found: dict[str, list[str]] = {OK: [], WARNING: [], FAILURE: []}
    for state, check, text in examine(installation):
        _say(f"{state:9}{check}: {text}")
        found[state].append(check)
    failed = found[FAILURE]
    _say(f"{count(len(found[WARNING]), 'warning')}, {count(len(failed), 'failure')}.")
    if failed:
        _say(f"To fix: {', '.join(dict.fromkeys(failed))}.")
    return bool(failed)


def _create(options: argparse.Namespace) -> None:
    contexts = dict.fromkeys(options.contexts.split(","))
    if unknown := contexts.keys() - CONTEXTS:
        raise AdministratorError(f"--contexts: choose from {','.join(CONTEXTS)}, not {unknown}.")
    given = {name: value for name in OVERRIDES if (value := getattr(options, name)) is not None}
    query = read_query({name: [value] for name, value in given.items()})
    installation = Installation(options.url)
    iconik, url, secret = installation.iconik, installation.url, installation.secret
    if "storage" in query:
        find_storage(iconik.storages(), "--storage", query["storage"])
    both = custom_actions.wanted(url, query, secret=secret, label=options.label)
    actions = [{"context": context, **action} for context in contexts for action in both]
    extras: dict[str, object] = {"app_id": installation.settings.iconik_id}
    extras |= {"read_access_for_everyone": True} if options.everyone else {}
    for sentence in custom_actions.create(iconik, actions, extras):
        _say(sentence)


def _list(_: argparse.Namespace) -> None:
    actions = Installation().iconik.custom_actions()
    ours = [action for action in actions if target(action.url).verb]
    for action in ours:
        state = "disabled" if action.is_disabled else action.status or "unknown"
        _say(f"{action}, {state}: {action.url} {action.last_error}".rstrip())
    if not ours:
        _say("iconik has no custom actions of the plugin: make actions creates them.")


def _delete(options: argparse.Namespace) -> None:
    installation = Installation(options.url)
    url, iconik = installation.url, installation.iconik
    for action in [each for each in iconik.custom_actions() if target(each.url).function == url]:
        iconik.delete_custom_action(action)
        _say(f"Deleted {action}, which called {action.url}.")


def _say(text: str, file: TextIO | None = None) -> None:
    """Print a line at once. It cannot control the terminal, whatever iconik's names contain."""
    print("".join(char if char.isprintable() else "?" for char in text), file=file, flush=True)


if __name__ == "__main__":
    sys.exit(main())
