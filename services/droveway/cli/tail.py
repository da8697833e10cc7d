"""`droveway tail`: one line for each request as it ends, and what services tell meanwhile.

Rows come from the stream USAGE and have no content; events are heard as they are told.
"""

import asyncio
import contextlib
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from droveway.cli import tail_events, terminal
from droveway.cli.admin_session import say
from droveway.cli.connection import OPERATOR, settings_for
from droveway.cli.cost import Costs, own_config
from droveway.cli.tail_feed import LiveRows
from droveway.cli.tail_lines import Filter, as_json, request_line, request_parts
from droveway.cli.tail_output import Output, end
from droveway.cli.tail_requests import Ended, RequestJoiner
from droveway.contracts import events
from droveway.contracts.envelope import MALFORMED, SubjectError, new_instance, subject
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import SettingsError

CONNECT_WITHIN_S = 5.0
LONGEST_SINCE_S = 35 * 86_400.0
"""So long USAGE keeps rows."""
GIVE_UP_AFTER_S = 86_400.0
"""A broker that is away is waited for so long."""
TICK_S = 0.25
MAX_EVENTS = 1_000
"""Events that wait to be printed; beyond it they are left out and counted."""


class Wish(NamedTuple):
    """What was asked for."""

    filter: Filter = Filter()
    since: timedelta | None = None
    json: bool = False


class Tail:
    """Prints what it is given, as far as it was asked for."""

    def __init__(self, wish: Wish, costs: Costs, output: Output) -> None:
        self._wish = wish
        self._costs = costs
        self._output = output
        self._events: deque[events.Event] = deque()
        self._lost_events = 0
        self._heard = asyncio.Event()
        self.requests = RequestJoiner(self._show)

    def hear(self, payload: bytes, _reply: str) -> None:
        """An event has come; called in the read loop."""
        try:
            event = events.event_decoder.decode(payload)
        except MALFORMED:
            return  # of a later version
        if not tail_events.wants(self._wish.filter, event):
            return
        if len(self._events) >= MAX_EVENTS:
            self._lost_events += 1
            return
        self._events.append(event)
        self._heard.set()

    async def run(self) -> None:
        """Prints events, and requests that have waited long enough, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._heard.wait()
            self._heard.clear()
            while self._events:
                self._say(self._events.popleft())
            if self._lost_events:
                say(f"droveway: {self._lost_events} events came too fast and were left out")
                self._lost_events = 0
            self.requests.tick()
            self._output.check()

    def _show(self, ended: Ended) -> None:
        line = request_line(ended, self._costs)
        if self._wish.filter.wants(line, ended):
            self._output.write([(as_json(line), "")] if self._wish.json else request_parts(line))

    def _say(self, event: events.Event) -> None:
        if self._wish.json:
            self._output.write([(as_json(tail_events.event_object(event)), "")])
        else:
            self._output.write(tail_events.event_parts(event))


def run(wish: Wish, data: Path) -> None:
    """Follows until interrupted, or until nobody reads its output any more.

    Raises:
        SettingsError: The server is unknown, can't be reached or refuses the user.
        Disconnected: It was away for a day.
    """
    terminal.quiet()
    broker = settings_for(OPERATOR, data)
    output = Output(None if wish.json else terminal.console())
    tail = Tail(wish, Costs(own_config(data)), output)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_connected(broker, wish, tail))
    except ExceptionGroup as group:
        end(group)


async def follow(bus: Bus, wish: Wish, tail: Tail) -> None:
    """Prints what comes over `bus` until cancelled."""
    rows = LiveRows(
        bus,
        lambda row, _stored_ms: tail.requests.take(row),
        lambda text: say(f"droveway: {text}"),
        wish.filter.tenant,
    )
    since = None if wish.since is None else datetime.now(UTC) - wish.since
    await bus.subscribe(events.ANY, tail.hear)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bus.watch())
        tasks.create_task(tail.run())
        await rows.run(since)


def tenant_of(text: str) -> str:
    """A tenant's id, as it may stand in a subject.

    Raises:
        SettingsError: It is none.
    """
    try:
        if text:
            subject(text)
    except SubjectError:
        raise SettingsError(f"--tenant {text[:40]!r}: expected 1 to 64 of [a-z0-9_-]") from None
    return text


async def _connected(broker: BusSettings, wish: Wish, tail: Tail) -> None:
    broker = msgspec.structs.replace(
        broker, connect_within_s=CONNECT_WITHIN_S, give_up_after_s=GIVE_UP_AFTER_S
    )
    async with connect(broker, OPERATOR, new_instance(OPERATOR)) as bus:
        await follow(bus, wish, tail)
