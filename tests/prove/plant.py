"""A whole gateway as real processes under the harness's hand.

    async with broker(run) as nats, plant(run, nats, Shape(routers=2)) as it:
        await it.kill("router")

Everything is ended when the block is left; a process that ended by itself, and a secret or a
prompt in a log, break the claim.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from droveway.cli import ports
from droveway.contracts.usage import Row
from droveway.runtime.api_key import make_key
from droveway.simulator.book import Entry, Totals
from tests.prove.claim import Run
from tests.prove.member import Member
from tests.prove.wiring import PROVIDER_KEY, configuration, environment
from tests.prove.wiring import Shape as Shape
from tests.support.accounts import disagreements, stored_rows
from tests.support.checker import Evidence, Health, no_secret_told
from tests.support.history import History
from tests.support.nats import NatsServer, serving
from tests.support.observations import Watched

PROMPT = "prompt-canary-52e1: hello"
READY_WITHIN_S = 20.0
REST_WITHIN_S = 10.0
ROWS_WITHIN_S = 15.0
"""A row whose caller died is told by a witness after `MISSING_ROW_S`."""
LEASE_OVER_S = 15.0
"""What a dead caller had reserved falls back after ten."""
_POLL_S = 0.02
_WORK = (
    "droveway_limiter_reserved",
    "droveway_router_in_flight",
    "droveway_caller_in_flight",
    "droveway_leases_open",
)
"""Gauges that are 0 when all work has ended."""

ORDER = ("simulator", "metrics", "limiter", "caller", "router", "gateway")


class Plant:
    """The running processes, and the providers' books."""

    def __init__(self, run: Run, nats: NatsServer, key: str) -> None:
        self.run = run
        self.nats = nats
        self.key = key
        self.services: dict[str, list[Member]] = {name: [] for name in ORDER}
        self._http = httpx.AsyncClient(timeout=30)

    def __getitem__(self, service: str) -> list[Member]:
        return self.services[service]

    def __iter__(self) -> Iterator[Member]:
        return (member for members in self.services.values() for member in members)

    @property
    def port(self) -> int:
        """Of the first gateway."""
        return self["gateway"][0].port

    def body(self, model: str, **fields: Any) -> dict[str, Any]:
        """A chat request whose prompt must be in no log."""
        return {"model": model, "messages": [{"role": "user", "content": PROMPT}], **fields}

    async def kill(self, service: str, number: int = 0) -> float:
        """SIGKILL; when it was sent."""
        return await self[service][number].kill()

    async def restart(self, service: str, number: int = 0) -> None:
        """Starts a process anew on its ports and waits until it takes work."""
        await self[service][number].restart()

    async def entries(self) -> list[Entry]:
        """What all providers saw, oldest first by provider."""
        return [entry for _, entries in await self._books() for entry in entries]

    async def totals(self) -> list[Totals]:
        """The sums of each provider's book."""
        return [totals for totals, _ in await self._books()]

    async def clear_books(self) -> None:
        """Lets the providers forget what has ended."""
        for member in self["simulator"]:
            await self._http.delete(f"http://127.0.0.1:{member.port}/book")

    async def until_streaming(self, count: int, within_s: float = 20.0) -> None:
        """Waits until so many open requests have sent tokens.

        The provider's side: what it has sent, clients have or will have at once.
        """

        async def holds() -> bool:
            open_ones = [one for one in await self.entries() if one.outcome == "open"]
            return len(open_ones) >= count and all(one.status for one in open_ones)

        await self.until(holds, within_s, f"{count} streams")

    async def until_idle(self, within_s: float = REST_WITHIN_S) -> float | None:
        """How long the providers took until nothing was open; None if longer than `within_s`."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while any(one.open_requests for one in await self.totals()):
            if loop.time() - began_s > within_s:
                return None
            await asyncio.sleep(_POLL_S)
        return loop.time() - began_s

    async def until(self, holds: Callable[[], Any], within_s: float, what: str) -> None:
        """Waits until an awaitable claim holds.

        Raises:
            TimeoutError: It didn't in time; the message says what was waited for.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while not await holds():
            if loop.time() > until_s:
                raise TimeoutError(f"{what}: not within {within_s:g} s")
            await asyncio.sleep(_POLL_S)

    def watched(self, *services: str) -> Watched:
        """The processes of some services, or of all with an admin port, to be looked at."""
        found = [one for one in self if one.admin_port]
        members = [one for one in found if not services or one.service in services]
        return Watched(
            {one.name: one.pid for one in members}, {one.name: one.admin_port for one in members}
        )

    async def health(self) -> list[Health]:
        """Which services live, and when each was ready."""
        return await self.watched().health()

    async def judge(self, history: History, *more: str) -> list[str]:
        """Waits until nothing is open at the providers, then checks I1 to I5 and I8."""
        if await self.until_idle() is None:
            still = [one.open_requests for one in await self.totals()]
            self.run.blame(f"requests still open at the providers: {still}")
        health = await self.health()
        entries = await self.entries()
        evidence = Evidence(
            history,
            books=await self.totals(),
            entries=entries,
            rows=await self._settled_rows(entries),
            leftovers=await self._leftovers(),
            health=health,
        )
        return self.run.judge(evidence, "I4", "I5", "I8", *more)

    async def _settled_rows(self, entries: list[Entry]) -> list[Row]:
        """The rows of USAGE once they agree with the books, or what they are after a while."""
        until_s = asyncio.get_running_loop().time() + ROWS_WITHIN_S
        while True:
            rows = await stored_rows(self.nats)
            late = asyncio.get_running_loop().time() > until_s
            if late or not any(disagreements(rows, entries)):
                return rows
            await asyncio.sleep(0.5)

    async def _leftovers(self) -> dict[str, float]:
        """What is still reserved or in flight, once it is nothing or after a while."""
        watched = self.watched("limiter", "router", "caller")
        until_s = asyncio.get_running_loop().time() + LEASE_OVER_S
        while True:
            sizes = (await watched.snapshot()).sizes
            left = {name: sizes[name] for name in sizes if name.startswith(_WORK)}
            if not any(left.values()) or asyncio.get_running_loop().time() > until_s:
                return left
            await asyncio.sleep(0.2)

    async def _books(self) -> list[tuple[Totals, list[Entry]]]:
        found = []
        for member in self["simulator"]:
            answer = await self._http.get(f"http://127.0.0.1:{member.port}/book")
            book = msgspec.json.decode(answer.content, type=_Book)
            found.append((book.totals, book.entries))
        return found

    async def close(self) -> None:
        """Ends all processes; those that ended by themselves are told."""
        for member in self:
            if not member.alive and not member.struck:
                self.run.blame(f"{member.name} has ended by itself: {member.exit_code}")
        for member in self:
            member.finish()
        await self._http.aclose()


class _Book(msgspec.Struct):
    entries: list[Entry]
    totals: Totals


@asynccontextmanager
async def broker(_run: Run) -> AsyncIterator[NatsServer]:
    """A nats-server of the claim's own, with all streams; free to be killed."""
    with tempfile.TemporaryDirectory(prefix="droveway-prove-") as folder:
        async with AsyncExitStack() as stack:
            serves = serving(Path(folder) / "nats")
            nats = await asyncio.to_thread(serves.__enter__)
            stack.push_async_callback(asyncio.to_thread, serves.__exit__, None, None, None)
            yield nats


@asynccontextmanager
async def plant(run: Run, nats: NatsServer, shape: Shape) -> AsyncIterator[Plant]:
    """All processes, ready; ended with the block, after which the logs are searched for secrets.

    Raises:
        TimeoutError: One wasn't ready in time.
    """
    key = make_key("test")
    logs = run.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="droveway-prove-") as folder:
        simulator_ports = [ports.free() for _ in range(shape.simulators)]
        config = configuration(Path(folder), simulator_ports, key, shape)
        running = Plant(run, nats, key)
        try:
            for service in ORDER:
                for number in range(shape.count(service)):
                    port = simulator_ports[number] if service == "simulator" else ports.free()
                    told = environment(nats, config, service, port, shape)
                    told |= shape.own.get(f"{service}-{number + 1}", {})
                    member = Member(
                        service, number, port, told, logs, shape.rlimits.get(service, {})
                    )
                    running[service].append(member)
                    member.start()
            await asyncio.gather(*(one.until_ready(READY_WITHIN_S) for one in running))
            yield running
        finally:
            await running.close()
    empty = History()
    secrets = [PROVIDER_KEY, PROMPT.partition(":")[0], key.rpartition("_")[2]]
    run.violations += no_secret_told(Evidence(empty, secrets=secrets, paths=[logs]))
