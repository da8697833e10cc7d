"""A request's phase times as the lines of a waterfall: pure, from its rows."""

from collections.abc import Iterator
from typing import NamedTuple

from droveway.contracts.usage import AttemptRecorded, RequestRecorded


class Phase(NamedTuple):
    """One stretch of time, in microseconds from the request's first byte."""

    name: str
    start_us: int
    end_us: int
    detail: str = ""
    depth: int = 0
    """0: the request's own; 1: within an attempt."""

    @property
    def duration_us(self) -> int:
        """How long it took."""
        return self.end_us - self.start_us


def phases(request: RequestRecorded | None, attempts: tuple[AttemptRecorded, ...]) -> list[Phase]:
    """The phases in order of their start; phases that weren't reached are missing."""
    if request is None and not attempts:
        return []
    zero_ns = request.began_ns if request else min(_first_ns(one) for one in attempts)
    found = [] if request is None else [*_door(request)]
    for attempt in attempts:
        found += [*_route(attempt, zero_ns), *_attempt(attempt, zero_ns)]
    return sorted(found, key=lambda phase: phase.start_us)  # stable: an attempt before its parts


def _door(request: RequestRecorded) -> Iterator[Phase]:
    times = request.times
    named = (
        ("auth", times.authenticated_us),
        ("body", times.body_us),
        ("enqueue", times.enqueued_us),
        ("accepted", times.accepted_us),
    )
    start_us = 0
    for name, end_us in named:
        if end_us is not None:
            yield Phase(name, start_us, end_us)
            start_us = end_us
    if times.first_byte_us is not None:
        since_us = start_us if times.first_frame_us is None else times.first_frame_us
        yield Phase("first byte", since_us, times.first_byte_us, "first frame to client")
        yield Phase("answer", times.first_byte_us, times.ended_us, f"{request.answer_bytes} bytes")
    else:
        yield Phase("end", start_us, times.ended_us)


def _route(attempt: AttemptRecorded, zero_ns: int) -> Iterator[Phase]:
    received, admitted, routed = (
        (moment_ns - zero_ns) // 1000 if moment_ns else None
        for moment_ns in (attempt.received_ns, attempt.admitted_ns, attempt.routed_ns)
    )
    # A failover is routed again, but was received and admitted only once.
    if received is not None and admitted is not None and attempt.attempt <= 1:
        yield Phase("limit", received, admitted, attempt.router)
    if admitted is not None and routed is not None and attempt.attempt <= 1:
        yield Phase("route", admitted, routed)
    if routed is not None:
        yield Phase("dispatch", routed, (attempt.began_ns - zero_ns) // 1000, attempt.caller)


def _attempt(attempt: AttemptRecorded, zero_ns: int) -> Iterator[Phase]:
    began_us = (attempt.began_ns - zero_ns) // 1000
    times = attempt.times
    outcome = attempt.outcome if not attempt.code else f"{attempt.outcome} {attempt.code}"
    target = f"{attempt.provider}/{attempt.model}"
    status = f" {attempt.status}" if attempt.status else ""
    yield Phase(
        f"attempt {attempt.attempt}",
        began_us,
        began_us + times.ended_us,
        f"{target}{status} {outcome}",
    )
    named = (
        ("sent", times.sent_us),
        ("headers", times.headers_us),
        ("first token", times.first_token_us),
        ("last token", times.last_token_us),
    )
    start_us = 0
    for name, end_us in named:
        if end_us is not None:
            yield Phase(name, began_us + start_us, began_us + end_us, depth=1)
            start_us = end_us


def _first_ns(attempt: AttemptRecorded) -> int:
    return attempt.received_ns or attempt.began_ns
