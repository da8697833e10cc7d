"""More than the providers can take: what is still served, how soon the rest knows, and who pays."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from droveway.contracts.access import Key, Tenant
from droveway.contracts.config import Config
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import open_loop
from tests.prove.limits_clients import Answer, Clients, clients
from tests.prove.plant import Plant, Shape, broker, plant

CALLS = 20
"""What the provider takes at a time."""
ANSWER = "fault-numbered-3+slow-first-token-500"
LONG_ANSWER = "fault-numbered-3+slow-first-token-2500"
OVER = 5
NOISY = 100
QUIET_PER_S = 2.0
GOODPUT = 0.9
REFUSED_MS = 20.0
SLOWER = 1.5
_WARM_S = 2.0
_DEADLINE_S = 1.0


def _room(keys: Iterable[str] = ()) -> Callable[[Config], Config]:
    """The provider takes `CALLS` calls at a time; each key is another tenant's."""
    own = [(key, f"tenant-{number}") for number, key in enumerate(keys)]

    def configure(config: Config) -> Config:
        providers = tuple(
            msgspec.structs.replace(one, max_in_flight=CALLS) for one in config.providers
        )
        entries = (
            Key(id=parse_key(key).id, sha256=hash_key(key), tenant=tenant) for key, tenant in own
        )
        return msgspec.structs.replace(
            config,
            providers=providers,
            keys=(*config.keys, *entries),
            tenants=(*config.tenants, *(Tenant(id=tenant) for _, tenant in own)),
        )

    return configure


async def _overloaded(run: Run) -> Result:
    """The peak is measured first: as many clients as calls, each asks again at once."""
    async with (
        broker(run) as nats,
        plant(run, nats, Shape(configure=_room())) as it,
        clients(it) as asking,
    ):
        body = it.body(ANSWER)
        peak_per_s = await _peak(it, asking, run.count(6, 3))
        for_s = run.count(30, 8)
        began_s = time.monotonic()
        got = await open_loop(OVER * peak_per_s, for_s, lambda _: asking.ask(it.key, body))
    ended_ns = int((began_s + for_s) * 1e9)
    whole = [one for one in _since(got, began_s + _WARM_S) if one.answered_ns <= ended_ns]
    good_per_s = sum(one.status == 200 for one in whole) / (for_s - _WARM_S)
    refused = [one for one in got if one.status != 200]
    waits_ms = [one.took_s * 1000 for one in refused]
    share, p99_ms = good_per_s / peak_per_s, percentile(waits_ms, 99)
    facts = {
        "peak_per_s": peak_per_s,
        "asked_per_s": OVER * peak_per_s,
        "good_per_s": good_per_s,
        "answers": _answers(got),
        "refused_p50_ms": percentile(waits_ms, 50),
        "refused_p99_ms": p99_ms,
        "served_p50_ms": _p_ms(got, 50),
        "served_p99_ms": _p_ms(got, 99),
    }
    held = share >= GOODPUT and percentile(waits_ms, 50) <= REFUSED_MS and p99_ms <= REFUSED_MS
    return Result(f"{share:.0%}; {p99_ms:.0f} ms", held, facts)


async def _noisy(run: Run) -> Result:
    quiet, noisy = make_key("test"), make_key("test")
    shape = Shape(configure=_room((quiet, noisy)))
    async with broker(run) as nats, plant(run, nats, shape) as it, clients(it) as asking:
        body, for_s = it.body(ANSWER), run.count(40, 12)

        async def ask_quietly(_number: int) -> Answer:
            return await asking.ask(quiet, body)

        alone = await open_loop(QUIET_PER_S, for_s, ask_quietly)
        rng = run.random()
        noises = [
            it.body(f"fault-numbered-3+slow-first-token-{rng.randrange(300, 701)}")
            for _ in range(100)
        ]
        loud = asyncio.ensure_future(
            open_loop(
                NOISY * QUIET_PER_S, for_s + 2, lambda n: asking.ask(noisy, noises[n % len(noises)])
            )
        )
        await asyncio.sleep(1)
        beside = await open_loop(QUIET_PER_S, for_s, ask_quietly)
        noise = await loud
    refused = sum(one.status != 200 for one in (*alone, *beside))
    slower = _p_ms(beside, 99) / _p_ms(alone, 99)
    facts = {
        "alone_p50_ms": _p_ms(alone, 50),
        "alone_p99_ms": _p_ms(alone, 99),
        "beside_p50_ms": _p_ms(beside, 50),
        "beside_p99_ms": _p_ms(beside, 99),
        "answers": _answers(beside),
        "answers_to_the_noisy": _answers(noise),
    }
    held = slower <= SLOWER and not refused
    return Result(f"{slower:.2f}x; {refused} of {len(alone) + len(beside)}", held, facts)


async def _too_late(run: Run) -> Result:
    """Once all calls are taken; then also with the callers standing still."""
    count = run.count(200, 50)
    async with (
        broker(run) as nats,
        plant(run, nats, Shape(callers=2, configure=_room())) as it,
        clients(it) as asking,
    ):
        body = it.body(LONG_ANSWER)
        ask = (asking.ask(it.key, body) for _ in range(2 * CALLS))
        long_ones = [asyncio.ensure_future(one) for one in ask]
        await it.until(lambda: _open(it, 2 * CALLS), 10, "calls")
        late = await _hurried(it, asking, count)
        await asyncio.gather(*long_ones)
        for one in it["caller"]:
            one.pause()
        frozen = asyncio.ensure_future(_hurried(it, asking, count))
        await asyncio.sleep(3)
        for one in it["caller"]:
            one.resume()
        late += await frozen
        await it.until_idle()
        seen = len(await it.entries()) - len(long_ones)
    others = [one for one in late if one.status != 504]
    over_ms = [one.took_s * 1000 - _DEADLINE_S * 1000 for one in late]
    facts = {
        "answers": _answers(late),
        "seen_by_the_provider": seen,
        "late_p50_ms": percentile(over_ms, 50),
        "late_max_ms": max(over_ms),
    }
    measured = f"{seen} of {len(late)}; {len(others)}"
    return Result(measured, not seen and not others, facts)


async def _open(it: Plant, count: int) -> bool:
    return sum(one.open_requests for one in await it.totals()) >= count


async def _hurried(it: Plant, asking: Clients, count: int) -> list[Answer]:
    body = it.body("numbered-3")
    ask = (asking.ask(it.key, body, timeout_s=_DEADLINE_S) for _ in range(count))
    return list(await asyncio.gather(*ask))


async def _peak(it: Plant, asking: Clients, for_s: float) -> float:
    until_s = time.monotonic() + for_s
    body = it.body(ANSWER)

    async def ask_again() -> int:
        good = 0
        while time.monotonic() < until_s:
            good += (await asking.ask(it.key, body)).status == 200
        return good

    return sum(await asyncio.gather(*(ask_again() for _ in range(CALLS)))) / for_s


def _since(got: Iterable[Answer], at_s: float) -> list[Answer]:
    return [one for one in got if one.answered_ns >= at_s * 1e9]


def _p_ms(got: Iterable[Answer], share: float) -> float:
    return percentile([one.took_s * 1000 for one in got if one.status == 200], share)


def _answers(got: Iterable[Answer]) -> dict[str, int]:
    return dict(
        Counter("200" if one.status == 200 else f"{one.status} {one.error['code']}" for one in got)
    )


CLAIMS = (
    Claim(
        id="B46",
        text="five times as many requests as the provider can take: what is served, as a share of "
        "the peak; p99 until a refused one knows",
        bound=f"≥ {GOODPUT:.0%}; ≤ {REFUSED_MS:g} ms",
        run=_overloaded,
    ),
    Claim(
        id="B47",
        text="beside a tenant that asks 100 times as much and fills every call: p99 of another "
        "tenant; its requests that are refused",
        bound=f"≤ {SLOWER:g}x; 0",
        run=_noisy,
    ),
    Claim(
        id="B48",
        text="requests whose deadline passes while all calls are taken or all callers stand still: "
        "those that reach the provider; those that aren't answered with 504",
        bound="0; 0",
        run=_too_late,
    ),
)
