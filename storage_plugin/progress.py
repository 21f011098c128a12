"""What the editor and the administrator are told of an action."""

from collections.abc import Mapping, Sequence

from storage_plugin.errors import AdministratorError, IconikError, OutOfTime
from storage_plugin.logs import Log
from storage_plugin.transfers import Removal


def write_log(removals: Sequence[Removal], log: Log) -> None:
    """Log each asset that was kept or failed, and note how many there were."""
    for removal in removals:
        if removal.kept:
            message = f"Kept {removal.object_id}: {'; '.join(removal.kept)}."
            log.write("WARNING", message, kept=removal.object_id)
        if removal.error:
            message = f"Failed {removal.object_id}: {removal.error} {removal.error.detail}".rstrip()
            log.write("ERROR", message, failed=removal.object_id)
    log.figures.update(
        assets=len(removals),
        file_sets_removed=sum(removal.removed for removal in removals),
        kept=sum(bool(removal.kept) for removal in removals),
        failed=sum(bool(removal.error) for removal in removals),
        left=sum(removal.is_left for removal in removals),
    )


def answer(removals: Sequence[Removal], storage_name: str) -> str:
    """Return the answer to a removal that was brought to its end.

    Raises:
        PluginError: some assets failed, or are left.
    """
    kept = {removal.object_id: "; ".join(removal.kept) for removal in removals if removal.kept}
    failed = {removal.object_id: removal.error for removal in removals if removal.error}
    left = sum(removal.is_left for removal in removals)
    if failed or left:
        common = [error for error in failed.values() if isinstance(error, AdministratorError)]
        kind = type(common[0]) if common else OutOfTime if left else IconikError
        raise kind(
            f"{len(removals) - len(failed) - left} of {len(removals)} assets are done, "
            f"{len(failed)} failed and {left} are left. The action can be repeated. "
            + _excerpt(failed)
        )
    if kept:
        where = f"{len(kept)} of {len(removals)} assets stayed on {storage_name}"
        return f"OK: {where}. {_excerpt(kept)}"
    return "OK"


def _excerpt(reasons: Mapping[str, object], most: int = 3) -> str:
    """Return the first few objects and their reasons in a sentence."""
    shown = [f"{object_id}: {str(reason).rstrip('.')}" for object_id, reason in reasons.items()]
    if len(shown) > most:
        shown[most:] = [f"{len(shown) - most} more are in the log"]
    return f"{'; '.join(shown)}." if shown else ""
