"""What the children of `droveway up` run: the broker, its set-up, services, a local model, a demo.

Everything here runs after the fork. `preload` runs before it, once, in the parent: what it imports
is shared by all children.
"""

import asyncio
import gc
import importlib
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from droveway.cli import local_model, nats_server, ports, setup, terminal
from droveway.cli.child import Child, Report
from droveway.cli.environment import SIMULATOR
from droveway.runtime import service, settings
from droveway.runtime.bus import BusSettings
from droveway.runtime.errors import DrovewayError, SettingsError

SERVICES = ("metrics", "limiter", "caller", "router", "gateway")
"""In the order of starting; the reverse is the order of stopping: intake first."""

_DRAIN_MARGIN_S = 5.0
_NATS_LIMIT_S = 10.0
_NATS_STOP_LIMIT_S = 5.0
_LOCAL_MODEL_STOP_LIMIT_S = 5.0


def preload(names: Iterable[str], *, telemetry: bool) -> None:
    """Imports what the children need and freezes it, so that their memory stays shared.

    Source: gc.freeze in the Python documentation; seven processes take 97 instead of 270 MB.
    """
    gc.disable()
    modules = ["uvloop", "anyio._backends._asyncio", "encodings.idna"]
    modules += ["droveway.cli.demo", "droveway.cli.trace"]
    modules += [_module(name) for name in names]
    if telemetry:
        modules += [
            "opentelemetry.exporter.otlp.proto.http.metric_exporter",
            "opentelemetry.exporter.otlp.proto.http.trace_exporter",
            "opentelemetry.sdk.resources",
            "droveway.otel.genai_metrics",
            "droveway.otel.spans",
        ]
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


def nats_child(binary: Path, config: Path) -> Child:
    """The embedded nats-server."""

    def work(_report: Report) -> int:
        nats_server.become(binary, config)

    return Child("nats-server", work, stop_limit_s=_NATS_STOP_LIMIT_S)


def local_model_child(environment: dict[str, str]) -> Child:
    """The local model's server: its own process in each mode, for its memory and its threads."""
    return Child(
        local_model.SERVICE,
        local_model.run,
        frozenset({local_model.SERVICE}),
        stop_limit_s=_LOCAL_MODEL_STOP_LIMIT_S,
        environment=environment,
    )


def setup_child(broker: BusSettings, say: Any) -> Child:
    """The set-up job: waits for the broker, then makes what is missing."""

    def work(_report: Report) -> int:
        terminal.quiet()
        address = urlsplit(broker.servers[0])
        try:
            ports.wait_for_nats(address.hostname or "", address.port or 4222, _NATS_LIMIT_S)
            wanted = settings.read(setup.SetupSettings, "setup")
            for change in asyncio.run(setup.run(broker, wanted)):
                say(str(change))
        except DrovewayError as error:
            return service.complain("setup", error)
        return 0

    return Child("setup", work, ends=True)


def service_child(name: str, environment: dict[str, str]) -> Child:
    """One service as a process of its own."""
    return Child(
        name,
        partial(_run_service, name),
        frozenset({name}),
        stop_limit_s=_stop_limit_s(name, environment),
        environment=environment,
    )


def all_in_one_child(names: tuple[str, ...], environment: dict[str, str]) -> Child:
    """All services as tasks on one loop, each with its own connection."""
    limits_s = [_stop_limit_s(name, environment) for name in names]
    return Child(
        "services",
        partial(_run_all, names),
        frozenset(names),
        stop_limit_s=sum(limits_s),
        environment=environment,
    )


def _run_service(name: str, report: Report) -> int:
    sys.stderr = _Prefixed(sys.stderr, name)

    async def run(_own: Any, stop: asyncio.Event, ready: Report) -> None:
        await _service(name, stop, _both(ready, report))

    service.main(name, settings.ServiceSettings, run)
    return 0


def _run_all(names: tuple[str, ...], report: Report) -> int:
    async def run(_own: Any, stop: asyncio.Event, ready: Report) -> None:
        told = _both(ready, report)
        async with asyncio.TaskGroup() as group:
            running = []
            for name in names:
                own_stop = asyncio.Event()
                running.append((group.create_task(_service(name, own_stop, told)), own_stop))
            await stop.wait()
            for task, own_stop in reversed(running):
                own_stop.set()
                await asyncio.wait([task])

    service.main("services", settings.ServiceSettings, run)
    return 0


def _both(ready: Report, report: Report) -> Report:
    """Tells the process's own life cycle, which drains from then on, and the supervisor."""

    def told(name: str, port: int) -> None:
        ready(name, port)
        report(name, port)

    return told


async def _service(name: str, stop: asyncio.Event, report: Report) -> None:
    module = importlib.import_module(_module(name))
    if name == SIMULATOR:
        await _simulator(module, stop, report)
    else:
        kind = getattr(importlib.import_module(f"droveway.{name}.settings"), _kind(name))
        await module.run(settings.read(kind, name), stop, report)


async def _simulator(module: Any, stop: asyncio.Event, report: Report) -> None:
    from droveway.simulator.settings import Settings
    from droveway.simulator.settings import SettingsError as SimulatorSettingsError

    try:
        own = Settings.from_environment(os.environ)
    except SimulatorSettingsError as error:
        raise SettingsError(str(error)) from None
    try:
        await module.run(own, ready=lambda server: report(SIMULATOR, server.port), stop=stop)
    except OSError as error:
        where = f"{own.host}:{own.port}"
        raise SettingsError(f"DROVEWAY_SIMULATOR_PORT: {where}: {error.strerror}") from None


def _module(name: str) -> str:
    return f"droveway.{name}.server" if name == SIMULATOR else f"droveway.{name}.service"


def _kind(name: str) -> str:
    return f"{name.title()}Settings"


def _stop_limit_s(name: str, environment: dict[str, str]) -> float:
    return settings.read(settings.DrainingSettings, name, environment).drain_s + _DRAIN_MARGIN_S


class _Prefixed:
    """Standard error of one service: its name before each line, where a person reads them."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._prefix = f"{name:<9} "

    def write(self, text: str) -> int:
        """Writes whole lines."""
        if not self._stream.isatty():
            return int(self._stream.write(text))
        lines = text.splitlines(keepends=True)
        return int(self._stream.write("".join(self._prefix + line for line in lines)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
