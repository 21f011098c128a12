"""The real gcloud, which parses commands though nobody is logged in."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

GCLOUD = shutil.which("gcloud")

needs_gcloud = pytest.mark.skipif(
    not GCLOUD, reason="gcloud is not installed: what Google gets is NOT tested"
)

PARSE = """
import json, sys
from googlecloudsdk import gcloud_main

gcloud = gcloud_main.CreateCLI([])
for words in json.load(sys.stdin):
    status = 0
    try:
        gcloud.Execute(words)
    except SystemExit as end:
        status = end.code
    sys.stderr.write(f"ends with {status}@")
    sys.stderr.flush()
"""
"""Runs commands in one process of gcloud's own Python: each by itself takes a second."""


def refused(lines: Sequence[str], folder: Path) -> list[str]:
    """Return the commands that gcloud does not know, with its words.

    Args:
        lines: commands.
        folder: where they run, with .env.yaml and the other files that they name.
    """
    environ = {
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "PYTHONWARNINGS": "ignore",  # gcloud itself is not free of warnings.
    }
    places = "--format=value[separator=' '](installation.sdk_root,basic.python_location)"
    root, python = subprocess.check_output(
        [str(GCLOUD), "info", places], env=os.environ | environ, text=True
    ).split()
    text = re.sub(r"(--env-vars-file[= ])\S+", rf"\1{folder}/.env.yaml", "\n".join(lines))
    commands = [shlex.split(line)[1:] for line in text.splitlines()]
    result = subprocess.run(
        [python, "-c", PARSE],
        cwd=folder,
        input=json.dumps(commands),
        env=environ | {"PYTHONPATH": f"{root}/lib:{root}/lib/third_party"},
        capture_output=True,
        text=True,
        check=False,
    )
    ends = result.stderr.split("@")[:-1]
    assert len(ends) == len(lines), result.stderr
    # A command that gcloud knows fails only because nobody is logged in.
    return [
        f"{line}: {end}"
        for line, end in zip(lines, ends, strict=True)
        if "active account" not in end and not end.endswith("ends with 0")
    ]
