"""Rounds: what one leaves to the next, and how it travels in a task."""

import json
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_plugin import rounds
from storage_plugin.errors import CallerError, IconikError, IconikUnavailable, OutOfTime
from storage_plugin.removal.report import End, Outcome, Report
from storage_plugin.rounds import NOT_BEGUN, Round, read_task, split, write_task
from storage_plugin.webhook import MAX_BODY, MAX_IDS, Action, Selection, read_action

IDS = [str(UUID(int=number)) for number in range(MAX_IDS + 10)]
COLLECTION, EDITOR = IDS[-1], IDS[-2]


def round_of(assets: Sequence[str] = (), *collections: str, **changes: object) -> Round:
    """Return a round with a selection."""
    action = Action("remove", Selection(tuple(assets), collections), {}, EDITOR)
    round = Round(action, "click", 1_800_000_000.0, ("assets", IDS[0]))
    return round._replace(**changes)


DONE = [
    Outcome("", End.REMOVED, removed=1),
    Outcome("", End.ABSENT),
    Outcome("", End.STAYED, reasons=("it has no master",)),
    Outcome("", End.FAILED, error=IconikError("no")),
]
LEFT = [
    Outcome("", End.WAITING, reasons=("it is being copied",)),
    Outcome("", End.LEFT, error=OutOfTime("time is up")),
    Outcome("", End.FAILED, error=IconikUnavailable("later")),
    Outcome("", End.LEFT, error=NOT_BEGUN),
]


def test_what_is_left_is_named_and_what_waits_comes_last() -> None:
    """Assets in collections are named, too, so that no collection is read again."""
    outcomes = [each._replace(asset_id=IDS[n]) for n, each in enumerate(DONE + LEFT)]
    done, left, selection, after = split(round_of(IDS[:2], COLLECTION), outcomes)
    assert done == outcomes[:4]
    assert selection == Selection((IDS[5], IDS[6], IDS[7], IDS[4]))
    assert [each.asset_id for each in left] == [*selection.assets]
    assert after == ""


def test_too_many_are_left_for_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next round reads the collections again, and goes on after the last asset that began."""
    monkeypatch.setattr(rounds, "MAX_IDS", 3)
    outcomes = [each._replace(asset_id=IDS[n]) for n, each in enumerate([*LEFT, *LEFT[3:] * 9])]
    done, left, selection, after = split(round_of(IDS[:1], COLLECTION), outcomes)
    assert (done, after) == ([], IDS[2])
    print(left, selection)


def play(ends: Sequence[Outcome], begun: int) -> None:
    pass
