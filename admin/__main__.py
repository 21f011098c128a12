"""The administrator's commands: deploy the function, create custom actions, and find faults.

They read the settings from .env.yaml, and from the environment, which takes precedence.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback.

import argparse
import getpass
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence

from admin import __version__, custom_actions, files
from admin.custom_actions import CONTEXTS, target
from admin.deploy import deploy
from admin.doctor import FAILURE, OK, WARNING, examine, explain_removal
from admin.gcloud import PAUSES, Gcloud
from admin.iconik import CustomAction
from admin.installation import Installation
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.plan import find_storage
from storage_plugin.report import count
from storage_plugin.settings import OVERRIDES, is_function_url, read_query

COLOURS = {OK: 32, WARNING: 33, FAILURE: 31}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except PluginError as error:
        print(_printable(error.detail or str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. To continue, run the same command again.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m admin", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    function = argparse.ArgumentParser(add_help=False)
    text = "the function's URL; default: FUNCTION_URL, or else the last deployment"
    function.add_argument("--url", type=_url, help=text)
    which = argparse.ArgumentParser(add_help=False, parents=[function])
    which.add_argument("--contexts", type=_contexts, help=f"one or more of {','.join(CONTEXTS)}")
    which.add_argument("--storage", help="the storage in the actions' URLs")
    which.add_argument("--format", help="the formats in the actions' URLs")
    which.add_argument("--path", help="the folder in the actions' URLs")

    add = commands.add_parser("deploy", help="deploy the function and everything that it needs")
    text = "only print the commands of a first run"
    add.add_argument("--dry-run", action="store_true", help=text)
    add.set_defaults(run=_deploy)

    add = commands.add_parser("doctor", parents=[function], help="find faults and their remedies")
    text = "only show what a removal of this asset would do: its id, or its URL in iconik"
    add.add_argument("--asset", help=text)
    add.set_defaults(run=_doctor)

    actions = commands.add_parser("actions", help="custom actions in iconik's menus")
    commands = actions.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="list the plugin's actions").set_defaults(run=_list)

    text = "create the actions, or update those that differ"
    add = commands.add_parser("create", parents=[which], help=text)
    add.add_argument("--label", help="the storage's name in the titles; default: LucidLink")
    add.add_argument("--everyone", action="store_true", help="let all users see new actions")
    add.set_defaults(run=_create)

    text = "delete the actions that call the function"
    add = commands.add_parser("delete", parents=[which], help=text)
    add.add_argument("--yes", action="store_true", help="do not ask")
    add.set_defaults(run=_delete)
    return parser


def _url(text: str) -> str:
    url = text.rstrip("/")
    if not is_function_url(url) or target(url).verb:
        raise argparse.ArgumentTypeError(
            "it must be the function's URL: https, and no /add or /remove"
        )
    return url


def _contexts(text: str) -> list[str]:
    contexts = text.split(",")
    if not set(contexts) <= set(CONTEXTS):
        raise argparse.ArgumentTypeError(f"choose from {','.join(CONTEXTS)}")
    return list(dict.fromkeys(contexts))


def _doctor(options: argparse.Namespace) -> int:
    installation = Installation(options.url)
    if options.asset:
        for sentence in explain_removal(installation, options.asset):
            _print(sentence)
        return 0
    findings = []
    for finding in examine(installation):
        findings.append(finding)
        text = f"{finding.state:9}{finding.check}: {finding.text}"
        _print(text, indent=9, colour=COLOURS[finding.state])
    states = Counter(finding.state for finding in findings)
    failed = dict.fromkeys(finding.check for finding in findings if finding.state == FAILURE)
    faults = f"{count(states[WARNING], 'warning')}, {count(states[FAILURE], 'failure')}"
    _print(f"{states[OK]} ok, {faults}." + (f" To fix: {', '.join(failed)}." if failed else ""))
    return int(bool(failed))


def _create(options: argparse.Namespace) -> None:
    installation, overrides = Installation(options.url), read_query(_overrides(options))
    if "storage" in overrides:
        find_storage(installation.storages, "--storage", overrides["storage"])
    actions = custom_actions.wanted(
        installation.url,
        options.contexts or CONTEXTS[:3],
        label=options.label,
        query=overrides,
        secret=installation.shared_secret.value,
    )
    extras: dict[str, object] = {"app_id": installation.settings.iconik_id}
    if options.everyone:
        extras["read_access_for_everyone"] = True
    for sentence in custom_actions.create(installation.iconik, actions, extras):
        _print(sentence)


def _list(_: argparse.Namespace) -> None:
    actions = Installation().iconik.custom_actions()
    actions = [action for action in actions if target(action.url).verb]
    _print_actions(actions)
    if not actions:
        _print("iconik has no custom actions of the plugin: make actions creates them.")


def _delete(options: argparse.Namespace) -> None:
    installation = Installation(options.url)
    url, iconik = installation.url, installation.iconik
    contexts, query = options.contexts or CONTEXTS, _overrides(options)
    doomed = custom_actions.matching(iconik.custom_actions(), url, contexts, query)
    _print_actions(doomed)
    if not doomed:
        _print(f"No matching custom action calls {url}.")
    elif options.yes or _agrees(f"Delete these {len(doomed)}? [y/N] "):
        for action in doomed:
            iconik.delete_custom_action(action)
            _print(f"Deleted {action}.")
    else:
        _print("Nothing was deleted.")


def _overrides(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the query of the actions' URLs that the options name."""
    given = {name: getattr(options, name) for name in OVERRIDES}
    return {name: [value] for name, value in given.items() if value is not None}


def _agrees(question: str) -> bool:
    try:
        return input(question).lower() in ("y", "yes")
    except EOFError:  # There is nobody to ask.
        return False


def _print_actions(actions: Sequence[CustomAction]) -> None:
    for action in actions:
        state = "disabled" if action.is_disabled else action.status or "unknown"
        _print(f"{action}, {state}: {action.url}")
        if action.last_error:
            _print(f"  Last error: {action.last_error}")


def _print(text: str, indent: int = 0, colour: int = 0) -> None:
    """Print a paragraph, whose first word a terminal shows in a colour."""
    width = max(shutil.get_terminal_size((120, 24)).columns, 60)
    text = textwrap.fill(
        _printable(text),
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    if colour and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        state = text.split()[0]
        text = text.replace(state, f"\033[{colour}m{state}\033[0m", 1)
    print(text, flush=True)


def _printable(text: str) -> str:
    """Return text that cannot control the terminal, whatever iconik's names contain."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _deploy(options: argparse.Namespace) -> None:
    if options.dry_run:
        print("Nothing is run. These are the commands of a first run:")
    url = deploy(Gcloud(print, is_dry=options.dry_run, pauses=PAUSES), _ask_token)
    if not options.dry_run:
        print(f"\nThe function is at {url} (saved in {files.DEPLOYMENT}).")
        print("Next: make actions creates the custom actions, and make doctor checks everything.")


def _ask_token() -> str:
    """Return the application token, typed without echo or read from standard input."""
    is_terminal = sys.stdin.isatty()
    prompt = "Paste the application token of iconik (it is not shown): "
    token = (getpass.getpass(prompt) if is_terminal else sys.stdin.readline()).strip()
    if not token:
        raise AdministratorError(
            "No token was entered: deploy again, and paste the token when asked."
        )
    return token


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
