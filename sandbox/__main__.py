"""Shows the function as Google runs it with `demo`; keeps it running, to try it, with `run`."""

import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from sandbox.faults import Faults
from sandbox.function import Function, run_function
from sandbox.server import create_app, serve
from sandbox.site import SECRET, Site, payload
from sandbox.tasks import Tasks
from sandbox.world import Row

LOG = Path(".demo.log")  # The file for the function's log.
# In the large removal: the file of each asset, their number, and the seconds of an iconik's answer.
DAILY, DAILIES, LATENCY = "daily.mov", 140, 0.2


class Demo(Site):
    """A small post-production: three assets, one of them with an unfinished master."""

    masters_name = "Backblaze B2"

    def __init__(self) -> None:
        super().__init__()
        self.faults, world = Faults(), self.world
        world.permissions[self.lucidlink] = {"delete_access": True}
        titles = ("Interview", "Drone shots", "Night shoot")
        interview, drone, self.night = map(world.add_asset, titles)
        world.add_file_set(interview, self.b2, [_file("interview.mov", 42)])
        world.add_file_set(drone, self.b2, [_file("drone_1.mov", 7), _file("drone_2.mov", 9)])
        # Its upload to B2 has not ended, so the copy on LucidLink is the only whole one.
        world.add_file_set(self.night, self.b2, [_file("night.mov", 3) | {"status": "GROWING"}])
        world.add_file_set(self.night, self.lucidlink, [_file("night.mov", 16)])
        self.selection = {
            "asset_ids": [interview],
            "collection_ids": [world.add_collection(drone, self.night)],
        }

    def show(self, title: str) -> None:
        """Print which files are on which storage."""
        print(f"\n{title}\n  {'Asset':24}{self.masters_name:36}LucidLink")
        for asset_id, asset in self.world.assets.items():
            name = f"{asset['title']} ({asset_id[:8]})"
            columns = [self._files(asset_id, storage) for storage in (self.b2, self.lucidlink)]
            print(f"  {name:24}{columns[0]:36}{columns[1]}".rstrip())

    def _files(self, asset_id: str, storage_id: str) -> str:
        return ", ".join(
            f"{file['original_name']} {file['size'] // 10**9} GB"
            + ("" if file["status"] == "CLOSED" else f" ({file['status']})")
            for file_set in self.world.file_sets_of(asset_id, storage_id)
            for file in self.world.files_in(file_set["id"])
        )


def _file(name: str, gigabytes: int) -> Row:
    return {"original_name": name, "size": gigabytes * 10**9}


def main(command: str) -> None:
    """Start sandbox and function, then show or wait."""
    demo = Demo()
    has_queue = os.environ.get("QUEUE", "").lower() not in ("", "0", "no", "false", "off")
    tasks = Tasks() if has_queue else None
    with ExitStack() as stack:
        iconik_url = stack.enter_context(serve(create_app(demo.world), demo.faults))
        settings = demo.settings(iconik_url) | demo.secrets() | {"STORAGE_PATH": ""}
        run = tasks.run_function if tasks else run_function
        function = stack.enter_context(run(settings))
        if tasks:
            stack.enter_context(tasks.run())
        kind = "the function with a queue" if tasks else "the function"
        print(f"A simulated iconik runs at {iconik_url}, and {kind} at {function.url}.")
        if command == "run":
            wait(demo, settings | {"FUNCTION_URL": function.url}, function.log)
        else:
            show(demo, function, tasks)


def show(demo: Demo, function: Function, tasks: Tasks | None) -> None:
    """Right-click the selection twice, and print where the files are."""
    print(f"A right-click posts this:\n{json.dumps(payload(**demo.selection), indent=2)}")
    demo.show("Before:")
    for path, title in (("add", "Add to LucidLink"), ("remove", "Remove from LucidLink")):
        click(function, path, **demo.selection)
        demo.show(f"After {title}:")
    if tasks:
        show_queue(demo, function, tasks)
    print("\nWhat the editor sees in iconik:")
    for job in demo.world.jobs.values():
        if job["type"] == "CUSTOM":
            print(f"  Job           {job['title']}: {job['status']}, {job['message']}")
    for notification in demo.world.notifications.values():
        print(f"  Notification  {notification['message_short']}")
    print("\nThe function's log:")
    for entry in map(json.loads, function.output.splitlines()):
        print(f"  {entry['severity']:8} {entry['message']}")
    shutil.copy(function.log, LOG)
    print(f"The full log, as Cloud Logging would receive it, is in {LOG}.")


def show_queue(demo: Demo, function: Function, tasks: Tasks) -> None:
    """Remove many assets through the queue while another editor adds one and removes it again."""
    dailies, selected = demo.assets(DAILIES, [_file(DAILY, 2)]), demo.selection["asset_ids"]

    def left() -> int:
        return demo.world.names_on(demo.lucidlink).count(DAILY)

    demo.faults.latency = LATENCY
    print(f"\nAn editor removes {DAILIES} dailies. iconik now takes {LATENCY} s for each answer:")
    click(function, "remove", asset_ids=dailies)
    print("\nThe queue has the rest removed. Another editor's clicks do not wait for it:")
    for path in ("add", "remove"):
        started = time.monotonic()
        click(function, path, asset_ids=selected)
        seconds = time.monotonic() - started
        print(f"  after {seconds:.1f} s, when {left()} dailies were still on LucidLink")
    while tasks.waiting:
        time.sleep(0.1)
    print(f"\nIn the end, {left()} dailies are on LucidLink.")


def click(function: Function, path: str, **selection: object) -> None:
    """Post a custom action as iconik does, and print the answer."""
    response = function.click(path, **selection)
    print(f"\n> {path.title()}: POST /{path}\n< {response.status_code} {response.text}")


def wait(demo: Demo, settings: Mapping[str, str], log: Path) -> None:
    """Print commands to try, and wait for Ctrl-C or a signal."""
    curl, body = "curl --noproxy '*' -w '\\n'", shlex.quote(json.dumps(demo.selection))
    post = f"{curl} -H 'x-bz-secret: {SECRET}' -d {body} {settings['FUNCTION_URL']}"
    headers = f"-H 'App-ID: {demo.world.app_id}' -H 'Auth-Token: {demo.world.token}'"
    iconik = f"{curl} {headers} {settings['ICONIK_URL']}/API"
    (interview,) = demo.selection["asset_ids"]
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    print(
        f"\nAdd to LucidLink:\n  {post}/add"
        f"\nRemove from LucidLink:\n  {post}/remove"
        f"\nThe files of an asset:\n  {iconik}/files/v1/assets/{interview}/files/"
        f"\nThe jobs that an editor sees:\n  {iconik}/jobs/v1/jobs/"
        f"\nThe function's log:\n  tail -f {log}"
        f"\nThe administrator's commands, in another terminal:\n  export {variables}"
        f"\n  make actions\n  make doctor\n  make doctor ASSET={demo.night}"
        "\n\nCtrl-C ends it.",
        flush=True,
    )
    while True:
        time.sleep(0.5)  # pause() does not end if another thread takes the signal.


def end(*_: object) -> None:
    """End the program, once: a second signal must not interrupt what ends the function."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: None)
    sys.exit()


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, end)
    main(sys.argv[1])
