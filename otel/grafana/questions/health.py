"""Is it healthy? Processes, the bus, the streams, the ledger, and what was lost on the way."""

from grafana.model import Dashboard, Panel, Query, Row, Step
from grafana.promql import most, rate, total
from grafana.questions.records import LEDGER, SPANS

_LEAST = "min by (service) (droveway_bus_connected)"
_OURS = 'job=~".*droveway.*"'
_TARGETS = f"up{{{_OURS}}}"

_AT_A_GLANCE = (
    Panel(
        title="Connected to NATS",
        description="1 while all processes of a service have a connection.",
        queries=(Query(_LEAST, "{{service}}"),),
        unit="bool_yes_no",
        kind="stat",
        width=8,
        height=5,
        maximum=1,
        steps=(Step("red"), Step("green", 1)),
    ),
    Panel(
        title="Owners of the limits",
        description="Exactly one limiter owns the log of decisions; none for longer than a moment "
        "means that requests are refused.",
        queries=(Query(total("droveway_partition_owner"), "owners"),),
        unit="none",
        kind="stat",
        width=4,
        height=5,
        steps=(Step("red"), Step("green", 1), Step("red", 2)),
    ),
    Panel(
        title="Rows not counted yet",
        description="Rows of usage in the stream that the ledger hasn't counted.",
        queries=(Query(most("droveway_usage_lag_rows"), "rows"),),
        unit="none",
        kind="stat",
        width=4,
        height=5,
        steps=(Step("green"), Step("yellow", 1_000), Step("red", 100_000)),
    ),
    Panel(
        title="Targets up",
        description="Processes that Prometheus reaches, and those that it knows of.",
        queries=(
            Query(f"sum({_TARGETS})", "up"),
            Query(f"count({_TARGETS})", "known"),
        ),
        unit="none",
        kind="stat",
        width=4,
        height=5,
    ),
    Panel(
        title="Spans lost",
        description="Spans per second that were dropped or not taken by the collector.",
        queries=(
            Query(
                f"{rate('droveway_spans_dropped_total')} + {rate('droveway_spans_failed_total')}",
                "spans",
            ),
        ),
        unit="ops",
        kind="stat",
        width=4,
        height=5,
        steps=(Step("green"), Step("yellow", 0.001)),
    ),
)
_BUS = (
    Row("Bus"),
    Panel(
        title="Last heard itself",
        description="Seconds since a process heard itself through NATS; over 3 it isn't ready.",
        queries=(Query(most("droveway_bus_last_beat_seconds", "service"), "{{service}}"),),
        unit="s",
        steps=(Step("green"), Step("red", 3)),
    ),
    Panel(
        title="Reconnects",
        description="Within five minutes before each point.",
        queries=(
            Query("sum by (service) (increase(droveway_bus_reconnects_total[5m]))", "{{service}}"),
        ),
        unit="none",
    ),
    Panel(
        title="Messages that could not be read",
        description="Per second, by where they came in; any is a bug or a stranger.",
        queries=(
            Query(rate("droveway_bus_malformed_total", "service"), "bus {{service}}"),
            Query(rate("droveway_consumer_malformed_total", "consumer"), "{{consumer}}"),
            Query(rate("droveway_relay_malformed_total", "service"), "relay {{service}}"),
            Query(rate("droveway_usage_invalid_total"), "usage rows"),
        ),
        unit="ops",
    ),
    Panel(
        title="Handlers that failed",
        description="Handlers that ended with an unforeseen exception, per second: each is a bug.",
        queries=(
            Query(
                rate("droveway_consumer_failed_total", "service, consumer"),
                "{{service}} {{consumer}}",
            ),
        ),
        unit="ops",
        steps=(Step("green"), Step("red", 0.001)),
    ),
)
_STREAMS = (
    Row("Streams"),
    Panel(
        title="How full the streams are",
        description="Bytes in percent of the bound; a full USAGE refuses new requests.",
        queries=(
            Query(
                "max by (stream) (droveway_stream_bytes / (droveway_stream_limit_bytes > 0)) * 100",
                "{{stream}}",
            ),
        ),
        unit="percent",
        maximum=100,
        steps=(Step("green"), Step("yellow", 80), Step("red", 95)),
    ),
    Panel(
        title="Growth of the streams",
        description="Messages stored per second.",
        queries=(
            Query(
                "max by (stream) (deriv(droveway_stream_last_sequence[5m]))",
                "{{stream}}",
            ),
        ),
        unit="ops",
    ),
)
_LIMITER = (
    Row("Limiter"),
    Panel(
        title="Take-overs",
        description="Times within five minutes that a limiter became the owner, was overtaken, or "
        "lost the log.",
        queries=tuple(
            Query(f"sum(increase(droveway_partition_{name}_total[5m]))", name)
            for name in ("takeovers", "fenced", "lost")
        ),
        unit="none",
    ),
    Panel(
        title="Standby",
        description="For how long a standby knows of decisions that it hasn't read, and the age of "
        "the last snapshot.",
        queries=(
            Query(most("droveway_partition_lag_seconds", "instance"), "behind {{instance}}"),
            Query(
                most("droveway_partition_snapshot_age_seconds", "instance"), "snapshot {{instance}}"
            ),
        ),
        unit="s",
    ),
)
_PROCESSES = (
    Row("Processes"),
    Panel(
        title="Memory",
        description="In RAM, by process.",
        queries=(Query(most("process_resident_memory_bytes", "instance", _OURS), "{{instance}}"),),
        unit="bytes",
    ),
    Panel(
        title="CPU",
        description="Cores in use, by process; one event loop can't use more than one.",
        queries=(Query(rate("process_cpu_seconds_total", "instance", _OURS), "{{instance}}"),),
        unit="none",
        steps=(Step("green"), Step("yellow", 0.8)),
    ),
    Panel(
        title="File descriptors",
        description="Open ones in percent of the bound; connections are most of them.",
        queries=(
            Query(
                f"max by (instance) "
                f"(process_open_fds{{{_OURS}}} / process_max_fds{{{_OURS}}}) * 100",
                "{{instance}}",
            ),
        ),
        unit="percent",
    ),
    Panel(
        title="Age",
        description="Time since each process began; a short one has been started again.",
        queries=(
            Query(
                f"time() - max by (instance) (process_start_time_seconds{{{_OURS}}})",
                "{{instance}}",
            ),
        ),
        unit="s",
    ),
)
HEALTH = Dashboard(
    uid="droveway-health",
    title="Is it healthy?",
    description="Processes, bus, limits, ledger, traces: what keeps the rest running.",
    filters=False,
    content=(*_AT_A_GLANCE, *_BUS, *_STREAMS, *_LIMITER, *LEDGER, *_PROCESSES, *SPANS),
)
