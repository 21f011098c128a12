"""Whether an editor has added an asset again since its removal was clicked: the later one wins."""

import time

from storage_plugin.background.iconik import BackgroundIconik, TransferJob
from storage_plugin.background.task import Delivery
from storage_plugin.errors import AccessDenied
from storage_plugin.plan import Plan
from storage_plugin.transfers import Guard

SKEW = 5.0
"""Seconds by which the clocks of iconik and Google may differ."""

LATE = 60.0
"""Seconds after the click from which a removal has waited, in the queue or while it was paused."""


def guard(iconik: BackgroundIconik, plan: Plan, delivery: Delivery) -> Guard | None:
    """Return what says why an asset must stay; None where the removal has not had to wait.

    An asset stays if iconik has begun a transfer of it to the storage since the click, or does not
    say so. Transfers that the removal itself has asked for, to the masters' storage, do not matter.
    """
    task = delivery.task
    if not (delivery.retries or task.has_waited or time.time() > task.clicked + LATE):
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
            return f"whether it was added again is not known: {error}"
        return None

    return why_keep
