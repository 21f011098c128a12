"""One instance of the function: its versions, its time limit and its Google Cloud project."""

import platform
import re
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib import metadata

from storage_plugin import __version__
from storage_plugin.settings import TIMEOUT

METADATA_TIMEOUT = 0.5
"""Seconds to wait for the metadata server."""

PROJECT_PATH = "/computeMetadata/v1/project/project-id"

_ID = re.compile(r"[a-z0-9.:-]{1,100}", re.ASCII)


def greeting(environ: Mapping[str, str]) -> str:
    """Return a sentence with the versions of the software and the time limit of requests."""
    limit = environ.get("CLOUD_RUN_TIMEOUT_SECONDS")
    return (
        f"The plugin {__version__} starts: Python {platform.python_version()}, functions-framework "
        f"{metadata.version('functions-framework')}, time limit "
        + (f"{limit} s." if limit else f"{TIMEOUT:g} s, because the platform names none.")
    )


class Project:
    """The Google Cloud project that the function runs in.

    https://cloud.google.com/run/docs/container-contract#metadata-server

    Args:
        environ: names the project, or shows that this is Google Cloud.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._id = environ.get("GOOGLE_CLOUD_PROJECT", "")
        # Only a machine of Google's asks the metadata server, and only once.
        self._is_asked = bool(self._id) or "K_SERVICE" not in environ
        self._lock = threading.Lock()

    def get(self) -> str:
        """Return the project's id; empty: not known yet."""
        return self._id

    def find_out(self) -> None:
        """Start to ask the metadata server, unless that was done before."""
        with self._lock:
            is_asked, self._is_asked = self._is_asked, True
        if not is_asked:
            threading.Thread(target=self._ask, name="project", daemon=True).start()

    def _ask(self) -> None:
        host = self._environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        connection = HTTPConnection(host, timeout=METADATA_TIMEOUT)
        try:
            connection.request("GET", PROJECT_PATH, headers={"Metadata-Flavor": "Google"})
            answer = connection.getresponse()
            text = answer.read(101).decode()
            if answer.status == HTTPStatus.OK and _ID.fullmatch(text):
                self._id = text
        except (OSError, HTTPException, ValueError):
            pass  # Log lines without it can still be found by their trace.
        finally:
            connection.close()
