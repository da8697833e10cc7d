"""`droveway top`: requests, tokens, money and services as they are now.

Counted from rows of USAGE, which needs no service; who runs and how, services tell when asked.
"""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.live import Live

from droveway.cli import services, terminal
from droveway.cli.admin_session import say
from droveway.cli.connection import OPERATOR, settings_for
from droveway.cli.cost import Costs, own_config
from droveway.cli.tail_feed import LiveRows
from droveway.cli.tail_lines import as_json
from droveway.cli.tail_output import Output, end
from droveway.cli.top_picture import Picture, picture
from droveway.cli.top_view import Size, view
from droveway.cli.top_window import Window
from droveway.contracts import discovery
from droveway.contracts.envelope import new_instance
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import BusError

CONNECT_WITHIN_S = 5.0
GIVE_UP_AFTER_S = 86_400.0
"""A broker that is away is waited for so long."""
ASK_EVERY_S = 2.0
"""Services are asked this often."""
FIRST_READ_S = 10.0
"""A picture waits so long for the rows of the window."""


class Wish(NamedTuple):
    """What was asked for."""

    once: bool = False
    every_s: float = 1.0
    window_s: int = 60
    json: bool = False


class Watcher:
    """What is known of the system now; `run` keeps it so."""

    def __init__(self, bus: Bus, window_s: int, costs: Costs) -> None:
        self._bus = bus
        self._window_s = window_s
        self._window = Window(window_s, costs)
        self._rows = LiveRows(bus, self._window.take, lambda text: say(f"droveway: {text}"))
        self._found: list[discovery.Stats] = []
        self._asked = asyncio.Event()

    async def run(self) -> None:
        """Follows rows and asks services, until cancelled."""
        since = datetime.now(UTC) - timedelta(seconds=self._window_s)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bus.watch())
            tasks.create_task(self._ask())
            await self._rows.run(since)

    async def until_known(self) -> None:
        """Returns when the window was read and services have answered, or couldn't in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READ_S):
                await self._rows.caught_up.wait()
                await self._asked.wait()

    def picture(self) -> Picture:
        """This moment."""
        now_ms = max(time.time_ns() // 1_000_000, self._window.newest_ms)
        return picture(self._window.totals(now_ms), self._found, now_ms)

    async def _ask(self) -> None:
        while True:
            with contextlib.suppress(BusError):
                self._found = await services.ask(self._bus)
            self._asked.set()
            await asyncio.sleep(ASK_EVERY_S)


def run(wish: Wish, data: Path) -> None:
    """Shows pictures until interrupted, or until nobody reads them any more.

    Raises:
        SettingsError: The server is unknown, can't be reached or refuses the user.
        Disconnected: It was away for a day.
    """
    terminal.quiet()
    broker = settings_for(OPERATOR, data)
    costs = Costs(own_config(data))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_connected(broker, wish, costs))
    except ExceptionGroup as group:
        end(group)


async def _connected(broker: BusSettings, wish: Wish, costs: Costs) -> None:
    broker = msgspec.structs.replace(
        broker, connect_within_s=CONNECT_WITHIN_S, give_up_after_s=GIVE_UP_AFTER_S
    )
    async with connect(broker, OPERATOR, new_instance(OPERATOR)) as bus:
        await show(bus, wish, costs, terminal.console())


async def show(bus: Bus, wish: Wish, costs: Costs, console: Console) -> None:
    """Shows what comes over `bus`: once, or until cancelled."""
    watcher = Watcher(bus, wish.window_s, costs)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watcher.run())
        await watcher.until_known()
        if wish.json or wish.once or not console.is_terminal:
            await _print(watcher, wish, console)
        else:
            await _draw(watcher, wish, console)
        watching.cancel()


async def _print(watcher: Watcher, wish: Wish, console: Console) -> None:
    output = Output(None)
    while True:
        if wish.json:
            output.write([(as_json(watcher.picture()), "")])
        else:
            with console.capture() as drawn:
                size = Size(console.width, None)
                console.print(view(watcher.picture(), size), soft_wrap=False)
            output.write([(drawn.get(), "")])
        if wish.once:
            return
        await asyncio.sleep(wish.every_s)


async def _draw(watcher: Watcher, wish: Wish, console: Console) -> None:
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            size = Size(console.width, console.height)
            live.update(view(watcher.picture(), size), refresh=True)
            await asyncio.sleep(wish.every_s)
