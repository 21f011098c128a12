"""The administrator's commands: check the settings, create custom actions, and find faults.

They read the settings from .env.yaml, and from the environment, which takes precedence.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a command without a traceback.

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence

from admin import custom_actions, files
from admin.custom_actions import CONTEXTS, target
from admin.doctor import FAILURE, WARNING, examine, explain_removal
from admin.installation import Installation
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.removal.report import count
from storage_plugin.settings import OVERRIDES, read_query
from storage_plugin.storages import find_storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except PluginError as error:
        print(_printable(str(error)), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m admin", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    function = argparse.ArgumentParser(add_help=False)
    text = "the function's URL; default: FUNCTION_URL, or else the last deployment"
    function.add_argument("--url", help=text)

    add = commands.add_parser("settings", help="check .env.yaml, and print what is deployed")
    add.add_argument("project", help="the id of the Google Cloud project")
    add.add_argument("region", help="the function's region")
    add.set_defaults(run=_settings)

    add = commands.add_parser("doctor", parents=[function], help="find faults and their remedies")
    text = "only show what a removal of this asset would do: its id, or its URL in iconik"
    add.add_argument("--asset", help=text)
    add.set_defaults(run=_doctor)

    actions = commands.add_parser("actions", help="custom actions in iconik's menus")
    commands = actions.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="list the plugin's actions").set_defaults(run=_list)
    text = "delete the actions that call the function"
    add = commands.add_parser("delete", parents=[function], help=text)
    add.set_defaults(run=_delete)
    text = "create the actions, or update those that differ"
    add = commands.add_parser("create", parents=[function], help=text)
    add.add_argument("--contexts", default="ASSET,COLLECTION,BULK", help=f"of {','.join(CONTEXTS)}")
    for name in OVERRIDES:
        add.add_argument(f"--{name}", help=f"the {name} in the actions' URLs")
    add.add_argument("--label", help="the storage's name in the titles; default: LucidLink")
    add.add_argument("--everyone", action="store_true", help="let all users see new actions")
    add.set_defaults(run=_create)
    return parser


def _settings(options: argparse.Namespace) -> None:
    environment = files.environment(options.project, options.region)
    for text in files.unknown_variables():
        print(_printable(f"Warning: {text}"), file=sys.stderr)
    print(environment, end="")


def _doctor(options: argparse.Namespace) -> int:
    installation = Installation(options.url)
    if options.asset:
        for sentence in explain_removal(installation, options.asset):
            _print(sentence)
        return 0
    found: dict[str, list[str]] = {WARNING: [], FAILURE: []}
    for state, check, text in examine(installation):
        found.setdefault(state, []).append(check)
        _print(f"{state:9}{check}: {text}", indent=9)
    _print(f"{count(len(found[WARNING]), 'warning')}, {count(len(found[FAILURE]), 'failure')}.")
    if failed := dict.fromkeys(found[FAILURE]):
        _print(f"To fix: {', '.join(failed)}.")
    return int(bool(failed))


def _create(options: argparse.Namespace) -> None:
    contexts = dict.fromkeys(options.contexts.split(","))
    if unknown := contexts.keys() - CONTEXTS:
        raise AdministratorError(f"--contexts: choose from {','.join(CONTEXTS)}, not {unknown}.")
    given = {name: getattr(options, name) for name in OVERRIDES}
    query = read_query({name: [value] for name, value in given.items() if value is not None})
    installation = Installation(options.url)
    iconik, url, secret = installation.iconik, installation.url, installation.secret
    if "storage" in query:
        find_storage(iconik.storages(), "--storage", query["storage"])
    both = custom_actions.wanted(url, query, secret=secret, label=options.label)
    actions = [{"context": context, **action} for context in contexts for action in both]
    extras: dict[str, object] = {"app_id": installation.settings.iconik_id}
    extras |= {"read_access_for_everyone": True} if options.everyone else {}
    for sentence in custom_actions.create(iconik, actions, extras):
        _print(sentence)


def _list(_: argparse.Namespace) -> None:
    actions = Installation().iconik.custom_actions()
    ours = [action for action in actions if target(action.url).verb]
    for action in ours:
        state = "disabled" if action.is_disabled else action.status or "unknown"
        _print(f"{action}, {state}: {action.url} {action.last_error}".rstrip())
    if not ours:
        _print("iconik has no custom actions of the plugin: make actions creates them.")


def _delete(options: argparse.Namespace) -> None:
    installation = Installation(options.url)
    url, iconik = installation.url, installation.iconik
    for action in [each for each in iconik.custom_actions() if target(each.url).function == url]:
        iconik.delete_custom_action(action)
        _print(f"Deleted {action}, which called {action.url}.")


def _print(text: str, indent: int = 2) -> None:
    """Print a paragraph whose lines are indented, except the first one."""
    wrapper = textwrap.TextWrapper(
        max(shutil.get_terminal_size((120, 24)).columns, 60),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    print(wrapper.fill(_printable(text)), flush=True)


def _printable(text: str) -> str:
    """Return text that cannot control the terminal, whatever iconik's names contain."""
    return "".join(char if char.isprintable() else "?" for char in text)


if __name__ == "__main__":
    sys.exit(main())
