"""Limiters as processes, askers as processes, and the limiter's log as it grows."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from droveway.contracts.config import Config
from droveway.contracts.limits import batch_decoder, limits_subject
from droveway.limiter.log import unix_ms
from droveway.runtime.bus.direct_get import Page
from droveway.runtime.errors import BusError
from tests.prove.limits_plan import Customer, Plan, Seen, seen_decoder
from tests.prove.limits_rules import configured, customers
from tests.prove.member import Member
from tests.prove.plant import Plant, Shape
from tests.support.limits_log import Written, reading_log
from tests.support.nats import NatsServer

ROOT = Path(__file__).parents[2]
ASKERS = 4
"""As many as there are gateways in the claim."""
ENDLESS = 10**9
"""Decisions of askers that are told when to end."""
_PAGE = 256
_PAGE_BYTES = 4 * 1024 * 1024
_FOLLOW_S = 0.2


class Limits:
    """The configuration that a plant's services read, once it is written."""

    def __init__(self, seed: str, scale: float = 1.0) -> None:
        self._seed = seed
        self._scale = scale
        self.config: Config | None = None

    def configure(self, base: Config) -> Config:
        """For `Shape.configure`."""
        self.config = configured(base, random.Random(self._seed), self._scale)
        return self.config

    @property
    def customers(self) -> tuple[Customer, ...]:
        """Who may ask."""
        assert self.config is not None, "the plant writes it"
        return customers(self.config)


def only_limiters(count: int, limits: Limits, **more: str) -> Shape:
    """A plant of limiters alone, and of a provider that nobody asks."""
    return Shape(
        gateways=0,
        routers=0,
        callers=0,
        metrics=0,
        limiters=count,
        configure=limits.configure,
        environment=more,
    )


class Asking:
    """Askers at work."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process], files: list[Path]) -> None:
        self._processes = processes
        self._files = files

    def end(self) -> None:
        """Lets them ask nothing more."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()

    async def results(self) -> list[Seen]:
        """What each saw, once all have ended."""
        codes = await asyncio.gather(*(process.wait() for process in self._processes))
        assert not any(codes), f"askers ended with {codes}"
        return [seen_decoder.decode(path.read_bytes()) for path in self._files]


@asynccontextmanager
async def asking(
    it: Plant,
    limits: Limits,
    *,
    decisions: int,
    in_flight: int,
    pause_ms: float = 0.0,
    free_share: float = 0.2,
    count: int = ASKERS,
) -> AsyncIterator[Asking]:
    """So many askers for the length of a block; the rest as `Plan` has it."""
    files = [it.run.folder / f"asker-{number}.msgpack" for number in range(count)]
    processes: list[asyncio.subprocess.Process] = []
    try:
        for number, path in enumerate(files):
            plan = Plan(
                nats_url=it.nats.url,
                seed_file=str(it.nats.folder.seed_file("router")),
                seed=it.run.seed * 100 + number,
                customers=limits.customers,
                history=str(path),
                decisions=decisions,
                in_flight=in_flight,
                pause_ms=pause_ms,
                free_share=free_share,
            )
            processes.append(await _asker(plan))
        yield Asking(processes, files)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _asker(plan: Plan) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.prove.limits_asker",
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(plan) + b"\n")
    await process.stdin.drain()
    return process


class Followed:
    """The limiter's log as it was read; decoded at each pass, since a million would fill memory."""

    def __init__(self) -> None:
        self._raw: list[tuple[int, int, bytes]] = []

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Written]:
        for sequence, stored_ms, payload in self._raw:
            yield Written(sequence, stored_ms, batch_decoder.decode(payload))

    @property
    def last(self) -> int:
        """The last sequence that was read; 0: none."""
        return self._raw[-1][0] if self._raw else 0

    @property
    def whole(self) -> bool:
        """Nothing is missing in it, though the stream drops what is old."""
        return [sequence for sequence, _, _ in self._raw] == [*range(1, len(self._raw) + 1)]

    def add(self, page: Page) -> None:
        """More of it."""
        for one in page.messages:
            self._raw.append((one.sequence, unix_ms(one.stored_at), one.payload))


@asynccontextmanager
async def following(nats: NatsServer) -> AsyncIterator[Followed]:
    """The limiter's log, read while it grows and to its end when the block is left."""
    followed = Followed()
    ending = asyncio.Event()
    task = asyncio.ensure_future(_follow(nats, followed, ending))
    try:
        yield followed
    finally:
        ending.set()
        await task


async def _follow(nats: NatsServer, followed: Followed, ending: asyncio.Event) -> None:
    subject = limits_subject(0)
    async with nats.bus("limiter") as bus, reading_log(bus) as reader:
        while True:
            last_look = ending.is_set()
            try:
                page = await reader.page(subject, followed.last + 1, _PAGE, _PAGE_BYTES)
            except BusError:
                await asyncio.sleep(_FOLLOW_S)
                continue
            followed.add(page)
            if not page.complete and page.messages:
                continue
            if last_look:
                return
            await asyncio.sleep(_FOLLOW_S)


class Owning(NamedTuple):
    """Who owns the limits' log, and how far it has read or written it."""

    member: Member
    sequence: float


async def owner_of(members: Sequence[Member], beyond: float = -1.0) -> Owning | None:
    """Who owns the partition, by its own word; None: nobody says so now.

    Args:
        members: Whom to ask.
        beyond: One that stood still says that it owns the log for a moment longer: it has read
            no further than this sequence.
    """
    living = [one for one in members if one.alive]
    told = await asyncio.gather(
        *(one.metrics("droveway_partition_owner", "droveway_partition_sequence") for one in living)
    )
    found = [
        Owning(one, sequence)
        for one, (owns, sequence) in zip(living, told, strict=True)
        if owns and sequence >= beyond
    ]
    return max(found, key=lambda one: one.sequence, default=None)
