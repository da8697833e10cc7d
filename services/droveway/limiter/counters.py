"""Names of counters, which stand in the log, and what they say.

A name has neither the limit of a window nor who asked, so that a new configuration keeps what was
counted. With a burst it has both numbers, since they turn amounts into time; the state is kept
under `base`, without them.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple

Kind = Literal["requests", "tokens", "input_tokens", "output_tokens", "concurrency"]
KINDS: tuple[Kind, ...] = ("requests", "tokens", "input_tokens", "output_tokens", "concurrency")
REQUESTS, TOKENS, INPUT, OUTPUT, CONCURRENCY = range(5)
NUMBERS: Mapping[str, int] = MappingProxyType({kind: number for number, kind in enumerate(KINDS)})
"""A kind's place in `KINDS`, and in every tuple of amounts by kind."""
EVERYBODY = "m"
"""The scope of limits over all tenants together."""
_KNOWN = 100_000
_NS_PER_MS = 1_000_000


class Counter(NamedTuple):
    """What a name says."""

    base: str
    """The name of its state."""
    scope: str
    kind: int
    window_ms: int
    unit_ns: int
    """With a burst: how long one of it takes to drain; 0 for a window."""
    burst: int
    of_place: bool
    """A credential's: counts attempts."""
    model: str


def key_scope(key_id: str) -> str:
    """The scope of one key."""
    return f"k:{key_id}"


def tenant_scope(tenant: str) -> str:
    """The scope of one tenant."""
    return f"t:{tenant}"


def place_scope(target: str) -> str:
    """The scope of one credential, `<provider>/<credential>`."""
    return f"c:{target}"


def counter_name(
    scope: str, kind: int, window_ms: int, model: str = "*", burst: int = 0, limit: int = 0
) -> str:
    """The name by which the log knows a counter."""
    if kind == CONCURRENCY:
        window_ms = 0
    rate = f":{burst}/{limit}" if burst else ""
    suffix = "" if model == "*" else f"|{model}"
    return f"{scope}|{KINDS[kind]}|{window_ms}{rate}{suffix}"


@lru_cache(_KNOWN)
def parse(name: str) -> Counter:
    """What `counter_name` put together.

    Raises:
        ValueError: It isn't a name of a counter.
    """
    scope, kind, window, *rest = name.split("|", 3)
    window_text, _, rate = window.partition(":")
    burst, _, limit = rate.partition("/")
    window_ms = int(window_text)
    unit_ns = -(-window_ms * _NS_PER_MS // int(limit)) if rate else 0
    model = rest[0] if rest else "*"
    number = NUMBERS.get(kind)
    if number is None:
        raise ValueError(f"{name[:100]!r} is no counter: the kind is one of {', '.join(KINDS)}")
    base = counter_name(scope, number, window_ms, model)
    if rate:
        base += "|burst"
    return Counter(
        base, scope, number, window_ms, unit_ns, int(burst or 0), scope.startswith("c:"), model
    )
