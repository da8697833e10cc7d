"""`GET /api/cost`, `/api/stats` and `/api/metrics`: what was used, for its key or for an admin.

A client's key sees its own and nobody else's; an admin's key, of any role, sees all.
"""

import logging
import time
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry

from droveway.contracts.access import Admin, Key
from droveway.contracts.reports import Only, ReportAsked, StatsAsked
from droveway.gateway.admin.admins import Admins
from droveway.gateway.admin.asked import check_id, read_query
from droveway.gateway.auth import Authenticator
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.kept_answers import Ask, KeptAnswers
from droveway.gateway.doors.usage_views import COST, METRICS, QUERY, STATS, cost_list, key_cost
from droveway.gateway.journal import Journal
from droveway.gateway.openapi.serve import Page
from droveway.gateway.refusal import Refusal, refuse
from droveway.runtime.addresses import Networks
from droveway.runtime.bus import Bus
from droveway.runtime.dashboard import dashboard_of
from droveway.runtime.probes import page
from droveway.runtime.rare_log import RareLog
from droveway.runtime.reports import (
    ReportUnavailable,
    ask_report,
    ask_stats,
    moment_ms,
    month_of,
)

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 0.9
"""So that a client is told within a second that nobody answers."""
_HOUR_MS = 3_600_000
_NO_STORE = (b"cache-control", b"no-store")
_encode = msgspec.json.Encoder().encode


class Found(NamedTuple):
    """What a path means."""

    operation: str
    page: Page


class _Asked(NamedTuple):
    """Who wants whose numbers, since when."""

    asker: str
    key_id: str
    """Empty: all keys'."""
    since_ms: int
    now_ms: int

    def question(self, path: str) -> str:
        """The same question has the same name for an hour."""
        return f"{path} {self.key_id} {self.since_ms // _HOUR_MS}"


class UsageDoor:
    """The three paths of one gateway."""

    def __init__(
        self, bus: Bus, auth: Authenticator, admins: Admins, registry: CollectorRegistry,
        metrics_addresses: Networks,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._auth = auth
        self._admins = admins
        self._registry = registry
        self._scrapers = metrics_addresses
        self._kept = KeptAnswers(ANSWER_WITHIN_S)
        self._away = RareLog(log, "reports_unavailable")
        self._found = {
            COST: Found("usage.cost", self._cost),
            STATS: Found("usage.stats", self._stats),
            METRICS: Found("usage.metrics", self._metrics),
        }

    def find(self, path: str) -> Found | None:
        """What serves a path; None: there is nothing, or it is closed to all."""
        if path == METRICS and not (self._scrapers or self._admins):
            return None
        return self._found.get(path)

    async def _cost(self, exchange: Exchange, journal: Journal) -> None:
        asked = self._asked(exchange, journal)

        async def ask() -> bytes:
            question = ReportAsked(
                by=("key",), since_ms=asked.since_ms, until_ms=asked.now_ms,
                only=Only(key_id=asked.key_id), measures=False,
            )  # fmt: skip
            made = await ask_report(self._bus, question, ANSWER_WITHIN_S)
            return _encode(key_cost(asked.key_id, made) if asked.key_id else cost_list(made))

        await self._answer(exchange, journal, asked, COST, ask)

    async def _stats(self, exchange: Exchange, journal: Journal) -> None:
        asked = self._asked(exchange, journal)

        async def ask() -> bytes:
            question = StatsAsked(
                since_ms=asked.since_ms, until_ms=asked.now_ms, only=Only(key_id=asked.key_id)
            )
            made = await ask_stats(self._bus, question, ANSWER_WITHIN_S)
            return _encode(dashboard_of(made, asked.now_ms))

        await self._answer(exchange, journal, asked, STATS, ask)

    async def _metrics(self, exchange: Exchange, journal: Journal) -> None:
        address = self._admins.address(exchange.raw_headers, exchange.peer)
        if address not in self._scrapers:
            self._admins.authenticate(exchange.raw_headers, address)
        journal.mark("authenticated")
        body, content_type = await page(self._registry, exchange.text(b"accept") or "")
        journal.finish(200)
        await exchange.start(
            200,
            [
                (b"content-type", content_type.encode()),
                (b"content-length", b"%d" % len(body)),
                _NO_STORE,
            ],
        )
        await exchange.write(body, last=True)

    async def _answer(
        self, exchange: Exchange, journal: Journal, asked: _Asked, path: str, ask: Ask
    ) -> None:
        try:
            body = await self._kept.get(asked.asker, asked.question(path), ask)
        except ReportUnavailable as error:
            self._away.warn(reason=str(error))  # not for clients: it may name the database
            raise refuse("reports_unavailable") from None
        journal.finish(200)
        await exchange.answer(200, body, [_NO_STORE])

    def _asked(self, exchange: Exchange, journal: Journal) -> _Asked:
        """Who asks, and for what.

        Raises:
            Refusal: Nobody's key, another key than one's own, or a time that is none.
        """
        who = self._authenticate(exchange)
        journal.mark("authenticated")
        query = read_query(exchange.query, QUERY)
        wanted = query.get("key_id", "")
        if isinstance(who, Key):
            journal.key = who
            if wanted not in ("", who.id):
                raise refuse("insufficient_role", "A client's key sees only what it has used")
            wanted = who.id
        elif wanted:
            check_id(wanted)
        asker = f"{type(who).__name__} {who.id}"
        now_ms = time.time_ns() // 1_000_000
        try:
            since_ms = moment_ms(query["since"], now_ms) if "since" in query else month_of(now_ms)
        except ValueError as error:
            raise refuse("invalid_request", f"since: {error}", param="since") from None
        return _Asked(asker, wanted, since_ms, max(now_ms, since_ms))

    def _authenticate(self, exchange: Exchange) -> Key | Admin:
        address = self._admins.address(exchange.raw_headers, exchange.peer)
        admin = self._admins.recognise(exchange.raw_headers, address)
        if admin is not None:
            return admin
        try:
            return self._auth.authenticate(exchange.raw_headers, exchange.peer)
        except Refusal as refusal:
            if refusal.failure.code == "invalid_api_key" and self._admins:
                self._admins.failed(address)
            raise
