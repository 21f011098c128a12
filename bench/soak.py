"""A soak, run by hand with `make soak`: large removals through the queue.

Editors click fifty times before a removal of 10,000 assets, beside it, and beside it while the
function is killed. With --many, 50,000 assets in one collection are removed instead. In the end,
what may go is gone, nothing else is, and all jobs are closed with the right numbers.
"""

import argparse
import random
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import psutil
import requests

from sandbox.faults import WINDOW, Faults
from sandbox.function import ROOT
from sandbox.server import create_app, serve
from sandbox.site import CLIP, LONG_AGO, Site
from sandbox.tasks import Tasks
from sandbox.world import Row
from storage_plugin.job import INTERRUPTED

ASSETS, STAYING, MANY, CLICKS = 10_000, 200, 50_000, 50
LATENCY = 0.1  # Seconds that the real iconik is taken to need for an answer.
MOST_DELAY = 3.0  # Seconds by which a removal may delay the longest click.
LONGEST = 3600.0  # Seconds after which a removal must be over.


class Soak(Site):
    """The function with a queue, as it is deployed, and a faster iconik."""

    def __init__(self, stack: ExitStack, speed: float, chance: random.Random) -> None:
        super().__init__()
        self.tasks, self.chance, self.kills = Tasks(speed), chance, 0
        self.faults = Faults(LATENCY / speed, is_limited=True, window=WINDOW / speed)
        url = stack.enter_context(serve(create_app(self.world), self.faults))
        source = {"FUNCTION_SOURCE": "bench/fast_function.py", "PYTHONPATH": str(ROOT)}
        settings = self.settings(url) | self.secrets() | source | {"SPEED": str(speed)}
        self.function = stack.enter_context(self.tasks.run_function(settings))
        stack.enter_context(self.tasks.run())

    @property
    def jobs(self) -> list[Row]:
        """The jobs of the plugin."""
        return [job for job in self.world.jobs.values() if job["type"] == "CUSTOM"]

    def click(self, action: str, **selection: object) -> float:
        """Click until the function has done it or taken it over; return the seconds."""
        started = time.monotonic()
        for _ in range(10):
            with suppress(requests.ConnectionError):  # The instance was killed.
                answer = self.function.click(action, **selection)
                if answer.ok:
                    return time.monotonic() - started
                print(f"{action}: {answer.status_code} {answer.text}")
        raise AssertionError("The function takes no click.")

    def clicks(self, title: str, pause: float, kills: float = 0.0) -> float:
        """Add and remove assets, print a row, and return the longest seconds of a click.

        `pause` is the mean of seconds before a click, and `kills` the probability of a kill then.
        """
        removed = self.assets(CLICKS // 2)
        selected = removed + [self.master() for _ in removed]
        seconds = []
        for asset_id in self.chance.sample(selected, CLICKS):
            time.sleep(self.chance.uniform(0, 2 * pause))
            if self.chance.random() < kills:
                for worker in psutil.Process(self.function.pid).children():
                    worker.kill()
                self.kills += 1
            action = "remove" if asset_id in removed else "add"
            seconds.append(self.click(action, asset_ids=[asset_id]))
            copies = self.world.file_sets_of(asset_id, self.lucidlink)
            assert len(copies) == (action == "add")
        print(f"| {title} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |", flush=True)
        return max(seconds)

    def end(self, assets: int, started: float) -> None:
        """Wait until the queue is empty, and print what the removal of some assets has taken."""
        while self.tasks.waiting:
            assert time.monotonic() < started + LONGEST, "The queue does not become empty."
            time.sleep(0.1)
        calls, seconds = self.faults.requests, time.monotonic() - started
        print(
            f"\n{assets:,} assets: {seconds:.0f} s, {self.kills} kills; deliveries by status:"
            f" {dict(Counter(self.tasks.statuses))}; {calls['files'] / assets:.3g} calls an asset,"
            f" {calls['assets']:,} for collections, {calls['jobs']} for jobs, {self.faults.refused}"
            " refused."
        )


def remove_beside_clicks(soak: Soak) -> None:
    """Remove assets through the queue, while others click, and instances are killed."""
    selected = soak.assets(ASSETS - STAYING)
    selected += soak.assets(STAYING, master=[CLIP | {"size": 1}])
    soak.chance.shuffle(selected)
    print(f"\n| {CLICKS} clicks | Median s | Longest s |\n| --- | --- | --- |")
    alone = soak.clicks("alone", pause=0.2)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(soak.click, "remove", asset_ids=selected)
        beside = soak.clicks(f"beside a removal of {ASSETS:,} assets", pause=1.5)
        soak.clicks("beside it, while instances are killed", pause=1.5, kills=0.15)
        assert soak.tasks.waiting, "The removal was over too soon."
        removal.result()
    soak.end(ASSETS, started)
    interrupted = [job for job in soak.jobs if job["status"] == "STARTED"]
    for job in interrupted:
        job["date_modified"] = LONG_AGO
    soak.click("remove", asset_ids=soak.assets(1))  # It closes them.
    jobs = Counter(f"{job['status']}, {job['message'].split('. ')[0]}" for job in soak.jobs)
    numbers = f"{ASSETS - STAYING:,} of {ASSETS:,} assets removed from LucidLink, {STAYING} stayed"
    assert jobs.pop(f"FINISHED_WITH_WARNING, {numbers}") == 1, jobs
    assert jobs.pop(f"FAILED, {INTERRUPTED.split('. ')[0]}", 0) == len(interrupted), jobs
    single = ("1 of 1 asset removed from LucidLink.", "Nothing is on LucidLink.")
    assert jobs.keys() <= {f"FINISHED, {message}" for message in single}
    assert beside <= alone + MOST_DELAY
    assert soak.copies() == STAYING + 3 * CLICKS // 2
    assert soak.masters() == len(soak.world.assets)


def remove_many(soak: Soak) -> None:
    """Remove all assets of a large collection through the queue."""
    collection, started = soak.world.add_collection(*soak.assets(MANY)), time.monotonic()
    soak.click("remove", collection_ids=[collection])
    soak.end(MANY, started)
    (job,) = soak.jobs
    assert job["message"] == f"{MANY:,} of {MANY:,} assets removed from LucidLink."
    assert (job["status"], soak.copies(), soak.masters()) == ("FINISHED", 0, MANY)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--many", action="store_true", help="remove 50,000 assets")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    remove, speed = (remove_many, 20.0) if options.many else (remove_beside_clicks, 4.0)
    print(
        f"\nLarge removals with a queue, and an iconik {speed:g} times as fast as the real one,"
        f" in some minutes. Repeat it with OPTIONS='--seed {options.seed}'.",
        flush=True,
    )
    with ExitStack() as stack:
        remove(Soak(stack, speed, random.Random(options.seed)))  # noqa: S311
