"""iconik in this process, in the place of a session of requests: without a socket it is fast."""

import io
import json
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlencode

import flask
import requests
from urllib3 import HTTPResponse
from werkzeug.test import run_wsgi_app

from sandbox.world import Row

URL = "https://iconik.test"


class Answer(NamedTuple):
    """What iconik answers."""

    status: int
    data: bytes = b""
    headers: Mapping[str, str] = {}  # Less data than their Content-Length breaks off.

    def response(self) -> requests.Response:
        """Return the answer as it arrives over a connection."""
        response = requests.Response()
        response.status_code = self.status
        response.headers.update(self.headers)
        body = io.BytesIO(self.data)
        response.raw = HTTPResponse(body, headers=self.headers, preload_content=False)
        return response


class InProcess:
    """Hands requests to the application of an iconik."""

    def __init__(self, app: flask.Flask) -> None:
        self._app, self._lock = app, Lock()

    def request(self, method: str, url: str, **call: Any) -> requests.Response:
        """Send a request and return the answer."""
        return self.serve(method, url, call).response()

    def serve(self, method: str, url: str, call: Row) -> Answer:
        """Return the application's answer to a request, which is as `requests` takes it."""
        body = b"" if call["json"] is None else json.dumps(call["json"], allow_nan=False).encode()
        names = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in call["headers"]}
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": url.removeprefix(URL),
            "QUERY_STRING": urlencode(call["params"] or {}),
            "HTTP_HOST": "iconik.test",
            "CONTENT_TYPE": "application/json" * bool(body),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(body),
            **{names[name]: value for name, value in call["headers"].items()},
        }
        with self._lock:  # The tables of a world know no locks.
            data, status, _ = run_wsgi_app(self._app, environ, buffered=True)
        return Answer(int(status[:3]), b"".join(data))

    def close(self) -> None:
        """Close all connections, of which there are none."""
