"""Sends series to a collector again and again, from a thread of its own."""

import logging
import threading
import time
from collections.abc import Sequence

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from droveway.otel.logs import log_event
from droveway.otel.series import Series

log = logging.getLogger(__name__)

_SCOPE = InstrumentationScope("droveway")


class MetricSender:
    """Begins when it is made; ends with `shutdown`, or with the process.

    Args:
        exporter: Where to; its preference says whether sums go on or begin anew.
        resource: Whose they are.
        series: What is sent.
        interval_ms: From one export to the next.
        timeout_ms: For one export with its retries.
    """

    def __init__(
        self, exporter: MetricExporter, resource: Resource, series: Sequence[Series], *,
        interval_ms: float, timeout_ms: float,
    ) -> None:  # fmt: skip
        self.exported = self.failed = 0
        self._exporter = exporter
        self._resource = resource
        self._series = series
        self._interval_s = interval_ms / 1000
        self._timeout_ms = timeout_ms
        self._temporality = exporter._preferred_temporality or {}  # noqa: SLF001 - it has no other word
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def shutdown(self, limit_s: float) -> None:
        """Sends once more, for at most `limit_s`; what is then unsent is lost."""
        until_s = time.monotonic() + limit_s
        self._over.set()
        self._thread.join(limit_s)
        self._exporter.shutdown(timeout_millis=max(0.0, until_s - time.monotonic()) * 1000)

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            self._send()
        self._send()

    def _send(self) -> None:
        found = [
            series.metric(self._temporality.get(series.kind, AggregationTemporality.CUMULATIVE))
            for series in self._series
        ]
        metrics = [metric for metric in found if metric is not None]
        if not metrics:
            return
        scope = ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
        data = MetricsData(
            [ResourceMetrics(resource=self._resource, scope_metrics=[scope], schema_url="")]
        )
        try:
            outcome = self._exporter.export(data, timeout_millis=self._timeout_ms)
        except (OSError, RuntimeError, ValueError) as error:
            log_event(log, "metrics_unsent", level=logging.WARNING, reason=str(error)[:200])
            outcome = MetricExportResult.FAILURE
        if outcome is MetricExportResult.SUCCESS:
            self.exported += 1
        else:
            self.failed += 1
