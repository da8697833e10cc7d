"""The end of a relay that takes the frames: door for answers, caller for large bodies."""

import asyncio
from collections import deque
from collections.abc import Callable

from droveway.contracts import relay
from droveway.contracts.errors import failure

MAX_AHEAD_FRAMES = 512
"""How far beyond a gap frames are held until it is filled; later ones are asked for again."""
MAX_FRAME_BYTES = 1024 * 1024
"""The largest frame that can come: the broker's `max_payload`."""


class Receiver:
    """Puts frames in order, without gaps or repeats, and ends with exactly one terminal.

    It holds at most the window and one frame, whatever is sent: a chunk that starts beyond the
    credit is dropped, as are frames too far ahead, of another attempt, or after the terminal.
    """

    def __init__(
        self,
        relay_id: bytes,
        control: Callable[[str, relay.Control], None],
        window_bytes: int,
        pull_from: str = "",
    ) -> None:
        self.relay_id = relay_id
        self.peer = pull_from
        """The sender's instance; known from the first frame's origin, or when pulling."""
        self.pulled = bool(pull_from)
        """Nobody but that sender has it."""
        self.was_cut = False
        """The terminal is our own: the sender may still be at work."""
        self.next_seq = 0
        self.dropped_frames = 0
        """Repeated, too far ahead, of another attempt, or after the terminal."""
        self.overruns = 0
        """Chunks that no credit was granted for."""
        self.unsent_s: float | None = None
        """Since when the sender's process says that it doesn't have this relay."""
        self._control = control
        self._window_bytes = window_bytes
        self._ahead: dict[int, tuple[relay.Frame, int]] = {}
        self._ahead_bytes = 0
        self._end_seq: int | None = None
        """Where the terminal is that came ahead of a gap."""
        self._ready: deque[tuple[relay.Frame, int]] = deque()
        self.wake = asyncio.Event()
        """Set when something may have changed; whoever waits clears it first."""
        self._accepted_bytes = 0
        self._taken_bytes = 0
        self._taken_seq = 0
        self._granted_bytes = window_bytes
        self._asked_seq = -1
        self._attempt: int | None = None
        self._terminal_seen = False
        self._terminal_taken = False

    @property
    def ended(self) -> bool:
        """Whether its terminal is there; what was received may still be taken."""
        return self._terminal_seen

    @property
    def held_bytes(self) -> int:
        """Bytes that have come and aren't taken."""
        return self._accepted_bytes - self._taken_bytes + self._ahead_bytes

    def may_come_from(self, peer: str) -> bool:
        """Whether frames may come from `peer`: from anyone until the first one was accepted."""
        return self.peer in ("", peer) or not (self.next_seq or self.pulled)

    def on_frame(self, frame: relay.Frame, size_bytes: int) -> None:
        """One frame has come, in any order; the first decides whose frames are taken."""
        if frame.attempt != self._attempt and not self._takes_attempt(frame):
            self.dropped_frames += 1
        elif frame.seq != self.next_seq or self._terminal_seen:
            self._hold(frame, size_bytes)
        elif self._accepted_bytes >= self._granted_bytes and isinstance(frame, relay.Chunk):
            self.overruns += 1
        else:
            self._accept(frame, size_bytes)
            if self._ahead:
                self._close_gap()
            self.wake.set()

    def on_sender_at(self, next_seq: int, blocked: bool) -> None:
        """The sender's heartbeat: what it has sent, and whether it waits for credit."""
        if self._terminal_taken:
            self._confirm()
        elif next_seq > self.next_seq:
            self.ask_again()
        elif blocked:
            self._grant()

    def ask_again(self) -> None:
        """Asks the sender for the first missing frame and all after it."""
        if self.peer and not self._terminal_seen:
            self._asked_seq = self.next_seq
            self._control(self.peer, relay.Resend(self.relay_id, self.next_seq))

    def lose_sender(self, reason: str) -> None:
        """Its sender is gone: an answer that wasn't begun may still come from another attempt."""
        if self.next_seq or self.pulled:
            self.cut(reason)
        else:
            self.peer = ""

    def cut(self, reason: str, code: str = "stream_interrupted") -> None:
        """Ends with an `Interrupted` of our own, after what was received."""
        if self._terminal_seen:
            return
        self.was_cut = True
        self._accept(relay.Interrupted(seq=self.next_seq, failure=failure(code, reason)), 0)
        self._forget_ahead()
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

    def settle(self) -> None:
        """Grants credit for what was taken, once half a window's worth is."""
        if self._granted_bytes - self._taken_bytes < self._window_bytes // 2:
            self._grant()

    def _takes_attempt(self, frame: relay.Frame) -> bool:
        """Whether another attempt's frame begins the answer anew, which only an unbegun one can."""
        if self._terminal_seen or (self._attempt is not None and frame.attempt < self._attempt):
            return False
        if not self.next_seq:
            self._attempt = frame.attempt
            self._asked_seq = -1
            self._forget_ahead()
            return True
        origin = None if isinstance(frame, relay.Interrupted) else frame.origin
        if origin is not None and origin.caller == self.peer:
            self.cut("its sender has begun anew")
        return False

    def _hold(self, frame: relay.Frame, size_bytes: int) -> None:
        """A frame that isn't the next one: held if it belongs behind a gap, else dropped."""
        if self._is_useless(frame.seq):
            self.dropped_frames += 1
            return
        is_end = not isinstance(frame, relay.Chunk)
        if is_end and self._end_seq is not None:
            self.dropped_frames += 1
            return
        total_bytes = self._accepted_bytes + self._ahead_bytes + size_bytes
        if not is_end and total_bytes > self._granted_bytes + MAX_FRAME_BYTES:
            self.overruns += 1
            return
        if frame.seq - self.next_seq < MAX_AHEAD_FRAMES:
            self._end_seq = frame.seq if is_end else self._end_seq
            self._ahead[frame.seq] = (frame, size_bytes)
            self._ahead_bytes += size_bytes
        else:
            self.dropped_frames += 1
        # Once per gap, else each frame after it would bring a whole window again.
        if self._asked_seq != self.next_seq:
            self.ask_again()

    def _is_useless(self, seq: int) -> bool:
        """Whether it is repeated or comes after the terminal."""
        beyond_end = self._end_seq is not None and seq > self._end_seq
        return self._terminal_seen or beyond_end or seq < self.next_seq or seq in self._ahead

    def _close_gap(self) -> None:
        while not self._terminal_seen and self.next_seq in self._ahead:
            frame, size_bytes = self._ahead.pop(self.next_seq)
            self._ahead_bytes -= size_bytes
            self._accept(frame, size_bytes)
        if self._terminal_seen:
            self.dropped_frames += len(self._ahead)
            self._forget_ahead()

    def _forget_ahead(self) -> None:
        self._ahead.clear()
        self._ahead_bytes = 0
        self._end_seq = None

    def _pop(self) -> relay.Frame:
        frame, size_bytes = self._ready.popleft()
        self._taken_bytes += size_bytes
        self._taken_seq = frame.seq + 1
        if not isinstance(frame, relay.Chunk):
            self._terminal_taken = True
            self._confirm()
        return frame

    def _accept(self, frame: relay.Frame, size_bytes: int) -> None:
        self.next_seq += 1
        self._accepted_bytes += size_bytes
        self._ready.append((frame, size_bytes))
        if isinstance(frame, relay.Chunk):
            if frame.origin is not None:
                self.peer = frame.origin.caller
            return
        self._terminal_seen = True
        if isinstance(frame, relay.Completed) and frame.origin is not None:
            self.peer = frame.origin.caller

    def _confirm(self) -> None:
        """Tells the sender that its terminal was taken; its next heartbeat asks if that is lost."""
        if self.peer:
            self._control(self.peer, relay.Taken((self.relay_id,)))

    def _grant(self) -> None:
        self._granted_bytes = self._taken_bytes + self._window_bytes
        if self.peer:
            self._control(
                self.peer, relay.Credit(self.relay_id, self._taken_seq, self._granted_bytes)
            )
