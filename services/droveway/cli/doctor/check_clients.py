"""Keys, tenants and their money: who is refused, or will be."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from droveway.cli.doctor.budgets import in_force
from droveway.cli.doctor.evidence import Evidence, Spending, Unasked, known, stamp
from droveway.cli.doctor.finding import Finding, broken, named, note, runbook, warning
from droveway.contracts.access import Key
from droveway.runtime.access_checks import zoned_time

EXPIRING = timedelta(days=7)
NEARLY_SPENT = 0.8
_NANO = 1e9


def check_keys(evidence: Evidence) -> Iterator[Finding]:
    """Keys that are refused now, or will be in a week."""
    holders = in_force(evidence.config, known(evidence.keys), known(evidence.tenants))
    keys = list(holders.keys.values())
    ends = {one.id: _expiry(one) for one in keys}
    off = [one.id for one in keys if one.state == "disabled"]
    waiting = [one.id for one in keys if one.state == "not_activated"]
    active = {one.id: ends[one.id] for one in keys if one.state == "active"}
    over = [key for key, end in active.items() if end is not None and end <= evidence.at]
    soon = {
        key: end
        for key, end in active.items()
        if end is not None and evidence.at < end <= evidence.at + EXPIRING
    }
    for code, ids, verb in (
        ("keys_disabled", off, "disabled"),
        ("keys_expired", over, "expired"),
        ("keys_waiting", waiting, "not activated yet"),
    ):
        if ids:
            yield note(code, f"{_keys(ids)} {verb}: {named(ids)}", "`droveway keys list`")
    if soon:
        first = min(soon, key=lambda key: soon[key])
        text = f"{_keys(soon)} to expire in a week, {first} first, at {stamp(soon[first])}"
        advice = "set a later `expires`, or `droveway keys new` makes another one"
        yield warning("keys_expiring", text, advice)
    blocked = {one.id for one in holders.tenants.values() if one.state == "disabled"}
    refused = {*over, *(one.id for one in keys if one.tenant in blocked)}
    knows_all = evidence.config is not None and not isinstance(evidence.keys, Unasked)
    if knows_all and refused.issuperset(active):
        text = "no key is good: every client is refused with 401"
        yield broken(
            "no_keys", text, "`droveway keys new` makes one, `droveway keys enable` brings one back"
        )


def check_tenants(evidence: Evidence) -> Iterator[Finding]:
    """Tenants all of whose keys are refused."""
    holders = in_force(evidence.config, (), known(evidence.tenants))
    off = [one.id for one in holders.tenants.values() if one.state == "disabled"]
    if off:
        text = f"all keys of disabled tenants are refused: {named(off)}"
        yield note("tenants_disabled", text, f"`droveway tenants enable {off[0]}`")


def check_budgets(evidence: Evidence) -> Iterator[Finding]:
    """Budgets that are spent, or nearly."""
    if isinstance(evidence.budgets, Unasked):
        return
    for one in evidence.budgets.found:
        share = _share(one)
        text = f"{_spent(one)}, {100 * share:.0f}% of it"
        if share >= 1:
            what = f"{text}: requests are refused with 429 or 402"
            yield warning("budget_spent", what, _advice(one, "BudgetSpent"))
        elif share >= NEARLY_SPENT:
            yield note("budget_nearly_spent", text, _advice(one, "BudgetNearlySpent"))
    if evidence.budgets.left_out:
        text = f"{evidence.budgets.left_out} keys have budgets that weren't looked at: too many"
        yield note("budgets_left_out", text, "`droveway budgets show <key>` tells of one")


def _advice(one: Spending, alert: str) -> str:
    resets_ms = one.standing.resets_ms
    anew = "" if resets_ms is None else f"it begins anew in {resets_ms / 3_600_000:.1f} h; "
    return f"{anew}{runbook(alert)}"


def _spent(one: Spending) -> str:
    standing = one.standing
    amounts = [nano / _NANO for nano in (standing.spent_nano, standing.limit_nano)]
    return f"{one.whose} has spent ${amounts[0]:,.2f} of ${amounts[1]:,.2f} / {standing.period}"


def _share(one: Spending) -> float:
    return one.standing.spent_nano / one.standing.limit_nano if one.standing.limit_nano else 1.0


def _keys(ids: Iterable[str]) -> str:
    count = len([*ids])
    return "1 key is" if count == 1 else f"{count} keys are"


def _expiry(key: Key) -> datetime | None:
    """None: never, or what can't be read, which no gateway took."""
    try:
        return zoned_time(key.expires) if key.expires else None
    except (ValueError, OverflowError):
        return None
