"""The report on a removal: its numbers, words and JSON."""

import json
from typing import Any

import pytest

from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    IconikUnavailable,
    OutOfTime,
    PluginError,
    SecretUnavailable,
)
from storage_plugin.logs import Log
from storage_plugin.removal.report import End, Outcome, Report

GROWING = "night.mov is still being written on B2 (GROWING)"
ONLY = "only PPRO_PROXY is on LucidLink, which this action does not remove"


def outcomes(**ends: int) -> list[Outcome]:
    """Return outcomes, by how they end, with a reason where one belongs to them."""
    with_reason = (End.STAYED, End.WAITING)
    return [
        Outcome(f"{end}-{number}", End(end), reasons=(GROWING,) if End(end) in with_reason else ())
        for end, times in ends.items()
        for number in range(times)
    ]


def report(*more: Outcome, **options: Any) -> Report:
    """Return a report on some outcomes."""
    numbers = {name: options.pop(name) for name in [*options] if name in [*End]}
    return Report.of([*more, *outcomes(**numbers)], "LucidLink", reference="4f2a9c", **options)


def test_a_round_that_was_prevented_leaves_the_rest() -> None:
    """What earlier rounds have done is still counted."""
    prevented = Report.of_error(IconikUnavailable("Down."), "LucidLink", reference="4f2a9c")
    assert prevented.sentence() == "Nothing was removed from LucidLink."
    both = report(removed=3) + prevented
    assert both.sentence() == "3 of 3 assets removed from LucidLink. The rest was not removed."
    assert both.status() == "FAILED"


@pytest.mark.parametrize(
    ("of", "sentence", "status"),
    [
        ({"removed": 3}, "3 of 3 assets removed from LucidLink.", "FINISHED"),
        ({"removed": 1}, "1 of 1 asset removed from LucidLink.", "FINISHED"),
        ({"absent": 2}, "Nothing was on LucidLink.", "FINISHED"),
        (
            {"removed": 1_000, "stayed": 2, "absent": 1},
            "1,000 of 1,003 assets removed from LucidLink, 2 stayed, 1 had nothing to remove.",
            "FINISHED_WITH_WARNING",
        ),
        (
            {"stayed": 1, "waiting": 1, "failed": 1, "left": 1},
            "1 of 4 assets stayed on LucidLink, 1 waits for its copy, 1 failed, 1 not done yet.",
            "FAILED",
        ),
        ({"waiting": 2}, "2 of 2 assets wait for their copies.", "FINISHED_WITH_WARNING"),
        ({}, "The selection contains no assets.", "FINISHED"),
        (
            {"unknown": 1},
            "iconik does not know 1 of the selected collections and saved searches.",
            "FINISHED_WITH_WARNING",
        ),
        (
            {"removed": 1, "missing": 20},
            "1 of 1 asset removed from LucidLink. "
            "iconik does not list 20 selected objects that it counts.",
            "FINISHED_WITH_WARNING",
        ),
    ],
)
def test_numbers_are_a_sentence(of: dict[str, int], sentence: str, status: str) -> None:
    """It counts assets, and says nothing that is not so."""
    made = report(**of)
    assert (made.sentence(), made.status()) == (sentence, status)
    assert made.answer() == "OK" or made.answer().startswith(f"OK: {sentence}")
    assert (made.status(halted=True) == "ABORTED") == bool({"left", "waiting"} & of.keys())


def test_other_formats_are_not_nothing() -> None:
    """A mistyped format must not say that nothing is there, and the editor is warned."""
    made = report(Outcome("a", End.ABSENT, reasons=(ONLY,), title="Cut\r"), absent=1)
    message = rf"Nothing to remove was on LucidLink. Cut\r: {ONLY}."
    assert (made.message(), made.status()) == (message, "FINISHED_WITH_WARNING")
    assert (made + report(removed=1)).status() == "FINISHED"


def test_the_first_ten_reasons_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of failures come first; an answer names three by id; the log has all."""
    denied = AccessDenied("iconik refuses GET /x")
    many = [*outcomes(stayed=12), Outcome("f", End.FAILED, error=denied)]
    made = report(*many)
    message = made.message({"f": "Night", "stayed-0": "Day"})
    assert message.startswith(
        "12 of 13 assets stayed on LucidLink, 1 failed. Night: it failed; Day: "
    )
    assert message.endswith("; and 3 more. Ask your administrator: reference 4f2a9c.")
    assert message.count(GROWING) == 9
    assert str(made.error()).endswith("; and 10 more. iconik refuses GET /x")
    for outcome in many:
        outcome.write_log(Log())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["severity"] for line in lines] == ["WARNING"] * 12 + ["ERROR"]
    assert made.figures()["stayed"] == 12


BUSY, TOKEN, LATE = IconikUnavailable("busy"), AdministratorError("token"), OutOfTime("late")


@pytest.mark.parametrize(
    ("errors", "kind", "steps"),
    [
        ([BUSY], IconikUnavailable, "Repeat the action in a few minutes."),
        ([BUSY, LATE], OutOfTime, "Repeat the action in a few minutes. Repeat the action."),
        ([LATE], OutOfTime, "Repeat the action."),
        ([SecretUnavailable("gone", "why")], SecretUnavailable, "Ask your administrator: ref"),
        ([LATE, TOKEN], AdministratorError, "Ask your administrator: reference 4f2a9c. Repeat the"),
    ],
)
def test_the_error_that_most_needs_action(
    errors: list[PluginError], kind: type[PluginError], steps: str
) -> None:
    """It is the answer, and the editor learns all that can be done."""
    ends = {True: End.LEFT, False: End.FAILED}
    made = report(*(Outcome("a", ends[each is LATE], error=each) for each in errors), removed=1)
    assert type(made.error()) is kind
    assert steps in made.message()
    assert report(removed=1).error() is None


def test_the_reports_of_rounds_add_up() -> None:
    """They travel as JSON, and the next steps are those of all rounds, each once."""
    first = report(*outcomes(stayed=7, removed=1), Outcome("a", End.FAILED, error=BUSY), missing=1)
    read = Report.from_json(json.loads(json.dumps(first.to_json())))
    made = read + report(*outcomes(stayed=7), Outcome("b", End.FAILED, 2, error=BUSY), unknown=1)
    numbers = {"stayed": 14, "failed": 2, "removed": 1, "missing": 1, "unknown": 1, "file_sets": 2}
    assert dict(made.numbers) == numbers | {"notable": 16}
    assert (made.total, made.finished, len(made.notes)) == (17, 17, 10)
    assert made.message().count("Repeat the action") == 1


@pytest.mark.parametrize(
    "changes",
    [
        *({"numbers": {"removed": number}} for number in (-1, True, "1")),
        {"numbers": None},
        {"notes": [["a", "b"]]},
        {"notes": [["a", None, 1]]},
        {"notes": None},
        {"storage_name": None},
        {"next_steps": [1]},
    ],
)
def test_nonsense_is_no_report(changes: dict[str, Any]) -> None:
    """What is no report is refused."""
    with pytest.raises(ValueError, match="report"):
        Report.from_json(report(stayed=1).to_json() | changes)
