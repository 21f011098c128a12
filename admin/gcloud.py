"""The gcloud command of whoever runs these commands, to look something up.

https://cloud.google.com/sdk/gcloud/reference
"""

import os
import shutil
import subprocess

from storage_plugin.errors import AdministratorError

REMEDIES = {
    "gcloud auth login": "Nobody is logged in to gcloud: run gcloud auth login.",
    "attribute [project]": "gcloud has no project: run gcloud config set project PROJECT.",
    "NOT_FOUND": "Google does not know it: run make deploy.",
}
"""Remedies, by words in gcloud's message."""


def ask(command: str, project: str) -> str:
    """Return what gcloud prints.

    Args:
        command: the words after `gcloud`, separated by spaces.
        project: the project's id; empty: the project in gcloud's configuration.

    Raises:
        AdministratorError: gcloud is not installed, or failed; the message names the remedy, or is
            gcloud's own.
    """
    if not (program := shutil.which("gcloud")):
        raise AdministratorError(
            "gcloud is not installed: see https://cloud.google.com/sdk/docs/install, or work in "
            "Cloud Shell, https://shell.cloud.google.com."
        )
    words = [*command.split(), *([f"--project={project}"] if project else [])]
    environ = os.environ | {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    result = subprocess.run(
        [program, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environ,
    )
    if result.returncode:
        message = " ".join(result.stderr.split()) or f"gcloud {command} failed."
        remedies = [remedy for words, remedy in REMEDIES.items() if words in message]
        raise AdministratorError(*remedies[:1] or [message])
    return result.stdout
