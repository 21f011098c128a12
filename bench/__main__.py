"""Measures the function against the sandbox and prints tables; README.md explains them."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests

from sandbox.faults import LIMIT, WINDOW, Faults
from sandbox.function import ROOT, Function, run_function
from sandbox.server import create_app, serve
from sandbox.world import World

LATENCY = 0.1
SECRET = {"x-bz-secret": "let-me-in"}
STARTS = 9
REQUESTS = 300
BARE = """
import functions_framework
import requests

@functions_framework.http
def iconik_handler(request):
    return "OK"
"""


class Site:
    """A world of assets with masters on B2, and the function's settings for it."""

    def __init__(self, assets: int, copied: bool) -> None:
        self.world = world = World()
        b2 = world.add_storage("B2", "B2")
        self.lucidlink = world.add_storage("LucidLink")
        self.ids = [world.add_asset(f"Clip {number}") for number in range(assets)]
        for asset_id in self.ids:
            for storage_id in (b2, self.lucidlink)[: 1 + copied]:
                world.add_file_set(asset_id, storage_id, [{"original_name": "clip.mov"}])

    @contextmanager
    def run(self, faults: Faults) -> Iterator[Function]:
        """Run the function on this world."""
        with serve(create_app(self.world), faults) as url:
            settings = {
                "ICONIK_URL": url,
                "ICONIK_ID": self.world.app_id,
                "ICONIK_TOKEN": self.world.token,
                "STORAGE_NAME": "LucidLink",
                "MASTER_STORAGE_NAME": "B2",
                "BZ_SHARED_SECRET": SECRET["x-bz-secret"],
                "CLOUD_RUN_TIMEOUT_SECONDS": "540",
            }
            with run_function(settings) as function:
                yield function


def post(function: Function, action: str, ids: list[str]) -> float:
    """Post a custom action; return the seconds until its answer."""
    started = time.perf_counter()
    response = requests.post(
        f"{function.url}/{action}", json={"asset_ids": ids}, headers=SECRET, timeout=600
    )
    assert response.text == "OK", response.text
    return time.perf_counter() - started


def worker(function: Function) -> psutil.Process:
    """Return the process that serves the requests."""
    (process,) = psutil.Process(function.pid).children()
    return process


def cold_start() -> None:
    """Print the seconds from the start of a process to its first answer."""
    site = Site(1, copied=False)
    bare, ours = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(create_app(site.world)) as url,
    ):
        Path(folder, "main.py").write_text(BARE)
        settings = {
            "ICONIK_URL": url,
            "ICONIK_ID": site.world.app_id,
            "ICONIK_TOKEN": site.world.token,
            "STORAGE_NAME": "LucidLink",
            "BZ_SHARED_SECRET": SECRET["x-bz-secret"],
        }
        for _ in range(1 + STARTS):
            bare.append(first_answer({}, Path(folder), site.ids))
            ours.append(first_answer(settings, ROOT, site.ids))
    # The first start of each writes bytecode, which the buildpack does beforehand.
    bare_median, median = statistics.median(bare[1:]), statistics.median(ours[1:])
    print(f"\nCold start, median of {STARTS}: {median:.2f} s, a bare function {bare_median:.2f} s")
    print(f"Ratio: {median / bare_median:.2f}")


def first_answer(settings: Mapping[str, str], folder: Path, ids: list[str]) -> float:
    """Return the seconds from the start of a function to its first answer."""
    started = time.perf_counter()
    with run_function(settings, folder) as function:
        post(function, "add", ids)
        return time.perf_counter() - started


def actions() -> None:
    """Print the time and the calls of actions of several sizes."""
    print(f"\nWith {LATENCY * 1000:.0f} ms a call and iconik's limit enforced:\n")
    print("| Action | Assets | Seconds | Calls an asset | For the job | Refused | Least |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for action, assets in [
        ("add", 1),
        ("add", 2000),
        ("remove", 1),
        ("remove", 10),
        ("remove", 100),
        ("remove", 300),
        ("remove", 2000),
    ]:
        site = Site(assets, copied=action == "remove")
        faults = Faults(latency=LATENCY, is_limited=True)
        with site.run(faults) as function:
            seconds = post(function, action, site.ids)
            peak = peak_memory(function)
        assert len(site.world.names_on(site.lucidlink)) == (assets if action == "add" else 0)
        sent = faults.requests.total()
        calls = (faults.requests["files"] - 1) / assets  # But for the list of storages.
        least = max(0.0, (sent - LIMIT) / (LIMIT / WINDOW))
        refused = f"{faults.refused} ({faults.refused / sent:.1%})"
        news = sent - faults.requests["files"]
        figures = f"{seconds:.1f} | {calls:.3g} | {news} | {refused} | {least:.0f}"
        print(f"| {action} | {assets} | {figures} |")
    print(f"\nPeak memory after the last: {peak / 2**20:.0f} MiB")


def peak_memory(function: Function) -> int:
    """Return the most bytes that the serving process has had in memory."""
    status = Path(f"/proc/{worker(function).pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def own_time(action: str) -> None:
    """Print the processor time that the function itself takes for an action on one asset."""
    site, faults = Site(1 + REQUESTS, copied=action == "remove"), Faults()
    with site.run(faults) as function:
        post(function, action, site.ids[:1])
        process, calls = worker(function), faults.requests.total()
        before = process.cpu_times()
        for asset_id in site.ids[1:]:
            post(function, action, [asset_id])
        after = process.cpu_times()
    seconds = after.user + after.system - before.user - before.system
    calls = (faults.requests.total() - calls) // REQUESTS
    print(f"\nOwn time of a request to {action}, {calls} calls, mean of {REQUESTS}:", end=" ")
    print(f"{seconds / REQUESTS * 1000:.1f} ms")


if __name__ == "__main__":
    cold_start()
    own_time("add")
    own_time("remove")
    actions()
