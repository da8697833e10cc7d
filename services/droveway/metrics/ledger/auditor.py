"""Looks for attempts that answered and have no row: their callers died before they could tell.

Nobody else knows of them any more, so a row by this witness goes into USAGE, from which budgets,
traces and this ledger have it like any other. The question is put to the database alone, so a
restart forgets nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from droveway.contracts.envelope import encode, is_id
from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptRecorded, AttemptTimes, usage_subject
from droveway.metrics.ledger.database import Database, LedgerAway
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.ledger.tables import attempt_hours, attempts, requests
from droveway.otel.context import child, format_traceparent, new_trace, parse_traceparent
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.bus.storing import store
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
"""The caller of a row by this witness."""
_IDS = ("request_id", "tenant", "key_id", "provider")
_LOOKS = 4
"""In the time after which a row is missing."""
_AT_ONCE = 200
"""Missing rows that are told between two questions."""
_STORE_WITHIN_S = 5.0
_MARGIN_MS = 12 * HOUR_MS
"""Of the oldest requests that are kept the attempts may have been let go already."""


class AuditorStatistics(NamedTuple):
    """A snapshot for gauges."""

    found: int
    """Attempts without a row, for which one was stored."""
    unanswerable: int
    """Those of which too little is known for a row."""


class Auditor:
    """Tells of attempts whose callers are gone."""

    def __init__(
        self,
        bus: Bus,
        database: Database,
        caught_up_ms: Callable[[], int],
        missing_row_s: float,
        rows_kept_days: int,
    ) -> None:
        self._bus = bus
        self._database = database
        self._caught_up_ms = caught_up_ms
        self._missing_row_s = missing_row_s
        self._kept_ms = rows_kept_days * 24 * HOUR_MS - _MARGIN_MS
        self._done_ms = 0
        """Requests up to here have been looked at; 0: none yet."""
        self._found = self._unanswerable = 0

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._missing_row_s / _LOOKS)
            caught_up_ms = self._caught_up_ms()
            if not caught_up_ms:  # the missing row may lie unread in the stream
                self._done_ms = 0
                continue
            try:
                await self.look(caught_up_ms - int(self._missing_row_s * 1000))
            except (LedgerAway, BusError) as error:
                log_event(log, "audit_again", reason=str(error))

    async def look(self, until_ms: int) -> None:
        """Tells of all that is missing of requests that were stored up to `until_ms`.

        Raises:
            LedgerAway: The database doesn't answer; the next look begins where this one ended.
            BusError: The stream doesn't take a row; likewise.
        """
        done_ms = self._done_ms or until_ms - self._kept_ms
        while done_ms < until_ms:
            hour_ms = min(done_ms + HOUR_MS, until_ms)
            behind = (done_ms, "")
            while missing := await self._missing(behind, hour_ms):
                for request in missing:
                    await self._tell(request)
                behind = (missing[-1]["stored_ms"], missing[-1]["request_id"])
            done_ms = self._done_ms = hour_ms

    def statistics(self) -> AuditorStatistics:
        """A snapshot for gauges."""
        return AuditorStatistics(self._found, self._unanswerable)

    async def _missing(self, behind: tuple[int, str], until_ms: int) -> list[RowMapping]:
        """Requests that name an attempt which has no row, the oldest first."""
        at, after_id = requests.c.stored_ms, requests.c.request_id
        statement = (
            select(requests)
            .outerjoin(attempts, attempts.c.attempt_id == requests.c.attempt_id)
            .where(at >= behind[0], at <= until_ms)
            .where((at > behind[0]) | (after_id > behind[1]))
            .where(requests.c.attempt_id.is_not(None), attempts.c.attempt_id.is_(None))
            .order_by(at, after_id)
            .limit(_AT_ONCE)
        )
        async with self._database.reading() as connection:
            return [*(await connection.execute(statement)).mappings()]

    async def _tell(self, request: RowMapping) -> None:
        if not all(is_id(request[name]) for name in _IDS):
            self._unanswerable += 1
            return
        row = lost_answer(request, await self._target(request), self._bus.instance)
        log_event(
            log, "row_missing", level=logging.WARNING,
            request_id=row.request_id, attempt_id=row.attempt_id.hex(), provider=row.provider,
        )  # fmt: skip
        headers = {"Nats-Msg-Id": row.attempt_id.hex()}
        payload = encode(row)
        await store(self._bus, usage_subject(row.tenant), payload, _STORE_WITHIN_S, headers=headers)
        self._found += 1

    async def _target(self, request: RowMapping) -> str:
        """The provider's name of the model, as other attempts had it."""
        hours = attempt_hours.c
        same = (hours.provider == request["provider"], hours.model == request["model"])
        newest = select(hours.target).where(*same, hours.hour > 0).order_by(hours.hour.desc())
        async with self._database.reading() as connection:
            found: str | None = (await connection.execute(newest.limit(1))).scalar()
        return found or str(request["model"])


def lost_answer(request: RowMapping, target: str, witness: str) -> AttemptRecorded:
    """What a request's row knows of the attempt that answered it."""
    exact = request["outcome"] == "completed" and not request["estimated"]
    parent = parse_traceparent(request["traceparent"]) or new_trace(0.0)
    return AttemptRecorded(
        attempt_id=request["attempt_id"],
        request_id=request["request_id"],
        attempt=request["attempts"] or 1,
        traceparent=format_traceparent(child(parent)),
        tenant=request["tenant"],
        key_id=request["key_id"],
        caller=UNKNOWN,
        witness=witness,
        router="",
        provider=request["provider"],
        credential="",
        model=target,
        asked_model=request["model"],
        channel=request["channel"],
        stream=request["stream"],
        outcome=request["outcome"],
        code=request["code"],
        status=request["status"] if request["outcome"] == "completed" else 0,
        committed=True,
        request_sent=True,
        usage=_usage(request, estimated=not exact),
        began_ns=request["began_ns"],
        times=AttemptTimes(first_token_us=request["first_byte_us"], ended_us=request["ended_us"]),
    )


def _usage(request: RowMapping, *, estimated: bool) -> Usage:
    fields: dict[str, Any] = {
        name: request[name] for name in Usage.__struct_fields__ if name != "estimated"
    }
    return Usage(**fields, estimated=estimated)
