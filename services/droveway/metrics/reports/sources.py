"""The four tables that answers come from: which column is which dimension, and what is counted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, literal_column

from droveway.contracts.reports import Dimension, Only
from droveway.metrics.ledger.rows import name
from droveway.metrics.ledger.tables import attempt_hours, attempts, request_hours, requests

HOUR_MS = 3_600_000
_HOURS_A_DAY = 24
_STREAMING = "streaming"

Group = tuple[str, ...]


class Span(NamedTuple):
    """Whole hours since 1970, from `first` to before `end`."""

    first: int
    end: int

    @property
    def since_ms(self) -> int:
        """Its beginning."""
        return self.first * HOUR_MS

    @property
    def until_ms(self) -> int:
        """Its end."""
        return self.end * HOUR_MS


def span_of(since_ms: int, until_ms: int) -> Span:
    """The hours that a time touches; hour 0 is no hour, but what is no longer told apart."""
    return Span(max(1, since_ms // HOUR_MS), -(-until_ms // HOUR_MS))


class Source(NamedTuple):
    """One table with its columns by dimension."""

    columns: Mapping[Dimension, ColumnElement[Any]]
    time: ColumnElement[int]
    """What is compared with a span."""
    unit: int
    """Of `time`, in an hour."""

    def of(self, by: Sequence[Dimension]) -> list[ColumnElement[Any]]:
        """The columns that groups are made of."""
        return [self.columns[one].label(f"by_{number}") for number, one in enumerate(by)]

    def where(self, span: Span, only: Only) -> list[ColumnElement[bool]]:
        """What is counted."""
        found = [self.time >= span.first * self.unit, self.time < span.end * self.unit]
        wanted: dict[Dimension, str | bool] = {
            "tenant": only.tenant,
            "key": only.key_id,
            "provider": only.provider,
            "model": name(only.model),
            "target": name(only.target),
        }
        found += [self.columns[one] == value for one, value in wanted.items() if value]
        if only.mode:
            found.append(self.columns["mode"].is_(only.mode == _STREAMING))
        return found


def _source(table: Any, model: Any, target: Any, hour: Any, time: Any, unit: int) -> Source:
    columns: dict[Dimension, ColumnElement[Any]] = {
        "tenant": table.c.tenant,
        "key": table.c.key_id,
        "provider": table.c.provider,
        "model": model,
        "mode": table.c.stream,
        "day": hour // _HOURS_A_DAY,
        "hour": hour,
    }
    if target is not None:
        columns["target"] = target
    return Source(columns, time, unit)


def _of_hours(table: Any, target: Any) -> Source:
    return _source(table, table.c.model, target, table.c.hour, table.c.hour, 1)


_ASKED = case((attempts.c.asked_model != "", attempts.c.asked_model), else_=attempts.c.model)

ATTEMPT_HOURS = _of_hours(attempt_hours, attempt_hours.c.target)
REQUEST_HOURS = _of_hours(request_hours, None)
ATTEMPTS = _source(
    attempts, _ASKED, attempts.c.model, attempts.c.stored_ms // HOUR_MS, attempts.c.stored_ms,
    HOUR_MS,
)  # fmt: skip
REQUESTS = _source(
    requests, requests.c.model, None, requests.c.stored_ms // HOUR_MS, requests.c.stored_ms, HOUR_MS
)


def names_of(by: Sequence[Dimension]) -> list[ColumnElement[Any]]:
    """The columns of `Source.of` by their names.

    PostgreSQL takes two expressions with parameters for two different ones.
    """
    return [literal_column(f"by_{number}") for number in range(len(by))]


def by_target(by: Sequence[Dimension], only: Only) -> bool:
    """Whether it is asked by the provider's name, which requests don't have."""
    return "target" in by or bool(only.target)


def words(by: Sequence[Dimension], values: Sequence[Any]) -> Group:
    """A group as it is told."""
    return tuple(_word(name, value) for name, value in zip(by, values, strict=True))


def _word(name: Dimension, value: Any) -> str:
    if name == "mode":
        return _STREAMING if value else "whole"
    if name == "day":
        return f"{datetime.fromtimestamp(value * _HOURS_A_DAY * 3_600, UTC):%Y-%m-%d}"
    if name == "hour":
        return f"{datetime.fromtimestamp(value * 3_600, UTC):%Y-%m-%dT%H}"
    return str(value)
