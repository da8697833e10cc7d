import base64
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from droveway.contracts.jetstream import IDEMPOTENCY
from droveway.gateway.idempotency import MAX_TOKEN_BYTES, Idempotency
from droveway.gateway.refusal import Refusal
from droveway.runtime.bus import Bus
from tests.support.nats import NatsServer, nats, serving  # noqa: F401

BODY = b'{"model":"m","canary":1}'


@pytest_asyncio.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:  # noqa: F811
    async with nats.bus("gateway") as bus:
        yield bus


@pytest.fixture
def token() -> bytes:
    return uuid4().hex.encode()


async def run(
    idempotency: Idempotency, token: bytes | None, outcome: str = "completed", key: str = "k1"
) -> None:
    async with idempotency.claim(key, token, "chat.completions", BODY) as claim:
        claim.outcome = outcome


async def refused(
    idempotency: Idempotency, token: bytes, body: bytes = BODY, key: str = "k1"
) -> str:
    with pytest.raises(Refusal) as caught:
        async with idempotency.claim(key, token, "chat.completions", body):
            pass
    return caught.value.failure.code


@pytest.mark.parametrize("value", [b"a", b"!~", b"x" * MAX_TOKEN_BYTES])
def test_a_printable_token_is_taken(value: bytes) -> None:
    headers = [(b"host", b"a"), (b"idempotency-key", value)]
    assert Idempotency.token(headers) == value
    assert Idempotency.token(headers[:1]) is None


@pytest.mark.parametrize(
    "values",
    [[b""], [b"x" * (MAX_TOKEN_BYTES + 1)], [b"a b"], [b"a\tb"], ["ü".encode()], [b"a", b"a"]],
)
def test_any_other_token_is_refused(values: list[bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        Idempotency.token([(b"idempotency-key", value) for value in values])
    assert caught.value.failure.code == "invalid_idempotency_key"


async def test_a_request_without_a_token_is_never_held_up(bus: Bus) -> None:
    idempotency = Idempotency(bus, 60)
    async with idempotency.claim("k1", None, "chat.completions", BODY):
        await run(idempotency, None)


async def test_a_running_request_keeps_others_out(bus: Bus, token: bytes) -> None:
    idempotency = Idempotency(bus, 60)
    async with idempotency.claim("k1", token, "chat.completions", BODY):
        assert await refused(idempotency, token) == "idempotency_in_progress"
        assert await refused(idempotency, token, b"other") == "idempotency_key_reused"


@pytest.mark.parametrize("outcome", ["completed", "interrupted", "cancelled"])
async def test_a_request_that_may_have_cost_is_not_repeated(
    bus: Bus, token: bytes, outcome: str
) -> None:
    idempotency = Idempotency(bus, 60)
    await run(idempotency, token, outcome)
    assert await refused(idempotency, token) == "already_completed"
    assert await refused(idempotency, token, b"other") == "idempotency_key_reused"


async def test_a_request_that_failed_leaves_its_token_free(bus: Bus, token: bytes) -> None:
    idempotency = Idempotency(bus, 60)
    await run(idempotency, token, "failed")
    await run(idempotency, token, "completed")
    assert await refused(idempotency, token) == "already_completed"


async def test_a_request_that_raised_leaves_its_token_free(bus: Bus, token: bytes) -> None:
    idempotency = Idempotency(bus, 60)
    with pytest.raises(ZeroDivisionError):
        async with idempotency.claim("k1", token, "chat.completions", BODY):
            raise ZeroDivisionError
    await run(idempotency, token)


async def test_a_token_whose_gateway_died_is_free_after_its_lease(bus: Bus, token: bytes) -> None:
    async with Idempotency(bus, lease_s=-1).claim("k1", token, "chat.completions", BODY):
        await run(Idempotency(bus, 60), token)
    assert await refused(Idempotency(bus, 60), token) == "already_completed"


async def test_tokens_and_keys_are_independent(bus: Bus, token: bytes) -> None:
    idempotency = Idempotency(bus, 60)
    await run(idempotency, token)
    await run(idempotency, token, key="k2")
    await run(idempotency, token + b"2")


async def test_a_row_holds_neither_token_nor_body(bus: Bus, token: bytes) -> None:
    await run(Idempotency(bus, 60), token, key="k3")
    subject = f"$KV.{IDEMPOTENCY}.k3.*"
    found = await bus.jetstream(
        f"STREAM.MSG.GET.KV_{IDEMPOTENCY}", {"seq": 1, "next_by_subj": subject}, 2.0
    )
    row = base64.b64decode(found["message"]["data"])
    assert token.decode() not in found["message"]["subject"]
    assert token not in row
    assert b"canary" not in row


async def test_without_the_bucket_a_token_is_refused_and_others_pass(
    tmp_path: Path, token: bytes
) -> None:
    with serving(tmp_path / "nats", set_up=False) as server:
        async with server.bus("gateway") as bus:
            assert await refused(Idempotency(bus, 60), token) == "service_unavailable"
            await run(Idempotency(bus, 60), None)
