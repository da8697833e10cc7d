"""The metrics service's wiring."""

import asyncio

from droveway.contracts import usage
from droveway.contracts.config import Config
from droveway.metrics.exposition import UsageMetrics
from droveway.metrics.feed import UsageFeed
from droveway.metrics.late_spans import LateSpans
from droveway.metrics.prices import PriceList
from droveway.metrics.settings import MetricsSettings
from droveway.runtime.config_file import LiveConfig
from droveway.runtime.service import Ready, running


async def run(settings: MetricsSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Counts rows until `stop`; what wasn't acknowledged then comes again later."""
    live = LiveConfig(settings.config)
    async with running("metrics", settings) as process:
        metrics = UsageMetrics(process.registry, PriceList(live.current), settings.max_labels)
        late = LateSpans(process.telemetry, settings.slow_s, settings.pending_requests)

        def configure(config: Config) -> None:
            metrics.prices = PriceList(config)

        def on_row(row: usage.Row) -> None:
            if isinstance(row, usage.AttemptRecorded):
                metrics.count_attempt(row)
                late.saw_attempt(row)
            else:
                metrics.count_request(row)
                late.saw_request(row)

        live.on_change(configure)
        feed = UsageFeed(process.bus, settings.batch_rows, settings.remembered_rows, on_row)
        process.gauges.add("usage", feed.statistics)
        process.gauges.add("config", live.statistics)
        process.checks["usage"] = feed.problem
        process.background(live.follow())
        process.background(feed.run())
        process.takes_work(ready, 0)
        await stop.wait()
