"""The real gcloud, loaded once and forked for each command, which takes a tenth of a second.

gcloud's own Python runs this file with a folder: it puts a program `gcloud` there, and serves it. A
command gets what its caller has: arguments, environment, folder, standard input, output and error.
Each call is written to the file `calls`.
"""

import ast
import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from googlecloudsdk import gcloud_main

SHELL = '#!/bin/sh\nexec {python} -I -S {folder}/client.py "$@"\n'

CLIENT = """
import _socket, posix, sys  # These are built in, so that Python starts within ten milliseconds.

server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({path!r})
call = repr((sys.argv[1:], posix.environ, posix.getcwd())).encode()
files = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)
server.sendmsg([len(call).to_bytes(4, "big")], [rights])
server.sendall(call)
posix._exit((server.recv(1) or b"\\1")[0])
"""

COMMANDS = """
services enable iam.googleapis.com run.googleapis.com
services list
projects get-iam-policy x
projects add-iam-policy-binding x --member=allUsers --role=x
iam service-accounts list
iam service-accounts create x-x-x-x
iam service-accounts add-iam-policy-binding x@x.com --member=allUsers --role=x
secrets list
secrets create x
secrets versions list x
secrets versions add x --data-file=/dev/null
secrets add-iam-policy-binding x --member=allUsers --role=x
tasks queues list --location=x
tasks queues create x --location=x
tasks queues add-iam-policy-binding x --location=x --member=allUsers --role=x
functions deploy x --gen2 --region=x --runtime=x --trigger-http
run services add-iam-policy-binding x --region=x --member=allUsers --role=x
"""
"""What is run once at the start, so that its modules are loaded. Most of it fails."""


def main(folder: Path) -> None:
    """Load gcloud, and serve commands until this process is ended."""
    gc.disable()  # Otherwise, it would look at all that is loaded, and no fork could share that.
    cli = gcloud_main.CreateCLI([])
    for command in COMMANDS.strip().splitlines():
        with suppress(SystemExit):
            cli.Execute(command.split())
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(64)
        (folder / "client.py").write_text(CLIENT.format(path=path))
        (folder / "gcloud").write_text(SHELL.format(python=sys.executable, folder=folder))
        (folder / "gcloud").chmod(0o755)
        print("gcloud is ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            caller, _ = server.accept()
            with caller:
                if not os.fork():
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    serve(cli, caller, folder / "calls")


def serve(cli, caller: socket.socket, calls: Path) -> None:
    """Run the command of a caller in this process, and end."""
    head, files, _, _ = socket.recv_fds(caller, 4, 3)
    call = b""
    while len(call) < int.from_bytes(head, "big"):
        call += caller.recv(1 << 16)
    with calls.open("ab") as file:
        file.write(call + b"\n")
    arguments, environ, folder = ast.literal_eval(call.decode())
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environb.clear()
    os.environb.update(environ)
    os.chdir(folder)
    sys.argv = ["gcloud", *arguments]
    status = 0
    try:
        gcloud_main.main(cli)
    except SystemExit as end:
        status = end.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(BrokenPipeError):  # The caller was interrupted.
        caller.sendall(bytes([status]))
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
