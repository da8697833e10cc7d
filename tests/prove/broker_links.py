"""Links to the broker that are reset again and again, and a broker that all come back to."""

import asyncio
import logging
import math
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from droveway.client.connection import RECONNECT_BASE_S
from tests.bench.figures import percentile
from tests.prove.broker_probe import until_served
from tests.prove.broker_publishers import watched
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import open_loop, reasons
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.checker import USUAL, Growth, grown
from tests.support.fault_process import fault_process
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw
from tests.support.plain_nats import serving_plain
from tests.support.tcp_proxy import address

SERVED_WITHIN_S = 3.0
SPREAD_S = 1.0
BUSY_WITHIN_S = 2.0
_RESET_EACH_S = 0.2
_PER_S = 20.0
_CLIENTS = 200
_WATCHED_S = 6.0
_SAMPLE_S = 0.05
_BUSY = 0.95
"""Of one core; a sample's own inexactness is the rest."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
_ALLOWED: Growth = {
    "fds of caller-*": 8.0,
    "threads of *": 2.0,
    "droveway_limiter_remembered{*": math.inf,
    **USUAL,
}
"""Connections to providers are kept for the next request, decisions for a repeated question; a loop
starts the threads of its pool, six at most, as they are first needed."""


async def _reset_again_and_again(run: Run) -> Result:
    for_s = run.count(20, 5)
    async with broker(run) as nats, fault_process(*address(nats.url), seed=run.seed) as link:
        shape = Shape(links=dict.fromkeys(_SERVICES, f"nats://127.0.0.1:{link.port}"))
        async with plant(run, nats, shape) as it:
            with run.history() as history:
                await _load(it, history, 3.0)
                watched_ones = it.watched(*_SERVICES)
                before = await watched_ones.snapshot()
                await link.command(f"reset-each {_RESET_EACH_S}")
                during = await _load(it, history, for_s)
                await link.command("heal")
                served_s = await until_served(it, time.monotonic(), 4 * SERVED_WITHIN_S)
                after_all = await _load(it, history, 2.0)
                await it.judge(history)
                after = await watched_ones.settled(before, _ALLOWED, 15.0)
                resets = (await link.command("statistics"))["faults"]["reset"]
    more = grown(before, after, _ALLOWED)
    facts = {
        "resets": resets,
        "requests": len(during),
        "failures": reasons(during),
        "served_s": served_s,
        "failures_afterwards": reasons(after_all),
        "grown": more,
    }
    held = served_s <= SERVED_WITHIN_S and not more
    return Result(f"{len(more)}; {served_s:.1f} s", held, facts)


async def _load(it: Plant, history: History, for_s: float) -> list[Request]:
    async def one(number: int) -> Request:
        body = it.body("numbered-20", stream=number % 2 == 0)
        return await ask_raw(history, it.port, it.key, body)

    return await open_loop(_PER_S, for_s, one)


async def _all_come_back(run: Run) -> Result:
    logging.getLogger("droveway").addHandler(logging.NullHandler())  # each tells its loss
    async with AsyncExitStack() as stack:
        server = await asyncio.to_thread(
            stack.enter_context, serving_plain(run.folder / "nats", jetstream=False)
        )
        settings = msgspec.structs.replace(server.settings, reconnect_base_s=RECONNECT_BASE_S)
        buses = [await stack.enter_async_context(watched(settings)) for _ in range(_CLIENTS)]
        back_at_s: list[float] = []
        for bus in buses:
            bus.on_reconnected(lambda: back_at_s.append(time.monotonic()))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        began_s = time.monotonic()
        assert server._process is not None
        shares = await _cpu_shares(server._process.pid)
    waits_s = [one - began_s for one in back_at_s]
    spread_s = max(waits_s) - min(waits_s) if waits_s else 0.0
    busy_s = sum(_SAMPLE_S for share in shares if share >= _BUSY)
    facts = {
        "clients": _CLIENTS,
        "came_back": len(waits_s),
        "by_250_ms": [_between(waits_s, number / 4) for number in range(12)],
        "p50_s": percentile(waits_s, 50),
        "last_s": max(waits_s, default=0.0),
        "broker_cpu_s": sum(shares) * _SAMPLE_S,
        "broker_busiest_share": max(shares),
    }
    held = len(waits_s) == _CLIENTS and spread_s >= SPREAD_S and busy_s < BUSY_WITHIN_S
    return Result(f"{len(waits_s)}; {spread_s:.2f} s; {busy_s:.1f} s", held, facts)


def _between(waits_s: list[float], from_s: float) -> int:
    return sum(from_s <= one < from_s + 0.25 for one in waits_s)


async def _cpu_shares(pid: int) -> list[float]:
    """Cores that a process used in each sample."""
    shares: list[float] = []
    spent_s, at_s = _cpu_s(pid), time.monotonic()
    until_s = at_s + _WATCHED_S
    while at_s < until_s:
        await asyncio.sleep(_SAMPLE_S)
        now_spent_s, now_s = _cpu_s(pid), time.monotonic()
        shares.append((now_spent_s - spent_s) / (now_s - at_s))
        spent_s, at_s = now_spent_s, now_s
    return shares


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * _TICK_S


CLAIMS = (
    Claim(
        id="B15",
        text=f"all links to NATS are reset every {_RESET_EACH_S * 1000:.0f} ms for 20 s: sizes "
        "(file descriptors, threads, memory, gauges) that stay grown; until requests are served "
        "again",
        bound=f"0; ≤ {SERVED_WITHIN_S:g} s",
        run=_reset_again_and_again,
    ),
    Claim(
        id="B16",
        text=f"{_CLIENTS} bus clients lose their broker, which is started again: those that come "
        "back; between the first and the last; time in which the broker uses a whole core",
        bound=f"{_CLIENTS}; ≥ {SPREAD_S:g} s; < {BUSY_WITHIN_S:g} s",
        run=_all_come_back,
    ),
)
