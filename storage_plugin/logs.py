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
from collections.abc import Mapping
from importlib import metadata

from storage_plugin import __version__
from storage_plugin.errors import Fault, PluginError
from storage_plugin.settings import TIMEOUT

REPORTED = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
"""The `@type` of a line that Error Reporting shows."""

_lock = threading.Lock()


class Log:
    """The log of one request, or of an instance.

    Args:
        trace_header: the request's `X-Cloud-Trace-Context`, which begins with a trace id.
        project: the id of the Google Cloud project, for the full name of the trace.

    Attributes:
        figures: the fields for the request's last line.
        reference: six hexadecimal digits by which an administrator finds the request's lines.
    """

    def __init__(self, trace_header: str = "", project: str = "") -> None:
        self.figures: dict[str, object] = {}
        self.reference = secrets.token_hex(3)
        self._common = {"reference": self.reference}
        if trace := re.match(r"[0-9a-f]{32}", trace_header):
            prefix = f"projects/{project}/traces/" if project else ""
            self._common["logging.googleapis.com/trace"] = prefix + trace[0]

    def write_answer(self, answer: str, status: int, *, error: PluginError | None) -> None:
        """Write the request's last line, with the figures, and the error behind the answer."""
        name, fields = self.figures.get("action", "request"), {**self.figures, "status": status}
        severity, detail = (error.severity, f" {error.detail}") if error else ("INFO", "")
        if isinstance(error, Fault):
            # Without the message, which may quote a header or a body.
            frames = "".join(traceback.format_tb(error.cause.__traceback__))
            kind = type(error.cause).__name__
            fields["stack_trace"] = f"Traceback (most recent call last):\n{frames}{kind}"
        if status >= 500:
            fields["@type"] = REPORTED
        self.write(severity, f"{name} {status}: {answer}{detail}".rstrip(), **fields)

    def write(self, severity: str, message: str, **fields: object) -> None:
        """Write one line.

        Args:
            severity: INFO, WARNING or ERROR.
            message: one sentence; `gcloud functions logs read` shows nothing else.
            fields: figures and ids to search for; never a secret, token, header or body.
        """
        line = {"severity": severity, "message": message, **self._common, **fields}
        # Write each line at once, and one line at a time: with LOG_EXECUTION_ID=true the framework
        # turns each write into an entry of its own, and passes it on in two parts.
        with _lock:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def greeting(environ: Mapping[str, str]) -> str:
    """Return a sentence with the versions of the software and the time limit of requests."""
    python, framework = platform.python_version(), metadata.version("functions-framework")
    software = f"Python {python}, functions-framework {framework}"
    seconds = environ.get("CLOUD_RUN_TIMEOUT_SECONDS") or f"{TIMEOUT:g}"
    return f"The plugin {__version__} starts: {software}, time limit {seconds} s."
