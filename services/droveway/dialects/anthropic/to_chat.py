"""A request to Anthropic's messages API as a chat request in normal form.

The normal form keeps what chat has no word for where an Anthropic upstream may still need it
(cache_control, thinking, top_k); whoever sends it to an OpenAI-compatible one takes that out.
Source: OpenAI API reference, chat completions, and Anthropic, messages, 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.cache_markers import fold_cache_markers
from droveway.dialects.anthropic.effort import reasoning_effort
from droveway.dialects.anthropic.request_fields import (
    count_at,
    drop_unknown,
    dropped,
    is_set,
    list_at,
    number_at,
    object_at,
    optional_object,
    text_at,
)
from droveway.dialects.anthropic.tools import put_chat_tools
from droveway.dialects.anthropic.turns import chat_messages
from droveway.dialects.untranslatable import Translated, Untranslatable

SCHEMA_NAME = "answer"
"""Of a `json_schema`: chat wants one, Anthropic has none."""

_HINTS = ("context_management", "diagnostics", "speed")
_NEEDED = {
    "container": "the model's provider keeps no containers",
    "inference_geo": "the model's provider promises no region",
    "mcp_servers": "the model's provider calls no MCP servers",
}
_TIERS = {"auto": "auto", "standard_only": "default"}
_KNOWN = frozenset(
    {
        "model", "messages", "system", "max_tokens", "stream", "stop_sequences", "temperature",
        "top_p", "top_k", "tools", "tool_choice", "thinking", "output_config", "metadata",
        "service_tier", "cache_control", *_HINTS, *_NEEDED,
    }
)  # fmt: skip
"""What is translated, needs no word (chat's caching is automatic), or is dropped by name."""


def to_chat(request: dict[str, Any]) -> Translated:
    """The chat request in normal form.

    Raises:
        Untranslatable: It asks for what only Anthropic has, or isn't formed as it has to be.
    """
    request, folded = fold_cache_markers(request)
    warnings = list(folded)
    for name, reason in _NEEDED.items():
        if is_set(request.get(name)):
            raise Untranslatable(f"{name}: {reason}", name)
    messages = chat_messages(request.get("system"), request.get("messages"), warnings)
    if not messages:
        raise Untranslatable("messages has to have content", "messages")
    body: dict[str, Any] = {"model": request.get("model"), "messages": messages}
    if (limit := request.get("max_tokens")) is not None:
        body["max_completion_tokens"] = count_at(limit, "max_tokens", least=1)
    put_chat_tools(request, body, warnings)
    if stop := request.get("stop_sequences"):
        texts = list_at(stop, "stop_sequences")
        body["stop"] = [text_at(text, f"stop_sequences[{i}]") for i, text in enumerate(texts)]
    for name in ("temperature", "top_p", "top_k"):
        if (value := request.get(name)) is not None:
            body[name] = number_at(value, name)
    _put_output(request, body, warnings)
    _put_identity(request, body, warnings)
    if request.get("stream") is not None:
        body["stream"] = request["stream"]
    warnings += [dropped(name) for name in _HINTS if is_set(request.get(name))]
    drop_unknown(request, _KNOWN, warnings)
    return Translated(body, tuple(dict.fromkeys(warnings)))


def _put_output(request: dict[str, Any], body: dict[str, Any], warnings: list[str]) -> None:
    config = optional_object(request, "output_config")
    thinking = request.get("thinking")
    if effort := reasoning_effort(thinking, config.get("effort")):
        body["reasoning_effort"] = effort
    if thinking is not None:
        body["thinking"] = thinking
    if (wanted := config.get("format")) is not None:
        at = "output_config.format"
        if object_at(wanted, at).get("type") != "json_schema":
            raise Untranslatable(f"{at}.type has to be json_schema", f"{at}.type")
        schema = object_at(wanted.get("schema"), f"{at}.schema")
        json_schema = {"name": SCHEMA_NAME, "schema": schema, "strict": _fits_strict(schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
    drop_unknown(config, frozenset({"effort", "format"}), warnings, "output_config.")


def _put_identity(request: dict[str, Any], body: dict[str, Any], warnings: list[str]) -> None:
    user = optional_object(request, "metadata").get("user_id")
    if user:
        body["user"] = text_at(user, "metadata.user_id")
    if (tier := request.get("service_tier")) is None:
        return
    if known := _TIERS.get(text_at(tier, "service_tier")):
        body["service_tier"] = known
    else:
        warnings.append(dropped("service_tier"))


def _fits_strict(schema: dict[str, Any]) -> bool:
    """Whether OpenAI takes the schema as strict, as Anthropic's always are.

    Strict there wants each object closed and each of its properties required.
    """
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            properties, required = node.get("properties", {}), node.get("required", [])
            if node.get("type") == "object" or "properties" in node:
                if node.get("additionalProperties") is not False:
                    return False
                if not isinstance(properties, dict) or not isinstance(required, list):
                    return False
                if any(name not in required for name in properties):
                    return False
            pending += node.values()
    return True
