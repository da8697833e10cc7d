"""A report for programs: CSV with a heading, and JSON."""

import csv
import io
from decimal import Decimal
from typing import Any

import msgspec

from droveway.contracts.reports import ReportLine, ReportMade
from droveway.runtime.dashboard import moment_text

_NANO = Decimal(10) ** 9
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_COUNTS = (
    "requests", "completed", "failed", "interrupted", "cancelled", "attempts",
    "attempts_completed", "estimated", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens", "unpriced_tokens",
)  # fmt: skip
_MEASURES = (
    "p50_us", "p95_us", "p99_us", "hit_first_token_us", "miss_first_token_us", "hits", "misses",
)  # fmt: skip


def csv_text(made: ReportMade) -> str:
    """The lines, and no total: whoever reads it adds up by itself."""
    lines = [line_fields(made, line) for line in made.lines]
    buffer = io.StringIO()
    titles = [*line_fields(made, ReportLine(group=("",) * len(made.by)))]
    writer = csv.DictWriter(buffer, titles, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({name: _cell(value) for name, value in line.items()})
    return buffer.getvalue()


def json_text(made: ReportMade) -> str:
    """All of it as one object."""
    projected = made.projected_nano_usd
    measured_ms = made.measured_since_ms
    whole = {
        "by": made.by,
        "since": moment_text(made.since_ms),
        "until": moment_text(made.until_ms),
        "complete": made.complete,
        "measured_since": None if measured_ms is None else moment_text(measured_ms),
        "projected_month_usd": None if projected is None else _money(projected),
        "lines": [line_fields(made, line) for line in made.lines],
        "total": line_fields(made, made.total),
    }
    return msgspec.json.format(msgspec.json.encode(whole)).decode() + "\n"


def line_fields(made: ReportMade, line: ReportLine) -> dict[str, Any]:
    """One line by names; money as decimal text, to the nano-unit."""
    rate = line.cache_hit_rate
    return {
        **dict(zip(made.by, line.group, strict=False)),
        **{name: getattr(line, name) for name in _COUNTS},
        "cache_hit_rate": None if rate is None else round(rate, 6),
        "cost_usd": _money(line.cost_nano_usd),
        "cost_cny": _money(line.cost_nano_cny),
        "first_token_us": line.first_token_us,
        **{name: getattr(line.measures, name) for name in _MEASURES},
    }


def percent(share: float | None) -> str:
    """A share for people."""
    return "-" if share is None else f"{100 * share:.1f}%"


def _money(nano: int) -> str:
    return f"{Decimal(nano) / _NANO:.9f}"


def _cell(value: Any) -> Any:
    """A name that a client chose is no formula in a spreadsheet.

    Source: OWASP, "CSV Injection".
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
