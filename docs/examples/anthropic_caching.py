"""A long system prompt that is cached, and how often the cache was hit (anthropic-python).

The marker is a field of the block that ends the cached part, not a block of its own. It lives five
minutes after its last use, or an hour (`"ttl": "1h"`). Prompts shorter than the model's minimum
(1024 tokens for many) aren't cached, which is no error. Writing costs 1.25 times the input price,
reading a tenth of it. `input_tokens` doesn't include what was read or written.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os
from typing import Any

import anthropic

RULES = "\n".join(f"Rule {number}: answer politely, briefly and truly." for number in range(400))
SYSTEM = [{"type": "text", "text": RULES, "cache_control": {"type": "ephemeral"}}]

client = anthropic.Anthropic(
    base_url=os.environ["DROVEWAY_URL"], api_key=os.environ["DROVEWAY_KEY"]
)


def hit_rate(usage: Any) -> float:
    """The part of the whole input that came from the cache."""
    read = usage.cache_read_input_tokens or 0
    whole = usage.input_tokens + (usage.cache_creation_input_tokens or 0) + read
    return read / whole if whole else 0.0


for question in ("How can I pay?", "When are you open?"):
    message = client.messages.create(
        model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
        max_tokens=200,
        system=SYSTEM,
        messages=[{"role": "user", "content": question}],
    )
    usage = message.usage
    print(f"{usage.input_tokens} new, {usage.cache_creation_input_tokens} written, ", end="")
    print(f"{usage.cache_read_input_tokens} read: {hit_rate(usage):.0%} from the cache")
