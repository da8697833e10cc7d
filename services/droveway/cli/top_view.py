"""Draws a picture: less of it where the terminal is narrow or low."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from droveway.cli.admin_session import printable
from droveway.cli.services import uptime
from droveway.cli.top_picture import Line, Percentiles, Picture, Service

WIDE_COLUMNS = 110
MIDDLE_COLUMNS = 76
_SHORTEST_NAME = 8
_FEWEST_ROWS = 2
_FIXED_ROWS = 6
"""The head, which narrow terminals break, and empty lines between tables."""
_PLAIN_ROWS = 20
"""Rows per table where there is no terminal whose height would count."""


class Size(NamedTuple):
    """What there is to draw on."""

    columns: int
    rows: int | None
    """None: as many as it takes."""


def view(picture: Picture, size: Size) -> RenderableType:
    """The whole picture."""
    most = _rows_per_table(picture, size)
    parts: list[RenderableType] = [_head(picture)]
    for title, lines in (
        ("model", picture.models),
        ("provider", picture.providers),
        ("key", picture.keys),
    ):
        parts += ["", _lines_table(title, lines, most, size.columns)]
    parts += ["", _services_table(picture, most, size.columns)]
    return Group(*parts)


def _head(picture: Picture) -> RenderableType:
    one = picture.all
    in_flight = "?" if picture.in_flight is None else str(picture.in_flight)
    at = datetime.fromtimestamp(picture.at_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")
    text = Text.assemble(
        (f"{at}  last {picture.window_s:.0f} s  ", "dim"),
        (f"{one.per_s:.1f} requests/s  ", "bold"),
        (f"{_share(one.success)} well  ", _success_style(one)),
        f"{in_flight} in flight  {one.tokens_per_s:.0f} tokens/s  ",
        (f"${one.usd_per_h:.4f}/h", "bold"),
    )
    total, first = _percentiles(one.total_ms), _percentiles(one.first_token_ms)
    return Group(text, Text(f"p50 / p95 / p99 ms: total {total}, first token {first}"))


def _lines_table(title: str, lines: Sequence[Line], most: int, columns: int) -> Table:
    middle, wide = columns >= MIDDLE_COLUMNS, columns >= WIDE_COLUMNS
    titles = (
        *("req/s", "well"),
        *(("failed", "p50 ms", "p95 ms") if middle else ("p95 ms",)),
        *(("p99 ms", "first p50", "first p95", "tokens/s") if wide else ()),
        "$/h",
    )
    rows = [_numbers(line, middle=middle, wide=wide) for line in lines[:most]]
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
    gap = 2 if middle else 1
    longest = max(_SHORTEST_NAME, columns - sum(widths) - gap * len(widths))
    grid = _grid(title, longest, gap)
    for name in titles:
        grid.add_column(name, justify="right", no_wrap=True)
    for line, row in zip(lines, rows, strict=False):
        share = Text(row[1], style=_success_style(line))
        grid.add_row(Text(printable(line.name), style="bold"), row[0], share, *row[2:])
    return _and_more(grid, len(lines) - most)


def _numbers(line: Line, *, middle: bool, wide: bool) -> list[str]:
    total, first = line.total_ms, line.first_token_ms
    return [
        f"{line.per_s:.2f}",
        _share(line.success),
        *([str(line.failed), _ms(total.p50)] if middle else []),
        _ms(total.p95),
        *([_ms(total.p99), _ms(first.p50), _ms(first.p95)] if wide else []),
        *([f"{line.tokens_per_s:.0f}"] if wide else []),
        f"{line.usd_per_h:.4f}",
    ]


def _services_table(picture: Picture, most: int, columns: int) -> Table:
    grid = _grid("service", columns)
    grid.add_column("up", no_wrap=True)
    grid.add_column("state", no_wrap=True, overflow="ellipsis")
    if columns >= MIDDLE_COLUMNS:
        grid.add_column("instance", no_wrap=True, style="dim")
    now = datetime.fromtimestamp(picture.at_ms / 1000, UTC)
    shown = sorted(picture.services, key=lambda one: (not one.unready, not one.owner))
    for one in shown[:most] if len(shown) > most else picture.services:
        state = Text(printable(one.unready) or "ready", style="red" if one.unready else "green")
        state.append(_notes(one), style="")
        cells = [Text(printable(one.service)), Text(uptime(one.started, now)), state]
        if columns >= MIDDLE_COLUMNS:
            cells.append(Text(printable(one.instance)))
        grid.add_row(*cells)
    if not picture.services:
        grid.add_row(Text("nobody answers", style="red"))
    return _and_more(grid, len(picture.services) - most)


def _notes(one: Service) -> str:
    notes = ["decides over limits"] if one.owner else []
    if one.open_requests is not None:
        notes.append(f"{one.open_requests} requests open")
    if one.usage_lag_rows:
        notes.append(f"{one.usage_lag_rows} rows behind")
    return "".join(f", {note}" for note in notes)


def _grid(title: str, longest: int, gap: int = 2) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
    grid.add_column(title, no_wrap=True, overflow="ellipsis", max_width=longest)
    return grid


def _and_more(grid: Table, left_out: int) -> Table:
    if left_out > 0:
        grid.add_row(Text(f"and {left_out} more", style="dim"))
    return grid


def _rows_per_table(picture: Picture, size: Size) -> int:
    if size.rows is None:
        return _PLAIN_ROWS
    tables = (picture.models, picture.providers, picture.keys, picture.services)
    free = size.rows - _FIXED_ROWS - (size.columns < WIDE_COLUMNS) * _FEWEST_ROWS
    fitting = [
        most for most in range(_FEWEST_ROWS, _PLAIN_ROWS + 1) if _height(tables, most) <= free
    ]
    return max(fitting, default=_FEWEST_ROWS)


def _height(tables: Iterable[Sequence[object]], most: int) -> int:
    """Of all tables with their titles; one that has more rows than `most` says so in another."""
    return sum(1 + max(1, min(len(one), most + 1)) for one in tables)


def _percentiles(of: Percentiles) -> str:
    return f"{_ms(of.p50)} / {_ms(of.p95)} / {_ms(of.p99)}"


def _ms(duration_ms: float | None) -> str:
    if duration_ms is None:
        return "-"
    return f"{duration_ms:.1f}" if duration_ms < 10 else f"{duration_ms:.0f}"


def _share(success: float | None) -> str:
    return "-" if success is None else f"{success * 100:.4g} %"


def _success_style(line: Line) -> str:
    if line.success is None:
        return "dim"
    return "green" if line.success >= 0.99 else "yellow" if line.success >= 0.9 else "red"
