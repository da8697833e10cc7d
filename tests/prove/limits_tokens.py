"""Limits on tokens: never overspent by requests at the same time, and well used under demand."""

import asyncio
from collections import Counter
from typing import Any

import msgspec

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config
from droveway.runtime.api_key import hash_key, make_key, parse_key
from droveway.simulator.book import Entry
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import open_loop
from tests.prove.limits_clients import Answer, Clients, clients
from tests.prove.limits_judge import judge_log
from tests.prove.limits_rules import Rules
from tests.prove.limits_world import following
from tests.prove.plant import Plant, Shape, broker, plant

TOKENS = 100
AT_ONCE = 5
USED_PERCENT = 95.0
_WIDE_TOKENS, _WIDE_S = 2_000, 2.0
_TIMES_DEMAND = 4
_ANSWER = 12
_EACH_TOKENS = 19
"""Of an answer of that length and of the plant's prompt, as the provider counts them."""


class _Keys:
    """Keys with few tokens, and one with more."""

    def __init__(self, count: int) -> None:
        self.narrow = [make_key("test") for _ in range(count)]
        self.wide = make_key("test")
        self.config: Config | None = None

    def configure(self, base: Config) -> Config:
        few = (Limit(tokens=TOKENS, window_s=60),)
        more = (Limit(tokens=_WIDE_TOKENS, window_s=_WIDE_S),)
        entries = [_entry(key, few) for key in self.narrow] + [_entry(self.wide, more)]
        self.config = msgspec.structs.replace(base, keys=(*base.keys, *entries))
        return self.config


def _entry(key: str, limits: tuple[Limit, ...]) -> Key:
    return Key(id=parse_key(key).id, sha256=hash_key(key), limits=limits)


async def _tokens(run: Run) -> Result:
    keys = _Keys(2 * run.count(20, 4))
    shape = Shape(gateways=2, routers=2, interval_ms=2.0, configure=keys.configure)
    async with (
        broker(run) as nats,
        plant(run, nats, shape) as it,
        following(nats) as written,
        clients(it) as asking,
    ):
        spent, statuses = await _five_at_once(it, asking, keys.narrow)
        await it.clear_books()
        used_percent, demand = await _under_demand(it, asking, keys.wide, run.count(5, 2))
    assert keys.config is not None
    over = judge_log(written, Rules(keys.config).limits()).over
    facts: dict[str, Any] = {
        "most_settled": max(spent),
        "keys": len(spent),
        "settled": sorted(spent),
        "statuses_of_five": {str(status): count for status, count in statuses.items()},
        "statuses_under_demand": {str(status): count for status, count in demand.items()},
        "used_percent": used_percent,
        "over": over[:10],
    }
    held = max(spent) <= TOKENS and min(spent) > 0 and used_percent >= USED_PERCENT and not over
    measured = f"{max(spent)}; {used_percent:.1f} %; {len(over)}"
    return Result(measured, held and not _strange(statuses + demand), facts)


async def _five_at_once(
    it: Plant, asking: Clients, keys: list[str]
) -> tuple[list[int], Counter[int]]:
    """Tokens that each key's requests used together, by the provider's book."""
    rng = it.run.random("answers")
    spent: list[int] = []
    statuses: Counter[int] = Counter()
    for number, key in enumerate(keys):
        await it.clear_books()
        answer = rng.randint(10, 65)  # with its input it fits
        known = {"max_tokens": answer} if number % 2 else {}
        body = it.body(f"numbered-{answer}", **known)
        got = await asyncio.gather(*(asking.ask(key, body) for _ in range(AT_ONCE)))
        statuses.update(one.status for one in got)
        await it.until_idle()
        spent.append(sum(map(_used, await it.entries())))
    return spent, statuses


async def _under_demand(
    it: Plant, asking: Clients, key: str, windows: int
) -> tuple[float, Counter[int]]:
    """How much of the limit is used when several times as much is wanted; without the first one."""
    body = it.body(f"numbered-{_ANSWER}", max_tokens=_ANSWER)
    per_s = _TIMES_DEMAND * _WIDE_TOKENS / _WIDE_S / _EACH_TOKENS

    async def one(_number: int) -> Answer:
        return await asking.ask(key, body)

    got = await open_loop(per_s, (windows + 1) * _WIDE_S, one)
    await it.until_idle()
    entries = await it.entries()
    began_ms = min(one.started_ms for one in entries)
    until_ms = began_ms + windows * _WIDE_S * 1000
    tokens = sum(_used(one) for one in entries if one.started_ms < until_ms)
    return 100 * tokens / (windows * _WIDE_TOKENS), Counter(one.status for one in got)


def _used(entry: Entry) -> int:
    return entry.usage.total_tokens if entry.usage is not None else 0


def _strange(statuses: Counter[int]) -> bool:
    return bool(statuses.keys() - {200, 429})


CLAIMS = (
    Claim(
        id="D13",
        text=f"{AT_ONCE} requests at once, with and without `max_tokens`, by keys with {TOKENS} "
        f"tokens per minute: most tokens that a key used; share of a limit that is used at "
        f"{_TIMES_DEMAND} times the demand; windows with more than their limit",
        bound=f"≤ {TOKENS}; ≥ {USED_PERCENT:g} %; 0",
        run=_tokens,
    ),
)
