"""`droveway canary compare`: the two channels of a route side by side."""

import csv
import io
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from droveway.cli.admin_session import numbers, run
from droveway.contracts.comparison import (
    MAX_DAYS,
    ChannelLine,
    ComparisonAsked,
    ComparisonMade,
    Spread,
)
from droveway.runtime.dashboard import moment_text
from droveway.runtime.errors import SettingsError
from droveway.runtime.reports import ask_comparison, moment_ms

ANSWER_WITHIN_S = 30.0
_DAY_MS = 86_400_000
_NANO = Decimal(10) ** 9
_NONE = "-"


class Wanted(NamedTuple):
    """What the command line says."""

    route: str
    since: str
    until: str = ""


def show(data: Path, wanted: Wanted, kind: str, console: Console) -> None:
    """Prints the comparison as a `table`, `csv` or `json`.

    Raises:
        SettingsError: The question is wrong, or the server unknown.
        ReportUnavailable: No metrics service answers.
    """
    if kind not in ("table", "csv", "json"):
        raise SettingsError(f"--format {kind[:64]!r}: expected table, csv or json")
    asked = question(wanted, time.time_ns() // 1_000_000)
    made = run(data, lambda bus: ask_comparison(bus, asked, ANSWER_WITHIN_S))
    if kind != "table":
        console.file.write(_csv(made) if kind == "csv" else _json(made))
    elif made.channels:
        titles = (made.route, *(line.channel for line in made.channels))
        console.print(numbers(titles, 1, _rows(made)))
        console.print(f"{moment_text(made.since_ms)} to {moment_text(made.until_ms)}")
    else:
        console.print(f"{made.route} had no canary in that time")


def question(wanted: Wanted, now_ms: int) -> ComparisonAsked:
    """What is asked.

    Raises:
        SettingsError: A time is wrong.
    """
    try:
        since_ms = moment_ms(wanted.since, now_ms)
        until_ms = moment_ms(wanted.until, now_ms) if wanted.until else now_ms
    except ValueError as error:
        raise SettingsError(f"--since or --until: {error}") from None
    if not 0 <= until_ms - since_ms <= MAX_DAYS * _DAY_MS:
        raise SettingsError(f"--since and --until: expected a time of up to {MAX_DAYS} days")
    return ComparisonAsked(route=wanted.route, since_ms=since_ms, until_ms=until_ms)


def fields(made: ComparisonMade, line: ChannelLine) -> dict[str, Any]:
    """One channel by names; times in microseconds, money as decimal text."""
    rate = line.success_rate
    nano = line.projected_nano_usd
    cny = Decimal(str(made.cny_per_usd))
    return {
        "channel": line.channel,
        **{name: getattr(line, name) for name in _COUNTS},
        "success_rate": None if rate is None else round(rate, 6),
        **{f"total_{name}": value for name, value in _spread(line.total).items()},
        **{f"first_token_{name}": value for name, value in _spread(line.first_token).items()},
        **{name: getattr(line, name) for name in _TOKENS},
        "cost_usd": _money(line.cost_nano_usd),
        "cost_cny": _money(line.cost_nano_usd * cny),
        "projected_month_usd": None if nano is None else _money(nano),
        "projected_month_cny": None if nano is None else _money(nano * cny),
        "errors": {one.code: one.count for one in line.errors},
    }


_COUNTS = (
    "requests", "completed", "failed", "interrupted", "cancelled", "attempts",
    "attempts_completed", "attempts_cancelled",
)  # fmt: skip
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "estimated_tokens")
_SHOWN: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("requests answered", lambda one: f"{one['requests']:,}"),
    ("attempts", lambda one: f"{one['attempts']:,}"),
    ("success", lambda one: _percent(one["success_rate"])),
    ("mean ms", lambda one: _ms(one["total_mean_us"])),
    ("P50/P95/P99 ms", lambda one: _ranks(one, "total")),
    ("first token mean ms", lambda one: _ms(one["first_token_mean_us"])),
    ("first token P50/P95/P99 ms", lambda one: _ranks(one, "first_token")),
    ("input tokens", lambda one: f"{one['input_tokens']:,}"),
    ("output tokens", lambda one: f"{one['output_tokens']:,}"),
    ("cached tokens", lambda one: f"{one['cache_read_tokens']:,}"),
    ("estimated tokens", lambda one: f"{one['estimated_tokens']:,}"),
    ("cost $", lambda one: one["cost_usd"]),
    ("a month of all requests $", lambda one: _text(one["projected_month_usd"])),
    ("a month of all requests ¥", lambda one: _text(one["projected_month_cny"])),
)


def _rows(made: ComparisonMade) -> Iterator[tuple[str, ...]]:
    told = [fields(made, line) for line in made.channels]
    for title, cell in _SHOWN:
        yield (title, *(cell(one) for one in told))
    codes = dict.fromkeys(code for one in told for code in one["errors"])
    for code in codes:
        yield (code, *(f"{one['errors'].get(code, 0):,}" for one in told))


def _csv(made: ComparisonMade) -> str:
    """A line for each channel, and for each of its errors a column."""
    told = [fields(made, line) for line in made.channels]
    codes = dict.fromkeys(code for one in told for code in one["errors"])
    buffer = io.StringIO()
    titles = [name for name in fields(made, ChannelLine(channel="")) if name != "errors"]
    writer = csv.DictWriter(
        buffer, [*titles, *(f"error_{code}" for code in codes)], lineterminator="\n"
    )
    writer.writeheader()
    for one in told:
        errors = one.pop("errors")
        writer.writerow(one | {f"error_{code}": errors.get(code, 0) for code in codes})
    return buffer.getvalue()


def _json(made: ComparisonMade) -> str:
    whole = {
        "route": made.route,
        "since": moment_text(made.since_ms),
        "until": moment_text(made.until_ms),
        "channels": [fields(made, line) for line in made.channels],
    }
    return msgspec.json.format(msgspec.json.encode(whole)).decode() + "\n"


def _spread(spread: Spread | None) -> dict[str, int | None]:
    names = Spread.__struct_fields__
    return {name: None if spread is None else getattr(spread, name) for name in names}


def _ranks(one: dict[str, Any], prefix: str) -> str:
    ranks = [one[f"{prefix}_{name}_us"] for name in ("p50", "p95", "p99")]
    return _NONE if None in ranks else "/".join(map(_ms, ranks))


def _ms(micros: int | None) -> str:
    return _NONE if micros is None else f"{micros / 1000:,.0f}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.2f}%"


def _text(value: str | None) -> str:
    return _NONE if value is None else value


def _money(nano: int | Decimal) -> str:
    return f"{Decimal(nano) / _NANO:.6f}"
