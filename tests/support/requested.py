"""A request as routers get it, and an order that leaves everything to chance."""

import random
from typing import Any

import msgspec

from droveway.contracts.inference import InferenceRequested
from droveway.router.order import Order
from tests.contracts.samples import SHORT

_SAMPLE = next(one for one in SHORT if isinstance(one, InferenceRequested))


def requested(**fields: Any) -> InferenceRequested:
    """A request that has these fields; else as short as can be."""
    return msgspec.structs.replace(_SAMPLE, **fields)


def by_chance(seed: int = 7) -> Order:
    """An order of seeded dice, to which all targets are as quick, and cost nothing."""
    return Order(random.Random(seed), lambda _target: 0.0, lambda _request, _target: 0)
