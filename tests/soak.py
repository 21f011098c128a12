"""A soak, run by hand with `make soak`: large removals through the queue.

Without an option: a removal of 10,000 assets, and fifty clicks of one asset alone, beside the
removal, and beside it while instances of the function are killed. In the end, all that may go is
gone, nothing else is, and all jobs are closed with the right numbers.

--many: a removal of 50,000 assets in one collection.
"""

import argparse
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import psutil
import requests

from sandbox.faults import WINDOW, Faults
from sandbox.function import ROOT
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site, payload
from sandbox.tasks import Tasks
from sandbox.world import Row

LATENCY = 0.1
"""Seconds for which iconik takes for each answer at its usual speed."""

ASSETS, STAYING = 10_000, 200
"""The assets of the large removal, and how many of them have no complete master."""

MANY = 50_000
CLICKS = 50
INCOMPLETE = CLIP | {"size": 1}
SECRET = {"x-bz-secret": "let-me-in"}
MOST_DELAY = 3.0
"""Seconds by which the longest click beside the removal may exceed the longest one alone."""


class Soak:
    """A function with a queue, whose instances may be killed, and an iconik.

    Args:
        stack: takes what has to be stopped.
        speed: how many times faster than the real iconik this one answers and counts requests.
        chance: decides when something happens.

    Attributes:
        site: the iconik.
        faults: counts its requests.
        tasks: the queue.
        kills: the number of killed instances.
    """

    def __init__(self, stack: ExitStack, speed: float, chance: random.Random) -> None:
        self.site, self.tasks, self.kills = Site(), Tasks(speed), 0
        self.faults = Faults(LATENCY / speed, is_limited=True, window=WINDOW / speed)
        url = stack.enter_context(serve(create_app(self.site.world), self.faults))
        settings = {
            **self.site.settings(url),
            "ICONIK_TOKEN": self.site.world.token,
            "BZ_SHARED_SECRET": SECRET["x-bz-secret"],
            "PYTHONPATH": str(ROOT),
            "FUNCTION_SOURCE": "tests/fast_function.py",
            "SPEED": str(speed),
        }
        self._function = stack.enter_context(self.tasks.run_function(settings))
        stack.enter_context(self.tasks.run())
        self._chance = chance

    def assets(self, number: int, master: Row = CLIP) -> list[str]:
        """Add assets that have been on both storages for a while, and return their ids."""
        ids = [self.site.asset([CLIP], [master])[0] for _ in range(number)]
        for id in ids:
            for file_set in self.site.world.file_sets.of_asset[id].values():
                file_set["date_created"] = "2026-01-09T17:00:00"
        return ids

    def click(self, action: str, **selection: object) -> "Click":
        """Click until the function has taken the action: an instance may be killed meanwhile."""
        started, attempts = time.monotonic(), 0
        while True:
            attempts += 1
            with suppress(requests.RequestException):
                answer = requests.post(
                    f"{self._function.url}/{action}",
                    json=payload(**selection),
                    headers=SECRET,
                    timeout=60,
                )
                if answer.ok:
                    return Click(time.monotonic() - started, attempts)
                print(f"  {action}: {answer.status_code} {answer.text}")

    def clicks(self, pause: float) -> list["Click"]:
        """Add assets and remove others, one by one at random moments.

        Args:
            pause: the mean seconds between two clicks.
        """
        adds = [("add", self.site.master()) for _ in range(CLICKS // 2)]
        removes = [("remove", id) for id in self.assets(CLICKS - len(adds))]
        actions = self._chance.sample(adds + removes, CLICKS)
        clicks = []
        for action, asset_id in actions:
            time.sleep(self._chance.uniform(0, 2 * pause))
            clicks.append(self.click(action, asset_ids=[asset_id]))
            copies = self.site.world.file_sets_of(asset_id, self.site.lucidlink)
            assert len(copies) == (action == "add")
        return clicks

    @contextmanager
    def killing(self, pause: float) -> Iterator[None]:
        """Kill instances at random moments.

        Args:
            pause: the mean seconds between two of them.
        """
        is_over = threading.Event()

        def kill() -> None:
            while not is_over.wait(self._chance.expovariate(1 / pause)):
                for worker in psutil.Process(self._function.pid).children():
                    with suppress(psutil.NoSuchProcess):
                        worker.kill()
                        self.kills += 1

        with ThreadPoolExecutor(1) as pool:
            pool.submit(kill)
            try:
                yield
            finally:
                is_over.set()

    def wait(self) -> None:
        """Wait until the queue is empty."""
        while self.tasks.waiting:
            time.sleep(0.1)

    def close_interrupted(self) -> int:
        """Let a later removal close the jobs whose clicks were killed; return their number."""
        jobs = [job for job in self.site.world.jobs.values() if job["status"] == "STARTED"]
        for job in jobs:
            job["date_modified"] = "2026-01-09T17:00:00"
        self.click("remove", asset_ids=self.assets(1))
        return len(jobs)

    def print_figures(self, title: str, assets: int) -> None:
        """Print what the removal has taken."""
        calls = self.faults.requests
        answers = dict(Counter(self.tasks.answers))
        print(f"{title}: {len(self.tasks.created)} tasks, answers to their deliveries: {answers}")
        print(
            f"Calls: {calls['files'] / assets:.3g} an asset, {dict(calls)}, refused: {self.faults.refused}"
        )
        print(f"Jobs: {dict(Counter(job['status'] for job in self.jobs))}")

    @property
    def jobs(self) -> list[Row]:
        """The jobs that the plugin has made."""
        return [job for job in self.site.world.jobs.values() if job["type"] == "CUSTOM"]


class Click(NamedTuple):
    """A click: the seconds until its answer, and the number of attempts."""

    seconds: float
    attempts: int


def fairness(soak: Soak) -> None:
    """Click alone, beside a large removal, and while instances are killed."""
    going, staying = soak.assets(ASSETS - STAYING), soak.assets(STAYING, master=INCOMPLETE)
    selected = soak._chance.sample(going + staying, ASSETS)
    alone = soak.clicks(pause=0.2)
    show("alone", alone)
    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(soak.click, "remove", asset_ids=selected)
        beside = soak.clicks(pause=2.0)
        show("beside the removal", beside)
        with soak.killing(pause=40.0):
            show("while instances are killed", soak.clicks(pause=2.0))
            assert soak.tasks.waiting, "The removal was over too soon."
            soak.wait()
    left = soak.site.copies()
    interrupted = soak.close_interrupted()
    soak.print_figures(f"{ASSETS:,} assets, {soak.kills} instances killed", ASSETS)
    print(f"Interrupted clicks, closed by a later removal: {interrupted}")
    print(removal.result())


def show(title: str, clicks: list[Click]) -> None:
    """Print a line of figures."""
    seconds, repeated = [each.seconds for each in clicks], sum(each.attempts > 1 for each in clicks)
    median, longest = statistics.median(seconds), max(seconds)
    print(
        f"{CLICKS} clicks {title}: median {median:.2f} s, longest {longest:.2f} s, {repeated} repeated",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--speed", type=float, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with ExitStack() as stack:
        soak = Soak(stack, options.speed, random.Random(options.seed))
        fairness(soak)


if __name__ == "__main__":
    main()
