"""Messages of USAGE: one row, or rows in company; what is none takes no other with it."""

import msgspec
import pytest

from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.usage import MAX_ROWS, Row, RowReader, encode_rows, row_decoder, rows_of
from tests.contracts.test_hostile_bytes import INPUTS
from tests.support.rows import attempt_row, request_row


def some(count: int) -> list[Row]:
    return [request_row() if number % 2 else attempt_row() for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 15, 16, MAX_ROWS])
def test_rows_come_out_as_they_went_in(count: int) -> None:
    rows = some(count)
    assert rows_of(encode_rows(rows)) == rows
    assert rows_of(encode_rows([msgspec.Raw(encode(row)) for row in rows])) == rows


def test_a_row_alone_is_the_row_itself() -> None:
    (row,) = some(1)
    assert encode_rows([row]) == encode(row)
    assert rows_of(encode([row])) == [row]  # an array of one is read too


def test_what_is_no_row_takes_no_other_with_it() -> None:
    rows = some(3)
    spoilt = encode([rows[0], {"t": "attempt.recorded.v1"}, rows[1], None, rows[2]])
    reasons: list[str] = []
    assert rows_of(spoilt, reasons.append) == rows
    assert len(reasons) == 2
    with pytest.raises(msgspec.DecodeError):
        rows_of(spoilt)


def test_a_message_of_too_many_rows_is_refused_whole() -> None:
    reasons: list[str] = []
    assert rows_of(encode(some(MAX_ROWS + 1)), reasons.append) == []
    assert len(reasons) == 1


@pytest.mark.parametrize("payload", INPUTS.values(), ids=INPUTS)
def test_hostile_bytes_are_refused_and_told(payload: bytes) -> None:
    with pytest.raises(MALFORMED):
        rows_of(payload)
    reasons: list[str] = []
    assert rows_of(payload, reasons.append) == []
    assert 1 <= len(reasons) <= MAX_ROWS


def test_every_truncation_is_refused() -> None:
    payload = encode_rows(some(2))
    for length in range(len(payload)):
        with pytest.raises(MALFORMED):
            RowReader(row_decoder).rows_of(payload[:length])
