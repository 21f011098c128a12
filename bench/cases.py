"""Adds and removals, each with an iconik of its own, and what they take."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import psutil

from sandbox.faults import LIMIT, RESET_AFTER, RESET_BEFORE, WINDOW, Faults
from sandbox.function import Function, run_function
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site

LATENCY = 0.1  # Seconds that iconik usually takes for a call.
FAULTS = ("429", "500", "503", "200 in HTML", RESET_BEFORE, RESET_AFTER)


class Case(NamedTuple):
    """Actions at the same time, and what iconik is like, whose limit is enforced."""

    name: str  # What is special.
    assets: int  # Those of each action that can be added or removed.
    action: str = "remove"
    staying: int = 0  # The assets of each removal whose masters are not complete.
    frames: int = 1  # The files of an asset; more than one are an image sequence.
    instances: int = 1  # Those of the function.
    actions: int = 1  # Those of each instance.
    clicks: int = 1  # The most clicks on each selection.
    timeout: int = 60  # Seconds after which the platform ends a request.
    latency: float = LATENCY  # Seconds of each call.
    probabilities: Mapping[str, float] = {}  # Those of faults.
    counts_rows: bool = False  # Lists have totals.


# The removals of the chart.
SIZES = {
    size: Case(f"Remove {size:,}", size, timeout=540) for size in (1, 10, 100, 240, 1000, 2000)
}

TABLES = {
    "Actions of several sizes": (
        *(Case(f"Add {size:,}", size, action="add") for size in (1, 2000)),
        *SIZES.values(),
    ),
    "Lists with and without totals": (
        Case("without", 240),
        Case("with", 240, counts_rows=True),
    ),
    "Latency": (
        Case("1 s a call", 60, latency=1),
        Case("2 s a call", 40, latency=2),
        Case("3 s a call", 16, latency=3),
    ),
    "Congestion": (
        Case("1 % of 429, 4 removals", 60, actions=4, probabilities={"429": 0.01}),
        Case("4 instances with 4 removals", 60, instances=4, actions=4),
        Case(
            "5 % of each fault",
            180,
            staying=120,
            clicks=4,
            latency=0.02,
            probabilities=dict.fromkeys(FAULTS, 0.05),
        ),
    ),
    "Image sequences, at 20 ms a call": (
        Case("30,000 frames", 1, frames=30_000, latency=0.02, timeout=540),
        Case("8 with 25,000 frames", 8, frames=25_000, latency=0.02, timeout=540),
    ),
}


class Figures(NamedTuple):
    """What a case has taken."""

    seconds: float  # The time of the clicks.
    calls: int  # Those to iconik.
    least: float  # The shortest time in which iconik's limit allows these calls.


def post(function: Function, action: str, ids: list[str], answer: str = "") -> float:
    """Post a custom action; return the seconds until its answer, which begins as it must."""
    started = time.perf_counter()
    response = function.click(action, asset_ids=ids)
    assert response.text.startswith(answer), response.text
    return time.perf_counter() - started


def worker(function: Function) -> psutil.Process:
    """Return the process that serves the requests."""
    (process,) = psutil.Process(function.pid).children()
    return process


def peak_memory(function: Function) -> float:
    """Return the most MiB that the process that serves the requests has had in memory."""
    status = Path(f"/proc/{worker(function).pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def measure(case: Case) -> Figures:
    """Print a row, and return what the chart needs of it."""
    at_once = case.instances * case.actions
    site, faults = Site(), Faults(case.latency, is_limited=True, probabilities=case.probabilities)
    site.quirk(counts_rows=case.counts_rows)
    number, staying = case.assets * at_once, case.staying * at_once
    frames = [CLIP | {"original_name": f"{frame:06}.dpx"} for frame in range(case.frames)]
    if case.action == "add":
        ids = [site.master() for _ in range(number)]
    else:
        ids = site.assets(number, frames)
        ids += site.assets(staying, master=[CLIP | {"status": "GROWING"}])

    def left() -> int:
        present = sum(bool(site.world.file_sets_of(id, site.lucidlink)) for id in ids)
        return number - present if case.action == "add" else present - staying

    with ExitStack() as stack:
        url = stack.enter_context(serve(create_app(site.world), faults))
        settings = (
            site.settings(url) | site.secrets() | {"CLOUD_RUN_TIMEOUT_SECONDS": str(case.timeout)}
        )
        functions = [
            stack.enter_context(run_function(settings)) for _ in range(case.instances)
        ] * case.actions
        pool = stack.enter_context(ThreadPoolExecutor(at_once))
        seconds, clicks = 0.0, 0
        selections = [ids[first::at_once] for first in range(at_once)]
        while clicks < case.clicks and left():
            clicks += 1
            seconds += max(pool.map(post, functions, [case.action] * at_once, selections))
        peak = max(map(peak_memory, functions))
    assert all(site.world.file_sets_of(id, site.b2) for id in ids)
    done, calls, files = number - left(), faults.requests.total(), faults.requests["files"]
    least = max(0.0, (calls - LIMIT) / (LIMIT / WINDOW))
    each = (files - clicks * at_once) / max(1, done)  # Without the lists of storages.
    refused = f"{faults.refused} ({faults.refused / calls:.1%})"
    figures = f"{seconds:.1f} | {least:.0f} | {each:.3g} | {calls - files} | {refused} | {peak:.0f}"
    print(f"| {case.name} | {done:,} of {number:,} | {clicks} | {figures} |", flush=True)
    return Figures(seconds, calls, least)
