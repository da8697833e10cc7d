"""A router that is killed, while requests come and while answers run."""

import asyncio

from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, open_loop, reasons, streams
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

_PER_S = 100.0
_KILL_EACH_S = 3.0


async def _killed_under_load(run: Run) -> Result:
    kills = run.count(6, 2)
    shape = Shape(routers=2, interval_ms=2)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:
            load = asyncio.ensure_future(_load(it, history, _KILL_EACH_S * (kills + 0.7)))
            for number in range(kills):
                await asyncio.sleep(_KILL_EACH_S / 2)
                await it.kill("router", number % 2)
                await asyncio.sleep(_KILL_EACH_S / 2)
                await it.restart("router", number % 2)
            got = await load
            await it.judge(history)
            upstream = sum(one.requests for one in await it.totals())
    bad = failed(got)
    facts = {
        "requests": len(got),
        "kills": kills,
        "failures": reasons(got),
        "upstream_attempts": upstream,
        "slower_than_250_ms": sum(one.duration_s > 0.25 for one in got),
    }
    return Result(f"{len(bad)} of {len(got):,}", not bad, facts)


async def _load(it: Plant, history: History, for_s: float) -> list[Request]:
    """Streams and whole answers in turn."""

    async def one(number: int) -> Request:
        body = it.body("numbered-10", stream=number % 2 == 0)
        return await ask_raw(history, it.port, it.key, body)

    return await open_loop(_PER_S, for_s, one)


async def _killed_with_streams(run: Run) -> Result:
    count = 50
    rounds = run.count(3, 1)
    got: list[Request] = []
    async with broker(run) as nats, plant(run, nats, Shape(interval_ms=20)) as it:
        with run.history() as history:
            for _ in range(rounds):
                running = streams(it, history, count, "numbered-200")
                await it.until_streaming(count)
                await it.kill("router")
                got += await asyncio.gather(*running)
                await it.restart("router")
            await it.judge(history)
    bad = failed(got)
    facts = {"streams": len(got), "kills": rounds, "failures": reasons(got)}
    return Result(f"{len(bad)} of {len(got)}", not bad, facts)


CLAIMS = (
    Claim(
        id="B2",
        text="one of two routers is killed again and again at 100 requests/s: requests that fail",
        bound="0",
        run=_killed_under_load,
    ),
    Claim(
        id="B3",
        text="the only router is killed with 50 streams: streams that break",
        bound="0",
        run=_killed_with_streams,
    ),
)
