"""The report on a removal: its numbers and words."""

import json

import pytest

from storage_plugin import errors
from storage_plugin.errors import AccessDenied, PluginError
from storage_plugin.logs import Log
from storage_plugin.removal.report import End, Outcome, Report

GROWING = "night.mov is still being written on B2 (GROWING)"
BUSY, TOKEN = errors.IconikUnavailable("busy"), errors.AdministratorError("token")
WARNING = "FINISHED_WITH_WARNING"
GONE, NEXT = "which may be deleted.", "To continue, repeat the action."
LATE, UNREADABLE = errors.OutOfTime("late"), errors.SecretUnavailable("gone", "why")
PREVENTED = Report.of_error(BUSY, "LucidLink", reference="4f2a9c")


def report(*more: Outcome, missing: int = 0, **numbers: int) -> Report:
    """Return a report on outcomes, by how they end, with a reason where one belongs to them."""
    outcomes = [
        Outcome(f"{end.value}-{number}", end, reasons=(GROWING,) * (end in ("stayed", "waiting")))
        for end in End
        for number in range(numbers.get(end.value, 0))
    ]
    return Report.of([*more, *outcomes], "LucidLink", reference="4f2a9c", missing=missing)


@pytest.mark.parametrize(
    ("made", "sentence", "status"),
    [
        (report(removed=3), "3 of 3 assets removed from LucidLink.", "FINISHED"),
        (report(absent=2), "Nothing is on LucidLink.", "FINISHED"),
        (Report.of([Outcome("a", End.ABSENT)], "A\r"), r"Nothing is on A\r.", "FINISHED"),
        (
            report(removed=1_000, waiting=2, absent=1),
            "1,000 of 1,003 assets removed from LucidLink, 2 wait for their copies, "
            "1 had nothing left to remove.",
            WARNING,
        ),
        (
            report(waiting=1, failed=1, left=1),
            "0 of 3 assets removed from LucidLink, 1 waits for its copy, 1 failed, 1 not done yet.",
            "FAILED",
        ),
        (report(), "The selection contains no assets.", "FINISHED"),
        (report(missing=1), f"iconik does not list 1 selected object, {GONE}", WARNING),
        (
            report(removed=1, missing=2),
            f"1 of 1 asset removed from LucidLink. iconik does not list 2 selected objects, {GONE}",
            WARNING,
        ),
        (PREVENTED, "Nothing was removed from LucidLink.", "FAILED"),
        (
            report(removed=3) + PREVENTED,
            "3 of 3 assets removed from LucidLink. The rest was not removed from LucidLink.",
            "FAILED",
        ),
    ],
)
def test_numbers_are_a_sentence(made: Report, sentence: str, status: str) -> None:
    """It counts assets, and says nothing that is not so."""
    assert (made.sentence(), made.status()) == (sentence, status)
    assert made.message().startswith(sentence)
    answer = "OK" if status == "FINISHED" else f"OK: {made.message()}"
    assert made.answer() == (f"{sentence} busy" if made.cause else answer)


def test_other_formats_are_not_nothing() -> None:
    """A mistyped format must not say that nothing is there, and the editor is warned."""
    only = "only PPRO_PROXY is on LucidLink, but this action does not remove it"
    made = report(Outcome("Cut\r", End.ABSENT, reasons=(only,)), absent=1)
    numbers = "0 of 2 assets removed from LucidLink, 2 had nothing left to remove."
    assert made.message() == rf"{numbers} Cut\r: {only}."
    assert made.status() == WARNING
    assert (made + report(removed=1)).status() == "FINISHED"


def test_the_first_ten_reasons_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The log has all."""
    failed = Outcome("f", End.FAILED, error=AccessDenied("iconik refuses GET /x"))
    outcomes = [failed, *(Outcome(str(n), End.STAYED, reasons=(GROWING,)) for n in range(12))]
    message = report(*outcomes).message()
    numbers = "0 of 13 assets removed from LucidLink, 12 stayed, 1 failed."
    assert message.startswith(f"{numbers} f: it failed; 0: night.mov")
    assert message.endswith("; and 3 more. Ask your administrator: reference 4f2a9c.")
    assert message.count(GROWING) == 9
    for outcome in (*outcomes, Outcome("w", End.WAITING), Outcome("r", End.REMOVED)):
        outcome.write_log(Log())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["severity"] for line in lines] == ["ERROR", *["WARNING"] * 12, "INFO"]
    assert lines[0]["message"] == "f failed: iconik refuses GET /x"
    assert (lines[1]["message"], lines[1]["asset"]) == (f"0 stayed: {GROWING}", "0")


@pytest.mark.parametrize(
    ("raised", "cause", "steps"),
    [
        ([], None, "1 of 2 assets removed from LucidLink, 1 had nothing left to remove."),
        ([BUSY, LATE], LATE, f"Repeat the action in a few minutes. {NEXT}"),
        ([UNREADABLE], UNREADABLE, "Repeat the action in a few minutes."),
        ([LATE, TOKEN], TOKEN, f"Ask your administrator: reference 4f2a9c. {NEXT}"),
    ],
)
def test_the_error_that_most_needs_action(
    raised: list[PluginError], cause: PluginError | None, steps: str
) -> None:
    """It is in the answer, and the editor learns all that can be done."""
    ends = {True: End.LEFT, False: End.FAILED}
    outcomes = [Outcome("a", ends[each is LATE], error=each) for each in raised]
    made = report(*outcomes, removed=1, absent=not raised)
    assert (made.cause, made.message().endswith(steps)) == (cause, True)


def test_the_reports_of_rounds_add_up() -> None:
    """The first ten assets of all rounds are named, and the next steps are named once."""
    first = report(Outcome("a", End.FAILED, error=BUSY), stayed=7, removed=1, missing=1)
    made = first + report(Outcome("b", End.FAILED, 2, error=BUSY), stayed=7, missing=1)
    numbers = {"stayed": 14, "failed": 2, "removed": 1, "missing": 2, "file_sets": 2}
    assert dict(made.numbers) == numbers | {"notable": 16}
    assert (made.total, len(made.notes)) == (17, 10)
    assert made.message().count("Repeat the action") == 1
