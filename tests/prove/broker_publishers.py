"""Thousands of publishers on one connection while the broker is silent; a process of its own.

    python -m tests.prove.broker_publishers stop|drop|hole <seconds>

`stop` freezes nats-server, `drop` lets the kernel drop its packets (in a network namespace of its
own: `unshare -rn`), `hole` puts a proxy between that passes nothing on. Prints one line of JSON.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import uvloop

from droveway.contracts.envelope import new_instance
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import BusError
from tests.support.fault_proxy import FaultProxy
from tests.support.observations import Watched
from tests.support.plain_nats import PlainNats, serving_plain

PUBLISHERS = 2_000
_ASKING_EACH = 20
"""So many publishers have one among them that also asks, and waits for its answer."""
_EVERY_S = 0.5
_PAYLOAD = bytes(1_024)
_WATCHED_S = 30.0
_TICK_S = 0.02


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has shown; times in seconds."""

    noticed_s: float | None
    """Until the connection was given up."""
    recovered_s: float | None
    """From the end of the silence until every publisher publishes again."""
    answered_s: float | None
    """From the end of the silence until a question is answered."""
    published: int
    refused: dict[str, int]
    """Publishes and questions that failed, by exception."""
    longest_stall_s: float
    """Of the event loop."""
    growth_mib: float
    tasks_left: int


class _Publishers:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.published = [0.0] * PUBLISHERS
        """When each last published."""
        self.count = 0
        self.refused: Counter[str] = Counter()
        self.answered_s = 0.0
        self.longest_stall_s = 0.0

    async def publish(self, number: int) -> None:
        await asyncio.sleep(number / PUBLISHERS * _EVERY_S)
        while True:
            try:
                self._bus.publish("t", _PAYLOAD)
                self.published[number] = time.monotonic()
                self.count += 1
                if number % _ASKING_EACH == 0:
                    await self._bus.request("echo", b"", 2.0)
                    self.answered_s = time.monotonic()
            except BusError as error:
                self.refused[type(error).__name__] += 1
            await asyncio.sleep(_EVERY_S)

    async def tick(self) -> None:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(_TICK_S)
            self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - before_s - _TICK_S)


async def run(how: str, silent_s: float) -> Outcome:
    """Silences the broker for a while."""
    with tempfile.TemporaryDirectory() as folder, serving_plain(Path(folder)) as broker:
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(FaultProxy("127.0.0.1", broker.port))
            port = link.port if how == "hole" else broker.port
            settings = BusSettings(servers=(f"nats://127.0.0.1:{port}",))
            bus = await stack.enter_async_context(watched(settings))
            other = await stack.enter_async_context(watched(broker.settings))
            await other.subscribe("echo", lambda _, reply: other.publish(reply, b""))
            return await _silence(bus, broker, link, how, silent_s)


async def _silence(
    bus: Bus, broker: PlainNats, link: FaultProxy, how: str, silent_s: float
) -> Outcome:
    tasks_before = len(asyncio.all_tasks())
    all_of_them = _Publishers(bus)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(all_of_them.publish(number)) for number in range(PUBLISHERS)]
        tasks.append(group.create_task(all_of_them.tick()))
        await _until(lambda: all(all_of_them.published) and bool(all_of_them.answered_s))
        before_bytes = await _rss_bytes()
        began_s = time.monotonic()
        _switch(how, broker, link, silent=True)
        noticed_s = await _until(lambda: not bus.statistics().connected)
        await asyncio.sleep(began_s + silent_s - time.monotonic())
        grown_bytes = await _rss_bytes() - before_bytes
        _switch(how, broker, link, silent=False)
        healed_s = time.monotonic()
        answered = _until(lambda: all_of_them.answered_s > healed_s)
        recovered = _until(lambda: bus.ready and min(all_of_them.published) > healed_s)
        answered_s, recovered_s = await asyncio.gather(answered, recovered)
        for task in tasks:
            task.cancel()
    return Outcome(
        noticed_s=noticed_s,
        recovered_s=recovered_s,
        answered_s=answered_s,
        published=all_of_them.count,
        refused=dict(all_of_them.refused),
        longest_stall_s=all_of_them.longest_stall_s,
        growth_mib=grown_bytes / 1024 / 1024,
        tasks_left=max(0, len(asyncio.all_tasks()) - tasks_before),
    )


@asynccontextmanager
async def watched(settings: BusSettings) -> AsyncIterator[Bus]:
    """A bus that looks after itself, as a service's does."""
    async with connect(settings, "gateway", new_instance("gateway")) as bus:
        watching = asyncio.ensure_future(bus.watch())
        try:
            yield bus
        finally:
            watching.cancel()
            await asyncio.wait({watching})


def _switch(how: str, broker: PlainNats, link: FaultProxy, *, silent: bool) -> None:
    if how == "stop":
        broker.signal(signal.SIGSTOP if silent else signal.SIGCONT)
    elif how == "hole":
        link.set(black_hole=silent)
    else:
        for side in ("--dport", "--sport"):
            rule = ["INPUT", "-p", "tcp", side, str(broker.port), "-j", "DROP"]
            subprocess.run(["iptables", "-A" if silent else "-D", *rule], check=True)


async def _until(holds: Callable[[], bool]) -> float | None:
    began_s = time.monotonic()
    while not holds():
        if time.monotonic() - began_s > _WATCHED_S:
            return None
        await asyncio.sleep(_TICK_S)
    return time.monotonic() - began_s


async def _rss_bytes() -> float:
    sizes = (await Watched({"self": os.getpid()}).snapshot()).sizes
    return sizes["rss_bytes of self"]


if __name__ == "__main__":
    found = uvloop.run(run(sys.argv[1], float(sys.argv[2])))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
