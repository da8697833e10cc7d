"""Server-sent events on their way out: `data: <json>`, a blank line, nothing else.

Events are JSON, where line ends are escaped, so no content can split an event.
"""

from collections.abc import Iterable

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: the only heartbeat that all SDKs ignore."""

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def frame(events: Iterable[bytes]) -> bytes:
    """Several events as one write."""
    return b"".join([b"data: %b\n\n" % event for event in events])
