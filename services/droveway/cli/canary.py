"""`droveway canary set|advance|rollback|show`: orders in the bucket `routing`, live in a second."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from droveway.cli.admin_session import print_json, run, say, structs_of, table
from droveway.cli.in_force import config_in_force
from droveway.contracts.canary import STEPS, CanaryOrder, digest_of
from droveway.contracts.config import Canary, CanaryGuard, Config, Route, RouteTarget
from droveway.runtime.access_errors import EntryInvalid, EntryMissing
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus
from droveway.runtime.canary_store import CanaryStore, StoredOrder
from droveway.runtime.config.routes import canary_findings

_TITLES = (
    "route", "state", "percent", "regions", "tenants", "targets", "guard", "since", "by", "reason",
)  # fmt: skip


class Changes(NamedTuple):
    """What the command line says of a canary; None: as it is."""

    percent: float | None = None
    targets: Sequence[str] | None = None
    regions: Sequence[str] | None = None
    tenants: Sequence[str] | None = None
    guarded: bool | None = None


class _Standing(NamedTuple):
    """One route's canary as it is now."""

    route: Route
    stored: StoredOrder
    canary: Canary | None
    """The one that runs, or was rolled back last; None: there is none."""
    order: CanaryOrder | None
    """The one in force; None: the configuration file's word holds."""

    @property
    def state(self) -> str:
        if self.order is not None:
            return self.order.state
        return "none" if self.canary is None else "running"


def set_canary(data: Path, name: str, changes: Changes) -> None:
    """Sets a route's canary; one that was rolled back runs again.

    Raises:
        DrovewayError: The route or a target isn't configured, or the bucket can't be written.
    """
    config = config_in_force(data)

    async def work(bus: Bus) -> CanaryOrder:
        standing = await _standing(bus, config, name)
        canary = _changed(standing, changes)
        return await _order(bus, config, standing, "running", canary, "set")

    _tell(run(data, work))


def advance(data: Path, name: str) -> None:
    """Gives the canary to the next share of users: 5, 20, 50, 100 percent.

    Raises:
        DrovewayError: There is none, it was rolled back, or it has all of them.
    """
    config = config_in_force(data)

    async def work(bus: Bus) -> CanaryOrder:
        standing = await _standing(bus, config, name)
        canary = _present(standing)
        if standing.state == "rolled_back":
            raise EntryInvalid(
                f"the canary of {name} was rolled back; `droveway canary set {name} --percent "
                f"{STEPS[0]:g}` begins again"
            )
        step = next((one for one in STEPS if one > canary.percent), None)
        if step is None:
            raise EntryInvalid(f"the canary of {name} has 100% of its users already")
        canary = msgspec.structs.replace(canary, percent=step)
        return await _order(bus, config, standing, "running", canary, "advanced")

    _tell(run(data, work))


def roll_back(data: Path, name: str, reason: str) -> None:
    """Takes all requests from the canary at once.

    Raises:
        DrovewayError: There is none, or the bucket can't be written.
    """
    config = config_in_force(data)

    async def work(bus: Bus) -> CanaryOrder:
        standing = await _standing(bus, config, name)
        canary = _present(standing)
        return await _order(bus, config, standing, "rolled_back", canary, "rolled_back", reason)

    _tell(run(data, work))


def show(data: Path, name: str, console: Console | None) -> None:
    """Prints a route's canary, or all of them; as JSON where there is no console.

    Raises:
        DrovewayError: The route isn't configured, or the bucket can't be read.
    """
    config = config_in_force(data)
    names = [name] if name else [route.model for route in config.routes]

    async def work(bus: Bus) -> list[_Standing]:
        return [await _standing(bus, config, one) for one in names]

    found = [one for one in run(data, work) if name or one.canary is not None]
    if console is None:
        print_json([_view(one) for one in found])
    elif found:
        console.print(table(_TITLES, (_cells(one) for one in found)))
    else:
        say("No route has a canary.")


def route_of(config: Config, name: str) -> Route:
    """The route of that name.

    Raises:
        EntryMissing: There is none.
    """
    found = next((one for one in config.routes if one.model == name), None)
    if found is None:
        known = ", ".join(one.model for one in config.routes)
        raise EntryMissing(f"there is no route {name[:80]!r}; there are {known}")
    return found


async def _standing(bus: Bus, config: Config, name: str) -> _Standing:
    route = route_of(config, name)
    stored = await CanaryStore(bus).get(name)
    order = stored.order
    if order is not None and order.file != digest_of(route.canary):
        order = None  # the file says something newer
    return _Standing(route, stored, order.canary if order else route.canary, order)


def _present(standing: _Standing) -> Canary:
    if standing.canary is None:
        name = standing.route.model
        raise EntryMissing(
            f"{name} has no canary; `droveway canary set {name} --percent {STEPS[0]:g} --target "
            "provider=<id>,model=<its name>` makes one"
        )
    return standing.canary


def _changed(standing: _Standing, changes: Changes) -> Canary:
    fields: dict[str, Any] = {}
    if changes.percent is not None:
        fields["percent"] = changes.percent
    if changes.targets is not None:
        fields["targets"] = structs_of(RouteTarget, changes.targets)
    if changes.regions is not None:
        fields["regions"] = (*filter(None, changes.regions),)
    if changes.tenants is not None:
        fields["tenants"] = (*filter(None, changes.tenants),)
    if changes.guarded is not None:
        fields["guard"] = CanaryGuard() if changes.guarded else None
    if standing.canary is None and "targets" in fields:
        changed = Canary(**fields)
    else:
        changed = msgspec.structs.replace(_present(standing), **fields)
    try:
        return msgspec.convert(msgspec.to_builtins(changed), Canary)
    except msgspec.ValidationError as error:
        raise EntryInvalid(str(error)) from None


async def _order(
    bus: Bus, config: Config, standing: _Standing, state: str, canary: Canary, verb: str,
    reason: str = "",
) -> CanaryOrder:  # fmt: skip
    tried = msgspec.structs.replace(standing.route, canary=canary)
    for finding in canary_findings("canary", tried, config) if state == "running" else ():
        raise EntryInvalid(finding)
    order = CanaryOrder(
        route=standing.route.model,
        state="running" if state == "running" else "rolled_back",
        canary=canary,
        file=digest_of(standing.route.canary),
        at="",
        by="",
        reason=reason,
    )
    return await CanaryStore(bus).set(standing.stored, order, local_author(), verb)


def _tell(order: CanaryOrder) -> None:
    if order.state == "rolled_back":
        say(f"{order.route}: the canary is rolled back")
    else:
        say(f"{order.route}: the canary has {' and '.join(_who(order.canary))}")


def _who(canary: Canary) -> Iterator[str]:
    yield f"{canary.percent:g}% of users"
    if canary.regions:
        yield f"regions {', '.join(canary.regions)}"
    if canary.tenants:
        yield f"tenants {', '.join(canary.tenants)}"


def _view(standing: _Standing) -> dict[str, Any]:
    order = standing.order
    return {
        "route": standing.route.model,
        "state": standing.state,
        "canary": msgspec.to_builtins(standing.canary),
        "from": "order" if order else "file",
        "since": order.at if order else None,
        "by": order.by if order else None,
        "reason": order.reason if order else "",
    }


def _cells(standing: _Standing) -> tuple[str, ...]:
    canary, order = standing.canary, standing.order
    if canary is None:
        return (standing.route.model, "none", *("" for _ in _TITLES[2:]))
    targets = (f"{one.provider}/{one.model or '*'}" for one in canary.targets)
    return (
        standing.route.model, standing.state.replace("_", " "), f"{canary.percent:g}%",
        " ".join(canary.regions) or "-", " ".join(canary.tenants) or "-", " ".join(targets),
        "on" if canary.guard else "off", order.at if order else "-",
        order.by if order else "the file", order.reason if order else "",
    )  # fmt: skip
