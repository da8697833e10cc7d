"""The ledger's writer over a real stream, without the service around it."""

import time
from typing import Any

import msgspec

from droveway.contracts.envelope import encode
from droveway.contracts.jetstream import USAGE
from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, Row, usage_subject
from droveway.metrics.ledger import position
from droveway.metrics.ledger.costs import PriceOf
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.position import Moved
from droveway.metrics.ledger.writer import Writer
from droveway.metrics.settings import MetricsSettings
from droveway.metrics.usage_stream import UsageStream
from droveway.runtime.bus import Bus, store
from droveway.runtime.bus.direct_get import reading
from tests.support.rows import attempt_row, request_row


async def publish(bus: Bus, *rows: Row | bytes) -> None:
    """Stores rows, each confirmed."""
    for row in rows:
        payload = row if isinstance(row, bytes) else encode(row)
        await store(bus, usage_subject("default"), payload, 5)


async def count(bus: Bus, database: Database, price_of: PriceOf, page_rows: int = 7) -> int:
    """Counts all that the stream has behind the position; the number of rows counted."""
    stream = UsageStream(bus, MetricsSettings(page_rows=page_rows))
    writer = Writer(database, price_of)
    counted = 0
    async with reading(bus, USAGE, 5) as reader:
        while True:
            standing = await position.find(database)
            pages, complete = await stream.pages(reader, standing.sequence)
            try:
                for page in pages:
                    written = await writer.write(standing, page)
                    standing = written.position
                    counted += len(written.rows)
            except Moved:
                continue
            if complete:
                return counted


def pair(**changes: Any) -> tuple[AttemptRecorded, RequestRecorded]:
    """An attempt and the request that it answered."""
    now_ns = time.time_ns()
    used = changes.pop("usage", Usage(1_000, 100))
    request = request_row(usage=used, began_ns=now_ns, provider="openai")
    fields = {"asked_model": "m", "usage": used, "began_ns": now_ns} | changes
    attempt = attempt_row(request, **fields)
    return attempt, msgspec.structs.replace(request, attempt_id=attempt.attempt_id)
