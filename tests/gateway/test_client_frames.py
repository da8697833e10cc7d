"""Frames for clients on the bus, in both forms, and what is read of what they send."""

import json
import random
from typing import Any

import msgspec
import pytest

from droveway.contracts import client, relay
from droveway.contracts.errors import failure
from droveway.gateway.doors.client_frames import FrameCoder, batches, pieces
from droveway.gateway.doors.client_payload import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    read_body,
    read_flow,
    read_headers,
)
from droveway.gateway.refusal import Refusal

BOTH = pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
USAGE = relay.Usage(10, 20, 3, 4, 5, True)


def coder(packed: bool) -> FrameCoder:
    made = FrameCoder("req_1", packed=packed)
    made.set_headers([(b"x-droveway-provider", b"openai")])
    return made


def read(data: bytes, packed: bool) -> dict[str, Any]:
    assert client.is_msgpack(data) is packed
    frame: dict[str, Any] = msgspec.msgpack.decode(data) if packed else json.loads(data)
    return frame


@BOTH
def test_events_are_json_values_or_their_bytes(packed: bool) -> None:
    frame = read(coder(packed)(relay.Chunk(3, (b'{"a": 1}', b"[2]"))), packed)
    events = [b'{"a": 1}', b"[2]"] if packed else [{"a": 1}, [2]]
    assert frame == {"t": "chunk", "seq": 3, "events": events}


@BOTH
def test_headers_go_with_the_first_frame_whichever_it_is(packed: bool) -> None:
    write = coder(packed)
    headers = {
        "x-request-id": "req_1", "openai-version": "2020-10-01", "x-droveway-provider": "openai",
    }  # fmt: skip
    first = (
        relay.Chunk(0, (b"1",)), relay.Completed(0, USAGE),
        relay.Interrupted(0, failure("overloaded")),
    )  # fmt: skip
    assert all(read(write(frame), packed)["headers"] == headers for frame in first)
    assert "headers" not in read(write(relay.Chunk(1, (b"1",))), packed)


@BOTH
def test_a_cut_is_a_failure_while_nothing_was_delivered(packed: bool) -> None:
    cut = failure("stream_stalled", "too slow")
    write = coder(packed)
    failed = read(write(relay.Interrupted(0, cut)), packed)
    assert (failed["t"], failed["status"], failed["should_retry"]) == ("failed", 504, True)
    interrupted = read(write(relay.Interrupted(7, cut, USAGE)), packed)
    assert (interrupted["t"], interrupted["seq"]) == ("interrupted", 7)
    assert interrupted["error"] == failed["error"] | {"request_id": "req_1"}
    assert interrupted["error"]["param"] is None
    assert interrupted["usage"]["reasoning_tokens"] == 5


def test_what_is_no_utf_8_does_not_spoil_the_frame_around_it() -> None:
    data = coder(False)(relay.Chunk(1, (b'{"a":"\xff\xfe","b":"\xe4\xbd\xa0"}',)))
    event = read(data, False)["events"][0]
    assert event == {"a": "??", "b": "\u4f60"}


@BOTH
def test_pieces_join_to_the_body(packed: bool) -> None:
    body = json.dumps({"text": "a\u00e4\u4f60\U0001f600" * 20_000}, ensure_ascii=False).encode()
    write = coder(packed)
    write.in_pieces = True
    parts = list(pieces(body))
    assert max(map(len, parts)) <= client.PIECE_BYTES
    frames = [read(write(relay.Chunk(n, (part,))), packed) for n, part in enumerate(parts)]
    if packed:
        assert b"".join(frame["piece"] for frame in frames) == body
    else:
        assert "".join(frame["piece"] for frame in frames).encode() == body


@pytest.mark.parametrize("body", [b"\x80" * 100_000, b"\xe4" * 100_000, b""])
def test_pieces_of_what_is_no_text_are_cut_as_fast(body: bytes) -> None:
    parts = list(pieces(body))
    assert b"".join(parts) == body
    assert len(parts) <= len(body) // (client.PIECE_BYTES - 3) + 1


def test_batches_fit_a_message_and_keep_the_order() -> None:
    events = [bytes(size) for size in (100_000, 100_000, 100_000, 700_000, 1)]
    found = list(batches(events))
    assert [list(map(len, batch)) for batch in found] == [[100_000] * 2, [100_000], [700_000], [1]]
    assert list(batches([])) == []


def test_header_names_are_lower_case_and_odd_lines_are_left_out() -> None:
    block = b"NATS/1.0\r\nTraceParent: 00-x\r\nno colon\r\na:b:c\r\n: x\r\n\r\n"
    assert read_headers(block) == [(b"traceparent", b"00-x"), (b"a", b"b:c"), (b"", b"x")]
    assert read_headers(None) == []
    assert read_headers(b"NATS/1.0 503\r\n\r\n") == []


@pytest.mark.parametrize("block", [b"x" * (MAX_HEADER_BYTES + 1), b"a:b\r\n" * (MAX_HEADERS + 4)])
def test_too_many_headers_are_refused(block: bytes) -> None:
    with pytest.raises(Refusal, match="request_header_fields_too_large"):
        read_headers(b"NATS/1.0\r\n" + block)


def test_any_bytes_may_be_headers() -> None:
    dice = random.Random(20261122)
    for _ in range(2_000):
        block = dice.randbytes(dice.randrange(200)).replace(b"\x00", b"\r\n")
        read_headers(b"NATS/1.0\r\n" + block)


@pytest.mark.parametrize(
    ("values", "flow"), [([], ""), ([b"none"], "none"), ([b"credit"], "credit")]
)
def test_the_flow_is_one_of_two(values: list[bytes], flow: str) -> None:
    assert read_flow([(b"droveway-flow", value) for value in values]) == flow


@pytest.mark.parametrize("values", [[b""], [b"None"], [b"none", b"none"], [b"\xff"]])
def test_another_flow_is_refused(values: list[bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        read_flow([(b"droveway-flow", value) for value in values])
    assert caught.value.failure.param == "droveway-flow"


def test_msgpack_becomes_the_json_that_one_would_post() -> None:
    value = {"model": "x", "n": 2**63, "t": -1.5, "messages": [{"content": None, "a": [True]}]}
    assert json.loads(read_body(msgspec.msgpack.encode(value))) == value
    assert read_body(b'{"a": 1}') == b'{"a": 1}'


NOT_JSON: dict[str, Any] = {
    "bytes": {"a": b"x"}, "bytes in a list": {"a": [[b"x"]]}, "a number as key": {"a": {1: 2}},
    "not a number": {"a": float("nan")}, "infinity": {"a": [float("inf")]},
    "an extension": {"a": msgspec.msgpack.Ext(1, b"x")},
}  # fmt: skip


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(Refusal, match="invalid_json"):
        read_body(msgspec.msgpack.encode(value))


def test_any_bytes_are_refused_or_read() -> None:
    dice = random.Random(20261123)
    good = msgspec.msgpack.encode({"model": "x", "messages": [{"role": "user", "content": "y"}]})
    for _ in range(3_000):
        changed = bytearray(good)
        for _ in range(dice.randint(1, 5)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        changed[0] = dice.choice([0x80, 0x82, 0x8F, 0xDE, 0xDF])
        try:
            json.loads(read_body(bytes(changed)))
        except Refusal:
            continue
