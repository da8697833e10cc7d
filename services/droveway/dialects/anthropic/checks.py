"""Is this decoded body a request to Anthropic's messages API, as far as we have to know?

What only the provider can judge is left to it; what the gateway reads, counts or translates is
held to its type and a number here. Messages name a field of ours and never quote the client's
content. Source: Anthropic, messages and prompt caching, 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.cache_markers import refuse_too_many
from droveway.dialects.anthropic.request_fields import (
    count_at,
    list_at,
    name_at,
    object_at,
    text_at,
)
from droveway.dialects.untranslatable import Untranslatable

MAX_MODEL_CHARS = 256
"""Characters of `model`."""

MAX_MESSAGES = 100_000
"""Elements of `messages`; Anthropic's own cap."""

MAX_BLOCKS = 100_000
"""Blocks of all messages and of `system` together; bounds the time of the check."""

MAX_TOOLS = 10_000
"""Elements of `tools`."""

MAX_STOP_SEQUENCES = 1_000
"""Elements of `stop_sequences`."""

MAX_OUTPUT_TOKENS = 2_000_000
"""Largest `max_tokens`, in tokens."""

ROLES = ("user", "assistant", "system")


def check(request: dict[str, Any], *, counting: bool = False) -> None:
    """Holds a request to the API's form.

    Args:
        request: The decoded body.
        counting: It is for `count_tokens`, which has no `max_tokens`.

    Raises:
        Untranslatable: It isn't formed so; names the first parameter that is wrong.
    """
    if len(name_at(request.get("model"), "model")) > MAX_MODEL_CHARS:
        raise Untranslatable(f"model has more than {MAX_MODEL_CHARS} characters", "model")
    if not counting or request.get("max_tokens") is not None:
        _check_max_tokens(request.get("max_tokens"))
    stream = request.get("stream")
    if not (stream is None or isinstance(stream, bool)):
        raise Untranslatable("stream has to be true or false", "stream")
    blocks = _check_system(request.get("system"))
    _check_messages(request.get("messages"), blocks)
    _check_tools(request.get("tools"))
    _check_stop(request.get("stop_sequences"))
    _check_user(request.get("metadata"))
    refuse_too_many(request)


def _check_max_tokens(limit: object) -> None:
    if limit is None:
        raise Untranslatable("max_tokens is missing; it has to be a whole number", "max_tokens")
    if count_at(limit, "max_tokens", least=0) > MAX_OUTPUT_TOKENS:
        raise Untranslatable(f"max_tokens has to be at most {MAX_OUTPUT_TOKENS}", "max_tokens")


def _check_system(system: object) -> int:
    if system is None or isinstance(system, str):
        return 0
    if not isinstance(system, list):
        raise Untranslatable("system has to be a string or an array of text blocks", "system")
    _check_blocks(system, "system")
    return len(system)


def _check_messages(messages: object, blocks: int) -> None:
    if messages is None:
        raise Untranslatable("messages is missing; it has to be an array", "messages")
    if not (said := list_at(messages, "messages")):
        raise Untranslatable("messages has to have at least one message", "messages")
    _refuse_more(said, MAX_MESSAGES, "messages")
    for place, message in enumerate(said):
        path = f"messages[{place}]"
        fields = object_at(message, path)
        if _is_bare_marker(fields):
            continue
        if fields.get("role") not in ROLES:
            raise Untranslatable(
                f"{path}.role has to be one of user, assistant, system", f"{path}.role"
            )
        content = fields.get("content")
        if isinstance(content, str):
            continue
        if not isinstance(content, list):
            raise Untranslatable(
                f"{path}.content has to be a string or an array of blocks", f"{path}.content"
            )
        blocks += len(content)
        if blocks > MAX_BLOCKS:
            raise Untranslatable(f"messages has more than {MAX_BLOCKS} blocks", "messages")
        _check_blocks(content, f"{path}.content")


def _is_bare_marker(message: dict[str, Any]) -> bool:
    return message.get("type") == "cache_control" and "role" not in message


def _check_blocks(blocks: list[Any], path: str) -> None:
    for place, block in enumerate(blocks):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            at = f"{path}[{place}]"
            name_at(object_at(block, at).get("type"), f"{at}.type")


def _check_tools(tools: object) -> None:
    if tools is None:
        return
    offered = list_at(tools, "tools")
    _refuse_more(offered, MAX_TOOLS, "tools")
    for place, tool in enumerate(offered):
        path = f"tools[{place}]"
        if (kind := object_at(tool, path).get("type")) is not None:
            text_at(kind, f"{path}.type")


def _check_stop(sequences: object) -> None:
    if sequences is None:
        return
    texts = list_at(sequences, "stop_sequences")
    _refuse_more(texts, MAX_STOP_SEQUENCES, "stop_sequences")
    for place, sequence in enumerate(texts):
        text_at(sequence, f"stop_sequences[{place}]")


def _check_user(metadata: object) -> None:
    if metadata is None:
        return
    user = object_at(metadata, "metadata").get("user_id")
    if user is not None:
        text_at(user, "metadata.user_id")


def _refuse_more(elements: list[Any], most: int, param: str) -> None:
    if len(elements) > most:
        raise Untranslatable(f"{param} has {len(elements)} elements; at most {most}", param)
