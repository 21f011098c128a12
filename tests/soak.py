"""A soak, run by hand with `make soak`: removals through the queue while instances are killed.

In the end no job is open, nothing that may go is left, and no master is lost.
"""

import random
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress

import psutil
import requests

from sandbox.faults import Faults
from sandbox.server import create_app, serve
from sandbox.site import CLIP, Site
from sandbox.tasks import Tasks

REMOVALS, SIDE_BY_SIDE = 500, 4
INCOMPLETE = CLIP | {"size": 1}
KEPT = 0.1
"""The share of assets whose master is incomplete."""


def main(seed: int) -> None:
    """Run it, and print figures."""
    chance, site, tasks = random.Random(seed), Site(), Tasks()  # noqa: S311
    started, is_over, kills = time.monotonic(), threading.Event(), 0

    def kill(server: psutil.Process) -> None:
        nonlocal kills
        while not is_over.wait(chance.uniform(0.5, 2.0)):
            for worker in server.children():
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
                    kills += 1

    with ExitStack() as stack:
        url = stack.enter_context(serve(create_app(site.world), Faults(latency=0.005)))
        secrets = {"ICONIK_TOKEN": site.world.token, "BZ_SHARED_SECRET": "let-me-in"}
        function = stack.enter_context(tasks.run_function(site.settings(url) | secrets))
        killer = threading.Thread(target=kill, args=(psutil.Process(function.pid),))
        killer.start()
        for _ in range(REMOVALS):
            masters = [INCOMPLETE if chance.random() < KEPT else CLIP for _ in range(4)]
            selected = masters[: chance.randint(1, 4)]
            post(f"{function.url}/remove", [site.asset([CLIP], [each])[0] for each in selected])
            if chance.random() < 0.3:
                tasks.deliver(side_by_side=SIDE_BY_SIDE)
        while tasks.deliver(side_by_side=SIDE_BY_SIDE):
            pass
        is_over.set()
        killer.join()
        # What was killed while it was handed over is closed by a later action.
        interrupted = [job for job in site.world.jobs.values() if job["status"] == "STARTED"]
        for job in interrupted:
            job["date_modified"] = "2026-01-09T17:00:00"
        post(f"{function.url}/remove", [site.asset()[0]])
        tasks.deliver()
    jobs = Counter[str](job["status"] for job in site.world.jobs.values())
    kept = sum(file["size"] == INCOMPLETE["size"] for file in site.world.files.values())
    print(f"{REMOVALS} removals of {len(site.world.assets)} assets, seed {seed}")
    print(f"{kills} instances killed, {time.monotonic() - started:.0f} s")
    print(f"Jobs: {dict(jobs)}, {len(interrupted)} of them closed by a later action")
    print(f"On LucidLink: {site.copies()}, of which {kept} must stay; masters: {site.masters()}")
    assert jobs["FAILED"] == len(interrupted)
    assert jobs["FINISHED"] + jobs["FINISHED_WITH_WARNING"] >= REMOVALS
    assert not jobs.keys() - {"FINISHED", "FINISHED_WITH_WARNING", "FAILED"}
    assert site.copies() == kept
    assert site.masters() == len(site.world.assets)


def post(url: str, assets: list[str]) -> None:
    """Click until the function has taken it: it may be killed just then."""
    while True:
        with suppress(requests.RequestException):
            payload = {"asset_ids": assets}
            headers = {"x-bz-secret": "let-me-in"}
            if requests.post(url, json=payload, headers=headers, timeout=60).ok:
                return


if __name__ == "__main__":
    main(random.SystemRandom().randrange(10**6))
