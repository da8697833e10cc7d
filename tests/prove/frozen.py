"""Each service stands still for two seconds, as one does whose loop is blocked."""

import asyncio

from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, open_loop, reasons, streams
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

FROZEN_S = 2.0
_SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
_STREAMS = 20
_PER_S = 20.0
_BEFORE_S = 0.5
_AFTER_S = 1.5


async def _each_in_turn(run: Run) -> Result:
    rounds = run.count(2, 1)
    running: list[Request] = []
    asked: list[Request] = []
    by_service: dict[str, list[Request]] = {service: [] for service in _SERVICES}
    async with broker(run) as nats, plant(run, nats, Shape(routers=2, callers=2)) as it:
        with run.history() as history:
            for service in _SERVICES * rounds:
                ran, came = await _frozen(it, history, service)
                running += ran
                asked += came
                by_service[service] += ran + came
            await it.judge(history)
    broken, refused = failed(running), failed(asked)
    facts = {
        "streams": len(running),
        "requests_meanwhile": len(asked),
        "failed_while_frozen": {name: reasons(both) for name, both in by_service.items()},
        "longest_pause_s": max(one.longest_pause_s for one in running),
    }
    measured = f"{len(broken)} of {len(running)}; {len(refused)} of {len(asked)}"
    return Result(measured, not broken and not refused, facts)


async def _frozen(it: Plant, history: History, service: str) -> tuple[list[Request], list[Request]]:
    """Streams that ran already, and requests that came meanwhile."""

    async def one(number: int) -> Request:
        body = it.body("numbered-10", stream=number % 2 == 0)
        return await ask_raw(history, it.port, it.key, body)

    running = streams(it, history, _STREAMS, "numbered-350")
    await it.until_streaming(_STREAMS)
    load = asyncio.ensure_future(open_loop(_PER_S, _BEFORE_S + FROZEN_S + _AFTER_S, one))
    await asyncio.sleep(_BEFORE_S)
    it[service][0].pause()
    await asyncio.sleep(FROZEN_S)
    it[service][0].resume()
    return await asyncio.gather(*running), await load


CLAIMS = (
    Claim(
        id="B57",
        text="each service stands still for 2 s in turn: running streams that break; "
        "new requests that fail",
        bound="0; 0",
        run=_each_in_turn,
    ),
)
