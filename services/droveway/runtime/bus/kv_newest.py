"""Follows one value of a KV bucket by its newest revision: those before it are never read.

`KvWatch` reads every message of a bucket and compares by reading the last one again; of a bucket
that keeps a history of large values that would be megabytes each time.
"""

from droveway.runtime.bus.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet
from droveway.runtime.bus.kv_view import OnChange
from droveway.runtime.bus.kv_watch import KvWatch, KvWatchSettings


class KvNewest(KvWatch):
    """Tells `on_change` what one key holds, as `KvWatch` does of all."""

    def __init__(
        self, bus: Bus, bucket: str, key: str, on_change: OnChange, settings: KvWatchSettings
    ) -> None:
        super().__init__(bus, bucket, on_change, settings)
        self._pattern = f"$KV.{bucket}.{key}"

    async def _load(self, reader: DirectGet) -> float:
        newest = await reader.last(self._pattern)
        if newest is None:
            return self._loaded(set(), (0, ""))
        self._view.fold([newest])
        present = {self._view.key_of(newest)}
        return self._loaded(present, (newest.sequence, newest.stored_at))

    async def _catch_up(self, reader: DirectGet) -> bool:
        """Asks for what lies behind the last revision seen; a bucket made anew a load finds."""
        page = await reader.page(
            self._pattern, self._view.last[0] + 1, 1, self._settings.max_value_bytes
        )
        if not page.complete:  # several have come
            newest = await reader.last(self._pattern)
            page = page._replace(messages=[newest] if newest is not None else [])
        self._view.fold(page.messages)
        return bool(page.messages)
