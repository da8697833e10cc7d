"""One process of the plant, which may be struck in every way."""

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from droveway.cli import ports
from tests.prove.child import Child, Limits, Program
from tests.support.observations import Watched

TERMINATED_WITHIN_S = 15.0
_POLL_S = 0.02


class Member:
    """A service's process: started, struck and started again on the same ports."""

    def __init__(
        self,
        service: str,
        number: int,
        port: int,
        environment: Mapping[str, str],
        logs: Path,
        limits: Limits,
    ) -> None:
        self.service = service
        self.name = f"{service}-{number + 1}"
        self.port = port
        self.admin_port = 0 if service == "simulator" else ports.free()
        self.limits = limits
        self.struck = False
        """Whether it was us who ended it."""
        self._environment = {
            **environment,
            f"DROVEWAY_{service.upper()}_ADMIN_PORT": str(self.admin_port),
        }
        self._log = logs / f"{self.name}.log"
        self._child: Child | Program | None = None

    @property
    def child(self) -> Child | Program:
        """Its process."""
        assert self._child is not None, f"{self.name} wasn't started"
        return self._child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative when a signal ended it."""
        return self.child.exit_code

    @property
    def alive(self) -> bool:
        """Whether it runs, or stands still."""
        return self.exit_code is None

    def start(self) -> None:
        """Starts it; `until_ready` waits for it."""
        kind = Program if "LD_PRELOAD" in self._environment else Child
        self._child = kind(self.service, self._environment, self._log, self.limits)
        self.struck = False

    async def restart(self, within_s: float = 20.0) -> None:
        """Starts it anew on the same ports, once it has ended, and waits until it takes work."""
        assert not self.alive, f"{self.name} still lives: kill or terminate it first"
        self.start()
        await self.until_ready(within_s)

    async def kill(self) -> float:
        """SIGKILL; when it was sent."""
        self.struck = True
        at_s = time.monotonic()
        self.child.signal(signal.SIGKILL)
        await self.child.ended(5.0)
        return at_s

    def pause(self) -> None:
        """SIGSTOP: it stands still as a blocked loop does."""
        self.child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.child.signal(signal.SIGCONT)

    async def terminate(self, within_s: float = TERMINATED_WITHIN_S) -> bool:
        """SIGTERM, as an operator would; whether it ended by itself in time."""
        self.struck = True
        self.child.signal(signal.SIGTERM)
        return await self.child.ended(within_s)

    def finish(self) -> None:
        """Ends it, whatever it does."""
        if self._child is not None:
            self.child.kill()

    async def rss_bytes(self) -> float:
        """Its resident memory now."""
        sizes = (await Watched({self.name: self.pid}).snapshot()).sizes
        return sizes[f"rss_bytes of {self.name}"]

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples; 0 where there is none or no answer."""
        return (await self.metrics(name))[0]

    async def metrics(self, *names: str) -> tuple[float, ...]:
        """The same of several, at one moment."""
        try:
            async with httpx.AsyncClient(timeout=2) as client:
                text = (await client.get(f"http://127.0.0.1:{self.admin_port}/metrics")).text
        except httpx.HTTPError:
            return (0.0,) * len(names)
        sums = dict.fromkeys(names, 0.0)
        for line in text.splitlines():
            if line.startswith(names):
                words = line.split()
                name = words[0].partition("{")[0]
                if name in sums:
                    sums[name] += float(words[-1])
        return tuple(sums.values())

    async def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """A metric's samples, each with its labels."""
        async with httpx.AsyncClient(timeout=5) as client:
            text = (await client.get(f"http://127.0.0.1:{self.admin_port}/metrics")).text
        families = text_string_to_metric_families(text)
        samples = (sample for family in families for sample in family.samples)
        return [(one.labels, one.value) for one in samples if one.name == name]

    @property
    def database(self) -> Path:
        """The ledger's file, of metrics."""
        return Path(self._environment["DROVEWAY_METRICS_DATABASE"].removeprefix("sqlite:///"))

    @property
    def config(self) -> Path:
        """The configuration file that it follows."""
        return Path(self._environment["DROVEWAY_CONFIG"])

    async def until_ready(self, within_s: float) -> None:
        """Waits until it takes work.

        Raises:
            TimeoutError: It doesn't, or it has ended.
        """
        until_s = time.monotonic() + within_s
        url = f"http://127.0.0.1:{self.admin_port or self.port}/readyz"
        async with httpx.AsyncClient(timeout=2) as client:
            while not await _answers(client, url):
                if not self.alive or time.monotonic() > until_s:
                    state = "is silent" if self.alive else f"has ended with {self.exit_code}"
                    raise TimeoutError(f"{self.name} isn't ready: it {state}; see {self._log}")
                await asyncio.sleep(_POLL_S)


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
