"""Where does it wait? Each place where a request or a row may stand, beside its bound."""

from grafana.model import Dashboard, Panel, Query, Row
from grafana.promql import most, quantile, rate, total

_QUANTILES = (0.5, 0.95, 0.99)


def _filled(title: str, description: str, filled: str, bound: str, unit: str, by: str) -> Panel:
    """How full each process's place is, in percent of its bound."""
    name = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Panel(
        title=title,
        description=description,
        queries=(Query(f"max by ({by}) (({filled}) / ({bound} > 0)) * 100", name),),
        unit=unit,
    )


_REQUESTS = (
    Panel(
        title="From received to dispatched",
        description="How long the router had a request before its first attempt was sent: limits, "
        "and waiting for capacity.",
        queries=tuple(
            Query(quantile(q, "ai_api_queue_wait_seconds"), f"P{q * 100:.0f}") for q in _QUANTILES
        ),
        unit="s",
    ),
    Panel(
        title="Our own share of the time",
        description="What Droveway added to the provider's time, over all providers.",
        queries=tuple(
            Query(quantile(q, "ai_api_overhead_seconds"), f"P{q * 100:.0f}") for q in _QUANTILES
        ),
        unit="s",
    ),
    _filled(
        "Requests at the gateways",
        "Open chat completions in percent of the bound, by process; at 100 % the next is refused.",
        "droveway_door_open_requests",
        "droveway_door_limit",
        "percent",
        "instance",
    ),
    _filled(
        "Memory of request bodies",
        "Bytes of request bodies in percent of their bound, by process.",
        "droveway_door_held_bytes",
        "droveway_door_held_bytes_limit",
        "percent",
        "instance",
    ),
    _filled(
        "Consumers",
        "Messages being handled in percent of the bound; the fullest process of each service.",
        "droveway_consumer_running",
        "droveway_consumer_limit",
        "percent",
        "service, consumer",
    ),
    Panel(
        title="Refused since a place was full",
        description="Messages per second that a consumer or the bus's door refused at its bound.",
        queries=(
            Query(
                rate("droveway_consumer_refused_full_total", "service, consumer"),
                "{{service}} {{consumer}}",
            ),
            Query(rate("droveway_nats_door_refused_full_total"), "gateway bus"),
        ),
        unit="reqps",
    ),
)
_LIMITER = (
    Row("Limiter"),
    Panel(
        title="Decisions",
        description="Per second: admitted, denied, asked again, held for another router.",
        queries=tuple(
            Query(rate(f"droveway_limiter_{name}_total"), name)
            for name in ("admitted", "denied", "repeated", "held")
        ),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Time to commit",
        description="From sending a batch of decisions to JetStream until it stands there, on "
        "average; no decision is told before.",
        queries=(
            Query(
                f"{rate('droveway_partition_commit_seconds_total')} / "
                f"({rate('droveway_partition_appends_total')} > 0)",
                "mean",
            ),
        ),
        unit="s",
    ),
    Panel(
        title="Decisions that wait",
        description="Decisions not in the log yet, with their answers.",
        queries=(
            Query(most("droveway_partition_pending", "instance"), "{{instance}}"),
            Query(
                f"{rate('droveway_partition_appended_ops_total')} / "
                f"({rate('droveway_partition_appends_total')} > 0)",
                "operations per batch",
            ),
        ),
        unit="none",
    ),
    Panel(
        title="Reservations",
        description="Requests with something reserved, and attempts whose lease is renewed.",
        queries=(
            Query(total("droveway_limiter_reserved"), "reserved"),
            Query(total("droveway_leases_open"), "leases"),
        ),
        unit="none",
    ),
)
_STREAMS = (
    Row("Answers and rows on their way"),
    Panel(
        title="Answers and bodies in transfer",
        description="Being sent, being received, and senders that wait for their receiver.",
        queries=tuple(
            Query(total(f"droveway_relay_{name}", "service"), f"{name} {{{{service}}}}")
            for name in ("sending", "receiving", "blocked")
        ),
        unit="none",
    ),
    Panel(
        title="Bytes in transfer",
        description="Kept for a resend, and received but not taken yet.",
        queries=tuple(
            Query(total(f"droveway_relay_{name}_bytes", "service"), f"{name} {{{{service}}}}")
            for name in ("kept", "held")
        ),
        unit="bytes",
    ),
    _filled(
        "Usage rows not stored yet",
        "Rows in the spool in percent of its bound; the fullest process of each service.",
        "droveway_spool_waiting + droveway_spool_unacknowledged",
        "droveway_spool_limit",
        "percent",
        "service",
    ),
    Panel(
        title="Bytes that wait for NATS",
        description="Written by a process and not taken by the server yet.",
        queries=(Query(most("droveway_bus_unsent_bytes", "service"), "{{service}}"),),
        unit="bytes",
    ),
    Panel(
        title="Clients on the bus that are slow",
        description="Answers in frames that wait for credit, and ended ones kept for a resend.",
        queries=tuple(
            Query(total(f"droveway_client_relay_{name}"), name)
            for name in ("open", "blocked", "lingering")
        ),
        unit="none",
    ),
    Panel(
        title="Calls that wait for a connection",
        description="At the callers, by provider.",
        queries=(
            Query(total("droveway_upstream_connections_waiting", "destination"), "{{destination}}"),
        ),
        unit="none",
    ),
)

WAITING = Dashboard(
    uid="droveway-waits",
    title="Where does it wait?",
    description="Queues, windows and bounds, in the order in which a request meets them.",
    filters=False,
    content=(*_REQUESTS, *_LIMITER, *_STREAMS),
)
