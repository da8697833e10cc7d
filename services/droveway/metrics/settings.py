"""What an operator may turn: `DROVEWAY_METRICS_<FIELD>`."""

from droveway.runtime.settings import Count, Seconds, ServiceSettings


class MetricsSettings(ServiceSettings, frozen=True, kw_only=True):
    """The metrics service's settings."""

    batch_rows: Count = 500
    """Rows asked of the stream at once."""
    remembered_rows: Count = 200_000
    """Ids of rows already counted, so that a redelivered row counts once."""
    max_labels: Count = 500
    """Distinct (destination, model) pairs in metric labels; further ones count as `other`."""
    slow_s: Seconds = 30.0
    """An unsampled request that took longer, or failed, gets its spans from its rows."""
    pending_requests: Count = 20_000
    """Requests whose attempts have come and whose own row hasn't; the oldest are let go."""
