"""One coroutine per message, a bound on how many run, and one place for what nobody foresaw."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.otel.logs import log_event

log = logging.getLogger(__name__)

M = TypeVar("M")


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
        self._failed = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def decode(self, decoder: "msgspec.msgpack.Decoder[M]", payload: bytes) -> M | None:
        """The message, or None when it isn't one: counted, logged, dropped."""
        try:
            return decoder.decode(payload)
        except MALFORMED as error:
            self._malformed += 1
            log_event(
                log,
                "bad_message",
                level=logging.WARNING,
                consumer=self._name,
                reason=str(error)[:200],
            )
            return None

    def start(self, work: Coroutine[Any, Any, None]) -> bool:
        """Starts `work` unless the bound is reached; then it is closed and False returned."""
        if len(self._running) >= self._limit:
            self._refused_full += 1
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
        try:
            await work
        except Exception:
            self._failed += 1
            log.exception("handler_failed in %s", self._name)


def on_message(
    consumer: Consumer,
    decoder: "msgspec.msgpack.Decoder[M]",
    handle: Callable[[M, str], Coroutine[Any, Any, None]],
    refuse: Callable[[M, str], None],
) -> Callable[[bytes, str], None]:
    """A bus callback that decodes and runs `handle(message, reply)`; `refuse` answers when full."""

    def receive(payload: bytes, reply: str) -> None:
        message = consumer.decode(decoder, payload)
        if message is not None and not consumer.start(handle(message, reply)):
            refuse(message, reply)

    return receive
