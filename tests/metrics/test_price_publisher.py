"""The price book over a real broker: written by metrics, followed as the limiter does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from droveway.cli import ports
from droveway.contracts import jetstream
from droveway.contracts.config import Price
from droveway.contracts.envelope import encode
from droveway.contracts.relay import Usage
from droveway.contracts.usage import usage_subject
from droveway.metrics.price_book import PriceBook
from droveway.metrics.price_publisher import PricePublisher
from droveway.metrics.service import run
from droveway.metrics.settings import MetricsSettings
from droveway.runtime.errors import JetStreamRefused
from droveway.runtime.prices import LivePrices
from tests.metrics.test_price_book import NOW_NS, config
from tests.support.nats import NatsServer, serving, write_droveway_config
from tests.support.rows import attempt_row
from tests.support.waiting import until

CHEAP = Price(input=1, output=1)
BUCKET = jetstream.values_bucket(jetstream.PRICES, 8 * 1024 * 1024, 1)
_EXISTS = 10058


async def _make_bucket(nats: NatsServer) -> None:
    async with nats.bus("setup") as bus:
        try:
            await bus.jetstream(f"STREAM.CREATE.KV_{jetstream.PRICES}", BUCKET)
        except JetStreamRefused as error:
            if error.number != _EXISTS:
                raise


@pytest.fixture
def prices_nats(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path / "nats") as server:
        asyncio.run(_make_bucket(server))
        yield server


@pytest.fixture
def bare_nats(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path / "nats", set_up=False) as server:
        yield server


@asynccontextmanager
async def _publishing(nats: NatsServer, book: PriceBook) -> AsyncIterator[PricePublisher]:
    async with nats.bus("metrics") as bus:
        publisher = PricePublisher(bus, book)
        task = asyncio.ensure_future(publisher.run())
        try:
            yield publisher
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class Follower:
    """What a limiter knows of the prices."""

    def __init__(self, live: LivePrices, changed: list[str]) -> None:
        self.live = live
        self.changed = changed

    def input_usd(self, model: str) -> float:
        return self.live.price_of("p", model).rates[0].input / 1e9


@asynccontextmanager
async def _following(nats: NatsServer) -> AsyncIterator[Follower]:
    changed: list[str] = []
    async with nats.bus("limiter") as bus:
        live = LivePrices(bus, lambda provider, _prices: changed.append(provider))
        task = asyncio.ensure_future(live.run())
        try:
            await live.loaded()
            yield Follower(live, changed)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_prices_are_published_and_followed(prices_nats: NatsServer) -> None:
    book = PriceBook(config({"mine*": CHEAP}))
    async with _following(prices_nats) as follower:
        assert follower.input_usd("gpt-4.1") == 8
        async with _publishing(prices_nats, book):
            await until(lambda: follower.changed == ["p"])
            assert follower.input_usd("gpt-4.1") == 2
            assert follower.input_usd("mine-9") == 1
            assert follower.input_usd("claude-sonnet-4-5-20990101") == 3
            assert follower.input_usd("unheard-of") == 8
            assert follower.live.price_of("p", "gpt-4.1") == book.price("p", "gpt-4.1", NOW_NS)


async def test_a_change_of_the_configuration_is_published_and_nothing_else(
    prices_nats: NatsServer,
) -> None:
    book = PriceBook(config())
    async with _following(prices_nats) as follower, _publishing(prices_nats, book) as publisher:
        await until(lambda: follower.changed == ["p"])
        book.configure(config())
        book.configure(config({"gpt-4.1": CHEAP}))
        await until(lambda: follower.input_usd("gpt-4.1") == 1)
        assert publisher.statistics().stored == 2


async def test_a_name_of_a_row_is_published(prices_nats: NatsServer) -> None:
    book = PriceBook(config())
    async with _following(prices_nats) as follower, _publishing(prices_nats, book):
        await until(lambda: follower.changed == ["p"])
        book.price("p", "vendor/gpt-4.1", NOW_NS)
        await until(lambda: follower.input_usd("vendor/gpt-4.1") == 2)


async def test_a_restarted_publisher_writes_nothing_that_stands_there(
    prices_nats: NatsServer,
) -> None:
    seen = PriceBook(config())
    async with _following(prices_nats) as follower:
        async with _publishing(prices_nats, seen):
            seen.price("p", "vendor/gpt-4.1", NOW_NS)
            await until(lambda: follower.input_usd("vendor/gpt-4.1") == 2)
        written = len(follower.changed)
        again = PriceBook(config({"other": CHEAP}))
        async with _publishing(prices_nats, again) as publisher:
            await until(lambda: follower.input_usd("other") == 1)
            assert publisher.statistics().stored == 1
        assert len(follower.changed) == written + 1
        assert follower.input_usd("vendor/gpt-4.1") == 2


async def test_without_its_bucket_it_is_tried_again(bare_nats: NatsServer) -> None:
    async with _publishing(bare_nats, PriceBook(config())) as publisher:
        await until(lambda: publisher.statistics().failed > 0, 8.0)
        await _make_bucket(bare_nats)
        await until(lambda: publisher.statistics().stored == 1, 15.0)


async def test_the_operators_prices_hold_before_the_bucket_says_so(
    prices_nats: NatsServer,
) -> None:
    async with _following(prices_nats) as follower:
        follower.live.configure(config({"*": Price(input=0, output=0)}))
        assert follower.input_usd("gpt-4.1") == 0


async def test_the_service_prices_rows_and_publishes_their_names(
    prices_nats: NatsServer, tmp_path: Path
) -> None:
    stop, port = asyncio.Event(), ports.free()
    own = MetricsSettings(
        nats_url=prices_nats.url,
        nats_nkey_file=str(prices_nats.folder.seed_file("metrics")),
        config=str(write_droveway_config(tmp_path / "droveway.yaml", config())),
        admin_port=port,
        database=f"sqlite:///{tmp_path}/ledger.db",
    )
    row = attempt_row(provider="p", model="vendor/gpt-4.1", usage=Usage(1_000, 500))
    async with _following(prices_nats) as follower, prices_nats.bus("caller") as caller:
        service = asyncio.ensure_future(run(own, stop, lambda _name, _port: None))
        caller.publish(usage_subject("default"), encode(row))
        await until(lambda: follower.input_usd("vendor/gpt-4.1") == 2, 8.0)
        page, cost = "", 'ai_api_cost_total{destination="p",model="vendor/gpt-4.1"} 0.006'
        async with asyncio.timeout(8), httpx.AsyncClient() as client:
            while cost not in page:  # the price is told first, then the row is committed
                page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        stop.set()
        await service
    assert "ai_api_unpriced_tokens_total{" not in page


async def test_junk_in_the_bucket_changes_nothing_and_is_overwritten(
    prices_nats: NatsServer,
) -> None:
    async with _following(prices_nats) as follower, prices_nats.bus("metrics") as bus:
        async with _publishing(prices_nats, PriceBook(config())):
            await until(lambda: follower.changed == ["p"])
        bus.publish(f"$KV.{jetstream.PRICES}.p", b"junk")
        bus.publish(f"$KV.{jetstream.PRICES}.q", encode("no prices"))
        await until(lambda: follower.live.statistics().changes == 3)
        assert follower.input_usd("gpt-4.1") == 2
        async with _publishing(prices_nats, PriceBook(config())) as publisher:
            await until(lambda: publisher.statistics().stored == 1)
