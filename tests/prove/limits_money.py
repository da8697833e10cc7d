"""Budgets: a hundred requests at once don't spend more than there is."""

import asyncio
from collections import Counter
from typing import Any

import msgspec

from droveway.contracts.access import Budget, Key
from droveway.contracts.config import Config, Price
from droveway.contracts.jetstream import USAGE
from droveway.contracts.usage import AttemptRecorded, rows_of
from droveway.runtime.api_key import hash_key, make_key, parse_key
from droveway.runtime.bus.direct_get import reading
from tests.prove.claim import Claim, Result, Run
from tests.prove.limits_clients import MESSAGES, Answer, Clients, clients
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.nats import NatsServer

BUDGET_USD = 1.0
AT_ONCE = 100
_NANO = 10**9
_USD_PER_MILLION = 300.0
_MOST_TOKENS = 100
_ROWS_WITHIN_S = 10.0
_PATTERN = "droveway.v1.usage.*"


class _Keys:
    """Keys with a budget of a dollar, and what an answer costs."""

    def __init__(self, count: int) -> None:
        self.keys = [make_key("test") for _ in range(count)]

    def configure(self, base: Config) -> Config:
        price = Price(input=0.0, output=_USD_PER_MILLION)
        providers = tuple(
            msgspec.structs.replace(one, prices={"numbered-*": price}) for one in base.providers
        )
        budgets = (Budget(usd=BUDGET_USD, period="total"),)
        entries = (
            Key(id=parse_key(key).id, sha256=hash_key(key), budgets=budgets) for key in self.keys
        )
        return msgspec.structs.replace(base, providers=providers, keys=(*base.keys, *entries))


async def _a_dollar(run: Run) -> Result:
    keys = _Keys(run.count(10, 2))
    shape = Shape(gateways=2, routers=2, limiters=2, interval_ms=2.0, configure=keys.configure)
    served: Counter[str] = Counter()
    refused: list[Answer] = []
    last_ones: list[Answer] = []
    async with broker(run) as nats, plant(run, nats, shape) as it, clients(it) as asking:
        for number, key in enumerate(keys.keys):
            got = await _at_once(it, asking, key, number)
            served[parse_key(key).id] = sum(one.status == 200 for one in got)
            refused += [one for one in got if one.status != 200]
            last_ones += await _until_spent(it, asking, key, served)
        spent = await _spent(nats, served)
    strange = [one for one in refused if not _is_refusal(one, 429)]
    strange += [one for one in last_ones[::2] if not _is_refusal(one, 429)]
    strange += [one for one in last_ones[1::2] if not _is_refusal(one, 402)]
    most, least = max(spent.values()) / _NANO, min(spent.values()) / _NANO
    facts: dict[str, Any] = {
        "keys": len(spent),
        "spent_usd": sorted(one / _NANO for one in spent.values()),
        "served": sorted(served.values()),
        "refused": len(refused),
        "strange": [
            (one.status, one.body.decode()[:300], dict(one.headers)) for one in strange[:3]
        ],
    }
    one_usd = _MOST_TOKENS * _USD_PER_MILLION / 1e6
    held = most <= BUDGET_USD and least > BUDGET_USD - one_usd and not strange
    return Result(f"${most:.3f}; {len(strange)} of {len(refused) + len(last_ones)}", held, facts)


async def _at_once(it: Plant, asking: Clients, key: str, number: int) -> list[Answer]:
    """All at once; each says how long its answer may be, and some answers are shorter."""
    rng = it.run.random(f"answers/{number}")
    bodies = []
    for _ in range(AT_ONCE):
        answer = rng.randint(_MOST_TOKENS // 2, _MOST_TOKENS)
        bodies.append(it.body(f"numbered-{answer}", max_tokens=_MOST_TOKENS))
    return await asyncio.gather(*(asking.ask(key, body) for body in bodies))


async def _until_spent(it: Plant, asking: Clients, key: str, served: Counter[str]) -> list[Answer]:
    """One after the other until none is served; then what either API says of the next one."""
    body = it.body(f"numbered-{_MOST_TOKENS}", max_tokens=_MOST_TOKENS)
    while (got := await asking.ask(key, body)).status == 200:
        served[parse_key(key).id] += 1
    return [got, await asking.ask(key, body, MESSAGES)]


def _is_refusal(got: Answer, status: int) -> bool:
    code = got.error.get("code") or got.error.get("details", {}).get("error_code")
    told = got.headers.get("x-should-retry") == "false" or status == 402
    return got.status == status and code == "insufficient_quota" and told


async def _spent(nats: NatsServer, served: Counter[str]) -> dict[str, int]:
    """What the rows of each key's attempts cost together, once all are stored."""
    async with nats.bus("operator") as bus, reading(bus, USAGE, 5) as reader:
        until_s = asyncio.get_running_loop().time() + _ROWS_WITHIN_S
        while True:
            rows: list[AttemptRecorded] = []
            first, complete = 1, False
            while not complete:
                page = await reader.page(_PATTERN, first, 256, 1024 * 1024)
                found = [row for one in page.messages for row in rows_of(one.payload)]
                rows += [one for one in found if isinstance(one, AttemptRecorded)]
                complete = page.complete or not page.messages
                first = page.messages[-1].sequence + 1 if page.messages else first
            if len(rows) >= sum(served.values()):
                break
            assert asyncio.get_running_loop().time() < until_s, f"{len(rows)} of {served}"
            await asyncio.sleep(0.1)
    spent = dict.fromkeys(served, 0)
    for row in rows:
        spent[row.key_id] += round(row.usage.output_tokens * _USD_PER_MILLION * 1000)
    return spent


CLAIMS = (
    Claim(
        id="R83",
        text=f"{AT_ONCE} requests at once by keys with a budget of ${BUDGET_USD:g}: the most that "
        "one has spent; refusals that don't say `insufficient_quota` (429, Anthropic's API 402) "
        "and not to retry",
        bound=f"≤ ${BUDGET_USD:g}; 0",
        run=_a_dollar,
    ),
)
