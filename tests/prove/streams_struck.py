"""Twenty thousand streams of all clients, while everything that may break does."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from droveway.contracts.config import Config
from droveway.runtime.api_key import parse_key
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import reasons, streams
from tests.prove.plant import Plant, Shape, broker, plant
from tests.prove.streams_clients import ask_all, available, gathered
from tests.prove.streams_nemesis import nemesis
from tests.prove.streams_plan import draw
from tests.support.checker import USUAL, Growth, grown
from tests.support.history import History
from tests.support.nats_proxy import NatsProxy

STREAMS = 20_000
_ASKED = {
    "raw-1": 9_000,
    "raw-2": 9_000,
    "bus": 5_000,
    "openai1": 2_000,
    "openai3": 2_000,
    "anthropic2": 2_000,
}
"""More than are wanted: some don't begin, and each client asks for as long as there is time."""
_QUICK = {"raw-1": 400, "raw-2": 400, "bus": 200, "openai1": 50, "openai3": 50, "anthropic2": 50}
_AT_ONCE = {
    "raw-0": 24,
    "raw-1": 40,
    "raw-2": 40,
    "bus": 40,
    "openai1": 8,
    "openai3": 8,
    "anthropic2": 8,
}
_WARM_UP = {"raw-0": 200}
_CALM = 50
_FAULTY = 0.1
_LEAVING = 0.05
_ASKED_FOR_S = 225
_MIB = 1_048_576
_ALLOWED: Growth = {
    "rss_bytes of limiter-*": 96.0 * _MIB,
    **USUAL,
    "rss_bytes *": 48.0 * _MIB,
    "fds of *": 16.0,
    "threads of *": 4.0,
    "droveway_limiter_remembered{*": math.inf,
    "droveway_health_opened{*": math.inf,
}
"""Against a run of 200: connections are kept, rows cached, decisions remembered, all bounded; what
failed is left alone until somebody asks for it again."""


async def _struck(run: Run) -> Result:
    counts = _QUICK if run.quick else _ASKED
    counts = {name: n for name, n in counts.items() if name.partition("-")[0] in available()}
    async with broker(run) as nats, NatsProxy.before(nats.url, seed=run.seed) as proxy:
        shape = Shape(
            gateways=2, routers=2, callers=2, interval_ms=2, configure=_impatient,
            links=dict.fromkeys(("gateway", "router", "caller"), proxy.url),
        )  # fmt: skip
        async with plant(run, nats, shape) as it:
            await asyncio.to_thread(nats.add_key_user, parse_key(it.key).id)
            with run.history() as history:
                gathered(history, await _ask(it, _WARM_UP, faulty=0.0))
                watched = it.watched()
                before = await watched.snapshot()
                async with nemesis(it, proxy, history).running():
                    paths = await _ask(it, counts, faulty=_FAULTY)
                gathered(history, paths)
                calm = await asyncio.gather(*streams(it, history, _CALM, "numbered-20"))
                wrong = await it.judge(history)
                after = await it.watched().settled(before, _ALLOWED)
                run.violations += [f"I6 {one}" for one in grown(before, after, _ALLOWED)]
    facts = _facts(history)
    facts["failed_afterwards"] = reasons(calm)
    facts["faults"] = dict(proxy.statistics.faults)
    facts["messages"] = dict(sum((rule.counts for rule in proxy.rules), Counter[str]()))
    enough = facts["began"] >= (0 if run.quick else STREAMS)
    held = enough and facts["complete"] > facts["began"] / 2 and not facts["failed_afterwards"]
    strikes = sum(facts["strikes"].values())
    return Result(f"{len(wrong)} of {facts['began']:,}; {strikes}", held, facts)


def _impatient(config: Config) -> Config:
    """Providers that stall are given up in less time than a run has."""
    providers = tuple(
        msgspec.structs.replace(
            one, timeouts=msgspec.structs.replace(one.timeouts, idle_s=1.5, first_token_s=3.0)
        )
        for one in config.providers
    )
    return msgspec.structs.replace(config, providers=providers)


async def _ask(it: Plant, counts: Mapping[str, int], *, faulty: float) -> list[Path]:
    """Streams of each client; those of HTTP at both gateways."""
    rng = it.run.random("streams")
    ports = [gateway.port for gateway in it["gateway"]]
    leaving = _LEAVING if faulty else 0.0
    asks = {
        name: draw(rng, count, ports, faulty=faulty, leaving=leaving)
        for name, count in counts.items()
    }
    return await ask_all(it, asks, at_once=_AT_ONCE, until_s=time.monotonic() + _ASKED_FOR_S)


def _facts(history: History) -> dict[str, Any]:
    began = [one for one in history.requests if one.tokens]
    strikes = Counter(one.name for one in history.strikes if one.phase == "begins")
    return {
        "asked": len(history.requests),
        "began": len(began),
        "complete": len(history.with_terminal("done")),
        "tokens": sum(one.text.count(" ") for one in began),
        "began_by_client": dict(Counter(one.client for one in began)),
        "ends": {client: _ends(history, client) for client in {one.client for one in began}},
        "strikes": dict(strikes),
        "longest_pause_s": max(one.longest_pause_s for one in began),
    }


def _ends(history: History, client: str) -> dict[str, int]:
    """How a client's streams that had begun have ended."""
    found = [one for one in history.requests if one.client == client and one.tokens]
    left = sum(one.body == "left" for one in found)
    return {**dict(Counter(one.terminal for one in found if one.body != "left")), "left": left}


CLAIMS = (
    Claim(
        id="D4",
        text=f"{STREAMS:,} streams of raw clients, openai-python 1 and 3, anthropic 2 and our bus "
        "client while processes and the broker are killed, links reset, messages lost and "
        "repeated, providers break and clients leave: gaps, repeats, swaps, silent truncations; "
        "strikes",
        bound="0; -",
        run=_struck,
    ),
)
