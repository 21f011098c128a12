"""Rounds: what one leaves to the next, and how it travels in a task."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_plugin import rounds
from storage_plugin.errors import CallerError, IconikError, IconikUnavailable, OutOfTime
from storage_plugin.removal.report import NAMED, End, Outcome, Report
from storage_plugin.rounds import (
    AWAITED,
    NOT_BEGUN,
    TOUCHED,
    Round,
    read_task,
    rest_of,
    write_task,
)
from storage_plugin.webhook import MAX_BODY, MAX_IDS, Action, Selection, read_action

IDS = [str(UUID(int=number)) for number in range(MAX_IDS + 1)]
COLLECTION, SEARCH, EDITOR = (str(UUID(int=1 << 100 | number)) for number in range(3))

DONE = (
    Outcome("", End.REMOVED, removed=1),
    Outcome("", End.ABSENT),
    Outcome("", End.STAYED, reasons=("it has no master",)),
    Outcome("", End.FAILED, error=IconikError("no")),
)
BEGUN = (
    Outcome("", End.WAITING, reasons=("it is being copied",)),
    Outcome("", End.LEFT, error=OutOfTime("The time is up.")),
    Outcome("", End.FAILED, error=IconikUnavailable("Later."), is_touched=True),
)
NONE = Outcome("", End.LEFT, error=NOT_BEGUN)


def round_of(*assets: str, collections: Sequence[str] = (), **changes: object) -> Round:
    """Return a round with a selection."""
    action = Action("remove", Selection(assets, tuple(collections)), {}, EDITOR)
    return Round(action, "click", 1_800_000_000.0, ["assets", IDS[0]])._replace(**changes)


def outcomes_of(ends: Iterable[Outcome]) -> list[Outcome]:
    """Return outcomes of the first assets."""
    return [end._replace(asset_id=id) for id, end in zip(IDS, ends, strict=False)]


# What is left


def test_what_is_left_is_named_and_what_waits_comes_last() -> None:
    """Assets in collections are named, too, so that no collection is read again."""
    outcomes = outcomes_of(DONE + BEGUN + (NONE,))
    done, rest = rest_of(round_of(IDS[0], collections=[COLLECTION]), outcomes)
    assert done == outcomes[:4]
    assert rest.action.selection == Selection((IDS[5], IDS[6], IDS[7], IDS[4]))
    assert (rest.after, rest.marked(AWAITED), rest.marked(TOUCHED)) == ("", {IDS[4]}, {IDS[6]})


def test_marks_last_until_an_asset_is_done() -> None:
    """Also in rounds that do not reach the asset."""
    _, first = rest_of(round_of(*IDS[:4]), outcomes_of([*BEGUN, NONE]))
    waiting, touched = IDS[0], IDS[2]
    again = [NONE._replace(asset_id=id, is_touched=id == touched) for id in IDS[:4]]
    _, second = rest_of(first, again)
    assert second.action.selection.assets[-1] == waiting
    assert (second.marked(AWAITED), second.marked(TOUCHED)) == ({waiting}, {touched})


def test_too_many_are_left_for_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next round reads the collections again, and goes on after the last asset that began."""
    monkeypatch.setattr(rounds, "MAX_IDS", 4)
    outcomes = outcomes_of([BEGUN[1], DONE[0], BEGUN[0], DONE[1], *[NONE] * 9])
    done, rest = rest_of(round_of(IDS[0], collections=[COLLECTION]), outcomes)
    assert done == [outcomes[1], outcomes[3]]
    assert rest.action.selection == Selection((IDS[0], IDS[2]), (COLLECTION,))
    assert (rest.after, rest.marked(AWAITED)) == (IDS[3], {IDS[2]})


def test_without_any_begun_a_round_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out if the time was up at once."""
    monkeypatch.setattr(rounds, "MAX_IDS", 4)
    round = round_of(collections=[COLLECTION], after=IDS[2])
    outcomes = outcomes_of([NONE] * 9)[3:]
    assert rest_of(round, outcomes) == ([], round)


def play(ends: Sequence[Outcome], begun: Sequence[int], named: int) -> list[Outcome]:
    """Return what is done over all rounds of a removal, of which the last ones end everything.

    Args:
        ends: what becomes of each asset in its first round.
        begun: the number of assets that begin in each of the first rounds.
        named: the number of assets that are selected, unlike the others, by their own ids.
    """
    ids = IDS[: len(ends)]
    round = round_of(*ids[:named], collections=[COLLECTION])
    done: list[Outcome] = []
    for number in [*begun, *[len(ends)] * len(ends)]:
        selection = round.action.selection
        found = ids[named:] if selection.collections else []
        others = [id for id in found if id not in selection.assets and id > round.after]
        first = dict(zip(ids, ends, strict=True)) if number < len(ends) else {}
        outcomes = [
            (first.get(id, DONE[0]) if at < number else NONE)._replace(asset_id=id)
            for at, id in enumerate([*selection.assets, *others])
        ]
        finished, round = rest_of(round, outcomes)
        done += finished
        if not round.action.selection.counts():
            break
    return done


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    ends=st.lists(st.sampled_from(DONE + BEGUN), min_size=1, max_size=40),
    begun=st.lists(st.integers(0, 9), max_size=9),
    named=st.integers(0, 12),
)
def test_each_asset_is_done_once(ends: list[Outcome], begun: list[int], named: int) -> None:
    """Nothing is lost and nothing counts twice, whatever becomes of the assets of a removal."""
    with patch.object(rounds, "MAX_IDS", 15):
        done = play(ends, begun, named)
    assert sorted(each.asset_id for each in done) == IDS[: len(ends)]


def test_a_task_holds_the_largest_selection() -> None:
    """Whatever became of the assets, and however long their titles are."""
    ends = [BEGUN[0]._replace(is_touched=True)] * MAX_IDS
    done, rest = rest_of(round_of(*IDS[:MAX_IDS]), outcomes_of(ends))
    title, reasons = "\N{SNOWMAN}" * 100, ("clip.mov has 1,000 bytes and its master 1",) * 4
    noted = [DONE[2]._replace(asset_id=id, title=title, reasons=reasons) for id in IDS[:NAMED]]
    rest = rest._replace(report=Report.of(noted, "LucidLink"), overrides={"format": "A" * 255})
    body = write_task(rest)
    assert (done, len(rest.marked(AWAITED) & rest.marked(TOUCHED))) == ([], MAX_IDS)
    assert len(body) <= MAX_BODY
    assert read_task(read_action("/remove", {}, body), body, retries="0") == rest


# Pauses


def test_pauses_grow_to_an_hour() -> None:
    """Each one is twice as long."""
    pauses = []
    round = round_of()
    for _ in range(40):
        round = round.following(must_pause=True).following(must_pause=False)
        pauses.append(round.pause)
    assert pauses[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert (pauses[-1], round.number, round.pauses) == (3600, 80, 40)


# Tasks


def test_a_task_is_read_as_it_was_written() -> None:
    """Nothing of a round is lost on its way."""
    report = Report.of(outcomes_of(DONE), "LucidLink", unknown=1, missing=2, reference="4f2a9c")
    round = Round(
        action=Action("remove", Selection((IDS[1],), (COLLECTION,), (SEARCH,)), {}, EDITOR),
        click_id="click",
        clicked=1_800_000_000.5,
        selected=["assets", IDS[0]],
        number=7,
        pauses=3,
        overrides={"storage": IDS[2], "format": "A,B"},
        job_id=IDS[3],
        after=IDS[4],
        marks="3",
        report=report,
    )
    body = write_task(round)
    read = read_task(read_action("/remove", {}, body), body, retries="2")
    assert read == round._replace(report=replace(report, cause=None), retries=2)


@pytest.mark.parametrize(
    ("changes", "retries"),
    [
        ({"round": None}, "0"),
        ({"round": []}, "0"),
        ({"round": {}}, "0"),
        ({"unknown": 1}, "0"),
        ({"report": None}, "0"),
        ({"report": {}}, "0"),
        ({"job_id": "../../users"}, "0"),
        ({"job_id": 1}, "0"),
        ({}, ""),
        ({}, "x"),
        ({}, "9" * 5000),
    ],
)
def test_a_task_of_another_version_is_refused(changes: dict[str, object], retries: str) -> None:
    """What this version did not write is not guessed."""
    payload = json.loads(write_task(round_of(IDS[0])))
    body = (
        {**payload, "round": {**payload["round"], **changes}} if "round" not in changes else changes
    )
    with pytest.raises(CallerError, match="Another version of the plugin wrote the task"):
        read_task(round_of().action, json.dumps(body).encode(), retries=retries)
