"""Stories: a removal of three assets in which one thing goes wrong, or somebody does something.

Whatever it is, the removal loses no file, ends, and says truly what it has done.
"""

import itertools
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest

from storage_plugin.iconik.rows import ENDED
from tests.stage import AWAY, DONE, FAULTS, HOUR, LOST, Killed, Stage, Task, written

# Of how many stories in which something happens at a call one is played.
EVERY = int(os.environ.get("STORIES_EVERY", "83"))
LOG = logging.getLogger(__name__)

ADD, ABORT, PAUSE, DELETE = "add again", "abort", "pause", "delete the job"
CLICK, REDEPLOY, FINISH = "the same click", "redeploy", "the copies finish"
FAIL = "the masters' storage fails"
# What editors, administrators and iconik may do before a call.
ACTS = (ADD, ABORT, PAUSE, DELETE, CLICK, REDEPLOY, FINISH, FAIL)
SIDE_BY_SIDE, TWICE, LATE = "at the same time", "twice", "25 hours late"
FAULTS_OF_THE_QUEUE = (AWAY, LOST, GONE := "the queue stays away")
MOST_DELIVERIES = 40


class Story(NamedTuple):
    """A removal, and what happens in it."""

    has_queue: bool
    archives: bool  # Files without a master are copied first.
    event: str = ""  # What happens; empty: nothing.
    number: int = -1  # That of the call, the hand-over or the delivery that it happens at.


class Play:
    """Plays a story."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.stage = stage = Stage(
            has_queue=story.has_queue, ARCHIVE_BEFORE_REMOVE=str(story.archives).lower()
        )
        stage.latency = 1.0 if story.has_queue else 0.1  # Too slow for a click with a queue.
        stage.on_call, stage.on_task = self._on_call, self._on_task
        self.sound, _ = stage.site.asset(title="Sound")
        self.render = stage.site.only_copy(title="Render")
        self.arriving = stage.site.master(title="Arriving")
        stage.add(self.arriving)
        self.masters = stage.site.masters()
        self.hand_overs = self.clicks = self.archived = 0
        self.removed: list[str] = []  # The asset of each file set on LucidLink that is gone.
        self.flaws: list[str] = []  # What must not be in any story.
        self._task: Task | None = None

    def perform(self) -> None:
        """Play the story, and then the same clicks, as a patient editor repeats them."""
        self.click()
        self.deliver()
        self._check()
        self._check_what_is_told()
        # An hour after all copies are complete, the same clicks finish what is left.
        self.story = Story(self.story.has_queue, self.story.archives)
        self.stage.environ |= {"USE_RECYCLE_BIN": "false", "STORAGE_NAME": "LucidLink"}
        self.stage.world.storages[self.stage.site.b2]["status"] = "ACTIVE"
        for _ in range(3):
            self.stage.now += 3 * HOUR
            self.stage.world.finish_copies()
            self.stage.now += HOUR
            self.click()
            self.deliver()
            copies = self.stage.site.copies() - (not self.story.archives)
            jobs = [job for job in self.stage.jobs if job["status"] not in ENDED]
            if not (copies or jobs):
                break
        else:
            self.flaws.append(f"the same clicks leave {copies} copies and {len(jobs)} open jobs")
        self._check()

    def click(self) -> None:
        """Post the removal. iconik hears nothing of an instance that is killed."""
        self.clicks += 1
        task, self._task = self._task, None
        with suppress(Killed):
            self.stage.click(asset_ids=[self.sound, self.render, self.arriving])
        self._task = task

    def deliver(self) -> None:
        """Deliver all tasks until the queue is empty. iconik's copies are finished meanwhile."""
        stage = self.stage
        while stage.tasks:
            event, happens = self.story.event, stage.deliveries == self.story.number
            stage.tasks.sort()
            self._task = stage.tasks.pop(0)
            stage.now = max(stage.now, self._task.due)
            stage.now += 25 * HOUR if happens and event == LATE else 0.0
            if stage.deliveries == 2:
                stage.world.finish_copies()
            stage.deliver_one(self._task)
            if happens and event == TWICE:
                stage.deliver_one(self._task._replace(retries=1))
            self._task = None
            if stage.deliveries > MOST_DELIVERIES * self.clicks:
                self.flaws.append("the queue delivers for ever")
                stage.tasks.clear()

    def _on_call(self, method: str, path: str) -> str:
        """Let the event happen at its call, and watch the deletions."""
        event, fault = self.story.event, ""
        if len(self.stage.calls) - 1 == self.story.number:
            fault = event if event in FAULTS else ""
            if event in ACTS:
                self._act(event)
            if event == SIDE_BY_SIDE and self._task:
                self.stage.deliver_one(self._task)
        self.archived += path.endswith(f"{self.stage.site.b2}/bulk/") and fault in ("", *DONE)
        if method == "DELETE" and fault in ("", *DONE):
            asset_id, file_set_id = path.split("/")[5:8:2]
            row = self.stage.world.file_sets.get(file_set_id)
            if row and row["status"] == "ACTIVE":
                self.removed.append(asset_id)
                if self._task and row["date_created"] > written(self.stage.clicked + 5):
                    self.flaws.append("what was added after the click is deleted")
        return fault

    def _on_task(self) -> str:
        """Let the event happen at its hand-over."""
        number, event = self.hand_overs, self.story.event
        self.hand_overs += 1
        if event == GONE and number >= self.story.number >= 0:
            return AWAY
        return event if event in (AWAY, LOST) and number == self.story.number else ""

    def _act(self, act: str) -> None:
        """Do what somebody may do at any time."""
        world = self.stage.world
        open_jobs = [job for job in self.stage.jobs if job["status"] == "STARTED"]
        if act in (ABORT, PAUSE):
            for job in open_jobs:
                job["status"] = {ABORT: "ABORT_PENDING", PAUSE: "PAUSED"}[act]
        elif act == DELETE:
            for job in open_jobs:
                del world.jobs[job["id"]]
        elif act == ADD:
            self.stage.add(self.sound)
            world.finish_copies()
        elif act == CLICK:
            self.click()
        elif act == FINISH:
            world.finish_copies()
        elif act == FAIL:
            world.storages[self.stage.site.b2]["status"] = "FAILING"
        else:
            self.stage.environ |= {"USE_RECYCLE_BIN": "true", "STORAGE_NAME": "Other"}

    def _check(self) -> None:
        """Note what is lost."""
        world = self.stage.world
        sets = [row["id"] for row in world.file_sets.of_asset[self.render].values()]
        if not any(row["status"] == "CLOSED" for id in sets for row in world.files_in(id)):
            self.flaws.append("the only copy of the render is gone")
        if self.stage.site.masters() < self.masters:
            self.flaws.append("a master is gone")

    def _check_what_is_told(self) -> None:
        """Note what the editor is not told, or told wrongly."""
        stage, notes = self.stage, self.stage.notes
        ended = [job for job in stage.jobs if job["status"] in ENDED]
        told = [str(job.get("message")) for job in ended] or notes
        if self.story.event.startswith("kill") and not (told or stage.deliveries):
            return  # The next removal closes the job.
        if not told:
            self.flaws.append(f"nobody is told: {[job['status'] for job in stage.jobs]}")
        claimed, removed = sum(map(claims, told)), len(self.removed)
        # Two that remove an asset at the same time cannot know which one of them it was.
        at_once = self.story.event in (CLICK, SIDE_BY_SIDE)
        if told and claimed != removed and not (at_once and claimed <= removed + 1):
            self.flaws.append(f"{removed} assets are removed, and not: {told}")
        if self.archived > 1 + at_once:
            self.flaws.append("the render is copied more than once")
        if len(notes) > self.clicks + at_once:
            self.flaws.append(f"the editor is notified too often: {notes}")
        is_fault = self.story.event in (*FAULTS, *FAULTS_OF_THE_QUEUE)
        statuses = {job["status"] for job in stage.jobs}
        if not (is_fault or notes) and statuses != {"FINISHED"}:
            self.flaws.append(f"nobody is notified of {told}")
        copies = stage.site.copies()
        if copies and "FINISHED" in statuses and self.story.event != ADD:
            self.flaws.append(f"{copies} copies are left, and a job is FINISHED")


def claims(message: str) -> int:
    """Return the number of removed assets that a message states."""
    found = re.match(r"(?:\w+: )?(\d+) of \d+ assets? removed", message)
    return int(found[1]) if found else 0


def stories(has_queue: bool, archives: bool) -> Iterator[Story]:
    """Yield the stories of a deployment."""
    usual = Play(Story(has_queue, archives))
    usual.click()
    usual.deliver()
    at_calls = itertools.product(
        FAULTS + ACTS + (SIDE_BY_SIDE,) * has_queue, range(len(usual.stage.calls))
    )
    for event, number in itertools.chain(
        [("", 0)],
        itertools.islice(at_calls, 0, None, EVERY),
        itertools.product(FAULTS_OF_THE_QUEUE, range(usual.hand_overs)),
        itertools.product((TWICE, LATE), range(usual.stage.deliveries)),
    ):
        yield Story(has_queue, archives, event, number)


@pytest.mark.parametrize("archives", [False, True])
@pytest.mark.parametrize("has_queue", [False, True])
def test_stories(has_queue: bool, archives: bool) -> None:
    """Each story ends well."""
    plays = [Play(story) for story in stories(has_queue, archives)]
    for play in plays:
        play.perform()
    flaws = {play.story: play.flaws for play in plays if play.flaws}
    LOG.info("%d stories, %d with flaws", len(plays), len(flaws))
    assert not flaws
