"""One JSON line for each event on standard output, with the fields that Cloud Logging reads.

https://cloud.google.com/logging/docs/structured-logging
https://cloud.google.com/error-reporting/docs/formatting-error-messages
"""

import json
import os
import platform
import re
import secrets
import sys
import threading
import traceback
from importlib import metadata

from storage_plugin import __version__
from storage_plugin.errors import Fault, PluginError
from storage_plugin.settings import TIMEOUT

# The `@type` of a line that Error Reporting shows.
REPORTED = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"

_lock = threading.Lock()


class Log:
    """The log of an instance, or of one request with the header `X-Cloud-Trace-Context`."""

    def __init__(self, trace_header: str = "") -> None:
        self.figures: dict[str, object] = {}  # The fields of the request's last line.
        self.reference = secrets.token_hex(3)  # Administrators find the request's lines by it.
        self._common = {"reference": self.reference}
        project = os.environ.get("GOOGLE_CLOUD_PROJECT")
        if project and (trace := re.match("[0-9a-f]{32}", trace_header)):
            self._common["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace[0]}"

    def write_answer(self, answer: str, status: int, *, error: PluginError | None) -> None:
        """Write the request's last line, with the figures, and the error behind the answer."""
        name, fields = self.figures.get("action", "request"), {**self.figures, "status": status}
        severity, detail = (error.severity, error.detail) if error else ("INFO", "")
        if isinstance(error, Fault):
            # Without the message, which may quote a header or a body.
            frames = "".join(traceback.format_tb(error.cause.__traceback__))
            fields["stack_trace"] = f"Traceback (most recent call last):\n{frames}{detail}"
        if status >= 500:
            fields["@type"] = REPORTED
        self.write(severity, f"{name} {status}: {answer} {detail}".rstrip(), **fields)

    def write(self, severity: str, message: str, **fields: object) -> None:
        """Write one line: a sentence, and fields to search for, which gcloud does not show.

        No line has a secret, a token, a header or a body.
        """
        line = {"severity": severity, "message": message, **self._common, **fields}
        # Write each line at once, and one line at a time: with LOG_EXECUTION_ID=true the framework
        # turns each write into an entry of its own, and passes it on in two parts.
        with _lock:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def greeting() -> str:
    """Return a sentence with the versions of the software and the time limit of requests."""
    python, framework = platform.python_version(), metadata.version("functions-framework")
    software = f"Python {python}, functions-framework {framework}"
    seconds = os.environ.get("CLOUD_RUN_TIMEOUT_SECONDS") or f"{TIMEOUT:g}"
    return f"The plugin {__version__} starts: {software}, time limit {seconds} s."
