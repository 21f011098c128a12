"""Removing one asset: deletions and their answers, copies on their way, and fresh evidence."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Any
from unittest.mock import Mock

import flask
import pytest

from sandbox.site import CLIP, Site
from sandbox.world import Row
from storage_plugin.errors import AdministratorError, OutOfTime, PluginError
from storage_plugin.iconik import rows
from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest
from storage_plugin.iconik.rows import as_time
from storage_plugin.removal import asset, evidence, rule
from storage_plugin.removal.archive import request_copies
from storage_plugin.removal.asset import remove_asset
from storage_plugin.removal.evidence import FRESH, Evidence, Removal
from storage_plugin.removal.report import End, Outcome
from storage_plugin.settings import Settings
from tests.conftest import Time, as_if_parallel, new_rest
from tests.test_rule import BIN, NO_MASTER, SETTINGS, SEVERAL, files, reasons, record, remove

ARCHIVE = SETTINGS._replace(archive_before_remove=True)
ON_ITS_WAY = "a copy of it is still on its way to LucidLink: repeat the action when it has arrived"


def several(site: Site, *formats: str) -> str:
    """Add an asset with a file of each format on both storages, and return its id."""
    asset_id = site.world.add_asset("Clip", formats)
    for name in formats:
        site.add_copies(asset_id, [CLIP], name)
    return asset_id


# Deletions


def test_the_copy_alone_goes(site: Site, iconik: Iconik, rest: Rest) -> None:
    """It costs four calls and one for the storages; a repeat, which is harmless, costs four."""
    asset_id, _ = site.asset()
    site.world.add_file_set(asset_id, site.other, [CLIP])
    assert remove(iconik, asset_id) == Outcome(asset_id, End.REMOVED, removed=1)
    assert (site.copies(), site.masters(), len(rest.sent)) == (0, 1, 1 + 4)
    assert site.world.names_on(site.other) == ["clip.mov"]
    assert remove(iconik, asset_id) == Outcome(asset_id, End.ABSENT)
    assert len(rest.sent) == 1 + 4 + 4


def test_file_sets_without_formats_are_an_error(site: Site, iconik: Iconik) -> None:
    """A missing list of formats does not mean that nothing is there."""
    asset_id, _ = site.asset()
    site.world.formats.clear()
    site.world.formats.of_asset.clear()
    outcome = remove(iconik, asset_id)
    assert outcome.end is End.FAILED
    assert str(outcome.error).startswith("iconik lists file sets of the asset, but no formats")


# What a deletion is answered with


@pytest.mark.undocumented
@pytest.mark.parametrize("settings", [SETTINGS, BIN], ids=["for good", "to the bin"])
@pytest.mark.parametrize(
    ("quirks", "deletions"),
    [
        ({"knows_immediately": False}, 2),
        ({"deletion_status": 202}, 1),
        ({"deletion_status": 404}, 1),
        ({"deletion_status": 202, "deletions_work": False}, 1),
        ({"deletion_status": 404, "deletions_work": False}, 1),
        ({"lost": 1}, 1),
        ({"lost": 1, "knows_immediately": False}, 2),
    ],
)
def test_each_answer_to_a_deletion(
    site: Site, iconik: Iconik, rest: Rest, settings: Settings, quirks: Row, deletions: int
) -> None:
    """A deletion that only marks is completed by a purge, unless the bin is wanted.

    After 202, 404 or a lost answer iconik's records decide. What is still listed is reported.
    """
    site.quirk(**quirks)
    asset_id, copy = site.asset()
    listed = ("iconik was asked to delete it from LucidLink, but still lists it",)
    works, to_bin = quirks.get("deletions_work", True), settings is BIN
    end = (End.REMOVED, 1, ()) if works else (End.STAYED, 0, listed)
    assert remove(iconik, asset_id, settings) == Outcome(asset_id, *end)
    assert site.copies() == (0 if works else 1)
    assert (copy in site.world.file_sets) == (to_bin or not works)
    sent = [call for call in rest.sent if call.startswith("DELETE")]
    assert len(sent) == (1 if to_bin else deletions)


def test_the_recycle_bin_is_purged(site: Site, iconik: Iconik) -> None:
    """What a purge that failed has left in the bin is purged by a repeat.

    Its rows may still name its state before the deletion, which is no contradiction.
    """
    asset_id, copy = site.asset([CLIP | {"file_set_status": "ACTIVE"}])
    site.world.delete(copy)
    site.world.file_sets[copy]["file_count"] = None
    site.world.quirks.failures = 99  # Only a purge works.
    assert remove(iconik, asset_id).removed == 1
    assert copy not in site.world.file_sets


@pytest.mark.undocumented
def test_one_failure_does_not_concern_others(site: Site, iconik: Iconik) -> None:
    """An asset that iconik sends nonsense for, or lets nobody touch, fails; another goes."""
    nonsense, _ = site.asset([CLIP | {"type": 7, "original_name": None}])
    denied, _ = site.asset()
    site.world.denied.add(denied)
    fine, _ = site.asset()
    failed, refused = remove(iconik, nonsense), remove(iconik, denied)
    assert (failed.end, refused.end) == (End.FAILED, End.FAILED)
    assert "original_name" in str(failed.error)
    assert "a role or the access" in str(refused.error)
    assert remove(iconik, fine).end is End.REMOVED


# Copies to the masters first


@pytest.mark.parametrize("is_awaited", [False, True])
def test_what_has_no_master_waits_for_its_copy(
    site: Site, iconik: Iconik, is_awaited: bool
) -> None:
    """A copy is requested once. Without archiving, nothing is waited for."""
    asset_id = site.only_copy()
    id, (row,) = asset_id if is_awaited else "", site.world.formats_of(asset_id)
    archive = Removal(iconik, ARCHIVE, awaited=[id])
    copies = () if is_awaited else (rows.format(row),)
    copying = ("ORIGINAL is being copied to B2 first",)
    waiting = Outcome(asset_id, End.WAITING, reasons=copying, to_copy=copies)
    assert remove_asset(archive, asset_id) == waiting
    assert remove(iconik, asset_id) == Outcome(asset_id, End.STAYED, reasons=(NO_MASTER,))


def test_clicks_at_once_request_one_copy(site: Site, iconik: Iconik, rest: Rest) -> None:
    """Another one could overwrite it. Each click waits for the others until its own deadline."""
    removal, asked, go = Removal(iconik, ARCHIVE), Event(), Event()
    hasty = Removal(Iconik(replace(rest, deadline=Deadline(1.0))), ARCHIVE)
    outcomes = [remove_asset(removal, site.only_copy())]
    site.quirk(copies_take_time=True)

    def list_transfers(*args: Any) -> Any:
        found = Iconik.transfers(iconik, *args)
        return found if asked.set() or go.wait(9) else None

    iconik.transfers = list_transfers
    with ThreadPoolExecutor(2) as pool:
        clicks = [pool.submit(request_copies, removal, outcomes) for _ in range(2)]
        asked.wait()
        (late,) = request_copies(hasty, outcomes)
        assert (late.end, [click.done() for click in clicks]) == (End.LEFT, [False, False])
        go.set()
    assert ([click.result() for click in clicks], len(site.world.transfers)) == ([outcomes] * 2, 1)


# Copies on their way


def arriving(site: Site, *files: Row, **changes: object) -> tuple[str, str]:
    """Add an asset that iconik is copying to LucidLink; return its id and that of its file set."""
    asset_id = site.master()
    site.quirk(copies_take_time=True, lists_transfers_from=False)
    site.world.copy(site.lucidlink, {"object_type": "assets", "object_ids": [asset_id]})
    copy = site.world.add_file_set(asset_id, site.lucidlink, files, **changes) if files else ""
    return asset_id, copy


@pytest.mark.parametrize(
    ("text", "clicked", "is_gone"),
    [
        ("", None, False),
        ("clip.mov status=AWAITED size=0", None, False),
        ("clip.mov", 9e9, False),
        ("clip.mov", None, True),
    ],
)
def test_a_copy_on_its_way_is_told(
    site: Site, iconik: Iconik, text: str, clicked: float | None, is_gone: bool
) -> None:
    """Nobody is told that nothing is there, or that it is removed, because it will arrive.

    If the removal has waited, what iconik copies to the storage again stays.
    """
    asset_id, copy = arriving(site, *files(text), date_created="2026-01-09T17:00:00")
    end = (End.REMOVED, 1, ()) if is_gone else (End.STAYED, 0, (ON_ITS_WAY,))
    assert remove(iconik, asset_id, clicked=clicked) == Outcome(asset_id, *end)
    assert (copy in site.world.file_sets) == bool(text and not is_gone)
    assert remove(iconik, site.master()).end is End.ABSENT


@pytest.mark.parametrize(
    ("created", "seconds", "is_later"),
    [
        ("2026-01-09T17:00:00", 5.1, False),
        ("2026-01-09T17:00:00", 5.0, True),
        ("2026-01-09T17:00:00", -60, True),
        (None, 1e6, True),
    ],
)
def test_the_later_click_wins(
    site: Site, iconik: Iconik, created: str | None, seconds: float, is_later: bool
) -> None:
    """If the removal has waited, what was added after the click stays, and so if nobody knows."""
    asset_id, copy = site.asset()
    site.world.file_sets[copy]["date_created"] = created
    clicked = (as_time("2026-01-09T17:00:00") or 0) + seconds
    outcome = remove(iconik, asset_id, clicked=clicked)
    again = ("ORIGINAL on LucidLink was added again after the click",)
    assert outcome.reasons == (again if is_later else ())
    assert (copy in site.world.file_sets) == is_later


# Fresh


class Slow:
    """An iconik on which time passes as a test wants it, and things happen at certain calls."""

    def __init__(self, site: Site, iconik_url: str, time: Time) -> None:
        self.time, self.seconds = time, 0.0
        self.calls: list[str] = []
        self._events: defaultdict[tuple[str, int], list[Callable[[], object]]] = defaultdict(list)
        site.world.quirks.on_call = self._on_call
        pace, deadline = Pace(time, time.sleep), Deadline(600, time)
        self.iconik = Iconik(new_rest(iconik_url, site.world, pace=pace, deadline=deadline))

    def at(self, call: str, number: int, do: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Do something when iconik receives a call for the nth time."""
        self._events[call, number].append(partial(do, *args, **kw))

    def pause(self, seconds: float = FRESH) -> None:
        """Let seconds pass."""
        self.time.sleep(seconds)

    def _on_call(self, method: str, path: str) -> None:
        call = method if method == "DELETE" else path.rstrip("/").rpartition("/")[2]
        self.calls.append(call)
        self.pause(self.seconds)
        for event in self._events[call, self.calls.count(call)]:
            event()


@pytest.fixture
def slow(site: Site, iconik_url: str, time: Time, monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Return an iconik whose time passes by hand."""
    monkeypatch.setattr(evidence, "side_by_side", as_if_parallel(time))
    return Slow(site, iconik_url, time)


LOOK = ["file_sets", "formats", "files"]
AGAIN = ["file_sets", "formats", "storages"]


@pytest.mark.parametrize(
    ("seconds", "calls"),
    [(0.1, []), (1.2, ["storages"]), (1.25, ["storages", *AGAIN]), (4.9, ["storages", *AGAIN])],
)
def test_a_sound_asset_goes_at_any_latency(
    site: Site, slow: Slow, seconds: float, calls: list[str]
) -> None:
    """Records that are too old for the deletion are requested again, side by side."""
    asset_id, _ = site.asset()
    slow.seconds = seconds
    assert remove(slow.iconik, asset_id).removed == 1
    assert slow.calls == ["storages", *LOOK, *calls, "DELETE"]


def test_judging_may_take_long(site: Site, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records are requested again afterwards, also if only the storages are too old."""
    judge = rule.judge

    def judge_slowly(found: Evidence) -> Any:
        slow.pause(4.2)
        return judge(found)

    monkeypatch.setattr(asset, "judge", judge_slowly)
    asset_id, _ = site.asset()
    removal = Removal(slow.iconik, SETTINGS)
    slow.pause(0.9)
    assert remove_asset(removal, asset_id).removed == 1
    assert slow.calls == ["storages", *LOOK, *AGAIN, "DELETE"]


@pytest.mark.parametrize(
    ("changed", "changes", "reason"),
    [
        ("copy", {"file_count": 2}, "iconik lists 1 of the 2 files of ORIGINAL on LucidLink"),
        ("format", {"status": "DELETED"}, "the format ORIGINAL is DELETED"),
        ("file", {"size": 9}, "clip.mov has 1,000 bytes and its master 9"),
    ],
)
def test_a_change_while_rows_are_read_is_seen(
    site: Site, slow: Slow, changed: str, changes: Row, reason: str
) -> None:
    """Records that differ, in counts and the time of the last change too, need another look."""
    asset_id, copy = site.asset()
    changing = [record(site, asset_id, "master" if changed == "file" else changed)]
    if changed == "file":
        changing.append(site.world.files_in(changing[0]["id"])[0])
        slow.at("file_sets", 2, changing[0].update, date_modified="2026-11-29T17:00:00")
    slow.at("file_sets", 2, changing[-1].update, changes)
    slow.seconds = 3.0
    assert reasons(slow.iconik, asset_id) == [reason]
    assert copy in site.world.file_sets
    assert slow.calls[:9] == ["storages", *LOOK, "storages", *AGAIN, "file_sets"]


@pytest.mark.parametrize(("seconds", "count"), [(3.0, 1), (0.1, 2)])
def test_records_that_keep_changing(site: Site, slow: Slow, seconds: float, count: int) -> None:
    """After five looks that end without a deletion the asset has failed, and may be tried again."""
    asset_id, copy = site.asset()
    record(site, asset_id, "copy")["file_count"] = count
    master = record(site, asset_id, "master")
    for number in range(2, 20):
        slow.at("file_sets", number, master.update, date_modified=str(number))
    slow.seconds = seconds
    outcome = remove(slow.iconik, asset_id)
    assert (outcome.end, slow.calls.count("files")) == (End.FAILED, 5)
    assert str(outcome.error).startswith("The asset changed while its files were compared: try")
    assert getattr(outcome.error, "status", 0) == 504
    assert copy in site.world.file_sets


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_master_that_vanishes_during_a_deletion(site: Site, slow: Slow, is_slow: bool) -> None:
    """A deletion that is refused is followed by a look, and so is a slow one before its purge."""
    asset_id, copy = site.asset()
    site.quirk(refusals=0 if is_slow else 1, knows_immediately=False)
    slow.at("DELETE", 1, site.world.purge, record(site, asset_id, "master")["id"])
    slow.at("DELETE", 1, slow.pause, FRESH * is_slow)
    assert reasons(slow.iconik, asset_id) == [NO_MASTER]
    assert slow.calls[4:6] == ["DELETE", "file_sets"]
    assert site.world.file_sets[copy]["status"] == ("DELETED" if is_slow else "ACTIVE")


@pytest.mark.parametrize("vanishes", [False, True])
def test_a_deletion_that_waits_for_its_turn(site: Site, slow: Slow, vanishes: bool) -> None:
    """Old records are requested again, but only if they have changed the rows, which take long.

    What counts is when the deletion itself is sent, not when it was decided.
    """
    asset_id, copy = site.asset()
    master, reserve = record(site, asset_id, "master"), slow.iconik.pace.reserve

    def wait(*args: Any) -> None:
        if slow.calls == ["storages", *LOOK]:
            slow.iconik.pace.reserve = reserve
            slow.pause()
            if vanishes:
                site.world.purge(master["id"])
        reserve(*args)

    slow.iconik.pace.reserve = wait
    assert remove(slow.iconik, asset_id).reasons == ((NO_MASTER,) if vanishes else ())
    assert (copy in site.world.file_sets) == vanishes
    assert (slow.calls.count("files"), slow.calls.count("DELETE")) == (1 + vanishes, not vanishes)


def test_another_click_that_deletes_the_copy_during_looks(site: Site, slow: Slow) -> None:
    """Lists that contradict one another meanwhile are no reason to report."""
    asset_id, copy = site.asset()
    slow.at("files", 1, site.world.file_sets[copy].update, status="DELETED")
    slow.at("files", 2, site.world.purge, copy)
    assert remove(slow.iconik, asset_id) == Outcome(asset_id, End.ABSENT)


def test_a_file_set_that_joins_during_a_look_keeps_its_file(site: Site, slow: Slow) -> None:
    """Its rows are listed, although its record was not yet."""
    asset_id, _ = site.asset()
    slow.at("formats", 1, site.world.add_file_set, asset_id, site.lucidlink, [CLIP])
    reason = "deleting ORIGINAL could also delete clip.mov of another file set, which stays"
    found = evidence.look(Removal(slow.iconik, SETTINGS), asset_id)
    assert [each for _, each in rule.judge(found)] == [rule.Verdict(reason, rule.Kind.UNCLEAR)]


def test_a_deletion_that_succeeds_ends_a_row_of_failures(site: Site, slow: Slow) -> None:
    """Five failures with a deletion between them are not five in a row."""
    asset_id = several(site, "ORIGINAL", "PROXY")
    slow.at("DELETE", 1, site.quirk, failures=1)
    slow.at("DELETE", 3, site.quirk, failures=4)
    outcome = remove(slow.iconik, asset_id, SEVERAL)
    assert outcome == Outcome(asset_id, End.REMOVED, removed=2)
    assert slow.calls.count("DELETE") == 1 + 1 + 4 + 1


@pytest.mark.parametrize("first", [1, 2])
def test_a_deletion_that_fails_for_good_is_given_up(site: Site, slow: Slow, first: int) -> None:
    """Five looks and five deletions that fail are an error, and so are purges."""
    asset_id, _ = site.asset()
    site.world.quirks.knows_immediately = False
    for number in range(first, 9):
        slow.at("DELETE", number, flask.abort, 500)
    outcome = remove(slow.iconik, asset_id)
    assert outcome == Outcome(asset_id, End.FAILED, error=outcome.error)
    assert (slow.calls.count("DELETE"), slow.calls.count("files")) == (4 + first, 5)
    assert site.world.file_sets_of(asset_id, site.lucidlink, "ACTIVE" if first == 1 else "DELETED")


def test_what_iconik_calls_deleted_counts_as_removed(site: Site, slow: Slow) -> None:
    """It does so even if another look, because of another file set, still finds it listed."""
    asset_id = several(site, "ORIGINAL", "PROXY")
    site.quirk(deletion_status=204, deletions_work=False)
    slow.at("DELETE", 2, site.quirk, failures=1)
    outcome = remove(slow.iconik, asset_id, SEVERAL)
    assert outcome == Outcome(asset_id, End.REMOVED, removed=2)
    assert slow.calls.count("DELETE") == 3


def test_an_iconik_that_is_too_slow_is_told(site: Site, slow: Slow) -> None:
    """Where even one answer takes longer than evidence stays fresh nothing is deleted."""
    asset_id, copy = site.asset()
    slow.seconds = 5.0
    outcome = remove(slow.iconik, asset_id)
    assert (outcome.end, "too slow for a safe DELETE" in str(outcome.error)) == (End.FAILED, True)
    assert copy in site.world.file_sets


@pytest.mark.parametrize(
    ("late", "end", "error"),
    [(0, End.FAILED, PluginError), (566, End.FAILED, PluginError), (575, End.LEFT, OutOfTime)],
)
def test_an_asset_that_takes_longer_than_the_request_is_told(
    site: Site, slow: Slow, late: int, end: End, error: type[PluginError]
) -> None:
    """It is blamed for the end of the time only if it had at least half of the time."""
    site.quirk(rows_per_page=3, counts_rows=True)
    asset_id, copy = site.asset(files(", ".join(f"{n}.dpx" for n in range(300))), file_count=2_000)
    site.world.add_file_set(asset_id, site.other, [], file_count=None)
    removal = Removal(slow.iconik, SETTINGS)
    slow.pause(late)
    slow.seconds = 3.0
    outcome = remove_asset(removal, asset_id)
    assert getattr(outcome.error, "status", 0) == 504
    assert (outcome.end, type(outcome.error)) == (end, error)
    assert error is OutOfTime or str(outcome.error) == (
        "Comparing 2,300 files takes longer than the function's time limit: use a queue."
    )
    assert copy in site.world.file_sets


def test_threads_share_an_answer(iconik: Iconik, site: Site) -> None:
    """One of them asks, and the others wait; after an error the next one asks again."""
    removal, go, answers = Removal(iconik, SETTINGS), Event(), Mock(side_effect=[KeyError, []])
    iconik.transfers = lambda *_: go.wait() and answers()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(removal.arriving) for _ in range(8)]
        go.set()
    assert sum(isinstance(future.exception(), KeyError) for future in futures) == 1
    assert removal.arriving() == set()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_storage_that_changes_meanwhile(site: Site, slow: Slow, is_listed: bool) -> None:
    """A list of storages is shared for a second, and grows old like other evidence."""
    (first, _), (second, copy) = site.asset(), site.asset()
    removal = Removal(slow.iconik, SETTINGS)
    assert remove_asset(removal, first).removed == 1
    slow.pause(1.0)
    site.world.storages[site.b2]["status"] = "FAILING"
    if not is_listed:
        del site.world.storages[site.lucidlink]
    outcome = remove_asset(removal, second)
    assert isinstance(outcome.error, AdministratorError)
    assert ("FAILING" if is_listed else "no longer lists LucidLink") in str(outcome.error)
    assert copy in site.world.file_sets
