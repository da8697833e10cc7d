"""Asks metrics what was used and what it cost."""

import re
from datetime import UTC, datetime
from typing import TypeVar

from droveway.contracts.comparison import ComparisonAsked, ComparisonMade
from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.fill import FillAsked, FillTold
from droveway.contracts.reports import (
    BillAsked,
    BillMade,
    Question,
    ReportAsked,
    ReportMade,
    ReportRefused,
    StatsAsked,
    StatsMade,
    UnixMs,
    answer_decoder,
    report_subject,
)
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError, DrovewayError

_AGO = re.compile(r"([0-9]{1,5})([dh])")
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000}

A = TypeVar("A", ReportMade, StatsMade, BillMade, ComparisonMade, FillTold)


class ReportUnavailable(DrovewayError):
    """No metrics service has answered."""


async def ask_report(bus: Bus, asked: ReportAsked, timeout_s: float) -> ReportMade:
    """Sums of a time.

    Raises:
        ReportUnavailable: Nobody answers within `timeout_s`, or the ledger can't.
    """
    return await _ask(bus, asked, ReportMade, timeout_s)


async def ask_stats(bus: Bus, asked: StatsAsked, timeout_s: float) -> StatsMade:
    """The dashboard of a time.

    Raises:
        ReportUnavailable: As `ask_report`.
    """
    return await _ask(bus, asked, StatsMade, timeout_s)


async def ask_bill(bus: Bus, asked: BillAsked, timeout_s: float) -> BillMade:
    """What one request cost.

    Raises:
        ReportUnavailable: As `ask_report`.
    """
    return await _ask(bus, asked, BillMade, timeout_s)


async def ask_comparison(bus: Bus, asked: ComparisonAsked, timeout_s: float) -> ComparisonMade:
    """A route's channels side by side.

    Raises:
        ReportUnavailable: As `ask_report`.
    """
    return await _ask(bus, asked, ComparisonMade, timeout_s)


async def ask_fill(bus: Bus, timeout_s: float) -> FillTold:
    """How full the streams are.

    Raises:
        ReportUnavailable: As `ask_report`.
    """
    return await _ask(bus, FillAsked(), FillTold, timeout_s)


def month_of(now_ms: UnixMs) -> UnixMs:
    """When the calendar month of a time began, in UTC."""
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(first.timestamp() * 1000)


def moment_ms(text: str, now_ms: UnixMs) -> UnixMs:
    """The Unix milliseconds of a date, a date-time, or a time ago: `7d`, `24h`; UTC if unsaid.

    Raises:
        ValueError: It is none of them, or before 1970.
    """
    if ago := _AGO.fullmatch(text):
        return max(0, now_ms - int(ago[1]) * _UNITS_MS[ago[2]])
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        found_ms = int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        found_ms = -1
    if found_ms < 0:
        raise ValueError(f"{text[:64]!r}: expected 2026-11-01, 2026-11-01T12:00:00Z, 7d or 24h")
    return found_ms


async def _ask(bus: Bus, question: Question, kind: type[A], timeout_s: float) -> A:
    try:
        payload = await bus.request(report_subject(), encode(question), timeout_s)
        answer = answer_decoder.decode(payload)
    except BusError as error:
        raise ReportUnavailable(f"no metrics service answers: {error}") from None
    except MALFORMED as error:
        raise ReportUnavailable(f"an answer of another form: {error}") from None
    if isinstance(answer, ReportRefused):
        raise ReportUnavailable(answer.reason)
    if not isinstance(answer, kind):
        raise ReportUnavailable(f"an answer to another question: {type(answer).__name__}")
    return answer
