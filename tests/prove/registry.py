"""All claims, in the order of the table. A theme is a module with a tuple `CLAIMS`."""

from tests.prove import (
    broker_away,
    broker_client,
    broker_dies,
    broker_links,
    broker_silent,
    caller_dies,
    canaries,
    clients_leave,
    config_bad,
    config_live,
    frames_struck,
    frozen,
    gateway_dies,
    ledger_mixed,
    limits_clock,
    limits_exact,
    limits_money,
    limits_owners,
    limits_restart,
    limits_speed,
    limits_tokens,
    memory_slope,
    migration,
    overload,
    restarts,
    router_dies,
    slow_clients,
    starved,
    streams_struck,
    throttled,
    upstream_endless,
    upstream_malformed,
    upstream_silent,
    upstream_statuses,
    upstream_storm,
    upstream_uncounted,
    upstream_waits,
)
from tests.prove.claim import Claim

CLAIMS: tuple[Claim, ...] = (
    *gateway_dies.CLAIMS,
    *router_dies.CLAIMS,
    *caller_dies.CLAIMS,
    *broker_dies.CLAIMS,
    *broker_away.CLAIMS,
    *broker_silent.CLAIMS,
    *broker_links.CLAIMS,
    *broker_client.CLAIMS,
    *frames_struck.CLAIMS,
    *slow_clients.CLAIMS,
    *clients_leave.CLAIMS,
    *starved.CLAIMS,
    *throttled.CLAIMS,
    *upstream_silent.CLAIMS,
    *upstream_waits.CLAIMS,
    *upstream_statuses.CLAIMS,
    *upstream_malformed.CLAIMS,
    *upstream_endless.CLAIMS,
    *upstream_uncounted.CLAIMS,
    *upstream_storm.CLAIMS,
    *migration.CLAIMS,
    *frozen.CLAIMS,
    *overload.CLAIMS,
    *limits_exact.CLAIMS,
    *limits_owners.CLAIMS,
    *config_bad.CLAIMS,
    *config_live.CLAIMS,
    *limits_restart.CLAIMS,
    *restarts.CLAIMS,
    *limits_speed.CLAIMS,
    *limits_tokens.CLAIMS,
    *limits_money.CLAIMS,
    *limits_clock.CLAIMS,
    *ledger_mixed.CLAIMS,
    *canaries.CLAIMS,
    *streams_struck.CLAIMS,
    *memory_slope.CLAIMS,
)


def chosen(ids: list[str] | None) -> list[Claim]:
    """The claims asked for, or all; a row like `B4+D8` answers to each of its numbers.

    Raises:
        ValueError: There is no such claim.
    """
    if not ids:
        return list(CLAIMS)
    known = {number: claim for claim in CLAIMS for number in (claim.id, *claim.id.split("+"))}
    if unknown := [one for one in ids if one not in known]:
        raise ValueError(f"no such claim: {', '.join(unknown)}; known are {', '.join(known)}")
    wanted = [known[one].id for one in ids]
    return [claim for claim in CLAIMS if claim.id in wanted]
