"""The metrics service's wiring."""

import asyncio

from droveway.contracts import usage
from droveway.metrics.exposition import UsageMetrics
from droveway.metrics.feed import UsageFeed
from droveway.metrics.late_spans import LateSpans
from droveway.metrics.price_book import PriceBook
from droveway.metrics.price_publisher import PricePublisher
from droveway.metrics.settings import MetricsSettings
from droveway.runtime.config_file import LiveConfig
from droveway.runtime.service import Ready, running


async def run(settings: MetricsSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Counts rows until `stop`; what wasn't acknowledged then comes again later."""
    live = LiveConfig(settings.config)
    async with running("metrics", settings) as process:
        book = PriceBook(live.current)
        metrics = UsageMetrics(process.registry, book, settings.max_labels)
        late = LateSpans(process.telemetry, settings.slow_s, settings.pending_requests)

        def on_row(row: usage.Row) -> None:
            if isinstance(row, usage.AttemptRecorded):
                metrics.count_attempt(row)
                late.saw_attempt(row)
            else:
                metrics.count_request(row)
                late.saw_request(row)

        async def count() -> None:
            await asyncio.to_thread(book.load)  # rows wait for it in the stream, not in this loop
            process.background(publisher.run())
            await feed.run()

        publisher = PricePublisher(process.bus, book)
        live.on_change(book.configure)
        feed = UsageFeed(process.bus, settings.batch_rows, settings.remembered_rows, on_row)
        process.gauges.add("usage", feed.statistics)
        process.gauges.add("prices", publisher.statistics)
        process.gauges.add("config", live.statistics)
        process.checks["usage"] = feed.problem
        process.background(live.follow())
        process.background(count())
        process.takes_work(ready, 0)
        await stop.wait()
