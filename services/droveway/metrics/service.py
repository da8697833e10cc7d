"""The metrics service's wiring."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from droveway.contracts.jetstream import ROUTING
from droveway.contracts.usage import AttemptRecorded
from droveway.metrics.budget_events import BudgetEvents
from droveway.metrics.canary_guard import CanaryGuard
from droveway.metrics.exposition import UsageMetrics
from droveway.metrics.feed import UsageFeed
from droveway.metrics.lag import LagWatch
from droveway.metrics.late_spans import LateSpans
from droveway.metrics.ledger.auditor import Auditor
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.retention import Retention
from droveway.metrics.ledger.totals import Totals
from droveway.metrics.ledger.writer import Counted, Writer
from droveway.metrics.price_book import PriceBook
from droveway.metrics.price_publisher import PricePublisher
from droveway.metrics.reports.desk import ReportDesk
from droveway.metrics.reports.rates import LiveRates
from droveway.metrics.settings import MetricsSettings
from droveway.metrics.streams import StreamWatch
from droveway.runtime.canary_orders import CanaryOrders
from droveway.runtime.canary_store import CanaryStore
from droveway.runtime.config.following import follow_config
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.directory import ACCESS_WITHIN_S, Directory
from droveway.runtime.routing_orders import RoutingOrders
from droveway.runtime.service import Process, Ready, running

_LATEST_NS = 600 * 10**9
"""What ended longer ago gets no spans any more: a ledger is made again from weeks of rows."""


async def run(settings: MetricsSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Counts rows until `stop`; the position in the database says where the next one goes on."""
    live = LiveConfig(settings.config)
    async with _opened(settings.database) as database, running("metrics", settings) as process:
        book = PriceBook(live.current)
        publisher = PricePublisher(process.bus, book)
        streams = StreamWatch(process.bus)
        guard = CanaryGuard(CanaryStore(process.bus), process.events, live.current)
        orders = RoutingOrders(process.bus)
        canaries = CanaryOrders(orders, lambda: guard.configure(live.current, canaries.present))
        directory = Directory(process.bus, live)
        rates = LiveRates(live.current)
        told = _Told(process, rates, settings, guard)
        feed = UsageFeed(process.bus, database, Writer(database, book.price), settings, told)
        desk = ReportDesk(
            process.bus, database, streams, rates,
            process.consumer("report", settings.max_reports),
            settings.report_within_s, settings.report_max_rows,
        )  # fmt: skip
        auditor = Auditor(
            process.bus, database, lambda: feed.caught_up_ms,
            settings.missing_row_s, settings.rows_kept_days,
        )  # fmt: skip
        retention = Retention(
            database, process.instance, settings.rows_kept_days, settings.hours_kept_days
        )

        watch = LagWatch(feed, process.events, settings.behind_s)
        gauges = process.gauges
        gauges.add("usage", feed.usage)
        gauges.add("ledger", feed.statistics)
        gauges.add("audit", auditor.statistics)
        gauges.add("retention", retention.statistics)
        gauges.add("report", desk.statistics)
        gauges.add("prices", publisher.statistics)
        gauges.add("kv", orders.statistics, {"bucket": ROUTING})
        gauges.add("directory", directory.statistics)
        gauges.add("canary", guard.statistics)
        streams.show(gauges)
        process.checks["usage"] = lambda: feed.stream.problem
        process.checks["ledger"] = lambda: feed.database_problem
        process.discovery.facts["usage_lag_rows"] = lambda: feed.lag_rows
        live.on_change(book.configure)
        live.on_change(rates.configure)
        live.on_change(desk.configure)
        directory.on_tenant(rates.on_tenant)
        live.on_change(lambda config: guard.configure(config, canaries.present))

        async def count() -> None:
            await asyncio.to_thread(book.load)  # rows wait for it in the stream, not in this loop
            gc.freeze()  # the list's 40 MB never become garbage: no collection looks at them
            process.background(publisher.run())
            await feed.run()

        process.background(directory.run())
        await follow_config(process, live, settings.config_within_s)
        await directory.until_loaded(ACCESS_WITHIN_S)
        await desk.listen()
        await BudgetEvents(process.bus, process.registry).listen()
        for work in (
            *(streams.run, count, watch.run, auditor.run, retention.run),
            *(orders.run, guard.run),
        ):
            process.background(work())
        process.takes_work(ready, 0)
        await stop.wait()


@asynccontextmanager
async def _opened(told: str) -> AsyncIterator[Database]:
    database = Database(told)
    try:
        yield database
    finally:
        await database.close()


class _Told:
    """Who hears of what the ledger has counted: counters, the guard, spans that come late."""

    def __init__(
        self, process: Process, rates: LiveRates, own: MetricsSettings, guard: CanaryGuard
    ) -> None:
        self._guard = guard
        self._metrics = UsageMetrics(
            process.registry, lambda tenant: rates.now.yuan(tenant), own.max_labels
        )
        self._late = LateSpans(process.telemetry, own.slow_s, own.pending_requests)
        self.end = self._metrics.end
        self._since_ns = 0

    def begin(self, so_far: Totals) -> None:
        """This process counts from here on; of what an empty ledger reads up nobody waits for."""
        self._metrics.begin(so_far)
        self._since_ns = 0 if any(so_far.requests.values()) else time.time_ns()

    def count(self, counted: Counted) -> None:
        """A transaction is committed."""
        self._metrics.count(counted)
        self._guard.count(counted.rows)
        since_ns = max(self._since_ns, time.time_ns() - _LATEST_NS)
        for row in counted.rows:
            if isinstance(row, AttemptRecorded):
                self._late.saw_attempt(row)
            elif row.began_ns + row.times.ended_us * 1_000 >= since_ns:
                self._late.saw_request(row)
            else:
                self._late.passed_by(row)
