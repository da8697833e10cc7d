"""In which order the targets of one tier are tried, as the strategy of their route says.

Each target comes by after a time that is the shorter, on average, the larger its weight; whoever
comes by first wins as often as its weight says. With dice the times are new for each request. Made
of a prompt's prefix they are the same in every router, and each target's is its own affair: one
that is added or removed moves only the prompts that it wins or has won.
"""

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from droveway.contracts.config import Strategy
from droveway.contracts.dispatch import Target
from droveway.contracts.envelope import NanoUsd
from droveway.contracts.inference import InferenceRequested, user_hash

_BITS = 53
"""Of a share: as many as a float holds."""


class Choice(NamedTuple):
    """One place where a tier's requests can go: each credential is one of its own."""

    target: Target
    weight: float
    place: int = 0
    """Among the choices of its tier."""


class Order(NamedTuple):
    """What decides between the choices of one tier."""

    dice: random.Random
    first_token_s: Callable[[Target], float]
    """What a target lately took; 0 where that isn't known, so that it is found out."""
    cost: Callable[[InferenceRequested, Target], NanoUsd]
    """What a request would cost there."""

    def arranged(
        self, strategy: Strategy, choices: Sequence[Choice], request: InferenceRequested
    ) -> Sequence[Choice]:
        """The choices in the order in which the request tries them."""
        if len(choices) == 1:
            return choices
        match strategy:
            case "weighted":
                return self._by_chance(choices)
            case "fastest":
                return sorted(
                    self._by_chance(choices), key=lambda choice: self.first_token_s(choice.target)
                )
            case "cheapest":
                return sorted(
                    self._by_chance(choices), key=lambda choice: self.cost(request, choice.target)
                )
            case "cached":
                return by_prefix(prefix_of(request), choices)

    def _by_chance(self, choices: Sequence[Choice]) -> list[Choice]:
        draw = self.dice.random
        return sorted(choices, key=lambda choice: comes_by(1 - draw(), choice.weight))


def by_prefix(prefix: bytes, choices: Sequence[Choice]) -> list[Choice]:
    """The choices in the order in which each prompt with this prefix tries them.

    Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998; with
    weights: Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005.
    """
    return sorted(
        choices, key=lambda choice: comes_by(_share(prefix, choice.target), choice.weight)
    )


def prefix_of(request: InferenceRequested) -> bytes:
    """What stands for the beginning of its prompt; without one, for its user."""
    return request.prefix or request.user or user_hash(request.tenant, key_id=request.key_id)


def comes_by(share: float, weight: float) -> float:
    """When a target comes by: exponentially distributed, with its weight as the rate.

    Args:
        share: Evenly distributed, above 0, at most 1.
        weight: Above 0.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
    """
    return -math.log(share) / weight


def _share(prefix: bytes, target: Target) -> float:
    """Above 0, at most 1; the same in every process."""
    name = f"{target.provider}\0{target.credential}\0{target.model}".encode()
    digest = hashlib.blake2b(name, digest_size=8, key=prefix).digest()
    return ((int.from_bytes(digest, "big") >> (64 - _BITS)) + 0.5) / (1 << _BITS)
