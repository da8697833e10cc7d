"""A msgpack map looked through before anything is built of it. Pure functions.

A container of one byte in the message is an object of 64 bytes once it is decoded, so that a few
hundred kilobytes could hold the loop for seconds. Strings are stepped over: an honest prompt costs
next to nothing here, however long it is.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import math
import struct

from droveway.gateway.refusal import Refusal, refuse

MAX_VALUES = 60_000
"""Names, values and containers of one message; 10,000 plain messages have 50,000. Bounds the time
of this walk and of the decoding behind it; JSON has caps of its own."""
MAX_CONTAINERS = 32_000
"""Of those: Python's collector looks through them all."""
MAX_DEPTH = 64
"""Levels of maps and arrays, as in JSON."""
_ARRAYS = {**{0x90 + size: (0, size) for size in range(16)}, 0xDC: (2, 0), 0xDD: (4, 0)}
_MAPS = {**{0x80 + size: (0, size) for size in range(16)}, 0xDE: (2, 0), 0xDF: (4, 0)}
_CONTAINERS = {**_ARRAYS, **_MAPS}
"""First byte: bytes of the count behind it, and the count itself where there are none."""
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_FLOATS = {0xCA: struct.Struct(">f"), 0xCB: struct.Struct(">d")}
_NUMBERS = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_IS_NAME = [0xA0 <= first <= 0xBF or first in _STRINGS for first in range(256)]


def _fixed_bytes(first: int) -> int:
    """Of a value whose first byte tells its size; 0: it doesn't, or it needs a look."""
    if first <= 0x7F or first >= 0xE0 or first in (0xC0, 0xC2, 0xC3):
        return 1
    if 0xA0 <= first <= 0xBF:
        return 1 + first - 0xA0
    return _NUMBERS.get(first, 0)


_FIXED = [_fixed_bytes(first) for first in range(256)]


def check_packed(data: bytes) -> None:
    """Refuses what would cost too much to decode, and what JSON can't say.

    Raises:
        Refusal: 400: too many values, too deep, no msgpack, or values that JSON hasn't.
    """
    try:
        _walk(data)
    except (IndexError, struct.error):
        raise malformed() from None


def malformed() -> Refusal:
    """It is cut off, or no msgpack at all."""
    return refuse("invalid_json", "The body is not valid msgpack.")


def _walk(data: bytes) -> None:
    """Steps from value to value.

    Raises:
        IndexError: It ends too early.
        struct.error: As well.
    """
    position, left, in_map = 0, 1, False
    values = containers = 0
    above: list[tuple[int, bool]] = []
    while True:
        while not left:
            if not above:
                return
            left, in_map = above.pop()
        first = data[position]
        if in_map and not left & 1 and not _IS_NAME[first]:
            raise refuse("invalid_json", "The body has a map key that is no string.")
        left -= 1
        if size_bytes := _FIXED[first]:
            position += size_bytes
        elif first in _CONTAINERS:
            above.append((left, in_map))
            position, left, in_map = _enter(data, position)
            values += left
            containers += 1
            if values > MAX_VALUES or containers > MAX_CONTAINERS or len(above) > MAX_DEPTH:
                raise _too_much(len(above))
        else:
            position = _behind(data, position)


def _enter(data: bytes, position: int) -> tuple[int, int, bool]:
    """Where a container's first value is, how many there are, and whether each second is a name."""
    first = data[position]
    count_bytes, count = _CONTAINERS[first]
    begin = position + 1 + count_bytes
    if count_bytes:
        count = int.from_bytes(data[position + 1 : begin], "big")
    in_map = first in _MAPS
    count = 2 * count if in_map else count
    if count > len(data) - begin:
        raise malformed()
    return begin, count, in_map


def _behind(data: bytes, position: int) -> int:
    """Where the value ends that is no container and whose first byte doesn't tell its size."""
    first = data[position]
    if (length_bytes := _STRINGS.get(first)) is not None:
        begin = position + 1 + length_bytes
        return begin + int.from_bytes(data[position + 1 : begin], "big")
    if (number := _FLOATS.get(first)) is not None:
        if not math.isfinite(number.unpack_from(data, position + 1)[0]):
            raise refuse("invalid_json", "The body has a number that is not finite.")
        return position + 1 + number.size
    if first == 0xC1:
        raise malformed()
    raise refuse("invalid_json", "The body has binary, extension or timestamp values.")


def _too_much(depth: int) -> Refusal:
    if depth > MAX_DEPTH:
        return refuse("invalid_request", f"The body is nested deeper than {MAX_DEPTH} levels.")
    text = (
        f"The body has over {MAX_VALUES} names and values, or over {MAX_CONTAINERS} maps and arrays"
        "; JSON may have more."
    )
    return refuse("invalid_request", text)
