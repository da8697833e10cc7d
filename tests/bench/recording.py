"""Rows at a steady rate, from spools as doors and callers have them: CPU time at both ends."""

import asyncio
import math
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
import uvloop

from droveway.contracts.envelope import new_attempt_id, new_instance, new_request_id
from droveway.contracts.relay import Usage
from droveway.contracts.usage import (
    AttemptRecorded,
    AttemptTimes,
    RequestRecorded,
    RequestTimes,
)
from droveway.runtime.bus import BusSettings, connect
from droveway.runtime.spool import Spool
from tests.bench import system
from tests.bench.children import RunFailed
from tests.bench.targets import Deployed

STEADY_PER_S = 2_000
_TICK_S = 0.002
_SPOOL_ROWS = 10_000
_ROUNDS = 9
_BUILT = 2_000
_SETTLE_S = 1.0
"""The ledger looks at the stream a few times a second: what it does last belongs to the figure."""
_PARTS = 3
"""The median of so many: once in a while a process has something else to do."""
_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Recording(NamedTuple):
    """CPU µs per request, with what the process needs for itself."""

    metrics_us: float
    """Of metrics: both rows, hourly sums and position in the database, counters."""
    limiter_us: float
    """Of the limiter, which counts the same attempts against budgets."""
    door_us: float
    """Of the door: its row made, encoded, in company with others published, confirmed."""
    caller_us: float
    """Of the caller: the same for the attempt's row."""


def recording(deployed: Deployed, seconds: float) -> Recording:
    """Measures for about four times `seconds`."""
    (metrics,) = deployed.target.services["metrics"]
    (limiter,) = deployed.target.services["limiter"]
    return uvloop.run(_measured(deployed, (metrics, limiter), seconds))


async def _measured(deployed: Deployed, pids: tuple[int, int], seconds: float) -> Recording:
    async with _spool(deployed, "gateway") as door, _spool(deployed, "caller") as caller:
        await _publish(caller, door, _SETTLE_S)
        each_s = seconds / _PARTS
        others: list[list[float]] = []
        own: list[list[float]] = []
        for _ in range(_PARTS):
            others.append(await _spent_us(pids, _publish(caller, door, each_s)))
            own.append(
                [
                    await _own_us(_publish(None, None, each_s)),
                    await _own_us(_publish(caller, None, each_s)),
                    await _own_us(_publish(None, door, each_s)),
                ]
            )
    metrics_us, limiter_us = _per_request(others, each_s)
    pacing_us, caller_us, door_us = _per_request(own, each_s)
    attempt_us, request_us = _building_us()
    return Recording(
        metrics_us=metrics_us,
        limiter_us=limiter_us,
        door_us=request_us + door_us - pacing_us,
        caller_us=attempt_us + caller_us - pacing_us,
    )


def _per_request(parts: list[list[float]], seconds: float) -> list[float]:
    """The median over the parts, column by column."""
    return [statistics.median(each) / (seconds * STEADY_PER_S) for each in zip(*parts, strict=True)]


async def _spent_us(pids: tuple[int, int], work: Awaitable[None]) -> list[float]:
    """CPU time of processes during `work` and what follows of it."""
    before_us = [system.cpu_us(pid) for pid in pids]
    await work
    await asyncio.sleep(_SETTLE_S)
    return [system.cpu_us(pid) - before for pid, before in zip(pids, before_us, strict=True)]


async def _own_us(work: Awaitable[None]) -> float:
    """CPU time of this process during `work`."""
    before_s = time.process_time()
    await work
    return 1e6 * (time.process_time() - before_s)


def _building_us() -> tuple[float, float]:
    """For an attempt's row and a request's, of the best of some rounds."""
    kinds = [(type(row), msgspec.structs.asdict(row)) for row in rows()()]
    best_s = [math.inf, math.inf]
    for _ in range(_ROUNDS):
        for number, (kind, fields) in enumerate(kinds):
            began_s = time.process_time()
            for _ in range(_BUILT):
                kind(**fields)
            best_s[number] = min(best_s[number], time.process_time() - began_s)
    attempt_s, request_s = best_s
    return attempt_s / _BUILT * 1e6, request_s / _BUILT * 1e6


@asynccontextmanager
async def _spool(deployed: Deployed, service: str) -> AsyncIterator[Spool]:
    """As that service has one."""
    seed = str(deployed.data.seed_file(service))
    broker = BusSettings(servers=(deployed.nats_url,), nkey_file=seed)
    async with connect(broker, service, new_instance(service)) as bus:
        spool = Spool(bus, _SPOOL_ROWS)
        yield spool
        await spool.drain(_SETTLE_S)
        if (failed := spool.statistics().failed) or spool.full:
            raise RunFailed(f"{failed} rows of the spool of {service} were not stored at once")


async def _publish(caller: Spool | None, door: Spool | None, seconds: float) -> None:
    """The rows of requests at `STEADY_PER_S`; None: that one isn't published."""
    make = rows()
    count = 0
    began_s = time.perf_counter()
    while count < seconds * STEADY_PER_S:
        due = (time.perf_counter() - began_s) * STEADY_PER_S
        while count < min(due, seconds * STEADY_PER_S):
            attempt, request = make()
            if caller is not None:
                caller.put(attempt)
            if door is not None:
                door.put(request)
            count += 1
        await asyncio.sleep(_TICK_S)


def rows() -> Callable[[], tuple[AttemptRecorded, RequestRecorded]]:
    """The rows of one streamed request after the other, as full as real ones."""
    now_ns = time.time_ns()
    used = Usage(1_200, 150, 400)
    attempt = AttemptRecorded(
        attempt_id=new_attempt_id(), request_id=new_request_id(), attempt=1,
        traceparent=_TRACEPARENT, tenant="default", key_id="bench",
        caller="caller-0123456789ab", router="router-0123456789ab", provider="mock",
        credential="main", model="mock", asked_model="mock", served_model="mock", stream=True,
        outcome="completed", status=200, finish_reason="stop", committed=True, request_sent=True,
        usage=used, received_ns=now_ns, admitted_ns=now_ns, routed_ns=now_ns, began_ns=now_ns,
        times=AttemptTimes(
            sent_us=100, headers_us=90_000, first_token_us=100_000, last_token_us=900_000,
            ended_us=900_100,
        ),
    )  # fmt: skip
    request = RequestRecorded(
        request_id=attempt.request_id, traceparent=_TRACEPARENT, tenant="default", key_id="bench",
        door="gateway-0123456789ab", operation="chat.completions", model="mock", stream=True,
        outcome="completed", status=200, attempts=1, provider="mock", served_model="mock",
        usage=used, answer_bytes=40_000, events=151, began_ns=now_ns,
        times=RequestTimes(
            authenticated_us=50, body_us=80, enqueued_us=120, accepted_us=900,
            first_frame_us=101_000, first_byte_us=101_100, ended_us=901_000,
        ),
    )  # fmt: skip

    def make() -> tuple[AttemptRecorded, RequestRecorded]:
        ids = {"request_id": new_request_id(), "attempt_id": new_attempt_id()}
        return (
            msgspec.structs.replace(attempt, **ids),
            msgspec.structs.replace(request, **ids),
        )

    return make
