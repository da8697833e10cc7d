"""Every way in which a provider says when to come back."""

from datetime import UTC, datetime

import pytest

from droveway.caller.retry_after import retry_after_ms

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
ROWS: list[tuple[dict[str, str], int | None]] = [
    ({}, None),
    ({"retry-after": "2"}, 2_000),
    ({"retry-after": "600"}, 600_000),
    ({"retry-after": "0"}, 0),
    ({"retry-after": "0.5"}, 500),
    ({"retry-after": " 3 "}, 3_000),
    ({"retry-after": "99999999"}, 3_600_000),
    ({"retry-after": "1e400"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "-1"}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "1, 2"}, None),
    ({"retry-after": "x" * 5_000}, None),
    ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30_000),
    ({"retry-after": "Sun, 22 Nov 2026 13:00:30 +0100"}, 30_000),
    ({"retry-after": "Sun, 22 Nov 2026 12:00:30 -0000"}, 30_000),
    ({"retry-after": "Sat, 21 Nov 2026 12:00:00 GMT"}, 0),
    ({"retry-after": "Fri, 22 Nov 2030 12:00:00 GMT"}, 3_600_000),
    ({"retry-after": "Sun, 99 Nov 2026 12:00:30 GMT"}, None),
    ({"retry-after": "Sun, 22 Nov 99999999999999999999 12:00:00 GMT"}, None),
    ({"retry-after": "Sun, 22 Nov 2026 12:00:00 +99999999999999999999"}, None),
    ({"retry-after-ms": "1500"}, 1_500),
    ({"retry-after-ms": "1500.2"}, 1_501),
    ({"retry-after-ms": "250", "retry-after": "1"}, 250),
    ({"retry-after-ms": "junk", "retry-after": "1"}, 1_000),
    ({"retry-after-ms": "-1", "retry-after": "1"}, 1_000),
]


@pytest.mark.parametrize(("headers", "expected"), ROWS)
def test_a_wait_is_read_or_counts_as_not_said(
    headers: dict[str, str], expected: int | None
) -> None:
    assert retry_after_ms(headers, NOW) == expected
