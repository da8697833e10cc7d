"""The durable pull consumer of USAGE: batches of rows, each acknowledged once it is counted."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from droveway.contracts import usage
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import USAGE, USAGE_CONSUMER
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

_NEXT = f"$JS.API.CONSUMER.MSG.NEXT.{USAGE}.{USAGE_CONSUMER}"
_EXPIRES_S = 5.0
_RETRY_S = 1.0
_ACK = b"+ACK"


class FeedStatistics(NamedTuple):
    """A snapshot for gauges."""

    rows: int
    repeated: int
    invalid: int
    connected: int
    """1 while the stream answers."""


class UsageFeed:
    """Hands each row to `on_row` once, however often the stream delivers it."""

    def __init__(
        self, bus: Bus, batch_rows: int, remembered: int, on_row: Callable[[usage.Row], None]
    ) -> None:
        self._bus = bus
        self._batch_rows = batch_rows
        self._remembered = remembered
        self._on_row = on_row
        self._seen: OrderedDict[bytes | str, None] = OrderedDict()
        self._left = 0
        self._ack = ""
        self._wake = asyncio.Event()
        self._answered = False
        self._rows = 0
        self._repeated = 0
        self._invalid = 0

    async def run(self) -> None:
        """Asks for batch after batch, until cancelled."""
        reply = await self._bus.open_feed(self._on_delivery)
        while True:
            try:
                await self._one_batch(reply)
            except BusError:
                self._answered = False
                await asyncio.sleep(_RETRY_S)

    def problem(self) -> str:
        """Why rows don't come; empty when they would."""
        return "" if self._answered else "the stream USAGE doesn't answer"

    def statistics(self) -> FeedStatistics:
        """A snapshot for gauges."""
        return FeedStatistics(
            rows=self._rows,
            repeated=self._repeated,
            invalid=self._invalid,
            connected=int(self._answered),
        )

    async def _one_batch(self, reply: str) -> None:
        self._left = self._batch_rows
        self._wake.clear()
        question: dict[str, Any] = {
            "batch": self._batch_rows,
            "expires": int(_EXPIRES_S * 1e9),
            "idle_heartbeat": int(_RETRY_S * 1e9),
        }
        self._bus.publish(_NEXT, msgspec.json.encode(question), reply)
        while self._left > 0:
            try:
                async with asyncio.timeout(3 * _RETRY_S):
                    await self._wake.wait()
            except TimeoutError:  # not even a heartbeat: the broker has forgotten the question
                self._answered = False
                return
            self._wake.clear()

    def _on_delivery(self, payload: bytes, ack: str, status: int) -> None:
        self._answered = status in (0, 100, 404, 408, 409)
        self._wake.set()
        if status == 100:
            return
        if status:
            self._left = 0
            return
        self._left -= 1
        try:
            row = usage.row_decoder.decode(payload)
        except MALFORMED as error:
            self._invalid += 1
            log_event(log, "bad_row", level=logging.ERROR, reason=str(error)[:200])
            self._acknowledge(ack)
            return
        if self._is_new(row):
            self._rows += 1
            self._on_row(row)
        else:
            self._repeated += 1
        self._acknowledge(ack)

    def _is_new(self, row: usage.Row) -> bool:
        key = row.attempt_id if isinstance(row, usage.AttemptRecorded) else row.request_id
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > self._remembered:
            self._seen.popitem(last=False)
        return True

    def _acknowledge(self, ack: str) -> None:
        """Acknowledges this row and all before it, once per turn of the loop."""
        if not self._ack:
            asyncio.get_running_loop().call_soon(self._send_ack)
        self._ack = ack

    def _send_ack(self) -> None:
        ack, self._ack = self._ack, ""
        try:
            self._bus.publish(ack, _ACK)
        except BusError:
            return  # delivered again, and known then
