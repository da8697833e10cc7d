"""A chat request as a request to Anthropic's messages API.

What there is no word for is refused where the answer would lack something (logprobs, audio, more
choices) and dropped with a warning where it is a hint. Conversation, tools and effort have modules
of their own. Source: OpenAI API reference, chat completions, and Anthropic, messages, 2026-11.
"""

import re
from collections.abc import Collection
from typing import Any

from droveway.dialects.anthropic.cache_markers import fold_cache_markers, refuse_too_many
from droveway.dialects.anthropic.chat_turns import turns
from droveway.dialects.anthropic.effort import EFFORTS, put_effort
from droveway.dialects.anthropic.request_fields import (
    count_at,
    drop_unknown,
    dropped,
    is_set,
    list_at,
    number_at,
    object_at,
    optional_list,
    text_at,
)
from droveway.dialects.anthropic.tools import put_native_tools
from droveway.dialects.untranslatable import Translated, Untranslatable

MAX_USER_ID_CHARS = 256
"""Of `metadata.user_id`. Source: Anthropic, messages, 2026-11."""

_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\+[0-9][0-9 ().-]{6,24}[0-9]")
"""E-mail addresses and telephone numbers, which Anthropic refuses as user ids."""

_HINTS = (
    "seed", "frequency_penalty", "presence_penalty", "logit_bias", "prediction", "verbosity",
    "moderation", "store",
)  # fmt: skip
_NEEDED = {
    "logprobs": "the model tells no probabilities",
    "top_logprobs": "the model tells no probabilities",
    "audio": "the model speaks no audio",
    "web_search_options": "the model's provider searches by tools of its own",
}
_TIERS = {"auto": "auto", "priority": "auto", "scale": "auto", "default": "standard_only"}
_KNOWN = frozenset(
    {
        "model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options",
        "stop", "temperature", "top_p", "top_k", "n", "tools", "tool_choice", "functions",
        "function_call", "parallel_tool_calls", "response_format", "reasoning_effort", "thinking",
        "user", "safety_identifier", "metadata", "modalities", "service_tier", "cache_control",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", *_HINTS, *_NEEDED,
    }
)  # fmt: skip
"""What is translated, needs no word (of caching and routing), or is dropped by name."""


def from_chat(
    request: dict[str, Any],
    *,
    max_output_tokens: int,
    sampling: bool,
    version_2026: bool,
    temperature_max: float = 1.0,
    cache_ttl: str = "5m",
    efforts: Collection[str] = EFFORTS,
) -> Translated:
    """The body for `POST /v1/messages`.

    Args:
        request: A chat request in normal form.
        max_output_tokens: The model's own limit, for requests that set none.
        sampling: The model takes temperature, top_p and top_k; version 2026-10-21 never does.
        version_2026: The body goes out under API version 2026-10-21, which also takes system
            messages in the conversation.
        temperature_max: A higher temperature is lowered to it.
        cache_ttl: Lifetime of what a `prompt_cache_breakpoint` marks: 5m or 1h.
        efforts: What the model knows of `output_config.effort`.

    Raises:
        Untranslatable: It asks for what the provider can't give, or isn't formed as it has to be.
    """
    request, folded = fold_cache_markers(request)
    warnings = list(folded)
    _refuse_needed(request)
    limit = _max_tokens(request, max_output_tokens)
    said = turns(
        list_at(request.get("messages"), "messages"),
        warnings,
        system_in_place=version_2026,
        cache_ttl=cache_ttl,
    )
    body: dict[str, Any] = {"model": request.get("model"), "max_tokens": limit}
    if said.system is not None:
        body["system"] = said.system
    body["messages"] = said.messages
    put_native_tools(request, body)
    _put_stop(request, body, warnings)
    _put_sampling(request, body, warnings, sampling and not version_2026, temperature_max)
    _put_output(request, body, warnings, efforts)
    _put_user(request, body, warnings)
    _put_tier(request, body, warnings)
    for name in ("stream", "cache_control"):
        if request.get(name) is not None:
            body[name] = request[name]
    refuse_too_many(body)
    warnings += [dropped(name) for name in _HINTS if is_set(request.get(name))]
    drop_unknown(request, _KNOWN, warnings)
    return Translated(body, tuple(dict.fromkeys(warnings)))


def _refuse_needed(request: dict[str, Any]) -> None:
    for name, reason in _NEEDED.items():
        value = request.get(name)
        if is_set(value) or isinstance(value, dict):  # an empty object asks for the defaults
            raise Untranslatable(f"{name}: {reason}", name)
    if (choices := request.get("n")) is not None and count_at(choices, "n", least=1) > 1:
        raise Untranslatable("n has to be 1: the model gives one choice per request", "n")
    if any(name != "text" for name in optional_list(request, "modalities")):
        raise Untranslatable("modalities: the model answers in text only", "modalities")


def _max_tokens(request: dict[str, Any], default: int) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        if (limit := request.get(name)) is not None:
            return count_at(limit, name, least=1)
    return default


def _put_stop(request: dict[str, Any], body: dict[str, Any], warnings: list[str]) -> None:
    stop = request.get("stop")
    if stop is None:
        return
    asked = [stop] if isinstance(stop, str) else list_at(stop, "stop")
    texts = [text_at(text, f"stop[{place}]") for place, text in enumerate(asked)]
    if visible := [text for text in texts if text.strip()]:
        body["stop_sequences"] = visible
    if len(visible) < len(texts):
        warnings.append("stop: sequences of white space only were dropped")


def _put_sampling(
    request: dict[str, Any],
    body: dict[str, Any],
    warnings: list[str],
    sampling: bool,
    temperature_max: float,
) -> None:
    for name in ("temperature", "top_p", "top_k"):
        value = request.get(name)
        if value is None:
            continue
        number = number_at(value, name)
        if not sampling:
            warnings.append(dropped(name, "isn't taken by the model"))
        elif name == "temperature" and number > temperature_max:
            warnings.append(f"temperature was lowered to {temperature_max:g}, the model's highest")
            body[name] = temperature_max
        elif name != "top_p" or number != 1 or "temperature" not in body:
            # a top_p of 1 changes nothing, but newer models refuse it beside a temperature
            body[name] = value


def _put_output(
    request: dict[str, Any], body: dict[str, Any], warnings: list[str], efforts: Collection[str]
) -> None:
    output_config: dict[str, Any] = {}
    put_effort(request, body, output_config, warnings, efforts)
    _put_format(request, output_config, warnings)
    if output_config:
        body["output_config"] = output_config


def _put_format(
    request: dict[str, Any], output_config: dict[str, Any], warnings: list[str]
) -> None:
    if request.get("response_format") is None:
        return
    wanted = object_at(request["response_format"], "response_format")
    match wanted.get("type"):
        case "text":
            pass
        case "json_schema":
            at = "response_format.json_schema"
            schema = object_at(wanted.get("json_schema"), at).get("schema")
            schema = object_at(schema, f"{at}.schema")
            output_config["format"] = {"type": "json_schema", "schema": schema}
        case "json_object":
            warnings.append(dropped("response_format json_object"))
        case _:
            raise Untranslatable(
                "response_format.type has to be one of text, json_object, json_schema",
                "response_format.type",
            )


def _put_user(request: dict[str, Any], body: dict[str, Any], warnings: list[str]) -> None:
    for name in ("user", "safety_identifier"):
        if user := request.get(name):
            text = text_at(user, name)
            if len(text) > MAX_USER_ID_CHARS or _PERSONAL.fullmatch(text):
                warnings.append(
                    f"{name} was dropped: a user id is at most {MAX_USER_ID_CHARS} characters and"
                    " neither an e-mail address nor a telephone number"
                )
            else:
                body["metadata"] = {"user_id": text}
            return


def _put_tier(request: dict[str, Any], body: dict[str, Any], warnings: list[str]) -> None:
    if (tier := request.get("service_tier")) is None:
        return
    if native := _TIERS.get(text_at(tier, "service_tier")):
        body["service_tier"] = native
    else:
        warnings.append(dropped("service_tier"))
