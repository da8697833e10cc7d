"""The prompt as a row of blocks: tools, system, messages; what is hashed, counted and marked.

A prefix is the same only if each block has the same fields in the same order, since that is the
order in which a model reads them; markers are no part of it and may move.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from droveway.simulator.tokens import BYTES_PER_TOKEN, IMAGE_TOKENS

_PICTURES = ("image", "document")


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One block of the prompt."""

    content: bytes
    """What a prefix is compared by."""
    text_bytes: int
    picture_tokens: int = 0
    ttl: str | None = None
    """How long the prefix that ends here is to be kept; none: no marker."""


def segments(body: bytes) -> list[Segment]:
    """Lay out a request that has been found right."""
    request: dict[str, Any] = msgspec.json.decode(body)
    laid = [_segment(tool, b"tool") for tool in request.get("tools") or []]
    laid += [_segment(block, b"system") for block in _blocks(request.get("system") or [])]
    how = msgspec.json.encode([request.get("tool_choice"), request.get("thinking")])
    for message in request["messages"]:
        head = str(message["role"]).encode() + how
        laid += [_segment(block, head) for block in _blocks(message["content"])]
        how = b""
    if (marker := request.get("cache_control")) and laid:
        laid[-1] = msgspec.structs.replace(laid[-1], ttl=_ttl(marker))
    return laid


def total_tokens(laid: list[Segment]) -> int:
    """Count the tokens of a prompt, or of a prefix of one."""
    text_bytes = sum(segment.text_bytes for segment in laid)
    return -(-text_bytes // BYTES_PER_TOKEN) + sum(segment.picture_tokens for segment in laid)


def _segment(block: dict[str, Any], head: bytes) -> Segment:
    markers: list[dict[str, Any]] = []
    plain = _without_markers(block, markers)
    pictures = sum(1 for part in _parts(block) if part.get("type") in _PICTURES)
    if pictures:
        text_bytes = 0
    elif block.get("type") == "text":
        text_bytes = len(block["text"].encode())
    else:
        text_bytes = len(msgspec.json.encode(plain))
    return Segment(
        content=head + msgspec.json.encode(plain),
        text_bytes=text_bytes,
        picture_tokens=pictures * IMAGE_TOKENS,
        ttl=_ttl(markers[-1]) if markers else None,
    )


def _without_markers(block: dict[str, Any], markers: list[dict[str, Any]]) -> dict[str, Any]:
    plain = {name: value for name, value in block.items() if name != "cache_control"}
    if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
        plain["content"] = [_without_markers(part, markers) for part in block["content"]]
    if block.get("cache_control"):
        markers.append(block["cache_control"])
    return plain


def _parts(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield block
    if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
        yield from block["content"]


def _blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _ttl(marker: dict[str, Any]) -> str:
    return str(marker.get("ttl") or "5m")
