"""Where a prompt's cached prefix ends: a field of a block, though some write a block of its own.

`{"type":"cache_control","index":N}` beside the blocks of system or a message is no block of any
API; what its author meant is a `cache_control` on block N, or on the block before it. Such markers
are folded into the blocks; requests without them are left alone, byte for byte.
"""

from typing import Any

from droveway.dialects.untranslatable import Untranslatable

EPHEMERAL = {"type": "ephemeral"}
"""The only kind of cache; lives 5 minutes unless it says otherwise."""

MAX_BREAKPOINTS = 4
"""Blocks of a request that may be marked. Source: Anthropic, prompt caching, 2026-11."""

FOLDED = 'a {"type":"cache_control"} block became the field cache_control of the block it marks'
LOST = 'a {"type":"cache_control"} block with no block to mark was dropped'

_MARKER = "cache_control"
_UNMARKABLE = ("thinking", "redacted_thinking")


def fold_cache_markers(request: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request without marker blocks, and what to warn of; the same request if it has none.

    A marker's `index` counts the real blocks beside it; an index that fits none means the block
    before the marker, which for a message of markers only is the last one of the message before.
    """
    system, messages = request.get("system"), request.get("messages")
    folded: dict[str, Any] = {}
    warnings: list[str] = []
    if isinstance(system, list) and _has_marker(system):
        folded["system"] = _fold_blocks(system, warnings)
    if isinstance(messages, list) and any(_is_marked(message) for message in messages):
        folded["messages"] = _fold_messages(messages, warnings)
    if not folded:
        return request, ()
    return request | folded, tuple(dict.fromkeys(warnings))


def breakpoints(request: dict[str, Any]) -> int:
    """How many blocks, tools and system blocks of an Anthropic request end a cached prefix."""
    count = 1 if request.get(_MARKER) else 0
    for blocks in (request.get("tools"), request.get("system")):
        count += _marks(blocks)
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and type(content := message.get("content")) is not str:
            count += _marks(content)
    return count


def refuse_too_many(request: dict[str, Any], param: str = "messages") -> None:
    """Holds an Anthropic request to the number of breakpoints that the provider takes.

    Raises:
        Untranslatable: It has more.
    """
    if (count := breakpoints(request)) > MAX_BREAKPOINTS:
        raise Untranslatable(
            f"{count} blocks are marked with cache_control; at most {MAX_BREAKPOINTS} may be", param
        )


def _marks(blocks: object) -> int:
    if not isinstance(blocks, list):
        return 0
    count = 0
    for block in blocks:
        if isinstance(block, dict):
            if block.get(_MARKER) or block.get("type") == _MARKER:
                count += 1
            elif block.get("type") == "tool_result":
                count += _marks(block.get("content"))
    return count


def _has_marker(blocks: object) -> bool:
    if not isinstance(blocks, list):
        return False
    return any(isinstance(block, dict) and block.get("type") == _MARKER for block in blocks)


def _is_marked(message: object) -> bool:
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    return (type(content) is not str and _has_marker(content)) or _is_bare(message)


def _is_bare(message: dict[str, Any]) -> bool:
    return message.get("type") == _MARKER and "role" not in message


def _fold_messages(messages: list[Any], warnings: list[str]) -> list[Any]:
    folded: list[Any] = []
    for message in messages:
        if not _is_marked(message):
            folded.append(message)
        elif _is_bare(message):
            _mark_message(folded, message.get("index"), warnings)
        elif blocks := _fold_blocks(message["content"], warnings, before=folded):
            folded.append(message | {"content": blocks})
    return folded


def _fold_blocks(
    blocks: list[Any], warnings: list[str], *, before: list[Any] | None = None
) -> list[Any]:
    real = [block for block in blocks if not _has_marker([block])]
    place = 0
    for block in blocks:
        if not _has_marker([block]):
            place += 1
        elif real:
            index = block.get("index")
            fits = isinstance(index, int) and 0 <= index < len(real)
            _mark(real, index if fits else max(place - 1, 0), warnings)
        else:
            _mark_message(before or [], None, warnings)
    return real


def _mark_message(messages: list[Any], index: object, warnings: list[str]) -> None:
    """Marks the end of a message: the one of that index, else the last one."""
    place = len(messages) - 1
    if isinstance(index, int) and 0 <= index < place:
        place = index
    message = messages[place] if messages else None
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str) and content:
        content = [{"type": "text", "text": content}]
    if isinstance(message, dict) and isinstance(content, list) and content:
        marked = list(content)
        _mark(marked, len(marked) - 1, warnings)
        messages[place] = message | {"content": marked}
    else:
        warnings.append(LOST)


def _mark(blocks: list[Any], place: int, warnings: list[str]) -> None:
    for position in range(place, -1, -1):
        block = blocks[position]
        if isinstance(block, dict) and block.get("type") not in _UNMARKABLE:
            if not block.get(_MARKER):
                blocks[position] = block | {_MARKER: EPHEMERAL}
            warnings.append(FOLDED)
            return
    warnings.append(LOST)
