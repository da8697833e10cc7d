"""Prompt tokens, cached prefixes and usage, as plausible as four bytes a token can be."""

import hashlib
from collections import OrderedDict

import msgspec

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 85
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


def count(text: bytes) -> int:
    """Count the tokens of a text: four bytes each, rounded up."""
    return -(-len(text) // BYTES_PER_TOKEN)


def usage(prompt: bytes, images: int, cached_tokens: int, completion_tokens: int) -> Usage:
    """Account for one answer to one prompt."""
    text_tokens = count(prompt)
    prompt_tokens = text_tokens + images * IMAGE_TOKENS
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptTokens(
            cached_tokens=cached_tokens,
            text_tokens=text_tokens,
            image_tokens=prompt_tokens - text_tokens,
        ),
        completion_tokens_details=CompletionTokens(text_tokens=completion_tokens),
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
