"""A whole Droveway for the SDK tests: run by the main environment's Python, told apart by JSON.

Prints one line with its addresses and keys, then serves until its standard input is closed, so it
never outlives the test run that started it.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import msgspec

from droveway.cli import ports
from droveway.contracts.config import (
    Config,
    Key,
    Limit,
    Provider,
    Route,
    RouteTarget,
    Tier,
    Timeouts,
)
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.support.nats import NatsServer, serving
from tests.support.stack import Stack, running_stack

LISTED = ("numbered-5", "sim-small")
MAX_BODY_BYTES = 2 * 1024 * 1024
LIMIT = Limit(requests=1, window_s=1.0)
PLENTY = Limit(requests=100_000)
HASTY = Timeouts(first_token_s=0.3, idle_s=0.3, total_s=0.6)
ROUTES = {
    "*": ["upstream-1"],
    "rescued": ["upstream-1/fault-500", "upstream-1/numbered-5"],
    "both-fail": ["upstream-1/fault-500", "upstream-1/fault-403"],
    "unreachable": ["closed"],
    "silent": ["hasty/fault-silence"],
    "stalls": ["hasty/fault-stall-after-3"],
}
"""Model name to `provider/model`, one tier each."""


def main() -> None:
    """Serves until standard input ends."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "nats") as nats:
        asyncio.run(_serve(nats, Path(folder)))


async def _serve(nats: NatsServer, folder: Path) -> None:
    keys = {name: make_key("test") for name in ("limited-sync", "limited-async", "disabled")}
    keys["narrow"] = make_key("test")
    async with running_stack(
        nats,
        folder,
        configure=lambda config: _configured(config, keys),
        environment={"DROVEWAY_GATEWAY_MAX_BODY_BYTES": str(MAX_BODY_BYTES)},
        keep_bodies=True,
    ) as stack:
        sys.stdout.write(json.dumps(_told(stack, keys)) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def _told(stack: Stack, keys: dict[str, str]) -> dict[str, object]:
    return {
        "url": stack.url,
        "key": stack.key,
        "keys": keys,
        "simulator_url": stack.simulator.url,
        "max_body_bytes": MAX_BODY_BYTES,
        "listed": LISTED,
    }


def _configured(config: Config, keys: dict[str, str]) -> Config:
    provider = msgspec.structs.replace(config.providers[0], models=LISTED)
    providers = (
        provider,
        msgspec.structs.replace(provider, id="hasty", models=(), timeouts=HASTY),
        Provider(id="closed", base_url=f"http://127.0.0.1:{ports.free()}/v1"),
    )
    routes = [_route(model, targets) for model, targets in ROUTES.items()]
    known = [msgspec.structs.replace(key, limits=(PLENTY,)) for key in config.keys]
    return msgspec.structs.replace(
        config,
        providers=providers,
        routes=tuple(routes),
        keys=(*known, *(_key(name, secret) for name, secret in keys.items())),
    )


def _route(model: str, targets: list[str]) -> Route:
    parts = [target.partition("/") for target in targets]
    return Route(
        model=model,
        tiers=tuple(
            Tier(targets=(RouteTarget(provider=provider, model=name),))
            for provider, _, name in parts
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


if __name__ == "__main__":
    main()
