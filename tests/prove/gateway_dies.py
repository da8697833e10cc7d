"""A gateway that is killed: its clients' answers are cut, its providers are freed."""

import asyncio

from tests.prove import sdk
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import streams
from tests.prove.plant import Shape, broker, plant

FREED_WITHIN_S = 6.0
_SDK_STREAMS = 10


async def _killed_with_streams(run: Run) -> Result:
    count = run.count(50, 50)
    shape = Shape(gateways=2, interval_ms=20)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:
            raw = streams(it, history, count - _SDK_STREAMS, "numbered-5000")
            async with sdk.streaming(it, _SDK_STREAMS, "numbered-5000") as readers:
                await it.until_streaming(count)
                await readers.until_reading()
                await it.kill("gateway")
                freed_s = await it.until_idle(3 * FREED_WITHIN_S)
                seen = await readers.results()
            got = await asyncio.gather(*raw)
            await it.restart("gateway")
            await it.judge(history)
    whole = sum(one.terminal != "cut" for one in got)
    unaware = sum(not one.exception for one in seen)
    facts = {
        "streams": len(got) + len(seen),
        "freed_s": freed_s,
        "raw_not_cut": whole,
        "sdk_exceptions": sorted({one.exception for one in seen}),
    }
    held = freed_s is not None and freed_s <= FREED_WITHIN_S and not whole and not unaware
    freed = "-" if freed_s is None else f"{freed_s:.1f} s"
    return Result(f"{freed}; {whole + unaware} of {len(got) + len(seen)}", held, facts)


CLAIMS = (
    Claim(
        id="B1",
        text="a gateway is killed with 50 streams: until its providers are free; "
        "clients (raw and openai SDK) that don't see the cut",
        bound=f"≤ {FREED_WITHIN_S:g} s; 0",
        run=_killed_with_streams,
    ),
)
