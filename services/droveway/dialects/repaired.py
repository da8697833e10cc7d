"""A provider's JSON that is nearly right: bytes that no text has become U+FFFD, as in browsers.

Models end answers in the middle of a character, and some of their servers send it as it is: half of
a UTF-8 sequence, or of a surrogate pair. To leave such an event out would lose what it says, and to
pass it on would end the client's reader.
Source: WHATWG Encoding, "UTF-8 decode"; RFC 8259, 8.1 and 8.2.
"""

import json

MAX_BYTES = 1_048_576
"""What is larger isn't repaired: reading it would hold up other requests."""
_UNREADABLE = (ValueError, RecursionError)


def is_text(data: bytes) -> bool:
    """Whether all of it is UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def repaired(data: bytes) -> bytes | None:
    """The same JSON on one line, each odd piece of its strings replaced; None: none, or too large.

    Odd are bytes that aren't UTF-8, escapes of half a surrogate pair, and bare control characters,
    which are kept as escapes.
    """
    if len(data) > MAX_BYTES:
        return None
    try:
        document = json.loads(data.decode("utf-8", "replace"), strict=False)
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except _UNREADABLE:
        return None
    halves = text.encode("utf-16-le", "surrogatepass")
    return halves.decode("utf-16-le", "replace").encode()
