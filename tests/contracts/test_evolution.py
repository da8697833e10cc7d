"""Old and new processes understand each other while a release is rolled out."""

from typing import Any

import msgspec
import pytest

from droveway.contracts import relay
from droveway.contracts.envelope import encode
from droveway.contracts.inference import Accepted, Needs
from tests.contracts.samples import FULL, SHORT, decoder_of, name_of

NAMED = [message for message in SHORT if not message.__struct_config__.array_like]
ARRAYS = [message for message in SHORT if message.__struct_config__.array_like]


def plain(message: msgspec.Struct) -> Any:
    return msgspec.msgpack.decode(encode(message))


def packed(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def required_of(message: msgspec.Struct) -> list[str]:
    return [field.name for field in msgspec.structs.fields(message) if field.required]


class AcceptedTomorrow(
    msgspec.Struct, frozen=True, kw_only=True, tag="inference.accepted.v1", tag_field="t"
):
    """`Accepted` with a field more."""

    request_id: str
    router: str
    requests: None = None
    region: str = "here"


class ChunkTomorrow(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """`Chunk` with a field more."""

    seq: int
    events: tuple[bytes, ...]
    origin: relay.Origin | None = None
    attempt: int = 0
    compressed: bool = False


def test_an_old_reader_takes_what_a_new_writer_sends() -> None:
    written = encode(AcceptedTomorrow(request_id="r", router="router-1", region="eu"))
    assert relay.news_decoder.decode(written) == Accepted(request_id="r", router="router-1")


def test_a_new_reader_takes_what_an_old_writer_sends() -> None:
    written = encode(Accepted(request_id="r", router="router-1"))
    read = msgspec.msgpack.decode(written, type=AcceptedTomorrow)
    assert read == AcceptedTomorrow(request_id="r", router="router-1", region="here")


def test_array_like_frames_evolve_at_their_end() -> None:
    old, new = relay.Chunk(3, (b"x",)), ChunkTomorrow(3, (b"x",), None, 0, True)
    assert relay.frame_decoder.decode(encode(new)) == old
    assert msgspec.msgpack.decode(encode(old), type=ChunkTomorrow) == ChunkTomorrow(3, (b"x",))


@pytest.mark.parametrize("message", NAMED, ids=name_of)
def test_unknown_fields_are_ignored(message: msgspec.Struct) -> None:
    extended = {**plain(message), "added_later": {"deep": [1, None, b"x"]}}
    assert decoder_of(message).decode(packed(extended)) == message


@pytest.mark.parametrize("message", ARRAYS, ids=name_of)
def test_unknown_last_elements_are_ignored(message: msgspec.Struct) -> None:
    value = plain(message)
    missing = 1 + len(msgspec.structs.fields(message)) - len(value)
    assert missing == 0
    assert decoder_of(message).decode(packed([*value, {"deep": [1]}, None])) == message


@pytest.mark.parametrize("message", NAMED, ids=name_of)
def test_fields_with_a_default_may_be_absent(message: msgspec.Struct) -> None:
    value = plain(message)
    fields = {name: value[name] for name in ("t", *required_of(message))}
    assert decoder_of(message).decode(packed(fields)) == message


@pytest.mark.parametrize("message", ARRAYS, ids=name_of)
def test_last_elements_with_a_default_may_be_absent(message: msgspec.Struct) -> None:
    kept = 1 + len(required_of(message))
    assert decoder_of(message).decode(packed(plain(message)[:kept])) == message


@pytest.mark.parametrize("message", NAMED, ids=name_of)
def test_a_missing_required_field_is_refused(message: msgspec.Struct) -> None:
    for name in required_of(message):
        value = {key: field for key, field in plain(message).items() if key != name}
        with pytest.raises(msgspec.ValidationError, match=name):
            decoder_of(message).decode(packed(value))


@pytest.mark.parametrize("message", ARRAYS, ids=name_of)
def test_a_frame_that_is_too_short_is_refused(message: msgspec.Struct) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoder_of(message).decode(packed(plain(message)[: len(required_of(message))]))


@pytest.mark.parametrize("message", [*SHORT, *FULL], ids=name_of)
def test_another_tag_is_refused(message: msgspec.Struct) -> None:
    other = plain(message)
    other[0 if isinstance(other, list) else "t"] = "inference.accepted.v255"
    with pytest.raises(msgspec.ValidationError):
        decoder_of(message).decode(packed(other))


def test_needs_that_an_old_router_does_not_know_are_dropped() -> None:
    assert msgspec.msgpack.decode(packed({"tools": True, "video": True}), type=Needs) == Needs(
        tools=True
    )
