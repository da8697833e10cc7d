"""Files of secrets and of authorities, read again when they change: no renewal needs a restart.

The next call has the new secret; connections stay. With new authorities it has a new connection,
checked against them. A file that can't be read, or is empty, leaves what was good last in use.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from watchfiles import Change, awatch

from droveway.caller.credentials import Secret, resolve
from droveway.caller.proxies import Proxy, resolve_proxy
from droveway.caller.trust import tls_context
from droveway.caller.upstream import Upstream
from droveway.caller.upstreams import Upstreams
from droveway.otel.logs import log_event
from droveway.runtime.errors import SettingsError
from droveway.runtime.file_watch import LOOK_EVERY_S, UNWATCHABLE, check_cancelled, concerns

log = logging.getLogger(__name__)

_FILE = "file:"


class SecretStatistics(NamedTuple):
    """A snapshot for gauges."""

    files: int
    """Files that are followed."""
    changes: int
    """Secrets and authorities that were replaced."""
    failed: int
    """Files that couldn't be read any more."""
    bad: int
    """Those that can't be read now: what was good last is in use."""


class SecretFiles:
    """The files behind `file:` and `ca_file` of the providers that are kept."""

    def __init__(self, upstreams: Upstreams, on_change: Callable[[], None]) -> None:
        self._upstreams = upstreams
        self._on_change = on_change
        self._moved = asyncio.Event()
        self._files: frozenset[Path] = frozenset()
        self._bad: frozenset[str] = frozenset()
        self._changes = self._failed = 0

    def configure(self) -> None:
        """Other providers are kept now."""
        self._moved.set()

    async def run(self) -> None:
        """Follows the files until cancelled."""
        while True:
            self._moved = asyncio.Event()
            self._files = frozenset(_files(self._upstreams.kept()))
            await self._read()
            try:
                await self._follow(self._moved)
            except UNWATCHABLE as error:
                check_cancelled()
                log_event(
                    log, "secret_files_unwatched", level=logging.WARNING, reason=str(error)[:200]
                )
                await self._pause()

    def statistics(self) -> SecretStatistics:
        """A snapshot for gauges."""
        return SecretStatistics(len(self._files), self._changes, self._failed, len(self._bad))

    async def _follow(self, moved: asyncio.Event) -> None:
        """Reads after each change, until other files are to be followed."""
        if not self._files:
            await moved.wait()
            return
        folders = {file.parent for file in self._files if file.parent.is_dir()}
        if not folders:  # of earlier configurations only, or somebody is replacing it
            await self._pause()
            return
        changes = awatch(
            *folders, watch_filter=self._concerns, step=100, debounce=400, recursive=False,
            stop_event=moved, rust_timeout=int(LOOK_EVERY_S * 1000), yield_on_timeout=True,
        )  # fmt: skip
        async for _ in changes:
            await self._read()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._moved.wait()
        except TimeoutError:
            return

    def _concerns(self, _change: Change, path: str) -> bool:
        return concerns(self._files, path)

    async def _read(self) -> None:
        bad: set[str] = set()
        before = self._changes
        present = self._upstreams.all()
        for upstream in self._upstreams.kept():
            again = await asyncio.to_thread(_read_again, upstream)
            if upstream in present:  # what only earlier configurations name may be gone
                bad.update(again.bad)
            self._take(upstream, again)
            if again.proxy is not None:
                upstream.transport.go_through(again.proxy)
            if again.trusted not in (None, upstream.transport.trusted):
                self._trust(upstream)
        for reason in sorted(bad - self._bad):  # each once, until it is readable again
            self._failed += 1
            log_event(log, "secret_unreadable", level=logging.ERROR, reason=reason)
        self._bad = frozenset(bad)
        if self._changes != before:
            self._on_change()

    def _take(self, upstream: Upstream, again: "_Again") -> None:
        provider = upstream.provider.id
        for credential, secret in again.secrets.items():
            if secret.header("bearer") != upstream.secrets[credential].header("bearer"):
                upstream.secrets[credential] = secret
                self._changes += 1
                log_event(log, "secret_renewed", provider=provider, credential=credential)

    def _trust(self, upstream: Upstream) -> None:
        try:
            self._upstreams.renew(upstream)
        except SettingsError as error:  # another of its files is bad at this moment
            log_event(log, "authorities_kept", level=logging.WARNING, reason=str(error))
            return
        self._changes += 1
        log_event(log, "authorities_renewed", provider=upstream.provider.id)


class _Again(NamedTuple):
    """What a provider's files hold now."""

    secrets: dict[str, Secret]
    proxy: Proxy | None
    trusted: ssl.SSLContext | None
    bad: list[str]


def _read_again(upstream: Upstream) -> _Again:
    provider = upstream.provider
    again = _Again({}, None, None, [])
    for credential in provider.credentials:
        if credential.api_key.startswith(_FILE):
            try:
                again.secrets[credential.id] = resolve(provider, credential)
            except SettingsError as error:
                again.bad.append(str(error))
    if provider.proxy.startswith(_FILE):
        try:
            again = again._replace(proxy=resolve_proxy(provider))
        except SettingsError as error:
            again.bad.append(str(error))
    if upstream.transport.ca_file:
        try:
            again = again._replace(trusted=tls_context(upstream.transport.ca_file))
        except SettingsError as error:
            again.bad.append(f"providers {provider.id!r}, {error}")
    return again


def _files(upstreams: list[Upstream]) -> Iterator[Path]:
    for upstream in upstreams:
        provider = upstream.provider
        for reference in (*(one.api_key for one in provider.credentials), provider.proxy):
            if reference.startswith(_FILE):
                yield Path(reference.removeprefix(_FILE)).absolute()
        if upstream.transport.ca_file:
            yield Path(upstream.transport.ca_file).absolute()
