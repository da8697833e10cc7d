"""Services as processes of their own, to be killed; the rest of the stack stays in the test."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from droveway.cli import ports
from tests.support.nats import NatsServer
from tests.support.stack import Stack

READY_WITHIN_S = 15


class ServiceProcess:
    """One `python -m droveway.<service>`."""

    def __init__(self, name: str, admin_port: int, port: int, variables: dict[str, str]) -> None:
        self.admin_port = admin_port
        self.port = port
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"droveway.{name}"],
            env={**os.environ, **variables},
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> float:
        """SIGKILL; when it was sent."""
        at_s = time.monotonic()
        self._process.kill()
        self._process.wait()
        return at_s

    def pause(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Any other signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Blocks until it has ended; its exit code."""
        return self._process.wait(READY_WITHIN_S)

    async def value(self, metric: str) -> float:
        """A metric's value now; -1 while it isn't there."""
        try:
            async with httpx.AsyncClient() as client:
                text = (await client.get(f"http://127.0.0.1:{self.admin_port}/metrics")).text
        except httpx.HTTPError:
            return -1
        lines = [line for line in text.splitlines() if line.startswith(metric)]
        return float(lines[0].split()[-1]) if lines else -1

    async def until_ready(self) -> None:
        """Waits until it takes work."""
        async with asyncio.timeout(READY_WITHIN_S), httpx.AsyncClient() as client:
            while True:
                assert self._process.poll() is None, "it has ended"
                try:
                    answer = await client.get(f"http://127.0.0.1:{self.admin_port}/readyz")
                    if answer.status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)


@asynccontextmanager
async def processes(
    nats: NatsServer, stack: Stack, *names: str, **variables: str
) -> AsyncIterator[list[ServiceProcess]]:
    """Ready processes of the services named, beside the stack's tasks; killed at the end."""
    async with AsyncExitStack() as ends:
        started = []
        for name in names:
            admin, port = ports.free(), ports.free()
            environment = {
                **nats.environment(name),
                "DROVEWAY_CONFIG": str(stack.config_path),
                f"DROVEWAY_{name.upper()}_ADMIN_PORT": str(admin),
                "DROVEWAY_GATEWAY_PORT": str(port),
                **variables,
            }
            process = ServiceProcess(name, admin, port, environment)
            ends.callback(process.kill)
            started.append(process)
        await asyncio.gather(*(process.until_ready() for process in started))
        yield started
