"""Who may call, as it is now: keys and tenants of the operator's file and of the bucket `access`.

    droveway.yaml ---- LiveConfig ----+
                                      +--> Directory ---> on_key, on_tenant: one change each
    KV access: key.<id>, tenant.<id> -+               +--> on_change: the whole, now and then

What stands in the file wins over the bucket: the operator's file can't be overruled by a key of the
administration. Of a value that can't be read the entry before stays, unless it may be a revocation:
what `directory_reading` says.
At the start keys of the bucket wait until all of it was read: one of them could be a disabled
tenant's.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from droveway.contracts.access import Key, Tenant
from droveway.contracts.config import Config
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import ACCESS
from droveway.otel.logs import log_event
from droveway.runtime.access_store import MAX_READ_BYTES
from droveway.runtime.bus import Bus, KvWatch, KvWatchSettings
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.directory_entries import Entries, OnEntry
from droveway.runtime.directory_reading import may_revoke, read_key, read_tenant
from droveway.runtime.errors import SettingsError

log = logging.getLogger(__name__)

ACCESS_WITHIN_S = 5.0
"""How long a start waits for the bucket's keys and tenants; then the file's hold alone."""
MERGE_EVERY_S = 0.05
"""Changes of the bucket come to listeners of the whole together, at most this often."""
_KEYS_AT_ONCE = 500
"""Of the first reading; then others have their turn."""
WATCH = KvWatchSettings(
    check_every_s=0.5,  # so much a lost nudge may delay a revocation
    load_every_s=900.0,
    max_keys=200_000,
    max_value_bytes=MAX_READ_BYTES,
    page_messages=1_000,  # each page costs the broker a count of all subjects: 40 ms of 50,000
)


class DirectoryStatistics(NamedTuple):
    """A snapshot for gauges."""

    keys: int
    tenants: int
    unreadable: int
    """Values that weren't understood; the ones before stay in force unless they may be revoked."""
    shadowed: int
    """Entries of the bucket that aren't in force: the file, or another key, has the same."""
    age_s: float
    """Seconds since the bucket was last known to be as told; -1: not read yet."""


class Directory:
    """Keys and tenants in force; `run` follows the bucket, the file is followed by `live`."""

    def __init__(self, bus: Bus, live: LiveConfig, settings: KvWatchSettings = WATCH) -> None:
        self._watch = KvWatch(bus, ACCESS, self._on_value, settings)
        self._keys: Entries[Key] = Entries("key")
        self._tenants: Entries[Tenant] = Entries("tenant")
        self._file = live.current
        self._listeners: list[Callable[[Config], None]] = []
        self._dirty = asyncio.Event()
        self._complete = asyncio.Event()
        self._waiting: dict[str, bytes | None] | None = None
        """Keys of the first reading, while it lasts."""
        self._unreadable = 0
        live.on_change(self._on_file)

    @property
    def keys(self) -> Mapping[str, Key]:
        """Keys in force by id."""
        return self._keys.present

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """Tenants in force by id; one that isn't there has no limits and is active."""
        return self._tenants.present

    @property
    def loaded(self) -> bool:
        """Whether all that is in the bucket was read; before, an unknown key may still be one."""
        return self._complete.is_set()

    def file_has(self, kind: str, entry_id: str) -> bool:
        """Whether the operator's file has a `key` or `tenant` of that id."""
        return (self._keys if kind == "key" else self._tenants).file_has(entry_id)

    def has_hash(self, sha256: str) -> bool:
        """Whether a key in force has it."""
        return self._keys.has_hash(sha256)

    def key_of(self, tenant_id: str) -> str | None:
        """A key of file or bucket that names the tenant, in force or not."""
        return next((key.id for key in self._keys.known() if key.tenant == tenant_id), None)

    def on_key(self, listener: OnEntry[Key]) -> None:
        """Calls `listener` now with each key and later with each that changed; it mustn't raise."""
        self._keys.listen(listener)

    def on_tenant(self, listener: OnEntry[Tenant]) -> None:
        """As `on_key`."""
        self._tenants.listen(listener)

    def on_change(self, listener: Callable[[Config], None]) -> None:
        """Calls `listener` now and with each change: the file with keys and tenants in force.

        The whole is made anew each time: with many keys `on_key` is the better way.
        """
        listener(self._whole(self._file))
        self._listeners.append(listener)

    async def until_loaded(self, within_s: float) -> bool:
        """Waits for the first reading of the bucket; whether it came in time."""
        try:
            async with asyncio.timeout(within_s):
                await self._complete.wait()
        except TimeoutError:
            log_event(log, "access_not_loaded", level=logging.WARNING, within_s=within_s)
        return self.loaded

    async def run(self) -> None:
        """Follows the bucket until cancelled."""
        if not self.loaded:
            self._waiting = {}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run())
            tasks.create_task(self._take_waiting())
            tasks.create_task(self._tell_whole())

    def statistics(self) -> DirectoryStatistics:
        """A snapshot for gauges."""
        return DirectoryStatistics(
            keys=len(self.keys),
            tenants=len(self.tenants),
            unreadable=self._unreadable,
            shadowed=len(self._keys.shadowed) + len(self._tenants.shadowed),
            age_s=self._watch.statistics().age_s,
        )

    def _on_file(self, config: Config) -> None:
        whole = self._whole(config)
        for listener in self._listeners:  # one that raises refuses the file: nothing is taken
            listener(whole)
        self._file = config
        self._keys.take_file(config.keys)
        self._tenants.take_file(config.tenants)
        self._dirty.set()

    async def _take_waiting(self) -> None:
        await self._watch.loaded.wait()
        while self._waiting:
            for name in [*itertools.islice(self._waiting, _KEYS_AT_ONCE)]:
                self._take(name, self._waiting.pop(name))
            await asyncio.sleep(0)
        self._waiting = None
        self._complete.set()

    def _on_value(self, name: str, value: bytes | None, _revision: int) -> None:
        if self._waiting is not None and name.startswith("key."):
            self._waiting[name] = value
        else:
            self._take(name, value)

    def _take(self, name: str, value: bytes | None) -> None:
        kind, _, entry_id = name.partition(".")
        try:
            if kind == "key":
                changed = self._keys.take_stored(entry_id, read_key(entry_id, value))
            elif kind == "tenant":
                changed = self._tenants.take_stored(entry_id, read_tenant(entry_id, value))
            else:
                raise ValueError("its name is neither key.<id> nor tenant.<id>")
        except (*MALFORMED, ValueError) as error:
            self._unreadable += 1
            revoked = value is not None and self._revoke(kind, entry_id, value)
            log_event(
                log, "access_entry_unreadable", level=logging.ERROR,
                entry=name[:80], reason=str(error)[:200], disabled=revoked,
            )  # fmt: skip
            changed = revoked
        if changed:
            self._dirty.set()

    def _revoke(self, kind: str, entry_id: str, value: bytes) -> bool:
        """Disables the entry before, where an unreadable value may say so; whether it did."""
        if kind == "tenant":  # one that isn't known is active, so it is disabled too
            tenant = self._tenants.stored(entry_id) or Tenant(id=entry_id)
            return may_revoke(tenant, value) and self._tenants.disable(tenant)
        key = self._keys.stored(entry_id) if kind == "key" else None
        return key is not None and may_revoke(key, value) and self._keys.disable(key)

    async def _tell_whole(self) -> None:
        await self._complete.wait()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            whole = self._whole(self._file) if self._listeners else self._file
            for listener in self._listeners:
                try:
                    listener(whole)
                except SettingsError as error:
                    log_event(log, "access_not_taken", level=logging.ERROR, reason=str(error)[:500])
            await asyncio.sleep(MERGE_EVERY_S)

    def _whole(self, config: Config) -> Config:
        return msgspec.structs.replace(
            config,
            keys=(*config.keys, *self._keys.beside(config.keys)),
            tenants=(*config.tenants, *self._tenants.beside(config.tenants)),
        )
