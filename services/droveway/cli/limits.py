"""`droveway limits` and `budgets`: set for a key or a tenant, and shown as they count now."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from droveway.cli.admin_session import (
    budget_text,
    limit_text,
    print_json,
    run,
    say,
    structs_of,
    table,
)
from droveway.cli.keys_store import Keys
from droveway.cli.tenants import Tenants
from droveway.contracts.access import Budget, Key, Limit
from droveway.contracts.admission import BudgetStanding, LimitStanding, StandingReported
from droveway.runtime.access_changes import topped_up
from droveway.runtime.bus import Bus
from droveway.runtime.errors import SettingsError
from droveway.runtime.standing import ask_standing

WATCH_EVERY_S = 1.0
_NANO = 1e9


def set_limits(data: Path, entry_id: str, words: list[str], *, of_tenant: bool, none: bool) -> None:
    """Replaces all limits of a key or a tenant by those of the words.

    Raises:
        SettingsError: Neither words nor `none`, or both.
        DrovewayError: A word is wrong, there is no such entry, or it can't be changed.
    """
    _check_words(words, none)
    limits = structs_of(Limit, words)
    _entries(data, of_tenant).change(
        entry_id, lambda one: msgspec.structs.replace(one, limits=limits), "limited"
    )
    say(f"{entry_id}: {', '.join(map(limit_text, limits)) or 'no limits'}")


def set_budgets(
    data: Path, entry_id: str, words: list[str], *, of_tenant: bool, none: bool
) -> None:
    """Replaces all budgets of a key or a tenant by those of the words.

    Raises:
        SettingsError: Neither words nor `none`, or both.
        DrovewayError: A word is wrong, there is no such entry, or it can't be changed.
    """
    _check_words(words, none)
    budgets = structs_of(Budget, words)
    _entries(data, of_tenant).change(
        entry_id, lambda one: msgspec.structs.replace(one, budgets=budgets), "budgeted"
    )
    say(f"{entry_id}: {', '.join(map(budget_text, budgets)) or 'no budgets'}")


def top_up(data: Path, entry_id: str, usd: float, *, of_tenant: bool) -> None:
    """Adds to the prepaid credit: the budget for `total`.

    Raises:
        DrovewayError: There is no such entry, or it can't be changed.
    """
    entry = _entries(data, of_tenant).change(entry_id, lambda one: topped_up(one, usd), "topped_up")
    say(f"{entry_id}: {', '.join(map(budget_text, entry.budgets))}")


def show(data: Path, key_id: str, console: Console | None, *, money: bool, watch: bool) -> None:
    """Prints where a key and its tenant stand, as the limiter counts now.

    Args:
        data: The folder of `droveway up`.
        key_id: Whose.
        console: Where; None: as JSON on standard output.
        money: Budgets only; else all.
        watch: Again each second until interrupted.

    Raises:
        DrovewayError: There is no such key, or no limiter answers.
    """
    key = Keys(data).find(key_id).entry

    async def ask(bus: Bus) -> None:
        found = await ask_standing(bus, key)
        if console is None:
            print_json(found)
        elif not watch:
            console.print(_view(found, money=money))
        else:
            await _watch(bus, key, found, console, money=money)

    with contextlib.suppress(KeyboardInterrupt):
        run(data, ask)


async def _watch(
    bus: Bus, key: Key, found: StandingReported, console: Console, *, money: bool
) -> None:
    with Live(_view(found, money=money), console=console, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            found = await ask_standing(bus, key)
            live.update(_view(found, money=money), refresh=True)


def _view(found: StandingReported, *, money: bool) -> Group:
    budgets = _budgets(found.budgets) if found.budgets else "no budgets"
    limits = _limits(found.limits) if found.limits else "no limits"
    return Group(budgets) if money else Group(limits, "", budgets)


def _limits(standings: tuple[LimitStanding, ...]) -> Table:
    return table(
        ("scope", "kind", "model", "used", "limit", "left", "window s", "whole again in s"),
        _limit_rows(standings),
    )


def _limit_rows(standings: tuple[LimitStanding, ...]) -> Iterator[tuple[str, ...]]:
    for one in standings:
        yield (
            one.scope, one.kind, one.model, str(one.used), str(one.limit),
            str(max(0, one.limit - one.used)), f"{one.window_ms / 1000:g}",
            f"{one.reset_ms / 1000:.1f}",
        )  # fmt: skip


def _budgets(standings: tuple[BudgetStanding, ...]) -> Table:
    return table(
        ("scope", "period", "spent $", "reserved $", "budget $", "left $", "begins anew in h"),
        _budget_rows(standings),
    )


def _budget_rows(standings: tuple[BudgetStanding, ...]) -> Iterator[tuple[str, ...]]:
    for one in standings:
        left = one.limit_nano - one.spent_nano - one.reserved_nano
        resets = "never" if one.resets_ms is None else f"{one.resets_ms / 3_600_000:.1f}"
        amounts = (one.spent_nano, one.reserved_nano, one.limit_nano, max(0, left))
        yield (one.scope, one.period, *(f"{nano / _NANO:.6f}" for nano in amounts), resets)


def _entries(data: Path, of_tenant: bool) -> Keys | Tenants:
    return Tenants(data) if of_tenant else Keys(data)


def _check_words(words: list[str], none: bool) -> None:
    if bool(words) == none:
        raise SettingsError("give entries as field=value,field=value; or --none for none at all")
