"""The admin port: `/metrics`, `/livez`, `/readyz`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from droveway.runtime.errors import SettingsError

Check = Callable[[], str]
"""Returns what is wrong with a dependency, or an empty string."""


def _application(registry: CollectorRegistry, checks: dict[str, Check]) -> web.Application:
    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )

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
