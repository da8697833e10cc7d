"""Usage as chat completions and Anthropic tell it, to and from the counts that all dialects share.

Chat counts all input in one number and says what part of it was cached; Anthropic counts beside
each other what was read from its cache, what was written to it, and the rest.
Source: OpenAI API reference, chat completions; Anthropic API reference, messages; 2026-11.
"""

from typing import Any

import msgspec

from droveway.contracts.relay import Usage

_MAX_TOKENS = 2**53


def added(one: Usage, other: Usage) -> Usage:
    """What two answers took together; an estimate if either of them is."""
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        estimated=one.estimated or other.estimated,
        cache_write_1h_tokens=one.cache_write_1h_tokens + other.cache_write_1h_tokens,
    )


class _InputDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    """Our own extension."""


class _OutputDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct, frozen=True):
    """Usage of a chat completion, in OpenAI's shape and its relatives'."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's own spelling."""
    cached_tokens: int | None = None
    """Moonshot's own spelling."""

    def counted(self) -> Usage | None:
        """In our words, what is below zero as nothing; None where it counts nothing at all."""
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        read = self.prompt_tokens_details or _InputDetails()
        written = self.completion_tokens_details or _OutputDetails()
        cached = read.cached_tokens or self.prompt_cache_hit_tokens or self.cached_tokens
        return Usage(
            input_tokens=_bounded(self.prompt_tokens),
            output_tokens=_bounded(self.completion_tokens),
            cache_read_tokens=_bounded(cached),
            cache_write_tokens=_bounded(read.cache_write_tokens),
            reasoning_tokens=_bounded(written.reasoning_tokens),
            cache_write_1h_tokens=_bounded(read.cache_write_1h_tokens),
        )


def chat_usage(usage: Usage) -> dict[str, Any]:
    """As a chat completion tells it; an estimate of ours says so."""
    read: dict[str, int] = {
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "audio_tokens": 0,
    }
    if usage.cache_write_1h_tokens:
        read["cache_write_1h_tokens"] = usage.cache_write_1h_tokens
    return ({"estimated": True} if usage.estimated else {}) | {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": read,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class _CacheCreation(msgspec.Struct, frozen=True):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _OutputTokensDetails(msgspec.Struct, frozen=True):
    thinking_tokens: int | None = None


_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class AnthropicUsage(msgspec.Struct, frozen=True):
    """Usage of an Anthropic message, whole or as far as one event of a stream tells it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputTokensDetails | None = None

    def merged(self, later: "AnthropicUsage") -> "AnthropicUsage":
        """With what a later event counts; each count is of the whole answer until then.

        An event without any input leaves the input as it was: some relays end with zeros there,
        and no answer is made from nothing.
        """
        counts = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(later, name)) is not None
        }
        if not any(counts.get(name) for name in _INPUT_COUNTS):
            for name in (*_INPUT_COUNTS, "cache_creation"):
                counts.pop(name, None)
        return msgspec.structs.replace(self, **counts)

    def counted(self) -> Usage:
        """In our words: the input is all of it."""
        split = self.cache_creation or _CacheCreation()
        of_an_hour = _bounded(split.ephemeral_1h_input_tokens)
        written = _bounded(self.cache_creation_input_tokens)
        if self.cache_creation_input_tokens is None:
            written = _bounded(split.ephemeral_5m_input_tokens) + of_an_hour
        read = _bounded(self.cache_read_input_tokens)
        details = self.output_tokens_details or _OutputTokensDetails()
        return Usage(
            input_tokens=min(_MAX_TOKENS, _bounded(self.input_tokens) + read + written),
            output_tokens=_bounded(self.output_tokens),
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=_bounded(details.thinking_tokens),
            cache_write_1h_tokens=min(of_an_hour, written),
        )


def anthropic_usage(usage: Usage) -> dict[str, Any]:
    """As an Anthropic message tells it: the input without what was read from or put in the cache.

    The split by lifetime stands in a stream's `message_delta` too, which Anthropic's own lacks:
    there `message_start` has it, when we don't know it yet.
    """
    rest = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    of_an_hour = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
    counts: dict[str, Any] = {
        "input_tokens": max(0, rest),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - of_an_hour,
            "ephemeral_1h_input_tokens": of_an_hour,
        },
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def _bounded(tokens: int | None) -> int:
    """A provider's number as one that fits the wire."""
    return min(_MAX_TOKENS, max(0, tokens or 0))
