"""The configuration in force: the applied one, else the file; a bad one never replaces a good one.

    droveway.yaml ---- follow --------> file ----+
                                                 +--> listeners: all take it, or none does
    KV config -------- ConfigBucket --> applied -+

Where operators have applied a configuration it holds instead of the file, until they release it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from watchfiles import Change, awatch

from droveway.contracts.config import Config
from droveway.contracts.configuration import ConfigVersion, version_of
from droveway.otel.logs import log_event
from droveway.runtime.config.file import load
from droveway.runtime.errors import SettingsError
from droveway.runtime.file_watch import LOOK_EVERY_S, UNWATCHABLE, check_cancelled, concerns

log = logging.getLogger(__name__)

Listener = Callable[[Config], None]


class InForce(NamedTuple):
    """A configuration with what it is called by."""

    config: Config
    version: ConfigVersion
    revision: int = 0
    """Of the bucket `config`; 0: it is the file's."""

    @property
    def source(self) -> Literal["file", "bucket"]:
        """Where it comes from."""
        return "bucket" if self.revision else "file"


class ConfigStatistics(NamedTuple):
    """A snapshot for gauges."""

    reloaded: int
    rejected: int
    """Files and applied configurations that were refused: the last good one stayed in force."""
    shadowed_files: int
    """Changes of the file while an applied configuration held."""
    revision: int
    """0: the file holds."""


class LiveConfig:
    """Tells listeners of each configuration that comes into force.

    While it tells them `current`, `version` and `revision` are those of the new one already; should
    one of them refuse it, those that had taken it get the one before again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._watched = Path(path).absolute()
        self._file = read_file(path)
        self._applied: InForce | None = None
        self._present = self._file
        self._listeners: list[Listener] = []
        self.on_reload: Callable[[int], None] = lambda _findings: None
        """Called after each reading that changes something or is refused; 0 findings: adopted."""
        self._reloaded = self._rejected = self._shadowed_files = 0

    @property
    def current(self) -> Config:
        """What holds now."""
        return self._present.config

    @property
    def version(self) -> ConfigVersion:
        """By which it is called everywhere."""
        return self._present.version

    @property
    def revision(self) -> int:
        """Its revision in the bucket; 0: it is the file's."""
        return self._present.revision

    @property
    def source(self) -> Literal["file", "bucket"]:
        """Where it comes from."""
        return self._present.source

    def on_change(self, listener: Listener) -> None:
        """Calls `listener` now and with each new configuration.

        A listener that raises `SettingsError` at start-up refuses the start; later it refuses the
        new configuration, for all.
        """
        listener(self.current)
        self._listeners.append(listener)

    def reload(self) -> bool:
        """Reads the file again; keeps the old configuration when the new one is bad."""
        try:
            found = read_file(self.path)
        except SettingsError as error:
            self.refuse(str(error))
            return False
        return self._take_file(found)

    def apply(self, applied: InForce | None) -> bool:
        """Has an applied configuration hold from now on, or the file again; whether it was taken.

        Args:
            applied: Checked as a file is; None: there is none any more.
        """
        taken = self._adopt(applied or self._file)
        if taken or applied is None:  # a file that is refused holds as soon as it is mended
            self._applied = applied
        return taken

    def refuse(self, reason: str) -> None:
        """A file or an entry is bad, for the reasons in `reason`, one per line; nothing changes."""
        self._rejected += 1
        log_event(log, "config_reload_failed", level=logging.ERROR, reason=reason)
        self.on_reload(len(reason.splitlines()))

    async def follow(self) -> None:
        """Follows the file until cancelled; where it can't be watched it is read now and then."""
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs every change
        while True:
            try:
                await self._watch()
            except UNWATCHABLE as error:
                check_cancelled()
                log_event(log, "config_unwatched", level=logging.WARNING, reason=str(error)[:200])
            await asyncio.sleep(LOOK_EVERY_S)
            await self._reread()

    async def _watch(self) -> None:
        """Watches the file's folder: a mounted ConfigMap is swapped by a link."""
        async for _changes in awatch(
            self._watched.parent,
            watch_filter=self._concerns,
            step=200,
            debounce=400,
            recursive=False,
        ):
            await self._reread()

    async def _reread(self) -> None:
        try:
            found = await asyncio.to_thread(read_file, self.path)  # a large one takes a while
        except SettingsError as error:
            self.refuse(str(error))
        else:
            self._take_file(found)

    def statistics(self) -> ConfigStatistics:
        """A snapshot for gauges."""
        return ConfigStatistics(
            self._reloaded, self._rejected, self._shadowed_files, self._present.revision
        )

    def _concerns(self, _change: Change, path: str) -> bool:
        return concerns((self._watched,), path)

    def _take_file(self, found: InForce) -> bool:
        if self._applied is None:
            if not self._adopt(found):
                return False
        elif found != self._file:
            self._shadowed_files += 1
            log_event(
                log, "config_file_shadowed", level=logging.WARNING,
                path=self.path, file=found.version, revision=self._applied.revision,
            )  # fmt: skip
        self._file = found
        return True

    def _adopt(self, found: InForce) -> bool:
        before, self._present = self._present, found
        if found == before:
            return True
        if (found.config, found.version) != (before.config, before.version):
            told: list[Listener] = []
            try:
                for listener in self._listeners:
                    listener(found.config)
                    told.append(listener)
            except (SettingsError, ValueError) as error:
                self._present = before
                _go_back(told, before.config)
                self.refuse(str(error))
                return False
            self._reloaded += 1
        log_event(
            log, "config_reloaded",
            source=found.source, version=found.version, revision=found.revision,
        )  # fmt: skip
        self.on_reload(0)
        return True


def read_file(path: str) -> InForce:
    """The file's configuration.

    Raises:
        SettingsError: As `file.load`.
    """
    config = load(path)
    return InForce(config, version_of(config))


def _go_back(listeners: Iterable[Listener], config: Config) -> None:
    for listener in listeners:
        try:
            listener(config)
        except (SettingsError, ValueError) as error:  # a file that it names is gone meanwhile, say
            log_event(log, "config_not_taken_back", level=logging.ERROR, reason=str(error)[:500])
