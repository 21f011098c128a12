"""The report on a removal: its numbers and words."""

import json

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
BUSY, TOKEN, LATE = IconikUnavailable("busy"), AdministratorError("token"), OutOfTime("late")
UNREADABLE = SecretUnavailable("gone", "why")


def report(*more: Outcome, **numbers: int) -> Report:
    """Return a report on outcomes, by how they end, with a reason where one belongs to them."""
    outcomes = [
        Outcome(f"{end.value}-{number}", end, reasons=(GROWING,) * (end in ("stayed", "waiting")))
        for end in End
        for number in range(numbers.pop(end.value, 0))
    ]
    return Report.of([*more, *outcomes], "LucidLink", reference="4f2a9c", **numbers)


@pytest.mark.parametrize(
    ("of", "sentence", "status"),
    [
        ({"removed": 3}, "3 of 3 assets removed from LucidLink.", "FINISHED"),
        ({"removed": 1}, "1 of 1 asset removed from LucidLink.", "FINISHED"),
        ({"absent": 2}, "Nothing is on LucidLink.", "FINISHED"),
        (
            {"removed": 1_000, "stayed": 2, "absent": 1},
            "1,000 of 1,003 assets removed from LucidLink, 2 stayed, 1 had nothing left to remove.",
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
        ({"prevented": 1}, "Nothing was removed from LucidLink.", "FAILED"),
        (
            {"removed": 3, "prevented": 1},
            "3 of 3 assets removed from LucidLink. The rest was not removed.",
            "FAILED",
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
    message = rf"Nothing to remove is on LucidLink. Cut\r: {ONLY}."
    assert (made.message(), made.status()) == (message, "FINISHED_WITH_WARNING")
    assert (made + report(removed=1)).status() == "FINISHED"


def test_the_first_ten_reasons_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of failures come first; an answer names three by id; the log has all."""
    failed = Outcome("f", End.FAILED, error=AccessDenied("iconik refuses GET /x"), title="Night")
    stayed = [Outcome(str(number), End.STAYED, reasons=(GROWING,)) for number in range(12)]
    made = report(*stayed, failed)
    message = made.message()
    assert message.startswith(
        "12 of 13 assets stayed on LucidLink, 1 failed. Night: it failed; 0: night.mov"
    )
    assert message.endswith("; and 3 more. Ask your administrator: reference 4f2a9c.")
    assert message.count(GROWING) == 9
    assert made.answer().endswith("; and 10 more. iconik refuses GET /x")
    for outcome in (*stayed, failed):
        outcome.write_log(Log())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["severity"] for line in lines] == ["WARNING"] * 12 + ["ERROR"]


@pytest.mark.parametrize(
    ("errors", "cause", "steps"),
    [
        ([], None, "1 of 1 asset removed from LucidLink."),
        ([BUSY], BUSY, "Repeat the action in a few minutes."),
        ([BUSY, LATE], LATE, "Repeat the action in a few minutes. Repeat the action."),
        ([LATE], LATE, "Repeat the action."),
        ([UNREADABLE], UNREADABLE, "Repeat the action in a few minutes."),
        ([LATE, TOKEN], TOKEN, "Ask your administrator: reference 4f2a9c. Repeat the action."),
    ],
)
def test_the_error_that_most_needs_action(
    errors: list[PluginError], cause: PluginError | None, steps: str
) -> None:
    """It is the answer, and the editor learns all that can be done."""
    ends = {True: End.LEFT, False: End.FAILED}
    made = report(*(Outcome("a", ends[each is LATE], error=each) for each in errors), removed=1)
    assert made.cause is cause
    assert made.message().endswith(steps)


def test_the_reports_of_rounds_add_up() -> None:
    """The first ten assets of all rounds are named, and the next steps are named once."""
    first = report(Outcome("a", End.FAILED, error=BUSY), stayed=7, removed=1, missing=1)
    made = first + report(Outcome("b", End.FAILED, 2, error=BUSY), stayed=7, unknown=1)
    numbers = {"stayed": 14, "failed": 2, "removed": 1, "missing": 1, "unknown": 1, "file_sets": 2}
    assert dict(made.numbers) == numbers | {"notable": 16}
    assert (made.total, made.finished, len(made.notes)) == (17, 17, 10)
    assert made.message().count("Repeat the action") == 1
