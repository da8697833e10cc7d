"""The life of one service: settings, telemetry, bus, probes; then stop, drain, close.

A service's `service.py` enters `running(...)`, wires its handlers, and awaits `process.stopping`.
`main` runs that as a process of its own; `droveway up --one-process` runs several as tasks.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import anyio
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from droveway.contracts.envelope import new_instance
from droveway.otel.logs import configure, log_event
from droveway.otel.setup import Telemetry, TelemetrySettings, install
from droveway.runtime import bus as bus_module
from droveway.runtime import probes, settings
from droveway.runtime.bus import Bus
from droveway.runtime.consumer import Consumer
from droveway.runtime.discovery import Discovery
from droveway.runtime.errors import DrovewayError, SettingsError
from droveway.runtime.events import Events
from droveway.runtime.gauges import Gauges, SettingGauges
from droveway.runtime.nats_context import service_broker
from droveway.runtime.tuning import settle_in

log = logging.getLogger(__name__)

S = TypeVar("S", bound=settings.ServiceSettings)
Run = Callable[[S, asyncio.Event, "Ready"], Coroutine[Any, Any, None]]
Ready = Callable[[str, int], None]
"""Called with the service's name and a port once it takes work."""

_START = "start"
EX_CONFIG = 78
EX_UNAVAILABLE = 69


class Process:
    """What a service's wiring works with."""

    def __init__(
        self,
        name: str,
        instance: str,
        bus: Bus,
        telemetry: Telemetry,
        tasks: asyncio.TaskGroup,
        discovery: Discovery,
        events: Events,
    ) -> None:
        self.name = name
        self.instance = instance
        self.bus = bus
        self.telemetry = telemetry
        self.tasks = tasks
        self.discovery = discovery
        self.events = events
        self.gauges = Gauges(name)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.registry.register(self.gauges)
        ProcessCollector(registry=self.registry)
        self.checks: dict[str, probes.Check] = {
            "nats": self._nats_check,
            _START: lambda: "not listening yet",
        }
        self._background: set[asyncio.Task[None]] = set()
        self.gauges.add("bus", bus.statistics)
        self.gauges.add("spans", telemetry.statistics)
        self.gauges.add("otlp", telemetry.otlp_statistics)
        self.gauges.add("discovery", discovery.statistics)
        self.gauges.add("events", events.statistics)
        discovery.facts["unready"] = self._unready

    def consumer(self, noun: str, limit: int) -> Consumer:
        """A bounded consumer whose tasks live in this process's task group."""
        consumer = Consumer(noun, self.tasks, limit)
        self.gauges.add("consumer", consumer.statistics, {"consumer": noun})
        return consumer

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` until the service closes; if it fails, the service ends."""
        task = self.tasks.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def takes_work(self, ready: "Ready", port: int = 0) -> None:
        """Everything is wired: tells whoever started the service, and the readiness probe."""
        self.checks.pop(_START, None)
        ready(self.name, port)

    def end_background(self) -> None:
        """Cancels what runs in the background."""
        for task in list(self._background):
            task.cancel()

    def _unready(self) -> str:
        """The first reason why it isn't ready; empty when it is."""
        return next(filter(None, (check() for check in self.checks.values())), "")

    def _nats_check(self) -> str:
        return "" if self.bus.ready else "no connection to NATS"


@asynccontextmanager
async def running(name: str, own: settings.ServiceSettings) -> AsyncIterator[Process]:
    """A connected process with open probes; closes in reverse on leaving.

    Raises:
        SettingsError: The broker or the telemetry settings are wrong.
    """
    instance = new_instance(name)
    try:
        telemetry = install(name, instance, TelemetrySettings.from_environ(os.environ))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.shutdown)
        bus = await stack.enter_async_context(
            bus_module.connect(service_broker(name, own), name, instance)
        )
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        discovery = Discovery(bus, own.discovery_answers_per_s)
        events = Events(bus, own.events_per_s)
        process = Process(name, instance, bus, telemetry, tasks, discovery, events)
        process.registry.register(SettingGauges(name, own))
        await process.discovery.listen()
        port = await stack.enter_async_context(
            probes.serving(own.admin_host, own.admin_port, process.registry, process.checks)
        )
        process.background(bus.watch())
        log_event(log, "service_started", name=name, instance=instance, admin_port=port)
        try:
            yield process
        finally:
            process.end_background()
            log_event(log, "service_stopped", name=name, instance=instance)


def main(name: str, kind: type[S], run: "Run[S]") -> None:
    """Runs one service as this process; exits 78 when a setting or the configuration is wrong."""
    settle_in()
    try:
        own = settings.read(kind, name)
        style, level = _style(own.log_format), _level(own.log_level)
    except SettingsError as error:
        sys.exit(complain(name, error))
    pipeline = configure(name, level, style=style)
    try:
        anyio.run(_until_signalled, own, run, backend_options={"use_uvloop": True})
    except BaseExceptionGroup as group:
        sys.exit(_exit_code(name, group))
    except DrovewayError as error:
        sys.exit(complain(name, error))
    finally:
        pipeline.close()


def complain(name: str, error: DrovewayError) -> int:
    """Says in one line what is wrong, and returns the exit code for it."""
    sys.stderr.write(f"droveway {name}: {error}\n")
    return EX_CONFIG if isinstance(error, SettingsError) else EX_UNAVAILABLE


def _exit_code(name: str, group: BaseExceptionGroup[BaseException]) -> int:
    ours, others = group.split(DrovewayError)
    if others is not None or ours is None:
        raise group
    error: BaseException = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DrovewayError)
    return complain(name, error)


def _style(log_format: str) -> Any:
    if log_format not in ("auto", "json", "text"):
        raise SettingsError(f"DROVEWAY_LOG_FORMAT={log_format!r}: expected auto, json or text")
    return log_format


def _level(log_level: str) -> str:
    if log_level.lower() not in ("debug", "info", "warning", "error"):
        raise SettingsError(
            f"DROVEWAY_LOG_LEVEL={log_level!r}: expected debug, info, warning or error"
        )
    return log_level.upper()


async def _until_signalled(own: S, run: "Run[S]") -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    takes_work = False

    def ready(_name: str, _port: int) -> None:
        nonlocal takes_work
        takes_work = True

    def on_signal() -> None:
        if stop.is_set() or not takes_work:  # insistent, or nothing to drain yet
            task.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await run(own, stop, ready)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
