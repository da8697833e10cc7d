"""What callers tell in their digests: which credentials to spare, and how targets fare."""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.health import (
    MAX_COOLDOWN_MS,
    MAX_CREDENTIALS,
    REFUSED,
    PoolHealth,
    TargetHealth,
    health_decoder,
)
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

SILENT_S = 5.0
"""A caller that says nothing for so long may be gone, and its secrets with it: what it found
refused, another one may use."""
MAX_CALLERS = 256
"""Callers that are remembered; beyond it the one that was heard longest ago is forgotten."""

Key = tuple[str, str]
"""Provider and credential."""


class Cooldown(NamedTuple):
    """Until when, on this process's monotonic clock, and why."""

    until_s: float
    why: str


class HeardStatistics(NamedTuple):
    """A snapshot for gauges."""

    callers: int
    cooling: int
    """Credentials."""
    malformed: int


class HeardHealth:
    """The digests of all callers, merged: a credential cools until the last of them says.

    Args:
        but: The caller that listens; its own digests say nothing new to it.
        silent_s: After how long of silence a caller is taken for gone.
    """

    def __init__(self, but: str = "", silent_s: float = SILENT_S) -> None:
        self._but = but
        self._silent_s = silent_s
        self._callers: dict[str, dict[Key, Cooldown]] = {}
        self._heard_s: dict[str, float] = {}
        self._merged: dict[Key, Cooldown] = {}
        self._malformed = 0
        self.on_targets: Callable[[tuple[TargetHealth, ...]], None] = lambda _targets: None
        """Called with what each digest says of targets."""
        self._bad_digest = RareLog(log, "bad_digest")

    def on_digest(self, payload: bytes, _reply: str = "") -> None:
        """Takes one caller's digest in place of its last one."""
        try:
            digest = health_decoder.decode(payload)
        except MALFORMED as error:
            self._malformed += 1
            self._bad_digest.warn(reason=str(error)[:200])
            return
        if digest.caller != self._but:
            self._replace(digest, time.monotonic())
            self.on_targets(digest.targets)

    def learn(self, caller: str, key: Key, why: str, wait_ms: int) -> None:
        """A caller has said of one credential what its next digest will say, too."""
        now_s = time.monotonic()
        known = self._callers.setdefault(caller, {})
        if key in known or len(known) < MAX_CREDENTIALS:
            known[key] = Cooldown(now_s + min(MAX_COOLDOWN_MS, wait_ms) / 1000, why)
        self._merge(caller, now_s)

    def reset(self, provider: str) -> None:
        """Forgets the cooldowns of a provider, of all where it is empty, until callers say more."""
        for cooldowns in (*self._callers.values(), self._merged):
            for key in [*cooldowns]:
                if provider in ("", key[0]):
                    del cooldowns[key]

    def cooling(self, now_s: float) -> dict[Key, Cooldown]:
        """All that hold now."""
        return {key: one for key, one in self._merged.items() if now_s < one.until_s}

    def cooldown(self, key: Key, now_s: float) -> Cooldown | None:
        """What holds now; None: nobody was told to spare it."""
        found = self._merged.get(key)
        return found if found is not None and now_s < found.until_s else None

    def statistics(self) -> HeardStatistics:
        """A snapshot for gauges."""
        now_s = time.monotonic()
        return HeardStatistics(len(self._callers), len(self.cooling(now_s)), self._malformed)

    def _replace(self, digest: PoolHealth, now_s: float) -> None:
        self._callers[digest.caller] = {
            (one.provider, one.credential): Cooldown(
                now_s + min(MAX_COOLDOWN_MS, one.cooldown_ms) / 1000, one.why
            )
            for one in digest.credentials
            if one.cooldown_ms
        }
        self._merge(digest.caller, now_s)

    def _merge(self, heard: str, now_s: float) -> None:
        self._heard_s[heard] = now_s
        if len(self._callers) > MAX_CALLERS:
            self._forget(min(self._heard_s, key=self._heard_s.__getitem__))
        for caller, heard_s in list(self._heard_s.items()):
            cooldowns = self._callers[caller]
            if now_s - heard_s > self._silent_s and not any(
                now_s < one.until_s for one in cooldowns.values()
            ):
                self._forget(caller)
        self._merged = {}
        for caller, cooldowns in self._callers.items():
            for key, one in cooldowns.items():
                if one.why == REFUSED:
                    gone_s = self._heard_s[caller] + self._silent_s
                    one = Cooldown(min(one.until_s, gone_s), REFUSED)
                other = self._merged.get(key)
                if other is None or other.until_s < one.until_s:
                    self._merged[key] = one

    def _forget(self, caller: str) -> None:
        del self._callers[caller], self._heard_s[caller]
