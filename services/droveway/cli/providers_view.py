"""What `droveway providers list` prints: a row for each target, more where routers differ.

Routers that see a target well are one row: they differ in numbers only.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from droveway.contracts.providers import ProvidersSeen, ProviderSwitch, TargetSeen, switched_off

TITLES = ("target", "router", "state", "for", "why", "failed", "first token")
WORDS = 5
"""Columns of words; then come those of numbers."""
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


def rows(seen: list[ProvidersSeen], switches: list[ProviderSwitch]) -> Iterator[tuple[str, ...]]:
    """Targets, then credentials that cool, then what is off and by whom."""
    by_target: dict[tuple[str, str], list[tuple[str, TargetSeen]]] = {}
    for one in seen:
        for target in one.targets:
            key = (target.provider, target.model)
            by_target.setdefault(key, []).append((one.router, target))
    for views in (by_target[key] for key in sorted(by_target)):
        well = [view for _, view in views if _state(view) == "closed"]
        if len(well) == len(views) > 1:
            best = max(well, key=lambda view: view.outcomes)
            yield _row(best, f"all {len(views)}")
        else:
            yield from (_row(view, router) for router, view in views)
    for one in seen:
        for cooling in one.credentials:
            left = f"{_duration(cooling.cooldown_ms / 1000)} left"
            name = f"{cooling.provider} ({cooling.credential})"
            yield (name, one.router, "cooling", left, cooling.why, "", "")
    yield from (_switch_row(one) for one in switches if switched_off(one))


def as_json(seen: Iterable[ProvidersSeen], switches: Iterable[ProviderSwitch]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "routers": [msgspec.structs.asdict(one) for one in seen],
        "switched_off": [msgspec.structs.asdict(one) for one in switches if switched_off(one)],
    }


def _row(view: TargetSeen, router: str) -> tuple[str, ...]:
    share = f"{100 * view.failed / view.outcomes:.0f}% of {view.outcomes}" if view.outcomes else ""
    first = f"{view.first_token_ms} ms" if view.first_token_ms else ""
    since = _duration(view.for_ms / 1000) if view.for_ms else ""
    target = f"{view.provider}/{view.model}"
    return (target, router, _state(view), since, view.why, share, first)


def _state(view: TargetSeen) -> str:
    return "disabled" if view.disabled else view.state


def _switch_row(switch: ProviderSwitch) -> tuple[str, ...]:
    what = switch.id
    if switch.state != "disabled":
        what = ", ".join(f"{switch.id}/{model}" for model in switch.disabled_models)
    return (what, f"by {switch.by}", "disabled", f"since {switch.at}", switch.reason, "", "")


def _duration(seconds: float) -> str:
    """`2h 10m`, `5m 1s`, `12s`."""
    left, parts = int(seconds), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    if left or not parts:
        parts.append(f"{left}s")
    return " ".join(parts[:2])
