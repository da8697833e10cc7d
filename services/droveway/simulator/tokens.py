"""Prompt tokens, cached prefixes and usage, as plausible as four bytes a token can be."""

import hashlib
from collections import OrderedDict

import msgspec

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 85
AUDIO_TOKENS = 100
BLOCK_TOKENS = 128
MIN_CACHED_TOKENS = 1024


class PromptTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What the prompt's tokens were."""

    cached_tokens: int
    cache_write_tokens: int = 0
    audio_tokens: int = 0
    text_tokens: int
    image_tokens: int


class CompletionTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer's tokens were."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    text_tokens: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's usage object."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens
    completion_tokens_details: CompletionTokens


class CacheCreation(msgspec.Struct, frozen=True, kw_only=True):
    """What was written to the cache, by how long it is kept."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class OutputTokens(msgspec.Struct, frozen=True):
    """What a part of the answer's tokens was."""

    thinking_tokens: int


class MessagesUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Anthropic's usage object; `input_tokens` is neither read from nor written to the cache."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation = CacheCreation()
    output_tokens: int
    output_tokens_details: OutputTokens | None = None
    service_tier: str = "standard"


def count(text: bytes) -> int:
    """Count the tokens of a text: four bytes each, rounded up."""
    return -(-len(text) // BYTES_PER_TOKEN)


def usage(
    prompt: bytes,
    images: int,
    cached_tokens: int,
    completion_tokens: int,
    *,
    audios: int = 0,
    reasoning_tokens: int = 0,
) -> Usage:
    """Account for one answer to one prompt; reasoning is a part of the completion."""
    text_tokens = count(prompt)
    image_tokens, audio_tokens = images * IMAGE_TOKENS, audios * AUDIO_TOKENS
    prompt_tokens = text_tokens + image_tokens + audio_tokens
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptTokens(
            cached_tokens=cached_tokens,
            audio_tokens=audio_tokens,
            text_tokens=text_tokens,
            image_tokens=image_tokens,
        ),
        completion_tokens_details=CompletionTokens(
            reasoning_tokens=reasoning_tokens, text_tokens=completion_tokens - reasoning_tokens
        ),
    )


class PrefixCache:
    """Prefixes seen before, as chained hashes of blocks of 128 tokens; the least used go first.

    Source: platform.openai.com/docs/guides/prompt-caching, from 1024 tokens in steps of 128.
    """

    def __init__(self, limit_blocks: int) -> None:
        self._limit_blocks = limit_blocks
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def cached_tokens(self, model: str, prompt: bytes) -> int:
        """Count the tokens of the longest prefix that this model saw before, and remember all."""
        known_blocks = 0
        unbroken = True
        for digest in _chain(model, prompt):
            unbroken = unbroken and digest in self._seen
            known_blocks += unbroken
            self._seen[digest] = None
            self._seen.move_to_end(digest)
        while len(self._seen) > self._limit_blocks:
            self._seen.popitem(last=False)
        cached = known_blocks * BLOCK_TOKENS
        return cached if cached >= MIN_CACHED_TOKENS else 0

    def clear(self) -> None:
        """Forget every prefix."""
        self._seen.clear()


def _chain(model: str, prompt: bytes) -> list[bytes]:
    block_bytes = BLOCK_TOKENS * BYTES_PER_TOKEN
    chain: list[bytes] = []
    running = hashlib.blake2b(model.encode(), digest_size=16)
    for start in range(0, len(prompt) - block_bytes + 1, block_bytes):
        running.update(prompt[start : start + block_bytes])
        chain.append(running.copy().digest())
    return chain
