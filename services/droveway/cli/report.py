"""`droveway report`: what was used and what it cost, as the metrics service's ledger has it."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rich.console import Console

from droveway.cli.admin_session import numbers, run, say, struct_of
from droveway.cli.report_formats import csv_text, json_text, percent
from droveway.contracts.reports import DIMENSIONS, Dimension, Only, ReportAsked, ReportMade
from droveway.contracts.reports import ReportLine as Line
from droveway.runtime.dashboard import moment_text
from droveway.runtime.errors import SettingsError
from droveway.runtime.reports import ask_report, moment_ms, month_of

ANSWER_WITHIN_S = 30.0
_NANO = 1e9
_NONE = "-"
_MANY = 100
_TITLES = (
    "requests", "failed", "attempts", "input", "output", "cached", "$", "¥",
    "p50/p95/p99 ms", "first token ms", "hit/miss ms",
)  # fmt: skip


class Wanted(NamedTuple):
    """What the command line says."""

    by: str
    since: str = ""
    until: str = ""
    only: Mapping[str, str] = MappingProxyType({})
    measures: bool = True


def show(data: Path, wanted: Wanted, kind: str, console: Console) -> None:
    """Prints a report as a `table`, `csv` or `json`.

    Raises:
        SettingsError: The question is wrong, or the server unknown.
        ReportUnavailable: No metrics service answers.
    """
    if kind not in ("table", "csv", "json"):
        raise SettingsError(f"--format {kind[:64]!r}: expected table, csv or json")
    asked = question(wanted, time.time_ns() // 1_000_000)
    made = run(data, lambda bus: ask_report(bus, asked, ANSWER_WITHIN_S))
    if kind == "table":
        console.print(numbers((*made.by, *_TITLES), len(made.by), _rows(made)))
        for line in _notes(made):
            console.print(line)
    else:
        console.file.write(csv_text(made) if kind == "csv" else json_text(made))
    if not made.complete:
        say(
            f"droveway: only the {len(made.lines)} most expensive lines are shown; narrow it by "
            "--since, --until, --tenant, --key, --provider, --model, or fewer words in --by"
        )


def question(wanted: Wanted, now_ms: int) -> ReportAsked:
    """What is asked.

    Raises:
        SettingsError: A dimension, a time or a name is wrong.
    """
    try:
        since_ms = moment_ms(wanted.since, now_ms) if wanted.since else month_of(now_ms)
        until_ms = moment_ms(wanted.until, now_ms) if wanted.until else now_ms
    except ValueError as error:
        raise SettingsError(f"--since or --until: {error}") from None
    if until_ms < since_ms:
        raise SettingsError("--until is before --since")
    return ReportAsked(
        by=_dimensions(wanted.by),
        since_ms=since_ms,
        until_ms=until_ms,
        only=struct_of(Only, dict(wanted.only)),
        measures=wanted.measures,
    )


def _dimensions(text: str) -> tuple[Dimension, ...]:
    found: list[Dimension] = []
    for word in filter(None, map(str.strip, text.split(","))):
        known = next((one for one in DIMENSIONS if one == word), None)
        if known is None:
            raise SettingsError(f"--by {word[:64]!r}: expected some of {', '.join(DIMENSIONS)}")
        found.append(known)
    return tuple(dict.fromkeys(found))


def _rows(made: ReportMade) -> Iterator[tuple[str, ...]]:
    for line in made.lines:
        yield (*(word or "(none)" for word in line.group), *_cells(line))
    if made.by:
        yield ("total", *("" for _ in made.by[1:]), *_cells(made.total))


def _cells(line: Line) -> tuple[str, ...]:
    measures = line.measures
    failed = None if line.failed is None else line.failed + (line.interrupted or 0)
    return (
        _count(line.requests), _count(failed), _count(line.attempts), _count(line.input_tokens),
        _count(line.output_tokens), percent(line.cache_hit_rate),
        _money(line.cost_nano_usd), _money(line.cost_nano_cny),
        _ms(measures.p50_us, measures.p95_us, measures.p99_us), _ms(line.first_token_us),
        _ms(measures.hit_first_token_us, measures.miss_first_token_us),
    )  # fmt: skip


def _notes(made: ReportMade) -> Iterator[str]:
    yield f"{moment_text(made.since_ms)} to {moment_text(made.until_ms)}, whole hours"
    if made.projected_nano_usd is not None:
        yield f"at this pace the whole month costs ${made.projected_nano_usd / _NANO:,.2f}"
    first = made.total.measures
    if first.hit_first_token_us is not None and first.miss_first_token_us:
        share = 100 * (first.hit_first_token_us / first.miss_first_token_us - 1)
        yield (
            f"first tokens: {_ms(first.hit_first_token_us)} ms after {first.hits:,} cache hits, "
            f"{_ms(first.miss_first_token_us)} ms after {first.misses:,} misses, {share:+.0f}%"
        )
    measured_ms = made.measured_since_ms
    if measured_ms is not None and measured_ms - made.since_ms > 3_600_000:
        yield f"latencies of rows since {moment_text(measured_ms)}, which is as far back as they go"
    if made.total.unpriced_tokens:
        yield f"{made.total.unpriced_tokens:,} tokens at the default price: nobody knows theirs"


def _count(number: int | None) -> str:
    return _NONE if number is None else f"{number:,}"


def _money(nano: int) -> str:
    """To the cent where there are many, else to the millionth."""
    amount = nano / _NANO
    return f"{amount:,.2f}" if abs(amount) >= _MANY else f"{amount:.6f}"


def _ms(*micros: int | None) -> str:
    told = (_NONE if one is None else f"{one / 1000:,.0f}" for one in micros)
    return _NONE if all(one is None for one in micros) else "/".join(told)
