"""The limiter's wiring."""

import asyncio
import logging
import time

from droveway.contracts import admission, limits, settlement
from droveway.contracts.admission import PARTITION
from droveway.contracts.jetstream import PRICES
from droveway.limiter.handlers import Questions
from droveway.limiter.partition import Partition
from droveway.limiter.settings import LimiterSettings
from droveway.otel.logs import log_event
from droveway.runtime.config.following import follow_config
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.directory import Directory
from droveway.runtime.prices import LivePrices
from droveway.runtime.service import Ready, running

log = logging.getLogger(__name__)


async def run(settings: LimiterSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Decides, or stands by, until `stop`."""
    live = LiveConfig(settings.config)
    async with running("limiter", settings) as process:
        partition = Partition(process.bus, PARTITION, settings)
        directory = Directory(process.bus, live)
        directory.on_change(partition.configure)
        partition.on_owned = process.events.tell
        process.discovery.facts["owner"] = lambda: partition.owns
        questions = Questions(partition)
        prices = LivePrices(process.bus, partition.price)
        process.gauges.add("limiter", partition.decided)
        process.gauges.add("partition", partition.statistics)
        process.gauges.add("snapshots", partition.snapshots.statistics)
        process.gauges.add("spend", partition.spend.statistics)
        process.gauges.add("admission", questions.statistics)
        process.gauges.add("directory", directory.statistics)
        process.gauges.add("kv", prices.statistics, {"bucket": PRICES})
        process.checks["limits"] = partition.check
        # Each limiter hears all of it, since a standby may have to answer; the owner's decision
        # awaits nothing, so it is made in the read loop: in order, without a task.
        for subject, handler in (
            (limits.owner_subject, partition.on_alive),
            (admission.admission_subject, questions.on_admission),
            (admission.standing_subject, questions.on_standing),
            (settlement.settlement_subject, questions.on_settlement),
        ):
            await process.bus.subscribe(subject(PARTITION), handler)
        process.background(directory.run())
        process.background(prices.run())
        await follow_config(process, live, settings.config_within_s)
        knowledge = _Knowledge(directory, prices, settings.known_within_s)
        process.background(partition.run(knowledge.complete, stop))
        await partition.until_ready(stop)
        process.takes_work(ready, 0)
        await stop.wait()
        process.checks["draining"] = lambda: "shutting down"
        await partition.left()


class _Knowledge:
    """What must be known before anything is decided: who has which limits, and what it costs."""

    def __init__(self, directory: Directory, prices: LivePrices, within_s: float) -> None:
        self._directory = directory
        self._prices = prices
        self._until_s = time.monotonic() + within_s

    async def complete(self) -> None:
        """Returns when all is known, or couldn't be read in time."""
        await self._directory.until_loaded(max(0.0, self._until_s - time.monotonic()))
        try:
            async with asyncio.timeout(max(0.0, self._until_s - time.monotonic())):
                await self._prices.loaded()
        except TimeoutError:
            log_event(log, "prices_not_loaded", level=logging.WARNING)
