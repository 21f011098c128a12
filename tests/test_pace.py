"""The pace of requests, and the deadline."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage_plugin.errors import OutOfTime
from storage_plugin.iconik.pace import Deadline, Pace, backoff
from tests.conftest import Time


@pytest.fixture
def pace(time: Time) -> Pace:
    """Return a pace whose time passes at once."""
    return Pace(time, time.sleep)


def send(pace: Pace, time: Time, requests: int = 1) -> list[float]:
    """Send requests as fast as the pace allows; return after how many seconds each one went out."""
    deadline, begun = Deadline(1e6, time), time.now
    sent = []
    for _ in range(requests):
        pace.wait(deadline)
        sent.append(time.now - begun)
    return sent


def test_no_20_seconds_see_more_than_a_thousand(pace: Pace, time: Time) -> None:
    """A thousand requests go at once, and then nearly as many as the limit allows."""
    sent = send(pace, time, 6000)
    assert sent[:1000] == [0] * 1000
    assert all(later - earlier > 20 for earlier, later in zip(sent, sent[1000:], strict=False))
    assert sent[-1] <= 1.25 * (6000 - 1000) / 50


def test_a_refusal_lets_all_pause(pace: Pace, time: Time) -> None:
    """After a refusal, requests wait for the time that iconik asks for, then go one by one."""
    send(pace, time, 10)
    pace.refused(3)
    sent = send(pace, time, 10)
    assert 3 <= sent[0] <= 3.3
    assert sent[-1] - sent[0] == pytest.approx(9 * 0.02)
    time.sleep(15)
    assert send(pace, time, 10)[-1] == pytest.approx(9 * 0.02)


def test_refusals_of_one_moment_count_once(pace: Pace, time: Time) -> None:
    """The pause does not grow with the number of threads that are refused together."""
    for _ in range(16):
        pace.refused(None)
    assert send(pace, time)[0] <= 0.5


def test_pauses_grow_until_a_request_is_served(pace: Pace, time: Time) -> None:
    """The pauses grow with each refusal, up to a limit."""

    def pause() -> float:
        pace.refused(None)
        return send(pace, time)[0]

    first, *_, last = [pause() for _ in range(8)]
    assert first <= 0.5
    assert 5 <= last <= 10
    pace.accepted()
    assert pause() <= 0.5


def test_backoff_is_never_alike() -> None:
    """Threads that failed together do not come back together."""
    assert len({backoff(3) for _ in range(20)}) > 1


def test_nothing_waits_past_the_deadline(pace: Pace, time: Time) -> None:
    """A request that cannot be sent in time fails at once."""
    pace.refused(8)
    with pytest.raises(OutOfTime):
        pace.wait(Deadline(5, time))
    assert time.now == 1000


@pytest.mark.parametrize(
    ("seconds", "near", "end"), [(60, 48, 57), (10, 8, 9.5), (3600, 3588, 3597)]
)
def test_a_deadline_leaves_time_to_finish(
    time: Time, seconds: int, near: float, end: float
) -> None:
    """Some time before the end, no new work begins; just before it, nothing is sent."""
    deadline = Deadline(seconds, time)
    time.now = 1000 + near - 0.1
    assert deadline.until_near() == pytest.approx(0.1)
    time.now = 1000 + near
    assert deadline.until_near() == 0
    assert deadline.remaining() == pytest.approx(end - near)
    time.now = 1000 + end
    with pytest.raises(OutOfTime):
        deadline.remaining()


def test_threads_share_the_limit() -> None:
    """Parallel threads together stay within the limit."""
    pace, deadline = Pace(clock=lambda: 0.0), Deadline(5, clock=lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(pace.wait, deadline) for _ in range(1200)]
    assert sum(wait.exception() is None for wait in waits) == 1000
