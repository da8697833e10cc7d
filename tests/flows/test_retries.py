"""Retries, budgets and breakers as clients and providers see them."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from droveway.contracts.config import Backoff, Config, Health, Retry, RetryBudget
from droveway.contracts.envelope import encode
from droveway.contracts.inference import INTERACTIVE, Body, Refused, inference_subject
from droveway.contracts.relay import News, news_decoder
from tests.support.bus_client import key_id_of
from tests.support.flows import ask, entries, models, numbered, only_first, route
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.requested import requested
from tests.support.simulator import chat_body
from tests.support.stack import UNSPARED, running_stack
from tests.support.waiting import until

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
AT_ONCE = Backoff(base_s=0, jitter="none")


def _unspared(config: Config) -> Config:
    """No breaker: what is retried is seen alone."""
    return msgspec.structs.replace(config, health=Health(consecutive=1_000, min_outcomes=1_000))


@BOTH
async def test_a_single_500_is_repeated_on_the_same_target(
    own_nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first) as stack,
        stack.client() as client,
    ):
        got = await ask(client, chat_body("fault-numbered-3+500+times-1", stream=stream))
        assert (got.status, got.said) == (200, numbered(3))
        assert got.headers["x-droveway-attempts"] == "2"
        refused = await ask(client, chat_body("fault-400", stream=stream))
        assert refused.status == 400
    assert len(entries(stack)) == 3, "a 400 is asked once"


async def test_a_short_retry_after_is_waited_for_and_a_long_one_is_the_clients(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, environment=UNSPARED) as stack,
        stack.client() as client,
    ):
        began_s = time.monotonic()
        got = await ask(client, chat_body("fault-numbered-3+429-1+times-1"))
        assert got.status == 200
        assert time.monotonic() - began_s >= 1.0
        told = await ask(client, chat_body("fault-429-9"))
        assert told.status == 429
        assert told.headers["retry-after"] == "9"
    assert len(entries(stack)) == 3


async def test_no_storm_of_retries_passes_the_budget(own_nats: NatsServer, tmp_path: Path) -> None:
    def configure(config: Config) -> Config:
        return msgspec.structs.replace(
            _unspared(config),
            retry=Retry(attempts=5, same_target=4, failed=AT_ONCE),
            retry_budget=RetryBudget(ratio=0.2, per_s=10),
        )

    requests = 200
    async with (
        running_stack(own_nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        with Pace() as pace:
            got = await asyncio.gather(
                *(ask(client, chat_body("fault-503")) for _ in range(requests))
            )
    assert all(one.status == 503 for one in got)
    free = 10 * (pace.elapsed_s + 1)
    assert requests < len(entries(stack)) <= 1.2 * requests + free


@pytest.mark.parametrize(
    ("per_s", "headers", "attempts"),
    [(100, {}, (6, 6)), (1, {}, (2, 2)), (100, {"x-request-timeout": "1"}, (2, 3))],
    ids=["as the policy says", "within the budget", "in time"],
)
async def test_a_routes_policy_says_how_many_attempts_there_are(
    own_nats: NatsServer,
    tmp_path: Path,
    per_s: float,
    headers: dict[str, str],
    attempts: tuple[int, int],
) -> None:
    again = Backoff(base_s=0.4, factor=1, jitter="none") if headers else AT_ONCE
    patient = Retry(attempts=6, same_target=5, failed=again)

    def configure(config: Config) -> Config:
        one = msgspec.structs.replace(route("patient", ("upstream-1", "fault-503")), retry=patient)
        return msgspec.structs.replace(
            only_first(_unspared(config), one), retry_budget=RetryBudget(ratio=0, per_s=per_s)
        )

    async with (
        running_stack(own_nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        got = await ask(client, chat_body("patient"), headers=headers)
        assert (got.status, got.error["code"]) == (503, "provider_unavailable")
        assert got.headers["x-should-retry"] == "false", "retries were made, or denied"
        assert "retry-after" not in got.headers
        few, many = attempts
        assert few <= len(entries(stack)) <= many
        assert len(got.error["details"]) == len(entries(stack))


@pytest.mark.parametrize(("made", "spent"), [(0, False), (1, True)])
async def test_attempts_of_a_router_that_died_are_retries_that_were_made(
    own_nats: NatsServer, tmp_path: Path, made: int, spent: bool
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, replicas={"gateway": 0}) as stack,
        own_nats.bus("gateway") as bus,
    ):
        body = msgspec.json.encode(chat_body("fault-503"))
        request = requested(
            door=bus.instance,
            key_id=key_id_of(stack),
            model="fault-503",
            stream=False,
            body=Body(size_bytes=len(body), inline=body),
            attempts_made=made,
            attempts_left=1,
        )
        said: list[News] = []
        inbox = bus.open_inbox(lambda one: said.append(news_decoder.decode(one)), lambda: None)
        bus.publish(inference_subject(INTERACTIVE), encode(request), inbox.subject)
        await until(lambda: said and isinstance(said[-1], Refused))
        (refused,) = [one for one in said if isinstance(one, Refused)]
        assert len(refused.tried) == 1
        assert refused.spent is spent


async def test_clients_are_told_whether_to_try_again_by_themselves(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        once = msgspec.structs.replace(
            route("once", ("upstream-1", "fault-503")), retry=Retry(attempts=1)
        )
        limited = route("limited", ("upstream-1", "fault-429-9"), ("upstream-2", "fault-429-5"))
        failing = route("failing", ("upstream-1", "fault-500"), ("upstream-2", "fault-503"))
        return msgspec.structs.replace(
            _unspared(config), routes=(once, limited, failing, *config.routes)
        )

    async with (
        running_stack(
            own_nats, tmp_path, simulators=2, configure=configure, environment=UNSPARED
        ) as stack,
        stack.client() as client,
    ):
        told = {}
        for model in ("once", "limited", "failing", "fault-400"):
            got = await ask(client, chat_body(model))
            names = ("x-should-retry", "retry-after")
            told[model] = (got.status, *(got.headers.get(name) for name in names))
    assert told == {
        "once": (503, "true", "1"),
        "limited": (429, "true", "5"),
        "failing": (503, "false", None),
        "fault-400": (400, None, None),
    }


async def test_a_provider_that_is_down_is_left_alone_and_comes_back(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    down = "fault-numbered-3+503+times-6"

    def configure(config: Config) -> Config:
        detour = route("detour", ("upstream-1", down), ("upstream-2", "numbered-3"))
        health = Health(open_s=0.5, open_cap_s=0.5)
        return msgspec.structs.replace(config, routes=(detour, *config.routes), health=health)

    async with (
        running_stack(own_nats, tmp_path, simulators=2, configure=configure) as stack,
        stack.client() as client,
    ):
        for _ in range(3):
            got = await ask(client, chat_body("detour"))
            assert (got.status, got.headers["x-droveway-attempts"]) == (200, "2")
        spared = [await ask(client, chat_body("detour")) for _ in range(10)]
        assert {one.headers["x-droveway-attempts"] for one in spared} == {"1"}
        assert len(stack.simulators[0].book.entries) == 3

        async def until_back() -> None:
            while True:
                got = await ask(client, chat_body("detour"))
                assert got.status == 200, "whoever probes is served elsewhere when it fails"
                if got.headers["x-droveway-provider"] == "upstream-1":
                    return
                await asyncio.sleep(0.05)

        async with asyncio.timeout(20):
            await until_back()
    assert models(stack.simulators[0].book.entries).count(down) == 7, "six failed, three by probing"
