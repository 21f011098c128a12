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
from storage_plugin.rounds import Round, read_task, rest_of, write_task
from storage_plugin.webhook import MAX_BODY, MAX_IDS, Action, Selection, read_action

IDS = [str(UUID(int=number)) for number in range(MAX_IDS + 1)]
COLLECTION, SEARCH, EDITOR = (str(UUID(int=1 << 100 | number)) for number in range(3))

DONE = (
    Outcome("", End.REMOVED, removed=1),
    Outcome("", End.ABSENT),
    Outcome("", End.STAYED, reasons=("it has no master",)),
    Outcome("", End.FAILED, error=IconikError("no")),
)
LEFT = (
    Outcome("", End.WAITING, reasons=("it is being copied",)),
    Outcome("", End.LEFT, error=OutOfTime("The time is up.")),
    Outcome("", End.FAILED, error=IconikUnavailable("Later.")),
)


def round_of(*assets: str, collections: Sequence[str] = (), **changes: object) -> Round:
    """Return a round with a selection."""
    action = Action("remove", Selection(assets, tuple(collections)), {}, EDITOR)
    return Round(action, "click", 1_800_000_000.0, ["assets", IDS[0]])._replace(**changes)


def outcomes_of(ends: Iterable[Outcome]) -> list[Outcome]:
    """Return outcomes of the first assets."""
    return [end._replace(asset_id=id) for id, end in zip(IDS, ends, strict=False)]


def test_what_is_left_is_named_and_what_waits_comes_last() -> None:
    """Assets in collections are named, too, so that no collection is read again."""
    rest = rest_of(round_of(IDS[0], collections=[COLLECTION]), outcomes_of(DONE + LEFT))
    assert rest.action.selection == Selection((IDS[5], IDS[6], IDS[4]))
    assert (rest.after, rest.awaited) == ("", {IDS[4]})
    # A round that does not reach an asset forgets nothing about it.
    again = rest_of(rest, [LEFT[1]._replace(asset_id=id) for id in rest.action.selection.assets])
    assert again == rest


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
        order = [*selection.assets, *others]
        begin = order[:number]
        first = dict(zip(ids, ends, strict=True)) if number < len(ends) else {}
        outcomes = [
            (first.get(id, DONE[0]) if id in begin else LEFT[1])._replace(asset_id=id)
            for id in order
        ]
        done += [each for each in outcomes if each.is_done]
        round = rest_of(round, outcomes)
        if not round.action.selection.counts():
            break
    return done


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    ends=st.lists(st.sampled_from(DONE + LEFT), min_size=1, max_size=40),
    begun=st.lists(st.integers(0, 9), max_size=9),
    named=st.integers(0, 12),
)
def test_each_asset_is_done_once(ends: list[Outcome], begun: list[int], named: int) -> None:
    """Nothing is lost and nothing counts twice, even if more is left than a task can name."""
    with patch.object(rounds, "MAX_IDS", 15):
        done = play(ends, begun, named)
    assert sorted(each.asset_id for each in done) == IDS[: len(ends)]


def test_a_task_is_read_as_it_was_written() -> None:
    """Nothing of a round is lost on its way but the cause, which is of that round."""
    report = Report.of(outcomes_of(DONE), "LucidLink", unknown=1, missing=2, reference="4f2a9c")
    action = Action("remove", Selection((IDS[1],), (COLLECTION,), (SEARCH,)), {}, EDITOR)
    begin = (action, "click", 1_800_000_000.5, ["assets", IDS[0]], 7, 240.0)
    round = Round(*begin, IDS[3], IDS[4], waiting=1, report=report)
    body = write_task(round)
    read = read_task(read_action("/remove", {}, body), body, retries="2")
    notes = [list(note) for note in report.notes]
    assert read == round._replace(report=replace(report, cause=None, notes=notes), retries=2)
    assert (read.report + report).message() == (report + report).message()


def test_a_task_holds_the_largest_selection() -> None:
    """Whatever became of the assets, and however long their titles are."""
    rest = rest_of(round_of(*IDS[:MAX_IDS]), outcomes_of([LEFT[0]] * MAX_IDS))
    title, reasons = "\N{SNOWMAN}" * 100, ("clip.mov has 1,000 bytes and its master 1",) * 4
    noted = [DONE[2]._replace(asset_id=id, title=title, reasons=reasons) for id in IDS[:NAMED]]
    rest = rest._replace(report=Report.of(noted, "LucidLink"))
    assert len(rest.awaited) == MAX_IDS
    assert len(write_task(rest)) <= MAX_BODY


@pytest.mark.parametrize("version", [None, 4, "5"])
def test_a_task_of_another_version_is_refused(version: object) -> None:
    """What this version did not write is not guessed, and the queue does not deliver it again."""
    payload = json.loads(write_task(round_of(IDS[0]))) | {"version": version}
    with pytest.raises(CallerError, match="Another version of the plugin wrote the task") as raised:
        read_task(round_of().action, json.dumps(payload).encode(), retries="0")
    assert raised.value.status == 200
