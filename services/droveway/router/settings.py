"""What an operator may turn: `DROVEWAY_ROUTER_<FIELD>`."""

from typing import Annotated

import msgspec

from droveway.runtime.settings import Count, WorkerSettings


class RouterSettings(WorkerSettings, frozen=True, kw_only=True):
    """The router's settings."""

    max_attempts: Count = 3
    """Upstream attempts per request, all before its first token."""
    start_within_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 1_000
    """How long a caller may take to say that it has started; then the next target is tried."""
