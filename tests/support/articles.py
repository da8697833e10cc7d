"""The place where the articles' clients come: a stack that serves the models that they name."""

import json
from typing import Any

import msgspec

from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier
from droveway.simulator.book import Entry
from tests.support.stack import Stack

MODELS = ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2")
STAINLESS = {
    "accept": "application/json",
    "x-stainless-lang": "python",
    "x-stainless-async": "false",
    "x-stainless-retry-count": "0",
    "x-stainless-read-timeout": "600",
}
"""Headers of both official SDKs for Python."""


def configured(config: Config) -> Config:
    """Claude's names at a provider of Anthropic's dialect, all others at one of OpenAI's."""
    [first] = config.providers
    claude: Provider = msgspec.structs.replace(
        first, id="claude", dialect="anthropic", kind="anthropic"
    )
    tier = Tier(targets=(RouteTarget(provider="claude"),))
    listed = msgspec.structs.replace(first, models=MODELS)
    routes = (Route(model="claude-*", tiers=(tier,)), *config.routes)
    return msgspec.structs.replace(config, providers=(listed, claude), routes=routes)


def base(stack: Stack) -> str:
    """What stands where the articles have `https://api.holysheep.ai/v1`."""
    return f"{stack.url}/v1"


def json_headers(stack: Stack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"}


def sent(stack: Stack) -> tuple[Entry, dict[str, Any]]:
    """What the provider got last."""
    entry = stack.simulator.book.entries[-1]
    body = stack.simulator.book.body(entry.id)
    assert body is not None
    decoded: dict[str, Any] = json.loads(body)
    return entry, decoded
