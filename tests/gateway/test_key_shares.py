"""One key's share of the requests that are open over the bus."""

import logging

import pytest

from droveway.gateway.doors.key_shares import KeyShares
from tests.support.bus_client import Answer, PlainTenant, plain_tenant
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.waiting import settled

KEY, OTHER = "share-key", "other-key"


async def listening(tenant: PlainTenant, packed: bool) -> tuple[Answer, str]:
    answer, inbox = Answer(packed), tenant.connection.new_inbox()
    await tenant.connection.subscribe(inbox, cb=answer.on_message)
    await settled(tenant.connection)
    return answer, inbox


@pytest.mark.parametrize("payload", [b"{}", b"\x80"], ids=["json", "msgpack"])
async def test_beyond_its_share_a_key_is_told_so_and_others_are_not_concerned(
    nats: NatsServer,  # noqa: F811
    payload: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nats.add_key_user(KEY)
    async with nats.bus("gateway") as bus, plain_tenant(nats, KEY) as tenant:
        shares = KeyShares(bus, max_open=2)
        answer, inbox = await listening(tenant, packed=payload != b"{}")
        with caplog.at_level(logging.WARNING):
            taken = [shares.takes(KEY, payload, inbox) for _ in range(50)]
        assert taken == [True, True] + [False] * 48
        assert shares.takes(OTHER, payload, inbox)
        assert shares.statistics() == (2, 2, 48)
        await answer.until(lambda it: len(it.frames) == 48)
        assert {(one["status"], one["error"]["code"]) for one in answer.frames} == {
            (503, "overloaded")
        }
        assert len([r for r in caplog.records if "key_share_full" in r.getMessage()]) <= 1
        shares.leave(KEY)
        assert shares.takes(KEY, payload, inbox)


async def test_keys_without_open_requests_are_forgotten(nats: NatsServer) -> None:  # noqa: F811
    async with nats.bus("gateway") as bus:
        shares = KeyShares(bus, max_open=2)
        for number in range(100):
            assert shares.takes(f"key-{number}", b"{}", "_INBOX.t.nobody.a")
            shares.leave(f"key-{number}")
        assert shares.statistics().largest == 0
