"""Expressions that several panels share."""

CHOSEN = 'destination=~"$destination",model=~"$model"'
DESTINATION = 'destination=~"$destination"'
WINDOW = "$__rate_interval"


def rate(metric: str, by: str = "", match: str = "", window: str = WINDOW) -> str:
    """Per second, over all processes; one series per value of `by`."""
    return f"sum{_by(by)}(rate({metric}{_matching(match)}[{window}]))"


def per_minute(metric: str, by: str = "", match: str = "", window: str = WINDOW) -> str:
    """As `rate`, per minute."""
    return f"{rate(metric, by, match, window)} * 60"


def share(part: str, whole: str) -> str:
    """Percent; 0 when there is a whole and no part of it, nothing when there is no whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0) * 100"


def quantile(q: float, metric: str, by: str = "", match: str = "", window: str = WINDOW) -> str:
    """Of a histogram, over all processes: its buckets are added up first."""
    inner = rate(f"{metric}_bucket", ", ".join(filter(None, ("le", by))), match, window)
    return f"histogram_quantile({q:g}, {inner})"


def total(metric: str, by: str = "", match: str = "") -> str:
    """A gauge added up over all processes."""
    return f"sum{_by(by)}({metric}{_matching(match)})"


def most(metric: str, by: str = "", match: str = "") -> str:
    """The highest of a gauge among the processes."""
    return f"max{_by(by)}({metric}{_matching(match)})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


def _matching(match: str) -> str:
    return f"{{{match}}}" if match else ""
