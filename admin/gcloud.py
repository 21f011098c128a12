"""The gcloud command of whoever runs these commands, to look something up.

https://cloud.google.com/sdk/gcloud/reference
"""

import os
import shutil
import subprocess

from storage_plugin.errors import AdministratorError


def ask(command: str, project: str) -> str:
    """Return what gcloud prints.

    Args:
        command: the words after `gcloud`, separated by spaces.
        project: the project's id; empty: the project in gcloud's configuration.

    Raises:
        AdministratorError: gcloud is not installed, or failed; the message is gcloud's own.
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
        raise AdministratorError(" ".join(result.stderr.split()) or f"{command} failed.")
    return result.stdout
