"""A msgpack body is looked through before it is decoded: what passes, what ends, at which price."""

import contextlib
import json
import math
import struct
import time

import msgspec
import pytest

from droveway.contracts.client import MAX_MESSAGE_BYTES
from droveway.gateway.doors.client_payload import read_body
from droveway.gateway.doors.packed import MAX_CONTAINERS, MAX_DEPTH, MAX_VALUES, check_packed
from droveway.gateway.json_caps import BadRequest, JsonCaps, read_json_object
from droveway.gateway.refusal import Refusal

SERVED_WITHIN_S = 0.06
"""Twice what the worst message takes on a quiet machine; it was two seconds before."""
UNITS = {
    "maps": b"\x80", "lists": b"\x90", "numbers": b"\x01", "strings": b"\xa1a",
    "pairs": b"\x91\x90", "members": b"\x81\xa0\x01", "chains": b"\x91" * 50 + b"\x90",
    "decimals": b"\xcb\x3f\xf0" + bytes(6),
}  # fmt: skip


def of(unit: bytes, count: int) -> bytes:
    return b"\x81\xa1x\xdd" + count.to_bytes(4, "big") + unit * count


def served_s(payload: bytes) -> float:
    """Until it is refused or decoded, in seconds of the processor."""
    began_s = time.thread_time()
    with contextlib.suppress(Refusal, BadRequest):
        read_json_object(read_body(payload), JsonCaps())
    return time.thread_time() - began_s


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.33, 0.0])
def test_no_message_keeps_the_loop(unit: bytes, share: float) -> None:
    """As many as fit, and as many as come close to a bound."""
    fitting = (MAX_MESSAGE_BYTES - 16) // len(unit)
    count = min(fitting, int(share * MAX_VALUES)) if share else fitting
    payload = of(unit, count)
    assert min(served_s(payload) for _ in range(3)) < SERVED_WITHIN_S


def test_an_honest_prompt_passes_whatever_its_letters() -> None:
    """Bytes that begin a container occur in any text that isn't ASCII."""
    text = "".join(map(chr, range(0x400, 0x500))) * 1_000
    value = {"model": "m", "messages": [{"role": "user", "content": text}]}
    assert json.loads(read_body(msgspec.msgpack.encode(value))) == value
    many = {"messages": [{"role": "user", "content": "x"}] * 10_000}
    check_packed(msgspec.msgpack.encode(many))


def test_all_kinds_of_values_are_stepped_over() -> None:
    lengths = (0, 31, 32, 255, 256, 65_535, 65_536)
    numbers = [sign * (2**bits - 1) for bits in (5, 7, 8, 15, 16, 31, 32, 63) for sign in (1, -1)]
    value = {
        "strings": ["x" * length for length in lengths],
        "lists": [[0] * length for length in (0, 15, 16, 40_000)],
        "maps": [{str(name): None for name in range(length)} for length in (0, 15, 16, 300)],
        "numbers": [*numbers, 2**64 - 1, -(2**63), 0.5, True, False],
    }
    assert json.loads(read_body(msgspec.msgpack.encode(value))) == value
    check_packed(b"\x81\xa1x\xca" + struct.pack(">f", 1.5))


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan], ids=["infinity", "minus infinity", "no number"]
)
@pytest.mark.parametrize("kind", [(b"\xca", ">f"), (b"\xcb", ">d")], ids=["float32", "float64"])
def test_what_is_not_finite_is_refused(value: float, kind: tuple[bytes, str]) -> None:
    with pytest.raises(Refusal) as caught:
        check_packed(b"\x81\xa1x" + kind[0] + struct.pack(kind[1], value))
    assert caught.value.failure.message == "The body has a number that is not finite."


BOUNDS = {
    "values": (of(b"\x01", MAX_VALUES - 2), of(b"\x01", MAX_VALUES - 1), "names and values"),
    "containers": (of(b"\x90", MAX_CONTAINERS - 2), of(b"\x90", MAX_CONTAINERS - 1), "maps and"),
    "depth": (
        b"\x81\xa1x" + b"\x91" * (MAX_DEPTH - 2) + b"\x90",
        b"\x81\xa1x" + b"\x91" * (MAX_DEPTH - 1) + b"\x90",
        "deeper than 64",
    ),
}


@pytest.mark.parametrize(("fits", "exceeds", "says"), BOUNDS.values(), ids=BOUNDS)
def test_each_bound_is_told(fits: bytes, exceeds: bytes, says: str) -> None:
    check_packed(fits)
    with pytest.raises(Refusal) as caught:
        check_packed(exceeds)
    assert caught.value.failure.code == "invalid_request"
    assert says in caught.value.failure.message


@pytest.mark.parametrize(
    "data",
    [
        b"\x81",
        b"\x81\xa5mod",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1x\xc1",
        b"\x81\xa1x\xcb\x00",
        b"\x80\x80",
    ],
)
def test_what_is_cut_off_is_no_msgpack(data: bytes) -> None:
    with pytest.raises(Refusal, match="invalid_json"):
        read_body(data)
