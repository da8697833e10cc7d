"""What one request and one attempt come to, in the words of the GenAI conventions.

Services fill these in; `genai_metrics` makes metrics of them. Times are in seconds, None where
there is no such time; an empty text is left out.
"""

from typing import NamedTuple

import msgspec

OPERATIONS = {
    "chat.completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "openai.chat": "chat",
    "anthropic.messages": "chat",
    "openai.embeddings": "embeddings",
}
"""`gen_ai.operation.name` by what the door was asked for, and by the dialect of an attempt."""


class ServerRequest(NamedTuple):
    """One request that the gateway has served."""

    operation: str
    provider: str
    model: str
    """As the client asked for it."""
    response_model: str
    error: str
    """Our code; empty when it ended well."""
    duration_s: float
    first_token_s: float | None
    per_token_s: float | None


class ClientAttempt(NamedTuple):
    """One attempt that a caller has made at a provider."""

    operation: str
    provider: str
    model: str
    """As it was asked of the provider."""
    response_model: str
    error: str
    server_address: str
    server_port: int
    duration_s: float
    first_chunk_s: float | None
    """Of a stream, as the next one."""
    per_chunk_s: float | None
    """The mean over its chunks after the first one."""
    counted: bool
    """The provider told the tokens; estimates aren't recorded."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class OtlpStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the metrics so far; counts since the start."""

    recorded: int = 0
    """Requests and attempts."""
    exported: int = 0
    """Exports that the endpoint confirmed."""
    failed: int = 0
    """Exports that it refused or didn't confirm in time; the next one tells the same and more."""
