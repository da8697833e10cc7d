"""Whatever bytes a peer sends, a decoder answers with one of three errors, and at once."""

import random
import time
from typing import Any

import msgspec
import pytest

from droveway.contracts.envelope import encode
from droveway.contracts.relay import is_frame
from tests.contracts.samples import DECODERS, FULL, SHORT, decoder_of, name_of

REFUSALS = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
LIMIT_S = 0.1
HUGE = b"\xff\xff\xff\xff"
TAGS = (b"\xa1t\xb6inference.requested.v1", b"\xa1t\xb4usage.recorded.v1xxx")

INPUTS: dict[str, bytes] = {
    "nothing": b"",
    "never used byte": b"\xc1",
    "nil": b"\xc0",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "json": b'{"t":"inference.requested.v1"}',
    "array32 of 2^32": b"\xdd" + HUGE,
    "array32 of 2^32, begun": b"\xdd" + HUGE + b"\xa1c\x00\x90",
    "map32 of 2^32": b"\xdf" + HUGE,
    "map32 of 2^32, begun": b"\xdf" + HUGE + TAGS[0],
    "bin32 of 2^32": b"\xc6" + HUGE,
    "str32 of 2^32": b"\xdb" + HUGE,
    "ext32 of 2^32": b"\xc9" + HUGE + b"\x01",
    "chunk with 2^32 events": b"\x93\xa1c\x00\xdd" + HUGE,
    "chunk with an event of 2^32": b"\x93\xa1c\x00\x91\xc6" + HUGE,
    "200k arrays": b"\x91" * 200_000,
    "200k maps": b"\x81\xa1x" * 200_000,
    "200k arrays in an unknown field": b"\x82" + TAGS[0] + b"\xa1x" + b"\x91" * 200_000,
    "200k arrays in a frame": b"\x94\xa1c\x00\x90" + b"\x91" * 200_000,
    "200k maps as a tag": b"\x81\xa1t" + b"\x81\xa1x" * 200_000,
    "ext": b"\xd4\x01a",
    "timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "ext as sequence": b"\x93\xa1c\xd4\x01a\x90",
    "ext as tag": b"\x81\xa1t\xd4\x01a",
    "tag that isn't utf-8": b"\x93\xa1\xff\x00\x90",
    "key that isn't utf-8": b"\x81\xa1\xff\x00",
    "map without a tag": b"\x81\xa1x\x00",
    "tag of another kind": b"\x81\xa1t\x05",
    "two tags": b"\x82\xa1t\xa1c\xa1t\xa1e",
    "sequence of 2^63": b"\x93\xa1c\xcf\x80" + b"\x00" * 7 + b"\x90",
    "sequence below zero": b"\x93\xa1c\xff\x90",
    "sequence that is NaN": b"\x93\xa1c\xcb\x7f\xf8" + b"\x00" * 6 + b"\x90",
}
VALUES: tuple[Any, ...] = (
    None, True, -1, 2**63, 2**64 - 1, -(2**63), 1.5, float("nan"), "x" * 70_000, "a.b", "", "*",
    "a\n", "\x00", b"", b"x" * 70_000, [], [[]], {}, {"x": {}}, msgspec.msgpack.Ext(1, b"x"),
)  # fmt: skip


def refused_or_read(decoder: "msgspec.msgpack.Decoder[Any]", data: bytes) -> bool:
    """Whether `data` was read; any other error than a refusal fails the test."""
    began_s = time.thread_time()
    try:
        decoder.decode(data)
    except REFUSALS:
        return False
    finally:
        assert time.thread_time() - began_s < LIMIT_S
    return True


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
@pytest.mark.parametrize("data", INPUTS.values(), ids=INPUTS)
def test_hostile_bytes_are_refused_at_once(
    data: bytes, decoder: "msgspec.msgpack.Decoder[Any]"
) -> None:
    assert not refused_or_read(decoder, data)


@pytest.mark.parametrize("message", [*SHORT, *FULL], ids=name_of)
def test_every_truncation_is_refused(message: msgspec.Struct) -> None:
    data, decoder = encode(message), decoder_of(message)
    assert not any(refused_or_read(decoder, data[:length]) for length in range(len(data)))


@pytest.mark.parametrize("message", [*SHORT, *FULL], ids=name_of)
def test_bytes_after_a_message_are_refused(message: msgspec.Struct) -> None:
    assert not refused_or_read(decoder_of(message), encode(message) + b"\x00")


@pytest.mark.parametrize("message", FULL, ids=name_of)
def test_changed_bytes_raise_nothing_else(message: msgspec.Struct) -> None:
    dice, data, decoder = random.Random(name_of(message)), encode(message), decoder_of(message)
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        refused_or_read(decoder, bytes(changed))
        is_frame(bytes(changed))


@pytest.mark.parametrize("message", FULL, ids=name_of)
def test_a_value_of_the_wrong_kind_raises_nothing_else(message: msgspec.Struct) -> None:
    plain, decoder = msgspec.msgpack.decode(encode(message)), decoder_of(message)
    places = range(1, len(plain)) if isinstance(plain, list) else set(plain) - {"t"}
    for place in places:
        for value in VALUES:
            changed = [*plain] if isinstance(plain, list) else {**plain}
            changed[place] = value
            refused_or_read(decoder, msgspec.msgpack.encode(changed))


@pytest.mark.parametrize("message", [*SHORT, *FULL], ids=name_of)
def test_frames_are_told_from_news_by_their_first_byte(message: msgspec.Struct) -> None:
    assert is_frame(encode(message)) is bool(message.__struct_config__.array_like)
