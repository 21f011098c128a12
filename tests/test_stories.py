"""Whatever goes wrong once, a removal loses no file, ends, and says truly what it has done."""

import itertools
import os
import re
from collections.abc import Iterator

from storage_plugin.iconik.rows import ENDED
from tests.stories import ACTS, DELIVERIES, FAULTS, HOUR, Stage, Story

EVERY = int(os.environ.get("STORIES_EVERY", "16"))
"""One of how many stories is played."""


def stories() -> Iterator[Story]:
    """Yield all stories."""
    for has_queue, archives in itertools.product((False, True), repeat=2):
        usual = Stage(Story(has_queue, archives))
        usual.click()
        usual.deliver()
        for event, number in itertools.product(FAULTS + ACTS, range(usual.calls)):
            yield Story(has_queue, archives, event, number)
        for event, number in itertools.product(DELIVERIES, range(usual.deliveries)):
            yield Story(has_queue, archives, event, number)


def violations(story: Story) -> Iterator[str]:
    """Play a story, and yield what must not be in it."""
    stage = Stage(story)
    masters = stage.site.masters()
    stage.click()
    stage.deliver()
    if stage.site.masters() < masters:
        yield "a master is gone"
    if stage.render_is_lost():
        yield "the only copy of a render is gone"
    # iconik hears nothing of a click that is killed. The next removal closes its job.
    if not stage.click_was_killed:
        yield from untruths(stage)
    # An hour after all copies are complete, the same clicks finish what is left.
    stage.heal()
    for _ in range(3):
        stage.now += 3 * HOUR
        stage.finish_copies()
        stage.now += HOUR
        stage.click()
        stage.deliver()
    if stage.render_is_lost() or stage.site.masters() < masters:
        yield "a file is gone after the same clicks"
    left = stage.site.copies() - (not story.archives)
    if left:
        yield f"{left} copies are left after the same clicks"
    if any(job["status"] not in ENDED for job in stage.jobs):
        yield "a job is open after the same clicks"


def untruths(stage: Stage) -> Iterator[str]:
    """Yield what the editor is not told, or told wrongly."""
    notes = [note["message_long"] for note in stage.world.notifications.values()]
    messages = [str(job.get("message")) for job in stage.jobs if job["status"] in ENDED] or notes
    if not messages:
        yield f"nobody is told: {[job['status'] for job in stage.jobs]}"
    elif sum(map(claims, messages)) != len(stage.removed):
        yield f"{len(stage.removed)} assets were removed, and not: {messages}"


def claims(message: str) -> int:
    """Return the number of removed assets that a message states."""
    found = re.match(r"(?:\w+: )?(\d+) of \d+ assets? removed", message)
    return int(found[1]) if found else 0


def test_stories() -> None:
    """Each story ends well."""
    some = list(stories())[::EVERY]
    found = {story: list(violations(story)) for story in some}
    bad = {story: flaws for story, flaws in found.items() if flaws}
    print(f"{len(some)} stories, {len(bad)} violations")  # noqa: T201 - `make properties` shows it.
    assert not bad
