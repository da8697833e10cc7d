"""Answers that don't end, and bytes that no text has: what a fault puts into an answer."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

_PIECE_BYTES = 65_536
_MIB = 1_048_576

FLOODS: Mapping[str, bytes] = MappingProxyType(
    {
        "line": b"x",
        "comments": b": keep-alive\n\n",
        "blanks": b"\n",
        "events": b"data:\n\n",
        "junk": b'data: {"choices": [\n\n',
    }
)
"""What is repeated, by name; a `line` is an event's whose string never ends."""
_BEGINS: Mapping[str, tuple[bytes, bytes]] = MappingProxyType(
    {"line": (b'data: {"id":"', b'{"id":"')}
)
"""What comes before, of a stream and of a whole answer."""

ODD_BYTES: Mapping[str, bytes] = MappingProxyType(
    {
        "cut-utf8": b"\xe4\xbd",
        "overlong": b"\xc0\xaf",
        "surrogate": b"\xed\xa0\x80",
        "nul": b"\x00",
        "lone-escape": b"\\ud800",
        "nul-escape": b"\\u0000",
        "separators": "\u2028\u2029\u0085\u202e".encode(),
        "astral": "\U0001f600".encode(),
    }
)
"""By name; the first four are in no JSON, the others are, though some readers stumble."""


def flood(kind: str, mib: int, *, stream: bool) -> Iterator[bytes]:
    """So many mebibytes of it, in pieces."""
    if kind in _BEGINS:
        yield _BEGINS[kind][0 if stream else 1]
    unit = FLOODS[kind]
    piece = unit * (_PIECE_BYTES // len(unit))
    for _ in range(mib * _MIB // len(piece)):
        yield piece


def with_odd_bytes(data: bytes, kind: str) -> bytes:
    """Put the bytes into a JSON object's string, in a field that means nothing."""
    odd = ODD_BYTES.get(kind)
    return data if odd is None or data[-1:] != b"}" else data[:-1] + b',"odd":"%s"}' % odd
