"""What stands for a service as far as its configuration goes: follows the bucket, and tells."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from droveway.contracts.config import Config
from droveway.runtime.config.bucket import ConfigBucket
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.discovery import Discovery
from droveway.runtime.errors import SettingsError
from tests.support.nats import NatsServer


@asynccontextmanager
async def holding(
    nats: NatsServer, file: Path, user: str = "router", *, stubborn: bool = False,
    asked: asyncio.Event | None = None,
) -> AsyncIterator[tuple[LiveConfig, str]]:  # fmt: skip
    """A configuration in force, and the instance that holds it.

    Args:
        nats: Where it runs.
        file: Its configuration file.
        user: Which service it is.
        stubborn: It refuses any other configuration.
        asked: Set each time that somebody asks what it holds.
    """
    live = LiveConfig(str(file))
    first = live.current

    def refuse(config: Config) -> None:
        if stubborn and config != first:
            raise SettingsError("this service takes no other")

    def revision() -> int:
        if asked is not None:
            asked.set()
        return live.revision

    live.on_change(refuse)
    async with nats.bus(user) as bus:
        discovery = Discovery(bus, 100)
        discovery.facts["config"] = lambda: live.version
        discovery.facts["config_revision"] = revision
        await discovery.listen()
        bucket = ConfigBucket(bus, live)
        following = asyncio.ensure_future(bucket.run())
        try:
            assert await bucket.until_read(5.0)
            yield live, bus.instance
        finally:
            following.cancel()
            await asyncio.wait([following])
