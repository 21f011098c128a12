"""The job's own thread: what it does when iconik fails meanwhile."""

from threading import Event

import pytest

from sandbox.world import Row, World, new_id
from storage_plugin.errors import IconikUnavailable
from storage_plugin.iconik import Iconik
from storage_plugin.logs import Log
from storage_plugin.progress import Job, Outcome
from storage_plugin.webhook import Selection


def test_news_that_fail_do_not_end_the_news(
    world: World,
    iconik: Iconik,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An update that fails is logged, and the job still tells its end."""
    has_failed, update = Event(), iconik.update_job

    def fail_once(job_id: str, changes: Row) -> str | None:
        if not has_failed.is_set():
            has_failed.set()
            raise IconikUnavailable("iconik is away.")
        return update(job_id, changes)

    monkeypatch.setattr(iconik, "update_job", fail_once)
    job = Job(iconik, Selection(assets=(new_id(),)), "LucidLink", Log("", None))
    with job:
        assert has_failed.wait(60)
        job.end = Outcome("FINISHED", "All is done.")
    assert world.jobs[str(job.id)]["status"] == "FINISHED"
    assert "iconik is away." in capsys.readouterr().out
