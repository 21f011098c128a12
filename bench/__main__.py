"""Measures the function against the sandbox, prints tables and draws a chart."""

import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psutil

from bench import cases
from bench.chart import Point, draw
from bench.scene import Scene, post
from sandbox.faults import LIMIT, WINDOW, Faults
from sandbox.function import ROOT, Function, run_function
from sandbox.secrets import Secrets, found
from sandbox.server import create_app, serve

LATENCY = 0.1
STARTS = 25
REQUESTS = 300
ADDED = (1, 2000)
REMOVED = (1, 10, 100, 240, 1000, 2000)
CHART = Path(__file__).with_name("removals.svg")
BARE = """
import functions_framework
import requests

@functions_framework.http
def iconik_handler(request):
    return "OK"
"""

Start = Callable[[], AbstractContextManager[Function]]


def worker(function: Function) -> psutil.Process:
    """Return the process that serves the requests."""
    (process,) = psutil.Process(function.pid).children()
    return process


def peak_memory(function: Function) -> float:
    """Return the most MiB that the serving process has had in memory."""
    status = Path(f"/proc/{worker(function).pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def cpu_seconds(function: Function) -> float:
    """Return the processor time of both processes, with that of threads that have ended.

    https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html
    """
    pids = (function.pid, worker(function).pid)
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)  # Linux's clock of a process.


def cold_starts() -> None:
    """Print what it takes until a new instance has answered, by where its secrets come from."""
    scene = Scene(1, copied=False)
    rounds: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with ExitStack() as stack:
        starts = deployments(scene, stack)
        for _ in range(1 + STARTS):
            for name, start in starts.items():
                rounds[name].append(first_answer(start, scene.ids))
    # The first start of each writes bytecode, which the buildpack does beforehand.
    medians = {
        name: [statistics.median(values) for values in zip(*figures[1:], strict=True)]
        for name, figures in rounds.items()
    }
    print(f"\nFrom the start to the first answer, medians of {STARTS}:\n")
    print("| Secrets from | CPU ms | Of bare | Seconds | Of bare | Peak MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    bare_cpu, bare_wall, _ = medians["a bare function"]
    for name, (cpu, wall, memory) in medians.items():
        times = f"{cpu * 1000:.0f} | {cpu / bare_cpu:.2f} | {wall:.2f} | {wall / bare_wall:.2f}"
        print(f"| {name} | {times} | {memory:.0f} |")


def deployments(scene: Scene, stack: ExitStack) -> dict[str, Start]:
    """Return how to start each kind of deployment, all of them as on Google Cloud."""
    folder, google = Path(stack.enter_context(tempfile.TemporaryDirectory())), Secrets()
    (folder / "main.py").write_text(BARE)
    for variable, value in scene.secrets.items():
        google.answers[variable.lower().replace("_", "-")] = found(value.encode())
    on_google = {"K_SERVICE": "iconik-handler", **stack.enter_context(google.serve())}
    on_google |= stack.enter_context(google.network.serve())
    settings = on_google | scene.settings(stack.enter_context(serve(create_app(scene.world))))

    def start(secrets: Mapping[str, str], source: Path = ROOT) -> Start:
        return lambda: run_function({**settings, **secrets}, source)

    return {
        "a bare function": start({}, folder),
        "the environment": start(scene.secrets),
        "Secret Manager": start({}),
    }


def first_answer(start: Start, ids: list[str]) -> tuple[float, float, float]:
    """Return the processor seconds, the seconds and the MiB of a function's first answer."""
    started = time.perf_counter()
    with start() as function:
        post(function, "add", ids)
        seconds = time.perf_counter() - started
        return cpu_seconds(function), seconds, peak_memory(function)


def own_time(action: str) -> None:
    """Print the processor time that the function itself takes for an action on one asset."""
    scene, faults = Scene(1 + REQUESTS, copied=action == "remove"), Faults()
    with scene.run(faults) as function:
        post(function, action, scene.ids[:1])
        calls, before = faults.requests.total(), cpu_seconds(function)
        for asset_id in scene.ids[1:]:
            post(function, action, [asset_id])
        seconds, calls = cpu_seconds(function) - before, faults.requests.total() - calls
    own = f"{seconds / REQUESTS * 1000:.1f} ms"
    print(f"\nOwn time of a request to {action}, {calls // REQUESTS} calls, mean: {own}")


def actions() -> None:
    """Print the time and the calls of actions of several sizes, and draw those of removals."""
    print(f"\nWith {LATENCY * 1000:.0f} ms a call and iconik's limit enforced:\n")
    print("| Action | Assets | Seconds | Calls an asset | For the job | Refused | Least | MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for assets in ADDED:
        measure("add", assets)
    lines: defaultdict[str, list[Point]] = defaultdict(list)
    for assets in REMOVED:
        sent, seconds, least = measure("remove", assets)
        lines["one after another"].append((assets, sent * LATENCY))
        lines["the plugin"].append((assets, seconds))
        lines["what the limit allows"].append((assets, least))
    CHART.write_text(draw(lines, "Assets removed", "Seconds"))
    print(f"\nDrawn in {CHART.relative_to(ROOT)}.")


def measure(action: str, assets: int) -> tuple[int, float, float]:
    """Print a row; return the calls, the seconds, and those that the limit takes at least."""
    scene = Scene(assets, copied=action == "remove")
    faults = Faults(latency=LATENCY, is_limited=True)
    with scene.run(faults) as function:
        seconds, peak = post(function, action, scene.ids), peak_memory(function)
    assert scene.copies() == (assets if action == "add" else 0)
    sent = faults.requests.total()
    least = max(0.0, (sent - LIMIT) / (LIMIT / WINDOW))
    calls = (faults.requests["files"] - 1) / assets  # But for the list of storages.
    refused = f"{faults.refused} ({faults.refused / sent:.1%})"
    news = sent - faults.requests["files"]
    figures = f"{seconds:.1f} | {calls:.3g} | {news} | {refused} | {least:.0f} | {peak:.0f}"
    print(f"| {action} | {assets} | {figures} |")
    return sent, seconds, least


if __name__ == "__main__":
    print(f"Python {platform.python_version()}")
    cold_starts()
    for verb in ("add", "remove"):
        own_time(verb)
    actions()
    cases.measure_all()
