"""Rows of USAGE for tests that need some."""

from typing import Any

import msgspec

from droveway.contracts.envelope import new_attempt_id, new_request_id
from droveway.contracts.relay import Usage
from droveway.contracts.usage import (
    AttemptRecorded,
    AttemptTimes,
    RequestRecorded,
    RequestTimes,
)
from droveway.otel.context import child, format_traceparent, new_trace, parse_traceparent


def request_row(*, ratio: float = 0.0, **changes: Any) -> RequestRecorded:
    """A completed request's row; `ratio` 1 makes its trace a sampled one."""
    row = RequestRecorded(
        request_id=new_request_id(),
        traceparent=format_traceparent(new_trace(ratio)),
        tenant="default",
        key_id="k1",
        door="gateway-0",
        operation="chat.completions",
        model="m",
        stream=True,
        outcome="completed",
        status=200,
        attempts=1,
        began_ns=1_000_000_000,
        times=RequestTimes(ended_us=2_000),
    )
    return msgspec.structs.replace(row, **changes)


def attempt_row(request: RequestRecorded | None = None, **changes: Any) -> AttemptRecorded:
    """A completed attempt's row, of `request` where one is given."""
    request = request or request_row()
    root = parse_traceparent(request.traceparent)
    assert root is not None
    row = AttemptRecorded(
        attempt_id=new_attempt_id(),
        request_id=request.request_id,
        attempt=1,
        traceparent=format_traceparent(child(root)),
        tenant="default",
        key_id="k1",
        caller="caller-0",
        router="router-0",
        provider="openai",
        credential="main",
        model="gpt-4.1",
        stream=True,
        outcome="completed",
        status=200,
        committed=True,
        request_sent=True,
        usage=Usage(10, 5),
        began_ns=1_000_100_000,
        times=AttemptTimes(sent_us=1, ended_us=1_500),
    )
    return msgspec.structs.replace(row, **changes)
