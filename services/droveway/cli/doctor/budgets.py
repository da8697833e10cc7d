"""Asks the limiter how much of each budget is spent: for keys, and tenants by one of their keys."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from droveway.cli.doctor.evidence import LocalFile, Spending, Spendings, Unasked, known
from droveway.contracts.access import Key, Tenant
from droveway.contracts.config import Config
from droveway.runtime.bus import Bus
from droveway.runtime.config.entries import Standing
from droveway.runtime.standing import ask_standing

MOST_KEYS = 200
"""Asked about at one look."""
AT_ONCE = 20
"""Questions on their way: the owner has more to do."""


class Holders(NamedTuple):
    """Keys and tenants in force, by id."""

    keys: dict[str, Key]
    tenants: dict[str, Tenant]


Keys = asyncio.Task[list[Key] | Unasked]
Tenants = asyncio.Task[list[Tenant] | Unasked]
Applied = asyncio.Task[Standing | Unasked]


async def ask_budgets(
    bus: Bus, keys: Keys, tenants: Tenants, applied: Applied, file: LocalFile
) -> Spendings:
    """Where all budgets stand, once it is known who has one.

    Raises:
        StandingUnknown: No limiter tells.
    """
    # Shielded: whoever gives this up mustn't take the answers from others.
    entries, payers = await asyncio.shield(keys), await asyncio.shield(tenants)
    standing = await asyncio.shield(applied)
    there = standing.applied if isinstance(standing, Standing) else None
    holders = in_force(there.config if there else file.config, known(entries), known(payers))
    asked = [*payers_of(holders)]
    free = asyncio.Semaphore(AT_ONCE)

    async def ask(key: Key) -> list[Spending]:
        async with free:
            report = await ask_standing(bus, key)
        return [
            Spending(f"tenant {key.tenant}" if one.scope == "tenant" else f"key {key.id}", one)
            for one in report.budgets
        ]

    answers = await asyncio.gather(*map(ask, asked[:MOST_KEYS]))
    found = {(one.whose, one.standing.period): one for answer in answers for one in answer}
    return Spendings([*found.values()], max(0, len(asked) - MOST_KEYS))


def in_force(config: Config | None, keys: Sequence[Key], tenants: Sequence[Tenant]) -> Holders:
    """Those of the store, and of the configuration, which wins."""
    filed_keys = config.keys if config else ()
    filed_tenants = config.tenants if config else ()
    return Holders(
        {one.id: one for one in (*keys, *filed_keys)},
        {one.id: one for one in (*tenants, *filed_tenants)},
    )


def payers_of(holders: Holders) -> Iterator[Key]:
    """Keys that have budgets, and one key of each tenant that has some; active ones only."""
    told: set[str] = set()
    rich = {one.id for one in holders.tenants.values() if one.budgets}
    for key in _own_first(holders.keys.values()):
        if key.state != "active":
            continue
        if key.budgets or (key.tenant in rich and key.tenant not in told):
            told.add(key.tenant)
            yield key


def _own_first(keys: Iterable[Key]) -> list[Key]:
    """Those that are asked about anyway tell of their tenants, too."""
    return sorted(keys, key=lambda one: not one.budgets)
