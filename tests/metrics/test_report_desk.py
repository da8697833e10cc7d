"""Questions over the bus: who is answered, by whom, and what is said when there is no answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.access import Tenant
from droveway.contracts.envelope import encode
from droveway.contracts.reports import (
    BillAsked,
    ReportAsked,
    ReportRefused,
    StatsAsked,
    answer_decoder,
    report_subject,
)
from droveway.metrics.ledger.database import Database
from droveway.metrics.reports.desk import ReportDesk
from droveway.metrics.reports.rates import LiveRates
from droveway.metrics.streams import StreamWatch
from droveway.runtime.bus import Bus
from droveway.runtime.consumer import Consumer
from droveway.runtime.reports import (
    ReportUnavailable,
    ask_bill,
    ask_fill,
    ask_report,
    ask_stats,
    month_of,
)
from tests.support.flows import eventually
from tests.support.ledger_tables import HOUR_MS, NOON_MS, attempt, fill, new_database, request
from tests.support.nats import NatsServer, droveway_config

SPAN: dict[str, Any] = {"since_ms": NOON_MS, "until_ms": NOON_MS + HOUR_MS}
CONFIG = msgspec.structs.replace(
    droveway_config("http://127.0.0.1:9/v1"), tenants=(Tenant(id="acme", usd_cny=1.0),)
)


@asynccontextmanager
async def serving(
    nats: NatsServer, database: Database, limit: int = 4, within_s: float = 5.0
) -> AsyncIterator[ReportDesk]:
    async with nats.bus("metrics") as bus, asyncio.TaskGroup() as tasks:
        rates = LiveRates(CONFIG)
        rates.on_tenant("acme", CONFIG.tenants[0])
        desk = ReportDesk(
            bus, database, StreamWatch(bus), rates, Consumer("report", tasks, limit), within_s,
            1_000,
        )  # fmt: skip
        desk.configure(CONFIG)
        await desk.listen()
        yield desk


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Database]:
    database = await new_database(tmp_path)
    one = attempt(cost_nano_usd=2_000)
    await fill(database, [one], [request(one, request_id="req_known"), request(one)])
    yield database
    await database.close()


async def test_how_full_streams_are_is_told_without_a_ledger(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    database = Database(f"sqlite:///{tmp_path}/none/ledger.db")
    async with serving(own_nats, database), own_nats.bus("operator") as bus:
        told = await ask_fill(bus, 5)
        with pytest.raises(ReportUnavailable, match="the ledger's database"):
            await ask_stats(bus, StatsAsked(**SPAN), 5)
    await database.close()
    assert all(one.answering for one in told.streams)


@pytest.mark.parametrize("user", ["operator", "gateway"])
async def test_operators_and_gateways_are_answered(
    own_nats: NatsServer, ledger: Database, user: str
) -> None:
    async with serving(own_nats, ledger) as desk, own_nats.bus(user) as bus:
        report = await ask_report(bus, ReportAsked(by=("tenant",), **SPAN), 5)
        assert [line.group for line in report.lines] == [("acme",)]
        assert report.lines[0].cost_nano_cny == 2_000, "the account's own rate"
        stats = await ask_stats(bus, StatsAsked(**SPAN), 5)
        assert stats.total.requests == 2
        bill = await ask_bill(bus, BillAsked(request_id="req_known"), 5)
        assert bill.outcome == "completed"
        assert desk.statistics().answered == 3


async def test_another_inbox_is_not_answered(own_nats: NatsServer, ledger: Database) -> None:
    async with serving(own_nats, ledger) as desk, own_nats.bus("operator") as bus:
        question = encode(StatsAsked(**SPAN))
        bus.publish(report_subject(), question, "_INBOX.caller.caller-0123456789ab.x")
        bus.publish(report_subject(), question)
        bus.publish(report_subject(), b"\xc1", "_INBOX.operator.operator-0123456789ab.x")
        await eventually(lambda: desk.statistics().unanswerable == 2)
        await ask_stats(bus, StatsAsked(**SPAN), 5)
        assert desk.statistics().answered == 1


async def test_one_of_several_answers(own_nats: NatsServer, ledger: Database) -> None:
    async with (
        serving(own_nats, ledger) as one,
        serving(own_nats, ledger) as two,
        own_nats.bus("operator") as bus,
    ):
        for _ in range(20):
            await ask_stats(bus, StatsAsked(**SPAN), 5)
        assert one.statistics().answered + two.statistics().answered == 20


async def test_nobody_there_is_known_at_once(own_nats: NatsServer) -> None:
    async with own_nats.bus("operator") as bus:
        with pytest.raises(ReportUnavailable, match="no metrics service answers"):
            async with asyncio.timeout(0.5):
                await ask_stats(bus, StatsAsked(**SPAN), 5)


async def test_too_many_at_once_are_refused(own_nats: NatsServer, ledger: Database) -> None:
    async with serving(own_nats, ledger, limit=1), own_nats.bus("operator") as bus:
        asked = [ask_stats(bus, StatsAsked(**SPAN), 5) for _ in range(30)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in found if isinstance(one, ReportUnavailable)]
        assert 0 < len(refused) < 30
        assert {str(one) for one in refused} == {"too many reports are being made"}


async def test_a_database_that_is_away_is_told(
    own_nats: NatsServer, ledger: Database, tmp_path: Path
) -> None:
    away = Database(f"sqlite:///{tmp_path / 'gone' / 'ledger.db'}")
    async with serving(own_nats, away) as desk, own_nats.bus("operator") as bus:
        with pytest.raises(ReportUnavailable, match="the ledger's database: unable to open"):
            await ask_stats(bus, StatsAsked(**SPAN), 5)
        assert desk.statistics().refused == 1
    await away.close()


async def test_an_answer_that_takes_too_long_is_refused(
    own_nats: NatsServer, ledger: Database
) -> None:
    async with serving(own_nats, ledger, within_s=1e-6), own_nats.bus("operator") as bus:
        with pytest.raises(ReportUnavailable, match="no answer within 1e-06 s"):
            await ask_stats(bus, StatsAsked(**SPAN), 5)


@pytest.mark.parametrize("answer", [b"\xc1", encode(ReportRefused(reason="why", again=True))])
async def test_what_is_no_answer_is_told(own_nats: NatsServer, answer: bytes) -> None:
    async with own_nats.bus("metrics") as metrics, own_nats.bus("operator") as bus:
        await _answering(metrics, answer)
        with pytest.raises(ReportUnavailable, match=r"another form|why"):
            await ask_stats(bus, StatsAsked(**SPAN), 5)


async def test_an_answer_to_another_question_is_none(
    own_nats: NatsServer, ledger: Database
) -> None:
    async with own_nats.bus("metrics") as metrics, own_nats.bus("operator") as bus:
        async with serving(own_nats, ledger) as desk:
            other = encode(await desk.answer(BillAsked(request_id="req_known")))
        assert answer_decoder.decode(other)
        await _answering(metrics, other)
        with pytest.raises(ReportUnavailable, match="another question: BillMade"):
            await ask_stats(bus, StatsAsked(**SPAN), 5)


async def _answering(bus: Bus, answer: bytes) -> None:
    await bus.subscribe(
        report_subject(), lambda _payload, reply: bus.publish(reply, answer), queue="metrics"
    )


def test_a_month_begins_at_midnight_utc() -> None:
    assert month_of(NOON_MS) == NOON_MS - 22 * 24 * HOUR_MS - 12 * HOUR_MS
    assert month_of(month_of(NOON_MS)) == month_of(NOON_MS)
    assert month_of(0) == 0
