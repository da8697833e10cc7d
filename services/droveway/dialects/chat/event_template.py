"""Most events of a stream differ from the one before in their content only: no need to decode them.

{"id":"c1","choices":[{"delta":{"content":"  Hello  "},"finish_reason":null}],"usage":null}
└────────────────── prefix ───────────────┘ content └─────────────── suffix ──────────────┘
"""

import re
from collections.abc import Callable

_KEY = b'"content"'
_is_plain = re.compile(rb'[^"\\\x00-\x1f]+').fullmatch
"""Bytes that stand for themselves in a JSON string."""
_MAX_CONTENT_BYTES = 256
"""Longer content is checked here no sooner than the event is decoded."""


class EventTemplate:
    """The bytes around one event's content, as they came and as the client is shown them.

    JSON is read from left to right. After the prefix a reader stands in the content's string, and
    content that can neither end it, begin an escape nor be refused leaves it there, so the suffix
    is read as before and only the content differs.
    """

    __slots__ = ("_prefix", "_prefix_bytes", "_shown", "_suffix", "_suffix_bytes")

    def __init__(self, around: tuple[bytes, bytes], shown: tuple[bytes, bytes]) -> None:
        self._prefix, self._suffix = around
        self._prefix_bytes, self._suffix_bytes = map(len, around)
        self._shown = None if shown == around else shown

    def content(self, event: bytes) -> bytes:
        """The event's content if nothing else in it differs; empty if it must be decoded."""
        if not (event.endswith(self._suffix) and event.startswith(self._prefix)):
            return b""
        content = event[self._prefix_bytes : -self._suffix_bytes]
        if len(content) > _MAX_CONTENT_BYTES or not _is_plain(content):
            return b""
        return content if content.isascii() or _is_utf8(content) else b""

    def shown(self, event: bytes, content: bytes) -> bytes:
        """An event of this content as the client is shown it."""
        if self._shown is None:
            return event
        prefix, suffix = self._shown
        return prefix + content + suffix


def template(
    event: bytes, content_bytes: int, shown: Callable[[bytes], bytes]
) -> EventTemplate | None:
    """Learns from a decoded event whose content is a string of that size.

    None where the content's place isn't plain: with an escape anywhere quotes needn't be the ends
    of strings, and of two such words either could be the key.
    """
    if b"\\" in event or event.count(_KEY) != 1 or not _is_utf8(event):
        return None
    as_shown = shown(event)
    if as_shown.count(_KEY) != 1:  # the stream's id, say, is that word
        return None
    return EventTemplate(_around(event, content_bytes), _around(as_shown, content_bytes))


def _around(event: bytes, content_bytes: int) -> tuple[bytes, bytes]:
    start = event.index(b'"', event.index(_KEY) + len(_KEY)) + 1
    return event[:start], event[start + content_bytes :]


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
