"""A soak, run by hand with `make soak`: large removals through the queue.

Without an option, 10,000 assets are removed, and editors click fifty times each before that, beside
it, and beside it while instances of the function are killed. With --many, 50,000 assets in one
collection are removed. In the end, what may go is gone, nothing else is, and all jobs are closed
with the right numbers.
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

import psutil
import requests

from sandbox.faults import LIMIT, WINDOW, Faults
from sandbox.function import ROOT
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site, payload
from sandbox.tasks import Tasks
from sandbox.world import Row
from storage_plugin.job import INTERRUPTED

ASSETS, STAYING, MANY = 10_000, 200, 50_000
CLICKS = 50
LATENCY = 0.1
"""Seconds that the real iconik is taken to need for an answer."""

MOST_DELAY = 3.0
"""Seconds by which the longest click beside a large removal may exceed the longest one alone."""

LONGEST = 3600.0
"""Seconds after which the queue must be empty."""

SECRET = {"x-bz-secret": "let-me-in"}
LONG_AGO = "2026-01-09T17:00:00"
INCOMPLETE = CLIP | {"size": 1}


class Soak:
    """The function with a queue, as it is deployed, and an iconik.

    Args:
        stack: takes what has to be stopped.
        speed: how many times faster than the real one this iconik answers and counts requests.
        chance: decides when something happens.

    Attributes:
        site: the iconik.
        faults: counts the requests to it.
        tasks: the queue.
        chance: as above.
        kills: the number of killed instances.
    """

    def __init__(self, stack: ExitStack, speed: float, chance: random.Random) -> None:
        self.site, self.tasks, self.chance, self.kills = Site(), Tasks(speed), chance, 0
        self.faults = Faults(LATENCY / speed, is_limited=True, window=WINDOW / speed)
        url = stack.enter_context(serve(create_app(self.site.world), self.faults))
        settings = {
            **self.site.settings(url),
            "ICONIK_TOKEN": self.site.world.token,
            "BZ_SHARED_SECRET": SECRET["x-bz-secret"],
            "FUNCTION_SOURCE": "tests/fast_function.py",
            "PYTHONPATH": str(ROOT),
            "SPEED": str(speed),
        }
        self._function = stack.enter_context(self.tasks.run_function(settings))
        stack.enter_context(self.tasks.run())

    def assets(self, number: int, master: Row = CLIP) -> list[str]:
        """Add assets that have been on both storages for a while, and return their ids."""
        ids = [self.site.asset([CLIP], [master])[0] for _ in range(number)]
        for id in ids:
            for file_set in self.site.world.file_sets.of_asset[id].values():
                file_set["date_created"] = LONG_AGO
        return ids

    def click(self, action: str, **selection: object) -> float:
        """Click until the function has done it or taken it over; return the seconds."""
        started = time.monotonic()
        for _ in range(10):
            with suppress(requests.ConnectionError):  # The instance was killed.
                answer = requests.post(
                    f"{self._function.url}/{action}",
                    json=payload(**selection),
                    headers=SECRET,
                    timeout=60,
                )
                if answer.ok:
                    return time.monotonic() - started
                print(f"{action}: {answer.status_code} {answer.text}")
        raise AssertionError("The function takes no click.")

    def clicks(self, title: str, pause: float) -> float:
        """Add assets and remove others, one by one at random moments.

        Args:
            title: describes the clicks.
            pause: the mean seconds between two clicks.

        Returns:
            The seconds of the longest click.
        """
        removed = self.assets(CLICKS // 2)
        selected = removed + [self.site.master() for _ in range(CLICKS - len(removed))]
        seconds = []
        for asset_id in self.chance.sample(selected, CLICKS):
            time.sleep(self.chance.uniform(0, 2 * pause))
            action = "remove" if asset_id in removed else "add"
            seconds.append(self.click(action, asset_ids=[asset_id]))
            copies = self.site.world.file_sets_of(asset_id, self.site.lucidlink)
            assert len(copies) == (action == "add")
        median, longest = statistics.median(seconds), max(seconds)
        print(
            f"{CLICKS} clicks {title}: median {median:.2f} s, longest {longest:.2f} s", flush=True
        )
        return longest

    @contextmanager
    def killing(self, pause: float) -> Iterator[None]:
        """Kill instances at random moments.

        Args:
            pause: the mean seconds between two of them.
        """
        is_over, server = threading.Event(), psutil.Process(self._function.pid)

        def kill() -> None:
            while not is_over.wait(self.chance.expovariate(1 / pause)):
                for worker in server.children():
                    with suppress(psutil.NoSuchProcess):
                        worker.kill()
                        self.kills += 1

        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill)
            try:
                yield
            finally:
                is_over.set()
                killing.result()

    def wait(self) -> None:
        """Wait until the queue is empty."""
        ends = time.monotonic() + LONGEST
        while self.tasks.waiting:
            assert time.monotonic() < ends, "The queue does not become empty."
            time.sleep(0.1)

    def jobs(self) -> list[Row]:
        """Return the jobs that the plugin has made."""
        return [job for job in self.site.world.jobs.values() if job["type"] == "CUSTOM"]

    def print_figures(self, assets: int, started: float) -> None:
        """Print what a removal of some assets has taken."""
        calls, statuses = self.faults.requests, dict(Counter(self.tasks.statuses))
        print(
            f"{assets:,} assets: {time.monotonic() - started:.0f} s, {self.kills} killed instances"
        )
        print(f"{len(self.tasks.created)} tasks, with these statuses of deliveries: {statuses}")
        print(f"{calls['files'] / assets:.3g} calls an asset, {calls['assets']:,} for collections")
        print(f"{calls['jobs']} calls for jobs; {self.faults.refused} refused calls")


def remove_beside_clicks(soak: Soak) -> None:
    """Remove assets through the queue, while others click, and instances are killed."""
    selected = soak.assets(ASSETS - STAYING) + soak.assets(STAYING, master=INCOMPLETE)
    soak.chance.shuffle(selected)
    alone = soak.clicks("alone", pause=0.2)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(soak.click, "remove", asset_ids=selected)
        beside = soak.clicks("beside a large removal", pause=1.5)
        with soak.killing(pause=20.0):
            soak.clicks("while instances are killed, too", pause=1.5)
        assert soak.tasks.waiting, "The removal was over too soon."
        print(f"The large click itself: {removal.result():.2f} s")
    soak.wait()
    soak.print_figures(ASSETS, started)
    interrupted = [job for job in soak.jobs() if job["status"] == "STARTED"]
    for job in interrupted:
        job["date_modified"] = LONG_AGO
    soak.click("remove", asset_ids=soak.assets(1))  # It closes them.
    jobs = Counter(f"{job['status']}, {job['message'].split('. ')[0]}" for job in soak.jobs())
    for result, number in jobs.items():
        print(f"{number} jobs: {result}")
    numbers = f"{ASSETS - STAYING:,} of {ASSETS:,} assets removed from LucidLink, {STAYING} stayed"
    assert jobs.pop(f"FINISHED_WITH_WARNING, {numbers}") == 1
    assert jobs.pop(f"FAILED, {INTERRUPTED.split('. ')[0]}", 0) == len(interrupted)
    one, none = "1 of 1 asset removed from LucidLink.", "Nothing was on LucidLink."
    assert jobs.keys() <= {f"FINISHED, {one}", f"FINISHED, {none}"}
    assert beside <= alone + MOST_DELAY
    assert soak.site.copies() == STAYING + 3 * CLICKS // 2
    assert soak.site.masters() == len(soak.site.world.assets)


def remove_many(soak: Soak) -> None:
    """Remove all assets of a large collection through the queue."""
    collection, started = soak.site.world.add_collection(*soak.assets(MANY)), time.monotonic()
    seconds = soak.click("remove", collection_ids=[collection])
    print(f"The large click itself: {seconds:.2f} s", flush=True)
    soak.wait()
    soak.print_figures(MANY, started)
    (job,) = soak.jobs()
    print(f"1 job: {job['status']}, {job['message']}")
    assert job["message"] == f"{MANY:,} of {MANY:,} assets removed from LucidLink."
    assert (job["status"], soak.site.copies(), soak.site.masters()) == ("FINISHED", 0, MANY)


def main() -> None:
    """Run a soak, and print figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--many", action="store_true", help="remove 50,000 assets")
    parser.add_argument("--speed", type=float, help="that of iconik; 1: the real one")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    remove, speed = (remove_many, 20.0) if options.many else (remove_beside_clicks, 4.0)
    speed = options.speed or speed
    print(f"This takes minutes, because this iconik is {speed:g} times as fast as the real one:")
    print(f"{LATENCY / speed * 1000:g} ms for an answer, {LIMIT} calls in {WINDOW / speed:g} s.")
    print(f"Repeat it with OPTIONS='--seed {options.seed}'.", flush=True)
    with ExitStack() as stack:
        remove(Soak(stack, speed, random.Random(options.seed)))  # noqa: S311


if __name__ == "__main__":
    main()
