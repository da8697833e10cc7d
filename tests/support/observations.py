"""What can be seen of running services from outside: their size, their gauges, their health."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.checker import Growth, Health, Snapshot, grown

READY_WITHIN_S = 10.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Watched:
    """The services that a test looks at.

    Args:
        pids: Process ids by a name of the test's choice; `self` is the test's own process.
        admin_ports: Admin ports by the same names.
    """

    pids: Mapping[str, int] = field(default_factory=dict)
    admin_ports: Mapping[str, int] = field(default_factory=dict)

    async def snapshot(self) -> Snapshot:
        """Their sizes now: file descriptors, threads, tasks, memory, gauges."""
        sizes: dict[str, float] = {"tasks of self": len(asyncio.all_tasks())}
        for name, pid in self.pids.items():
            sizes |= {f"{what} of {name}": size for what, size in _process(pid).items()}
        async with httpx.AsyncClient(timeout=READY_WITHIN_S) as client:
            for name, port in self.admin_ports.items():
                text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
                sizes |= {f"{gauge} of {name}": size for gauge, size in _gauges(text)}
        return Snapshot(sizes)

    async def settled(
        self, before: Snapshot, allowed: Growth, within_s: float = READY_WITHIN_S
    ) -> Snapshot:
        """Their sizes once nothing exceeds what is allowed, or what they are after `within_s`."""
        until_s = time.monotonic() + within_s
        while True:
            after = await self.snapshot()
            if time.monotonic() > until_s or not grown(before, after, allowed):
                return after
            await asyncio.sleep(0.05)

    async def health(self, within_s: float = READY_WITHIN_S) -> list[Health]:
        """Which processes live, and when each was ready."""
        names = list(dict.fromkeys([*self.pids, *self.admin_ports]))
        async with httpx.AsyncClient(timeout=within_s) as client:
            return await asyncio.gather(*(self._one(client, name, within_s) for name in names))

    async def _one(self, client: httpx.AsyncClient, name: str, within_s: float) -> Health:
        pid = self.pids.get(name)
        alive = pid is None or _is_alive(pid)
        port = self.admin_ports.get(name)
        if port is None or not alive:
            return Health(name, alive, 0.0 if port is None else None, within_s)

        async def is_ready() -> bool:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        return Health(name, alive, await _seconds_until(is_ready, within_s), within_s)


async def _seconds_until(holds: Callable[[], Awaitable[bool]], within_s: float) -> float | None:
    began_s = time.monotonic()
    while not await holds():
        if time.monotonic() - began_s > within_s:
            return None
        await asyncio.sleep(0.05)
    return time.monotonic() - began_s


def _process(pid: int) -> dict[str, float]:
    folder = Path(f"/proc/{pid}")
    resident = int((folder / "statm").read_text().split()[1])
    return {
        "fds": len(list((folder / "fd").iterdir())),
        "threads": len(list((folder / "task").iterdir())),
        "rss_bytes": resident * _PAGE_BYTES,
    }


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _gauges(text: str) -> Iterator[tuple[str, float]]:
    """What may not grow: gauges, for counters only grow."""
    families: Iterable[object] = text_string_to_metric_families(text)
    for family in families:
        if getattr(family, "type", "") == "gauge":
            for sample in getattr(family, "samples", ()):
                if sample.name.startswith("droveway_"):
                    labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
                    yield f"{sample.name}{{{labels}}}", sample.value
