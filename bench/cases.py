"""Removals at the same time, from an iconik that is slow, busy, or fails."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from bench.scene import Scene, post
from sandbox.faults import RESET_AFTER, RESET_BEFORE, Faults
from sandbox.function import Function, run_function
from sandbox.server import create_app, serve
from sandbox.site import CLIP

FAULTS = ("429", "500", "503", "200 in HTML", RESET_BEFORE, RESET_AFTER)


class Case(NamedTuple):
    """Removals at the same time, and what iconik is like. A request may take 60 s.

    Attributes:
        name: what is special.
        assets: those of each removal that may go.
        staying: those of each removal whose masters are not complete.
        instances: those of the function.
        removals: those of each instance.
        clicks: the most clicks on each removal.
        latency: seconds that iconik takes for each call.
        probabilities: those of faults.
        counts_rows: whether lists have totals.
    """

    name: str
    assets: int
    staying: int = 0
    instances: int = 1
    removals: int = 1
    clicks: int = 1
    latency: float = 0.1
    probabilities: Mapping[str, float] = {}
    counts_rows: bool = False


CASES = (
    Case("lists without totals", 240),
    Case("lists with totals", 240, counts_rows=True),
    Case("1 s a call", 60, latency=1),
    Case("2 s a call", 40, latency=2),
    Case("3 s a call", 16, latency=3),
    Case("1 % of 429, 4 removals", 60, removals=4, probabilities={"429": 0.01}),
    Case("4 instances with 4 removals", 60, instances=4, removals=4),
    Case(
        "5 % of each fault",
        180,
        staying=120,
        clicks=4,
        latency=0.02,
        probabilities=dict.fromkeys(FAULTS, 0.05),
    ),
)


def measure_all() -> None:
    """Print a table."""
    print("\nRemovals of up to 60 s, with iconik's limit enforced:\n")
    print("| Case | Gone | Clicks | Seconds | Calls a gone asset | For jobs | Refused |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        measure(case)


def click(function: Function, ids: list[str]) -> float:
    """Remove some assets, whatever the answer is."""
    return post(function, "remove", ids, answer="")


def measure(case: Case) -> None:
    """Print a row."""
    removals = case.instances * case.removals
    removable = case.assets * removals
    scene = Scene(removable, copied=True, timeout=60)
    scene.quirk(counts_rows=case.counts_rows)
    for number in range(case.staying * removals):
        scene.asset(master=[CLIP | {"status": "GROWING"}], title=f"Growing clip {number}")
    faults = Faults(case.latency, is_limited=True, probabilities=case.probabilities)
    selections = [scene.ids[number::removals] for number in range(removals)]
    seconds, clicks = 0.0, 0
    with ExitStack() as stack:
        settings = scene.settings(stack.enter_context(serve(create_app(scene.world), faults)))
        functions = [
            stack.enter_context(run_function(settings | scene.secrets))
            for _ in range(case.instances)
        ] * case.removals
        pool = stack.enter_context(ThreadPoolExecutor(removals))
        while clicks < case.clicks and scene.copies() > case.staying * removals:
            clicks += 1
            seconds += max(pool.map(click, functions, selections))
    assert scene.masters() == len(scene.ids)
    gone, calls = len(scene.ids) - scene.copies(), faults.requests["files"]
    news = faults.requests.total() - calls
    refused = f"{faults.refused} ({faults.refused / faults.requests.total():.1%})"
    figures = f"{clicks} | {seconds:.1f} | {calls / max(1, gone):.3g} | {news} | {refused}"
    print(f"| {case.name} | {gone} of {removable} | {figures} |", flush=True)
