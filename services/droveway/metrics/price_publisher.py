"""Publishes the price book into the KV bucket `prices`, one value per provider."""

import asyncio
import logging
from typing import NamedTuple

from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.jetstream import PRICES
from droveway.contracts.prices import ProviderPrices, prices_decoder
from droveway.metrics.price_book import PriceBook
from droveway.otel.logs import log_event
from droveway.runtime.backoff import full_jitter_s
from droveway.runtime.bus import Bus, store
from droveway.runtime.bus.direct_get import DirectGet, reading
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

REFRESH_S = 60.0
"""Prices have a first day, and some an hour; so often what stands in the bucket is compared."""
_GATHER_S = 0.5
"""Names that rows bring are gathered so long: a value isn't written for each."""
_ANSWER_LIMIT_S = 5.0
_RETRY_BASE_S = 0.5
_RETRY_CAP_S = 10.0


class PublisherStatistics(NamedTuple):
    """A snapshot for gauges."""

    stored: int
    """Values written because they differed from what stood there."""
    failed: int
    """Rounds that the broker didn't answer; each is repeated."""


class PricePublisher:
    """Writes a value only when it differs from the one that stands there."""

    def __init__(self, bus: Bus, book: PriceBook) -> None:
        self._bus = bus
        self._book = book
        self._stored = 0
        self._failed = 0
        self._failing = 0
        self._wake = asyncio.Event()
        book.on_news = self._wake.set

    async def run(self) -> None:
        """Publishes now, after each change, and when a price's day or hour has come."""
        async with reading(self._bus, f"KV_{PRICES}", _ANSWER_LIMIT_S) as reader:
            while True:
                try:
                    await self.publish(reader)
                except BusError as error:
                    await asyncio.sleep(self._failed_s(error))
                    continue
                self._is_right()
                await self._pause()

    async def publish(self, reader: DirectGet) -> None:
        """Compares each provider's value with what stands there, and writes those that differ.

        Raises:
            BusError: The bucket doesn't answer, or refuses.
        """
        for provider in self._book.providers:
            await self._publish_one(reader, provider)

    def statistics(self) -> PublisherStatistics:
        """A snapshot for gauges."""
        return PublisherStatistics(stored=self._stored, failed=self._failed)

    async def _publish_one(self, reader: DirectGet, provider: str) -> None:
        subject = f"$KV.{PRICES}.{provider}"
        stored = await reader.last(subject)
        payload = await asyncio.to_thread(self._value, provider, stored and stored.payload)
        if stored is not None and stored.payload == payload and not stored.operation:
            return
        await store(self._bus, subject, payload, _ANSWER_LIMIT_S)
        self._stored += 1
        log_event(log, "prices_published", provider=provider, bytes=len(payload))

    def _value(self, provider: str, standing: bytes | None) -> bytes:
        value = self._book.value(provider)
        if (before := _decoded(standing)) is not None and before.models.keys() != value.models:
            self._book.adopt(before)
            value = self._book.value(provider)
        return encode(value)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_S):
                await self._wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_GATHER_S)
        self._wake.clear()

    def _is_right(self) -> None:
        if self._failing:
            self._failing = 0
            log_event(log, "prices_published_again")

    def _failed_s(self, error: BusError) -> float:
        self._failed += 1
        self._failing += 1
        if self._failing == 1:
            log_event(log, "prices_unpublished", level=logging.WARNING, error=str(error))
        return full_jitter_s(self._failing, base_s=_RETRY_BASE_S, cap_s=_RETRY_CAP_S)


def _decoded(payload: bytes | None) -> ProviderPrices | None:
    """What stands there; None for nothing, and for what is no value: it is overwritten."""
    try:
        return prices_decoder.decode(payload) if payload else None
    except MALFORMED:
        return None
