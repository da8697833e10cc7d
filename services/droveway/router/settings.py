"""What an operator may turn: `DROVEWAY_ROUTER_<FIELD>`."""

from typing import Annotated

import msgspec

from droveway.runtime.settings import Count, Seconds, WorkerSettings


class RouterSettings(WorkerSettings, frozen=True, kw_only=True):
    """The router's settings."""

    max_attempts: Count = 10
    """Upstream attempts per request, all before its first token, whatever a route's `retry` says:
    its `attempts` are 3 by default."""
    admit_within_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 3_000
    """How long a silent limiter is asked again, for a restart or a stall; then 503
    `limiter_unavailable`: without its decision nothing is spent."""
    spool_rows: Count = 10_000
    """Rows of attempts whose caller died that may wait for JetStream; when full, it isn't ready."""
    queue_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 2.0
    """How long a request waits for room at a provider, where its route doesn't say; then 503, or
    429 while all credentials cool. 0: it doesn't wait."""
    queue_requests: Count = 1_000
    """Requests that wait; when full the newest of whoever has most waiting gets 503 `overloaded`.
    Keep it below `max_in_flight`."""
    queue_tokens: Count = 10_000_000
    """Tokens of requests that wait, input and output; the same when full."""
    orders_within_s: Seconds = 5.0
    """How long the start waits for what operators have changed of routing; then the configuration
    file holds alone until the bucket `routing` answers."""
    prices_within_s: Seconds = 1.0
    """Where a route chooses the cheapest target: how long the start waits for the price book; then
    the configuration's prices hold alone until the bucket `prices` answers."""
    start_within_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 1_000
    """How long a caller may take to say that it has started; then the next target is tried."""
