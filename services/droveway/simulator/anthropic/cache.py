"""Prefixes kept where a marker asked for it: written the first time, read afterwards.

Source: platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from droveway.simulator.anthropic.segments import Segment, total_tokens
from droveway.simulator.tokens import MIN_CACHED_TOKENS, CacheCreation, MessagesUsage

LOOK_BACK_BLOCKS = 20
"""How far before a marker an earlier prefix may end and still be found."""
_LIFETIMES_S = {"5m": 300.0, "1h": 3600.0}


class BreakpointCache:
    """Remembers where kept prefixes ended, by their hashes; the least used go first."""

    def __init__(self, limit: int, now_s: Callable[[], float]) -> None:
        self._limit = limit
        self._now_s = now_s
        self._kept: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def usage(self, owner: str, laid: list[Segment], output_tokens: int) -> MessagesUsage:
        """Account for a prompt and keep what it marks; `owner` shares nothing with others."""
        chain = _chain(owner, laid)
        marked = [
            index
            for index, segment in enumerate(laid)
            if segment.ttl and total_tokens(laid[: index + 1]) >= MIN_CACHED_TOKENS
        ]
        found = self._longest(chain, marked)
        read = at = total_tokens(laid[: found + 1])
        written = {"5m": 0, "1h": 0}
        for index in marked:
            if index > found:
                ttl = laid[index].ttl or "5m"
                end = total_tokens(laid[: index + 1])
                written[ttl] += end - at
                at = end
                self._keep(chain[index], ttl)
        return MessagesUsage(
            input_tokens=total_tokens(laid) - at,
            cache_creation_input_tokens=sum(written.values()),
            cache_read_input_tokens=read,
            cache_creation=CacheCreation(
                ephemeral_5m_input_tokens=written["5m"], ephemeral_1h_input_tokens=written["1h"]
            ),
            output_tokens=output_tokens,
        )

    def clear(self) -> None:
        """Forget every prefix."""
        self._kept.clear()

    def _longest(self, chain: list[bytes], marked: list[int]) -> int:
        """Find where the longest kept prefix ends; -1: there is none. What is read lives on."""
        for marker in reversed(marked):
            for index in range(marker, max(-1, marker - LOOK_BACK_BLOCKS - 1), -1):
                ttl, until_s = self._kept.get(chain[index], ("", 0.0))
                if ttl and until_s > self._now_s():
                    self._keep(chain[index], ttl)
                    return index
        return -1

    def _keep(self, digest: bytes, ttl: str) -> None:
        self._kept[digest] = (ttl, self._now_s() + _LIFETIMES_S[ttl])
        self._kept.move_to_end(digest)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)


def _chain(owner: str, laid: list[Segment]) -> list[bytes]:
    running = hashlib.blake2b(owner.encode(), digest_size=16)
    chain: list[bytes] = []
    for segment in laid:
        running.update(len(segment.content).to_bytes(8, "big") + segment.content)
        chain.append(running.copy().digest())
    return chain
