"""Parallel work, because it waits for iconik most of the time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

WORKERS = 16
"""Threads for one action. At 0.1 s a call they send 160 requests a second, above iconik's limit."""

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return the result of `work` for each item, computed by threads; stop at the first error."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            return [future.result() for future in [pool.submit(work, item) for item in items]]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
