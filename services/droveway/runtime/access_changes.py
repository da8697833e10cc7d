"""What can be done to a key or a tenant besides setting its fields."""

from typing import TypeVar

import msgspec

from droveway.contracts.access import Budget, Key, Tenant
from droveway.runtime.access_checks import after
from droveway.runtime.access_errors import EntryInvalid
from droveway.runtime.api_key import hash_key

MAX_OVERLAP_S = 31 * 86_400.0
"""A former secret is good for so long at most."""
_MIN_USD, _MAX_USD = 1e-9, 1e9

E = TypeVar("E", Key, Tenant)


def rotated(key: Key, secret: str, overlap_s: float) -> Key:
    """The key with `secret` in place of its present one, which stays good for `overlap_s`.

    A secret of an earlier rotation is good no more.

    Raises:
        EntryInvalid: The overlap is negative or too long.
    """
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        raise EntryInvalid(f"overlap_s: {overlap_s:g}; expected 0 to {MAX_OVERLAP_S:g} seconds")
    return msgspec.structs.replace(
        key,
        sha256=hash_key(secret),
        previous_sha256=key.sha256 if overlap_s else "",
        previous_until=after(overlap_s) if overlap_s else "",
    )


def topped_up(entry: E, usd: float) -> E:
    """The entry with so much more credit: its budget for `total`, made if there is none.

    Raises:
        EntryInvalid: The sum isn't positive, or the credit becomes too large.
    """
    if not usd >= _MIN_USD:
        raise EntryInvalid(f"usd: {usd:g}; expected at least {_MIN_USD:g}")
    budgets = [*entry.budgets]
    at = next((n for n, budget in enumerate(budgets) if budget.period == "total"), None)
    present = 0.0 if at is None else budgets[at].usd
    total = round(present + usd, 9)
    if total > _MAX_USD:
        raise EntryInvalid(f"usd: the credit would be {total:g}; at most {_MAX_USD:g} US dollars")
    if at is None:
        budgets.append(Budget(usd=total, period="total"))
    else:
        budgets[at] = msgspec.structs.replace(budgets[at], usd=total)
    return msgspec.structs.replace(entry, budgets=tuple(budgets))
