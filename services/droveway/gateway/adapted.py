"""A pending chat completion's frames, in the words of an operation that is asked as one."""

from collections.abc import Awaitable, Callable, Sequence

from droveway.contracts import relay
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import failure
from droveway.contracts.inference import Standing
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.events import Event, InBandError, Writer
from droveway.gateway.continuing import Continuing
from droveway.gateway.refusal import Refusal

OnEnd = Callable[[Sequence[Event], relay.Usage], Awaitable[None]]
"""Told of the whole answer before the client sees its end."""
OnCut = Callable[[relay.Interrupted], list[bytes]]
"""The events by which a stream tells that it was cut."""


class Adapted:
    """Stands where a `Pending` would: the same frames, written anew."""

    def __init__(
        self,
        pending: Continuing,
        writer: Writer,
        *,
        stream: bool,
        on_end: OnEnd | None = None,
        on_cut: OnCut | None = None,
    ) -> None:
        self._pending = pending
        self._writer = writer
        self._reader = ChatReader()
        self._stream = stream
        self._on_end = on_end
        self._on_cut = on_cut
        self._read: list[Event] = []
        self._body: list[bytes] = []
        self._begun = False
        """The client has seen some of it."""
        self.told_cut = False
        """That it was cut stands in the events already."""
        self._terminal: relay.Completed | relay.Interrupted | None = None
        """Comes after the events that had to be written for it."""

    @property
    def standing(self) -> Standing | None:
        """Where the client stands in its limits, once known."""
        return self._pending.standing

    def client_gone(self) -> None:
        """The client has left; whoever waits for a frame is told."""
        self._pending.client_gone()

    async def first(self, within_s: float) -> relay.Frame | None:
        """See `Pending.first`."""
        return await self._written(await self._pending.first(within_s))

    async def next(self, within_s: float) -> relay.Frame | None:
        """See `Pending.next`."""
        if self._terminal is not None:
            return self._terminal
        return await self._written(await self._pending.next(within_s))

    def next_ready(self) -> relay.Frame | None:
        """Nothing: an end has to be awaited, so frames are taken one by one."""
        return None

    async def _written(self, frame: relay.Frame | None) -> relay.Frame | None:
        match frame:
            case None:
                return None
            case relay.Chunk() if not self._stream:
                self._body.extend(frame.events)
                return relay.Chunk(frame.seq, (), frame.origin, frame.attempt)
            case relay.Chunk():
                self._begun = True
                return relay.Chunk(frame.seq, self._events(frame), frame.origin, frame.attempt)
            case relay.Completed() if not self._stream:
                return await self._whole(frame)
            case relay.Completed():
                if self._on_end is not None:
                    await self._on_end(self._read, frame.usage)
                last = tuple(self._writer.close(frame.usage))
                return self._before(frame, last, frame.origin)
            case relay.Interrupted():
                if self._on_cut is None or not self._begun:
                    return frame
                self.told_cut = True
                return self._before(frame, tuple(self._on_cut(frame)), None)

    def _before(
        self,
        terminal: relay.Completed | relay.Interrupted,
        events: tuple[bytes, ...],
        origin: relay.Origin | None,
    ) -> relay.Chunk:
        self._terminal = terminal
        return relay.Chunk(terminal.seq, events, origin, terminal.attempt)

    def _events(self, frame: relay.Chunk) -> tuple[bytes, ...]:
        written: list[bytes] = []
        for data in frame.events:
            try:
                read = self._reader.read(data)
            except (InBandError, *MALFORMED):
                continue  # the caller has read it before: nothing that a client would miss
            if self._on_end is not None:
                self._read += read
            written += self._writer.write(read)
        return tuple(written)

    async def _whole(self, frame: relay.Completed) -> relay.Completed:
        body = b"".join((*self._body, frame.body))
        try:
            events = self._reader.read_whole(body)
        except (InBandError, *MALFORMED):
            text = "The provider's answer can't be read"
            raise Refusal(failure("bad_upstream", text)) from None
        if self._on_end is not None:
            await self._on_end(events, frame.usage)
        written = self._writer.whole(events, frame.usage)
        return relay.Completed(
            frame.seq, frame.usage, frame.finish_reason, written, frame.origin, frame.attempt
        )


Frames = Continuing | Adapted
"""Where a door takes an answer's frames from."""
