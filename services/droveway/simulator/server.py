"""Starts and stops the simulator: as a service, as a task of another process, in a test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from droveway.simulator.app import Simulator
from droveway.simulator.book import Book, Totals
from droveway.simulator.settings import Settings


class Running(msgspec.Struct, frozen=True):
    """A simulator that listens."""

    host: str
    port: int
    simulator: Simulator

    @property
    def url(self) -> str:
        """Where it listens; the OpenAI base URL is this and `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def book(self) -> Book:
        """Its book, for a test in the same process."""
        return self.simulator.book

    async def until(self, holds: Callable[[Totals], bool]) -> None:
        """Wait until the book's totals are as asked; for tests, under a time limit of theirs."""
        while not holds(self.book.totals):
            self.simulator.changed.clear()
            await self.simulator.changed.wait()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Listen for the length of a block; then stop, giving open answers `drain_s` to end.

    Raises:
        OSError: the address can't be listened on.
    """
    simulator = Simulator(settings)
    runner = web.AppRunner(
        simulator.application(),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=settings.drain_s,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        host, port = runner.addresses[0][:2]
        yield Running(host, port, simulator)
    finally:
        await runner.cleanup()


async def run(
    settings: Settings,
    *,
    ready: Callable[[Running], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until `stop` is set or the task is cancelled; `ready` is called once it listens."""
    async with running(settings) as server:
        if ready is not None:
            ready(server)
        await (stop or asyncio.Event()).wait()
