"""What an interleaving, a lost word or a mad number must not do to limits and money."""

import asyncio
from typing import Any

import msgspec
import pytest

from droveway.contracts.access import Budget, Limit
from droveway.contracts.admission import Admitted
from droveway.contracts.dispatch import Target
from droveway.contracts.envelope import encode
from droveway.contracts.inference import Body, InferenceRequested
from droveway.contracts.limits import Batch, batch_decoder
from droveway.contracts.relay import Usage
from droveway.contracts.settlement import (
    Released,
    Settled,
    settlement_decoder,
    settlement_subject,
)
from droveway.limiter.accounts import span_of
from droveway.limiter.book import Book
from droveway.limiter.money import PENDING_MS
from droveway.router.permit import Permit
from droveway.router.routes import Candidate
from droveway.router.settings import RouterSettings
from droveway.runtime.deadline import Deadline
from tests.support.limiter_world import (
    NANO_PER_TOKEN,
    NOW_MS,
    OTHER_PLACE,
    World,
    attempt_id,
    config,
    replayed,
    row,
)
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.turns import turn, waiting_room

LEASE_MS = 10_000
DOLLAR = (Budget(usd=1.0, period="total"),)


def _remaining(world: World) -> int:
    shown = world.denied(99, input_tokens=0, max_output_tokens=1_000).tokens
    assert shown is not None
    return shown.remaining


def _spent(world: World) -> int:
    account = world.book.money.accounts.get("k:a")
    return 0 if account is None else account.spent("total", span_of("total", NOW_MS).start_ms)


def _open(world: World) -> int:
    account = world.book.money.accounts.get("k:a")
    return 0 if account is None else account.open_nano


def _mad(world: World, tokens: int) -> None:
    usage = Usage(tokens, tokens, tokens, tokens, tokens, False, tokens)
    message = Settled(
        request_id="req_1", attempt_id=attempt_id(1), caller="caller-a", provider="p",
        credential="main", model="m", usage=usage, committed=True,
    )  # fmt: skip
    world._log(world.decisions.settled(message, world.now_ms))
    recorded = msgspec.structs.replace(row(1), usage=usage)
    world.fold(recorded, msgspec.structs.replace(row(2, cost_nano=2**64 - 1), committed=False))


@pytest.mark.parametrize("tokens", [2**53, 2**63, 2**64 - 1])
def test_a_provider_s_mad_numbers_can_be_written_and_read_again(tokens: int) -> None:
    limits = (Limit(tokens=1_000), Limit(tokens=1_000, burst=10))
    world = World(config(key=limits, key_budgets=DOLLAR))
    world.admitted(1, input_tokens=1, max_output_tokens=5)
    _mad(world, tokens)
    batch = Batch(owner="limiter-a", number=1, at_ms=NOW_MS, ops=tuple(op for op, _ in world.ops))
    assert batch_decoder.decode(encode(batch)) == batch
    assert Book.restore(world.book.snapshot()).snapshot() == world.book.snapshot()


def test_what_a_released_attempt_used_after_all_counts_once() -> None:
    world = World(config(key=(Limit(tokens=100),), main=(Limit(tokens=500),)))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.release(1)
    assert _remaining(world) == 100
    for _ in range(2):
        world.settle(1, 10, 20, committed=False)
    assert _remaining(world) == 70
    assert world.fold(row(1, 10, 20, committed=False))
    assert _remaining(world) == 70
    main = world.book.meters.windows["c:p/main|tokens|60000"]
    assert main.used(world.now_ms) == 30
    assert replayed(world.ops, 100_000).snapshot() == world.book.snapshot()


def test_of_two_attempts_the_second_to_end_counts_as_well() -> None:
    world = World(config(key=(Limit(tokens=100),), main=(Limit(tokens=500),)))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.admitted(1, attempt=2, places=(OTHER_PLACE,), input_tokens=10, max_output_tokens=40)
    world.settle(1, 10, 20, attempt=2, credential="spare")
    assert _remaining(world) == 70
    world.settle(1, 10, 30, attempt=1, committed=False)
    assert _remaining(world) == 30
    world.settle(1, 10, 30, attempt=3, committed=False)
    assert _remaining(world) == 30


def test_of_two_routers_attempts_both_count() -> None:
    world = World(config(key=(Limit(tokens=100),)))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.admitted(
        1, router="router-b", ask=2, instead_of="router-a", input_tokens=10, max_output_tokens=40
    )
    world.settle(1, 10, 20, attempt=1)
    world.settle(1, 10, 30, attempt=2)
    assert _remaining(world) == 30


@pytest.mark.parametrize("actual", [5, 60])
def test_what_a_silent_caller_used_beyond_its_last_word_counts_when_it_speaks(actual: int) -> None:
    world = World(config(key=(Limit(tokens=100, window_s=600),)))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.renew(1, 20)
    world.now_ms += LEASE_MS
    assert world.expire()
    assert _remaining(world) == 70
    world.settle(1, 10, actual)
    assert _remaining(world) == min(70, 90 - actual)
    world.settle(1, 10, actual)
    assert _remaining(world) == min(70, 90 - actual)


def test_more_than_was_guessed_counts_when_its_caller_dies() -> None:
    world = World(config(key=(Limit(tokens=10_000),), key_budgets=DOLLAR))
    for number in range(2, 22):
        world.admitted(number, input_tokens=1)
        world.settle(number, 0, 7)
        world.fold(row(number, 0, 7))
    before = _spent(world)
    world.admitted(1, input_tokens=10)
    world.renew(1, 500)
    world.now_ms += LEASE_MS
    world.expire()
    assert _spent(world) - before == 510 * NANO_PER_TOKEN
    world.settle(1, 10, 600)
    world.fold(row(1, 10, 600))
    assert _spent(world) - before == 610 * NANO_PER_TOKEN
    assert _open(world) == 0


def test_answers_that_were_bounded_say_nothing_of_those_without_a_bound() -> None:
    world = World(config(key=(Limit(tokens=1_000_000),)))
    for number in range(100, 140):
        world.admitted(number, input_tokens=1, max_output_tokens=1)
        world.settle(number, 1, 1)
    assert world.book.learned.output_tokens("m") is None


def test_a_row_that_comes_after_its_attempt_was_given_up_does_not_count_again() -> None:
    world = World(config(key_budgets=DOLLAR))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.settle(1, 10, 20)
    world.now_ms += PENDING_MS
    world.admitted(2, input_tokens=1, max_output_tokens=1)
    world.settle(2, 1, 1)
    assert _spent(world) == 30 * NANO_PER_TOKEN
    world.fold(row(1, 10, 20))
    assert _spent(world) == 30 * NANO_PER_TOKEN


def _permit(bus: Any) -> Permit:
    target = Target(provider="p", credential="main", model="m")
    request = InferenceRequested(
        request_id="req_1", relay_id=bytes(16), door="gateway-a", traceparent="", tenant="t",
        key_id="a", dialect="openai.chat", model="m", stream=False, body=Body(size_bytes=0),
        remaining_ms=1_000, first_token_ms=1_000,
    )  # fmt: skip
    settings = RouterSettings(admit_within_ms=150)
    candidates = [Candidate(target, "main", 1, 1)]
    return Permit(bus, request, "m", candidates, settings, lambda: None, turn(waiting_room()))


@pytest.mark.parametrize("leaves", [False, True], ids=["no answer", "its client leaves"])
async def test_what_nobody_heard_the_answer_to_is_given_back(
    nats: NatsServer,  # noqa: F811
    leaves: bool,
) -> None:
    async with nats.bus("router") as router, nats.bus("limiter") as limiter:
        said: asyncio.Queue[Any] = asyncio.Queue()
        await limiter.subscribe(
            settlement_subject(0),
            lambda payload, _: said.put_nowait(settlement_decoder.decode(payload)),
        )
        asking = asyncio.ensure_future(_permit(router).obtain(Deadline.after_ms(1_000)))
        if leaves:
            await asyncio.sleep(0.02)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        else:
            assert not isinstance(await asking, Admitted)
        released = await asyncio.wait_for(said.get(), 2)
        assert released == Released(request_id="req_1", router=router.instance)


def test_the_attempt_of_a_second_router_counts_at_its_credential_too() -> None:
    world = World(config(main=(Limit(concurrency=2, tokens=1_000, requests=10),)))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.now_ms += 1
    other = {"router": "router-b", "ask": 2, "instead_of": "router-a"}
    world.admitted(1, input_tokens=10, max_output_tokens=40, **other)
    meters = world.book.meters
    assert meters.windows["c:p/main|requests|60000"].used(world.now_ms) == 2
    world.settle(1, 5, 0, committed=False)
    assert meters.running == {"c:p/main|concurrency|0": 1}
    world.settle(1, 10, 30, attempt=2)
    assert meters.running == {}
    assert meters.windows["c:p/main|tokens|60000"].used(world.now_ms) == 45


def test_a_second_router_goes_on_where_its_credential_has_room_for_one_only() -> None:
    world = World(config(main=(Limit(concurrency=1),)))
    world.admitted(1)
    world.admitted(1, router="router-b", ask=2, instead_of="router-a")
    assert world.book.holds["req_1"].router == "router-b"
    assert world.book.meters.running == {"c:p/main|concurrency|0": 1}
