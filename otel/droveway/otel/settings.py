"""What an operator may turn about traces and metrics, by the standard `OTEL_*` variables."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

_PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
_Signal = Literal["traces", "metrics"]


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may turn about traces and metrics, by the standard `OTEL_*` variables."""

    endpoint: str = ""
    """The URL that takes OTLP/HTTP traces, path included; empty: nothing is exported."""
    headers: str = ""
    """`name=value,name=value` with percent escapes, sent with each export; may hold a secret."""
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    """The share of traces sampled that come without a parent; a parent decides for its own."""
    queue_spans: _PositiveInt = 2048
    """Spans that wait or are being sent; when full, new ones are dropped and counted."""
    batch_spans: _PositiveInt = 512
    """The most spans in one export."""
    schedule_delay_ms: _PositiveInt = 1000
    """The longest a span waits for its batch to fill."""
    export_timeout_ms: _PositiveInt = 10_000
    """One export with its retries; then its spans count as failed."""
    metrics_endpoint: str = ""
    """The URL that takes OTLP/HTTP metrics, path included; empty: none are recorded for it."""
    metrics_headers: str = ""
    """Sent with each export of metrics, in the same form; may hold a secret."""
    metrics_interval_ms: _PositiveInt = 60_000
    """From one export of the metrics' sums to the next."""
    metrics_timeout_ms: _PositiveInt = 10_000
    """One such export with its retries; the next one tells what a failed one would have."""
    latest_names: bool = False
    """Whether metrics have the names of the newest GenAI conventions in place of the released."""

    def __post_init__(self) -> None:
        if self.batch_spans > self.queue_spans:
            raise ValueError(
                f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE is {self.batch_spans}: expected at most "
                f"OTEL_BSP_MAX_QUEUE_SIZE, {self.queue_spans}"
            )

    def __repr__(self) -> str:
        return f"TelemetrySettings(endpoint={self.endpoint!r}, sample_ratio={self.sample_ratio})"

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], *, sample_ratio: float = 0.1
    ) -> "TelemetrySettings":
        """Reads the `OTEL_*` variables; an empty variable counts as unset.

        Args:
            environ: The process's environment.
            sample_ratio: Holds where the environment names no sampler.

        Raises:
            ValueError: A variable has a value that we can't honour; the message names it.
        """
        if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return cls(sample_ratio=sample_ratio)
        values: dict[str, Any] = {
            "endpoint": _endpoint(environ, "traces"),
            "headers": _first(environ, "TRACES_HEADERS", "HEADERS"),
            "sample_ratio": sample_ratio,
            "metrics_endpoint": _metrics_endpoint(environ),
            "metrics_headers": _first(environ, "METRICS_HEADERS", "HEADERS"),
            "latest_names": _LATEST in _words(environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")),
        }
        for field in msgspec.structs.fields(cls):
            variable = VARIABLES.get(field.name, "")
            if raw := environ.get(variable):
                try:
                    values[field.name] = msgspec.convert(raw, field.type, strict=False)
                except msgspec.ValidationError as error:
                    raise ValueError(f"{variable} is {raw!r}: {error}") from error
        return cls(**values | _fixed_ratio(environ))


VARIABLES = {
    "sample_ratio": "OTEL_TRACES_SAMPLER_ARG",
    "queue_spans": "OTEL_BSP_MAX_QUEUE_SIZE",
    "batch_spans": "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "schedule_delay_ms": "OTEL_BSP_SCHEDULE_DELAY",
    "export_timeout_ms": "OTEL_BSP_EXPORT_TIMEOUT",
    "metrics_interval_ms": "OTEL_METRIC_EXPORT_INTERVAL",
    "metrics_timeout_ms": "OTEL_METRIC_EXPORT_TIMEOUT",
}
"""The variable of each field that one variable sets as it stands."""
_FIXED_RATIOS = {"parentbased_always_on": 1.0, "parentbased_always_off": 0.0}
_RATIO_SAMPLER = "parentbased_traceidratio"
_LATEST = "gen_ai_latest_experimental"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _first(environ: Mapping[str, str], *suffixes: str) -> str:
    """The first of `OTEL_EXPORTER_OTLP_<suffix>` that is set, else an empty string."""
    values = (environ.get(f"OTEL_EXPORTER_OTLP_{suffix}") for suffix in suffixes)
    return next((value for value in values if value), "")


def _endpoint(environ: Mapping[str, str], signal: _Signal) -> str:
    own = f"{signal.upper()}_ENDPOINT"
    if full := _first(environ, own):
        endpoint = full
    elif base := _first(environ, "ENDPOINT"):
        endpoint = f"{base.removesuffix('/')}/v1/{signal}"
    else:
        return ""
    if not endpoint.startswith(("http://", "https://")):
        raise ValueError(f"the OTEL_EXPORTER_OTLP_ENDPOINT {endpoint!r} isn't an http(s) URL")
    protocol = _first(environ, f"{signal.upper()}_PROTOCOL", "PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        raise ValueError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: expected http/protobuf (port 4318)"
        )
    return endpoint


def _metrics_endpoint(environ: Mapping[str, str]) -> str:
    exporter = environ.get("OTEL_METRICS_EXPORTER") or "otlp"
    if exporter not in ("otlp", "none"):
        raise ValueError(f"OTEL_METRICS_EXPORTER is {exporter!r}: expected otlp or none")
    return _endpoint(environ, "metrics") if exporter == "otlp" else ""


def _fixed_ratio(environ: Mapping[str, str]) -> dict[str, float]:
    sampler = environ.get("OTEL_TRACES_SAMPLER") or _RATIO_SAMPLER
    if sampler == _RATIO_SAMPLER:
        return {}
    if sampler not in _FIXED_RATIOS:
        known = ", ".join((*_FIXED_RATIOS, _RATIO_SAMPLER))
        raise ValueError(f"OTEL_TRACES_SAMPLER is {sampler!r}: expected one of {known}")
    return {"sample_ratio": _FIXED_RATIOS[sampler]}
