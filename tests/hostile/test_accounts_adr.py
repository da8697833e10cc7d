"""What ADR-0009 rests on: replies between NATS accounts, and replies within one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client as PlainClient
from nats.aio.msg import Msg

from droveway.contracts.envelope import new_instance
from droveway.runtime.bus import Bus, BusSettings, connect
from tests.support.flows import eventually
from tests.support.plain_nats import PlainNats, serving_plain
from tests.support.waiting import settled

THRESHOLD_S = 0.5
REPLY = "reply.k1"
ACROSS = f"""
accounts {{
  GATEWAY {{
    users: [{{user: gateway, password: x}}]
    exports: [{{service: "ask.*", response_type: stream, response_threshold: "{THRESHOLD_S}s"}}]
  }}
  TENANT {{
    users: [{{user: tenant, password: x}}]
    imports: [{{service: {{account: GATEWAY, subject: "ask.k1"}}}}]
  }}
}}
"""
WITHIN = """
accounts {
  ALL { users: [{user: gateway, password: x}, {user: tenant, password: x}] }
}
"""


class Exchange:
    """A tenant's question, and what the gateway learns when it publishes to its reply subject."""

    def __init__(self, bus: Bus, tenant: PlainClient, reply: str) -> None:
        self.tenant = tenant
        self.reply = reply
        self.heard: list[bytes] = []
        self.nobody = 0
        self.leave: Callable[[], Awaitable[None]] = tenant.close
        """Unsubscribes; the broker knows it on return."""
        self._bus = bus
        self._inbox = bus.open_inbox(lambda _payload: None, self._on_nobody)

    async def on_message(self, message: Msg) -> None:
        self.heard.append(message.data)

    async def publish(self, payload: bytes) -> None:
        """To the reply subject; the broker has dealt with it on return."""
        self._bus.publish(self.reply, payload, self._inbox.subject)
        await self._bus.settle()
        await self.tenant.flush()

    def _on_nobody(self) -> None:
        self.nobody += 1


@pytest.fixture(params=[ACROSS, WITHIN], ids=["across", "within"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PlainNats]:
    with serving_plain(tmp_path, request.param, jetstream=False) as running:
        yield running


@asynccontextmanager
async def exchange(server: PlainNats) -> AsyncIterator[Exchange]:
    settings = BusSettings(servers=(server.url,), user="gateway", password="x")
    replies: list[str] = []
    async with connect(settings, "gateway", new_instance("gateway")) as bus:
        await bus.subscribe_raw(
            "ask.*", lambda _data, reply, _subject, _head: replies.append(reply)
        )
        tenant = PlainClient()
        await tenant.connect(server.url, user="tenant", password="x")
        opened = Exchange(bus, tenant, "")
        subscription = await tenant.subscribe(REPLY, cb=opened.on_message)

        async def leave() -> None:
            await subscription.unsubscribe()
            await settled(tenant)

        opened.leave = leave
        await tenant.publish("ask.k1", b"question", reply=REPLY)
        await eventually(lambda: bool(replies))
        opened.reply = replies[0]
        await opened.publish(b"1")
        await eventually(lambda: opened.heard == [b"1"])
        yield opened
        await tenant.close()


async def test_who_has_left_is_told_within_an_account_only(server: PlainNats) -> None:
    async with exchange(server) as opened:
        await opened.leave()
        await opened.publish(b"2")
        assert opened.nobody == (0 if opened.reply != REPLY else 1)


async def test_a_silent_answer_reaches_its_client_within_an_account_only(
    server: PlainNats,
) -> None:
    async with exchange(server) as opened:
        await asyncio.sleep(THRESHOLD_S * 2.5)
        await opened.publish(b"2")
        expected = [b"1"] if opened.reply != REPLY else [b"1", b"2"]
        assert opened.heard == expected
        assert opened.nobody == 0, "and the gateway isn't told either way"
