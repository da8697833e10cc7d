"""How many tokens a prompt or an answer may have, where its provider hasn't said. Pure."""

from typing import Any

BYTES_PER_TOKEN = 4
"""Of UTF-8, as English and Chinese text have it on average; code has fewer."""
IMAGE_TOKENS = 1_600
"""Of one image, as Anthropic counts the largest that it doesn't shrink. Source: Anthropic's guide
to vision, 2026-11."""
_FILE_BYTES_PER_TOKEN = 20
"""Of a document in base64: a page of 100 kB has some thousand tokens."""
_OPAQUE = frozenset({"data", "signature", "file_data"})


def body_tokens(body: bytes) -> int:
    """A quick estimate for a request whose body isn't decoded: names and brackets count too."""
    return len(body) // BYTES_PER_TOKEN


def prompt_tokens(request: dict[str, Any]) -> int:
    """An estimate for the parts of a request that the model reads, at least 1."""
    parts = (request.get(name) for name in ("system", "messages", "tools", "input", "prompt"))
    return max(1, sum(_tokens(part) for part in parts))


def _tokens(value: Any) -> int:
    match value:
        case str():
            return -(-len(value.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
        case list():
            return sum(_tokens(one) for one in value)
        case {"type": "image" | "image_url" | "input_image"}:
            return IMAGE_TOKENS
        case dict():
            return sum(
                len(inner) // _FILE_BYTES_PER_TOKEN
                if name in _OPAQUE and isinstance(inner, str)
                else _tokens(inner)
                for name, inner in value.items()
            )
        case _:
            return 1 if value is not None else 0
