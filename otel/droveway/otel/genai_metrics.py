"""GenAI metrics on their way to a collector.

The names are the released ones, or the newest of the conventions' repository: `names` has both.
Sums and histograms go on since the start, so an export that fails loses nothing as long as the
process lives. This module imports the SDK; import it only when there is an endpoint.

Source: open-telemetry/semantic-conventions-genai, gen-ai-metrics; opentelemetry-util-genai 1.3b0.
"""

from collections.abc import Callable

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from droveway.otel import names
from droveway.otel.bounded_labels import BoundedLabels
from droveway.otel.genai import ClientAttempt, OtlpStatistics, ServerRequest
from droveway.otel.metric_sender import MetricSender
from droveway.otel.series import Attributes, Series

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

_COUNTERS = (
    names.OTLP_CLIENT_INPUT_TOKENS,
    names.OTLP_CLIENT_OUTPUT_TOKENS,
    names.OTLP_CLIENT_CACHE_READ_TOKENS,
    names.OTLP_CLIENT_CACHE_WRITE_TOKENS,
    names.OTLP_CLIENT_REASONING_TOKENS,
)

Key = tuple[str | int, ...]
"""What tells one set of attributes from another: their values, in the order of `_NAMES`."""
_NAMES = (
    names.GEN_AI_OPERATION_NAME,
    names.GEN_AI_PROVIDER_NAME,
    names.GEN_AI_REQUEST_MODEL,
    names.GEN_AI_RESPONSE_MODEL,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
    names.ERROR_TYPE,
    names.GEN_AI_TOKEN_TYPE,
)


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
        self._server = _Server()
        self._client = _LatestClient() if latest else _ReleasedClient()
        self._sender = MetricSender(
            exporter, resource, (*self._server.series, *self._client.series),
            interval_ms=interval_ms, timeout_ms=timeout_ms,
        )  # fmt: skip
        self._asked = BoundedLabels(_MAX_MODELS)
        self._answered = BoundedLabels(_MAX_MODELS)
        self._recorded = 0
        self._closed = False

    def record_server(self, request: ServerRequest) -> None:
        """Adds one request that was served."""
        self._recorded += 1
        self._server.record(request, (*self._models(request), "", 0, request.error))

    def record_client(self, attempt: ClientAttempt) -> None:
        """Adds one attempt that was made."""
        self._recorded += 1
        address, port = attempt.server_address, attempt.server_port
        place = (address, port) if address else ("", 0)
        self._client.record(attempt, (*self._models(attempt), *place, attempt.error))

    def statistics(self) -> OtlpStatistics:
        """What became of the metrics so far."""
        return OtlpStatistics(
            recorded=self._recorded, exported=self._sender.exported, failed=self._sender.failed
        )

    def shutdown(self, limit_s: float) -> None:
        """Sends the sums once more, for at most `limit_s`; what is then unsent is lost."""
        if not self._closed:
            self._closed = True
            self._sender.shutdown(limit_s)

    def _models(self, done: ServerRequest | ClientAttempt) -> Key:
        asked = self._asked(done.model) if done.model else ""
        answered = self._answered(done.response_model) if done.response_model else ""
        return done.operation, done.provider, asked, answered


class _Server:
    def __init__(self) -> None:
        self._duration = _histogram(names.OTLP_SERVER_DURATION)
        self._first_token = _histogram(names.OTLP_SERVER_FIRST_TOKEN)
        self._per_token = _histogram(names.OTLP_SERVER_PER_TOKEN)
        self.series = (self._duration, self._first_token, self._per_token)

    def record(self, request: ServerRequest, key: Key) -> None:
        attributes = _attributes(key)
        self._duration.add(request.duration_s, key, attributes)
        if request.first_token_s is not None:
            self._first_token.add(request.first_token_s, key, attributes)
        if request.per_token_s is not None and not request.error:
            self._per_token.add(request.per_token_s, key, attributes)


class _ReleasedClient:
    def __init__(self) -> None:
        self._duration = _histogram(names.OTLP_CLIENT_DURATION)
        self._tokens = _histogram(names.OTLP_CLIENT_TOKENS)
        self._first_chunk = _histogram(names.OTLP_CLIENT_FIRST_CHUNK)
        self._per_chunk = _histogram(names.OTLP_CLIENT_PER_CHUNK)
        self.series = (self._duration, self._tokens, self._first_chunk, self._per_chunk)

    def record(self, attempt: ClientAttempt, key: Key) -> None:
        self._duration.add(attempt.duration_s, key, _attributes(key))
        _record_stream(self._first_chunk, self._per_chunk, attempt, key)
        if not attempt.counted:
            return
        for kind, tokens in (("input", attempt.input_tokens), ("output", attempt.output_tokens)):
            told = (*_without_error(key), kind)
            self._tokens.add(tokens, told, _attributes(told))


class _LatestClient:
    def __init__(self) -> None:
        self._duration = _histogram(names.OTLP_CLIENT_DURATION_LATEST)
        self._first_chunk = _histogram(names.OTLP_CLIENT_FIRST_CHUNK_LATEST)
        self._per_chunk = _histogram(names.OTLP_CLIENT_PER_CHUNK_LATEST)
        self._input = _histogram(names.OTLP_CLIENT_OPERATION_INPUT_TOKENS)
        self._output = _histogram(names.OTLP_CLIENT_OPERATION_OUTPUT_TOKENS)
        self._counters = [Series(name, "{token}") for name in _COUNTERS]
        self.series = (
            self._duration, self._first_chunk, self._per_chunk, self._input, self._output,
            *self._counters,
        )  # fmt: skip

    def record(self, attempt: ClientAttempt, key: Key) -> None:
        self._duration.add(attempt.duration_s, key, _attributes(key))
        _record_stream(self._first_chunk, self._per_chunk, attempt, key)
        if not attempt.counted:
            return
        told = _without_error(key)
        attributes = _attributes(told)
        self._input.add(attempt.input_tokens, told, attributes)
        self._output.add(attempt.output_tokens, told, attributes)
        used = (
            attempt.input_tokens, attempt.output_tokens, attempt.cache_read_tokens,
            attempt.cache_write_tokens, attempt.reasoning_tokens,
        )  # fmt: skip
        for counter, tokens in zip(self._counters, used, strict=True):
            if tokens > 0:
                counter.add(tokens, told, attributes)


def _record_stream(first: Series, each: Series, attempt: ClientAttempt, key: Key) -> None:
    if attempt.first_chunk_s is not None:
        first.add(attempt.first_chunk_s, key, _attributes(key))
    if attempt.per_chunk_s is not None:
        each.add(attempt.per_chunk_s, key, _attributes(key))


def _attributes(key: Key) -> Callable[[], Attributes]:
    return lambda: {name: value for name, value in zip(_NAMES, key, strict=False) if value}


def _without_error(key: Key) -> Key:
    return (*key[:-1], "")


def _histogram(name: str) -> Series:
    unit, bounds = _HISTOGRAMS[name]
    return Series(name, unit, bounds)
