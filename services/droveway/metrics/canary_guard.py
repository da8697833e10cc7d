"""Rolls a canary back that does worse than the stable channel: here, where every row comes by once.

Only the replica that counts the ledger's rows judges, so there is one decision. It is an order like
an operator's, with its audit event; the routers follow it within a second.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from droveway.contracts.audit import Author
from droveway.contracts.canary import CanaryOrder, digest_of, in_force
from droveway.contracts.config import Canary, Config, Route
from droveway.contracts.config import CanaryGuard as Rules
from droveway.contracts.events import CanaryRolledBack
from droveway.contracts.usage import AttemptRecorded, Row
from droveway.dialects.models import ModelTable
from droveway.dialects.route_names import RouteNames
from droveway.metrics.canary_window import ChannelWindow, Seen, verdict
from droveway.otel.logs import log_event
from droveway.runtime.access_errors import RevisionChanged, StoreUnavailable
from droveway.runtime.audit_trail import NotRecorded
from droveway.runtime.canary_store import CanaryStore
from droveway.runtime.events import Events

log = logging.getLogger(__name__)

AUTHOR = Author(via="metrics", id="canary-guard")
RETRY_S = 1.0
"""Before a rollback that couldn't be stored is tried again."""


class GuardStatistics(NamedTuple):
    """A snapshot for gauges."""

    watched: int
    """Routes whose canary is guarded now."""
    rolled_back: int
    failed: int
    """Rollbacks that couldn't be stored; each is tried again."""


class _Watched:
    """One route's two windows since its canary was last set."""

    def __init__(self, canary: Canary, rules: Rules, set_at: str, since_s: float) -> None:
        self.canary = canary
        self.rules = rules
        self.set_at = set_at
        self.since_s = since_s
        self.windows = {name: ChannelWindow(rules.window_s) for name in ("canary", "stable")}

    def verdict(self) -> str:
        """Why it is to be rolled back; empty: it isn't."""
        seen: dict[str, Seen] = {name: one.seen() for name, one in self.windows.items()}
        return verdict(self.rules, seen["canary"], seen["stable"])


class CanaryGuard:
    """Judges after each page of rows; `run` does what was decided."""

    def __init__(self, store: CanaryStore, events: Events, config: Config) -> None:
        self._store = store
        self._events = events
        self._watched: dict[str, _Watched] = {}
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._rolled_back = self._failed = 0
        self._routes: dict[str, Route] = {}
        self.configure(config, {})

    def configure(self, config: Config, orders: dict[str, CanaryOrder]) -> None:
        """Other routes or orders; what was set anew is judged by attempts that begin later."""
        before, file_s = self._watched, time.time() if self._routes else 0.0
        self._routes = {route.model: route for route in config.routes}
        self._names = RouteNames(config.routes, ModelTable(config.models, config.aliases))
        self._watched = {}
        for name, route in self._routes.items():
            order = orders.get(name)
            canary, set_at = in_force(route, order), order.at if order else ""
            if canary is None or canary.guard is None:
                continue
            known = before.get(name)
            if known is None or (known.canary, known.set_at) != (canary, set_at):
                since_s = datetime.fromisoformat(set_at).timestamp() if set_at else file_s
                known = _Watched(canary, canary.guard, set_at, since_s)
            self._watched[name] = known

    def count(self, rows: Iterable[Row]) -> None:
        """Rows that were counted for the first time."""
        for row in rows:
            if not isinstance(row, AttemptRecorded) or not row.channel:
                continue
            route = self._names.route(self._names.served(row.asked_model or row.model))
            watched = self._watched.get(route.model) if route is not None else None
            if route is not None and watched is not None and self._add(watched, row):
                self._dirty.add(route.model)
        if self._dirty:
            self._wake.set()

    async def run(self) -> None:
        """Rolls back until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.judge():
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def judge(self) -> bool:
        """Judges what was counted since; whether each rollback was stored."""
        for name in [*self._dirty]:
            self._dirty.discard(name)
            watched = self._watched.get(name)
            reason = watched.verdict() if watched is not None else ""
            if reason and not await self._roll_back(self._routes[name], reason):
                self._dirty.add(name)
                return False
        return True

    def statistics(self) -> GuardStatistics:
        """A snapshot for gauges."""
        return GuardStatistics(len(self._watched), self._rolled_back, self._failed)

    def _add(self, watched: _Watched, row: AttemptRecorded) -> bool:
        at_s = min(row.began_ns / 1e9, time.time())
        window = watched.windows.get(row.channel)
        if window is None or row.outcome == "cancelled" or at_s < watched.since_s:
            return False
        first_us = row.times.first_token_us if row.stream else None
        window.add(
            at_s,
            completed=row.outcome == "completed",
            first_token_s=None if first_us is None else first_us / 1e6,
        )
        return True

    async def _roll_back(self, route: Route, reason: str) -> bool:
        """Whether there is nothing left to do."""
        try:
            present = await self._store.get(route.model)
            canary = in_force(route, present.order)
            if canary is None:
                return True  # somebody was faster
            order = CanaryOrder(
                route=route.model, state="rolled_back", canary=canary,
                file=digest_of(route.canary), at="", by="", reason=reason,
            )  # fmt: skip
            await self._store.set(present, order, AUTHOR, "rolled_back")
        except RevisionChanged:
            return True  # it was set anew a moment ago
        except (StoreUnavailable, NotRecorded) as error:
            self._failed += 1
            log_event(
                log, "canary_rollback_failed", level=logging.ERROR,
                route=route.model, reason=str(error)[:300],
            )  # fmt: skip
            return False
        self._rolled_back += 1
        self._watched.pop(route.model, None)
        log_event(
            log, "canary_rolled_back", level=logging.WARNING, route=route.model, reason=reason
        )
        self._events.tell(CanaryRolledBack(route=route.model, reason=reason))
        return True
