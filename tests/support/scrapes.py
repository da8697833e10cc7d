"""All services of one stack, each scraped once something of each kind has happened."""

import asyncio
from pathlib import Path

import httpx
import msgspec

from droveway.cli import ports
from droveway.contracts.access import Limit
from droveway.contracts.config import Config, Price
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

SERVICES = ("caller", "gateway", "limiter", "metrics", "router")
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
_PRICED, _UNPRICED, _LIMITED = "numbered-5", "numbered-6", "numbered-7"
_COUNTED_WITHIN_S = 10


async def scraped(server: NatsServer, folder: Path, accept: str = "text/plain") -> dict[str, str]:
    """The page of each service, in the format that `accept` names."""
    admin = {name: ports.free() for name in SERVICES}
    told = {f"DROVEWAY_{name.upper()}_ADMIN_PORT": str(port) for name, port in admin.items()}
    async with (
        running_stack(server, folder, configure=_configured, environment=told) as stack,
        httpx.AsyncClient(headers={"accept": accept}) as client,
    ):
        await _some_of_each_kind(stack)

        async with asyncio.timeout(_COUNTED_WITHIN_S):
            # Asking is waiting enough: the services run on the loop that serves the page.
            while "ai_api_unpriced_tokens_total{" not in await _page(client, admin["metrics"]):
                pass
        return {name: await _page(client, port) for name, port in admin.items()}


async def _some_of_each_kind(stack: Stack) -> None:
    async with stack.client() as client:
        for model, stream, status in (
            (_PRICED, False, 200),
            (_PRICED, True, 200),
            (_UNPRICED, False, 200),
            (_LIMITED, False, 200),
            (_LIMITED, False, 429),
        ):
            body = chat_body(model, stream=stream)
            answer = await client.post("/v1/chat/completions", json=body)
            assert answer.status_code == status, answer.text
        assert (await client.get("/v1/" + "x" * 10_000)).status_code == 414


async def _page(client: httpx.AsyncClient, port: int) -> str:
    answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200, f"/metrics on {port}: {answer.status_code} {answer.text}"
    return answer.text


def _configured(config: Config) -> Config:
    """One model has a price, another a limit that its second request exceeds."""
    prices = {_PRICED: Price(input=1, output=2)}
    limit = Limit(requests=1, window_s=600, model=_LIMITED)
    return msgspec.structs.replace(
        config,
        limits=(*config.limits, limit),
        providers=tuple(msgspec.structs.replace(one, prices=prices) for one in config.providers),
    )
