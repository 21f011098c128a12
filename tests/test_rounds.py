"""Rounds: what one leaves to the next, and how it travels in a task."""

import json
from collections.abc import Iterable
from dataclasses import replace
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_plugin import rounds
from storage_plugin.errors import CallerError, IconikError, IconikUnavailable, OutOfTime
from storage_plugin.removal.report import NAMED, End, Outcome, Report
from storage_plugin.rounds import VERSION, Round, read_task, rest_of, write_task
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


def round_of(*assets: str, has_containers: bool = False) -> Round:
    """Return a round with a selection."""
    containers = ((COLLECTION,), (SEARCH,)) if has_containers else ()
    action = Action("remove", Selection(assets, *containers), {}, EDITOR)
    return Round(action, "click", 1_800_000_000.5, ["assets", IDS[0]])


def outcomes_of(ends: Iterable[Outcome], ids: Iterable[str] = IDS) -> list[Outcome]:
    """Return outcomes of the first of some assets."""
    return [end._replace(asset_id=id) for id, end in zip(ids, ends, strict=False)]


def test_what_is_left_is_named_and_what_waits_comes_last() -> None:
    """Assets in collections are named, too, so that no collection is read again."""
    rest = rest_of(round_of(IDS[0], has_containers=True), outcomes_of(DONE + LEFT))
    assert rest.action.selection == Selection((IDS[5], IDS[6], IDS[4]))
    assert (rest.after, rest.awaited) == ("", {IDS[4]})
    # A round that does not reach an asset forgets nothing about it.
    assert rest_of(rest, outcomes_of(LEFT[1:2] * 3, rest.action.selection.assets)) == rest


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    ends=st.lists(st.sampled_from(DONE + LEFT), min_size=20, max_size=40),
    begun=st.lists(st.integers(0, 9), min_size=2, max_size=9),
    named=st.integers(0, 12),
)
def test_each_asset_is_done_once(ends: list[Outcome], begun: list[int], named: int) -> None:
    """Nothing is lost and nothing counts twice, even if more is left than a task can name."""
    ids, done = IDS[: len(ends)], list[str]()
    first, contained = dict(zip(ids, ends, strict=True)), ids[: -named or None]
    round = round_of(*ids[len(contained) :], has_containers=True)
    for number in [*begun, None]:  # So many assets begin, and at last all of them.
        selection = round.action.selection
        found = [id for id in contained if selection.collections and id > round.after]
        order = list(dict.fromkeys([*selection.assets, *found]))
        begin = DONE[:1] * len(ids) if number is None else [first[id] for id in order[:number]]
        outcomes = outcomes_of([*begin, *LEFT[1:2] * len(order)], order)
        done += [each.asset_id for each in outcomes if each.is_done]
        with patch.object(rounds, "MAX_IDS", 15):
            round = rest_of(round, outcomes)
        assert len(round.action.selection.objects()) <= 15
    assert (sorted(done), round.action.selection) == (ids, Selection())


def test_a_task_is_read_as_it_was_written() -> None:
    """Nothing of a round is lost on its way but the cause, which is of that round."""
    report = Report.of(outcomes_of(DONE), "LucidLink", missing=2, reference="4f2a9c")
    round = round_of(IDS[1], has_containers=True)
    round = round._replace(number=7, pause=240.0, job_id=IDS[3], storage_id=IDS[4], waiting=1)
    body = write_task(round._replace(report=report))
    read = read_task(read_action("/remove", {}, body), body, "2")
    notes = [list(note) for note in report.notes]
    assert read == round._replace(report=replace(report, cause=None, notes=notes), retries=2)
    assert (read.report + report).message() == (report + report).message()


def test_a_task_holds_the_largest_selection() -> None:
    """Whatever became of the assets."""
    rest = rest_of(round_of(*IDS[:MAX_IDS]), outcomes_of(LEFT[:1] * MAX_IDS))
    reasons = ("\N{SNOWMAN}" * 100 + " has 1,000 bytes and its master 1",) * 4
    noted = outcomes_of([DONE[2]._replace(reasons=reasons)] * NAMED)
    assert len(rest.awaited) == MAX_IDS
    assert len(write_task(rest._replace(report=Report.of(noted, "LucidLink")))) <= MAX_BODY


@pytest.mark.parametrize("version", [None, VERSION - 1, str(VERSION)])
def test_a_task_of_another_version_is_refused(version: object) -> None:
    """What this version did not write is not guessed, and the queue does not deliver it again."""
    payload = json.loads(write_task(round_of(IDS[0]))) | {"version": version}
    with pytest.raises(CallerError, match="Another version of the plugin wrote the task") as raised:
        read_task(round_of().action, json.dumps(payload).encode(), "0")
    assert raised.value.status == 200
