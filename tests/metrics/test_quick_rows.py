"""Rows decoded without a second look at their ids."""

import pytest

from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, Row, encode_rows
from droveway.contracts.usage import rows_of as checked_rows_of
from droveway.metrics.quick_rows import rows_of
from tests.support.rows import attempt_row, request_row


@pytest.mark.parametrize("row", [attempt_row(), request_row()], ids=["attempt", "request"])
def test_it_says_what_the_contract_s_decoder_says(row: Row) -> None:
    (quick,), (exact,) = rows_of(encode(row)), checked_rows_of(encode(row))
    assert encode(quick) == encode(exact) == encode(row)
    assert isinstance(quick, AttemptRecorded) == isinstance(row, AttemptRecorded)
    assert isinstance(quick, RequestRecorded) == isinstance(row, RequestRecorded)


def test_rows_in_company_are_read_in_their_order() -> None:
    rows: list[Row] = [attempt_row(), request_row(), attempt_row()]
    assert encode_rows(rows_of(encode_rows(rows))) == encode_rows(rows)


def test_a_row_of_an_older_sender_gets_its_defaults() -> None:
    old = encode(attempt_row(witness="", asked_model="x"))
    (row,) = rows_of(old.replace(b"asked_model", b"olden_model"))
    assert isinstance(row, AttemptRecorded)
    assert row.asked_model == ""


@pytest.mark.parametrize("payload", [b"", b"junk", b"\xc1", encode({"t": "attempt.recorded.v1"})])
def test_what_is_no_row_is_malformed(payload: bytes) -> None:
    with pytest.raises(MALFORMED):
        rows_of(payload)
