"""What a network and an overloaded iconik do to requests, as often as a test wants it."""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

LIMIT, WINDOW = 1000, 20.0  # iconik serves a token so many requests in so many seconds.
# Faults that are answers: status and headers.
REFUSALS = {
    "500": (500, {}),
    "503": (503, {}),
    "200 in HTML": (200, {"Content-Type": "text/html"}),
    "502 in HTML": (502, {"Content-Type": "text/html"}),
    "429": (429, {}),
    "429 with Retry-After": (429, {"Retry-After": "0.1"}),
}
# Faults of the connection: before the work is done, after it, and in the answer.
RESET_BEFORE, RESET_AFTER, TRUNCATED = "reset before", "reset after", "truncated"
HANG, DRIP = "hang", "drip"  # No answer ever comes, or a byte now and then.


@dataclass
class Faults:
    """How the sandbox treats requests."""

    latency: float = 0.0  # The seconds that each answer takes at least.
    is_limited: bool = False  # iconik's limit of requests is enforced.
    window: float = WINDOW  # The seconds in which iconik serves `LIMIT` requests.
    probabilities: Mapping[str, float] = field(default_factory=dict)  # From 0 to 1, of each fault.

    def __post_init__(self) -> None:
        self.requests: Counter[str] = Counter()  # Those to each service of iconik.
        self.refused = 0  # Those over the limit.
        self._chance = random.Random(0)  # noqa: S311 - So that a run can be repeated.
        self._served: deque[float] = deque(maxlen=LIMIT)
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Treat requests well again, and forget earlier ones."""
        self.latency, self.is_limited, self.probabilities = 0.0, False, {}
        self.__post_init__()

    def next(self, path: str) -> str | None:
        """Wait for the latency, and return what shall go wrong with a request."""
        weights = [*self.probabilities.values(), 1 - sum(self.probabilities.values())]
        with self._lock:
            self.requests[path.removeprefix("/API/").split("/")[0]] += 1
            now, served = time.monotonic(), self._served
            if self.is_limited and len(served) == LIMIT and served[0] > now - self.window:
                self.refused += 1
                fault: str | None = "429"
            else:
                served.append(now)
                fault = self._chance.choices([*self.probabilities, None], weights)[0]
        time.sleep(self.latency)
        return fault
