"""The ledger's tables, for SQLite and PostgreSQL alike; `migrations/` makes and changes them.

Times are Unix milliseconds by the broker's clock, as it stored the row: budgets count by the same.
Money is nano-dollars. Rows are kept for days, sums by the hour for months.
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
)

metadata = MetaData()

_ID = String(64)
_NAME = String(4_096)


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
    Column("price_id", Integer, nullable=False),  # of `prices`: by what it was counted
    Column("began_ns", BigInteger, nullable=False),
    Column("first_token_us", BigInteger),
    Column("ended_us", BigInteger, nullable=False),
    Index("attempts_by_request", "request_id"),
    Index("attempts_by_time", "stored_ms"),
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
    Column("began_ns", BigInteger, nullable=False),
    Column("first_byte_us", BigInteger),
    Column("ended_us", BigInteger, nullable=False),
    Index("requests_by_time", "stored_ms"),
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

positions = Table(
    "positions",
    metadata,
    Column("stream", String(32), primary_key=True),
    Column("sequence", BigInteger, nullable=False),  # all rows up to it are counted
    Column("stored_ms", BigInteger, nullable=False),  # that row's time
    Column("summed_from_hour", Integer, nullable=False, server_default="0"),
)
"""How far the stream is counted. Sums of hours before `summed_from_hour` are kept as they are:
a ledger that is made again finds only a part of their rows in the stream."""
