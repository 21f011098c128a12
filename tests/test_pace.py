"""The pace of requests, and places for assets."""

import threading
from contextlib import ExitStack
from operator import sub

import pytest

from storage_plugin.errors import OutOfTime
from storage_plugin.iconik.pace import PLACES, Deadline, Pace
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
    """A share of the limit is never used up by those who may only use the rest; all wait once."""
    waits: list[float] = []
    pace, deadline = Pace(time, waits.append), Deadline(1e6, time)
    for share in [0.8] * 813 + [1.0] * 187 + [0.8] * 700:
        pace.reserve(deadline, share)
    assert [round(wait) for wait in waits] == [0] * 800 + [20] * 13 + [0] * 187 + [20] * 700


def test_a_request_that_cannot_go_in_time_uses_up_nothing(pace: Pace, time: Time) -> None:
    """Clicks that fail beside a large removal do not make the following ones wait longer."""
    send(pace, time, 1000)
    for _ in range(100):
        with pytest.raises(OutOfTime):
            pace.reserve(Deadline(20.2, time))
    assert time.now == 1000  # They have failed at once.
    time.sleep(21)
    assert send(pace, time, 1000)[-1] == 0


@pytest.mark.parametrize("share", [0.8, 1])
def test_a_refusal_lets_all_pause(pace: Pace, time: Time, share: float) -> None:
    """Requests wait for as long as iconik asks, and then they go one by one for a while."""
    send(pace, time, 10)
    pace.refused(3)
    sent = send(pace, time, 700, share)
    assert 3 <= sent[0] <= 3.3
    assert all(gap == pytest.approx(0.0202) for gap in map(sub, sent[1:], sent))
    time.sleep(21)
    assert send(pace, time, 1000)[-1] == 0


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


def test_pauses_grow_until_a_request_is_served(pace: Pace, time: Time) -> None:
    """Each refusal makes a longer pause, up to a limit; those of one moment count once."""

    def pause() -> float:
        for _ in range(16):
            pace.refused(0)
        return send(pace, time)[0]

    first, *_, seventh, last = [pause() for _ in range(8)]
    assert first <= 0.5
    assert 4 <= last <= 8
    assert last != seventh  # Instances that were refused together do not come back together.
    pace.accepted()
    assert pause() <= 0.5


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
            for number, thread in enumerate(waiting, PLACES):
                thread.start()
                while len(pace._turns) == number:
                    pass  # The thread has not come yet.
            assert entered == []
        work("back again")
        assert entered == ["first", "second", "back again"]
        places.enter_context(pace.asset(deadline))
        with pytest.raises(OutOfTime), pace.asset(Deadline(0.01)):
            pytest.fail("There is no place.")
    assert pace._turns == []  # Whoever gave up holds nothing.
