"""What USAGE says of attempts, against what the providers' books say of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from droveway.contracts.envelope import PREFIX
from droveway.contracts.jetstream import USAGE
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, Row, rows_of
from droveway.runtime.bus.direct_get import reading
from droveway.simulator.book import Entry
from tests.support.nats import NatsServer

_PAGE_ROWS = 1_000
_PAGE_BYTES = 512 * 1024
_WITHIN_S = 5.0

Tokens = tuple[str, int, int]
"""Model, input and output of one answer."""


async def stored_rows(nats: NatsServer) -> list[Row]:
    """All rows of the stream, in its order."""
    async with nats.bus("operator") as bus, reading(bus, USAGE, _WITHIN_S) as reader:
        pattern = f"{PREFIX}.usage.*"
        pages = reader.messages(pattern, _PAGE_ROWS, _PAGE_BYTES)
        return [row async for message in pages for row in rows_of(message.payload)]


async def settled(nats: NatsServer, entries: Sequence[Entry], within_s: float = 10.0) -> None:
    """Waits until rows and books agree; a witness tells late of an attempt whose caller died."""
    until_s = time.monotonic() + within_s
    while found := [*disagreements(await stored_rows(nats), entries)]:
        assert time.monotonic() < until_s, found
        await asyncio.sleep(0.2)


def attempts_of(rows: Iterable[Row]) -> list[AttemptRecorded]:
    """One row for each attempt: its caller's, else a witness's."""
    found: dict[bytes, AttemptRecorded] = {}
    for row in rows:
        if isinstance(row, AttemptRecorded) and (not row.witness or row.attempt_id not in found):
            found[row.attempt_id] = row
    return list(found.values())


def requests_of(rows: Iterable[Row]) -> list[RequestRecorded]:
    """One row for each request."""
    found = {row.request_id: row for row in rows if isinstance(row, RequestRecorded)}
    return list(found.values())


def disagreements(rows: Sequence[Row], entries: Sequence[Entry]) -> Iterator[str]:
    """I4: each attempt that a provider saw has one row, with the tokens that it told.

    A witness can't know whether its attempt had reached the provider, and says that it estimates.
    """
    attempts = attempts_of(rows)
    yield from _told_twice(rows)
    witnessed = [row for row in attempts if row.witness]
    told = [row for row in attempts if not row.witness]
    sent = sum(row.request_sent for row in told)
    answered = sum(row.status > 0 for row in told)
    if len(entries) > sent + len(witnessed):
        yield (
            f"providers saw {len(entries)} requests, rows tell of {sent} that were sent "
            f"and {len(witnessed)} that may have been"
        )
    if answered > len(entries):
        yield f"rows tell of {answered} that were answered, providers saw {len(entries)} requests"
    exact = Counter(_tokens(row) for row in told if not row.usage.estimated)
    in_books = Counter(
        (entry.model, entry.usage.prompt_tokens, entry.usage.completion_tokens)
        for entry in entries
        if entry.usage is not None
    )
    for tokens, count in (exact - in_books).items():
        if tokens[1:] != (0, 0):
            yield f"{count} rows of {tokens} that no provider told"
    unheard = sum((in_books - exact).values())
    cut = len(witnessed) + sum(row.usage.estimated for row in told)
    if unheard > cut:
        yield f"providers told the tokens of {unheard} more answers, {cut} rows are estimates"
    for row in witnessed:
        if not row.usage.estimated and row.outcome != "completed":
            yield f"{row.witness} says the tokens of an attempt for certain that it saw die"


def _told_twice(rows: Iterable[Row]) -> Iterator[str]:
    """A row may be stored twice, but says the same then."""
    first: dict[bytes, AttemptRecorded] = {}
    for row in rows:
        if not isinstance(row, AttemptRecorded) or row.witness:
            continue
        known = first.setdefault(row.attempt_id, row)
        if known != row:
            yield f"attempt {row.attempt_id.hex()} has two rows that differ"


def _tokens(row: AttemptRecorded) -> Tokens:
    return (row.model, row.usage.input_tokens, row.usage.output_tokens)
