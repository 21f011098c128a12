"""The administrator's commands: check the settings, create custom actions, and find faults.

They read the settings from .env.yaml, and from the environment, which takes precedence.
"""

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from admin import __version__, custom_actions, files, gcloud
from admin.custom_actions import CONTEXTS, target
from admin.doctor import FAILURE, OK, WARNING, Finding, examine
from admin.iconik import CustomAction, connect
from storage_plugin.errors import AdministratorError, PluginError
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET, Secret, unavailable
from storage_plugin.settings import OVERRIDES, Settings, is_function_url, read_query

VARIABLES = dict((SHARED_SECRET, ICONIK_TOKEN))

COLOURS = {OK: 32, WARNING: 33, FAILURE: 31}
MARGIN = 46
"""The column where the doctor's sentences begin."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except PluginError as error:
        _print(error.detail or str(error), sys.stderr)
        return 1
    except KeyboardInterrupt:
        _print("\nInterrupted. Run the same command again to continue.", sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m admin", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    function = argparse.ArgumentParser(add_help=False)
    function.add_argument(
        "--url", type=_url, help="the function's URL; default: the last deployment"
    )
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--contexts", type=_contexts, help=f"one or more of {','.join(CONTEXTS)}")
    which.add_argument("--storage", help="the storage in the actions' URLs")
    which.add_argument("--format", help="the formats in the actions' URLs")

    add = commands.add_parser("settings", help="check .env.yaml, and print what is deployed")
    add.add_argument("project", help="the id of the Google Cloud project")
    add.add_argument("region", help="the function's region")
    add.set_defaults(run=_settings)

    add = commands.add_parser("doctor", parents=[function], help="find faults and their remedies")
    add.add_argument("--json", action="store_true", help="print JSON")
    add.set_defaults(run=_doctor)

    actions = commands.add_parser("actions", help="custom actions in iconik's menus")
    commands = actions.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="list the plugin's actions").set_defaults(run=_list)

    text = "create the actions, or update those that differ"
    add = commands.add_parser("create", parents=[function, which], help=text)
    add.add_argument("--path", help="the folder in the actions' URLs")
    add.add_argument("--label", help="the storage's name in the titles; default: LucidLink")
    add.add_argument("--everyone", action="store_true", help="let all users see new actions")
    add.set_defaults(run=_create)

    text = "delete the actions that call the function"
    add = commands.add_parser("delete", parents=[function, which], help=text)
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


def _settings(options: argparse.Namespace) -> None:
    environment = files.environment(options.project, options.region)
    for text in files.unknown_variables():
        _print(f"Warning: {text}", sys.stderr)
    print(environment, end="")


def _create(options: argparse.Namespace) -> None:
    query = {name: [value] for name in OVERRIDES if (value := getattr(options, name)) is not None}
    overrides, settings = read_query(query), files.read_settings()
    shared_secret, token = _secrets()
    url, iconik = _function_url(options, settings), connect(settings, token)
    for sentence in custom_actions.check(iconik, overrides):
        _print(sentence)
    contexts, secret = options.contexts or CONTEXTS[:3], shared_secret.read()
    actions = custom_actions.wanted(
        url, contexts, label=options.label, query=overrides, secret=secret
    )
    extras: dict[str, object] = {"app_id": settings.iconik_id}
    if options.everyone:
        extras["read_access_for_everyone"] = True
    for sentence in custom_actions.create(iconik, actions, extras):
        _print(sentence)


def _list(_: argparse.Namespace) -> None:
    iconik = connect(files.read_settings(), _secrets()[1])
    actions = [action for action in iconik.custom_actions() if target(action.url).verb]
    _print_actions(actions)
    if not actions:
        _print("iconik has no custom actions of the plugin.")


def _delete(options: argparse.Namespace) -> None:
    settings = files.read_settings()
    url, iconik = _function_url(options, settings), connect(settings, _secrets()[1])
    query = {name: value for name in ("storage", "format") if (value := getattr(options, name))}
    contexts = options.contexts or CONTEXTS
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


def _agrees(question: str) -> bool:
    try:
        return input(question).lower() in ("y", "yes")
    except EOFError:  # There is nobody to ask.
        return False


def _print_actions(actions: Sequence[CustomAction]) -> None:
    """Print a table, with the last error of an action below it."""
    if not actions:
        return
    rows = [("TITLE", "CONTEXT", "STATE", "URL", "")]
    for action in actions:
        state = "disabled" if action.is_disabled else action.status or "unknown"
        rows.append((action.title, action.context, state, action.url, action.last_error))
    title, context, health = (max(len(row[column]) for row in rows) for column in range(3))
    for row in rows:
        _print(f"{row[0]:{title}}  {row[1]:{context}}  {row[2]:{health}}  {row[3]}")
        if row[4]:
            _print(f"  Last error: {row[4]}")


def _doctor(options: argparse.Namespace) -> int:
    findings = []
    for finding in examine(options.url or files.Deployment.read().url, *_secrets()):
        findings.append(finding)
        if not options.json:
            _print_finding(finding)
    failures = [finding for finding in findings if finding.state == FAILURE]
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        _sum_up(findings, failures)
    return int(bool(failures))


def _sum_up(findings: Sequence[Finding], failures: Sequence[Finding]) -> None:
    if failures:
        print("\nTo fix:")
    for finding in failures:
        _print_finding(finding)
    counts = Counter(finding.state for finding in findings)
    print(f"\n{counts[FAILURE]} failed, {counts[WARNING]} with a warning, {counts[OK]} ok.")


def _print_finding(finding: Finding) -> None:
    """Print a finding, with its sentence in the same column as all others."""
    head = _printable(f"{finding.state:8} {finding.check}")
    width = max(shutil.get_terminal_size((120, 24)).columns - MARGIN, 30)
    lines = textwrap.wrap(
        _printable(finding.text), width, break_long_words=False, break_on_hyphens=False
    )
    if len(head) > MARGIN - 2:
        lines.insert(0, "")
    text = f"\n{' ' * MARGIN}".join([f"{head:{MARGIN}}{lines[0]}".rstrip(), *lines[1:]])
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        text = f"\033[{COLOURS[finding.state]}m{text[:8]}\033[0m{text[8:]}"
    print(text, flush=True)


def _function_url(options: argparse.Namespace, settings: Settings) -> str:
    """Return the function's URL from the command line, the last deployment or the settings."""
    url = options.url or files.Deployment.read().url or settings.function_url
    if not url:
        raise AdministratorError(
            "The URL of the function is unknown: deploy the function, or add --url."
        )
    return str(url)


def _secrets() -> tuple[Secret, Secret]:
    """Return the shared secret and the application token, not yet read."""
    return Secret(*SHARED_SECRET, access=_access), Secret(*ICONIK_TOKEN, access=_access)


def _access(name: str) -> str:
    """Return the latest version of a secret, as gcloud reads it."""
    command = f"secrets versions access latest --secret={name}"
    try:
        return gcloud.ask(command, files.Deployment.read().project)
    except AdministratorError as error:
        why = f"{name} cannot be read on this machine: {error} Or set {VARIABLES[name]}."
        raise unavailable(name, why) from None


def _print(text: str, file: TextIO | None = None) -> None:
    for line in text.split("\n"):
        print(_printable(line), file=file, flush=True)


def _printable(text: str) -> str:
    """Return text that cannot control the terminal, whatever iconik's names contain."""
    return "".join(char if char.isprintable() else "?" for char in text)


if __name__ == "__main__":
    sys.exit(main())
