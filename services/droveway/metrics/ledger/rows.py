"""A row of USAGE as the values of its table, each fit for its column whatever its sender wrote.

Providers tell tokens and statuses, and clients models: what is out of bounds is cut to them, since
one row that the database refuses would hold up all behind it.
"""

import functools
from typing import get_args

import msgspec

from droveway.contracts.canary import Channel
from droveway.contracts.prices import ModelPrice
from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptRecorded, RequestRecorded
from droveway.metrics.ledger.tables import attempts, requests

_TOKEN_BITS = 40
MAX_TOKENS: int = 2**_TOKEN_BITS - 1
"""Of one row; a provider that says more is wrong."""
MAX_COST_NANO_USD = 2**50
"""Of one row: a million dollars."""
_US_BITS = 50
MAX_US: int = 2**_US_BITS - 1
"""35 years."""
MAX_NAME = 256
"""Characters of a model's name."""
MAX_ID = 64
OUTCOMES = ("completed", "failed", "interrupted", "cancelled")
CHANNELS: tuple[Channel, ...] = get_args(Channel)
OTHER = "other"
"""Of a row that says another outcome."""
_MAX_INT = 2**63 - 1
_MAX_SMALL = 2**15 - 1
_MAX_STATUS = 1_000
"""HTTP's have three digits; another one counts as none, so that a label has no room for it."""
_TEXTS = 4_096
"""Texts whose clean form is remembered."""

AttemptValues = tuple[
    bytes, int, str, int, str, str, str, str, str, str, bool, str, str, int, str, bool,
    int, int, int, int, int, int, int, int, int | None, int, int, str,
]  # fmt: skip
"""In the order of the columns of `attempts`."""
RequestValues = tuple[
    str, int, str, str, str, str, str, str, bool, str, int, str, int, bytes | None, bool,
    int, int, int, int, int, int, int, int | None, int, str, str,
]  # fmt: skip
"""In the order of the columns of `requests`."""
ATTEMPT_COLUMNS = tuple(attempts.columns.keys())
REQUEST_COLUMNS = tuple(requests.columns.keys())


def attempt_values(
    row: AttemptRecorded, stored_ms: int, price: ModelPrice, price_id: int
) -> AttemptValues:
    """One attempt as it is kept; `price` is what its tokens are counted by."""
    used, tokens = _used(row.usage)
    cost = price.cost_nano_usd(used)
    ended_us, first_us = _times(row.times.ended_us, row.times.first_token_us)
    model = name(row.model)
    return (
        row.attempt_id,
        stored_ms,
        row.request_id,
        row.attempt if 0 <= row.attempt <= _MAX_SMALL else _MAX_SMALL,
        row.tenant,
        row.key_id,
        row.provider,
        row.credential,
        model,
        name(row.asked_model) if row.asked_model else model,
        row.stream,
        row.outcome if row.outcome in OUTCOMES else OTHER,
        _word(row.code),
        row.status if 0 <= row.status < _MAX_STATUS else 0,
        row.witness,
        used.estimated,
        *tokens,
        min(cost, MAX_COST_NANO_USD),
        ended_us,
        first_us,
        row.began_ns if 0 <= row.began_ns <= _MAX_INT else _MAX_INT,
        price_id,
        row.channel if row.channel in CHANNELS else "",
    )


def request_values(row: RequestRecorded, stored_ms: int) -> RequestValues:
    """One request as it is kept."""
    used, tokens = _used(row.usage)
    ended_us, first_us = _times(row.times.ended_us, row.times.first_byte_us)
    return (
        row.request_id,
        stored_ms,
        row.tenant,
        row.key_id,
        row.protocol,
        _word(row.operation),
        name(row.model),
        _word(row.provider),
        row.stream,
        row.outcome if row.outcome in OUTCOMES else OTHER,
        row.status if 0 <= row.status < _MAX_STATUS else 0,
        _word(row.code),
        _small(row.attempts),
        row.attempt_id if len(row.attempt_id) == 16 else None,
        used.estimated,
        *tokens,
        ended_us,
        first_us,
        row.began_ns if 0 <= row.began_ns <= _MAX_INT else _MAX_INT,
        row.traceparent if len(row.traceparent) == 55 else "",
        row.channel if row.channel in CHANNELS else "",
    )


@functools.lru_cache(_TEXTS)
def name(text: str) -> str:
    """A model's name without what PostgreSQL can't keep, cut to its column."""
    clean = _clean(text)
    return clean if len(clean) <= MAX_NAME else clean[: MAX_NAME - 1] + "…"


@functools.lru_cache(_TEXTS)
def _word(text: str) -> str:
    return _clean(text)[:MAX_ID]


def _clean(text: str) -> str:
    """Without NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _small(number: int) -> int:
    return number if 0 <= number <= _MAX_SMALL else 0


def _used(used: Usage) -> tuple[Usage, tuple[int, int, int, int, int, int]]:
    """Tokens within their bounds, as they are and in the order of the columns."""
    tokens = (
        used.input_tokens,
        used.output_tokens,
        used.cache_read_tokens,
        used.cache_write_tokens,
        used.cache_write_1h_tokens,
        used.reasoning_tokens,
    )
    first, second, third, fourth, fifth, sixth = tokens
    # One shift for six comparisons: what is left is not 0 if any of them is too large or negative.
    if (first | second | third | fourth | fifth | sixth) >> _TOKEN_BITS:
        return _used(_clamped(used))
    return used, tokens


def _times(ended_us: int, first_us: int | None) -> tuple[int, int | None]:
    if (ended_us | (first_us or 0)) >> _US_BITS:
        ended_us = max(0, min(ended_us, MAX_US))
        first_us = None if first_us is None else max(0, min(first_us, MAX_US))
    return ended_us, first_us


def _clamped(used: Usage) -> Usage:
    def fit(tokens: int) -> int:
        return max(0, min(tokens, MAX_TOKENS))

    return msgspec.structs.replace(
        used,
        input_tokens=fit(used.input_tokens),
        output_tokens=fit(used.output_tokens),
        cache_read_tokens=fit(used.cache_read_tokens),
        cache_write_tokens=fit(used.cache_write_tokens),
        cache_write_1h_tokens=fit(used.cache_write_1h_tokens),
        reasoning_tokens=fit(used.reasoning_tokens),
    )
