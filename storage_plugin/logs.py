"""One JSON line per event on standard output, in the fields that Cloud Logging reads.

https://cloud.google.com/logging/docs/structured-logging
"""

import json
import re
import secrets
import sys
import threading

from storage_plugin.errors import CallerError, PluginError

_TRACE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_lock = threading.Lock()


class Log:
    """The log of one request.

    Args:
        trace_header: the request's `X-Cloud-Trace-Context`: a trace id, then perhaps more.
        project: the Google Cloud project's id; without it Cloud Logging gets the bare trace id.

    Attributes:
        figures: what the request's last line shall tell.
        reference: by which an administrator finds the lines of one request.
    """

    def __init__(self, trace_header: str, project: str | None) -> None:
        self.figures: dict[str, object] = {}
        self.reference = secrets.token_hex(3)
        self._trace = {}
        if trace := _TRACE.match(trace_header):
            name = f"projects/{project}/traces/{trace[0]}" if project else trace[0]
            self._trace = {"logging.googleapis.com/trace": name}

    def write_answer(self, answer: str, error: PluginError | None) -> None:
        """Write the request's last line, with the figures.

        Args:
            answer: to the request.
            error: that it answers, if it does.
        """
        severity = "WARNING" if isinstance(error, CallerError) else "ERROR" if error else "INFO"
        name, status = self.figures.get("action", "request"), self.figures["status"]
        detail = f" {error.detail}" if error and error.detail else ""
        self.write(severity, f"{name} {status}: {answer}{detail}", **self.figures)

    def write(self, severity: str, message: str, **fields: object) -> None:
        """Write one line.

        Args:
            severity: INFO, WARNING or ERROR.
            message: one sentence, all that `gcloud functions logs read` shows.
            fields: figures and ids to search by; never a secret, token, header or body.
        """
        entry = {"severity": severity, "message": message, "reference": self.reference}
        line = json.dumps({**entry, **fields, **self._trace})
        # One write for a line, and one at a time: with LOG_EXECUTION_ID=true the framework takes
        # each write for an entry of its own, and passes it on in two parts.
        with _lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
