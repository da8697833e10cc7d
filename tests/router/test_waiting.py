"""Who waits is called when there may be room, one by one, and waits no longer than allowed."""

import asyncio
import time
from typing import Any

import pytest

from droveway.contracts.dispatch import Target
from droveway.contracts.errors import failure
from droveway.contracts.inference import CLASSES
from droveway.router.places import models_of
from droveway.router.routes import Candidate
from droveway.router.turn import Turn
from droveway.router.waiting import WaitingRoom
from tests.support.turns import places, turn, waiting_room

A = places("a")
BUSY = failure("provider_busy", retry_after_ms=1_000)
LONG_S = 1.5
"""Until somebody looks by itself: nobody does within a test."""


async def lined_up(room: WaitingRoom, count: int, **options: Any) -> list["Waiting"]:
    found = [Waiting(turn(room, **options)) for _ in range(count)]
    await asyncio.sleep(0)
    return found


def candidate(provider: str, credential: str = "main", model: str = "m") -> Candidate:
    target = Target(provider=provider, credential=credential, model=model)
    return Candidate(target, "default", 1_000, 1_000)


class Waiting:
    """A request that waits at A, and what it was told."""

    def __init__(self, its: Turn) -> None:
        self.turn = its
        self.task = asyncio.ensure_future(its.wait(A, BUSY, LONG_S))

    async def called(self) -> bool:
        await asyncio.sleep(0.001)
        return self.task.done() and self.task.result() is None

    @property
    def refused(self) -> str:
        told = self.task.result()
        return "" if told is None else told.code


async def test_room_calls_as_many_as_there_is_room_for() -> None:
    room = waiting_room()
    waiting = await lined_up(room, 5)
    room.room("a", 2)
    assert [await one.called() for one in waiting] == [True, True, False, False, False]
    room.room("b", 5)
    room.settled("a", "main")
    assert sum([await one.called() for one in waiting]) == 2
    for one in waiting:
        one.task.cancel()


async def test_a_settled_attempt_calls_those_who_wait_for_its_credential() -> None:
    room = waiting_room()
    tasks = [
        asyncio.ensure_future(turn(room).wait(models_of([one]), BUSY, LONG_S))
        for one in (candidate("a", "main", "m1"), candidate("a", "spare", "m1"))
    ]
    await asyncio.sleep(0)
    for name, model in (("main", "m1"), ("main", "m2"), ("spare", "m1")):
        taken = room.taken([candidate("a", name, model)])
        assert bool(taken) == (model == "m1"), "another model has limits of its own"
    room.room("a", 1)
    room.settled("b", "main")
    await asyncio.sleep(0.001)
    assert not any(one.done() for one in tasks)
    room.settled("a", "main")
    await asyncio.sleep(0.001)
    assert [one.done() for one in tasks] == [True, False]
    tasks[1].cancel()


async def test_who_finds_room_lets_the_next_one_look_and_who_finds_none_does_not() -> None:
    room = waiting_room()
    waiting = await lined_up(room, 3)
    room.room("a", 1)
    assert [await one.called() for one in waiting] == [True, False, False]
    waiting[0].turn.passed()
    assert [await one.called() for one in waiting] == [True, True, False]
    again = asyncio.ensure_future(waiting[1].turn.wait(A, BUSY, LONG_S))
    assert [await one.called() for one in waiting] == [True, True, False]
    room.room("a", 1)
    await asyncio.sleep(0.001)
    assert again.done(), "it stood before the other"
    waiting[1].turn.close()
    assert await waiting[2].called(), "who leaves lets the next one look, too"


async def test_the_first_looks_when_it_was_told_to_and_nobody_before() -> None:
    room, began_s = waiting_room(), time.monotonic()
    first, second = turn(room), turn(room)
    tasks = [asyncio.ensure_future(one.wait(A, BUSY, 0.1)) for one in (first, second)]
    assert await tasks[0] is None
    assert 0.09 < time.monotonic() - began_s < 0.3
    assert not tasks[1].done()
    assert room.statistics().called == 1
    again = asyncio.ensure_future(first.wait(A, BUSY, 0.1))
    assert await again is None
    assert time.monotonic() - began_s > 0.19
    assert room.statistics().called == 2
    first.passed()
    assert await tasks[1] is None


async def test_who_can_not_wait_long_enough_is_refused_at_once() -> None:
    room, began_s = waiting_room(), time.monotonic()
    assert await turn(room).wait(A, BUSY, 3.0) is BUSY
    assert await turn(room, allowed_s=0.0).wait(A, BUSY, None) is BUSY
    assert await turn(room, remaining_s=0.5).wait(A, BUSY, 1.0) is BUSY
    assert time.monotonic() - began_s < 0.05
    assert len(room.queue) == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [({"allowed_s": 0.06}, "provider_busy"), ({"remaining_s": 0.06}, "deadline_exceeded")],
    ids=["queue_s", "deadline"],
)
async def test_whose_time_is_over_is_told_why(options: dict[str, Any], code: str) -> None:
    room, began_s = waiting_room(), time.monotonic()
    (first,) = await lined_up(room, 1)
    late = await turn(room, **options).wait(A, BUSY, None)
    assert late is not None
    assert late.code == code
    assert 0.05 < time.monotonic() - began_s < 0.5
    assert len(room.queue) == 1
    first.task.cancel()


async def test_who_leaves_is_forgotten_everywhere() -> None:
    room = waiting_room()
    waiting = await lined_up(room, 3)
    assert room.taken([candidate("a")]) == A
    assert room.taken([candidate("a"), candidate("b")]) == frozenset()
    for one in waiting:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in waiting), return_exceptions=True)
    assert (len(room.queue), room.queue.tokens) == (0, 0)
    assert room.taken([candidate("a")]) == frozenset()


async def test_who_is_cancelled_while_it_looks_lets_the_next_one_look() -> None:
    room = waiting_room()
    waiting = await lined_up(room, 2)
    room.room("a", 1)
    waiting[0].task.cancel()
    await asyncio.gather(waiting[0].task, return_exceptions=True)
    waiting[0].turn.close()
    assert await waiting[1].called()


async def test_a_full_queue_refuses_at_once_and_by_tenant() -> None:
    room = waiting_room(requests=10)
    noisy = await lined_up(room, 10, tenant="noisy")
    began_s = time.monotonic()
    refused = await turn(room, "noisy").wait(A, BUSY, None)
    assert refused is not None
    assert refused.code == "overloaded"
    assert time.monotonic() - began_s < 0.02
    (quiet,) = await lined_up(room, 1, tenant="quiet")
    await asyncio.sleep(0.001)
    assert noisy[-1].refused == "overloaded"
    room.room("a", 2)
    assert await quiet.called(), "its turn comes among the first two"
    for one in (*noisy, quiet):
        one.task.cancel()


async def test_a_line_that_moves_too_slowly_takes_no_more_of_those_who_are_behind() -> None:
    room = waiting_room()
    waiting = await lined_up(room, 40, tenant="noisy")
    for _ in range(6):
        await asyncio.sleep(0.05)
        room.room("a", 1)
        await asyncio.sleep(0.001)
        next(one for one in waiting if one.task.done() and one.turn.is_called).turn.passed()
    began_s = time.monotonic()
    refused = await turn(room, "noisy").wait(A, BUSY, None)
    assert refused is not None
    assert refused.code == "overloaded"
    assert refused.retry_after_ms is not None
    assert 500 < refused.retry_after_ms < 5_000
    assert time.monotonic() - began_s < 0.02
    (quiet,) = await lined_up(room, 1, tenant="quiet")
    assert not quiet.task.done(), "another tenant's line is short"
    for one in (*waiting, quiet):
        one.task.cancel()


async def test_batches_go_after_all_others() -> None:
    room = waiting_room()
    batch = await lined_up(room, 1, priority=CLASSES[-1])
    interactive = await lined_up(room, 1, priority=CLASSES[0])
    room.room("a", 1)
    assert [await one.called() for one in (*interactive, *batch)] == [True, False]
    interactive[0].turn.close()
    assert await batch[0].called()
