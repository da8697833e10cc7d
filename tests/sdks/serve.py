"""A whole Droveway for the SDK tests: run by the main environment's Python, told apart by JSON.

Prints one line with its addresses and keys, then serves until its standard input is closed, so it
never outlives the test run that started it.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from droveway.runtime.api_key import make_key
from tests.sdks.routes import KEYS, LISTED, configured
from tests.support import local_model
from tests.support.nats import NatsServer, serving
from tests.support.stack import UNSPARED, Stack, running_stack

MAX_BODY_BYTES = 2 * 1024 * 1024


def main() -> None:
    """Serves until standard input ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "nats") as nats,
        local_model.serving_model(Path(folder)) as local,
    ):
        asyncio.run(_serve(nats, Path(folder), local.url))


async def _serve(nats: NatsServer, folder: Path, local_url: str) -> None:
    keys = {name: make_key("test") for name in KEYS}
    async with running_stack(
        nats,
        folder,
        configure=lambda config: configured(config, keys, local_url),
        environment={"DROVEWAY_GATEWAY_MAX_BODY_BYTES": str(MAX_BODY_BYTES), **UNSPARED},
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
        "local_model": local_model.MODEL,
    }


if __name__ == "__main__":
    main()
