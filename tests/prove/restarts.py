"""Every service is restarted one replica after the other, as a new version would be, under load."""

import asyncio
from typing import NamedTuple

from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, reasons, until_done
from tests.prove.ledger_reading import Ledger, caught_up, lost_or_repeated
from tests.prove.plant import Plant, Shape, broker, plant
from tests.prove.restarts_clients import Clients, Service, clients_of
from tests.support.accounts import stored_rows
from tests.support.history import History, Request

SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
_REPLICAS = 2
_PER_S = 30.0
_CAUGHT_UP_S = 30.0
_WITHIN_S = 600.0
_KINDS = (
    ("numbered-150", True),
    ("numbered-20", False),
    ("numbered-30", True),
    ("numbered-5", False),
)
"""The first of a second and a half, so that some run whenever something is restarted."""


class _Size(NamedTuple):
    """How long each service is under load, how often each replica is restarted, and how."""

    for_s: float
    rounds: int
    before_stop_s: float
    """What stands for the 5 s in which a pod gets no new connections before it is told to stop."""
    interval_ms: float


_FULL = _Size(for_s=60, rounds=3, before_stop_s=0.5, interval_ms=10)
_QUICK = _Size(for_s=2, rounds=1, before_stop_s=0.2, interval_ms=3)


async def _one_after_the_other(run: Run) -> Result:
    size = _QUICK if run.quick else _FULL
    path = run.folder / "ledger.db"
    shape = Shape(
        gateways=_REPLICAS,
        routers=_REPLICAS,
        limiters=_REPLICAS,
        callers=_REPLICAS,
        metrics=_REPLICAS,
        interval_ms=size.interval_ms,
        environment={"DROVEWAY_METRICS_DATABASE": f"sqlite:///{path}"},
    )
    asked: dict[str, list[Request]] = {}
    async with broker(run) as nats, plant(run, nats, shape) as it:
        service = Service(it["gateway"])
        with run.history() as history:
            async with clients_of(it, service) as clients:
                for name in SERVICES:
                    restarting = asyncio.ensure_future(_restart(it, service, name, size))
                    asked[name] = await _load(it, clients, history, restarting)
            await it.judge(history)
        rows = await stored_rows(nats)
        ledger = await caught_up(path, rows, _CAUGHT_UP_S)
    lost = lost_or_repeated(ledger, rows) + _untold(history, ledger)
    bad = [one for own in asked.values() for one in failed(own)]
    streams = sum(one.stream for one in bad)
    every = sum(map(len, asked.values()))
    facts = {
        "restarts": len(SERVICES) * _REPLICAS * size.rounds,
        "requests": {name: len(own) for name, own in asked.items()},
        "failures": {name: reasons(own) for name, own in asked.items()},
        "retried": {
            name: sum((one.attempts or 0) > 1 for one in own) for name, own in asked.items()
        },
        "slowest_s": {name: max(one.duration_s for one in own) for name, own in asked.items()},
        "connections": service.connections,
        "rows": len(rows),
    }
    measured = f"{len(bad) - streams} of {every:,}; {streams}; {lost}"
    return Result(measured, not bad and not lost, facts)


async def _load(
    it: Plant, clients: Clients, history: History, restarting: "asyncio.Task[None]"
) -> list[Request]:
    async def ask(number: int) -> Request:
        model, stream = _KINDS[number % len(_KINDS)]
        return await clients.ask(history, number, it.body(model, stream=stream))

    return await until_done(_PER_S, restarting, ask)


async def _restart(it: Plant, service: Service, name: str, size: _Size) -> None:
    """Replica by replica, evenly over the time, with load before the first and behind the last."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    restarts = _REPLICAS * size.rounds
    for number in range(restarts):
        await asyncio.sleep(began_s + (number + 0.5) * size.for_s / restarts - loop.time())
        member = it[name][number % _REPLICAS]
        if name == "gateway":
            service.leave(member)
        await asyncio.sleep(size.before_stop_s)
        if not await member.terminate():
            it.run.blame(f"{member.name} didn't end when it was told to")
        await member.restart()
        if name == "gateway":
            service.join(member)
    await asyncio.sleep(began_s + size.for_s - loop.time())


def _untold(history: History, ledger: Ledger) -> int:
    """Requests of which clients have an id, and the ledger no row."""
    return len({one.request_id for one in history.requests} - {"", *ledger.request_ids})


CLAIMS = (
    Claim(
        id="B52-all",
        text="two gateways, routers, limiters, callers and metrics services are restarted one "
        "after the other, each three times, under streams and whole answers: requests that fail; "
        "streams that break; rows that the ledger has lost or has twice",
        bound="0; 0; 0",
        run=_one_after_the_other,
        within_s=_WITHIN_S,
    ),
)
