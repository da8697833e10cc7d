"""A request's answer over the bus: one message, or numbered frames; one terminal in any case."""

import asyncio
import logging

from droveway.contracts import client, relay
from droveway.contracts.errors import failure
from droveway.gateway import answers
from droveway.gateway.adapted import Frames
from droveway.gateway.doors.client_frames import FrameCoder, batches, failed, pieces
from droveway.gateway.doors.client_relay import ClientRelay
from droveway.gateway.doors.client_relays import ClientRelays
from droveway.gateway.doors.one_message import publish_once
from droveway.gateway.doors.taking import (
    cut_before_it_began,
    origin_of,
    served_headers,
    take_ready,
    take_whole,
    whole_headers,
)
from droveway.gateway.journal import Journal
from droveway.gateway.pending import ClientGone
from droveway.gateway.refusal import Refusal, refuse
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import BusError, RelayCut

log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long to wait for a frame before looking whether there is still time."""


class ClientAnswer:
    """The client's side of one request; `close` makes sure that it was told an end."""

    def __init__(
        self, bus: Bus, relays: ClientRelays, journal: Journal, *,
        key_id: str, reply: str, packed: bool, max_message_bytes: int,
    ) -> None:  # fmt: skip
        self.flow = ""
        """`none` or `credit` when the client asked for frames."""
        self.deadline = Deadline.after_ms(0)
        self._bus = bus
        self._relays = relays
        self._journal = journal
        self._key_id = key_id
        self._reply = reply
        self._max_message_bytes = max_message_bytes
        self._coder = FrameCoder(journal.request_id, packed=packed)
        self._relay: ClientRelay | None = None
        self._ended = False

    async def run(self, pending: Frames) -> None:
        """Takes the request's frames and sends them on as the client asked for them.

        Raises:
            AskFailed: No attempt committed.
            ClientGone: The client has left.
            Refusal: An error is to be told.
        """
        if not (self._journal.stream or self.flow):
            await self._in_one_message(pending)
            return
        opened = self._open(pending)
        try:
            if self._journal.stream:
                await self._events(pending, opened)
            else:
                await self._whole(pending, opened)
        except RelayCut:
            raise ClientGone from None

    def refuse(self, refusal: Refusal) -> None:
        """Tells an error: `failed` if nothing was delivered, else `interrupted`."""
        if self._ended:
            return
        spent = refusal.spent
        headers = answers.error_headers(refusal.failure, spent=spent)
        self._coder.set_headers([*headers, *answers.standing_headers(self._journal.standing)])
        self._coder.tried, self._coder.spent = refusal.tried, spent
        if self._relay is not None:
            self._relay.sender.interrupt(refusal.failure, self._journal.usage)
            self._end()
            return
        try:
            told = failed(refusal.failure, refusal.tried, self._coder.headers, spent=spent)
            self._publish(told)
        except BusError as error:
            log_event(log, "refusal_unsent", level=logging.WARNING, reason=str(error))
        self._end()

    def close(self) -> None:
        """Whatever happened, the relay ends here."""
        self._ended = True
        if self._relay is not None:
            self._relays.close(self._relay)
            self._relay = None

    def _open(self, pending: Frames) -> ClientRelay:
        opened = self._relays.open(
            self._key_id, self._reply, self._coder, credit=self.flow == "credit"
        )
        self._relay = opened
        opened.on_left = pending.client_gone
        frame = self._relays.opened_frame(opened, self._journal.request_id)
        try:
            opened.publish(self._coder.encode(frame))
        except BusError as error:
            log_event(log, "opened_unsent", level=logging.WARNING, reason=str(error))
        return opened

    async def _in_one_message(self, pending: Frames) -> None:
        body, terminal = await take_whole(pending, self.deadline, self._journal)
        self._journal.answer_bytes, self._journal.events = len(body), 1
        if len(body) > self._max_message_bytes:
            raise refuse("answer_too_large")
        self._set_headers(pending, terminal)
        frame = relay.Completed(0, terminal.usage, terminal.finish_reason, body)
        await publish_once(self._bus, self._reply, self._coder(frame), self.deadline)
        self._journal.status = 200
        self._end()

    async def _whole(self, pending: Frames, opened: ClientRelay) -> None:
        body, terminal = await take_whole(pending, self.deadline, self._journal)
        self._journal.answer_bytes, self._journal.events = len(body), 1
        self._set_headers(pending, terminal)
        self._journal.status = 200
        if len(body) > self._max_message_bytes:
            self._coder.in_pieces = True
            for piece in pieces(body):
                await self._send(opened, (piece,))
            body = b""
        opened.sender.complete(terminal.usage, terminal.finish_reason, body)
        self._end()

    async def _events(self, pending: Frames, opened: ClientRelay) -> None:
        frame = await pending.first(PATIENCE_S)
        while frame is None:
            frame = await pending.first(PATIENCE_S)
        if isinstance(frame, relay.Interrupted):
            raise cut_before_it_began(frame, self._journal)
        self._journal.saw(origin_of(frame))
        self._set_headers(pending)
        self._journal.status = 200
        terminal = None
        while terminal is None:
            events, terminal = take_ready(frame, pending, self._journal) if frame else ([], None)
            self._journal.answer_bytes += sum(map(len, events))
            for batch in batches(events):
                await self._send(opened, batch)
            if terminal is None:
                frame = await pending.next(PATIENCE_S)
        self._journal.end(terminal)
        if isinstance(terminal, relay.Interrupted):
            opened.sender.interrupt(terminal.failure, terminal.usage)
        else:
            opened.sender.complete(terminal.usage, terminal.finish_reason)
        self._end()

    async def _send(self, opened: ClientRelay, events: tuple[bytes, ...]) -> None:
        """One chunk; a client that takes frames, but too slowly, has the request's time.

        Raises:
            RelayCut: The client has left.
            Refusal: The deadline has passed: what was delivered is a prefix.
        """
        if not opened.sender.blocked:
            await opened.send(events)
            return
        try:
            async with asyncio.timeout(self.deadline.remaining_s()):
                await opened.send(events)
        except TimeoutError:
            late = failure("deadline_exceeded")
            self._journal.fail(late, "interrupted")
            raise Refusal(late) from None

    def _set_headers(self, pending: Frames, terminal: relay.Completed | None = None) -> None:
        headers = [*answers.standing_headers(pending.standing), *served_headers(self._journal)]
        if terminal is not None:
            headers += whole_headers(self._journal)
        self._coder.set_headers(headers)
        self._journal.mark("first_byte")

    def _end(self) -> None:
        self._ended = True

    def _publish(self, frame: client.Frame) -> None:
        self._bus.publish(self._reply, self._coder.encode(frame))
