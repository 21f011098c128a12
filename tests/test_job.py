"""The job's own thread: what it does when iconik fails meanwhile."""

from threading import Event

import pytest

from sandbox.world import Row, World
from storage_plugin.background.iconik import BackgroundIconik
from storage_plugin.background.job import Job
from storage_plugin.errors import IconikUnavailable
from storage_plugin.pace import Deadline
from storage_plugin.progress import Progress
from storage_plugin.report import Report
from storage_plugin.rest import Rest
from tests.conftest import new_run


def test_news_that_fail_do_not_end_the_news(
    world: World,
    rest: Rest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An update that fails is logged, and the job still tells its end."""
    has_failed, update = Event(), BackgroundIconik.update_job

    def fail_once(iconik: BackgroundIconik, job_id: str, changes: Row) -> str | None:
        if not has_failed.is_set():
            has_failed.set()
            raise IconikUnavailable("iconik is away.")
        return update(iconik, job_id, changes)

    monkeypatch.setattr(BackgroundIconik, "update_job", fail_once)
    job = Job(new_run(rest))
    with job.updated(Progress(Deadline(60)), opens=True):
        assert has_failed.wait(60)
    job.close(Report())
    assert world.jobs[str(job.id)]["status"] == "FINISHED"
    assert "iconik is away." in capsys.readouterr().out
