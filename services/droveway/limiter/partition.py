"""One partition in this process: standby until its owner is silent, owner until it is fenced.

load --> standby --(silence, or the owner leaves; an append that is taken)--> owner
 ^                                                                             |
 +---- all forgotten <----(an append is refused, or the connection is lost)----+
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from droveway.contracts import limits
from droveway.contracts.config import Config
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.events import OwnerChanged
from droveway.contracts.jetstream import LIMITS
from droveway.contracts.prices import ProviderPrices
from droveway.limiter.clock import LogClock
from droveway.limiter.decisions import Decisions
from droveway.limiter.group_commit import Author, Counts
from droveway.limiter.log import Fenced, Log
from droveway.limiter.owner import Owner, Work
from droveway.limiter.partition_statistics import PartitionStatistics
from droveway.limiter.remembered import Remembered
from droveway.limiter.settings import LimiterSettings
from droveway.limiter.snapshot_writer import OWNERS, STANDBYS, Schedule, write_when_due
from droveway.limiter.snapshots import Snapshot, Snapshots
from droveway.limiter.spend import SpendFollower
from droveway.limiter.standby import Standby, Taken
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet, reading
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

_AGAIN_S = 0.05
"""Wait before all is read again, after a read that wasn't answered."""


class Partition:
    """The role of this process, and what it needs for any."""

    def __init__(self, bus: Bus, number: int, own: LimiterSettings) -> None:
        self._bus = bus
        self._number = number
        self._settings = own
        self._rules = own.rules(bus.instance)
        self._config: Config | None = None
        self._prices: dict[str, ProviderPrices | None] = {}
        self._log = Log(bus, number, own)
        self._clock = LogClock()
        self._numbers = itertools.count(1).__next__
        self._counts = Counts()
        self._remembered = Remembered(own)
        self._schedule = Schedule(own.snapshot_batches, own.snapshot_every_s)
        self.snapshots = Snapshots(bus, number, own.read_within_s)
        self.spend = SpendFollower(bus, own)
        self._standby = self._new_standby()
        self._owner: Owner | None = None
        self._takeovers = self._fenced = self._lost = 0
        self._unread = RareLog(log, "limits_unread")
        self.on_owned: Callable[[OwnerChanged], None] = lambda _event: None
        self.ended = asyncio.Event()
        """It owns nothing any more, and won't."""

    # What it is told

    def configure(self, config: Config) -> None:
        """Takes new limits."""
        self._config = config
        if self._owner is not None:
            self._owner.decisions.configure(config)

    def price(self, provider: str, prices: ProviderPrices | None) -> None:
        """Takes new prices of a provider; None: it has none any more."""
        self._prices[provider] = prices
        if self._owner is not None:
            self._owner.decisions.price(provider, prices)

    def hand(self, work: Work, *, asks: bool = True) -> None:
        """Does what a message asks for, if this process owns the partition; else remembers it.

        Who `asks` does so again if there's no answer; other messages come once.
        """
        if self._owner is not None and self._owner.open:
            self._owner.offer(work)
        else:
            self._remembered.add(work, asks=asks)

    def on_alive(self, payload: bytes, _reply: str) -> None:
        """An owner lives, or leaves."""
        try:
            alive = limits.alive_decoder.decode(payload)
        except MALFORMED:
            return
        if alive.owner == self._bus.instance:
            return
        if self._owner is not None:
            self._owner.on_rival(alive.sequence)
        else:
            self._standby.on_alive(alive.owner, alive.sequence, leaving=alive.leaving)

    # Its life

    async def run(self, until_known: Callable[[], Awaitable[None]], leave: asyncio.Event) -> None:
        """Follows, owns, and follows again, until `leave`.

        Args:
            until_known: Returns when limits and prices are known: before, nothing is decided.
            leave: Ends an ownership once all is answered.
        """
        forget = self._bus.on_reconnected(self._reconnected)
        try:
            async with reading(self._bus, LIMITS, self._settings.read_within_s) as reader:
                while not leave.is_set():
                    await self._turn(reader, until_known, leave)
        finally:
            forget()
            self.ended.set()

    async def until_ready(self, leave: asyncio.Event) -> None:
        """Returns when it can decide, or follows somebody who does, or is to leave."""
        while not self.ready and not leave.is_set():  # noqa: ASYNC110 - time alone ends it
            await asyncio.sleep(self._settings.follow_every_ms / 1000)

    async def left(self) -> None:
        """After `leave` was set: returns when an owner has answered all that it had."""
        if self._owner is not None:
            await self.ended.wait()

    @property
    def owns(self) -> bool:
        """This process decides."""
        return self._owner is not None

    @property
    def ready(self) -> bool:
        """It owns the partition, or follows its owner closely."""
        return self._owner is not None or self._standby.follows

    def check(self) -> str:
        """Why it isn't ready; empty when it is."""
        return "" if self.ready else "neither owns the limits' log nor follows its owner"

    def decided(self) -> Any:
        """What the owner has decided, for gauges; None at a standby."""
        return None if self._owner is None else self._owner.decisions.statistics()

    def statistics(self) -> PartitionStatistics:
        """A snapshot for gauges."""
        own_log, counts = self._log.statistics(), self._counts
        return PartitionStatistics(
            owner=self._owner is not None,
            ready=self.ready,
            sequence=self._sequence,
            lag_s=0.0 if self._owner is not None else self._standby.lag_s,
            remembered=len(self._remembered),
            pending=self._owner.pending if self._owner is not None else 0,
            takeovers=self._takeovers,
            fenced=self._fenced,
            lost=self._lost,
            appends=own_log.appends,
            appended_ops=counts.appended_ops,
            batch_ops=counts.batch_ops,
            commit_s=own_log.commit_s,
            doubts=own_log.doubts,
            refused_full=counts.refused_full,
            unsent=counts.unsent,
            snapshot_age_s=self._schedule.age_s,
        )

    async def _turn(
        self,
        reader: DirectGet,
        until_known: Callable[[], Awaitable[None]],
        leave: asyncio.Event,
    ) -> None:
        """Once around the circle."""
        self._standby = self._new_standby()
        try:
            self._owner = self._new_owner(await self._follow(reader, until_known))
            await self._owner.run(reader, leave, self._beside)
        except* Fenced as group:
            self._fenced += 1
            log_event(log, "limits_fenced", level=logging.WARNING, reason=_reason(group))
        except* BusError as group:
            self._lost += self._standby.loaded
            self._unread.warn(reason=_reason(group))
            await asyncio.sleep(_AGAIN_S)
        finally:
            self._owner = None

    async def _follow(self, reader: DirectGet, until_known: Callable[[], Awaitable[None]]) -> Taken:
        """A standby's work, until it is the owner."""
        # The owner doesn't listen: each of its own appends would come before the broker's answer.
        batches = await self._bus.subscribe(self._log.subject, self._standby.on_batch)
        try:
            await self._standby.load(reader)
            await until_known()
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write_snapshots(STANDBYS, self._standby.snapshot))
                taken = await self._standby.until_taken(reader, self._numbers)
                writer.cancel()
        finally:
            batches.close()
        return taken

    async def _beside(self, owner: Owner) -> None:
        """An owner's work besides deciding."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.spend.run(owner))
            tasks.create_task(self._write_snapshots(OWNERS, owner.snapshot))

    async def _write_snapshots(
        self, patience: int, take: Callable[[], Awaitable[Snapshot]]
    ) -> None:
        await write_when_due(self.snapshots, self._schedule, patience, lambda: self._sequence, take)

    def _new_standby(self) -> Standby:
        return Standby(
            self._bus.instance,
            self._log,
            self.snapshots,
            self._schedule,
            self._clock,
            self._settings,
        )

    def _new_owner(self, taken: Taken) -> Owner:
        decisions = Decisions(taken.book, self._rules)
        if self._config is not None:
            decisions.configure(self._config)
        for provider, prices in self._prices.items():
            decisions.price(provider, prices)
        decisions.extend_leases(taken.now_ms)
        owner = Owner(
            self._bus,
            self._number,
            self._log,
            decisions,
            Author(self._bus.instance, self._numbers, self._clock.now_ms),
            taken.appended,
            self._counts,
            self._settings,
        )
        self._takeovers += 1
        remembered = self._remembered.take(self._standby.answered_s)
        log_event(log, "limits_owned", sequence=taken.appended.sequence, remembered=len(remembered))
        self.on_owned(OwnerChanged(partition=self._number, sequence=taken.appended.sequence))
        for work in remembered:
            owner.offer(work)
        return owner

    @property
    def _sequence(self) -> int:
        return self._standby.sequence if self._owner is None else self._owner.sequence

    def _reconnected(self) -> None:
        if self._owner is not None:
            self._owner.lose()


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    """What the first of them says."""
    first = group.exceptions[0]
    return _reason(first) if isinstance(first, BaseExceptionGroup) else str(first)
