"""The admin port: `/metrics`, `/livez`, `/readyz`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from droveway.runtime.errors import SettingsError

Check = Callable[[], str]
"""Returns what is wrong with a dependency, or an empty string."""


def _application(registry: CollectorRegistry, checks: dict[str, Check]) -> web.Application:
    async def metrics(request: web.Request) -> web.Response:
        body, content_type = await page(registry, request.headers.get("accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def readyz(_request: web.Request) -> web.Response:
        failing = {name: reason for name, check in checks.items() if (reason := check())}
        status = "unready" if failing else "ready"
        return web.json_response(
            {"status": status, "failing": failing}, status=503 if failing else 200
        )

    app = web.Application()
    app.add_routes(
        [web.get("/metrics", metrics), web.get("/livez", livez), web.get("/readyz", readyz)]
    )
    return app


async def page(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """What a scraper gets, and its content type: OpenMetrics if it takes that, else plain text.

    Values are read on the loop, metric by metric, since they are the loop's; they become text on a
    thread: 200 models are 16,000 lines, a sixth of a second.
    """
    encode, content_type = _encoder(accept)
    families = []
    for family in registry.collect():
        families.append(family)
        await asyncio.sleep(0)
    return await asyncio.to_thread(encode, _Collected(families)), content_type


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


@asynccontextmanager
async def serving(
    host: str, port: int, registry: CollectorRegistry, checks: dict[str, Check]
) -> AsyncIterator[int]:
    """Serves the probes and yields the port.

    Raises:
        SettingsError: The port is taken.
    """
    runner = web.AppRunner(
        _application(registry, checks), access_log=None, handle_signals=False, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(f"admin port {host}:{port}: {error.strerror}") from None
        addresses = runner.addresses
        yield int(addresses[0][1])
    finally:
        await runner.cleanup()
