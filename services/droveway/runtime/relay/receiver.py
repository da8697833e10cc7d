"""The end of a relay that takes the frames: door for answers, caller for large bodies."""

import asyncio
from collections import deque
from collections.abc import Callable

from droveway.contracts import relay
from droveway.contracts.errors import failure

MAX_AHEAD_FRAMES = 512
"""Frames beyond a gap that are held until it is filled; later ones are asked for again."""


class Receiver:
    """Puts frames in order, without gaps or repeats, and ends with exactly one terminal."""

    def __init__(
        self, relay_id: bytes, control: Callable[[str, relay.Control], None], window_bytes: int
    ) -> None:
        self.relay_id = relay_id
        self.peer = ""
        """The sender's instance; known from the first frame's origin, or when pulling."""
        self.was_cut = False
        """The terminal is our own: the sender may still be at work."""
        self.next_seq = 0
        self.dropped_frames = 0
        """Repeated, beyond the bound, or of another attempt."""
        self._control = control
        self._window_bytes = window_bytes
        self._ahead: dict[int, tuple[relay.Frame, int]] = {}
        self._ready: deque[tuple[relay.Frame, int]] = deque()
        self.wake = asyncio.Event()
        """Set when something may have changed; whoever waits clears it first."""
        self._taken_bytes = 0
        self._taken_seq = 0
        self._granted_bytes = window_bytes
        self._asked_seq = -1
        self._attempt: int | None = None
        self._terminal_seen = False

    @property
    def ended(self) -> bool:
        """Whether its terminal is there; what was received may still be taken."""
        return self._terminal_seen

    def on_frame(self, frame: relay.Frame, size_bytes: int) -> None:
        """One frame has come, in any order; the first decides whose frames are taken."""
        self._attempt = frame.attempt if self._attempt is None else self._attempt
        repeated = frame.seq < self.next_seq or frame.seq in self._ahead
        if self._terminal_seen or repeated or frame.attempt != self._attempt:
            self.dropped_frames += 1
            return
        if frame.seq > self.next_seq:
            if len(self._ahead) < MAX_AHEAD_FRAMES:
                self._ahead[frame.seq] = (frame, size_bytes)
            # Once per gap, else each frame after it would bring a whole window again.
            if self._asked_seq != self.next_seq:
                self.ask_again()
            return
        self._accept(frame, size_bytes)
        while (held := self._ahead.pop(self.next_seq, None)) is not None:
            self._accept(*held)
        self.wake.set()

    def on_sender_at(self, next_seq: int, blocked: bool) -> None:
        """The sender's heartbeat: what it has sent, and whether it waits for credit."""
        if next_seq > self.next_seq:
            self.ask_again()
        elif blocked:
            self._grant()

    def ask_again(self) -> None:
        """Asks the sender for the first missing frame and all after it."""
        if self.peer and not self._terminal_seen:
            self._asked_seq = self.next_seq
            self._control(self.peer, relay.Resend(self.relay_id, self.next_seq))

    def cut(self, reason: str, code: str = "stream_interrupted") -> None:
        """Ends with an `Interrupted` of our own, after what was received."""
        if self._terminal_seen:
            return
        self.was_cut = True
        terminal = relay.Interrupted(seq=self.next_seq, failure=failure(code, reason))
        self._accept(terminal, 0)
        self.wake.set()

    async def take(self) -> relay.Frame:
        """The next frame in order; grants credit for those taken before it."""
        self.settle()
        while not self._ready:
            self.wake.clear()
            await self.wake.wait()
        return self._pop()

    def take_ready(self) -> relay.Frame | None:
        """The next frame if it is there already: several frames can share one write."""
        return self._pop() if self._ready else None

    def _pop(self) -> relay.Frame:
        frame, size_bytes = self._ready.popleft()
        self._taken_bytes += size_bytes
        self._taken_seq = frame.seq + 1
        if not isinstance(frame, relay.Chunk) and self.peer:
            self._control(self.peer, relay.Taken((self.relay_id,)))
        return frame

    def _accept(self, frame: relay.Frame, size_bytes: int) -> None:
        self.next_seq += 1
        self._ready.append((frame, size_bytes))
        if isinstance(frame, relay.Chunk):
            if frame.origin is not None:
                self.peer = frame.origin.caller
            return
        self._terminal_seen = True
        if isinstance(frame, relay.Completed) and frame.origin is not None:
            self.peer = frame.origin.caller

    def settle(self) -> None:
        """Grants credit for what was taken, once half a window's worth is."""
        if self._granted_bytes - self._taken_bytes < self._window_bytes // 2:
            self._grant()

    def _grant(self) -> None:
        self._granted_bytes = self._taken_bytes + self._window_bytes
        if self.peer:
            self._control(
                self.peer, relay.Credit(self.relay_id, self._taken_seq, self._granted_bytes)
            )
