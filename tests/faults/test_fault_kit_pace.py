"""What a bound in time counts, and what it leaves to the machine."""

import asyncio
import time

from tests.support.pace import STOOD_STILL_S, Pace


def use(processor_s: float) -> None:
    until_s = time.process_time() + processor_s
    while time.process_time() < until_s:
        pass


async def test_waiting_counts() -> None:
    with Pace() as pace:
        await asyncio.sleep(0.3)
        assert pace.elapsed_s >= 0.05
    ended_s = pace.elapsed_s
    await asyncio.sleep(0.05)
    assert pace.elapsed_s == ended_s


async def test_what_the_process_does_itself_counts() -> None:
    with Pace() as pace:
        use(0.1)
    assert pace.elapsed_s >= 0.08


async def test_what_others_take_does_not_count() -> None:
    with Pace() as pace:
        time.sleep(0.2)  # noqa: ASYNC251 - as if others were run
    assert pace.elapsed_s < 0.1
    assert pace.longest_lost_s >= 0.15


async def test_after_a_standstill_the_time_is_taken_anew() -> None:
    with Pace() as pace:
        await asyncio.sleep(0.2)
        time.sleep(STOOD_STILL_S + 0.1)  # noqa: ASYNC251 - as if others were run
        assert pace.elapsed_s < 0.1
