"""`droveway trace <request id>`: where a request's milliseconds and tokens went."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from droveway.cli import terminal
from droveway.cli.connection import settings_for
from droveway.cli.cost import Cost, Costs, own_config
from droveway.cli.usage_rows import Trail, read_trail
from droveway.cli.waterfall import Phase, phases
from droveway.contracts.usage import AttemptRecorded, RequestRecorded
from droveway.runtime.errors import DrovewayError

ROWS_LIMIT_S = 2.0
"""A row is stored a moment after its answer; so long we wait for it."""
_BAR_COLUMNS = 32
_GREEN, _YELLOW, _RED = "green", "yellow", "red"


class NotFound(DrovewayError):
    """No row of this request is in the stream."""


def show(request_id: str, data: Path, console: Console, wait_s: float = ROWS_LIMIT_S) -> None:
    """Prints the waterfall, the outcome and the cost.

    Raises:
        NotFound: The stream has no row of it.
        SettingsError: It is no request id.
        BusError: The bus can't be reached.
    """
    trail = _read(request_id, data, wait_s)
    if trail.request is not None:
        _print_request(console, trail.request)
    console.print(table([*phases(trail.request, trail.attempts)]))
    costs = Costs(own_config(data))
    for attempt in trail.attempts:
        console.print(_attempt_line(attempt, costs.of(attempt)))
    if not trail.complete:
        console.print("[yellow]some rows aren't there (yet)[/]: the request may still run")


def show_json(request_id: str, data: Path, wait_s: float = ROWS_LIMIT_S) -> str:
    """The rows as one JSON object.

    Raises:
        NotFound: As `show`.
    """
    trail = _read(request_id, data, wait_s)
    costs = Costs(own_config(data))
    attempts = []
    for attempt in trail.attempts:
        cost = costs.of(attempt)
        told = {"cost_usd": str(cost.usd), "price_source": cost.source}
        attempts.append(_plain(attempt) | told)
    rows = {
        "request": None if trail.request is None else _plain(trail.request),
        "attempts": attempts,
        "complete": trail.complete,
    }
    return msgspec.json.format(msgspec.json.encode(rows)).decode()


def table(lines: list[Phase]) -> Table:
    """The waterfall: a phase per row, its bar on a common time line."""
    total_us = max((line.end_us for line in lines), default=0) or 1
    grid = Table(box=None, pad_edge=False, header_style="dim")
    grid.add_column("phase", no_wrap=True)
    grid.add_column("at ms", justify="right", no_wrap=True)
    grid.add_column("took ms", justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True, width=_BAR_COLUMNS)
    grid.add_column("", style="dim", no_wrap=True, overflow="ellipsis")
    for line in lines:
        grid.add_row(
            "  " * line.depth + line.name,
            f"{line.start_us / 1000:.2f}",
            f"{line.duration_us / 1000:.2f}",
            _bar(line, total_us),
            line.detail,
        )
    return grid


def _bar(line: Phase, total_us: int) -> Text:
    start = min(_BAR_COLUMNS - 1, max(0, line.start_us) * _BAR_COLUMNS // total_us)
    width = max(1, round(line.duration_us * _BAR_COLUMNS / total_us))
    return Text(" " * start + "█" * min(width, _BAR_COLUMNS - start), style=_style(line))


def _style(line: Phase) -> str:
    if line.depth:
        return _GREEN
    return "blue" if line.name.startswith("attempt") else "cyan"


def _print_request(console: Console, request: RequestRecorded) -> None:
    colour = {"completed": _GREEN, "cancelled": _YELLOW}.get(request.outcome, _RED)
    code = f" {request.code}" if request.code else ""
    mode = "streamed" if request.stream else "whole"
    console.print(
        f"[bold]{request.request_id}[/] {request.operation} {request.model} {mode}: "
        f"[{colour}]{request.outcome}{code}[/] HTTP {request.status}, "
        f"{request.times.ended_us / 1000:.1f} ms, {request.events} events, "
        f"{request.answer_bytes} bytes"
    )
    trace_id = request.traceparent.split("-")[1] if request.traceparent else "none"
    console.print(f"[dim]trace {trace_id}, tenant {request.tenant}, key {request.key_id}[/]")


def _attempt_line(attempt: AttemptRecorded, cost: Cost) -> str:
    usage = attempt.usage
    estimated = " (estimated)" if usage.estimated else ""
    served = attempt.served_model or attempt.model
    by = " at the default price" if cost.source == "default" else ""
    return (
        f"attempt {attempt.attempt}: {attempt.provider}/{served} {attempt.finish_reason}\n"
        f"  {usage.input_tokens} input tokens ({usage.cache_read_tokens} cached), "
        f"{usage.output_tokens} output tokens{estimated}, [bold]${cost.usd:.7f}[/]{by}"
    )


def _read(request_id: str, data: Path, wait_s: float) -> Trail:
    terminal.quiet()
    broker = settings_for("operator", data)
    trail = asyncio.run(read_trail(broker, request_id, wait_s))
    if trail.request is None and not trail.attempts:
        raise NotFound(
            f"no row of {request_id}: refused before it was accepted, older than 35 days, "
            "or of another installation"
        )
    return trail


def _plain(row: RequestRecorded | AttemptRecorded) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(row, builtin_types=(bytes,))
    plain["usage"] = msgspec.structs.asdict(row.usage)
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in plain.items()
    }
