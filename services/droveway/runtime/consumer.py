"""One coroutine per message, a bound on how many run, and one place for what nobody foresaw."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.otel.logs import log_event
from droveway.runtime.meter import Meter, Metered
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

M = TypeVar("M")


class _StartsWork(Metered[[bytes, str]]):
    """A callback that returns while its work runs: the consumer's meter counts that."""

    __slots__ = ()

    def __init__(self, callback: Callable[[bytes, str], None], meter: Meter) -> None:
        super().__init__(callback)
        self.meter = meter

    def __call__(self, payload: bytes, reply: str) -> None:
        self._callback(payload, reply)


class ConsumerStatistics(NamedTuple):
    """A snapshot for gauges."""

    running: int
    limit: int
    handled: int
    refused_full: int
    malformed: int
    failed: int
    """Handlers that ended with an exception that nobody foresaw: bugs."""


class Consumer:
    """Runs handlers in a task group, never more than `limit` at once."""

    def __init__(self, name: str, tasks: asyncio.TaskGroup, limit: int) -> None:
        self._name = name
        self._tasks = tasks
        self._limit = limit
        self._running: set[asyncio.Task[None]] = set()
        self._handled = 0
        self._refused_full = 0
        self._malformed = 0
        self._bad_message = RareLog(log, "bad_message", consumer=name)
        self._failed = 0
        self.meter = Meter()
        self._idle = asyncio.Event()
        self._idle.set()

    def decode(self, decoder: "msgspec.msgpack.Decoder[M]", payload: bytes) -> M | None:
        """The message, or None when it isn't one: counted, logged, dropped."""
        try:
            return decoder.decode(payload)
        except MALFORMED as error:
            self._malformed += 1
            self.meter.requests += 1
            self.meter.failed("malformed")
            self._bad_message.warn(reason=str(error)[:200])
            return None

    def start(self, work: Coroutine[Any, Any, None]) -> bool:
        """Starts `work` unless the bound is reached; then it is closed and False returned."""
        self.meter.requests += 1
        if len(self._running) >= self._limit:
            self._refused_full += 1
            self.meter.failed("full")
            work.close()
            return False
        self._handled += 1
        task = self._tasks.create_task(self._guard(work))
        self._running.add(task)
        self._idle.clear()
        task.add_done_callback(self._ended)
        return True

    async def drain(self, limit_s: float) -> None:
        """Waits until nothing runs; after `limit_s` cancels the rest and waits for that."""
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            log_event(
                log, "drain_cut", level=logging.WARNING, consumer=self._name, cut=len(self._running)
            )
            for task in list(self._running):
                task.cancel()
            await self._idle.wait()

    def statistics(self) -> ConsumerStatistics:
        """A snapshot for gauges."""
        return ConsumerStatistics(
            running=len(self._running),
            limit=self._limit,
            handled=self._handled,
            refused_full=self._refused_full,
            malformed=self._malformed,
            failed=self._failed,
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._running:
            self._idle.set()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        began_ns = time.monotonic_ns()
        try:
            await work
        except Exception as error:
            self._failed += 1
            self.meter.failed(type(error).__name__)
            log.exception("handler_failed in %s", self._name)
        finally:
            self.meter.processing_ns += time.monotonic_ns() - began_ns


def on_message(
    consumer: Consumer,
    decoder: "msgspec.msgpack.Decoder[M]",
    handle: Callable[[M, str], Coroutine[Any, Any, None]],
    refuse: Callable[[M, str], None],
) -> Metered[[bytes, str]]:
    """A bus callback that decodes and runs `handle(message, reply)`; `refuse` answers when full."""

    def receive(payload: bytes, reply: str) -> None:
        message = consumer.decode(decoder, payload)
        if message is not None and not consumer.start(handle(message, reply)):
            refuse(message, reply)

    return _StartsWork(receive, consumer.meter)
