"""Follows the applied configuration in the bucket `config`, and checks it as a file is checked."""

import asyncio
import logging
from collections.abc import Callable

from droveway.contracts.configuration import ENTRY, MAX_APPLIED_BYTES, applied_decoder, version_of
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import CONFIG
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, KvNewest, KvStatistics, KvWatchSettings
from droveway.runtime.config.file import check
from droveway.runtime.config.live import InForce, LiveConfig
from droveway.runtime.errors import SettingsError

log = logging.getLogger(__name__)

AGAIN_S = 60.0
"""How often an entry that was refused is tried again: what it refers to may have come since."""
INLINE_BYTES = 64 * 1024
"""What is larger is checked in a thread: up to here that takes a few milliseconds."""
WATCH = KvWatchSettings(
    check_every_s=0.5,  # so much a lost nudge may delay a configuration
    max_value_bytes=MAX_APPLIED_BYTES,
)


class ConfigBucket:
    """One process's view of the entry; what it says holds in `live`."""

    def __init__(self, bus: Bus, live: LiveConfig, settings: KvWatchSettings = WATCH) -> None:
        self._live = live
        self._watch = KvNewest(bus, CONFIG, ENTRY, self._on_value, settings)
        self._told: tuple[bytes | None, int] = (None, 0)
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self.statistics: Callable[[], KvStatistics] = self._watch.statistics

    async def run(self) -> None:
        """Follows the entry until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run())
            tasks.create_task(self._take())

    async def until_read(self, within_s: float) -> bool:
        """Waits until the entry, or that there is none, is known; whether it came so far in time.

        Else the file holds until the bucket answers.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._taken.wait()
        except TimeoutError:
            log_event(log, "config_not_read", level=logging.WARNING, within_s=within_s)
        return self._taken.is_set()

    def _on_value(self, _name: str, value: bytes | None, revision: int) -> None:
        self._told = (value, revision)
        self._changed.set()

    async def _take(self) -> None:
        await self._watch.loaded.wait()
        while True:
            self._changed.clear()
            value, revision = self._told
            is_good = await self._apply(value, revision)
            self._taken.set()
            try:
                async with asyncio.timeout(None if is_good else AGAIN_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _apply(self, value: bytes | None, revision: int) -> bool:
        if value is None:
            return self._live.apply(None)
        try:
            if len(value) > INLINE_BYTES:
                applied = await asyncio.to_thread(read_entry, value, revision)
            else:
                applied = read_entry(value, revision)
        except SettingsError as error:
            self._live.refuse(str(error))
            return False
        return self._live.apply(applied)


def read_entry(value: bytes, revision: int) -> InForce:
    """What an entry says, once it was checked.

    Raises:
        SettingsError: It can't be read, or is wrong; as for a file.
    """
    name = f"applied configuration, revision {revision}"
    try:
        applied = applied_decoder.decode(value)
    except MALFORMED as error:
        raise SettingsError(f"{name}: {error}") from None
    check(applied.config, name)
    return InForce(applied.config, applied.version or version_of(applied.config), revision)
