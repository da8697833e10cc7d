"""Answers that never end: what they cost the caller until it ends them."""

import asyncio
from typing import NamedTuple

from droveway.simulator.book import Entry
from droveway.simulator.floods import FLOODS
from tests.bench.system import pss_kib
from tests.prove.claim import Claim, Result, Run
from tests.prove.plant import Plant, Shape, broker, plant
from tests.prove.upstream_world import TOKENS
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

STREAM_MIB = 8.0
WHOLE_MIB = 64.0 + STREAM_MIB
"""An answer that isn't streamed is held until it is whole: `max_answer_bytes`, and as above."""
WITHIN_S = 5.0
_EVERY_S = 0.01
_MIB = 128
_WARM = 100


class _Flood(NamedTuple):
    """One answer without end."""

    model: str
    stream: bool


def _floods() -> list[_Flood]:
    kinds = [f"flood-{kind}+mib-{_MIB}" for kind in FLOODS]
    begun = [f"fault-numbered-{TOKENS}+flood-after-2+{kind}" for kind in kinds]
    bare = [f"fault-flood-after-0+{kind}" for kind in (*kinds, f"{kinds[0]}+gzip")]
    whole = [f"fault-flood-after-0+{kind}" for kind in (kinds[0], kinds[2], f"{kinds[0]}+gzip")]
    return [
        *(_Flood(model, True) for model in (*begun, *bare)),
        *(_Flood(model, False) for model in whole),
    ]


async def _endless(run: Run) -> Result:
    floods = _floods()
    shape = Shape(interval_ms=1)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:
            for number in range(_WARM):
                await ask_raw(
                    history, it.port, it.key, it.body("numbered-5", stream=number % 2 == 0)
                )
            grown: dict[_Flood, float] = {}
            got: list[Request] = []
            for _ in range(run.count(3, 1)):
                for flood in floods:
                    grown[flood] = max(grown.get(flood, 0.0), await _costs(it, history, flood, got))
            await it.judge(history)
        taken_whole = [one.model for one in await it.entries() if _is_swallowed(one)]
    well = [one for one in got if one.terminal != "error"]
    streamed = max(mib for flood, mib in grown.items() if flood.stream)
    whole = max(mib for flood, mib in grown.items() if not flood.stream)
    slowest_s = max(one.duration_s for one in got)
    facts = {
        "requests": len(got),
        "not_told": [f"{one.model}: {one.terminal}" for one in well],
        "read_to_the_end": taken_whole,
        "grown_mib": {f"{one.model} ({one.stream})": round(mib, 1) for one, mib in grown.items()},
        "took_s": {one.model: round(one.duration_s, 2) for one in got},
    }
    held = not (well or taken_whole) and streamed <= STREAM_MIB and whole <= WHOLE_MIB
    measured = f"{len(well) + len(taken_whole)} of {len(got)}; {streamed:.1f}, {whole:.1f} MiB"
    return Result(f"{measured}; {slowest_s:.1f} s", held and slowest_s <= WITHIN_S, facts)


async def _costs(it: Plant, history: History, flood: _Flood, got: list[Request]) -> float:
    """By how many MiB the caller was larger than before while it took the answer."""
    pid = it["caller"][0].pid
    before = most = pss_kib(pid)
    body = it.body(flood.model, stream=flood.stream)
    asking = asyncio.ensure_future(ask_raw(history, it.port, it.key, body))
    while not asking.done():
        most = max(most, pss_kib(pid))
        await asyncio.wait({asking}, timeout=_EVERY_S)
    got.append(await asking)
    return (most - before) / 1024


def _is_swallowed(entry: Entry) -> bool:
    """It was read to its end; a compressed one is over before anyone can say no."""
    return "flood" in entry.model and "gzip" not in entry.model and entry.outcome == "answered"


CLAIMS = (
    Claim(
        id="B40",
        text=f"answers that go on for {_MIB} MiB (a line, comments, blank lines, empty events, "
        "junk, compressed), streamed from the start and in mid-answer, and whole: those that "
        "aren't told to the client as an error, or are read to the end; growth of the caller "
        "by a stream, by a whole answer; until the client is told",
        bound=f"0; ≤ {STREAM_MIB:g}, ≤ {WHOLE_MIB:g} MiB; ≤ {WITHIN_S:g} s",
        run=_endless,
    ),
)
