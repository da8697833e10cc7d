"""The same by HTTP: many keys through four gateways and three routers."""

import asyncio
import time
from collections import Counter
from typing import Any

import msgspec

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.prove.claim import Run
from tests.prove.limits_clients import Clients, clients
from tests.prove.limits_judge import judge_log, judge_told, not_in_log
from tests.prove.limits_plan import Customer, Told
from tests.prove.limits_rules import COMMON, PLENTY, Rules
from tests.prove.limits_world import following
from tests.prove.plant import Plant, Shape, broker, plant

_KEYS = 24
_IN_FLIGHT = 48
_MODEL = "numbered-1"
_WINDOWS_S = (0.5, 1.0, 2.0)


class _Keys:
    """Keys with limits on requests, made when the configuration is written."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.config: Config | None = None

    def configure(self, base: Config) -> Config:
        self.keys = [make_key("test") for _ in range(_KEYS)]
        entries = tuple(
            Key(
                id=parse_key(key).id,
                sha256=hash_key(key),
                limits=(
                    Limit(requests=10 + 3 * number, window_s=_WINDOWS_S[number % 3]),
                    Limit(requests=PLENTY, window_s=60),
                ),
            )
            for number, key in enumerate(self.keys)
        )
        self.config = msgspec.structs.replace(base, keys=(*base.keys, *entries))
        return self.config


async def burst_over_http(run: Run, requests: int) -> tuple[list[str], dict[str, Any]]:
    """Asks so many requests; what was admitted beyond a limit."""
    keys = _Keys()
    shape = Shape(gateways=4, routers=3, limiters=3, interval_ms=0.1, configure=keys.configure)
    async with broker(run) as nats, plant(run, nats, shape) as it, following(nats) as written:
        began_s = time.monotonic()
        told, statuses = await _ask_all(it, keys.keys, requests)
        took_s = time.monotonic() - began_s
    assert keys.config is not None
    rules = Rules(keys.config)
    customers = [Customer(parse_key(key).id, "default") for key in keys.keys]
    by_clients = judge_told(told, customers, rules)
    by_log = judge_log(written, rules.limits())
    other = sum(count for status, count in statuses.items() if status not in {200, 429})
    if other:
        run.blame(f"{other} requests got neither 200 nor 429: {dict(statuses)}")
    if missing := not_in_log(told, written):
        run.blame(f"{len(missing)} requests were served and don't stand in the limiter's log")
    facts = {
        "requests": requests,
        "statuses": dict(statuses),
        "seconds": round(took_s, 1),
        "fullest_percent": round(by_clients.fullest_percent, 1),
        "admissions_in_the_log": by_log.admitted,
    }
    return by_clients.over + by_log.over, facts


async def _ask_all(it: Plant, keys: list[str], requests: int) -> tuple[list[Told], Counter[int]]:
    told: list[Told] = []
    statuses: Counter[int] = Counter()
    numbers = iter(range(requests))
    rng = it.run.random("keys")

    async def work(asking: Clients) -> None:
        for _ in numbers:
            which = rng.randrange(len(keys))
            got = await asking.ask(keys[which], it.body(_MODEL))
            statuses[got.status] += 1
            if got.status == 200:
                name = got.headers["x-request-id"]
                told.append(Told(name, which, COMMON, -1, got.asked_ns, got.answered_ns, 0, 0, 0))

    async with clients(it) as asking, asyncio.TaskGroup() as group:
        for _ in range(_IN_FLIGHT):
            group.create_task(work(asking))
    return told, statuses
