"""What is kept of requests, rows and spans; and whether the newest configuration is in force."""

from grafana.model import Panel, Query, Row
from grafana.promql import most, rate, total

LEDGER = (
    Row("Ledger and configuration"),
    Panel(
        title="Usage rows",
        description="Per second: stored by the services, counted by the ledger, told twice.",
        queries=(
            Query(rate("droveway_spool_stored_total"), "stored"),
            Query(rate("droveway_usage_rows_total"), "counted"),
            Query(rate("droveway_usage_repeated_total"), "repeated"),
        ),
        unit="ops",
    ),
    Panel(
        title="Ledger",
        description="Databases that answer, replicas that count (one), reads and writes repeated "
        "per second, and rows of dead callers found per hour.",
        queries=(
            Query(total("droveway_ledger_connected"), "databases that answer"),
            Query(total("droveway_ledger_counting"), "replicas that count"),
            Query(rate("droveway_ledger_failed_total"), "repeated"),
            Query("sum(increase(droveway_audit_found_total[1h]))", "found"),
        ),
        unit="none",
    ),
    Panel(
        title="Rows that wait to be counted",
        description="Messages of USAGE beyond the ledger's place.",
        queries=(Query(most("droveway_usage_lag_rows"), "rows"),),
        unit="none",
    ),
    Panel(
        title="Publishes that failed",
        description="Rows refused or not confirmed in time, per second; each is sent again.",
        queries=(Query(rate("droveway_spool_failed_total", "service"), "{{service}}"),),
        unit="ops",
    ),
    Panel(
        title="Keys, configuration and prices",
        description="Within an hour: files refused while the last good one stays in force, keys "
        "that can't be read, rounds without an answer of the price bucket.",
        queries=(
            Query(
                "sum by (service) (increase(droveway_config_rejected_total[1h]))",
                "file refused {{service}}",
            ),
            Query(
                "sum by (service) (increase(droveway_directory_unreadable_total[1h]))",
                "keys unreadable {{service}}",
            ),
            Query("sum(increase(droveway_prices_failed_total[1h]))", "prices not answered"),
        ),
        unit="none",
    ),
    Panel(
        title="Age of the keys",
        description="Seconds since the bucket of keys was last known to be as told.",
        queries=(Query(most("droveway_directory_age_seconds", "service"), "{{service}}"),),
        unit="s",
    ),
)
SPANS = (
    Row("Traces"),
    Panel(
        title="Spans",
        description="Per second: taken in, confirmed by the collector, refused by it, dropped "
        "since the queue was full.",
        queries=tuple(
            Query(rate(f"droveway_spans_{name}_total"), name)
            for name in ("recorded", "exported", "failed", "dropped")
        ),
        unit="ops",
    ),
    Panel(
        title="Spans that wait",
        description="Queued or being sent; the fullest process of each service.",
        queries=(Query(most("droveway_spans_waiting", "service"), "{{service}}"),),
        unit="none",
    ),
)
