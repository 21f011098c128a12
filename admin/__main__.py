"""The administrator's commands: make custom actions in iconik, and find what is wrong.

They work with the function's settings, from .env.yaml and the environment, which wins.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from admin import custom_actions
from admin.doctor import FAILURE, Doctor
from admin.iconik import AdminIconik
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.pace import Deadline, Pace
from storage_plugin.rest import Rest
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET, Secret, SecretManager
from storage_plugin.settings import OVERRIDES, Settings, is_function_url, read_query
from storage_plugin.wire import new_session

FILE = Path(".env.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except PluginError as error:
        print(f"{error} {error.detail}".rstrip(), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m admin", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    actions = commands.add_parser("actions", help="custom actions in iconik's menus")
    kinds = actions.add_subparsers(required=True, metavar="COMMAND")

    create = kinds.add_parser("create", help="create them, or change those that differ")
    create.add_argument("--url", type=_url, required=True, help="of the function")
    create.add_argument(
        "--contexts",
        type=_contexts,
        default=custom_actions.CONTEXTS[:3],
        help=f"some of {','.join(custom_actions.CONTEXTS)}; the first three by default",
    )
    create.add_argument("--label", default="LucidLink", help="what the titles call the storage")
    for name, variable in OVERRIDES.items():
        create.add_argument(f"--{name}", help=f"another {variable} for these actions")
    create.set_defaults(run=_create)

    kinds.add_parser("list", help="show what stands").set_defaults(run=_list)

    delete = kinds.add_parser("delete", help="delete those that call a function")
    delete.add_argument("--url", type=_url, required=True, help="of the function")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.set_defaults(run=_delete)

    doctor = commands.add_parser("doctor", help="find what is wrong, and what to do")
    doctor.add_argument("--url", type=_url, help="of the function; FUNCTION_URL where it is set")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.set_defaults(run=_doctor)
    return parser


def _url(text: str) -> str:
    url = text.rstrip("/")
    if not is_function_url(url) or url.endswith(("/add", "/remove")):
        raise argparse.ArgumentTypeError("it must be the function's URL, with https, nothing after")
    return url


def _contexts(text: str) -> list[str]:
    contexts = text.split(",")
    if not set(contexts) <= set(custom_actions.CONTEXTS):
        raise argparse.ArgumentTypeError(f"choose from {','.join(custom_actions.CONTEXTS)}")
    return list(dict.fromkeys(contexts))


def _create(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(_environment())
    query = {name: value for name in OVERRIDES if (value := getattr(options, name)) is not None}
    query = read_query({name: [value] for name, value in query.items()})
    shared_secret, token = _secrets()
    secret = shared_secret.read()
    wanted = custom_actions.wanted(options.url, options.contexts, options.label, query, secret)
    for sentence in custom_actions.create(_connect(settings, token), wanted, settings.iconik_id):
        _print(sentence)
    return 0


def _list(_: argparse.Namespace) -> int:
    iconik = _connect(Settings.from_environment(_environment()), _secrets()[1])
    actions = [action for action in iconik.custom_actions() if custom_actions.target(action)[0]]
    for action in actions:
        state = "disabled" if action.is_disabled else action.status or "of unknown health"
        error = f", last error: {action.last_error}" if action.last_error else ""
        _print(f"{action.title} ({action.context}) calls {action.url}: {state}{error}")
    if not actions:
        _print("iconik has no custom actions of the plugin.")
    return 0


def _delete(options: argparse.Namespace) -> int:
    settings, token = Settings.from_environment(_environment()), _secrets()[1]
    standing = _connect(settings, token).custom_actions()
    doomed = [action for action in standing if custom_actions.target(action)[0] == options.url]
    for action in doomed:
        _print(f"{action.title} ({action.context}) calls {action.url}")
    if not doomed:
        _print(f"No custom action calls {options.url}.")
    elif options.yes or _agrees(f"Delete these {len(doomed)}? [y/N] "):
        iconik = _connect(settings, token)  # Anew, for the answer may have taken a while.
        for action in doomed:
            iconik.delete_custom_action(action)
            _print(f"Deleted {action.title} ({action.context}).")
    else:
        _print("Nothing is deleted.")
    return 0


def _agrees(question: str) -> bool:
    try:
        return input(question).lower() in ("y", "yes")
    except EOFError:  # Nobody is there to be asked.
        return False


def _doctor(options: argparse.Namespace) -> int:
    shared_secret, token = _secrets()
    doctor = Doctor(options.url, shared_secret, token, lambda settings: _connect(settings, token))
    doctor.examine(_environment)
    if options.json:
        print(json.dumps([asdict(finding) for finding in doctor.findings], indent=2))
    else:
        width = max(len(finding.check) for finding in doctor.findings)
        for finding in doctor.findings:
            _print(f"{finding.state:8}{finding.check:{width}}  {finding.text}")
    return int(any(finding.state == FAILURE for finding in doctor.findings))


def _environment() -> Mapping[str, str]:
    """Add the settings of .env.yaml to the environment, and return it.

    Raises:
        AdministratorError: the file is none that gcloud would take.
    """
    try:
        values = (yaml.safe_load(FILE.read_text()) if FILE.exists() else None) or {}
        for name, value in values.items():
            os.environ.setdefault(name, value)
    except (AttributeError, OSError, TypeError, ValueError, yaml.YAMLError):
        raise AdministratorError(
            f"{FILE} must name settings and their values, as in .env.yaml.example, all in quotes."
        ) from None
    return os.environ


def _secrets() -> tuple[Secret, Secret]:
    """Return the shared secret and the application token, not yet read."""
    access = SecretManager().access
    return Secret(*SHARED_SECRET, access=access), Secret(*ICONIK_TOKEN, access=access)


def _connect(settings: Settings, token: Secret) -> AdminIconik:
    session, deadline = new_session(), Deadline(120)
    return AdminIconik(
        Rest(session, settings, read_token=token.read, pace=Pace(), deadline=deadline)
    )


def _print(text: str) -> None:
    """Print a line; what iconik sends may hold anything, but must not steer the terminal."""
    print("".join(char if char.isprintable() else "?" for char in text))


if __name__ == "__main__":
    sys.exit(main())
