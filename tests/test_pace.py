"""The pace of requests, places for assets, and the deadline."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from storage_plugin.errors import OutOfTime
from storage_plugin.iconik.pace import PLACES, Deadline, Pace, backoff
from tests.conftest import Time


@pytest.fixture
def pace(time: Time) -> Pace:
    """Return a pace whose time passes at once."""
    return Pace(time, time.sleep)


def send(pace: Pace, time: Time, requests: int = 1, share: float = 1) -> list[float]:
    """Send requests as fast as the pace allows; return after how many seconds each one went out."""
    deadline, begun, sent = Deadline(1e6, time), time.now, []
    for _ in range(requests):
        pace.reserve(deadline, share)
        sent.append(time.now - begun)
    return sent


def test_no_20_seconds_see_more_than_a_thousand(pace: Pace, time: Time) -> None:
    """A thousand requests go at once, and then nearly as many as the limit allows."""
    sent = send(pace, time, 6000)
    assert sent[:1000] == [0] * 1000
    assert all(later - earlier > 20 for earlier, later in zip(sent, sent[1000:], strict=False))
    assert sent[-1] <= 1.25 * (6000 - 1000) / 50


def test_work_from_the_queue_leaves_room_for_a_click(time: Time) -> None:
    """A share of the limit is never used up by those who may only use the rest."""
    waits: list[float] = []
    pace, deadline = Pace(time, waits.append), Deadline(1e6, time)
    for share in [0.8] * 900 + [1.0] * 100:
        pace.reserve(deadline, share)
    assert [wait > 0 for wait in waits] == [False] * 800 + [True] * 100 + [False] * 100


def test_a_request_that_cannot_go_in_time_uses_up_nothing(pace: Pace, time: Time) -> None:
    """Clicks that fail beside a large removal do not make the following ones wait longer."""
    send(pace, time, 1000)
    for _ in range(100):
        with pytest.raises(OutOfTime):
            pace.reserve(Deadline(5, time))
    assert time.now == 1000  # They have failed at once.
    time.sleep(21)
    assert send(pace, time, 1000)[-1] == 0


def test_a_refusal_lets_all_pause(pace: Pace, time: Time) -> None:
    """After a refusal, requests wait for the time that iconik asks for, then go one by one."""
    send(pace, time, 10)
    pace.refused(3)
    sent = send(pace, time, 10)
    assert 3 <= sent[0] <= 3.3
    assert sent[-1] - sent[0] == pytest.approx(9 * 0.02)
    time.sleep(15)
    assert send(pace, time, 10)[-1] == pytest.approx(9 * 0.02)


def test_a_pause_holds_those_who_already_wait(time: Time) -> None:
    """A refusal while a thread waits for its turn makes it wait for the end of the pause, too."""

    def sleep(seconds: float) -> None:
        if seconds > 20:
            time.sleep(15)
            pace.refused(9.9)
            seconds -= 15
        time.sleep(seconds)

    pace = Pace(time, sleep)
    assert 24.9 <= send(pace, time, 1001)[-1] <= 25


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


def test_a_deadline_ends(time: Time) -> None:
    """Time passes until none is left."""
    deadline = Deadline(10, time)
    time.sleep(9)
    assert (deadline.remaining(), deadline.remaining(0.5)) == (1, 0.5)
    with pytest.raises(OutOfTime):
        deadline.remaining(1)
    time.sleep(1)
    with pytest.raises(OutOfTime):
        deadline.remaining()


def test_threads_share_the_limit() -> None:
    """Parallel threads together stay within the limit, and each of them sleeps once."""
    waits: list[float] = []
    pace, deadline = Pace(lambda: 0.0, waits.append), Deadline(50, lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(1200):
            pool.submit(pace.reserve, deadline)
    assert Counter(waits) == {0: 1000, 20.2: 200}


# Places for assets


def test_an_instance_works_on_few_assets_at_once(pace: Pace) -> None:
    """Those who wait for a place get it in their order, whoever else comes back for one."""
    deadline, entered = Deadline(60), []

    def work(name: str) -> None:
        with pace.asset(deadline):
            entered.append(name)

    waiting = [threading.Thread(target=work, args=[name]) for name in ("first", "second")]
    with ExitStack() as places:
        for _ in range(PLACES - 1):
            places.enter_context(pace.asset(deadline))
        with pace.asset(deadline):
            for number, thread in enumerate(waiting):
                thread.start()
                while len(pace._turns) == PLACES + number:
                    pass  # The thread has not come yet.
            assert entered == []
        work("back again")
        assert entered == ["first", "second", "back again"]
        places.enter_context(pace.asset(deadline))
        with pytest.raises(OutOfTime), pace.asset(Deadline(0.01)):
            pytest.fail("There is no place.")
    for thread in waiting:
        thread.join()
    with pace.asset(Deadline(0.01)):
        pass  # Whoever gave up holds nothing.
