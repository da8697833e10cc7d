"""A request as a chat completion, and the way back to the words of its own operation."""

from typing import Any, NamedTuple

from droveway.dialects.events import Writer
from droveway.gateway.adapted import Adapted, OnCut, OnEnd
from droveway.gateway.continuing import Continuing
from droveway.gateway.journal import Journal


class Adaptation(NamedTuple):
    """What is asked instead, and how its answer is told."""

    request: dict[str, Any]
    writer: Writer
    warnings: tuple[str, ...] = ()
    on_end: OnEnd | None = None
    on_cut: OnCut | None = None

    def over(self, pending: Continuing, journal: Journal) -> Adapted:
        """The frames of `pending` in the operation's own words."""
        return Adapted(
            pending, self.writer, stream=journal.stream, on_end=self.on_end, on_cut=self.on_cut
        )
