"""A provider that suddenly serves six of ten, and one that is gone: traffic goes to the other."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier
from droveway.contracts.usage import AttemptRecorded
from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, open_loop, reasons
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.accounts import attempts_of, stored_rows
from tests.support.fault_proxy import FaultProxy
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

SUCCESS = 0.999
MOVED_WITHIN_S = 5.0
BACK_WITHIN_S = 5.0
MOST_PROBES = 60
_PER_S = 40
_WELL = 200
"""Requests that the first provider serves before it falls."""
_STALL_S = 1.5
"""What stands for 28 s of silence: by then a first token has taken too long."""
_SLOW_S = 1.0
_FALLS = f"fault-numbered-6+silence+skip-{_WELL}+percent-39"
_FIRST, _SECOND = "numbered-6", "numbered-7"
_MOVED_SHARE = 0.1
"""Less than this of the requests from then on at the first provider: its traffic has moved."""
_CALM_S = 5.0


class _Link(FaultProxy):
    """Between callers and the first provider."""

    def lead(self, base_url: str) -> str:
        """Leads to that address; the one to use instead."""
        host, _, port = base_url.removeprefix("http://").removesuffix("/v1").partition(":")
        self._target = (host, int(port))
        return f"http://127.0.0.1:{self.port}/v1"


def _shape(first: str, lead: Callable[[str], str] = lambda url: url) -> Shape:
    """Route `m`: the first provider, then the second."""

    def configure(config: Config) -> Config:
        one, two = (_quick(provider) for provider in config.providers)
        one = msgspec.structs.replace(one, base_url=lead(one.base_url))
        tiers = tuple(
            Tier(targets=(RouteTarget(provider=provider.id, model=model),))
            for provider, model in ((one, first), (two, _SECOND))
        )
        return msgspec.structs.replace(
            config,
            providers=(one, two),
            routes=(Route(model="m", tiers=tiers),),
            health=msgspec.structs.replace(config.health, slow_s=_SLOW_S),
        )

    return Shape(routers=2, callers=2, simulators=2, configure=configure)


def _quick(provider: Provider) -> Provider:
    timeouts = msgspec.structs.replace(
        provider.timeouts, first_token_s=_STALL_S, total_s=2 * _STALL_S
    )
    return msgspec.structs.replace(provider, timeouts=timeouts)


async def _asked(it: Plant, history: History, for_s: float) -> list[Request]:
    def ask(number: int) -> "asyncio.Future[Request]":
        body = it.body("m", stream=number % 2 == 0)
        return asyncio.ensure_future(ask_raw(history, it.port, it.key, body))

    return await open_loop(_PER_S, for_s, ask)


async def _falls(run: Run) -> Result:
    async with broker(run) as nats, plant(run, nats, _shape(_FALLS)) as it:
        with run.history() as history:
            got = await _asked(it, history, run.count(60, 20))
            await it.judge(history)
        entries = await it.entries()
    first = [one for one in entries if one.model == _FALLS]
    fell_s = min(one.started_ms for one in first if one.fault) / 1000
    later_s = [one.started_ms / 1000 - fell_s for one in first if one.started_ms / 1000 >= fell_s]
    end_s = max(one.started_ms for one in entries) / 1000 - fell_s
    moved_s = _moved_s(later_s, end_s)
    served = 1 - len(failed(got)) / len(got)
    facts = {
        "requests": len(got),
        "seconds_after_it_fell": end_s,
        "at_the_first_since": len(later_s),
        "stalled": sum(one.fault is not None for one in first),
        "failures": reasons(got),
        "retried": sum((one.attempts or 0) > 1 for one in got),
        "p99_s": percentile([one.duration_s for one in got], 99),
    }
    held = moved_s <= MOVED_WITHIN_S and served >= SUCCESS
    return Result(f"{moved_s:.0f} s; {100 * served:.2f} %", held, facts)


def _moved_s(at_first_s: Sequence[float], end_s: float) -> float:
    """From which second on the first provider gets but little of what is asked."""
    for second in range(int(end_s)):
        since = sum(one >= second for one in at_first_s)
        if since < _MOVED_SHARE * _PER_S * (end_s - second):
            return float(second)
    return end_s


async def _gone(run: Run) -> Result:
    away_s = run.count(60, 10)
    async with (
        broker(run) as nats,
        _Link("127.0.0.1", 0) as link,
        plant(run, nats, _shape(_FIRST, link.lead)) as it,
    ):
        with run.history() as history:
            got, returned_s = await _without_the_first(it, history, link, away_s)
            await it.judge(history)
        entries = await it.entries()
        rows = attempts_of(await stored_rows(nats))
    since_s = [one.started_ms / 1000 - returned_s for one in entries if one.model == _SECOND]
    back_s = max(0.0, *since_s)
    probes = sum(_failed_at_the_first(row) for row in rows)
    unserved = [one for one in failed(got) if not one.tokens]
    facts = {
        "requests": len(got),
        "away_s": away_s,
        "at_the_second": len(since_s),
        "at_the_first": len(entries) - len(since_s),
        "failures": reasons(got),
        "cut_in_mid_stream": len(failed(got)) - len(unserved),
        "retried": sum((one.attempts or 0) > 1 for one in got),
    }
    held = not unserved and probes <= MOST_PROBES and back_s <= BACK_WITHIN_S
    return Result(f"{len(unserved)} of {len(got)}; {probes}; {back_s:.1f} s", held, facts)


async def _without_the_first(
    it: Plant, history: History, link: _Link, away_s: float
) -> tuple[list[Request], float]:
    """All answers, and when the first provider came back."""
    asking = asyncio.ensure_future(_asked(it, history, away_s + 3 * _CALM_S))
    await asyncio.sleep(_CALM_S)
    link.refuse()
    link.reset()
    await asyncio.sleep(away_s)
    link.heal()
    returned_s = asyncio.get_running_loop().time()
    return await asking, returned_s


def _failed_at_the_first(row: AttemptRecorded) -> bool:
    return row.model == _FIRST and row.outcome == "failed"


CLAIMS = (
    Claim(
        id="R112",
        text="a provider falls from all to 61 % of its answers, the others stall: its traffic has "
        "moved; requests that succeed",
        bound=f"≤ {MOVED_WITHIN_S:g} s; ≥ {100 * SUCCESS:g} %",
        run=_falls,
    ),
    Claim(
        id="B36",
        text="a provider is gone for 60 s: requests that fail; attempts at it meanwhile; after its "
        "return all its traffic is back",
        bound=f"0; ≤ {MOST_PROBES}; ≤ {BACK_WITHIN_S:g} s",
        run=_gone,
    ),
)
