"""When requests go out."""

import threading

import pytest

from storage_plugin.errors import OutOfTime
from storage_plugin.pace import Deadline, Pace, backoff
from tests.conftest import Time


@pytest.fixture
def pace(time: Time) -> Pace:
    """Return a pace whose time passes at once."""
    return Pace(time, time.sleep)


def send(pace: Pace, time: Time, requests: int) -> list[float]:
    """Send requests as fast as the pace allows; return when each one went out."""
    deadline = Deadline(1e6, time)
    sent = []
    for _ in range(requests):
        pace.wait(deadline)
        sent.append(time.now - 1000)
    return sent


def test_a_thousand_requests_go_at_once(pace: Pace, time: Time) -> None:
    """What iconik allows is not slowed down."""
    assert send(pace, time, 1000) == [0] * 1000


def test_no_20_seconds_see_more_than_a_thousand(pace: Pace, time: Time) -> None:
    """The limit holds for any 20 seconds, and is used in full but for a margin."""
    sent = send(pace, time, 6000)
    assert all(later - earlier > 20 for earlier, later in zip(sent, sent[1000:], strict=False))
    assert sent[-1] <= 1.25 * (6000 - 1000) / 50


def test_a_refusal_lets_all_pause(pace: Pace, time: Time) -> None:
    """After a refusal nothing goes out for the time that iconik asks for, then one by one."""
    send(pace, time, 10)
    pace.refused(3)
    sent = send(pace, time, 10)
    assert 3 <= sent[0] <= 3.3
    assert sent[-1] - sent[0] == pytest.approx(9 * 0.02)
    time.sleep(15)
    sent = send(pace, time, 10)
    assert sent[-1] - sent[0] == pytest.approx(9 * 0.02)


def test_refusals_of_one_moment_count_once(pace: Pace, time: Time) -> None:
    """Sixteen threads that are refused together do not pause sixteen times as long."""
    for _ in range(16):
        pace.refused(None)
    assert send(pace, time, 1)[0] <= 0.5


def test_pauses_grow_until_a_request_is_served(pace: Pace, time: Time) -> None:
    """An iconik that goes on refusing is asked ever less often, up to a limit."""
    pauses = []
    for _ in range(8):
        before = time.now
        pace.refused(None)
        send(pace, time, 1)
        pauses.append(time.now - before)
    assert pauses[0] <= 0.5
    assert 5 <= pauses[-1] <= 10
    pace.accepted()
    before = time.now
    pace.refused(None)
    send(pace, time, 1)
    assert time.now - before <= 0.5


def test_backoff_is_never_alike() -> None:
    """Threads that failed together do not come back together."""
    assert len({backoff(3) for _ in range(20)}) > 1


def test_nothing_waits_past_the_deadline(pace: Pace, time: Time) -> None:
    """Who cannot be served in time is told at once."""
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
    """Nothing new is begun some time before the end, and nothing is sent just before it."""
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
    """Threads that ask side by side get no more than the limit between them."""
    pace, deadline = Pace(clock=lambda: 0.0), Deadline(5, clock=lambda: 0.0)
    sent = []

    def work() -> None:
        for _ in range(150):
            try:
                pace.wait(deadline)
            except OutOfTime:
                return
            sent.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 1000
