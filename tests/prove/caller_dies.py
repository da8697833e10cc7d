"""A caller that is killed: in mid-stream its clients are told, before that nobody notices."""

import asyncio

from tests.bench.figures import percentile
from tests.prove import sdk
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, reasons, streams
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.history import History, Request

ERROR_WITHIN_S = 2.0
_STREAMS = 16
_SDK_STREAMS = 8
_AFTER_START_S = 0.5


async def _killed_in_mid_stream(run: Run) -> Result:
    rounds = run.count(12, 4)
    untold_sdk = 0
    cut: list[Request] = []
    waits_s: list[float] = []
    async with broker(run) as nats, plant(run, nats, Shape(callers=2)) as it:
        with run.history() as history:
            for number in range(rounds):
                killed_s, got = await _one_kill(it, history, number % 2)
                victims = failed(got)
                cut += victims
                waits_s += [one.invoked_s + one.duration_s - killed_s for one in victims]
            untold_sdk = await _sdk_untold(it)
            await it.judge(history)
    untold = [one for one in cut if one.terminal != "error"]
    worst_s = percentile(waits_s, 99)
    facts = {
        "kills": rounds,
        "streams": rounds * _STREAMS,
        "cut": len(cut),
        "p50_s": percentile(waits_s, 50),
        "p99_s": worst_s,
        "max_s": max(waits_s, default=0.0),
        "outcomes": reasons(cut),
        "sdk_streams_without_end_or_exception": untold_sdk,
    }
    held = bool(cut) and not untold and not untold_sdk and worst_s <= ERROR_WITHIN_S
    return Result(f"{worst_s:.2f} s; {len(untold) + untold_sdk} of {len(cut)}", held, facts)


async def _one_kill(it: Plant, history: History, number: int) -> tuple[float, list[Request]]:
    running = streams(it, history, _STREAMS, "numbered-250")
    await it.until_streaming(_STREAMS)
    await asyncio.sleep(_AFTER_START_S)
    killed_s = await it.kill("caller", number)
    got = await asyncio.gather(*running)
    await it.restart("caller", number)
    return killed_s, got


async def _sdk_untold(it: Plant) -> int:
    """Streams through the SDK that neither ended well nor raised, after a kill."""
    async with sdk.streaming(it, _SDK_STREAMS, "numbered-250") as readers:
        await readers.until_reading()
        await it.kill("caller", 0)
        seen = await readers.results()
    await it.restart("caller", 0)
    return sum(not one.exception and not one.finish_reason for one in seen)


async def _killed_before_the_first_token(run: Run) -> Result:
    rounds = run.count(5, 2)
    got: list[Request] = []
    model = "fault-numbered-5+slow-first-token-1500"
    async with broker(run) as nats, plant(run, nats, Shape(callers=2)) as it:
        with run.history() as history:
            for number in range(rounds):
                before = sum(one.requests for one in await it.totals())
                running = streams(it, history, 20, model)
                await _until_asked(it, before + 20)
                await it.kill("caller", number % 2)
                got += await asyncio.gather(*running)
                await it.restart("caller", number % 2)
            await it.judge(history)
            upstream = sum(one.requests for one in await it.totals())
    bad = failed(got)
    attempts = max((one.attempts or 0 for one in got), default=0)
    facts = {
        "requests": len(got),
        "kills": rounds,
        "failures": reasons(got),
        "upstream_attempts": upstream,
        "retried": sum((one.attempts or 0) > 1 for one in got),
        "slowest_s": max(one.duration_s for one in got),
    }
    held = not bad and attempts <= 2 and upstream <= 2 * len(got)
    return Result(f"{len(bad)} of {len(got)}; {attempts}", held, facts)


async def _until_asked(it: Plant, requests: int) -> None:
    async def holds() -> bool:
        return sum(one.requests for one in await it.totals()) >= requests

    await it.until(holds, 10.0, f"{requests} requests at the providers")


CLAIMS = (
    Claim(
        id="B4+D8",
        text="a caller is killed in mid-stream: p99 until its clients are told; "
        "streams cut without an error",
        bound=f"≤ {ERROR_WITHIN_S:g} s; 0",
        run=_killed_in_mid_stream,
    ),
    Claim(
        id="B5",
        text="a caller is killed before the first token: requests that fail; "
        "most attempts of one request",
        bound="0; ≤ 2",
        run=_killed_before_the_first_token,
    ),
)
