"""Attempts that answered and left no row get one."""

from pathlib import Path

import msgspec
import pytest

from droveway.contracts.jetstream import USAGE
from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, RequestTimes, row_decoder
from droveway.metrics.ledger.auditor import UNKNOWN, Auditor
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.usage_stream import PATTERN
from droveway.otel.context import parse_traceparent
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import reading
from tests.support.ledgers import NOW_MS, Ledger, disagreements, ledger
from tests.support.nats import NatsServer
from tests.support.rows import attempt_row, request_row


def auditor(bus: Bus, book: Ledger) -> Auditor:
    return Auditor(bus, book.database, lambda: NOW_MS, missing_row_s=60.0, rows_kept_days=7)


def answered(**changes: object) -> tuple[RequestRecorded, AttemptRecorded]:
    """A request and the attempt that it names."""
    request = request_row(
        provider="openai", model="fast", usage=Usage(100, 20, 30), attempts=2,
        times=RequestTimes(first_byte_us=700, ended_us=2_000),
    )  # fmt: skip
    attempt = attempt_row(request, asked_model="fast")
    request = msgspec.structs.replace(request, attempt_id=attempt.attempt_id, **changes)
    return request, attempt


async def told(bus: Bus) -> list[AttemptRecorded]:
    """All attempts that stand in the stream."""
    async with reading(bus, USAGE, 5.0) as reader:
        page = await reader.page(PATTERN, 1, 10_000, 10_000_000)
    rows = [row_decoder.decode(message.payload) for message in page.messages]
    return [row for row in rows if isinstance(row, AttemptRecorded)]


async def test_a_missing_row_is_told_by_a_witness(own_nats: NatsServer, tmp_path: Path) -> None:
    request, lost = answered()
    other_request, other = answered()
    async with ledger(tmp_path) as book, own_nats.bus("metrics") as bus:
        await book.write(request, other, other_request)
        looking = auditor(bus, book)
        await looking.look(NOW_MS)
        (row,) = await told(bus)
        assert (row.attempt_id, row.witness, row.caller) == (lost.attempt_id, bus.instance, UNKNOWN)
        assert (row.model, row.asked_model, row.attempt) == ("gpt-4.1", "fast", 2)
        assert row.usage == Usage(100, 20, 30)  # its door had the usage of a whole answer
        assert (row.times.first_token_us, row.times.ended_us) == (700, 2_000)
        span, root = parse_traceparent(row.traceparent), parse_traceparent(request.traceparent)
        assert span is not None
        assert root is not None
        assert span.trace_id == root.trace_id
        assert looking.statistics() == (1, 0)
        await book.write(row)
        assert await disagreements(book.database) == []
        await auditor(bus, book).look(NOW_MS)
        assert len(await told(bus)) == 1


@pytest.mark.parametrize(
    "changes",
    [{"outcome": "interrupted"}, {"usage": Usage(5, 5, estimated=True)}],
    ids=["cut", "estimated by its door"],
)
async def test_what_is_not_known_for_certain_is_estimated(
    own_nats: NatsServer, tmp_path: Path, changes: dict[str, object]
) -> None:
    request, _ = answered(**changes)
    async with ledger(tmp_path) as book, own_nats.bus("metrics") as bus:
        await book.write(request)
        await auditor(bus, book).look(NOW_MS)
        (row,) = await told(bus)
        assert row.usage.estimated
        assert row.outcome == request.outcome


async def test_it_is_told_once_by_one_process_and_not_before_its_time(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    request, _ = answered()
    async with ledger(tmp_path) as book, own_nats.bus("metrics") as bus:
        await book.write(request)
        looking = auditor(bus, book)
        await looking.look(NOW_MS - 1)
        assert await told(bus) == []
        await looking.look(NOW_MS)
        await looking.look(NOW_MS + 1)
        await looking.look(NOW_MS + HOUR_MS)
        assert len(await told(bus)) == 1


async def test_many_at_the_same_millisecond_are_all_told(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    requests = [answered()[0] for _ in range(450)]
    async with ledger(tmp_path) as book, own_nats.bus("metrics") as bus:
        await book.write(*requests)
        await auditor(bus, book).look(NOW_MS)
        found = await told(bus)
    assert {row.attempt_id for row in found} == {row.attempt_id for row in requests}
    assert len(found) == 450


async def test_of_whom_too_little_is_known_there_is_no_row(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    request, _ = answered(provider="Not An Id")
    unanswered = request_row()
    async with ledger(tmp_path) as book, own_nats.bus("metrics") as bus:
        await book.write(request, unanswered)
        looking = auditor(bus, book)
        await looking.look(NOW_MS)
        assert await told(bus) == []
        assert looking.statistics() == (0, 1)


async def test_requests_whose_attempts_may_have_been_let_go_are_not_asked_about(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    request, _ = answered()
    async with ledger(tmp_path) as book, own_nats.bus("metrics") as bus:
        await book.write(request, stored_ms=NOW_MS - 7 * 24 * HOUR_MS + HOUR_MS)
        await auditor(bus, book).look(NOW_MS)
        assert await told(bus) == []
