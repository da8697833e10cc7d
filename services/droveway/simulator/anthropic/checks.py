"""What holds of a request as a whole: version, markers, tools, thinking, limits."""

from collections.abc import Iterator

import msgspec

from droveway.simulator.anthropic.catalogue import MAX_TOKENS, not_found
from droveway.simulator.anthropic.content import (
    CacheControl,
    DocumentBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
)
from droveway.simulator.anthropic.request import MessageRequest, Prompt
from droveway.simulator.anthropic.signatures import Signer
from droveway.simulator.anthropic.turns import check_text, check_thought_first, check_turns
from droveway.simulator.catalogue import MISSING_MODEL
from droveway.simulator.errors import ApiError

OLD_VERSION = "2023-06-01"
NEW_VERSION = "2026-10-21"
VERSIONS = (OLD_VERSION, NEW_VERSION)
MAX_CACHE_MARKERS = 4
MIN_BUDGET_TOKENS = 1024


def check_version(version: str | None) -> str:
    """Refuse a request whose API version isn't one of VERSIONS.

    Raises:
        ApiError: 400 that names the header.
    """
    if version is None:
        raise _wrong("anthropic-version", "header is required")
    if version not in VERSIONS:
        raise _wrong("anthropic-version", f'"{version}" is not a valid version')
    return version


def check_prompt(prompt: Prompt, version: str, signer: Signer) -> None:
    """Refuse a prompt that Anthropic refuses.

    Raises:
        ApiError: 400 that names the place; 404, the model is the missing one.
    """
    if prompt.model == MISSING_MODEL:
        raise not_found(prompt.model)
    if isinstance(prompt.system, list):
        for index, block in enumerate(prompt.system):
            check_text(f"system.{index}", block)
    check_turns(prompt.messages, version == NEW_VERSION, signer)
    if version == NEW_VERSION:
        _check_new_version(prompt)
    _check_markers(list(_markers(prompt)))
    _check_tools(prompt)
    _check_thinking(prompt)
    if prompt.output_config and prompt.output_config.format:
        _check_schema(prompt.output_config.format.schema, "output_config.format.schema")


def check_request(request: MessageRequest, version: str) -> None:
    """Refuse what is wrong about the answer that is asked for.

    Raises:
        ApiError: 400 that names the field.
    """
    if version == NEW_VERSION:
        for name in ("temperature", "top_p", "top_k"):
            if getattr(request, name) is not msgspec.UNSET:
                raise _wrong(name, f"is not supported with anthropic-version {NEW_VERSION}")
    elif _thinks(request) and request.temperature not in (None, msgspec.UNSET, 1):
        raise _wrong("temperature", "may only be set to 1 when thinking is enabled")
    if request.max_tokens > MAX_TOKENS:
        text = f"{request.max_tokens} > {MAX_TOKENS}, which is the maximum allowed number of output"
        raise _wrong("max_tokens", f"{text} tokens for {request.model}")
    for index, stop in enumerate(request.stop_sequences or []):
        if not stop.strip():
            text = "each stop sequence must contain non-whitespace"
            raise _wrong(f"stop_sequences.{index}", text)


def _check_new_version(prompt: Prompt) -> None:
    for index, message in enumerate(prompt.messages):
        for number, block in enumerate(message.blocks):
            place = f"messages.{index}.content.{number}"
            if message.role == "assistant" and isinstance(block, DocumentBlock):
                raise _wrong(place, "`document` blocks are not allowed in `assistant` messages")
            if message.role == "user" and isinstance(block, TextBlock) and block.citations:
                raise _wrong(f"{place}.citations", "Extra inputs are not permitted")


def _markers(prompt: Prompt) -> Iterator[CacheControl]:
    """The cache markers in the order of the prefix: tools, system, messages, the automatic one."""
    marked: list[CacheControl | None] = [tool.cache_control for tool in prompt.tools or []]
    if isinstance(prompt.system, list):
        marked += [block.cache_control for block in prompt.system]
    for message in prompt.messages:
        for block in message.blocks:
            if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
                marked += [part.cache_control for part in block.content]
            if not isinstance(block, ThinkingBlock | RedactedThinkingBlock):
                marked.append(block.cache_control)
    marked.append(prompt.cache_control)
    yield from (marker for marker in marked if marker)


def _check_markers(markers: list[CacheControl]) -> None:
    if len(markers) > MAX_CACHE_MARKERS:
        text = f"A maximum of {MAX_CACHE_MARKERS} blocks with cache_control may be provided."
        raise ApiError(400, f"{text} Found {len(markers)}.")
    lifetimes = [marker.ttl for marker in markers]
    if lifetimes != sorted(lifetimes, key=("1h", "5m").index):
        text = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
        raise _wrong("cache_control", text)


def _check_tools(prompt: Prompt) -> None:
    names = [tool.name for tool in prompt.tools or []]
    if len(set(names)) != len(names):
        raise _wrong("tools", "Tool names must be unique.")
    for index, tool in enumerate(prompt.tools or []):
        if tool.input_schema.get("type") != "object":
            raise _wrong(f"tools.{index}.custom.input_schema.type", "Input should be 'object'")
    choice = prompt.tool_choice
    if choice is None:
        return
    if not names:
        raise _wrong("tool_choice", "may only be specified while providing tools")
    if choice.type == "tool" and choice.name not in names:
        raise _wrong("tool_choice.name", f"Tool '{choice.name}' not found in provided tools")
    if choice.type != "tool" and choice.name is not None:
        raise _wrong(f"tool_choice.{choice.type}.name", "Extra inputs are not permitted")


def _check_thinking(prompt: Prompt) -> None:
    thinking = prompt.thinking
    if thinking is None:
        return
    if thinking.type != "enabled":
        if thinking.budget_tokens is not None:
            place = f"thinking.{thinking.type}.budget_tokens"
            raise _wrong(place, "Extra inputs are not permitted")
    elif thinking.budget_tokens is None:
        raise _wrong("thinking.enabled.budget_tokens", "Field required")
    elif thinking.budget_tokens < MIN_BUDGET_TOKENS:
        text = f"Input should be greater than or equal to {MIN_BUDGET_TOKENS}"
        raise _wrong("thinking.enabled.budget_tokens", text)
    elif (limit := prompt.max_output_tokens) is not None and limit <= thinking.budget_tokens:
        raise ApiError(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if thinking.type == "enabled":
        check_thought_first(prompt.messages)
    if _thinks(prompt) and prompt.tool_choice and prompt.tool_choice.type in ("any", "tool"):
        raise ApiError(400, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_schema(schema: object, place: str) -> None:
    """Refuse an object that is open to other properties, at any depth."""
    if isinstance(schema, list):
        for index, option in enumerate(schema):
            _check_schema(option, f"{place}.{index}")
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        text = "For 'object' type, 'additionalProperties' must be explicitly set to false"
        raise _wrong(place, text)
    for name in ("properties", "$defs", "definitions"):
        nested = schema.get(name)
        for key, value in nested.items() if isinstance(nested, dict) else ():
            _check_schema(value, f"{place}.{name}.{key}")
    for name in ("items", "anyOf", "allOf"):
        _check_schema(schema.get(name), f"{place}.{name}")


def _thinks(prompt: Prompt) -> bool:
    return prompt.thinking is not None and prompt.thinking.type != "disabled"


def _wrong(place: str, text: str) -> ApiError:
    return ApiError(400, f"{place}: {text}")
