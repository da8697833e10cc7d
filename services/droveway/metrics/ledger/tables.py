"""The ledger's tables, for SQLite and PostgreSQL alike; `migrations/` makes and changes them.

Times are Unix milliseconds by the broker's clock, as it stored the row: budgets count by the same.
Money is nano-dollars. Rows are kept for days, sums by the hour for months; in hour 0 of each stands
what was counted in hours that are no longer kept, without keys, so that totals never shrink.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

_ID = String(64)
_NAME = String(256)  # what is longer is cut: an index of PostgreSQL has no room for it


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _tokens() -> tuple[Column[int], ...]:
    """`input_tokens` includes the cached and written ones, `output_tokens` the reasoning."""
    return (
        _count("input_tokens"),
        _count("output_tokens"),
        _count("cache_read_tokens"),
        _count("cache_write_tokens"),
        _count("cache_write_1h_tokens"),
        _count("reasoning_tokens"),
    )


def _channel() -> Column[str]:
    """`canary` or `stable`, of a route that has a canary; else empty."""
    return Column("channel", String(16), nullable=False, server_default="")


def _by_channel(name: str) -> Index:
    """Rows of canaries' routes alone: it costs the others nothing."""
    only = text("channel <> ''")
    return Index(name, "channel", "stored_ms", sqlite_where=only, postgresql_where=only)


attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", LargeBinary(16), primary_key=True),
    Column("stored_ms", BigInteger, nullable=False),
    Column("request_id", _ID, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("tenant", _ID, nullable=False),
    Column("key_id", _ID, nullable=False),
    Column("provider", _ID, nullable=False),
    Column("credential", _ID, nullable=False),
    Column("model", _NAME, nullable=False),  # the name asked of the provider
    Column("asked_model", _NAME, nullable=False),  # the client's
    Column("stream", Boolean, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("code", _ID, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("witness", _ID, nullable=False),
    Column("estimated", Boolean, nullable=False),
    *_tokens(),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("first_token_us", BigInteger),
    Column("began_ns", BigInteger, nullable=False),
    Column("price_id", Integer, nullable=False),  # of `prices`: by what it was counted
    _channel(),
    Index("attempts_by_request", "request_id"),
    Index("attempts_by_time", "stored_ms"),
    _by_channel("attempts_by_channel"),
)
"""One row per upstream attempt."""

requests = Table(
    "requests",
    metadata,
    Column("request_id", _ID, primary_key=True),
    Column("stored_ms", BigInteger, nullable=False),
    Column("tenant", _ID, nullable=False),
    Column("key_id", _ID, nullable=False),
    Column("protocol", _ID, nullable=False),
    Column("operation", _ID, nullable=False),
    Column("model", _NAME, nullable=False),  # the client's
    Column("provider", _ID, nullable=False),  # empty: none answered
    Column("stream", Boolean, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("code", _ID, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("attempt_id", LargeBinary(16)),  # the one that answered
    Column("estimated", Boolean, nullable=False),
    *_tokens(),
    Column("ended_us", BigInteger, nullable=False),
    Column("first_byte_us", BigInteger),
    Column("began_ns", BigInteger, nullable=False),
    Column("traceparent", _ID, nullable=False),
    _channel(),
    Index("requests_by_time", "stored_ms"),
    _by_channel("requests_by_channel"),
)
"""One row per accepted request."""

prices = Table(
    "prices",
    metadata,
    Column("price_id", Integer, primary_key=True),
    Column("price", Text, nullable=False, unique=True),  # a `ModelPrice` as JSON
)
"""Every price that a row was ever counted by."""


def _hours(name: str, *columns: Column[int]) -> Table:
    return Table(
        name,
        metadata,
        Column("hour", Integer, primary_key=True, autoincrement=False),  # since 1970
        Column("tenant", _ID, primary_key=True),
        Column("key_id", _ID, primary_key=True),
        Column("provider", _ID, primary_key=True),
        Column("model", _NAME, primary_key=True),  # the client's name for it
        Column("target", _NAME, primary_key=True),  # the provider's name; of requests: empty
        Column("stream", Boolean, primary_key=True),
        *columns,
        sqlite_with_rowid=False,
    )


attempt_hours = _hours(
    "attempt_hours",
    _count("attempts"),
    _count("completed"),
    _count("failed"),
    _count("interrupted"),
    _count("cancelled"),
    _count("estimated"),
    *_tokens(),
    _count("cost_nano_usd"),
    _count("unpriced_tokens"),
    _count("first_token_us"),  # sum over those that had one
    _count("first_tokens"),  # how many had one
    _count("ended_us"),
)
"""Attempts by the hour."""

request_hours = _hours(
    "request_hours",
    _count("requests"),
    _count("completed"),
    _count("failed"),
    _count("interrupted"),
    _count("cancelled"),
    _count("first_byte_us"),
    _count("first_bytes"),
    _count("ended_us"),
)
"""Requests by the hour."""

outcome_hours = Table(
    "outcome_hours",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("provider", _ID, primary_key=True),
    Column("outcome", String(16), primary_key=True),
    Column("status", SmallInteger, primary_key=True, autoincrement=False),
    _count("attempts"),
    _count("further"),  # those that were their request's second, third, ...
    sqlite_with_rowid=False,
)
"""What attempts came to by the hour."""

HOURS = (attempt_hours, request_hours, outcome_hours)
"""All that is summed by the hour."""

positions = Table(
    "positions",
    metadata,
    Column("stream", String(32), primary_key=True),
    Column("sequence", BigInteger, nullable=False),  # all rows up to it are counted
    Column("stored_ms", BigInteger, nullable=False),  # that row's time
    Column("summed_from_hour", Integer, nullable=False, server_default="0"),
    Column("writer", _ID, nullable=False, server_default=""),  # the one process that counts
    Column("beat", BigInteger, nullable=False, server_default="0"),  # grows while it lives
)
"""How far the stream is counted; `stored_ms` 0: the time isn't known.

Sums of hours before `summed_from_hour` are kept as they are: a ledger that is made again finds only
a part of their rows in the stream."""
