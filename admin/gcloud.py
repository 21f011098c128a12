"""The gcloud command: printed before it runs, and repeated until Google Cloud is consistent.

https://cloud.google.com/sdk/gcloud/reference
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from storage_plugin.errors import AdministratorError

PAUSES = (5.0, 10.0, 20.0, 40.0)
"""Seconds between attempts. New accounts and services take up to a minute to be known."""

_NEWS = re.compile(
    r"service account \S+ (does not exist|was not found)|unknown service account"
    r"|has not been used in project|API \[\S+\] not enabled",
    re.IGNORECASE,
)
"""The messages of gcloud when a new account or service is not known everywhere yet."""


class GcloudError(AdministratorError):
    """gcloud failed. The message is gcloud's own."""


@dataclass(frozen=True)
class Gcloud:
    """Runs gcloud without prompts.

    Attributes:
        say: prints a line.
        project: the project for all commands; empty: the project in gcloud's configuration.
        is_dry: whether commands are only printed.
        pauses: seconds between attempts while a new account or service is not known everywhere.
        sleep: waits for the given seconds.
    """

    say: Callable[[str], None]
    project: str = ""
    is_dry: bool = False
    pauses: Sequence[float] = ()
    sleep: Callable[[float], None] = time.sleep

    def run(self, command: str, *words: str, stdin: Callable[[], str] = str, dry: str = "") -> str:
        """Run a command and return its standard output.

        Args:
            command: the words after `gcloud`, separated by spaces.
            words: further words, which may contain spaces.
            stdin: returns the standard input, which is never printed.
            dry: the result if commands are only printed.

        Raises:
            GcloudError: gcloud failed.
            AdministratorError: gcloud is not installed.
        """
        project = [f"--project={self.project}"] if self.project else []
        line = ["gcloud", *command.split(), *words, *project]
        self.say(f"$ {shlex.join(line)}")
        if self.is_dry:
            return dry
        data = stdin()
        for pause in self.pauses:
            try:
                return _execute(line, data)
            except GcloudError as error:
                if not _NEWS.search(str(error)):
                    raise
            self.say(f"A new account or service takes a moment. Next attempt in {pause:.0f} s.")
            self.sleep(pause)
        return _execute(line, data)

    def read(self, command: str) -> Any:
        """Run a command that prints JSON, and return the value; an empty list if nothing runs."""
        return json.loads(self.run(f"{command} --format=json", dry="[]"))


def _execute(line: list[str], data: str) -> str:
    if not (program := shutil.which(line[0])):
        raise AdministratorError(
            "gcloud is not installed: see https://cloud.google.com/sdk/docs/install, or work in "
            "Cloud Shell, https://shell.cloud.google.com."
        )
    environ = {**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    result = subprocess.run(
        [program, *line[1:]], input=data, capture_output=True, text=True, check=False, env=environ
    )
    if result.returncode:
        raise GcloudError(result.stderr.strip() or f"gcloud ended with {result.returncode}.")
    return result.stdout
