"""Providers that say when to come back, in every wording, and those that refuse a credential."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from droveway.contracts.config import Config, Provider, RetryBudget
from droveway.simulator.book import Entry
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, open_loop, reasons
from tests.prove.limits_clients import Answer, clients
from tests.prove.plant import Shape, broker, plant
from tests.prove.upstream_world import WELL, route
from tests.support.history import Request
from tests.support.history_clients import ask_raw

BACK_WITHIN_S = 1.0
_PER_S = 4.0
"""Requests of each wording that another provider serves instead."""
_ALONE_PER_S = 1.0
_DIGEST_S = 0.25
"""What starts until so long after a refusal may not have heard of it."""
_CLOCKS_S = 0.05
_REFUSED = "502 provider_auth_error"
_LIMITED = "429 provider_rate_limited"
_BUSY = "503 provider_busy"


class Wording(NamedTuple):
    """How a provider refuses, and for how long it is to be left alone then."""

    fault: str
    waits_s: tuple[float, ...]
    """After the first refusal, the second ...; the last holds for all further ones."""
    jitter: float = 0.0
    said: str = _LIMITED
    """Status and code where no other provider helps."""


def _wordings(cap_s: float) -> tuple[Wording, ...]:
    backoff_s = tuple(min(cap_s, 2.0**step) for step in range(6))
    garbage = ("soon", "-1", "inf", "1e309", quote("2, 3", safe=""))
    return (
        Wording("429-2", (2.0,)),
        Wording("429-0.5", (0.5,)),
        Wording("429-0", (0.1,)),
        Wording("429-600", (cap_s,)),
        Wording("429-99999999999999999999", (cap_s,)),
        Wording(_dated(timedelta(days=3650)), (cap_s,)),
        Wording(_dated(timedelta(days=-1)), (0.1,)),
        Wording("429", backoff_s, jitter=0.2),
        *(Wording(f"429-{text}", backoff_s, jitter=0.2) for text in garbage),
        *(Wording(text, (cap_s,), said=_REFUSED) for text in ("401", "402", "403")),
        Wording("insufficient-quota", (cap_s,), said=_REFUSED),
    )


def _dated(ahead: timedelta) -> str:
    when = datetime.now(UTC) + ahead
    return f"429-{quote(format_datetime(when, usegmt=True), safe='')}"


class _Served(NamedTuple):
    """A wording's two routes and the names by which the book knows them."""

    wording: Wording
    number: int

    @property
    def helped(self) -> str:
        return f"fault-numbered-{100 + self.number}+{self.wording.fault}"

    @property
    def alone(self) -> str:
        return f"fault-numbered-{200 + self.number}+{self.wording.fault}"


def _shape(all_of_them: Sequence[_Served], cap_s: float) -> Shape:
    """A provider for each wording and route, since refusals count by credential.

    One caller: of refusals that tell no wait each counts its own.
    """

    def configure(config: Config) -> Config:
        first, second = config.providers
        providers: list[Provider] = [first, second]
        routes = []
        for one in all_of_them:
            helped, alone = f"helped-{one.number}", f"alone-{one.number}"
            providers += [msgspec.structs.replace(first, id=name) for name in (helped, alone)]
            routes.append(route(helped, (helped, one.helped), (second.id, WELL)))
            routes.append(route(alone, (alone, one.alone)))
        return msgspec.structs.replace(
            config,
            providers=tuple(providers),
            routes=tuple(routes),
            retry_budget=RetryBudget(per_s=1_000_000),
        )

    return Shape(
        simulators=2,
        interval_ms=1,
        environment={"DROVEWAY_CALLER_MAX_COOLDOWN_S": f"{cap_s:g}"},
        configure=configure,
    )


async def _heeded(run: Run) -> Result:
    cap_s, for_s = float(run.count(10, 4)), run.count(45, 11)
    served = [_Served(one, number) for number, one in enumerate(_wordings(cap_s))]
    shape = _shape(served, cap_s)
    async with broker(run) as nats, plant(run, nats, shape) as it, clients(it) as asking:
        with run.history() as history:

            async def helped(number: int) -> Request:
                turn, place = divmod(number, len(served))
                body = it.body(f"helped-{served[place].number}", stream=turn % 2 == 0)
                return await ask_raw(history, it.port, it.key, body)

            async def alone(number: int) -> bool:
                turn, place = divmod(number, len(served))
                body = it.body(f"alone-{served[place].number}", stream=turn % 2 == 0)
                return _is_told(await asking.ask(it.key, body), served[place].wording, cap_s)

            began_s = time.monotonic()
            got, told = await asyncio.gather(
                open_loop(_PER_S * len(served), for_s, helped),
                open_loop(_ALONE_PER_S * len(served), for_s, alone),
            )
            await it.judge(history)
        entries = await it.entries()
    return _result(served, got, told, entries, began_s + for_s)


def _result(
    served: Sequence[_Served],
    got: list[Request],
    told: list[bool],
    entries: list[Entry],
    end_s: float,
) -> Result:
    """What the books say of each wording's attempts, and the answers of who asked."""
    early: dict[str, int] = {}
    back_s: dict[str, float] = {}
    for one in served:
        for model in (one.helped, one.alone):
            seen = [entry for entry in entries if entry.model == model]
            early[model] = sum(pause.early for pause in pauses(seen, one.wording))
        seen = [entry for entry in entries if entry.model == one.helped]
        back_s[one.wording.fault] = late_s(seen, one.wording, end_s)
    facts = {
        "requests": len(got) + len(told),
        "failures": reasons(got),
        "wordings": len(served),
        "asked_too_early": {model: count for model, count in early.items() if count},
        "asked_again_late_s": back_s,
        "attempts": {one.helped: sum(e.model == one.helped for e in entries) for one in served},
    }
    worst_s = max(back_s.values())
    counts = (len(failed(got)), told.count(False), sum(early.values()))
    measured = f"{counts[0]} of {len(got)}, {counts[1]} of {len(told)}; {counts[2]}"
    held = not any(counts) and worst_s <= BACK_WITHIN_S
    return Result(f"{measured}; {worst_s:.2f} s", held, facts)


def _is_told(answer: Answer, wording: Wording, cap_s: float) -> bool:
    """An error of its sort; a rate limit says when to come back, within reason.

    Who waited for a short limit's end behind others may hear that there was no room in time.
    """
    said = f"{answer.status} {answer.error['code']}"
    if wording.said != _LIMITED:
        return said == wording.said
    wait_s = int(answer.headers.get("retry-after", "0"))
    return said in (_LIMITED, _BUSY) and 1 <= wait_s <= cap_s + 1


class Pause(NamedTuple):
    """Between a refusal and the next attempt that could know of it."""

    early: bool
    late_s: float
    """After the wait was over."""


def pauses(attempts: Iterable[Entry], wording: Wording) -> Iterator[Pause]:
    """Each wait that there was, and whether the next attempt came too early."""
    refused_s: float | None = None
    number = 0
    for one in sorted(attempts, key=lambda entry: entry.started_ms):
        if refused_s is None or one.started_ms / 1000 > refused_s + _DIGEST_S:
            if refused_s is not None:
                wait_s = wording.waits_s[min(number, len(wording.waits_s) - 1)]
                least_s, most_s = wait_s * (1 - wording.jitter), wait_s * (1 + wording.jitter)
                since_s = one.started_ms / 1000 - refused_s
                yield Pause(since_s < least_s - _CLOCKS_S, since_s - most_s)
                number += 1
            refused_s = (one.ended_ms or one.started_ms) / 1000


def late_s(attempts: Sequence[Entry], wording: Wording, end_s: float) -> float:
    """The longest that it wasn't used although its wait was over, by a second's request each."""
    found = [pause.late_s for pause in pauses(attempts, wording)]
    if not attempts:
        return float("inf")
    last = max(attempts, key=lambda entry: entry.started_ms)
    wait_s = wording.waits_s[min(len(found), len(wording.waits_s) - 1)] * (1 + wording.jitter)
    return max(0.0, *found, end_s - last.started_ms / 1000 - wait_s)


CLAIMS = (
    Claim(
        id="B33",
        text="providers answer 429 with 13 wordings of `retry-after` (seconds, dates, garbage, "
        "none), 401, 402, 403 or that the account is spent: requests that fail although another "
        "provider could serve them, and those told otherwise than they should be without one; "
        "attempts before the wait was over; after it until the provider is asked again",
        bound=f"0, 0; 0; ≤ {BACK_WITHIN_S:g} s",
        run=_heeded,
    ),
)
