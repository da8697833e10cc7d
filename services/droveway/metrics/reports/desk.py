"""Takes questions on `report`, a few at once, and answers each from one connection."""

import asyncio
import logging
import time
from typing import NamedTuple, assert_never

from droveway.contracts.comparison import ComparisonAsked
from droveway.contracts.config import Config
from droveway.contracts.envelope import encode, is_inbox_of
from droveway.contracts.fill import FillAsked
from droveway.contracts.reports import (
    METRICS,
    Answer,
    BillAsked,
    Question,
    ReportAsked,
    ReportRefused,
    StatsAsked,
    question_decoder,
    report_subject,
)
from droveway.dialects.models import ModelTable
from droveway.dialects.route_names import RouteNames
from droveway.metrics.ledger.database import Database, LedgerAway, RowRefused
from droveway.metrics.reports.bill import make_bill
from droveway.metrics.reports.comparison import make_comparison
from droveway.metrics.reports.rates import LiveRates
from droveway.metrics.reports.report import make_report
from droveway.metrics.reports.stats import make_stats
from droveway.metrics.streams import StreamWatch
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.consumer import Consumer, on_message
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

_ASKERS = frozenset({"gateway", "operator"})


class DeskStatistics(NamedTuple):
    """A snapshot for gauges."""

    answered: int
    refused: int
    """Questions that weren't answered in time, or not by the database."""
    unanswerable: int
    """Questions whose reply subject is no inbox of those who may ask."""


class ReportDesk:
    """One process's answers; `configure` tells it the routes."""

    def __init__(
        self, bus: Bus, database: Database, streams: StreamWatch, rates: LiveRates,
        consumer: Consumer, within_s: float, max_rows: int,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._database = database
        self._streams = streams
        self._rates = rates
        self._consumer = consumer
        self._within_s = within_s
        self._max_rows = max_rows
        self._answered = self._refused = self._unanswerable = 0
        self._bad_reply = RareLog(log, "bad_reply_subject")
        self._failed = RareLog(log, "report_failed")

    def configure(self, config: Config) -> None:
        """Another configuration is in force."""
        self._names = RouteNames(config.routes, ModelTable(config.models, config.aliases))

    async def listen(self) -> None:
        """Takes questions from now on, its share of them where others do too."""
        receive = on_message(self._consumer, question_decoder, self._serve, self._refuse_full)
        await self._bus.subscribe(report_subject(), receive, queue=METRICS)

    async def answer(self, question: Question) -> Answer:
        """What is answered.

        Raises:
            LedgerAway: The database doesn't answer.
            RowRefused: It can't be asked for such a name.
        """
        if isinstance(question, FillAsked):  # the ledger isn't needed for it
            return await self._streams.told()
        rates = self._rates.now
        async with self._database.reading() as connection:
            match question:
                case ReportAsked():
                    now_ms = time.time_ns() // 1_000_000
                    return await make_report(connection, question, rates, now_ms, self._max_rows)
                case StatsAsked():
                    return await make_stats(connection, question, rates, self._max_rows)
                case BillAsked():
                    return await make_bill(connection, question, rates)
                case ComparisonAsked():
                    now_ms = time.time_ns() // 1_000_000
                    return await make_comparison(connection, question, self._names, rates, now_ms)
                case _:
                    assert_never(question)

    def statistics(self) -> DeskStatistics:
        """A snapshot for gauges."""
        return DeskStatistics(self._answered, self._refused, self._unanswerable)

    async def _serve(self, question: Question, reply: str) -> None:
        if not is_inbox_of(reply, _ASKERS):
            self._unanswerable += 1
            self._bad_reply.warn()
            return
        try:
            async with asyncio.timeout(self._within_s):
                answer = await self.answer(question)
            self._answered += 1
        except TimeoutError:
            answer = self._refusal(f"the ledger has no answer within {self._within_s:g} s", "slow")
        except (LedgerAway, RowRefused) as error:
            answer = self._refusal(f"the ledger's database: {error}", type(error).__name__)
        self._tell(reply, answer)

    def _refuse_full(self, _question: Question, reply: str) -> None:
        if is_inbox_of(reply, _ASKERS):
            self._tell(reply, ReportRefused(reason="too many reports are being made", again=True))

    def _refusal(self, reason: str, kind: str) -> ReportRefused:
        self._refused += 1
        self._failed.warn(reason=kind)
        return ReportRefused(reason=reason, again=True)

    def _tell(self, reply: str, answer: Answer) -> None:
        try:
            self._bus.publish(reply, encode(answer))
        except BusError as error:
            log_event(log, "report_unsent", level=logging.WARNING, reason=str(error))
