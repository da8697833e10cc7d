"""Server-sent events out of upstream bytes, between the transport and the dialect's reader.

Upstream answers are hostile until parsed: line splitting helpers of HTTP clients cut inside JSON at
U+2028, U+2029 and U+0085, and none of them bounds what an endless line may cost.

    bytes as they come ──▶ BOM off ──▶ CR, CRLF become LF ──▶ whole blocks ──▶ events
                                                                └── the rest waits for more bytes

Source: WHATWG HTML, 9.2.6 "Interpreting an event stream" (2026-10).
"""

import msgspec

_BOM = b"\xef\xbb\xbf"
_BLANK_LINE = b"\n\n"
_LF = 10
_DATA = b"data: "
_DATA_SIZE = len(_DATA)
_MESSAGE = b"message"


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event, its bytes unchanged but for the line ends between its data lines.

    `event` is ``b"message"`` where upstream named none; `id` is the last id seen on the stream.
    """

    event: bytes
    data: bytes
    id: bytes = b""


class SseCaps(msgspec.Struct, frozen=True, kw_only=True):
    """What one upstream stream may cost; over a cap the stream is cut by `SseCapExceeded`."""

    max_event_bytes: int = 1 << 20
    """All lines of one event, comments between them included."""
    max_line_bytes: int = 1 << 20
    max_stream_bytes: int = 64 << 20
    max_silent_bytes: int = 256 << 10
    """Comments and blank lines in a row without an event: an hour of keep-alives, not a flood."""


class SseCapExceeded(Exception):
    """Upstream went over a cap: `cap` names the setting, `limit_bytes` its value."""

    def __init__(self, cap: str, limit_bytes: int) -> None:
        super().__init__(
            f"upstream event stream went over {cap} = {limit_bytes} bytes; "
            "an honest stream stays below it"
        )
        self.cap = cap
        self.limit_bytes = limit_bytes


class SseParser:
    """Incremental parser of one stream; linear in its bytes at any slicing.

    `events` and `comments` count what was seen, `stream_bytes` what was fed.
    """

    def __init__(self, caps: SseCaps | None = None) -> None:
        self._caps = caps if caps is not None else SseCaps()
        self._unchecked_bytes = min(self._caps.max_event_bytes, self._caps.max_line_bytes)
        self._head: bytes | None = b""
        self._skip_lf = False
        self._rest = bytearray()
        self._line_start = 0
        self._last_id = b""
        self._silent_bytes = 0
        self.stream_bytes = 0
        self.events = 0
        self.comments = 0

    @property
    def pending(self) -> bool:
        """Whether bytes of an event are held that no blank line has ended."""
        return any(line and line[0] != 58 for line in bytes(self._rest).split(b"\n"))

    def close(self) -> bool:
        """End of the stream: whether an unfinished event was left, which is never dispatched."""
        if self._head:
            self._rest += self._head
            self._head = None
        return self.pending

    def feed(self, data: bytes) -> list[SseEvent]:
        """Take the bytes of one read and return the events that they complete.

        Raises:
            SseCapExceeded: a cap was passed; the parser is of no further use.
        """
        self.stream_bytes += len(data)
        if self.stream_bytes > self._caps.max_stream_bytes:
            raise SseCapExceeded("max_stream_bytes", self._caps.max_stream_bytes)
        if self._head is not None:
            data = self._without_bom(data)
        if self._skip_lf or b"\r" in data:
            data = self._with_lf_only(data)
        rest = self._rest
        if rest:
            ends_block = rest[-1] == _LF and data.startswith(b"\n")
            if not ends_block and _BLANK_LINE not in data:
                self._hold(data)
                return []
            data = bytes(rest) + data
            rest.clear()
            self._line_start = 0
        return self._cut(data)

    def _without_bom(self, data: bytes) -> bytes:
        """Drop a byte order mark, which may come in pieces, from the start of the stream only."""
        head = (self._head or b"") + data
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _with_lf_only(self, data: bytes) -> bytes:
        """Turn CR and CRLF into LF; an LF that opens the next read may belong to our last CR."""
        if not data:
            return data
        if self._skip_lf and data.startswith(b"\n"):
            data = data[1:]
        self._skip_lf = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _cut(self, data: bytes) -> list[SseEvent]:
        """Split bytes that begin on a block boundary into blocks and hold the unfinished last."""
        blocks = data.split(_BLANK_LINE)
        rest = blocks.pop().lstrip(b"\n")
        found: list[SseEvent] = []
        last_id = self._last_id
        for block in blocks:
            if len(block) > self._unchecked_bytes:
                longest = max(map(len, block.split(b"\n")))
                self._check(block_bytes=len(block), line_bytes=longest)
            # Nearly every upstream sends one `data: ` line per event: no field loop for those.
            if block.startswith(_DATA) and b"\n" not in block:
                found.append(SseEvent(_MESSAGE, block[_DATA_SIZE:], last_id))
            elif block:
                if (event := self._read_block(block)) is not None:
                    found.append(event)
                last_id = self._last_id
        self.events += len(found)
        if found:
            self._silent_bytes = 0
        else:
            self._count_silence(len(data) - len(rest))
        if rest:
            self._hold(rest)
        return found

    def _read_block(self, block: bytes) -> SseEvent | None:
        """Read the fields of one block, by the standard's names; unknown ones are ignored."""
        event = _MESSAGE
        lines: list[bytes] = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            if value.startswith(b" "):
                value = value[1:]
            if name == b"data":
                lines.append(value)
            elif name == b"event":
                event = value or _MESSAGE
            elif name == b"id" and b"\0" not in value:
                self._last_id = value
            elif line.startswith(b":"):
                self.comments += 1
        return SseEvent(event, b"\n".join(lines), self._last_id) if lines else None

    def _hold(self, data: bytes) -> None:
        """Keep bytes of an unfinished block, under the caps that a whole one has."""
        rest = self._rest
        line_start = self._line_start
        if b"\n" in data:
            self._line_start = len(rest) + data.rfind(b"\n") + 1
        rest += data
        if len(rest) > self._unchecked_bytes:
            # Without a new line end only the last line grew: copying it each time is quadratic.
            grown = len(rest) - line_start
            lines = rest[line_start:].split(b"\n") if b"\n" in data else ()
            self._check(
                block_bytes=len(rest) - rest.endswith(b"\n"),
                line_bytes=max(map(len, lines), default=grown),
            )

    def _check(self, *, block_bytes: int, line_bytes: int) -> None:
        """Refuse a block that is too large or whose longest line is."""
        caps = self._caps
        if block_bytes > caps.max_event_bytes:
            raise SseCapExceeded("max_event_bytes", caps.max_event_bytes)
        if line_bytes > caps.max_line_bytes:
            raise SseCapExceeded("max_line_bytes", caps.max_line_bytes)

    def _count_silence(self, silent_bytes: int) -> None:
        """Add up bytes in a row that made no event."""
        self._silent_bytes += silent_bytes
        if self._silent_bytes > self._caps.max_silent_bytes:
            raise SseCapExceeded("max_silent_bytes", self._caps.max_silent_bytes)
