"""The function in a process of its own, started as Google's buildpack starts it.

https://github.com/GoogleCloudPlatform/functions-framework-python
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from sandbox.site import SECRET, payload

ROOT = Path(__file__).parent.parent
STARTS_WITHIN = 30.0  # Seconds.


@dataclass(frozen=True)
class Function:
    """A running function."""

    url: str  # Without a trailing slash.
    log: Path  # The file with what it has written to standard output and standard error.
    pid: int  # That of its first process.
    start: str  # What it had written when it began to listen.

    @property
    def output(self) -> str:
        """What it has written since then."""
        return self.log.read_text().removeprefix(self.start)

    def click(self, action: str, secret: str = SECRET, /, **selection: object) -> requests.Response:
        """Post a custom action as iconik does."""
        headers, body = {"x-bz-secret": secret.encode()}, payload(**selection)
        return requests.post(f"{self.url}/{action}", json=body, headers=headers, timeout=600)


@contextmanager
def run_function(
    settings: Mapping[str, str], folder: Path = ROOT, python: str = sys.executable
) -> Iterator[Function]:
    """Run a folder's function with these settings alone, on loopback; stop it at the end."""
    command = [str(Path(python).with_name("functions-framework"))]
    # Tests measure the coverage of this process, too, and its warnings are errors.
    names = os.environ.keys() & {"PATH", "COVERAGE_PROCESS_CONFIG", "PYTHONWARNINGS"}
    with reserved_port() as port, tempfile.TemporaryDirectory() as log_folder:
        url, log = f"http://127.0.0.1:{port}", Path(log_folder, "output")
        environ = {name: os.environ[name] for name in names} | {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "FUNCTION_TARGET": "iconik_handler",
            "FUNCTION_URL": url,  # `make deploy` sets it for a queue.
            "THREADS": "16",  # `make deploy` sets this, too.
            "LOG_EXECUTION_ID": "true",
            "PYTHONUNBUFFERED": "TRUE",
            **settings,
        }
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=folder, env=environ, stdout=out, stderr=out)
        try:
            _wait_for(port, process, log)
            yield Function(url, log, process.pid, log.read_text())
        finally:
            # gunicorn takes two seconds to end gracefully. With SIGQUIT alone, its worker may lock
            # itself out while a connection ends, and gunicorn waits thirty seconds for it.
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
            process.send_signal(signal.SIGQUIT)  # This does nothing if it has ended.
            process.wait()


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port for a server, so that no client that waits for it connects to itself."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # The server may bind it, too.
        yield int(holder.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The function does not start:\n{log.read_text()}")
        time.sleep(0.005)
