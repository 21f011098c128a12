"""The administrator's commands: check the settings, create custom actions, and find faults.

They read the settings from .env.yaml, and from the environment, which takes precedence.
"""

import argparse
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

import yaml

from admin.custom_actions import CONTEXTS, create, name_of, target, wanted
from admin.doctor import FAILURE, WARNING, examine, explain_removal
from admin.installation import Installation, complete, read_variables, unknown_variables
from storage_plugin.errors import NotFound, PluginError
from storage_plugin.removal.report import count
from storage_plugin.settings import OVERRIDES, Settings, read_query
from storage_plugin.storages import find_storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except PluginError as error:
        hint = " Is the id right?" if isinstance(error, NotFound) else ""
        _say(f"{error}{hint}", sys.stderr)
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

    add = commands.add_parser("actions", parents=[function], help="create or update the actions")
    add.add_argument("--contexts", nargs="+", choices=CONTEXTS, default=CONTEXTS[:3])
    for name in OVERRIDES:
        add.add_argument(f"--{name}", nargs=1, help=f"the {name} in the actions' URLs")
    add.add_argument("--label", help="the storage's name in the titles; default: LucidLink")
    add.add_argument("--everyone", action="store_true", help="let all users see new actions")
    add.add_argument("--delete", dest="run", action="store_const", const=_delete)
    add.set_defaults(run=_create)
    return parser


def _settings(options: argparse.Namespace) -> None:
    """Print the whole environment of the function, as YAML for gcloud."""
    environment = complete(read_variables(), options.project, options.region)
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
    found = Counter[str]()
    for state, check, text in examine(installation):
        _say(f"{state:9}{check}: {text}")
        found[state] += 1
    _say(f"{count(found[WARNING], 'warning')}, {count(found[FAILURE], 'failure')}.")
    return found[FAILURE] > 0


def _create(options: argparse.Namespace) -> None:
    query = read_query({name: given for name in OVERRIDES if (given := getattr(options, name))})
    installation = Installation(options.url)
    url, iconik = installation.url, installation.iconik
    if "storage" in query:
        find_storage(iconik.storages(), "--storage", query["storage"])
    both = wanted(url, query, secret=installation.secret, label=options.label)
    access = {"read_access_for_everyone": True} if options.everyone else {}
    new = {"app_id": installation.settings.iconik_id, **access}
    actions = [{"context": each, **new, **action} for each in options.contexts for action in both]
    for sentence in create(iconik, actions):
        _say(sentence)


def _delete(options: argparse.Namespace) -> None:
    installation = Installation(options.url)
    url, iconik = installation.url, installation.iconik
    for action in [each for each in iconik.custom_actions() if target(each["url"]).function == url]:
        iconik.delete_custom_action(action)
        _say(f"Deleted {name_of(action)}, which called {action['url']}.")


def _say(text: str, file: TextIO | None = None) -> None:
    """Print a line at once. It cannot control the terminal, whatever iconik's names contain."""
    print("".join(char if char.isprintable() else "?" for char in text), file=file, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a command without a traceback.
    sys.exit(main())
