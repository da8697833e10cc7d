"""One request and the frames of its answer: in order, at our pace, until exactly one terminal."""

import asyncio
import time
from typing import Protocol

from droveway.client.errors import ClientError, Failed, Interrupted, NoGateway, NotConnected
from droveway.contracts import client, relay
from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.errors import failure
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.relay import Receiver

PROBE_S = relay.PEER_PROBE_MS / 1000
"""After so much silence the gateway is looked for: nobody there means that it has ended."""
DEAD_S = relay.PEER_DEAD_MS / 1000
"""After so much silence the answer is given up."""
_GATEWAY = "gateway"


class Watch(Protocol):
    """Whoever looks after open exchanges, a few times a second."""

    def follow(self, exchange: "Exchange") -> None:
        """Calls `exchange.check` until `leave`."""

    def leave(self, exchange: "Exchange") -> None:
        """It has ended."""


class Exchange:
    """A request that was published and what is heard of it; `close` it in any case."""

    def __init__(self, bus: Bus, watch: Watch) -> None:
        self.opened: client.Opened | None = None
        self.headers: dict[str, str] = {}
        self.terminal: client.Completed | client.Interrupted | None = None
        """As it came; None while there is none, and when the answer was cut here."""
        self._bus = bus
        self._watch = watch
        self._wake = asyncio.Event()
        self._receiver: Receiver | None = None
        self._error: ClientError | None = None
        self._heard_s = time.monotonic()
        self._closed = False
        self._over = False
        self._inbox = bus.open_inbox(self._on_payload, self._on_nobody)

    @property
    def request_id(self) -> str:
        """The gateway's name for the request; empty while it isn't known."""
        return self.opened.request_id if self.opened else self.headers.get("x-request-id", "")

    def publish(self, subject: str, request: bytes, headers: dict[str, str]) -> None:
        """Sends the request.

        Raises:
            NotConnected: There is no connection to send it by.
        """
        try:
            self._bus.publish(subject, request, self._inbox.subject, headers)
        except BusError as error:
            raise NotConnected(str(error)) from None
        self._heard_s = time.monotonic()
        self._watch.follow(self)

    async def take(self) -> relay.Frame:
        """The next frame; grants the gateway more once those before it were taken.

        Raises:
            NoGateway: No gateway was there to take it.
            Failed: An error in place of an answer.
            Interrupted: Nothing of an answer came, and whether the request ran isn't known.
        """
        if self._receiver is not None:
            self._receiver.settle()
        while True:
            if self._receiver is not None and (frame := self._receiver.take_ready()) is not None:
                self._over = self._over or not isinstance(frame, relay.Chunk)
                return frame
            if self._error is not None:
                self._over = True
                raise self._error
            self._wake.clear()
            await self._wake.wait()

    def check(self, now_s: float) -> None:
        """Looks for a gateway that is silent, and gives it up in the end."""
        silence_s = now_s - self._heard_s
        if silence_s > DEAD_S:
            self.lose(f"nothing heard from the gateway for {DEAD_S:g} s")
        elif silence_s > PROBE_S and self.opened is not None:
            self._probe(self.opened.control)

    def forgive(self, now_s: float) -> None:
        """The connection was made anew: the silence of a gateway that has it counts from now."""
        if self._receiver is not None:
            self._heard_s = now_s
            self._receiver.ask_again()

    def lose(self, reason: str) -> None:
        """Gives the answer up: whoever waits for it is told that it was cut."""
        if self._receiver is not None:
            if not self._receiver.ended:
                self.terminal = None
                self._receiver.cut(reason)
                if self.opened is not None:
                    self._cancel(self.opened)
        elif self._error is None:
            self._error = Interrupted(
                "stream_interrupted", f"{reason}; whether the request ran isn't known",
                text="", usage=None, request_id="",
            )  # fmt: skip
            self._wake.set()

    def close(self) -> None:
        """Ends it; an answer that hasn't ended is cancelled all the way to the provider."""
        if self._closed:
            return
        self._closed = True
        self._watch.leave(self)
        if self.opened is None and not isinstance(self._error, Failed | NoGateway):
            # A gateway that takes it only now has to be told: see `_on_opened`.
            asyncio.get_running_loop().call_later(DEAD_S, self._inbox.close)
            return
        if self.opened is not None and not self._over and self._error is None:
            self._cancel(self.opened)
        self._inbox.close()

    def _on_payload(self, payload: bytes) -> None:
        self._heard_s = time.monotonic()
        try:
            frame: client.Frame = client.frame_decoder.decode(payload)
        except MALFORMED:
            self.lose("a frame can't be read: is the gateway of another version?")
            return
        match frame:
            case client.Opened():
                self._on_opened(frame)
            case client.Failed():
                self._error = self._error or Failed(frame)
                self._steer(_GATEWAY, relay.Taken(()))
                self._wake.set()
            case _ if self._receiver is None:
                self.lose("the first frame of the answer was lost")
            case client.Heartbeat():
                self._receiver.on_sender_at(frame.next_seq, frame.blocked)
            case _:
                self._on_content(frame, self._receiver, len(payload))

    def _on_opened(self, opened: client.Opened) -> None:
        if self._closed or self._error is not None:
            self._cancel(opened)
            self._inbox.close()
        elif self.opened is None:
            self.opened = opened
            self._receiver = Receiver(
                bytes.fromhex(opened.relay_id), self._steer, relay.WINDOW_BYTES, _GATEWAY
            )
            self._receiver.wake = self._wake

    def _on_content(
        self,
        frame: client.Chunk | client.Completed | client.Interrupted,
        receiver: Receiver,
        size_bytes: int,
    ) -> None:
        if not isinstance(frame, client.Interrupted) and frame.headers:
            self.headers = frame.headers
        if not isinstance(frame, client.Chunk):
            self.terminal = frame
        receiver.on_frame(_as_relayed(frame), size_bytes)

    def _on_nobody(self) -> None:
        if self.opened is None and self._error is None:
            text = "no gateway is running, or none that this key's user can reach"
            self._error = NoGateway(text)
            self._wake.set()

    def _probe(self, control: str) -> None:
        """Asks the broker: nobody on its subject means that the gateway has ended."""
        receiver = self._receiver

        def lives(_payload: bytes) -> None:
            if receiver is not None:
                receiver.ask_again()  # of a short answer, its only frame may be what was lost

        inbox = self._bus.open_inbox(lives, lambda: self.lose("the gateway's process is gone"))
        asyncio.get_running_loop().call_later(PROBE_S, inbox.close)
        self._send(control, client.Probe(), inbox.subject)

    def _steer(self, _peer: str, message: relay.Control) -> None:
        """What the receiver wants to tell its sender, in the words of clients."""
        if self.opened is None:
            return
        name, control = self.opened.relay_id, self.opened.control
        match message:
            case relay.Credit():
                self._send(
                    control,
                    client.Credit(
                        relay_id=name, next_seq=message.next_seq, limit_bytes=message.limit_bytes
                    ),
                )
            case relay.Resend():
                self._send(control, client.Resend(relay_id=name, from_seq=message.from_seq))
            case relay.Taken():
                self._send(control, client.Taken(relay_id=name))

    def _cancel(self, opened: client.Opened) -> None:
        self._send(opened.control, client.Cancel(relay_id=opened.relay_id))

    def _send(self, subject: str, message: client.Control, reply: str = "") -> None:
        try:
            self._bus.publish(subject, encode(message), reply)
        except BusError:
            return  # the next heartbeat makes up for it


def _as_relayed(frame: client.Chunk | client.Completed | client.Interrupted) -> relay.Frame:
    """The same as the relay's frame: order, credit and terminals are its business."""
    match frame:
        case client.Chunk() if frame.piece is not None:
            return relay.Chunk(frame.seq, (frame.piece,))
        case client.Chunk():
            return relay.Chunk(frame.seq, frame.events)
        case client.Completed():
            return relay.Completed(frame.seq, relay.Usage(), frame.finish_reason, frame.body or b"")
        case client.Interrupted():
            return relay.Interrupted(frame.seq, failure("stream_interrupted"))
