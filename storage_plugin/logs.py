"""One JSON line for each event on standard output, with the fields that Cloud Logging reads.

https://cloud.google.com/logging/docs/structured-logging
https://cloud.google.com/error-reporting/docs/formatting-error-messages
"""

import json
import platform
import re
import secrets
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from importlib import metadata

import requests

from storage_plugin import __version__
from storage_plugin.errors import Fault, PluginError
from storage_plugin.iconik.rest import new_session
from storage_plugin.settings import TIMEOUT

REPORTED = {
    "@type": "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
}
"""A field that makes Error Reporting show a line."""

METADATA_TIMEOUT = 0.5
"""Seconds to wait for the metadata server."""

_ID = re.compile(rb"[a-z0-9.:-]{1,100}")
_TRACE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_lock = threading.Lock()


class Log:
    """The log of one request, or of an instance.

    Args:
        trace_header: the request's `X-Cloud-Trace-Context`, which begins with a trace id.
        project: returns the id of the Google Cloud project if it is known; otherwise Cloud Logging
            gets the bare trace id.

    Attributes:
        figures: the fields for the request's last line.
        reference: six hexadecimal digits by which an administrator finds the request's lines.
    """

    def __init__(
        self, trace_header: str = "", project: Callable[[], str | None] | None = None
    ) -> None:
        self.figures: dict[str, object] = {}
        self.reference = secrets.token_hex(3)
        trace = _TRACE.match(trace_header)
        self._trace = trace[0] if trace else ""
        self._project = project

    def write_answer(self, answer: str, status: int, *, error: PluginError | None) -> None:
        """Write the request's last line, with the figures.

        Args:
            answer: the text of the answer.
            status: its HTTP status.
            error: the error behind the answer; None: there is none.
        """
        name, fields = self.figures.get("action", "request"), {**self.figures, "status": status}
        severity, detail = (error.severity, f" {error.detail}") if error else ("INFO", "")
        if isinstance(error, Fault):
            fields["stack_trace"] = _stack_trace(error.cause)
        if status >= 500:
            fields |= REPORTED
        self.write(severity, f"{name} {status}: {answer}{detail}".rstrip(), **fields)

    def write(self, severity: str, message: str, **fields: object) -> None:
        """Write one line.

        Args:
            severity: INFO, WARNING, ERROR or CRITICAL.
            message: one sentence; `gcloud functions logs read` shows nothing else.
            fields: figures and ids to search for; never a secret, token, header or body.
        """
        line = {"severity": severity, "message": message, "reference": self.reference, **fields}
        if self._trace:
            project = self._project and self._project()
            name = f"projects/{project}/traces/{self._trace}" if project else self._trace
            line["logging.googleapis.com/trace"] = name
        # Write each line at once, and one line at a time: with LOG_EXECUTION_ID=true the framework
        # turns each write into an entry of its own, and passes it on in two parts.
        with _lock:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def _stack_trace(error: Exception) -> str:
    """Return an error's stack trace without its message, which may quote a header or a body."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{type(error).__name__}"


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
        """Start to ask the metadata server, unless that was done before.

        Call this when serving a request: the server forks after the import, without its threads.
        """
        with self._lock:
            is_asked, self._is_asked = self._is_asked, True
        if not is_asked:
            threading.Thread(target=self._ask, name="project", daemon=True).start()

    def _ask(self) -> None:
        host = self._environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        url = f"http://{host}/computeMetadata/v1/project/project-id"
        headers = {"Metadata-Flavor": "Google"}
        try:
            with new_session() as session:
                answer = session.get(url, headers=headers, timeout=METADATA_TIMEOUT)
        except requests.RequestException:
            return  # Log lines without it can still be found by their trace.
        if answer.ok and _ID.fullmatch(answer.content):
            self._id = answer.content.decode()


def greeting(environ: Mapping[str, str]) -> str:
    """Return a sentence with the versions of the software and the time limit of requests."""
    limit = environ.get("CLOUD_RUN_TIMEOUT_SECONDS")
    return (
        f"The plugin {__version__} starts: Python {platform.python_version()}, functions-framework "
        f"{metadata.version('functions-framework')}, time limit "
        + (f"{limit} s." if limit else f"{TIMEOUT:g} s, because the platform names none.")
    )
