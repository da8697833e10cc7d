"""Client keys: how they look, how they are made, and how a mistyped one is told at once.

    dw_live_k3v9q0t1m2zx_<43 base62 characters>_<6 base62 characters>
    │  │    │             │                      └ CRC-32 of all before its underscore
    │  │    │             └ secret: 256 random bits
    │  │    └ id, public: stands in logs, rows and subjects
    │  └ environment: tells a test key from a live one
    └ lets secret scanners find a leaked key

The checksum is no protection: it refuses typing errors and scanners' false finds without a look-up.
Only the SHA-256 of the whole key is kept; 256 random bits need no slow hash.
"""

import hashlib
import re
import secrets
import zlib
from typing import NamedTuple

PREFIX = "dw"
ID_CHARACTERS = 12
SECRET_CHARACTERS = 43
CHECKSUM_CHARACTERS = 6
_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID = re.compile(r"[a-z0-9]{12}")
_ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}")
_KEY = re.compile(
    r"(?P<body>dw_(?P<environment>[a-z0-9]{1,16})_(?P<id>[a-z0-9]{12})_[0-9A-Za-z]{43})"
    r"_(?P<checksum>[0-9A-Za-z]{6})"
)
_MAX_CHARACTERS = 96


class KeyFormatError(ValueError):
    """A string that no `make_key` made; the message never holds it."""


class KeyParts(NamedTuple):
    """What a key says about itself, before anybody looked it up."""

    environment: str
    id: str


def make_key(environment: str = "live", key_id: str = "") -> str:
    """A new client key, with an id of its own or with `key_id`, where that has a key's form.

    Raises:
        KeyFormatError: The environment isn't 1 to 16 of `[a-z0-9]`.
    """
    if not _ENVIRONMENT.fullmatch(environment):
        raise KeyFormatError(f"environment {environment[:40]!r}: expected 1 to 16 of [a-z0-9]")
    if not _ID.fullmatch(key_id):
        key_id = new_id()
    secret = "".join(secrets.choice(_BASE62) for _ in range(SECRET_CHARACTERS))
    body = f"{PREFIX}_{environment}_{key_id}_{secret}"
    return f"{body}_{checksum(body)}"


def new_id() -> str:
    """A key's id: 62 random bits, never used twice."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(ID_CHARACTERS))


def parse_key(key: str) -> KeyParts:
    """The parts of a well-formed key.

    Raises:
        KeyFormatError: It has another form, or was mistyped: the checksum doesn't fit.
    """
    match = _KEY.fullmatch(key) if len(key) <= _MAX_CHARACTERS else None
    if match is None:
        raise KeyFormatError("not a Droveway key: expected dw_<environment>_<id>_<secret>_<check>")
    if checksum(match["body"]) != match["checksum"]:
        raise KeyFormatError("a mistyped Droveway key: its last six characters don't fit the rest")
    return KeyParts(environment=match["environment"], id=match["id"])


def hash_key(key: str) -> str:
    """What the configuration keeps of a key: 64 hex digits of SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()


def checksum(body: str) -> str:
    """CRC-32 of `body` as six base62 digits."""
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_CHARACTERS):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
