"""Keys of the bucket at both doors of a running system: taken, limited, bound, revoked."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from droveway import client
from droveway.contracts.access import Key, Limit, Tenant, TenantState
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.support.access import drop_key, operator, put_key, put_tenant
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

CHAT = "/v1/chat/completions"
EXPECTED: tuple[tuple[TenantState, str], ...] = (
    ("active", "address_not_allowed"),
    ("disabled", "tenant_disabled"),
)
"""How a key that is bound to addresses fares over NATS, by its tenant's state."""


@pytest.fixture
async def stack(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Stack]:  # noqa: F811
    async with running_stack(nats, tmp_path, replicas={"gateway": 2}) as world:
        yield world


def new_key(**fields: object) -> tuple[str, Key]:
    secret = make_key("test")
    return secret, Key(id=parse_key(secret).id, sha256=hash_key(secret), **fields)  # type: ignore[arg-type]


async def code_of(stack: Stack, secret: str, gateway: int = 0) -> str:
    """How a chat completion fares: `ok`, or the error's code."""
    url = f"http://127.0.0.1:{stack.services['gateway'][gateway].port}"
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as opened:
        answer = await opened.post(CHAT, json=chat_body())
    return "ok" if answer.is_success else str(answer.json()["error"]["code"])


async def until(stack: Stack, secret: str, code: str, gateway: int = 0) -> float:
    """Waits until the key fares so; the seconds that it took."""
    began_s = time.monotonic()
    while await code_of(stack, secret, gateway) != code:
        assert time.monotonic() - began_s < 5
    return time.monotonic() - began_s


async def test_a_key_of_the_bucket_is_served_limited_and_revoked_everywhere_in_a_second(
    nats: NatsServer,  # noqa: F811
    stack: Stack,
) -> None:
    secret, key = new_key()
    async with operator(nats) as bus:
        await put_key(bus, key)
        assert await until(stack, secret, "ok") < 1
        assert await until(stack, secret, "ok", gateway=1) < 1
        await put_key(bus, Key(id=key.id, sha256=key.sha256, limits=(Limit(requests=1),)))
        assert await until(stack, secret, "rate_limit_exceeded") < 2
        await put_key(bus, Key(id=key.id, sha256=key.sha256, state="disabled"))
        began_s = time.monotonic()
        for gateway in (0, 1):
            await until(stack, secret, "key_disabled", gateway)
        assert time.monotonic() - began_s < 1
        await drop_key(bus, key.id)
        assert await until(stack, secret, "invalid_api_key") < 1


async def test_over_nats_a_key_bound_to_addresses_or_of_a_disabled_tenant_is_refused(
    nats: NatsServer,  # noqa: F811
    stack: Stack,
) -> None:
    _, key = new_key(tenant="closed", addresses=("127.0.0.1",))
    seed = nats.add_key_user(key.id)
    codes = []
    async with operator(nats) as bus:
        await put_key(bus, key)
        async with client.connect(nats.url, key_id=key.id, seed_file=seed) as opened:
            for state, expected in EXPECTED:
                await put_tenant(bus, Tenant(id="closed", state=state))
                began_s = time.monotonic()
                while (code := await _code_over_nats(opened)) != expected:
                    assert time.monotonic() - began_s < 5
                codes.append(code)
        await drop_key(bus, key.id)
    assert codes == ["address_not_allowed", "tenant_disabled"]


async def _code_over_nats(opened: client.Client) -> str:
    try:
        await opened.call(chat_body())
    except client.Failed as error:
        return error.code
    return "ok"
