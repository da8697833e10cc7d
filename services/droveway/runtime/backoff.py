"""Waiting times between attempts: pure functions of the attempt number."""

import random

_dice = random.Random()  # noqa: S311 - waits, not secrets
"""Its own: whoever seeds the shared one would have all processes wait alike."""


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float) -> float:
    """A random wait in `[0, min(cap_s, base_s * 2**attempt)]`, attempts counted from 0.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return _dice.uniform(0, min(cap_s, base_s * 2 ** min(attempt, 32)))
