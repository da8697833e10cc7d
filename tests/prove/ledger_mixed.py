"""A mixed day in little: every request and attempt, token and nano-dollar is in the ledger once."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from droveway.contracts.config import Config, Route, RouteTarget, Tier, Timeouts
from droveway.simulator.book import Entry
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import at_most, leave
from tests.prove.ledger_reading import Ledger, caught_up, cost_differences, lost_or_repeated
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.accounts import attempts_of, stored_rows
from tests.support.history import History
from tests.support.history_clients import ask_raw
from tests.support.raw_http import RawConnection

_AT_ONCE = 40
_CAUGHT_UP_S = 30.0
_KILLS = 20
_LONG_PROMPT = "A cached prefix, long enough to be one. " * 150
_GONE = 499
_SETTLE_S = 10.0
_LEAVES_WITHIN_S = 8.0
_UNSPARED = {"DROVEWAY_CALLER_MAX_COOLDOWN_S": "0"}


class _Kind(NamedTuple):
    """One sort of request, and how many of a hundred are of it."""

    share: int
    model: str
    long: bool = False
    leaves_after: str = ""
    """The client leaves once it has seen this."""


_MIX = (
    _Kind(24, "gpt-4o"),
    _Kind(16, "gpt-4.1"),
    _Kind(14, "gpt-4o-mini", long=True),
    _Kind(10, "numbered-40"),
    _Kind(4, "fault-400"),
    _Kind(3, "fault-429"),
    _Kind(3, "fault-500"),
    _Kind(7, "detour"),
    _Kind(5, "fault-numbered-4+no-usage"),
    _Kind(4, "fault-numbered-9+cut-after-3"),
    _Kind(3, "fault-numbered-9+error-after-2"),
    _Kind(5, "numbered-3000", leaves_after="t3"),
    _Kind(2, "fault-numbered-3+slow-first-token-20000", leaves_after=""),
)
_SLOW = "slow-first-token"


def _configure(config: Config) -> Config:
    first, second = (provider.id for provider in config.providers)
    detour = Route(
        model="detour",
        tiers=(
            Tier(targets=(RouteTarget(provider=first, model="fault-503"),)),
            Tier(targets=(RouteTarget(provider=second, model="numbered-7"),)),
        ),
    )
    providers = tuple(
        msgspec.structs.replace(one, timeouts=Timeouts(first_token_s=30.0, idle_s=3.0))
        for one in config.providers
    )
    return msgspec.structs.replace(config, providers=providers, routes=(detour, *config.routes))


async def _mixed(run: Run) -> Result:
    count = run.count(10_000, 600)
    shape = Shape(
        gateways=2,
        routers=2,
        callers=2,
        simulators=2,
        interval_ms=1,
        environment=_UNSPARED,
        configure=_configure,
    )
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:
            statuses = await _ask_all(it, history, _plan(run.random(), count))
            await it.until_idle()
            entries = await it.entries()
            rows = await _whole(it, count, len(entries))
            ledger = await caught_up(_path(it), rows, _CAUGHT_UP_S)
            miscounted = await _miscounted(it, statuses, ledger)
            await it.judge(history)
    told, counted = _told(entries), _counted(ledger)
    wrong_rows = abs(len(ledger.attempts) - len(entries)) + lost_or_repeated(ledger, rows)
    wrong_tokens = sum(((told - counted) + (counted - told)).values())
    nano = sum(cost_differences(ledger))
    facts = {
        "requests": count,
        "attempts": len(entries),
        "estimated": sum(one.usage[5] for one in ledger.attempts),
        "cached_tokens": sum(one.usage[2] for one in ledger.attempts),
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "cost_usd": ledger.summed_cost_nano_usd / 1e9,
        "wrong_rows": wrong_rows,
        "answers_with_other_tokens": wrong_tokens,
        "nano_usd": nano,
        "miscounted": miscounted,
    }
    held = not (wrong_rows or wrong_tokens or nano or miscounted)
    return Result(f"{wrong_rows}; {wrong_tokens}; {nano}; {miscounted}", held, facts)


async def _killed(run: Run) -> Result:
    kills = run.count(_KILLS, 3)
    shape = Shape(
        callers=2, simulators=2, interval_ms=2, environment=_UNSPARED, configure=_configure
    )
    async with broker(run) as nats, plant(run, nats, shape) as it:
        plan = _plan(run.random(), run.count(10_000, 900))
        history = run.history()
        with history:
            striking = asyncio.ensure_future(_strike(it, run.random("when"), kills))
            statuses: Counter[int] = Counter()
            for start in range(0, len(plan), 200):
                statuses += await _ask_all(it, history, plan[start : start + 200])
            while not striking.done():
                statuses += await _ask_all(it, history, _plan(run.random("more"), 100))
            await striking
            await it.judge(history)
        rows = await stored_rows(nats)
        ledger = await caught_up(_path(it), rows, _CAUGHT_UP_S)
    wrong = lost_or_repeated(ledger, rows)
    facts = {
        "kills_of_metrics": kills,
        "kills_of_the_broker": kills,
        "requests": sum(statuses.values()),
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "attempts": len(attempts_of(rows)),
        "nano_usd": sum(cost_differences(ledger)),
    }
    held = not wrong and not facts["nano_usd"]
    return Result(f"{wrong} of {len(ledger.attempts) + len(ledger.request_ids)}", held, facts)


async def _strike(it: Plant, rng: random.Random, kills: int) -> None:
    """Metrics and the broker in turn, at moments that nobody knows."""
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.2, 1.2))
        await it.kill("metrics")
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        await it.restart("metrics")
        await asyncio.sleep(rng.uniform(0.2, 1.2))
        await asyncio.to_thread(it.nats.kill)
        await asyncio.to_thread(it.nats.start)
        await asyncio.gather(*(one.until_ready(20.0) for one in it))


def _plan(rng: random.Random, count: int) -> list[tuple[_Kind, bool]]:
    kinds = rng.choices(_MIX, [kind.share for kind in _MIX], k=count)
    return [(kind, rng.random() < 0.5) for kind in kinds]


async def _ask_all(it: Plant, history: History, plan: list[tuple[_Kind, bool]]) -> Counter[int]:
    """The status that each client saw; of those that left what it should be."""
    ports = [member.port for member in it["gateway"]]
    work = (
        _one(it, history, kind, stream, ports[number % len(ports)])
        for number, (kind, stream) in enumerate(plan)
    )
    return Counter(await at_most(_AT_ONCE, work))


async def _one(it: Plant, history: History, kind: _Kind, stream: bool, port: int) -> int:
    fields: dict[str, Any] = {}
    if kind.long:
        fields["messages"] = [{"role": "user", "content": _LONG_PROMPT}]
    if kind.leaves_after or _SLOW in kind.model:
        body = it.body(kind.model, stream=True, **fields)
        with contextlib.suppress(TimeoutError, OSError, EOFError):  # the broker may be away
            await leave(it, body, _when(kind.leaves_after))
        return _GONE
    body = it.body(kind.model, stream=stream, **fields)
    return (await ask_raw(history, port, it.key, body)).status or 0


def _when(said: str) -> Callable[[RawConnection], Awaitable[None]]:
    async def seen(client: RawConnection) -> None:
        if said:
            await client.read_until(said.encode(), _LEAVES_WITHIN_S)
        else:
            await asyncio.sleep(0.1)

    return seen


async def _whole(it: Plant, requests: int, attempts: int) -> list[Any]:
    """All rows of the stream, once they are as many as they should be, or after a while."""
    until_s = asyncio.get_running_loop().time() + _SETTLE_S
    while True:
        rows = await stored_rows(it.nats)
        late = asyncio.get_running_loop().time() > until_s
        if len(rows) >= requests + attempts or late:
            return rows
        await asyncio.sleep(0.2)


async def _miscounted(it: Plant, statuses: Counter[int], ledger: Ledger) -> int:
    """Counters that differ from what clients saw and the ledger has."""
    counted: Counter[int] = Counter()
    for member in it["gateway"]:
        for labels, value in await member.samples("ai_api_requests_total"):
            counted[int(labels["status"])] += int(value)
    wrong = sum(((counted - statuses) + (statuses - counted)).values())
    metrics = it["metrics"][0]
    tokens = sum(one.usage[0] + one.usage[1] for one in ledger.attempts)
    shown = sum(
        value
        for labels, value in await metrics.samples("ai_api_tokens_total")
        if labels["type"] in ("input", "output")
    )
    cost = await metrics.metric("ai_api_cost_total")
    wrong += shown != tokens
    return wrong + (round(cost * 1e9) != ledger.summed_cost_nano_usd)


def _path(it: Plant) -> Any:
    return it["metrics"][0].database


def _told(entries: list[Entry]) -> Counter[tuple[str, int, int, int]]:
    """What providers told, by model: input, output and cached tokens of each answer."""
    return Counter(
        (
            entry.model,
            entry.usage.prompt_tokens,
            entry.usage.completion_tokens,
            entry.usage.prompt_tokens_details.cached_tokens,
        )
        for entry in entries
        if entry.usage is not None
    )


def _counted(ledger: Ledger) -> Counter[tuple[str, int, int, int]]:
    """What the ledger has of answers whose tokens were told."""
    return Counter(
        (one.model, one.usage[0], one.usage[1], one.usage[2])
        for one in ledger.attempts
        if not one.usage[5] and any(one.usage[:2])
    )


CLAIMS = (
    Claim(
        id="D14",
        text="10,000 mixed requests (streams, errors, retries, cached prompts, cuts, clients that "
        "leave): rows that differ from the providers' books; answers with other tokens; "
        "nano-dollars that differ from a recount; counters that differ from what clients saw",
        bound="0; 0; 0; 0",
        run=_mixed,
    ),
    Claim(
        id="B8",
        text="metrics and the broker are killed 20 times each under such a load: "
        "rows that the ledger has lost or has twice",
        bound="0",
        run=_killed,
    ),
)
