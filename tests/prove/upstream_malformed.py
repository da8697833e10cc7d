"""Answers that break off, are none, come as odd bytes or compressed, or go on behind their end."""

import time
from collections.abc import Sequence

from droveway.simulator.floods import ODD_BYTES
from tests.prove.claim import Claim, Result, Run
from tests.prove.limits_clients import clients
from tests.prove.plant import Plant, broker, plant
from tests.prove.streams_clients import ask_all, available, gathered
from tests.prove.streams_plan import Ask
from tests.prove.upstream_world import (
    TOKENS,
    Asked,
    Case,
    ask_each,
    misfated,
    misrouted,
    untold,
    world,
)
from tests.support.history import History

_SDKS = ("openai1", "openai3")
_SDK_WITHIN_S = 20.0

_BREAKS = ("cut", "fin", "end", "junk", "error", "unframed+fin", "unframed+end")
CUT = (
    *(Case(f"{how}-after-2", "told", "elsewhere") for how in _BREAKS),
    *(Case(f"{how}-after-0", "elsewhere", "elsewhere") for how in _BREAKS),
    Case("no-finish", "told", "elsewhere"),
    Case("reset-before-headers", "elsewhere", "elsewhere"),
    Case("reset-after-headers", "elsewhere", "elsewhere"),
    Case("close-before-headers", "elsewhere", "elsewhere"),
    Case("unframed", "served", "served"),
)
FOREIGN = (
    Case("html", "elsewhere", "elsewhere"),
    Case("html+untyped", "elsewhere", "elsewhere"),
    Case("json-error-200", "elsewhere", "elsewhere"),
    Case("json-error-200+untyped", "elsewhere", "elsewhere"),
    Case("redirect", "elsewhere", "elsewhere"),
    Case("flood-after-0+flood-junk+mib-1", "elsewhere", "elsewhere"),
    Case("malformed-after-2", "served", "elsewhere"),
    Case("stray-lines", "served", "served"),
    Case("untyped", "served", "served"),
    Case("1xx-3", "served", "served"),
)
LEGAL = ("separators", "astral", "nul-escape")
"""Odd bytes that text may have: they pass unchanged."""
ODD = (
    *(Case(f"odd-{kind}", "served", "served") for kind in ODD_BYTES),
    *(Case(f"{how}+one-byte", "served", "served") for how in ("bom", "crlf", "cr", "no-space")),
    Case("cr", "served", "served"),
)
COMPRESSED = (
    Case("gzip", "elsewhere", "elsewhere"),
    Case("gzip-unsaid", "elsewhere", "elsewhere"),
    Case("encoding-br", "elsewhere", "elsewhere"),
    Case("encoding-zstd", "elsewhere", "elsewhere"),
    Case("gzip+flood-after-0+mib-64", "elsewhere", "elsewhere"),
)
BEHIND = (
    Case("two-terminals", "served", "served"),
    Case("after-done", "served", "served"),
    Case("two-terminals+after-done+one-byte", "served", "served"),
    Case("no-done", "served", "served"),
)
CASES = (*CUT, *FOREIGN, *ODD, *COMPRESSED, *BEHIND)


async def _malformed(run: Run) -> Result:
    async with broker(run) as nats, plant(run, nats, world(CASES)) as it:
        with run.history() as history:
            asked = await ask_each(it, history, CASES, run.count(10, 1), run.random())
            entries = await it.entries()
            raw = len(asked)
            asked += await _by_sdk(it, history, _SDKS[run.quick :])
            await it.judge(history)
            unsaid = await untold(it, history)
        changed = await _changed(it)
    wrong, routed = [*misfated(asked)], misrouted(asked[:raw], entries)
    for violation in (*wrong, *unsaid[:10]):
        run.blame(violation)
    facts = {
        "faults": len(CASES),
        "requests": raw,
        "by_sdk": len(asked) - raw,
        "came_out_otherwise": wrong,
        "attempts_too_many_or_few": routed,
        "rows_that_differ": unsaid,
        "bytes_changed": changed,
    }
    held = not (wrong or routed or unsaid or changed)
    measured = f"{len(wrong)} of {len(asked)}; {sum(map(abs, routed.values()))}; {len(unsaid)}"
    return Result(f"{measured}; {len(changed)}", held, facts)


async def _by_sdk(it: Plant, history: History, wanted: Sequence[str]) -> list[Asked]:
    """Every fault's stream, as a program that uses the SDKs sees it."""
    sdks = [name for name in wanted if name in available()]
    pairs = [(case, other) for case in CASES for other in (True, False)]
    asks = [Ask(case.detour if other else case.model, it.port) for case, other in pairs]
    own = History()
    paths = await ask_all(
        it,
        dict.fromkeys(sdks, asks),
        at_once=dict.fromkeys(sdks, 8),
        until_s=time.monotonic() + _SDK_WITHIN_S,
    )
    gathered(own, paths)
    by_model = {ask.model: pair for ask, pair in zip(asks, pairs, strict=True)}
    for request in own.requests:
        history.add(request)
    return [Asked(*_mode(by_model[one.model]), one) for one in own.requests]


def _mode(pair: tuple[Case, bool]) -> tuple[Case, bool, bool]:
    return pair[0], True, pair[1]


async def _changed(it: Plant) -> dict[str, int]:
    """How often odd bytes that are legal came otherwise than they were sent: once a token."""
    found = {}
    async with clients(it) as asking:
        for kind in LEGAL:
            for stream in (True, False):
                model = f"fault-numbered-{TOKENS}+odd-{kind}"
                got = await asking.ask(it.key, it.body(model, stream=stream))
                due = TOKENS if stream else 1
                if (seen := got.body.count(ODD_BYTES[kind])) != due:
                    found[f"{kind} ({'streamed' if stream else 'whole'})"] = seen - due
    return found


CLAIMS = (
    Claim(
        id="B38+B39+B41+B42+B44",
        text=f"{len(CASES)} ways to answer wrongly (cut, no answer at all, odd bytes, compressed, "
        "more behind the end), streamed and whole, with and without another provider, raw clients "
        "and openai-python: requests that come out otherwise than they should; attempts too many "
        "or too few by the providers' books; rows that differ from what clients saw; legal bytes "
        "that are changed",
        bound="0; 0; 0; 0",
        run=_malformed,
    ),
)
