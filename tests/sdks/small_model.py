"""What a real model of 270 million parameters is asked, and what it is sure to know."""

from typing import Any

QUESTION = "What is the capital of France?"
CAPITAL = "Paris"
WEATHER_QUESTION = "What is the weather in Paris?"
WEATHER = "rain, 12 degrees"
"""What a tool found out: the model repeats it."""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "get_weather": {"city": CAPITAL, "days": 1},
    "get_time": {"zone": "CET"},
    "ping": {},
}
"""Calls of the tools, which it doesn't make by itself."""

ENOUGH_TOKENS = 30
"""Bounds what it might repeat for ever."""
LONG_TOKENS = 150
ENDLESS = {"temperature": 0, "ignore_eos": True}
"""llama.cpp's own fields for an answer up to its limit, beside a stop text that never comes."""
TOO_LONG = "x " * 9_000
"""More than the 8192 tokens of its context."""


def asking(model: str) -> dict[str, Any]:
    """A question that it answers in one sentence; some SDKs have no word for the temperature."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "extra_body": {"temperature": 0},
        "timeout": 50,
    }
