"""What one upstream request costs aiohttp, without any gateway: a yardstick for the machine."""

import asyncio
import time

import aiohttp
import uvloop

from tests.bench.targets import Target

_REQUESTS = 3_200
_WARM_UP = 20


def client_cost_us(target: Target, in_flight: int) -> float:
    """CPU microseconds of this process per request of 4 KB and answer of 1 KB."""
    return uvloop.run(_cost_us(target, in_flight))


async def _cost_us(target: Target, in_flight: int) -> float:
    body = target.request("mock", stream=False).partition(b"\r\n\r\n")[2]
    url = f"http://127.0.0.1:{target.port}{target.path}"
    each = _REQUESTS // in_flight
    async with aiohttp.ClientSession(headers={"content-type": "application/json"}) as session:

        async def ask(count: int) -> None:
            for _ in range(count):
                async with session.post(url, data=body) as response:
                    await response.read()

        await asyncio.gather(*(ask(_WARM_UP) for _ in range(in_flight)))
        before_s = time.process_time()
        await asyncio.gather(*(ask(each) for _ in range(in_flight)))
        return 1e6 * (time.process_time() - before_s) / (each * in_flight)
