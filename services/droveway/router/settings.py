"""What an operator may turn: `DROVEWAY_ROUTER_<FIELD>`."""

from typing import Annotated

import msgspec

from droveway.runtime.settings import Count, WorkerSettings


class RouterSettings(WorkerSettings, frozen=True, kw_only=True):
    """The router's settings."""

    max_attempts: Count = 3
    """Upstream attempts per request, all before its first token."""
    admit_within_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 3_000
    """How long a silent limiter is asked again, for a restart or a stall; then 503
    `limiter_unavailable`: without its decision nothing is spent."""
    spool_rows: Count = 10_000
    """Rows of attempts whose caller died that may wait for JetStream; when full, it isn't ready."""
    start_within_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 1_000
    """How long a caller may take to say that it has started; then the next target is tried."""
