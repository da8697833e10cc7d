"""Which names the server serves, by providers of both dialects: one simulator, one real model."""

from typing import Any

import msgspec

from droveway.cli import ports
from droveway.contracts.access import Key, Limit
from droveway.contracts.config import (
    Backoff,
    Config,
    Provider,
    Retry,
    Route,
    RouteTarget,
    Tier,
    Timeouts,
)
from droveway.runtime.api_key import hash_key, parse_key
from tests.sdks.server import DIALECTS, routed
from tests.support import local_model
from tests.support.flows import each_once

LISTED = ("numbered-5", "sim-small")
KEYS = ("limited-sync", "limited-async", "disabled", "narrow")
LIMIT = Limit(requests=1, window_s=1.0)
PLENTY = Limit(requests=100_000)
HASTY = Timeouts(first_token_s=0.3, idle_s=0.3, total_s=0.6)
PROVIDERS = {"openai": "upstream-1", "anthropic": "upstream-2"}
HASTY_PROVIDERS = {"openai": "hasty-1", "anthropic": "hasty-2"}
LOCAL_PROVIDERS = {"openai": "local-1", "anthropic": "local-2"}
NO_PROVIDER = "closed"
FAULTS = (
    "400", "401", "403", "404", "413", "429", "500", "503+times-1", "529",
    "html", "reset-before-headers", "silence", "slow-first-token-400",
    "cut-after-3", "fin-after-3", "end-after-3", "error-after-3", "stall-after-2",
)  # fmt: skip
SERVED = (*LISTED, "numbered-50", "missing-model", *(f"fault-{fault}" for fault in FAULTS))
"""Names that the simulator takes, where they don't reach it through the route `*`."""


def configured(config: Config, keys: dict[str, str], local_url: str) -> Config:
    """The configuration with providers of both dialects, their routes, and keys."""
    provider = msgspec.structs.replace(config.providers[0], models=LISTED)
    kinds: dict[str, dict[str, Any]] = {
        "openai": {},
        "anthropic": {"dialect": "anthropic", "kind": "anthropic", "models": ()},
    }
    providers = [
        *(_provider(provider, PROVIDERS[one], **kinds[one]) for one in DIALECTS),
        *(
            _provider(provider, HASTY_PROVIDERS[one], timeouts=HASTY, **kinds[one])
            for one in DIALECTS
        ),
        *(local_model.provider(name, one, local_url) for one, name in LOCAL_PROVIDERS.items()),
        Provider(id=NO_PROVIDER, base_url=f"http://127.0.0.1:{ports.free()}/v1"),
    ]
    routes = [_route("*", (PROVIDERS["openai"], ""))]
    routes += [_route(routed(name, "anthropic"), (PROVIDERS["anthropic"], name)) for name in SERVED]
    for one in DIALECTS:
        routes += [_route(routed(name, one), *targets) for name, targets in _special(one).items()]
    routes += [
        _retried(routed("retried-here", one), (PROVIDERS[one], "fault-503")) for one in DIALECTS
    ]
    known = [msgspec.structs.replace(key, limits=(PLENTY,)) for key in config.keys]
    return msgspec.structs.replace(
        each_once(config),  # what the SDKs try again is seen alone
        providers=tuple(providers),
        routes=tuple(routes),
        keys=(*known, *(_key(name, secret) for name, secret in keys.items())),
    )


def _special(dialect: str) -> dict[str, list[tuple[str, str]]]:
    provider, hasty = PROVIDERS[dialect], HASTY_PROVIDERS[dialect]
    [other] = [PROVIDERS[one] for one in DIALECTS if one != dialect]
    return {
        "rescued": [(provider, "fault-500"), (provider, "numbered-5")],
        "rescued-elsewhere": [(provider, "fault-500"), (other, "numbered-5")],
        "both-fail": [(provider, "fault-500"), (provider, "fault-403")],
        "unreachable": [(NO_PROVIDER, "")],
        "silent": [(hasty, "fault-silence")],
        "stalls": [(hasty, "fault-stall-after-3")],
        local_model.MODEL: [(LOCAL_PROVIDERS[dialect], local_model.MODEL)],
    }


def _provider(like: Provider, name: str, **changes: Any) -> Provider:
    return msgspec.structs.replace(like, id=name, **changes)


def _retried(model: str, target: tuple[str, str]) -> Route:
    """A route of which a failure is repeated once at the same target, without a wait."""
    retry = Retry(attempts=2, same_target=1, failed=Backoff(base_s=0, jitter="none"))
    return msgspec.structs.replace(_route(model, target), retry=retry)


def _route(model: str, *targets: tuple[str, str]) -> Route:
    return Route(
        model=model,
        tiers=tuple(
            Tier(targets=(RouteTarget(provider=provider, model=name),))
            for provider, name in targets
        ),
    )


def _key(name: str, secret: str) -> Key:
    return Key(
        id=parse_key(secret).id,
        sha256=hash_key(secret),
        state="disabled" if name == "disabled" else "active",
        models=("sim-*",) if name == "narrow" else ("*",),
        limits=(LIMIT if name.startswith("limited") else PLENTY,),
    )
