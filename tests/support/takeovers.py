"""Limiters as processes that are killed, frozen and restarted while routers go on asking.

What the askers were told and what stands in the log are the history; `Verdict` is what it says.
"""

import asyncio
import itertools
import math
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from droveway.cli import ports
from droveway.contracts.access import Limit
from droveway.contracts.admission import Admitted, Decision, admission_subject, decision_decoder
from droveway.contracts.envelope import encode
from droveway.contracts.limits import Admit
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from tests.support.fault_process import REPOSITORY
from tests.support.limiters import config, question
from tests.support.limits_log import admits, written
from tests.support.nats import NatsServer, write_droveway_config
from tests.support.processes import ServiceProcess

TIGHT, WIDE = "tight", "wide"
TIGHT_LIMIT, TIGHT_WINDOW_MS = 50, 1_000
LIMITS = config(
    tight=(Limit(requests=TIGHT_LIMIT, window_s=TIGHT_WINDOW_MS / 1000),),
    wide=(Limit(requests=1_000_000),),
)
GIVE_UP_AFTER_S = 3.0
FREEZE_S = 1.0
CHANGE_WITHIN_S = 15.0
_METRIC_WITHIN_S = 0.5
OWNER = "droveway_partition_owner{"
READY = "droveway_partition_ready{"
FENCED = "droveway_partition_fenced_total{"


class Told(NamedTuple):
    """One question and what became of it."""

    request_id: str
    key_id: str
    asked_s: float
    answered_s: float
    answer: Decision | None


class Verdict(NamedTuple):
    """What the history says."""

    told: int
    admitted: int
    unanswered: int
    over_admitted: int
    """Admissions beyond the limit in some interval of its length, by the log's clock."""
    unlogged: int
    """Answers `Admitted` that don't stand in the log."""
    doubled: int
    """Requests that stand there twice."""
    clock_led_ms: int
    """By how much the log's clock was ahead of the broker's, at most."""
    clock_lagged_ms: int
    clock_stepped_back: int


class Asker:
    """Asks like routers, so many questions per second, and notes what it is told."""

    def __init__(self, bus: Bus, per_s: float, *, keys: tuple[str, ...]) -> None:
        self.told: list[Told] = []
        self._bus = bus
        self._every_s = 1 / per_s
        self._keys = itertools.cycle(keys)

    async def run(self, stop: asyncio.Event) -> None:
        """Asks until `stop`, and then until all is answered or given up."""
        due_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                tasks.create_task(self._ask(next(self._keys)))
                due_s = max(due_s + self._every_s, time.monotonic() - 0.05)
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _ask(self, key_id: str) -> None:
        asked = question(key_id=key_id, router=self._bus.instance)
        payload, subject = encode(asked), admission_subject(0)
        asked_s, wait_s = time.monotonic(), 0.1
        answer: Decision | None = None
        while answer is None and time.monotonic() - asked_s < GIVE_UP_AFTER_S:
            again_s = time.monotonic() + wait_s
            try:
                answer = decision_decoder.decode(await self._bus.request(subject, payload, wait_s))
            except BusError:
                await asyncio.sleep(max(0.0, again_s - time.monotonic()))
                wait_s = min(2 * wait_s, 0.8)
        told = Told(asked.request_id, key_id, asked_s, time.monotonic(), answer)
        self.told.append(told)


class Limiters:
    """Several limiters; the faults that are done to them."""

    def __init__(self, nats: NatsServer, config_path: Path) -> None:
        self._nats = nats
        self._config_path = config_path
        self.running: list[ServiceProcess] = []

    def spawn(self) -> ServiceProcess:
        """One more."""
        admin = ports.free()
        variables = {
            **self._nats.environment("limiter"),
            "DROVEWAY_CONFIG": str(self._config_path),
            "DROVEWAY_LIMITER_ADMIN_PORT": str(admin),
            "PYTHONPATH": str(REPOSITORY),
        }
        process = ServiceProcess("limiter", admin, 0, variables)
        self.running.append(process)
        return process

    async def start(self, count: int) -> None:
        """So many more, ready."""
        await asyncio.gather(*(self.spawn().until_ready() for _ in range(count)))

    async def owner(self, *without: ServiceProcess) -> ServiceProcess:
        """Who owns the log; those left out may believe that they do."""
        async with asyncio.timeout(CHANGE_WITHIN_S):
            while True:
                for process in self.running:
                    if process not in without and await metric(process, OWNER) == 1:
                        return process
                await asyncio.sleep(0.02)

    async def kill_owner(self) -> float:
        """SIGKILL, and another one in its place; when."""
        owner = await self.owner()
        at_s = owner.kill()
        self.running.remove(owner)
        await self.owner()
        await self.start(1)
        return at_s

    async def freeze_owner(self) -> float:
        """SIGSTOP until somebody else has taken over; when."""
        owner = await self.owner()
        fenced = await metric(owner, FENCED)
        at_s = time.monotonic()
        owner.pause()
        await self.owner(owner)
        await asyncio.sleep(max(0.0, at_s + FREEZE_S - time.monotonic()))
        owner.resume()
        async with asyncio.timeout(CHANGE_WITHIN_S):
            while await metric(owner, FENCED) <= fenced or await metric(owner, READY) != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return at_s

    async def restart(self, process: ServiceProcess) -> None:
        """SIGTERM once another one is ready, as a rolling update does."""
        await self.start(1)
        process.signal(signal.SIGTERM)
        self.running.remove(process)
        await asyncio.to_thread(process.wait)

    def end(self) -> None:
        """Ends what is left."""
        for process in self.running:
            process.resume()
            process.kill()


@asynccontextmanager
async def limiters(nats: NatsServer, folder: Path, count: int) -> AsyncIterator[Limiters]:
    """So many, ready, for the length of a block."""
    path = write_droveway_config(folder / "droveway.yaml", LIMITS)
    group = Limiters(nats, path)
    try:
        await group.start(count)
        yield group
    finally:
        group.end()


@asynccontextmanager
async def asking(nats: NatsServer, per_s: float, *keys: str) -> AsyncIterator[Asker]:
    """Questions for the length of a block; all are answered or given up at its end."""
    async with AsyncExitStack() as stack:
        asker = Asker(await stack.enter_async_context(nats.bus("router")), per_s, keys=keys)
        stop = asyncio.Event()
        running = asyncio.ensure_future(asker.run(stop))
        try:
            yield asker
        finally:
            stop.set()
            await running


async def metric(process: ServiceProcess, name: str) -> float:
    """A metric's value, for less CPU than an HTTP client costs; -1 while it isn't there."""
    try:
        async with asyncio.timeout(_METRIC_WITHIN_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", process.admin_port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = (await reader.read()).decode()
            writer.close()
    except (OSError, TimeoutError):
        return -1
    found = [line for line in text.splitlines() if line.startswith(name)]
    return float(found[0].split()[-1]) if found else -1


async def struck(group: Limiters, kills: int, freezes: int) -> list[float]:
    """Kills and freezes so many owners in turn; when."""
    faults = [group.kill_owner] * kills
    for index in range(freezes):
        faults.insert(2 * index + 1, group.freeze_owner)
    faults_s = []
    for fault in faults:
        await asyncio.sleep(0.3)
        faults_s.append(await fault())
    await asyncio.sleep(0.3)
    return faults_s


def admitted_since(asker: Asker, since_s: float) -> bool:
    """Whether anybody was told so after that monotonic second."""
    return any(isinstance(one.answer, Admitted) and one.answered_s > since_s for one in asker.told)


async def verdict(nats: NatsServer, told: list[Told]) -> Verdict:
    """Replays the log and holds what was told against it."""
    async with nats.bus("limiter") as bus:
        log = await written(bus, 0)
    stands = admits(log)
    ids = [op.request_id for op in stands]
    said = {one.request_id for one in told if isinstance(one.answer, Admitted)}
    leads = [one.batch.at_ms - one.stored_ms for one in log]
    return Verdict(
        told=len(told),
        admitted=len(said),
        unanswered=sum(one.answer is None for one in told),
        over_admitted=over_admitted(stands, TIGHT, TIGHT_LIMIT, TIGHT_WINDOW_MS),
        unlogged=len(said - set(ids)),
        doubled=len(ids) - len(set(ids)),
        clock_led_ms=max(leads),
        clock_lagged_ms=-min(leads),
        clock_stepped_back=sum(
            after.batch.at_ms < before.batch.at_ms for before, after in itertools.pairwise(log)
        ),
    )


def over_admitted(stands: list[Admit], key_id: str, limit: int, window_ms: int) -> int:
    """Admissions with `limit` others in the interval of `window_ms` before them."""
    times = [op.at_ms for op in stands if op.key_id == key_id]
    return sum(
        later - earlier < window_ms for earlier, later in zip(times, times[limit:], strict=False)
    )


def gaps_s(told: list[Told], faults_s: list[float]) -> list[float]:
    """After each fault: the longest time in which nobody was told that he is admitted."""
    times = sorted(
        one.answered_s for one in told if one.key_id == WIDE and isinstance(one.answer, Admitted)
    )
    gaps = []
    for fault_s, next_s in itertools.pairwise((*faults_s, math.inf)):
        until_s = min(next_s - 0.2, fault_s + 3)
        near = [at_s for at_s in times if fault_s - 0.2 < at_s < until_s]
        gaps.append(max((b - a for a, b in itertools.pairwise(near)), default=3.0))
    return gaps
