"""The real gcloud, loaded once and forked for each command, which takes a tenth of the time.

gcloud's launcher runs this file with a folder: it puts a program `gcloud` there, and serves it. A
command gets what its caller has: arguments, environment, folder, standard input, output and error.
Each call is written to the file `calls`.
"""

import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

LIBRARY = Path(sys.argv[1]).parent  # The launcher names gcloud's own main file first.
sys.path[:0] = [str(LIBRARY), str(LIBRARY / "third_party")]

from googlecloudsdk import gcloud_main  # noqa: E402 - Only now it is found.

# A shell starts much faster than another Python. Linux shows what it has.
CLIENT = """#!/bin/sh
exec 3<&0 4>&1
mkfifo {folder}/$$ && echo $$ >{folder}/callers && read status <{folder}/$$
exit $status
"""

# These run once at the start, so that their modules are loaded. Most of them fail.
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


def main(folder: Path) -> None:
    """Load gcloud, and serve commands until this process is ended."""
    gc.disable()  # It would touch what is loaded, and forks could not share that.
    cli = gcloud_main.CreateCLI([])
    for command in COMMANDS.strip().splitlines():
        with suppress(SystemExit):
            cli.Execute(command.split())
    os.mkfifo(folder / "callers")
    (folder / "gcloud").write_text(CLIENT.format(folder=folder))
    (folder / "gcloud").chmod(0o755)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with os.fdopen(os.open(folder / "callers", os.O_RDWR)) as callers:  # It has no end.
        print("gcloud is ready", flush=True)
        for caller in callers:
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                serve(cli, caller.strip(), folder)


def serve(cli, caller: str, folder: Path) -> None:
    """Run the command of a process in this one, and end."""
    process = Path("/proc", caller)
    _, _, *arguments, _ = (process / "cmdline").read_text().split("\0")
    environ = (process / "environ").read_bytes().split(b"\0")
    with (folder / "calls").open("a") as calls:
        print(arguments, environ, file=calls)
    for number, its, mode in ((0, "3", os.O_RDONLY), (1, "4", os.O_WRONLY), (2, "2", os.O_WRONLY)):
        os.dup2(os.open(process / "fd" / its, mode), number)
    os.environb.clear()
    os.environb.update(line.split(b"=", 1) for line in environ if line)
    os.chdir(process / "cwd")
    sys.argv = ["gcloud", *arguments]
    status = 0
    try:
        gcloud_main.main(cli)
    except SystemExit as end:
        status = end.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    signal.alarm(60)  # A caller that was interrupted does not listen.
    (folder / caller).write_text(f"{status}\n")
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[2]))
