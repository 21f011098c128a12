"""Whether an editor added an asset again after clicking its removal. The later click wins."""

import time

from storage_plugin.background.iconik import BackgroundIconik, TransferJob
from storage_plugin.background.task import Task
from storage_plugin.errors import AccessDenied
from storage_plugin.plan import Plan
from storage_plugin.transfers import Guard

SKEW = 5.0
"""Seconds by which the clocks of iconik and Google may differ."""

LATE = 60.0
"""Seconds after the click from which a removal counts as one that waited."""


def guard(iconik: BackgroundIconik, plan: Plan, task: Task) -> Guard | None:
    """Return a function that says why an asset must stay; None: the removal did not have to wait.

    An asset stays if iconik began a transfer of it to the storage after the click, or if the plugin
    cannot find out. Transfers to the masters' storage that the removal requested do not count.
    """
    if not (task.retries or task.wait.times or time.time() > task.clicked + LATE):
        return None
    own = set(task.wait.jobs)

    def is_later_add(job: TransferJob) -> bool:
        is_own = not own.isdisjoint({job.id, job.parent_id})
        is_later = job.created is None or job.created >= task.clicked - SKEW
        return is_later and not is_own and job.storage_id in (plan.storage.id, None)

    def why_keep(asset_id: str) -> str | None:
        try:
            if any(is_later_add(job) for job in iconik.transfers_of(asset_id)):
                return f"it was added to {plan.storage.name} again after the click"
        except AccessDenied as error:
            return f"the plugin cannot see whether it was added again: {error}"
        return None

    return why_keep
