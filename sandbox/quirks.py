"""How an iconik system may differ from the usual one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Quirks:
    """How an iconik system differs from the usual one.

    Attributes:
        counts_rows: whether lists say how many rows and pages there are.
        links_pages: whether a page links to the next one.
        rows_per_page: the number of rows on a page, whatever the request asks; None: as requested.
        ignores_last_id: whether lists with a cursor always begin with their first row.
        withheld: the number of rows that collections and searches count, but do not send.
        knows_immediately: whether a file set can be deleted past the recycle bin.
        unsaid: fields of files, and what lists of files say instead of the truth.
        deletion_status: the status that answers the deletion of a file set; None: the usual one.
        deletions_work: whether deletions work, although their answers say so.
        refusals: the number of deletions that are answered with 429 and not done.
        failures: the number of deletions that are answered with 500 and not done.
        lost: the number of deletions that are answered with 500 and done.
        on_call: receives the method and path of each request before it is served.
        jobs_show_status: whether the answer to a change of a job shows its status.
        copies_take_time: whether copies last until `World.finish_copies` is called.
        lists_transfers_from: whether a storage lists the transfers from it, or those to it.
    """

    counts_rows: bool = False
    links_pages: bool = False
    rows_per_page: int | None = None
    ignores_last_id: bool = False
    withheld: int = 0
    knows_immediately: bool = True
    unsaid: dict[str, Any] = field(default_factory=dict)
    deletion_status: int | None = None
    deletions_work: bool = True
    refusals: int = 0
    failures: int = 0
    lost: int = 0
    on_call: Callable[[str, str], None] = lambda *_: None
    jobs_show_status: bool = True
    copies_take_time: bool = False
    lists_transfers_from: bool = True

    def take(self, name: str) -> bool:
        """Return whether a counted quirk applies to this request, and count it down."""
        left: int = getattr(self, name)
        setattr(self, name, max(0, left - 1))
        return left > 0
