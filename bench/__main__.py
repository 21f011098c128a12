"""Measures the function against the sandbox, prints tables and draws a chart."""

import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from bench.cases import LATENCY, SIZES, TABLES, measure, peak_memory, post, worker
from bench.chart import Point, draw
from sandbox.faults import Faults
from sandbox.function import ROOT, Function, run_function
from sandbox.secrets import Secrets, found
from sandbox.server import create_app, serve
from sandbox.site import Site

STARTS = 25
REQUESTS = 300
CHART = Path(__file__).with_name("removals.svg")
BARE = """
import functions_framework
import requests

@functions_framework.http
def iconik_handler(request):
    return "OK"
"""

Start = Callable[[], AbstractContextManager[Function]]


def print_head(title: str, *columns: str) -> None:
    """Print what is above the rows of a table."""
    print(f"\n{title}:\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")


def cpu_seconds(function: Function) -> float:
    """Return the processor time of both processes, with that of threads that have ended.

    https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html
    """
    pids = (function.pid, worker(function).pid)
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)  # Linux's clock of a process.


def cold_starts() -> None:
    """Print what it takes until a new instance has answered, by where its secrets come from."""
    site = Site()
    ids, rounds = [site.master()], defaultdict[str, list[tuple[float, float, float]]](list)
    with ExitStack() as stack:
        starts = deployments(site, stack)
        for _ in range(1 + STARTS):
            for name, start in starts.items():
                rounds[name].append(first_answer(start, ids))
    # The first start of each writes bytecode, which the buildpack does beforehand.
    medians = {
        name: [statistics.median(values) for values in zip(*figures[1:], strict=True)]
        for name, figures in rounds.items()
    }
    title = f"From the start to the first answer, medians of {STARTS}"
    print_head(title, "Secrets from", "CPU ms", "Of bare", "Seconds", "Of bare", "Peak MiB")
    bare_cpu, bare_wall, _ = medians["a bare function"]
    for name, (cpu, wall, memory) in medians.items():
        times = f"{cpu * 1000:.0f} | {cpu / bare_cpu:.2f} | {wall:.2f} | {wall / bare_wall:.2f}"
        print(f"| {name} | {times} | {memory:.0f} |")


def deployments(site: Site, stack: ExitStack) -> dict[str, Start]:
    """Return how to start each kind of deployment, all of them as on Google Cloud."""
    folder, google = Path(stack.enter_context(tempfile.TemporaryDirectory())), Secrets()
    (folder / "main.py").write_text(BARE)
    for variable, value in site.secrets().items():
        google.answers[variable.lower().replace("_", "-")] = found(value.encode())
    iconik_url = stack.enter_context(serve(create_app(site.world)))
    settings = stack.enter_context(google.serve()) | site.settings(iconik_url)

    def start(secrets: Mapping[str, str], source: Path = ROOT) -> Start:
        return lambda: run_function({**settings, **secrets}, source)

    return {
        "a bare function": start({}, folder),
        "the environment": start(site.secrets()),
        "Secret Manager": start({}),
    }


def first_answer(start: Start, ids: list[str]) -> tuple[float, float, float]:
    """Return the processor seconds, the seconds and the MiB of a function's first answer."""
    started = time.perf_counter()
    with start() as function:
        post(function, "add", ids, "OK")
        seconds = time.perf_counter() - started
        return cpu_seconds(function), seconds, peak_memory(function)


def own_time(action: str) -> None:
    """Print the processor time that the function itself takes for an action on one asset."""
    site, faults = Site(), Faults()
    first, *others = site.assets(1 + REQUESTS)
    with (
        serve(create_app(site.world), faults) as url,
        run_function(site.settings(url) | site.secrets()) as function,
    ):
        post(function, action, [first], "OK")
        calls, before = faults.requests.total(), cpu_seconds(function)
        for asset_id in others:
            post(function, action, [asset_id], "OK")
        seconds, calls = cpu_seconds(function) - before, faults.requests.total() - calls
    print(f"| {action} | {calls // REQUESTS} | {seconds / REQUESTS * 1000:.1f} |")


def main() -> None:
    """Print the tables, and draw the chart."""
    print(f"Python {platform.python_version()}")
    cold_starts()
    print_head(f"Own time of an action on one asset, means of {REQUESTS}", "Action", "Calls", "ms")
    for action in ("add", "remove"):
        own_time(action)
    lines: defaultdict[str, list[Point]] = defaultdict(list)
    columns = (
        "Done",
        "Clicks",
        "Seconds",
        "Least",
        "Calls an asset",
        "For the job",
        "Refused",
        "MiB",
    )
    for title, cases in TABLES.items():
        print_head(title, "Case", *columns)
        for case in cases:
            seconds, calls, least = measure(case)
            if case in SIZES.values():
                lines["one after another"].append((case.assets, calls * LATENCY))
                lines["the plugin"].append((case.assets, seconds))
                lines["what the limit allows"].append((case.assets, least))
    CHART.write_text(draw(lines, "Assets removed", "Seconds"))
    print(f"\nDrawn in {CHART.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
