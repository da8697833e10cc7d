"""The ledger's first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.String(64)
_NAME = sa.String(256)
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)


def upgrade() -> None:
    """Makes all tables."""
    _attempts()
    _requests()
    op.create_table(
        "prices",
        sa.Column("price_id", sa.Integer, primary_key=True),
        sa.Column("price", sa.Text, nullable=False, unique=True),
    )
    _hours()
    op.create_table(
        "positions",
        sa.Column("stream", sa.String(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("stored_ms", sa.BigInteger, nullable=False),
        sa.Column("summed_from_hour", sa.Integer, nullable=False, server_default="0"),
        sa.Column("writer", _ID, nullable=False, server_default=""),
        sa.Column("beat", sa.BigInteger, nullable=False, server_default="0"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.LargeBinary(16), primary_key=True),
        _needed("stored_ms", sa.BigInteger()),
        _needed("request_id", _ID),
        _needed("attempt", sa.SmallInteger()),
        *(_needed(name, _ID) for name in ("tenant", "key_id", "provider", "credential")),
        *(_needed(name, _NAME) for name in ("model", "asked_model")),
        _needed("stream", sa.Boolean()),
        _needed("outcome", sa.String(16)),
        _needed("code", _ID),
        _needed("status", sa.SmallInteger()),
        _needed("witness", _ID),
        _needed("estimated", sa.Boolean()),
        *map(_count, _TOKENS),
        *(_needed(name, sa.BigInteger()) for name in ("cost_nano_usd", "ended_us")),
        sa.Column("first_token_us", sa.BigInteger),
        _needed("began_ns", sa.BigInteger()),
        _needed("price_id", sa.Integer()),
    )
    op.create_index("attempts_by_request", "attempts", ["request_id"])
    op.create_index("attempts_by_time", "attempts", ["stored_ms"])


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("request_id", _ID, primary_key=True),
        _needed("stored_ms", sa.BigInteger()),
        *(_needed(name, _ID) for name in ("tenant", "key_id", "protocol", "operation")),
        _needed("model", _NAME),
        _needed("provider", _ID),
        _needed("stream", sa.Boolean()),
        _needed("outcome", sa.String(16)),
        _needed("status", sa.SmallInteger()),
        _needed("code", _ID),
        _needed("attempts", sa.SmallInteger()),
        sa.Column("attempt_id", sa.LargeBinary(16)),
        _needed("estimated", sa.Boolean()),
        *map(_count, _TOKENS),
        _needed("ended_us", sa.BigInteger()),
        sa.Column("first_byte_us", sa.BigInteger),
        _needed("began_ns", sa.BigInteger()),
        _needed("traceparent", _ID),
    )
    op.create_index("requests_by_time", "requests", ["stored_ms"])


def _hours() -> None:
    ends = ("completed", "failed", "interrupted", "cancelled")
    spent = ("cost_nano_usd", "unpriced_tokens", "first_token_us", "first_tokens", "ended_us")
    names = {"tenant": _ID, "key_id": _ID, "provider": _ID, "model": _NAME, "target": _NAME}
    attempts = ("attempts", *ends, "estimated", *_TOKENS, *spent)
    requests = ("requests", *ends, "first_byte_us", "first_bytes", "ended_us")
    for table, counted in (("attempt_hours", attempts), ("request_hours", requests)):
        op.create_table(
            table,
            _key("hour", sa.Integer()),
            *(_key(name, kind) for name, kind in names.items()),
            _key("stream", sa.Boolean()),
            *map(_count, counted),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "outcome_hours",
        _key("hour", sa.Integer()),
        _key("provider", _ID),
        _key("outcome", sa.String(16)),
        _key("status", sa.SmallInteger()),
        *map(_count, ("attempts", "further")),
        sqlite_with_rowid=False,
    )


def _needed(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _key(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)
