"""What all messages share: field types, ids, subjects and the two codecs.

Evolution rules (contracts/README.md): a new field gets a default and keeps its version; a changed
meaning is a new struct with the next version in its tag, and both are accepted for one release.
Readers ignore fields that they don't know. Time on the wire is *remaining* milliseconds, never a
clock reading that two hosts would have to agree on; `UnixNs` values are for people and traces.
"""

import functools
import re
import secrets
import time
from typing import Annotated, TypeVar

import msgspec

MAX_NUMBER = 2**53
"""Durations, sizes and tokens are below it, so that every language reads them exactly."""
Millis = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
"""A duration in milliseconds."""
UnixNs = Annotated[int, msgspec.Meta(ge=0)]
"""Nanoseconds since 1970; for spans and rows, never for deciding."""
Tokens = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
"""Model tokens."""
Bytes = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
"""A size in bytes."""
NanoUsd = int
"""Money: 10^-9 US dollars."""
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,64}$(?!\n)")]
"""An id that we made; fit to be one token of a subject. (`$` alone would let a line end pass.)"""
NoId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{0,64}$(?!\n)")]
"""An id, or an empty string where there is none."""
Text = Annotated[str, msgspec.Meta(max_length=4096)]
"""A client's or provider's words: bounded, never part of a subject."""
RelayId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
"""128 random bits that name one relayed answer or body."""
AttemptId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
"""128 bits that name one upstream attempt; the primary key of its row."""

PREFIX = "droveway.v1"
_TOKEN = re.compile(r"[a-z0-9_-]{1,64}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]

T = TypeVar("T")

MALFORMED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""All that decoding hostile bytes raises; msgspec's own family has neither depth nor UTF-8."""
encode = msgspec.msgpack.Encoder().encode
"""Any contract struct to msgpack bytes."""


class SubjectError(ValueError):
    """A token that may not stand in a subject."""


def is_id(text: str) -> bool:
    """Whether it has the form of an `Id`."""
    return _TOKEN.fullmatch(text) is not None


@functools.lru_cache(4_096)
def subject(*tokens: str) -> str:
    """Joins ids of ours to a subject under `droveway.v1`.

    Raises:
        SubjectError: A token has characters outside `[a-z0-9_-]`, so it isn't an id that we made.
    """
    for token in tokens:
        if not is_id(token):
            raise SubjectError(f"{token[:40]!r} can't be in a subject: only [a-z0-9_-], 1 to 64")
    return ".".join((PREFIX, *tokens))


def inbox(service: str, instance: str, token: str) -> str:
    """The reply subject `_INBOX.<service>.<instance>.<token>`."""
    return f"_INBOX.{service}.{instance}.{token}"


INBOX = re.compile(r"_INBOX\.(?P<service>[a-z]+)\.(?P=service)-[a-z0-9]{8,32}\.[a-z0-9]{1,40}")
"""The only form of reply subject that a service of ours answers to."""


def is_inbox_of(reply: str, services: frozenset[str]) -> bool:
    """Whether `reply` is an inbox of one of `services`: anything else is never answered."""
    match = INBOX.fullmatch(reply)
    return match is not None and match["service"] in services


def _base32(value: int, length: int) -> str:
    """The lowest `length` digits; an even number of them."""
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(5 * length - 10, -1, -10)])


def new_request_id() -> str:
    """`req_` and 26 characters: 48 bits of Unix ms, then 80 random bits; sorts by time."""
    return "req_" + _base32((time.time_ns() // 1_000_000 << 80) | secrets.randbits(80), 26)


def request_time_ms(request_id: str) -> int:
    """The Unix milliseconds at which `request_id` was made.

    Raises:
        ValueError: It isn't an id of `new_request_id`.
    """
    body = request_id.removeprefix("req_")
    if len(body) != 26 or any(character not in _ALPHABET for character in body):
        raise ValueError(f"{request_id[:40]!r} is no request id: expected req_ and 26 characters")
    value = 0
    for character in body:
        value = value * 32 + _ALPHABET.index(character)
    return value >> 80


def new_attempt_id() -> bytes:
    """16 bytes: 48 bits of Unix ms, then 80 random bits."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + secrets.token_bytes(10)


def new_instance(service: str) -> str:
    """The name of one running process: the service's, a dash, 12 random characters."""
    return f"{service}-{_base32(secrets.randbits(60), 12)}"


def service_of(instance: str) -> str:
    """The service that an instance belongs to."""
    return instance.partition("-")[0]


def token() -> str:
    """A random inbox token."""
    return secrets.token_hex(11)
