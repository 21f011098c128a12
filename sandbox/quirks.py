"""How an iconik system may differ from the usual one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Quirks:
    """How an iconik system differs from the usual one."""

    # Lists
    counts_rows: bool = False  # They say how many rows and pages there are.
    links_pages: bool = False  # A page links to the next one.
    rows_per_page: int | None = None  # So many rows are on a page, whatever the request asks.
    withheld: int = 0  # So many rows of collections and searches are counted, but not sent.
    unsaid: dict[str, Any] = field(default_factory=dict)  # What files say instead of the truth.
    lists_transfers_from: bool = True  # A storage lists the transfers from it, else those to it.

    # Deletions of file sets
    knows_immediately: bool = True  # They can go past the recycle bin.
    deletion_status: int | None = None  # The status of the answer, unless the usual one.
    deletions_work: bool = True  # What the answer says is true.
    refusals: int = 0  # So many are answered with 429 and not done.
    failures: int = 0  # So many are answered with 500 and not done.
    lost: int = 0  # So many are answered with 500 and done.

    copies_take_time: bool = False  # Copies last until `World.finish_copies` is called.
    # Receives the method and path of each request before it is served.
    on_call: Callable[[str, str], None] = lambda *_: None

    def take(self, name: str) -> bool:
        """Return whether a counted quirk applies to this request, and count it down."""
        left: int = getattr(self, name)
        setattr(self, name, max(0, left - 1))
        return left > 0
