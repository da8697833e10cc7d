"""`droveway report request <id>`: what one request cost, line by line."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from droveway.cli.admin_session import numbers, print_json, printable, run
from droveway.cli.report import ANSWER_WITHIN_S
from droveway.contracts.envelope import request_time_ms
from droveway.contracts.reports import AttemptBill, BillAsked, BillLine, BillMade
from droveway.runtime.errors import DrovewayError, SettingsError
from droveway.runtime.reports import ask_bill

_FEMTO = Decimal(10) ** 15
_NANO = Decimal(10) ** 9
_KINDS = {
    "input": "input", "cache_read": "input read from a cache",
    "cache_write": "input written to a cache", "cache_write_1h": "input written for an hour",
    "output": "output",
}  # fmt: skip
_TITLES = ("what", "tokens", "$ per million", "$", "against plain input")


class NoBill(DrovewayError):
    """The ledger has no row of this request."""


def show(data: Path, request_id: str, console: Console | None) -> None:
    """Prints the lines of each attempt; as JSON where there is no console.

    Raises:
        SettingsError: It is no request id.
        NoBill: No row of it is kept.
        ReportUnavailable: No metrics service answers.
    """
    try:
        request_time_ms(request_id)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    asked = BillAsked(request_id=request_id)
    made = run(data, lambda bus: ask_bill(bus, asked, ANSWER_WITHIN_S))
    if not made.attempts and not made.outcome:
        raise NoBill(
            f"the ledger has no row of {request_id}: refused before it was accepted, just ended, "
            f"or older than its rows are kept; `droveway trace {request_id}` looks into the stream"
        )
    if console is None:
        print_json(_plain(made))
        return
    outcome = made.outcome or "its own row isn't there yet"
    console.print(
        f"[bold]{made.request_id}[/] {escape(printable(made.model))}: {outcome}, "
        f"tenant {made.tenant}, key {made.key_id}"
    )
    for attempt in made.attempts:
        console.print(_title(attempt))
        console.print(numbers(_TITLES, 1, [*_rows(attempt)]))
    usd, cny = Decimal(made.cost_nano_usd) / _NANO, Decimal(made.cost_nano_cny) / _NANO
    console.print(f"[bold]${usd:.9f}[/] (¥{cny:.9f}) in all; nothing else is counted")


def _title(attempt: AttemptBill) -> str:
    where = escape(printable(f"{attempt.provider}/{attempt.target}"))
    by = f", told by {attempt.witness}" if attempt.witness else ""
    estimated = ", tokens estimated" if attempt.estimated else ""
    code = f" {attempt.code}" if attempt.code else ""
    above = attempt.above_input_tokens
    long = f", rates above {above:,} input tokens" if above else ""
    return (
        f"attempt {attempt.attempt}: {where} {attempt.outcome}{escape(code)}{estimated}{by}; "
        f"price of {attempt.source}{long}"
    )


def _rows(attempt: AttemptBill) -> Iterator[tuple[str, ...]]:
    for line in attempt.lines:
        rate = Decimal(line.rate) / _NANO
        cost = Decimal(line.femto_usd) / _FEMTO
        what = _KINDS.get(line.kind, line.kind)
        yield (what, f"{line.tokens:,}", f"{rate.normalize():f}", f"{cost:.15f}", _against(line))
    if attempt.rounding_femto_usd:
        rest = Decimal(attempt.rounding_femto_usd) / _FEMTO
        yield ("up to a whole nano-dollar", "", "", f"{rest:.15f}", "")
    yield ("attempt", "", "", f"{Decimal(attempt.cost_nano_usd) / _NANO:.9f}", "")


def _against(line: BillLine) -> str:
    if line.rate == line.full_rate or not line.full_rate:
        return ""
    share = 100 * Decimal(line.rate - line.full_rate) / Decimal(line.full_rate)
    saved = Decimal(line.tokens * (line.full_rate - line.rate)) / _FEMTO
    return f"{share:+.1f}%, {'saves' if saved > 0 else 'costs'} ${abs(saved):.9f}"


def _plain(made: BillMade) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(made, builtin_types=(bytes,))
    plain["attempts"] = [
        {
            **msgspec.to_builtins(attempt, builtin_types=(bytes,)),
            "attempt_id": attempt.attempt_id.hex(),
            "lines": [
                {
                    **msgspec.structs.asdict(line),
                    "cost_usd": f"{Decimal(line.femto_usd) / _FEMTO:f}",
                }
                for line in attempt.lines
            ],
            "cost_usd": f"{Decimal(attempt.cost_nano_usd) / _NANO:.9f}",
        }
        for attempt in made.attempts
    ]
    plain["cost_usd"] = f"{Decimal(made.cost_nano_usd) / _NANO:.9f}"
    plain["cost_cny"] = f"{Decimal(made.cost_nano_cny) / _NANO:.9f}"
    return plain
