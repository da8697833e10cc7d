"""Clients that leave: in mid-stream, while they wait for a whole answer, and by half."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import at_most, http_request, leave
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.raw_http import RawConnection, raw_connection

P50_MS = 20.0
P99_MS = 250.0
_AT_ONCE = 25
_HALF_CLOSED = 40

When = Callable[[RawConnection], Awaitable[None]]


async def _leave_streams(run: Run) -> Result:
    """Each says a length of its own, by which its entry in the provider's book is found."""
    rng = run.random()
    count = run.count(1000, 200)
    shape = Shape(interval_ms=20)
    async with broker(run) as nats, plant(run, nats, shape) as it:

        def when(tokens: int, wait_s: float) -> When:
            async def heard(client: RawConnection) -> None:
                await client.read_until(f"t{tokens} ".encode(), 20.0)
                await asyncio.sleep(wait_s)

            return heard

        plans = [
            (f"numbered-{2_000 + number}", True, when(rng.randrange(1, 15), rng.uniform(0, 0.02)))
            for number in range(count)
        ]
        return await _closed_upstream(it, plans)


async def _leave_whole_answers(run: Run) -> Result:
    rng = run.random()
    count = run.count(1000, 200)
    async with broker(run) as nats, plant(run, nats, Shape(interval_ms=20)) as it:

        def when(wait_s: float) -> When:
            async def waited(_client: RawConnection) -> None:
                await asyncio.sleep(wait_s)

            return waited

        slow = "slow-first-token-60000"
        plans = [
            (f"fault-numbered-{number}+{slow}", False, when(rng.uniform(0.15, 0.4)))
            for number in range(1, 1 + count)
        ]
        return await _closed_upstream(it, plans)


async def _closed_upstream(it: Plant, plans: list[tuple[str, bool, When]]) -> Result:
    """What the providers' books say of clients that left, by their model's name."""
    bodies = [it.body(model, stream=stream) for model, stream, _ in plans]
    pairs = zip(bodies, plans, strict=True)
    left = at_most(_AT_ONCE, (leave(it, body, plan[2]) for body, plan in pairs))
    times_s = dict(zip((plan[0] for plan in plans), await left, strict=True))
    if await it.until_idle() is None:
        it.run.blame("requests are still open at the provider")
    waits_ms: list[float] = []
    never_asked = set(times_s)
    for entry in await it.entries():
        never_asked.discard(entry.model)
        if entry.client_closed_ms is None:
            it.run.blame(f"{entry.model} wasn't closed, but {entry.outcome}")
        else:
            waits_ms.append(max(0.0, entry.client_closed_ms - times_s[entry.model] * 1000))
    p50_ms, p99_ms = percentile(waits_ms, 50), percentile(waits_ms, 99)
    facts = {
        "clients": len(plans),
        "closed_upstream": len(waits_ms),
        "left_before_the_provider_was_asked": len(never_asked),
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "max_ms": max(waits_ms, default=0.0),
    }
    enough = len(waits_ms) >= 0.9 * len(plans)
    held = enough and p50_ms <= P50_MS and p99_ms <= P99_MS
    return Result(f"{p50_ms:.1f} ms; {p99_ms:.0f} ms", held, facts)


async def _half_closed(run: Run) -> Result:
    async with broker(run) as nats, plant(run, nats, Shape(interval_ms=20)) as it:
        got = await asyncio.gather(*(_half_close(it, one % 4 > 0) for one in range(_HALF_CLOSED)))
        closed = sum(one.client_closed for one in await it.totals())
    whole = sum(got)
    facts = {"clients": len(got), "whole": whole, "closed_upstream": closed}
    return Result(f"{len(got) - whole} of {len(got)}", whole == len(got) and not closed, facts)


async def _half_close(it: Plant, stream: bool) -> bool:
    """Sends FIN right after the request; whether the whole answer came."""
    async with raw_connection(it.port) as client:
        await client.send(http_request(it, it.body("numbered-100", stream=stream)))
        client.half_close()
        answer = await client.read_answer(20.0)
    whole = b"[DONE]" in answer.body if stream else b"t99 " in answer.body
    return answer.status == 200 and whole


CLAIMS = (
    Claim(
        id="B29+D15",
        text="1,000 clients leave in mid-stream: p50, p99 until the call to the provider is closed",
        bound=f"≤ {P50_MS:g} ms; ≤ {P99_MS:g} ms",
        run=_leave_streams,
    ),
    Claim(
        id="B30+D15",
        text="1,000 clients leave while they wait for a whole answer: p50, p99 until that call is "
        "closed",
        bound=f"≤ {P50_MS:g} ms; ≤ {P99_MS:g} ms",
        run=_leave_whole_answers,
    ),
    Claim(
        id="B31",
        text="clients close their sending half: answers that break",
        bound="0",
        run=_half_closed,
    ),
)
