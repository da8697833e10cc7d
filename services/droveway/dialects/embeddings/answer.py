"""An embeddings answer: what it says, and its vectors in the form that the client asked for.

Source: OpenAI API reference, embeddings, 2026-11.
"""

import array
import base64
import binascii
import math
import sys
from typing import NamedTuple

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure
from droveway.contracts.relay import Usage
from droveway.dialects.chat.passing import failure_in_band

_ABSENT = msgspec.Raw()
_NULL = msgspec.Raw(b"null")
_EMBEDDING = msgspec.Raw(b'"embedding"')
_NOTHING = (b"", b"null", b'""', b"[]", b"{}", b"false")
_MAX_TOKENS = 2**53
_FLOAT_BYTES = 4


class EmbeddingFacts(NamedTuple):
    """What a whole answer says."""

    usage: Usage | None
    """None where the provider told nothing that counts."""
    model: str
    """As the provider names it; empty if it doesn't."""
    vectors: int


class _Counts(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    total_tokens: int | None = None

    def counted(self) -> Usage | None:
        told = self.prompt_tokens if self.prompt_tokens is not None else self.total_tokens
        return None if told is None else Usage(input_tokens=min(_MAX_TOKENS, max(0, told)))


class _Item(msgspec.Struct, frozen=True):
    embedding: msgspec.Raw = _ABSENT
    object: str | None = None
    index: int | None = None

    def first_byte(self) -> bytes:
        return bytes(memoryview(self.embedding)[:1])


class _Answer(msgspec.Struct, frozen=True):
    data: list[_Item] | None = None
    model: str | None = None
    object: str | None = None
    usage: _Counts | None = None
    error: msgspec.Raw = _ABSENT


_answers = msgspec.json.Decoder(_Answer)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_numbers = msgspec.json.Decoder(list[float])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def read(body: bytes) -> EmbeddingFacts | Failure:
    """What an answer says; the failure when it isn't one. The vectors stay undecoded."""
    try:
        answer = _answers.decode(body)
    except MALFORMED:
        return failure("bad_upstream", "The provider's answer has no list of embeddings")
    if bytes(answer.error) not in _NOTHING:
        return failure_in_band(body)
    if not answer.data:
        return failure("bad_upstream", "The provider's answer has no embeddings")
    if any(item.first_byte() not in (b'"', b"[") for item in answer.data):
        return failure("bad_upstream", "The provider's answer has an embedding without numbers")
    usage = answer.usage.counted() if answer.usage is not None else None
    return EmbeddingFacts(usage, answer.model or "", len(answer.data))


def answer(body: bytes, encoding_format: str | None, usage: Usage, *, model: str = "") -> bytes:
    """The answer as its client expects it; untouched where it already fits.

    Args:
        body: An answer that `read` has taken.
        encoding_format: What the client asked for: `base64`, or numbers.
        usage: What to tell where the provider told nothing.
        model: The name to show unless the provider told one.

    Raises:
        msgspec.DecodeError: A vector that has to be written anew isn't one.
    """
    opening = b'"' if encoding_format == "base64" else b"["
    known = _answers.decode(body)
    if _fits(known, opening):
        return body
    fields = _fields.decode(body)
    fields["object"] = msgspec.Raw(b'"list"')
    items = _items.decode(fields["data"])
    fields["data"] = msgspec.Raw(_encode([_item(*each, opening) for each in enumerate(items)]))
    if not known.model:
        fields["model"] = msgspec.Raw(_encode(model))
    if not _is_told(known.usage):
        fields["usage"] = msgspec.Raw(_encode(_usage(known.usage, usage)))
    return _encode(fields)


def to_base64(numbers: list[float]) -> str:
    """Numbers as base64 of little-endian 32-bit floats."""
    vector = array.array("f", numbers)
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()


def from_base64(text: str) -> list[float]:
    """The numbers, each exactly the 32-bit float that it was.

    Raises:
        msgspec.ValidationError: It isn't base64 of such floats, or one of them is no number.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise msgspec.ValidationError("an embedding is not base64") from None
    if not data or len(data) % _FLOAT_BYTES:
        raise msgspec.ValidationError("an embedding is not made of 32-bit floats")
    vector = array.array("f", data)
    if sys.byteorder == "big":
        vector.byteswap()
    numbers = vector.tolist()
    if not all(map(math.isfinite, numbers)):
        raise msgspec.ValidationError("an embedding has a value that is no number")
    return numbers


def _fits(known: _Answer, opening: bytes) -> bool:
    return (
        known.object == "list"
        and bool(known.model)
        and _is_told(known.usage)
        and all(
            item.object == "embedding" and item.index is not None and item.first_byte() == opening
            for item in known.data or ()
        )
    )


def _is_told(usage: _Counts | None) -> bool:
    return usage is not None and None not in (usage.prompt_tokens, usage.total_tokens)


def _usage(told: _Counts | None, usage: Usage) -> dict[str, int]:
    counted = (told.counted() if told is not None else None) or usage
    return {"prompt_tokens": counted.input_tokens, "total_tokens": counted.input_tokens}


def _item(position: int, item: dict[str, msgspec.Raw], opening: bytes) -> dict[str, msgspec.Raw]:
    """One vector in the form that begins so; what else stands beside it is kept."""
    vector = item["embedding"]
    if bytes(memoryview(vector)[:1]) != opening:
        if opening == b"[":
            written = _encode(from_base64(_text.decode(vector)))
        else:
            written = _encode(to_base64(_numbers.decode(vector)))
        vector = msgspec.Raw(written)
    index = item.get("index", _NULL)
    if bytes(index) == b"null":
        index = msgspec.Raw(b"%d" % position)
    named = {"object": _EMBEDDING, "index": index}
    return {**named, **item, **named, "embedding": vector}
