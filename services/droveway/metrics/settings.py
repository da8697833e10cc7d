"""What an operator may turn: `DROVEWAY_METRICS_<FIELD>`."""

from typing import Annotated

import msgspec

from droveway.runtime.settings import Count, Seconds, ServiceSettings


class MetricsSettings(ServiceSettings, frozen=True, kw_only=True):
    """The metrics service's settings."""

    database: str = "sqlite:///droveway-ledger.db"
    """Where the ledger is: a SQLite file, `postgresql://user:password@host/name`, or
    `file:/path` of a file that holds such a URL."""
    page_rows: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 5_000
    """Rows written in one transaction; those of one message are never parted."""
    page_bytes: Annotated[int, msgspec.Meta(ge=65_536)] = 4 * 1024 * 1024
    """Bytes read of the stream at once, in up to `page_rows` messages."""
    poll_s: Seconds = 0.5
    """The stream is looked at this often once all rows are counted."""
    read_within_s: Seconds = 5.0
    """The stream answers in this time, or is asked again."""
    behind_s: Seconds = 10.0
    """Rows that wait for so long make the ledger late: an event, and a reason to look."""
    take_over_s: Annotated[float, msgspec.Meta(ge=3)] = 6.0
    """The replica that counts was still for so long: another one takes its place."""
    missing_row_s: Annotated[float, msgspec.Meta(ge=1)] = 60.0
    """An attempt that answered and has no row for so long died with its caller: it gets one."""
    rows_kept_days: Annotated[int, msgspec.Meta(ge=1, le=35)] = 7
    """How long single rows are kept in the database; the stream keeps them for 35 days."""
    hours_kept_days: Annotated[int, msgspec.Meta(ge=1, le=3_660)] = 90
    """How long hourly sums are kept."""
    max_reports: Count = 4
    """Reports that are made at once; who asks for another one is told to ask again."""
    report_within_s: Seconds = 10.0
    """A report that takes longer is given up."""
    report_max_rows: Count = 500_000
    """Rows that percentiles of one report are made of; of more there are none."""
    max_labels: Count = 500
    """Distinct (destination, model) pairs in metric labels, and as many tenants; further ones
    count as `other`."""
    slow_s: Seconds = 30.0
    """An unsampled request that took longer, or failed, gets its spans from its rows."""
    pending_requests: Count = 20_000
    """Requests whose attempts have come and whose own row hasn't; the oldest are let go."""
