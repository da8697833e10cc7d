"""GenAI metrics on their way to a collector.

The names are the released ones, or the newest of the conventions' repository: `names` has both.
The SDK's own thread sends sums and histograms since the start, so an export that fails loses
nothing as long as the process lives. This module imports the SDK; import it only when there is an
endpoint.

Source: open-telemetry/semantic-conventions-genai, gen-ai-metrics; opentelemetry-util-genai 1.3b0.
"""

from typing import Any

from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from droveway.otel import names
from droveway.otel.bounded_labels import BoundedLabels
from droveway.otel.genai import ClientAttempt, OtlpStatistics, ServerRequest

_MAX_MODELS = 200
"""Names of models in attributes, asked for and answered each; further ones are `other`."""
_DURATION_S = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
_TOKENS = tuple(4**power for power in range(14))
_PER_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_FIRST_TOKEN_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    names.OTLP_CLIENT_DURATION: ("s", _DURATION_S),
    names.OTLP_CLIENT_DURATION_LATEST: ("s", _DURATION_S),
    names.OTLP_CLIENT_TOKENS: ("{token}", _TOKENS),
    names.OTLP_CLIENT_OPERATION_INPUT_TOKENS: ("{token}", _TOKENS),
    names.OTLP_CLIENT_OPERATION_OUTPUT_TOKENS: ("{token}", _TOKENS),
    names.OTLP_CLIENT_FIRST_CHUNK: ("s", _FIRST_TOKEN_S),
    names.OTLP_CLIENT_FIRST_CHUNK_LATEST: ("s", _FIRST_TOKEN_S),
    names.OTLP_CLIENT_PER_CHUNK: ("s", _PER_TOKEN_S),
    names.OTLP_CLIENT_PER_CHUNK_LATEST: ("s", _PER_TOKEN_S),
    names.OTLP_SERVER_DURATION: ("s", _DURATION_S),
    names.OTLP_SERVER_FIRST_TOKEN: ("s", _FIRST_TOKEN_S),
    names.OTLP_SERVER_PER_TOKEN: ("s", _PER_TOKEN_S),
}

Attributes = dict[str, str | int]


class GenAiMetrics:
    """Records requests and attempts; never waits for the endpoint.

    Call it from one thread, the event loop's.

    Args:
        exporter: Where the sums go.
        resource: Whose they are.
        interval_ms: From one export to the next.
        timeout_ms: For one export with its retries.
        latest: Whether metrics have the newest names.
    """

    def __init__(
        self, exporter: MetricExporter, resource: Resource, *,
        interval_ms: float, timeout_ms: float, latest: bool,
    ) -> None:  # fmt: skip
        self._exporter = _CountingExporter(exporter)
        self._reader = PeriodicExportingMetricReader(
            self._exporter,
            export_interval_millis=interval_ms,
            export_timeout_millis=timeout_ms,
        )
        provider = MeterProvider([self._reader], resource, shutdown_on_exit=False, views=_VIEWS)
        meter = provider.get_meter("droveway")
        self._server = _ServerInstruments(meter)
        self._client = _LatestClient(meter) if latest else _ReleasedClient(meter)
        self._asked = BoundedLabels(_MAX_MODELS)
        self._answered = BoundedLabels(_MAX_MODELS)
        self._recorded = 0
        self._closed = False

    def record_server(self, request: ServerRequest) -> None:
        """Adds one request that was served."""
        self._recorded += 1
        self._server.record(request, self._attributes(request))

    def record_client(self, attempt: ClientAttempt) -> None:
        """Adds one attempt that was made."""
        self._recorded += 1
        attributes = self._attributes(attempt)
        if attempt.server_address:
            attributes[names.SERVER_ADDRESS] = attempt.server_address
            attributes[names.SERVER_PORT] = attempt.server_port
        self._client.record(attempt, attributes)

    def statistics(self) -> OtlpStatistics:
        """What became of the metrics so far."""
        return OtlpStatistics(
            recorded=self._recorded, exported=self._exporter.exported, failed=self._exporter.failed
        )

    def shutdown(self, limit_s: float) -> None:
        """Sends the sums once more, for at most `limit_s`; what is then unsent is lost."""
        if self._closed:
            return
        self._closed = True
        # Not the provider's shutdown, which raises when its reader took as long as it may.
        self._reader.shutdown(timeout_millis=limit_s * 1000)

    def _attributes(self, done: ServerRequest | ClientAttempt) -> Attributes:
        attributes: Attributes = {names.GEN_AI_OPERATION_NAME: done.operation}
        if done.provider:
            attributes[names.GEN_AI_PROVIDER_NAME] = done.provider
        if done.model:
            attributes[names.GEN_AI_REQUEST_MODEL] = self._asked(done.model)
        if done.response_model:
            attributes[names.GEN_AI_RESPONSE_MODEL] = self._answered(done.response_model)
        if done.error:
            attributes[names.ERROR_TYPE] = done.error
        return attributes


class _ServerInstruments:
    def __init__(self, meter: Meter) -> None:
        self._duration = _histogram(meter, names.OTLP_SERVER_DURATION)
        self._first_token = _histogram(meter, names.OTLP_SERVER_FIRST_TOKEN)
        self._per_token = _histogram(meter, names.OTLP_SERVER_PER_TOKEN)

    def record(self, request: ServerRequest, attributes: Attributes) -> None:
        self._duration.record(request.duration_s, attributes)
        if request.first_token_s is not None:
            self._first_token.record(request.first_token_s, attributes)
        if request.per_token_s is not None and not request.error:
            self._per_token.record(request.per_token_s, attributes)


class _ReleasedClient:
    def __init__(self, meter: Meter) -> None:
        self._duration = _histogram(meter, names.OTLP_CLIENT_DURATION)
        self._tokens = _histogram(meter, names.OTLP_CLIENT_TOKENS)
        self._first_chunk = _histogram(meter, names.OTLP_CLIENT_FIRST_CHUNK)
        self._per_chunk = _histogram(meter, names.OTLP_CLIENT_PER_CHUNK)

    def record(self, attempt: ClientAttempt, attributes: Attributes) -> None:
        self._duration.record(attempt.duration_s, attributes)
        _record_stream(self._first_chunk, self._per_chunk, attempt, attributes)
        if not attempt.counted:
            return
        told = _without_error(attributes)
        for kind, tokens in (("input", attempt.input_tokens), ("output", attempt.output_tokens)):
            self._tokens.record(tokens, {**told, names.GEN_AI_TOKEN_TYPE: kind})


class _LatestClient:
    def __init__(self, meter: Meter) -> None:
        self._duration = _histogram(meter, names.OTLP_CLIENT_DURATION_LATEST)
        self._first_chunk = _histogram(meter, names.OTLP_CLIENT_FIRST_CHUNK_LATEST)
        self._per_chunk = _histogram(meter, names.OTLP_CLIENT_PER_CHUNK_LATEST)
        self._input = _histogram(meter, names.OTLP_CLIENT_OPERATION_INPUT_TOKENS)
        self._output = _histogram(meter, names.OTLP_CLIENT_OPERATION_OUTPUT_TOKENS)
        self._counters = [
            meter.create_counter(name, "{token}")
            for name in (
                names.OTLP_CLIENT_INPUT_TOKENS,
                names.OTLP_CLIENT_OUTPUT_TOKENS,
                names.OTLP_CLIENT_CACHE_READ_TOKENS,
                names.OTLP_CLIENT_CACHE_WRITE_TOKENS,
                names.OTLP_CLIENT_REASONING_TOKENS,
            )
        ]

    def record(self, attempt: ClientAttempt, attributes: Attributes) -> None:
        self._duration.record(attempt.duration_s, attributes)
        _record_stream(self._first_chunk, self._per_chunk, attempt, attributes)
        if not attempt.counted:
            return
        told = _without_error(attributes)
        self._input.record(attempt.input_tokens, told)
        self._output.record(attempt.output_tokens, told)
        used = (
            attempt.input_tokens, attempt.output_tokens, attempt.cache_read_tokens,
            attempt.cache_write_tokens, attempt.reasoning_tokens,
        )  # fmt: skip
        for counter, tokens in zip(self._counters, used, strict=True):
            if tokens > 0:
                counter.add(tokens, told)


def _record_stream(
    first: Histogram, each: Histogram, attempt: ClientAttempt, attributes: Attributes
) -> None:
    if attempt.first_chunk_s is not None:
        first.record(attempt.first_chunk_s, attributes)
    if attempt.per_chunk_s is not None:
        each.record(attempt.per_chunk_s, attributes)


def _without_error(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if name != names.ERROR_TYPE}


def _histogram(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(name, _HISTOGRAMS[name][0])


_VIEWS = [
    View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(list(bounds)))
    for name, (_, bounds) in _HISTOGRAMS.items()
]


class _CountingExporter(MetricExporter):
    """An exporter that counts what came of each export."""

    def __init__(self, inner: MetricExporter) -> None:
        super().__init__(inner._preferred_temporality, inner._preferred_aggregation)  # noqa: SLF001
        self._inner = inner
        self._stopped = False
        self.exported = 0
        self.failed = 0

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        outcome = MetricExportResult.FAILURE
        try:
            if not self._stopped:
                outcome = self._inner.export(metrics_data, timeout_millis, **kwargs)
        finally:
            if outcome is MetricExportResult.SUCCESS:
                self.exported += 1
            else:
                self.failed += 1
        return outcome

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._stopped = True
        self._inner.shutdown(timeout_millis, **kwargs)
