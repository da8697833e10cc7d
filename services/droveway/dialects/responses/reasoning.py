"""Thinking that a provider wants back byte for byte, as a reasoning item's `encrypted_content`.

A client without stored responses replays items, and an item has one opaque field. Ours is no
cipher: it holds what the provider itself has signed or encrypted, and a provider refuses what was
changed. Pure functions.
"""

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from droveway.contracts.envelope import MALFORMED

_MARK = "dw1."


class _Thinking(msgspec.Struct, frozen=True, tag="thinking", forbid_unknown_fields=True):
    thinking: str
    signature: str


class _Redacted(msgspec.Struct, frozen=True, tag="redacted_thinking", forbid_unknown_fields=True):
    data: str


_blocks = msgspec.json.Decoder(list[_Thinking | _Redacted])


def thinking_block(thinking: str, signature: str) -> dict[str, str]:
    """A signed block, as a chat message's `thinking_blocks` has it."""
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def redacted_block(data: str) -> dict[str, str]:
    """A block that the provider keeps to itself."""
    return {"type": "redacted_thinking", "data": data}


def seal(blocks: Sequence[dict[str, str]]) -> str:
    """`thinking_blocks` as one opaque string."""
    return _MARK + base64.urlsafe_b64encode(msgspec.json.encode(blocks)).decode()


def unseal(sealed: object) -> list[dict[str, Any]]:
    """The blocks in a string that `seal` made; none in anything else."""
    if not isinstance(sealed, str) or not sealed.startswith(_MARK):
        return []
    try:
        packed = base64.b64decode(sealed[len(_MARK) :], altchars=b"-_", validate=True)
        blocks = _blocks.decode(packed)
    except (ValueError, *MALFORMED):
        return []
    return [msgspec.to_builtins(block) for block in blocks]
