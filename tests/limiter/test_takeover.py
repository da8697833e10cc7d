"""Owners that are killed and frozen under load: nobody is told what doesn't stand in the log.

The longer form of it is a row of `make prove`.
"""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from droveway.contracts.admission import Admitted
from tests.support.nats import NatsServer, serving
from tests.support.takeovers import (
    TIGHT,
    WIDE,
    admitted_since,
    asking,
    gaps_s,
    limiters,
    metric,
    struck,
    verdict,
)
from tests.support.waiting import until

DECISIONS_PER_S = 300
KILLS = FREEZES = 3


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with serving(tmp_path_factory.mktemp("takeovers")) as server:
        yield server


async def test_no_takeover_admits_too_much_or_stays_away_long(
    broker: NatsServer, tmp_path: Path
) -> None:
    async with limiters(broker, tmp_path, 3) as group:
        async with asking(broker, DECISIONS_PER_S, TIGHT, WIDE, TIGHT) as asker:
            faults_s = await struck(group, KILLS, FREEZES)
        assert len(asker.told) > 100 * len(faults_s)
        found = await verdict(broker, asker.told)
        assert found.over_admitted == 0
        assert found.unlogged == 0
        assert found.doubled == 0
        assert found.unanswered == 0
        assert found.clock_led_ms <= 1
        assert found.clock_stepped_back == 0
        gaps = sorted(gaps_s(asker.told, faults_s))
        assert gaps[len(gaps) // 2] < 0.5, gaps
        assert gaps[-1] < 1.5, gaps


async def test_a_rolling_restart_refuses_nobody(broker: NatsServer, tmp_path: Path) -> None:
    async with limiters(broker, tmp_path, 3) as group:
        async with asking(broker, DECISIONS_PER_S / 3, WIDE) as asker:
            for process in [*group.running]:
                await group.restart(process)
        assert all(isinstance(one.answer, Admitted) for one in asker.told)
        slowest_s = max(one.answered_s - one.asked_s for one in asker.told)
        assert slowest_s < 0.5
        found = await verdict(broker, asker.told)
        assert (found.unlogged, found.doubled, found.unanswered) == (0, 0, 0)


async def test_after_the_broker_came_back_decisions_go_on_within_two_seconds(
    broker: NatsServer, tmp_path: Path
) -> None:
    async with limiters(broker, tmp_path, 3), asking(broker, 100, WIDE, TIGHT) as asker:
        await asyncio.sleep(0.3)
        broker.kill()
        await asyncio.to_thread(broker.start)
        back_s = time.monotonic()
        await until(lambda: admitted_since(asker, back_s))
        assert time.monotonic() - back_s < 2
        await asyncio.sleep(0.5)
    found = await verdict(broker, asker.told)
    assert (found.over_admitted, found.unlogged, found.doubled) == (0, 0, 0)


async def test_a_broker_that_stood_still_changes_nothing(
    broker: NatsServer, tmp_path: Path
) -> None:
    async with limiters(broker, tmp_path, 2), asking(broker, 200, WIDE, TIGHT) as asker:
        await asyncio.sleep(0.3)
        broker.pause(signal.SIGSTOP)
        await asyncio.sleep(0.7)
        broker.pause(signal.SIGCONT)
        await asyncio.sleep(0.7)
    found = await verdict(broker, asker.told)
    assert found.unanswered == 0
    assert (found.over_admitted, found.unlogged, found.doubled) == (0, 0, 0)
    assert found.clock_stepped_back == 0


async def test_a_standby_that_stood_still_takes_nothing_over(
    broker: NatsServer, tmp_path: Path
) -> None:
    """All that it hasn't heard lies unread before it."""
    async with limiters(broker, tmp_path, 2) as group:
        owner = await group.owner()
        (standby,) = [one for one in group.running if one is not owner]
        for _ in range(2):
            standby.pause()
            await asyncio.sleep(0.6)
            standby.resume()
            await asyncio.sleep(0.4)
        assert await group.owner() is owner
        assert await metric(standby, "droveway_partition_takeovers_total{") == 0
