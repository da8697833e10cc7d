"""The end of a relay that has the frames: caller for answers, door for large bodies."""

import asyncio
from collections import deque
from collections.abc import Callable

from droveway.contracts import relay
from droveway.contracts.envelope import encode as encode_frame
from droveway.contracts.errors import Failure
from droveway.runtime.errors import Disconnected, Overflow, RelayCut

_UNLIMITED_BYTES = 2**62
"""More than any answer has: a sender without flow control never gets there."""


class Sender:
    """Numbers, sends and keeps frames until the receiver has taken them.

    At most `WINDOW_BYTES` (and one frame) are unacknowledged; `send` waits for more credit. A lost
    connection isn't an error here: kept frames are sent again when the receiver asks. Without flow
    control `send` never waits, the last window's worth of frames is kept, and the terminal ends it.
    """

    def __init__(
        self,
        relay_id: bytes,
        peer: str,
        publish: Callable[[bytes], None],
        window_bytes: int,
        on_cancel: Callable[[str], None] | None = None,
        *,
        flow_control: bool = True,
        encode: Callable[[relay.Frame], bytes] = encode_frame,
    ) -> None:
        self.relay_id = relay_id
        self.peer = peer
        self.paced = flow_control
        """Its receiver grants credit and exchanges heartbeats."""
        self.next_seq = 0
        self.terminated = False
        self.done = asyncio.Event()
        """The receiver took the terminal, or gave up."""
        self.cancelled = asyncio.Event()
        self.cancel_reason = ""
        self._publish = publish if flow_control else self._forgetting(publish)
        self._on_cancel = on_cancel
        self._encode = encode
        self._attempt = 0
        self._sent_bytes = 0
        self._dropped_bytes = 0
        self._window_bytes = window_bytes
        self._limit_bytes = window_bytes if flow_control else _UNLIMITED_BYTES
        self._kept: deque[tuple[int, bytes]] = deque()
        self._credit = asyncio.Event()

    @property
    def blocked(self) -> bool:
        """Whether `send` waits for credit."""
        return self._sent_bytes >= self._limit_bytes

    @property
    def kept_bytes(self) -> int:
        """Bytes held for a resend."""
        return self._sent_bytes - self._dropped_bytes

    async def send(self, events: tuple[bytes, ...], origin: relay.Origin | None = None) -> None:
        """Sends whole events as one frame, once the window allows.

        Raises:
            RelayCut: The receiver has cancelled or is gone.
        """
        while self._sent_bytes >= self._limit_bytes and not self.cancelled.is_set():
            self._credit.clear()
            await self._credit.wait()
        if self.cancelled.is_set():
            raise RelayCut(self.cancel_reason)
        self._attempt = origin.attempt if origin is not None else self._attempt
        self._emit(relay.Chunk(self.next_seq, events, origin, self._attempt))

    def complete(
        self,
        usage: relay.Usage,
        finish_reason: str,
        body: bytes = b"",
        origin: relay.Origin | None = None,
    ) -> None:
        """Sends the terminal of a finished answer."""
        self._attempt = origin.attempt if origin is not None else self._attempt
        self._terminate(
            relay.Completed(self.next_seq, usage, finish_reason, body, origin, self._attempt)
        )

    def interrupt(self, failure: Failure, usage: relay.Usage) -> None:
        """Sends the terminal of an answer that was cut after commit."""
        self._terminate(relay.Interrupted(self.next_seq, failure, usage, self._attempt))

    def on_credit(self, next_seq: int, limit_bytes: int) -> None:
        """The receiver took all frames below `next_seq` and allows `limit_bytes` in all."""
        if next_seq > self.next_seq:
            return  # of an earlier attempt, or made up: nobody took what wasn't sent
        while self._kept and self._kept[0][0] < next_seq:
            self._drop_oldest()
        ceiling = self._sent_bytes + self._window_bytes
        self._limit_bytes = max(self._limit_bytes, min(limit_bytes, ceiling))
        self._credit.set()
        if self.terminated and not self._kept:
            self.done.set()

    def on_taken(self) -> None:
        """The receiver has the terminal, and so everything before it."""
        if self.terminated:
            self._drop_all()
            self.done.set()

    def on_resend(self, from_seq: int) -> None:
        """Sends the kept frames from `from_seq` on once more."""
        for seq, payload in self._kept:
            if seq >= from_seq:
                self._try_publish(payload)

    def cancel(self, reason: str) -> None:
        """The receiver is gone or has given up; a waiting `send` raises."""
        if self.cancelled.is_set():
            return
        self.cancel_reason = reason
        self.cancelled.set()
        self._drop_all()
        if self._on_cancel is not None and not self.terminated:
            self._on_cancel(reason)
        self._credit.set()
        self.done.set()

    def _emit(self, frame: relay.Frame) -> None:
        payload = self._encode(frame)
        self._kept.append((self.next_seq, payload))
        self.next_seq += 1
        self._sent_bytes += len(payload)
        self._try_publish(payload)

    def _terminate(self, frame: relay.Frame) -> None:
        """Sends the terminal; a second one is none."""
        if self.terminated:
            return
        self._emit(frame)
        self.terminated = True
        if self.cancelled.is_set():
            self._drop_all()
        elif not self.paced:
            self.done.set()

    def _forgetting(self, publish: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Sends and keeps the last window only; here, so that it costs paced frames nothing."""

        def forget_and_publish(payload: bytes) -> None:
            while self.kept_bytes > self._window_bytes and len(self._kept) > 1:
                self._drop_oldest()
            publish(payload)

        return forget_and_publish

    def _drop_oldest(self) -> None:
        self._dropped_bytes += len(self._kept.popleft()[1])

    def _drop_all(self) -> None:
        self._kept.clear()
        self._dropped_bytes = self._sent_bytes

    def _try_publish(self, payload: bytes) -> None:
        try:
            self._publish(payload)
        except (Disconnected, Overflow):
            return  # kept; the heartbeat's sequence makes the receiver ask for it
