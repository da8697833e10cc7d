"""What stands for the beginning of a prompt, so that a conversation goes where that is cached.

Providers cache a prompt from its beginning: tools, then the system prompt, then messages. All turns
of a conversation share what comes before the end of its user's first message, so that is what is
hashed, some of each part. Tenants never share a hash.
"""

import hashlib
from typing import Any

import msgspec

from droveway.contracts.config import Config

_PART = 1_536
"""Characters of the tools, of the system prompt and of the user's first message: what lies behind
differs seldom where this doesn't, and such prompts merely go to the same target."""
_LEAST = 8
"""What each value counts for at least: many small ones take as long as some text."""
_UNSTEADY = "cache_control"
"""Clients move it to newer blocks from turn to turn."""
_encode = msgspec.json.Encoder().encode


class PromptPrefixes:
    """Computes them while the configuration has a route that goes by them."""

    def __init__(self) -> None:
        self._wanted = False

    def configure(self, config: Config) -> None:
        """Takes another configuration."""
        self._wanted = any(route.strategy == "cached" for route in config.routes)

    def of(self, tenant: str, request: dict[str, Any]) -> bytes:
        """16 bytes; none where no route wants them, or the request is no prompt.

        Args:
            tenant: Whose request it is.
            request: A checked one, for a chat or a message.
        """
        if not self._wanted or not (said := _said(request)):
            return b""
        return hashlib.blake2b(b"\0".join(said), digest_size=16, key=tenant.encode()).digest()


def _said(request: dict[str, Any]) -> list[bytes]:
    """The client's own word for what it shares with others, else how it begins."""
    said: list[bytes] = []
    named = request.get("prompt_cache_key")
    if isinstance(named, str) and named:
        _take(named, said, _PART)
        return said
    messages = request.get("messages")
    if not isinstance(messages, list):
        return said
    _take_tools(request.get("tools") or request.get("functions"), said)
    left = _take(request.get("system"), said, _PART)
    for message in messages:
        if message.get("role") == "user":
            _take(message.get("content"), said, _PART)
            break
        left = _take(message.get("content"), said, left)
    return said


def _take_tools(tools: Any, said: list[bytes]) -> None:
    """One after the other, since that is quicker than value by value."""
    left = _PART
    for tool in tools if isinstance(tools, list) else ():
        if left <= 0:
            break
        if isinstance(tool, dict) and _UNSTEADY in tool:
            tool = {name: value for name, value in tool.items() if name != _UNSTEADY}
        said.append(_encode(tool)[:left])
        left -= max(_LEAST, len(said[-1]))


def _take(value: Any, said: list[bytes], left: int) -> int:
    """Takes the texts in a part until so many characters are; returns how many are left."""
    if left <= 0:
        return left
    if isinstance(value, str):
        said.append(value[:left].encode("utf-8", "surrogatepass"))
        return left - max(_LEAST, len(value))
    if isinstance(value, list):
        for one in value:
            if (left := _take(one, said, left)) <= 0:
                break
        return left - _LEAST
    if isinstance(value, dict):
        if isinstance(text := value.get("text"), str):  # a block of text is as good as the text
            return _take(text, said, left)
        for name, inner in value.items():
            if name != _UNSTEADY and (left := _take(inner, said, _take(name, said, left))) <= 0:
                break
        return left - _LEAST
    return left - _LEAST
