"""Fabricated answers for `droveway doctor`: a healthy system, and what may be wrong with one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from droveway.cli.doctor.evidence import (
    Broker,
    Fill,
    LocalFile,
    Machine,
    Spending,
    Spendings,
)
from droveway.contracts import discovery
from droveway.contracts.access import Key
from droveway.contracts.admission import BudgetStanding
from droveway.contracts.canary import CanaryOrder, digest_of
from droveway.contracts.config import Canary, Config, Fallbacks, RouteTarget
from droveway.contracts.configuration import AppliedConfig, version_of
from droveway.contracts.fill import FillTold, StreamFill
from droveway.contracts.jetstream import STREAMS
from droveway.contracts.providers import (
    CredentialSeen,
    ProvidersSeen,
    TargetSeen,
)
from droveway.contracts.reports import RecentError, ReportLine, ReportMade, StatsMade
from droveway.runtime.config.entries import Standing
from tests.support.nats import droveway_config

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1_000)
SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
ROUTERS = ("router-1", "router-2")
KEY = Key(id="k1", sha256="0" * 64)
UPSTREAM = "http://127.0.0.1:9/v1"
CONFIG = msgspec.structs.replace(droveway_config(UPSTREAM, UPSTREAM), keys=(KEY,))
FIRST, SECOND = "upstream-1", "upstream-2"


def process(
    service: str, instance: str = "", version: str = "1.0.0", **told: str
) -> discovery.Stats:
    owner = {"owner": "true"} if service == "limiter" and "owner" not in told else {}
    return discovery.Stats(
        name=f"droveway-{service}", id=instance or f"{service}-1", version=version,
        metadata={"service": service, "unready": "", **owner, **told},
        started="2026-11-23T11:00:00Z", endpoints=(),
    )  # fmt: skip


def failing() -> discovery.Stats:
    endpoint = discovery.EndpointStats(
        name="dispatch", subject="droveway.v1.dispatch.default", queue_group="caller",
        num_requests=9, num_errors=3, last_error="ValueError", processing_time=9,
        average_processing_time=1,
    )  # fmt: skip
    return msgspec.structs.replace(process("caller"), endpoints=(endpoint,))


def running(*others: discovery.Stats, without: str = "", **told: str) -> list[discovery.Stats]:
    own = [process(service, **told) for service in SERVICES if service != without]
    return [*own, *others]


def filled(*streams: StreamFill, at_ms: int = NOW_MS, broker_ahead_ms: int = 0) -> Fill:
    named = {one.name: one for one in streams}
    every = (
        named.get(name, StreamFill(name=name, answering=True, bytes=1, limit_bytes=100))
        for name in STREAMS
    )
    told = FillTold(at_ms=at_ms, broker_ahead_ms=broker_ahead_ms, streams=tuple(every))
    return Fill(told, NOW_MS)


def seen(*targets: TargetSeen, credentials: tuple[CredentialSeen, ...] = ()) -> list[Any]:
    return [
        ProvidersSeen(router=router, targets=targets, credentials=credentials) for router in ROUTERS
    ]


def target(provider: str = FIRST, model: str = "m", **fields: Any) -> TargetSeen:
    return TargetSeen(provider=provider, model=model, **fields)


def opened(provider: str = FIRST, model: str = "m", why: str = "slow") -> TargetSeen:
    return target(provider, model, state="open", for_ms=90_000, why=why, outcomes=10, failed=4)


def cooling(provider: str, why: str) -> tuple[CredentialSeen, ...]:
    return (CredentialSeen(provider=provider, credential="main", cooldown_ms=41_000, why=why),)


def routed(*targets: tuple[str, str], model: str = "m", fallbacks: Sequence[str] = ()) -> Config:
    config = droveway_config(UPSTREAM, UPSTREAM)
    route = msgspec.structs.replace(
        config.routes[0],
        model=model,
        tiers=tuple(
            msgspec.structs.replace(
                config.routes[0].tiers[0],
                targets=(RouteTarget(provider=provider, model=model),),
            )
            for provider, model in targets
        ),
        fallbacks=Fallbacks(failed=tuple(fallbacks)),
    )
    return msgspec.structs.replace(config, routes=(route,), keys=(KEY,))


def among(
    providers: dict[str, str],
    fallbacks: dict[str, tuple[str, ...]],
    aliases: dict[str, str] | None = None,
) -> Config:
    """Routes, each served as the model `m` of its provider; what they fall back to."""
    configs = [
        routed((provider, "m"), model=model, fallbacks=fallbacks.get(model, ()))
        for model, provider in providers.items()
    ]
    routes = tuple(one.routes[0] for one in configs)
    return msgspec.structs.replace(configs[0], routes=routes, aliases=aliases or {})


def budget(spent: float, of: float = 10.0) -> Spendings:
    standing = BudgetStanding(
        scope="key", period="month", limit_nano=int(of * 1e9), spent_nano=int(spent * 1e9),
        reserved_nano=0, resets_ms=7_200_000,
    )  # fmt: skip
    return Spendings([Spending("key k1", standing)])


def applied(config: Config = CONFIG) -> Standing:
    entry = AppliedConfig(
        config=config, version=version_of(config), at="2026-11-23T11:30:00Z", by="operator ann"
    )
    return Standing(7, entry)


def canary(by: str = "metrics canary-guard", state: Any = "rolled_back") -> CanaryOrder:
    own = Canary(targets=(RouteTarget(provider=SECOND),), percent=20)
    return CanaryOrder(
        route="*", state=state, canary=own, file=digest_of(None), at="2026-11-23T11:55:00Z", by=by,
        reason="success 12 points worse",
    )  # fmt: skip


def expiring(ahead: timedelta) -> Key:
    return msgspec.structs.replace(KEY, id="k2", expires=(NOW + ahead).isoformat())


def report(**unpriced: int) -> ReportMade:
    lines = tuple(
        ReportLine(group=(FIRST, model), unpriced_tokens=tokens)
        for model, tokens in unpriced.items()
    )
    return ReportMade(
        by=("provider", "target"), since_ms=0, until_ms=NOW_MS, lines=lines, total=ReportLine()
    )


def requests(completed: int, failed: int) -> StatsMade:
    errors = (RecentError(NOW_MS, 503, "overloaded"), RecentError(NOW_MS, 502, "bad_upstream"))
    total = ReportLine(completed=completed, failed=failed)
    return StatsMade(since_ms=NOW_MS - 3_600_000, until_ms=NOW_MS, total=total, errors=errors)


WELL: dict[str, Any] = {
    "broker": Broker("nats.internal:4222", "2.14.0", 3.0, 0.4),
    "services": running(),
    "providers": seen(target()),
    "file": LocalFile("droveway.yaml", CONFIG),
    "fill": filled(),
    "requests": requests(100, 0),
    "unpriced": report(),
    "machine": Machine("/data", 50 * 1024**3, 100 * 1024**3),
}
